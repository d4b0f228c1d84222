"""The same seeds on two instruction sets: how far grades and right answers move.

    python benchmarks/processors.py --seeds 3

Trains dSFT and dDPO of each seed once with the widest instructions that this processor has and once
as on a processor that has AVX2 at most (``ATEN_CPU_CAPABILITY``), examines both, and writes
``benchmarks/results/processors.json``. Sums in another order round otherwise, and a training
carries the last bits on to other answers: this says how many. What ``make claims`` trained of these
seeds is reused.
"""

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markdown import Markdown

from zephyr_utils.ablations.parallel import run_in_parallel
from zephyr_utils.files import write_json
from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.pipeline.artefacts import runs_folder
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.tables import markdown_table

RESULTS = Path(__file__).resolve().parent / "results" / "processors.json"
ROWS = ("base", "dsft", "ddpo")
CAPABILITY, OTHER = "ATEN_CPU_CAPABILITY", "avx2"
Exams = dict[str, list[dict[str, float]]]


def measure(seeds: int, workers: int, capability: str, runs: str, console: Console) -> Exams:
    """Row -> the exam's grade and share of right answers, one for each seed."""
    os.environ[CAPABILITY] = capability  # of the processes that train
    tasks = [(Pipeline(seed=seed, runs=runs), ROWS) for seed in range(seeds)]
    found = dict(
        run_in_parallel(
            tasks, workers, lambda line: console.print(f"{capability}: {line}", highlight=False)
        )
    )
    return {
        row: [
            {key: found[seed][row]["exam"][key] for key in ("score", "right")}
            for seed in range(seeds)
        ]
        for row in ROWS
    }


def table(measured: dict[str, Exams]) -> str:
    """Row, difference of the two instruction sets by seed, and beside it the spread over seeds."""
    own, other = measured.values()
    lines = []
    for row in ROWS:
        cells: list[Any] = []
        for key, form, unit in (("score", "+.2f", 1), ("right", "+.1f", 100)):
            values = [unit * exam[key] for exam in own[row]]
            gaps = [v - unit * exam[key] for v, exam in zip(values, other[row], strict=True)]
            cells.append(", ".join(f"{gap:{form}}" for gap in gaps).replace("-", "−"))
            cells.append(f"{statistics.stdev(values):{form[1:]}}" if len(values) > 1 else "")
        lines.append((row, *cells))
    names = " − ".join(name.upper() for name in measured)
    head = ("model", f"grade, {names}", "over seeds", f"right, points, {names}", "over seeds")
    return markdown_table(head, lines)


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=usable_cores())
    options = parser.parse_args()
    own = torch.backends.cpu.get_cpu_capability().lower()
    if own == OTHER:
        parser.error("this processor has AVX2 at most: there is nothing to compare it with")
    console, apart = Console(), str(runs_folder() / f"processor-{OTHER}")
    measured = {
        capability: measure(options.seeds, options.workers, capability, runs, console)
        for capability, runs in ((own, ""), (OTHER, apart))
    }
    write_json(RESULTS, {"stamp": environment_stamp(), "measured": measured}, indent=1)
    console.print(Markdown(table(measured)))


if __name__ == "__main__":
    main()
