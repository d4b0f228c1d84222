"""One progress bar for everything that may take longer than two seconds."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

PROGRESS_DELAY = 2.0  # seconds a reader waits without asking what is going on


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Hand the items on; after two seconds show a bar with count, rate of work and time left on
    stderr.

    Nothing is shown when stderr is not a terminal (a log file, a notebook run by papermill), nor
    for quick work.

    Args:
        items: what is worked through; the time between two items is the caller's.
        what: the words before the bar, such as "reading feedback.jsonl".
        total: how many items are expected, if known; ``len(items)`` is tried first.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    started, bar = time.monotonic(), None
    try:
        for n, item in enumerate(items):
            if bar is not None:
                bar.update(bar.task_ids[0], completed=n)
            elif time.monotonic() - started > PROGRESS_DELAY:
                bar = counting_bar()
                bar.add_task(what, total=total, completed=n)
                bar.start()
            yield item
    finally:
        if bar is not None:
            bar.stop()


def counting_bar(*columns: str) -> "Progress":
    """A bar on stderr with count, time taken and time left, which leaves nothing behind; not
    started yet.

    Args:
        columns: what else it shows, before the times, in rich's notation:
            ``"{task.fields[rate]}"``.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),  # it may be a path with brackets
        BarColumn(),
        MofNCompleteColumn(),
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def track_bytes(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function to call with the bytes done and the bytes in all; on a terminal it moves a bar on
    stderr.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
