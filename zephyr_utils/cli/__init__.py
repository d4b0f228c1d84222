"""The ``zephyr`` command: one verb a step of the road, the same functions as the chapters.

Exit status 0: done. 1: done, but a number fell outside its expected range. 2: something to mend,
said in a message.
"""

import os
import sys

import typer
from rich.markup import escape

from zephyr_utils.cli.console import err, out
from zephyr_utils.cli.data import feedback, pairs, truecase
from zephyr_utils.cli.models import chat, check_log, dpo, evaluate, sft
from zephyr_utils.cli.runs import doctor, plan, push, run
from zephyr_utils.errors import HandbookError

app = typer.Typer(
    name="zephyr",
    help="The Zephyr handbook: truecase, dSFT, preference pairs, dDPO, evaluation, at the scale "
    "you choose.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verb in (
    run,
    truecase,
    feedback,
    pairs,
    sft,
    dpo,
    check_log,
    evaluate,
    chat,
    doctor,
    plan,
    push,
):
    app.command()(verb)  # in the order of `zephyr --help`


def main() -> None:
    """Entry point: errors that a reader can mend become a message and status 2, Ctrl-C becomes 130."""
    # of several processes that train together one tells
    out.quiet = os.environ.get("RANK", "0") != "0"
    try:
        app()
    except HandbookError as error:
        err.print(
            f"[bold red]Error[/bold red] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(2)
    except SystemExit as ended:
        # Typer turns Ctrl-C into status 130 without a word.
        stopped = getattr(ended.__context__, "__cause__", None)
        if isinstance(stopped, KeyboardInterrupt):
            said = str(stopped) or "Stopped. The same command goes on from here."
            err.print(said, highlight=False, markup=False, soft_wrap=True)
        raise
