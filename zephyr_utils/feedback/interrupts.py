"""How a run of calls ends before its time: at a fault that every call would meet, at Ctrl-C, at
SIGTERM.
"""

import asyncio
import concurrent.futures
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.report import CallReport


class RunStopped(HandbookError):
    """The run ended early because going on would only meet the same fault; ``report`` holds the
    counts so far.
    """

    def __init__(self, what: str, *, where: str, remedy: str, report: CallReport) -> None:
        self.report = report
        super().__init__(f"{what}. {_in_journal(report)}", where=where, remedy=remedy)


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C, a notebook's stop button or SIGTERM ended the run; ``report`` holds the counts so
    far.

    The calls under way were waited for and are in the journal, except for ``cut_off``, the number
    that a second signal cut off: they may be paid for without a reply.
    """

    def __init__(self, report: CallReport, cut_off: int) -> None:
        self.report, self.cut_off = report, cut_off
        how = "the calls under way were waited for"
        if cut_off:
            how = f"{cut_off:,} calls under way were cut off (the next run makes them again)"
        super().__init__(
            f"Stopped; {how}. {_in_journal(report)}. The same command goes on from here."
        )


def _in_journal(report: CallReport) -> str:
    return f"{report.made + report.from_journal:,} of {report.planned:,} calls are in the journal"


@contextlib.contextmanager
def handle_signals(on_signal: Callable[[], None]) -> Iterator[None]:
    """Call ``on_signal`` at each SIGINT and SIGTERM, in place of what they do otherwise, while the
    context lasts.

    Only the main thread may say what signals do, and Python runs it there: also in a notebook,
    whose cells it executes. What is ignored stays so, as Ctrl-C is by a script's background jobs.
    """
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.signal(number, lambda *_: on_signal())
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run it; in a thread of its own where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
    else:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, work).result()
