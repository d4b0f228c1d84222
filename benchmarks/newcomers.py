"""Newcomers' questions over ten replications, the protocol's third outcome: ``make newcomers``.

Trains dSFT and dDPO in each replication, whose seed draws records and training alike, puts the
eighty questions of ``zephyr_utils/miniature/newcomers.py`` to both, and writes which were answered
sensibly to ``benchmarks/results/newcomers.json``. Models of the same seeds that ``make claims``
trained are reused, and a run that was killed goes on where it was.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from expected_ranges import outwards, write_ranges
from rich.console import Console
from rich.markdown import Markdown
from study import Study, add_options, left_out, obtain

from zephyr_utils.ablations.verdicts import Measured
from zephyr_utils.miniature import newcomers_study

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "newcomers.json"
RANGES = ROOT / "tests" / "expected" / "miniature.yaml"
REPLICATIONS = 10
REACH = 0.15  # of the regression, in shares
STUDY = Study(RESULTS, newcomers_study.__name__, newcomers_study.newcomers_provenance)


def ranges(measured: Measured) -> dict[str, list[float]]:
    """Bounds of chapter 07's shares: `REACH` around the mean of these replications.

    Each of the ten lies inside; of seed 0, AVX2 alone moved dSFT's share by 0.05 and dDPO's by
    0.09.
    """
    means = {
        stage: statistics.mean(
            statistics.mean(rows[stage]["sensible"]) for rows in measured.values()
        )
        for stage in newcomers_study.STAGES
    }
    return {
        f"newcomers_{stage}": outwards(mean - REACH, mean + REACH) for stage, mean in means.items()
    }


def main() -> int:
    """Measure, print, write; 1 if a training failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, REPLICATIONS, newcomers_study.STAGES)
    parser.add_argument(
        "--write-ranges", action="store_true", help="rewrite the regression's ranges of both shares"
    )
    parser.add_argument("--write-pages", action="store_true", help="rewrite book/results.md")
    options = parser.parse_args()
    console = Console()
    measured, failed = obtain(STUDY, parser, options, console)
    console.print(Markdown(newcomers_study.newcomers_table(measured)))
    console.print("\n".join([f"{len(measured)} replications.", *left_out(failed)]))
    if options.write_ranges:
        write_ranges(RANGES, {"07_evaluation": ranges(measured)})
    if options.write_pages:
        subprocess.run([sys.executable, ROOT / "tools" / "results_page.py"], check=True)
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
