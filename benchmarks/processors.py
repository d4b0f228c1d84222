"""The same seeds on two instruction sets: how far grades and right answers move.

    python benchmarks/processors.py --seeds 0 1 2

Trains dSFT and dDPO of each seed once with the widest instructions that this processor has and once
as on a processor that has AVX2 at most (``ATEN_CPU_CAPABILITY``), examines both, and writes
``benchmarks/results/processors.json``. Sums in another order round otherwise, and a training
carries the last bits on to other answers: this says how many. What ``make claims`` trained of these
seeds is reused.
"""

import argparse
import os
from pathlib import Path

import torch
from rich.console import Console
from rich.markdown import Markdown

from zephyr_utils.ablations.parallel import run_in_parallel
from zephyr_utils.ablations.tables import processors_table
from zephyr_utils.files import write_json
from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.pipeline.artefacts import runs_folder
from zephyr_utils.pipeline.pipeline import Pipeline

RESULTS = Path(__file__).resolve().parent / "results" / "processors.json"
ROWS = ("base", "dsft", "ddpo")
CAPABILITY, OTHER = "ATEN_CPU_CAPABILITY", "avx2"
Exams = dict[str, list[dict[str, float]]]


def measure(seeds: list[int], workers: int, capability: str, runs: str, console: Console) -> Exams:
    """Row -> the exam's grade and share of right answers, one for each seed."""
    os.environ[CAPABILITY] = capability  # of the processes that train
    tasks = [(Pipeline(seed=seed, runs=runs), ROWS) for seed in seeds]
    found = dict(
        run_in_parallel(
            tasks, workers, lambda line: console.print(f"{capability}: {line}", highlight=False)
        )
    )
    return {
        row: [{key: found[seed][row]["exam"][key] for key in ("score", "right")} for seed in seeds]
        for row in ROWS
    }


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
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
    results = {"stamp": environment_stamp(), "seeds": options.seeds, "measured": measured}
    write_json(RESULTS, results, indent=1)
    console.print(Markdown(processors_table(measured)))


if __name__ == "__main__":
    main()
