"""A table of rows measured in several replications: measured in parallel, kept row by row, resumed.

`claims.py` and `methods.py` are two such studies. The file of results is rewritten after each row:
a study that was killed goes on where it was. A row that fails is named, left out and counted; the
others are measured all the same.
"""

import argparse
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from zephyr_utils.ablations.parallel import run_in_parallel
from zephyr_utils.ablations.results import FORMAT, Failures, check_unchanged, parse_results
from zephyr_utils.ablations.verdicts import ClaimResult, Measured
from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.pipeline.pipeline import Pipeline


class Progress:
    """How far a study is: rows done, and an estimate of the time that is left.

    A row takes as long as it took in the replications before; until it was measured once, as long
    as the rows so far on average.
    """

    def __init__(self, wanted: list[tuple[int, str]], workers: int) -> None:
        self.left, self.total, self.workers = list(wanted), len(wanted), workers
        self.seconds: dict[str, list[float]] = {}

    def add(self, seed: int, row: str, seconds: float) -> str:
        """Note a row that is done; returns the line to show."""
        self.left.remove((seed, row))
        self.seconds.setdefault(row, []).append(seconds)
        done = self.total - len(self.left)
        return f"{done} of {self.total} rows, {self._time_left()} left"

    def _time_left(self) -> str:
        known = {row: sum(took) / len(took) for row, took in self.seconds.items()}
        other = sum(known.values()) / len(known)
        seconds = sum(known.get(row, other) for _, row in self.left) / self.workers
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"


@dataclass(frozen=True)
class Study:
    """What is measured, and where its results lie.

    Attributes:
        results: the JSON file.
        module: of the package, that measures the rows (`parallel.run_in_parallel`).
        provenance: fingerprints of what the results rest on.
    """

    results: Path
    module: str
    provenance: Callable[[], dict[str, str]]

    def measure(
        self, seeds: int, workers: int, rows: Sequence[str], afresh: bool, console: Console
    ) -> tuple[Measured, Failures]:
        """Measure the rows of all seeds that are missing, writing the results after each row; those
        of other rows stay.
        """
        measured, failed = ({}, {}) if afresh else self.known()
        took: dict[str, list[float]] = {} if afresh else self._known_seconds()
        rests_on, lock = self.provenance(), threading.Lock()
        missing = [
            (seed, [row for row in rows if row not in measured.get(seed, {})])
            for seed in range(seeds)
        ]
        progress = Progress([(seed, row) for seed, names in missing for row in names], workers)

        def keep(seed: int, done: dict[str, Any]) -> None:
            row = done["row"]
            with lock:
                if "failed" in done:
                    failed.setdefault(seed, {})[row] = done["failed"]
                    console.print(f"seed {seed}: {row} FAILED: {done['failed']}", highlight=False)
                else:
                    measured.setdefault(seed, {})[row] = done["results"]
                    failed.get(seed, {}).pop(row, None)
                    took.setdefault(row, []).append(round(done["seconds"], 1))
                self.write(measured, failed, took, rests_on)
                console.print(f"    {progress.add(seed, row, done['seconds'])}", highlight=False)

        tasks = [(Pipeline(seed=seed), names) for seed, names in missing if names]
        for _ in run_in_parallel(
            tasks, workers, lambda line: console.print(line, highlight=False), keep, self.module
        ):
            pass
        return dict(sorted(measured.items())), failed

    def write(
        self,
        measured: Measured,
        failed: Failures,
        seconds: dict[str, list[float]],
        rests_on: dict[str, str],
    ) -> None:
        """All that was measured, seeds in order, with the stamp of this machine."""
        write_json(
            self.results,
            {
                "format": FORMAT,
                "stamp": environment_stamp(),
                "provenance": rests_on,
                "failed": {seed: rows for seed, rows in sorted(failed.items()) if rows},
                "seconds": seconds,
                "findings": {},  # once all is measured: `write_findings`
                "measured": dict(sorted(measured.items())),
            },
            indent=1,
        )

    def write_findings(self, judged: Sequence[ClaimResult]) -> None:
        """Put the verdicts into the file. Its stamp stays that of the machine that measured."""
        findings = {found.claim.key: found.as_record() for found in judged}
        write_json(self.results, read_json(self.results) | {"findings": findings}, indent=1)

    def known(self) -> tuple[Measured, Failures]:
        """What the file holds: what was measured, and what failed."""
        found = parse_results(read_json(self.results), self.provenance)
        return dict(sorted(found.measured.items())), found.failed

    def check(self) -> None:
        """See that the results, if there are any, can be gone on with.

        Raises:
            HandbookError: they rest on something else than this code.
        """
        if found := read_json(self.results):
            check_unchanged(found, self.results, self.provenance)

    def _known_seconds(self) -> dict[str, list[float]]:
        seconds: dict[str, list[float]] = read_json(self.results).get("seconds", {})
        return seconds


def add_options(parser: argparse.ArgumentParser, replications: int, rows: Sequence[str]) -> None:
    """The options that every study has."""
    parser.add_argument("--seeds", type=int, default=replications, help="replications")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows, help="default: all")
    parser.add_argument("--afresh", action="store_true", help="forget the results that there are")
    parser.add_argument(
        "--known",
        action="store_true",
        help="measure nothing: print and write from the results as they are",
    )


def obtain(
    study: Study, parser: argparse.ArgumentParser, options: argparse.Namespace, console: Console
) -> tuple[Measured, Failures]:
    """What is known, and what is measured now, as the options say.

    Raises:
        HandbookError: the results rest on something else than this code.
    """
    if options.known and (options.afresh or not study.results.is_file()):
        parser.error("--known judges the results that there are, and here there are none")
    if not options.afresh:
        study.check()
    if options.known:
        return study.known()
    return study.measure(options.seeds, options.workers, options.rows, options.afresh, console)


def left_out(failed: Failures) -> list[str]:
    """A sentence for each row that failed."""
    return [
        f"Left out: seed {seed}, {row}: {why}"
        for seed, rows in failed.items()
        for row, why in rows.items()
    ]
