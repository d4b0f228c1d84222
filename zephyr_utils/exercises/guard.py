"""Run a reader's function so that neither a loop without end nor thousands of printed lines stop
the chapter.
"""

import contextlib
import io
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

LIMIT_SECONDS = 10.0
MOST_LINES = 50


class Stopped(BaseException):  # no Exception: the reader's own `except Exception` must not catch it
    """A function was stopped; the message says why."""


class _Page(io.StringIO):
    """What a function prints, up to MOST_LINES."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = 0

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        if self.lines > MOST_LINES:
            raise Stopped(f"Your function prints more than {MOST_LINES} lines; return the result.")
        return super().write(text)


def run_guarded(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call a function; what it prints, a few lines at most, is printed after it has returned.

    Raises:
        Stopped: it printed more than MOST_LINES lines, or had not returned after LIMIT_SECONDS
            (where the system has alarms, and in the main thread only).
        Exception: whatever the function raises.
    """
    page = _Page()
    try:
        with _alarm(), contextlib.redirect_stdout(page):
            return function(*arguments)
    finally:
        print(page.getvalue(), end="")


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise Stopped(
            f"Your function had not returned after {LIMIT_SECONDS:g} seconds. Does its loop end?"
        )

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
