"""Rows of a table for several replications, each replication in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from zephyr_utils.ablations import measurements
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.pipeline import Pipeline

QUIET = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def run_in_parallel(
    tasks: Iterable[tuple[Pipeline, Iterable[str]]],
    workers: int = 2,
    say: Callable[[str], None] = print,
    keep: Callable[[int, dict[str, Any]], None] | None = None,
    module: str = measurements.__name__,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Measure rows of several pipelines (seeds), each task in a process with one thread.

    On matrices this small two threads gain little, so two seeds side by side are
    faster. What was finished before a kill is reused.

    Args:
        tasks: a pipeline, and the names of the rows to be measured for it.
        say: called with a line of text as each row is done.
        keep: called with the seed and ``{row, label, seconds, results or failed}`` as each row is
            done or has failed, from a thread of its task. With it a failure is its caller's affair;
            without it the first stops the run.
        module: that measures the rows, run as a program (`measurements.print_measurements`).

    Yields:
        The seed and its rows' results, task by task as they are done.

    Raises:
        HandbookError: a row or a process failed, and there is no `keep`.
    """

    def one(pipeline: Pipeline, names: Iterable[str]) -> tuple[int, dict[str, Any]]:
        wanted, results = list(names), {}
        failed: dict[str, str] = {}
        task = json.dumps({"pipeline": pipeline.arguments, "rows": wanted})
        # A file and not a pipe for its errors: nobody reads them until the process has ended.
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                [sys.executable, "-m", module, task],
                env={**os.environ, **QUIET},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            try:
                for line in process.stdout or ():
                    if line.startswith('{"row"'):
                        done = json.loads(line)
                        row = done["row"]
                        if "failed" in done:
                            failed[row] = done["failed"]
                        else:
                            results[row] = done["results"]
                            say(f"seed {pipeline.seed}: {done['label']}, {done['seconds']:.0f} s")
                        if keep:
                            keep(pipeline.seed, done)
            except BaseException:
                process.kill()  # it would train on, and nobody would read what it says
                raise
            if process.wait():
                errors.seek(0)
                tail = errors.read()[-1500:]
                for row in wanted:
                    if row not in results and row not in failed:
                        failed[row] = f"the process ended with {process.returncode}: {tail}"
                        if keep:
                            keep(pipeline.seed, {"row": row, "failed": failed[row], "seconds": 0.0})
        if failed and not keep:
            row, reason = next(iter(failed.items()))
            raise HandbookError(
                f"seed {pipeline.seed} failed",
                where=f"ablations, {row}",
                remedy=f"fix what it says: {reason}",
            )
        return pipeline.seed, results

    with ThreadPoolExecutor(workers) as pool:  # threads that wait for processes
        futures = [pool.submit(one, pipeline, names) for pipeline, names in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()  # those that have not begun
