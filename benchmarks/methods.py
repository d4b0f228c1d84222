"""The methods that followed Zephyr over eight replications: ``make methods``.

Trains and examines every row of part two in each replication, whose seed draws records, exam and
training alike, and writes what was measured, verdicts and the machine's stamp to
``benchmarks/results/methods.json``. What is judged and how is in
``benchmarks/protocol-methods.md``, which is older than the results. Rows that are measured stay;
results that rest on another base model, world or setting are refused, by name.

    python benchmarks/methods.py --rows iterative offline  # some rows, and those they start from
    python benchmarks/methods.py --known --write-pages     # judge and print what there is

Models of the same seeds that ``make claims`` trained are reused.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from study import Study, add_options, left_out, obtain

from zephyr_utils.ablations.methods import measurements
from zephyr_utils.ablations.methods.catalogue import METHODS, methods_provenance
from zephyr_utils.ablations.methods.claims import judge_methods
from zephyr_utils.ablations.tables import findings_table, methods_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "methods.json"
REPLICATIONS = 8
STUDY = Study(RESULTS, measurements.__name__, methods_provenance)


def main() -> int:
    """Measure, print, write; 1 if a row failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, REPLICATIONS, list(METHODS))
    parser.add_argument("--write-pages", action="store_true", help="rewrite book/results.md")
    options = parser.parse_args()
    console = Console()
    measured, failed = obtain(STUDY, parser, options, console)
    judged = judge_methods(measured)
    STUDY.write_findings(judged)
    labels = {name: row.label for name, row in METHODS.items()}
    console.print(Markdown(methods_table(measured, labels)))
    console.print(Markdown(findings_table(judged)))
    console.print("\n".join([f"{len(measured)} replications.", *left_out(failed)]))
    if options.write_pages:
        subprocess.run([sys.executable, ROOT / "tools" / "results_page.py"], check=True)
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
