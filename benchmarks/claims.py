"""The paper's claims over ten replications: ``make claims``.

Trains and examines every row of the ablations in each replication, whose seed draws records, exam
and training alike, and writes what was measured (two outcomes by question), verdicts and the
machine's stamp to ``benchmarks/results/claims.json``. What is judged and how stands in
``benchmarks/protocol.md``, which is older than the results.

The file is rewritten after each row: a run that was killed goes on where it was. Results that rest
on another base model, world or recipe are refused, by name. A row that fails is named, left out and
counted; the others are measured all the same.

    python benchmarks/claims.py --rows dsft ddpo  # some rows, and those they start from
    python benchmarks/claims.py --write-ranges    # also the ranges of tests/expected/miniature.yaml
    python benchmarks/claims.py --write-pages     # also book/results.md and the picture in README

Each replication is a process of its own with one thread: on small matrices two threads gain little.
"""

import argparse
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from expected_ranges import write_ranges
from rich.console import Console
from rich.markdown import Markdown

from zephyr_utils.ablations.catalogue import (
    BETAS,
    CONTROLS,
    EPOCHS,
    LOSSES,
    OWN_ANSWERS,
    PAIRINGS,
    TABLE_3,
)
from zephyr_utils.ablations.claims import FIRST, findings_table, judge_all, models_table
from zephyr_utils.ablations.parallel import run_in_parallel
from zephyr_utils.ablations.results import (
    FORMAT,
    Failures,
    check_unchanged,
    parse_results,
    provenance,
)
from zephyr_utils.ablations.tables import undecided
from zephyr_utils.ablations.verdicts import ClaimResult, Measured
from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.pipeline.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "claims.json"
RANGES = ROOT / "tests" / "expected" / "miniature.yaml"
REPLICATIONS = 10
# the most important first
ROWS = tuple(
    dict.fromkeys(
        (
            *("base", "dsft", "ddpo"),
            *TABLE_3,
            *PAIRINGS,
            *OWN_ANSWERS,
            *BETAS,
            *LOSSES,
            *CONTROLS,
            *EPOCHS,
        )
    )
)


class Progress:
    """How far a run is: rows done, and an estimate of the time that is left.

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


def measure_all(
    seeds: int, workers: int, rows: list[str], afresh: bool, console: Console
) -> tuple[Measured, Failures]:
    """Measure the rows of all seeds that are missing, writing the results after each row; those of
    other rows stay.
    """
    measured, failed = ({}, {}) if afresh else known_results()
    took = {} if afresh else known_seconds()
    rests_on, lock = provenance(), threading.Lock()
    missing = [
        (seed, [row for row in rows if row not in measured.get(seed, {})]) for seed in range(seeds)
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
            write_results(measured, failed, took, rests_on)
            console.print(f"    {progress.add(seed, row, done['seconds'])}", highlight=False)

    tasks = [(Pipeline(seed=seed), names) for seed, names in missing if names]
    for _ in run_in_parallel(
        tasks, workers, lambda line: console.print(line, highlight=False), keep
    ):
        pass
    return measured, failed


def write_results(
    measured: Measured,
    failed: Failures,
    seconds: dict[str, list[float]],
    rests_on: dict[str, str],
) -> None:
    """All that was measured, seeds in order, with the stamp of this machine."""
    write_json(
        RESULTS,
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


def write_findings(judged: list[ClaimResult]) -> None:
    """Put the verdicts into the file. Its stamp stays that of the machine that measured."""
    findings = {found.claim.key: found.as_record() for found in judged}
    write_json(RESULTS, read_json(RESULTS) | {"findings": findings}, indent=1)


def known_results() -> tuple[Measured, Failures]:
    """What the file holds: what was measured, and what failed."""
    known = parse_results(read_json(RESULTS))
    return known.measured, known.failed


def known_seconds() -> dict[str, list[float]]:
    """How long each row took, in its replications."""
    seconds: dict[str, list[float]] = read_json(RESULTS).get("seconds", {})
    return seconds


def summary(judged: list[ClaimResult], measured: Measured, failed: Failures) -> str:
    """What a reader has to know beside the tables."""
    open_ones = undecided(judged[:FIRST])
    lines = [
        f"{len(measured)} replications. Of the first {FIRST} claims {len(open_ones)} are undecided"
        + (f": {', '.join(open_ones)}." if open_ones else ".")
    ]
    lines += [
        f"Left out: seed {seed}, {row}: {why}"
        for seed, rows in failed.items()
        for row, why in rows.items()
    ]
    return "\n\n".join(lines)


def write_pages() -> None:
    """The tables of book/results.md and the picture of README; the scripts read the results."""
    for script in ("results_page.py", "readme_picture.py"):
        subprocess.run([sys.executable, ROOT / "tools" / script], check=True)


def main() -> int:
    """Measure, print, write; 1 if a row failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=REPLICATIONS, help="replications")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="default: all")
    parser.add_argument("--afresh", action="store_true", help="forget the results that there are")
    parser.add_argument(
        "--write-ranges",
        action="store_true",
        help="rewrite the regression's ranges from these replications",
    )
    parser.add_argument(
        "--write-pages", action="store_true", help="rewrite book/results.md and README's picture"
    )
    parser.add_argument(
        "--known",
        action="store_true",
        help="measure nothing: print and write from the results as they are",
    )
    options = parser.parse_args()
    console, results = Console(), read_json(RESULTS)
    if options.known and (options.afresh or not results):
        parser.error("--known judges the results that there are, and here there are none")
    if not options.afresh and results:
        check_unchanged(results, RESULTS)
    if options.known:
        measured, failed = known_results()
    else:
        measured, failed = measure_all(
            options.seeds, options.workers, list(options.rows), options.afresh, console
        )
    measured = dict(sorted(measured.items()))
    judged = judge_all(measured)
    write_findings(judged)
    console.print(Markdown(models_table(measured, ROWS)), Markdown(findings_table(judged)))
    console.print(Markdown(summary(judged, measured, failed)))
    if options.write_ranges:
        write_ranges(RANGES, measured)
    if options.write_pages:
        write_pages()
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
