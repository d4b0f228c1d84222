"""The ``zephyr`` command: one command per step, the same functions as the chapters.

Exit status 0: done. 1: done, but a number fell outside its expected range. 2: something to fix,
which a message names.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

import zephyr_utils
from zephyr_utils.cli.chat import chat
from zephyr_utils.cli.commands import Command
from zephyr_utils.cli.console import err, out
from zephyr_utils.cli.data import feedback, pairs, truecase
from zephyr_utils.cli.export import export
from zephyr_utils.cli.models import check_log, dpo, evaluate, sft
from zephyr_utils.cli.online import online
from zephyr_utils.cli.runs import doctor, fetch, plan, push, run
from zephyr_utils.errors import HandbookError

app = typer.Typer(
    name="zephyr",
    help="The Zephyr handbook: truecase, dSFT, preference pairs, dDPO, evaluation, at the scale "
    "you choose.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    run,
    truecase,
    feedback,
    pairs,
    sft,
    dpo,
    online,
    check_log,
    evaluate,
    chat,
    export,
    fetch,
    doctor,
    plan,
    push,
):
    app.command(cls=Command)(command)  # in the order of `zephyr --help`
# sft and dpo under the handbook's names of the two stages, too.
app.command("dsft", cls=Command, hidden=True)(sft)
app.command("ddpo", cls=Command, hidden=True)(dpo)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"zephyr {zephyr_utils.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM (`kill`, `timeout`, a batch system) ends a command as Ctrl-C does: by default Python
    ends at once, and leaves what was half written.
    """
    ours = threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _no_interrupt_is_lost() -> Iterator[None]:
    """Interrupt again where Python drops an interrupt.

    One that arrives inside a finaliser or a weak reference's callback is reported as "Exception
    ignored", and the command would run on.
    """
    before = sys.unraisablehook

    def again(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            # A moment later, since raised here it would be dropped as well.
            threading.Timer(0.05, _thread.interrupt_main).start()
        else:
            before(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


def main() -> None:
    """Entry point: errors a reader can fix become a message and status 2; Ctrl-C and SIGTERM become
    130.
    """
    # of several processes that train together one prints
    out.quiet = os.environ.get("RANK", "0") not in ("", "0")
    try:
        with _sigterm_as_ctrl_c(), _no_interrupt_is_lost():
            app()
    except HandbookError as error:
        err.print(Text("Error", style="bold red"), end=" ")
        err.print(str(error), soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        # What no command foresaw: a disk that is full, a folder that nobody may write to.
        place = f"{error.filename}: " if error.filename else ""
        err.print(Text("Error", style="bold red"), end=" ")
        err.print(
            f"{place}{error.strerror or error}\nWhat to do: check the path, its permissions and "
            "the free space, and start the same command again.",
            soft_wrap=True,
        )
        sys.exit(2)
    except SystemExit as ended:
        # Typer turns Ctrl-C into status 130 silently.
        stopped = getattr(ended.__context__, "__cause__", None)
        if isinstance(stopped, KeyboardInterrupt):
            err.print(
                str(stopped) or "Stopped. The same command goes on from here.", soft_wrap=True
            )
        raise
