"""The progress of a run of calls, while it works."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from zephyr_utils.progress import PROGRESS_DELAY, counting_bar

# seconds between two lines of progress where there is no terminal to draw a bar on
LOG_EVERY = 30.0


@contextlib.contextmanager
def progress_display(
    what: str, total: int, n_done: Callable[[], int], n_made: Callable[[], int]
) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
    """Progress after two seconds: a bar with rate and time left on a terminal, else a line now and
    then; on stderr.

    Args:
        what: the words before the bar.
        total: calls in all.
        n_done: calls that need no more work; ``n_made``, those of them that were sent by this run.

    Yields:
        A coroutine function that watches until it is cancelled.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:

        async def watch() -> None:
            await asyncio.sleep(PROGRESS_DELAY)
            if sys.stderr.isatty():
                bar = stack.enter_context(counting_bar("{task.fields[rate]}"))
                task = bar.add_task(what, total=total, completed=n_done(), rate="")
                while True:
                    rate = n_made() / (time.monotonic() - started)
                    bar.update(task, completed=n_done(), rate=f"{rate:,.1f} calls/s")
                    await asyncio.sleep(0.2)
            while True:
                await asyncio.sleep(LOG_EVERY)
                rate = n_made() / (time.monotonic() - started)
                left = f"{(total - n_done()) / rate:,.0f} s left" if rate else "no reply yet"
                print(
                    f"{what}: {n_done():,} of {total:,}, {rate:,.1f} calls/s, {left}",
                    file=sys.stderr,
                    flush=True,
                )

        yield watch
