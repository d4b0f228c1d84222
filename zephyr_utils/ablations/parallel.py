"""Ablations for several seeds, each seed in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from zephyr_utils.ablations import catalogue
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.pipeline import Pipeline

QUIET = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def run_in_parallel(
    tasks: Iterable[tuple[Pipeline, Iterable[str]]],
    workers: int = 2,
    say: Callable[[str], None] = print,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Measure ablations of several pipelines (seeds), each task in a process with one thread.

    On matrices this small two threads gain little, so two seeds side by side are
    faster. What was finished before a kill is reused.

    Args:
        tasks: a pipeline, and the names of the ablations to be measured for it.
        say: called with a line of text as each ablation is done.

    Yields:
        The seed and its ablations' results (`catalogue.measure`), task by task as they are done.

    Raises:
        HandbookError: a process failed; the message holds the end of its standard error.
    """

    def one(pipeline: Pipeline, names: Iterable[str]) -> tuple[int, dict[str, Any]]:
        task = json.dumps({"pipeline": pipeline.arguments, "ablations": list(names)})
        results: dict[str, Any] = {}
        # A file and not a pipe for its errors: nobody reads them until the process has ended.
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", catalogue.__name__, task],
                env={**os.environ, **QUIET},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            for line in process.stdout or ():
                if line.startswith('{"'):
                    done = json.loads(line)
                    results[done["row"]] = done["results"]
                    label = catalogue.get_ablation(done["row"]).label
                    say(f"seed {pipeline.seed}: {label}, {done['seconds']:.0f} s")
            if process.wait():
                errors.seek(0)
                tail = errors.read()[-1500:]
                raise HandbookError(
                    f"seed {pipeline.seed} failed",
                    where="ablations",
                    remedy=f"fix what its standard error says: {tail}",
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
