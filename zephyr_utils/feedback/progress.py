"""The progress of a run of calls, while it works."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from zephyr_utils.progress import PROGRESS_DELAY, counting_bar

# seconds between two lines of progress where there is no terminal to draw a bar on
LOG_EVERY = 30.0


@contextlib.contextmanager
def shown(run: Any, started: float) -> Iterator[Any]:
    """Progress after two seconds: a bar with rate and time left on a terminal, else a line now and
    then; on stderr.
    """
    bar = task = None

    def done() -> int:
        return (
            run.report.from_journal
            + run.report.repeated
            + run.report.made
            + sum(run.report.failed.values())
        )

    async def watching() -> None:
        nonlocal bar, task
        await asyncio.sleep(PROGRESS_DELAY)
        if sys.stderr.isatty():
            bar = counting_bar("{task.fields[rate]}")
            task = bar.add_task(run.what, total=run.total, completed=done(), rate="")
            bar.start()
            while True:
                rate = run.report.made / (time.monotonic() - started)
                bar.update(task, completed=done(), rate=f"{rate:,.1f} calls/s")
                await asyncio.sleep(0.2)
        while True:
            await asyncio.sleep(LOG_EVERY)
            rate = run.report.made / (time.monotonic() - started)
            left = f"{(run.total - done()) / rate:,.0f} s left" if rate else "nothing came yet"
            print(
                f"{run.what}: {done():,} of {run.total:,}, {rate:,.1f} calls/s, {left}",
                file=sys.stderr,
                flush=True,
            )

    try:
        yield watching
    finally:
        if bar is not None:
            bar.stop()
