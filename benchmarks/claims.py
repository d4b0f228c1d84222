"""The paper's claims over ten replications: ``make claims``.

Trains and examines every row of the ablations in each replication, whose seed draws records, exam
and training alike, and writes what was measured (two outcomes by question), verdicts and the
machine's stamp to ``benchmarks/results/claims.json``. What is judged and how is in
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
from pathlib import Path

from expected_ranges import ranges, write_ranges
from rich.console import Console
from rich.markdown import Markdown
from study import Study, add_options, left_out, obtain

from zephyr_utils.ablations import measurements
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
from zephyr_utils.ablations.results import Failures, provenance
from zephyr_utils.ablations.tables import undecided
from zephyr_utils.ablations.verdicts import ClaimResult, Measured

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


STUDY = Study(RESULTS, measurements.__name__, provenance)


def summary(judged: list[ClaimResult], measured: Measured, failed: Failures) -> str:
    """What a reader has to know beside the tables."""
    open_ones = undecided(judged[:FIRST])
    lines = [
        f"{len(measured)} replications. Of the first {FIRST} claims {len(open_ones)} are undecided"
        + (f": {', '.join(open_ones)}." if open_ones else ".")
    ]
    return "\n\n".join([*lines, *left_out(failed)])


def write_pages() -> None:
    """The tables of book/results.md and the picture of README; the scripts read the results."""
    for script in ("results_page.py", "readme_picture.py"):
        subprocess.run([sys.executable, ROOT / "tools" / script], check=True)


def main() -> int:
    """Measure, print, write; 1 if a row failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, REPLICATIONS, ROWS)
    parser.add_argument(
        "--write-ranges",
        action="store_true",
        help="rewrite the regression's ranges from these replications",
    )
    parser.add_argument(
        "--write-pages", action="store_true", help="rewrite book/results.md and README's picture"
    )
    options = parser.parse_args()
    console = Console()
    measured, failed = obtain(STUDY, parser, options, console)
    judged = judge_all(measured)
    STUDY.write_findings(judged)
    console.print(Markdown(models_table(measured, ROWS)), Markdown(findings_table(judged)))
    console.print(Markdown(summary(judged, measured, failed)))
    if options.write_ranges:
        write_ranges(RANGES, ranges(measured))
    if options.write_pages:
        write_pages()
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
