"""Chapters 10 to 12 with several seeds: what each measures, and the ranges that follow.

    python benchmarks/chapter_seeds.py --seeds 0 2 3  # some ten minutes a seed on two cores
    python benchmarks/chapter_seeds.py --seeds --avx2
    python benchmarks/chapter_seeds.py --seeds --write-ranges

A seed draws the records, the trainings and the samples of a whole run. ``zephyr run`` runs the
chapters with it in a folder of its own; their metrics are added to
``benchmarks/results/chapter_seeds.json`` as they come, and seeds that are there are not run again.
The chapters show the table beside their own numbers (`zephyr_utils.lessons.chapter_seeds`).

``--write-ranges`` puts ranges into ``tests/expected/miniature.yaml``: from the lowest value of the
runs to the highest, and as far again to either side. Metrics that do not depend on the seed,
or whose range is known from theory or from a larger study, keep theirs. ``--avx2`` runs seed 0 with
AVX2 alone, which counts for the ranges and is not shown: processors differ, too.
"""

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from expected_ranges import outwards, write_ranges

from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp
from zephyr_utils.pipeline.artefacts import runs_folder
from zephyr_utils.pipeline.chapter_report import read_report
from zephyr_utils.pipeline.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "chapter_seeds.json"
RANGES = ROOT / "tests" / "expected" / "miniature.yaml"
# chapter -> metrics whose range follows from these runs
GUARDED = {
    "10_reward_models": (
        "best_of_8_gain",
        "rl_reward_gain",
        "rl_grade_gain",
        "rl_true_grade_gain",
        "rl_kl",
        "ppo_value_loss_ratio",
        "ppo_reward_gain",
        "ppo_grade_gain",
        "ppo_true_grade_gain",
        "further_reward_gain",
        "further_grade_gain",
        "ppo_kl",
        "ddpo_grade",
        "rloo_minus_ddpo",
    ),
    "11_sampling_again": (
        "dpo_grade_gain",
        "dpo_kl",
        "dpo_minus_offline",
        "sppo_minus_dpo",
        "selm_minus_dpo",
        "optimism",
        "self_grade_gain",
    ),
    "12_comparisons": (
        "expo_fall",
        "expo_short_gain",
        "margin_minus_regular",
        "scaled_minus_regular",
        "distance_texts",
        "distance_logits",
        "spin_gain",
        "irft_gain",
        "irft_minus_dsft_2",
        "dsft_2_gain",
        "best_rated_gain",
        "implicit_friendly",
    ),
}
# Distances, and gains without which a method would have failed.
POSITIVE = {
    "best_of_8_gain",
    "rl_reward_gain",
    "rl_true_grade_gain",
    "rl_kl",
    "ppo_reward_gain",
    "ppo_kl",
    "dpo_grade_gain",
    "dpo_kl",
    "distance_texts",
    "distance_logits",
    "best_rated_gain",
}
Metrics = dict[str, dict[str, dict[str, float]]]  # chapter -> seed -> metric -> value


def run_seed(seed: int, runs: Path, avx2: bool = False) -> dict[str, dict[str, Any]]:
    """Chapter -> metrics of one run.

    Args:
        avx2: use no instruction beyond AVX2.

    Raises:
        CalledProcessError: a chapter failed; its own message is on the screen.
    """
    chapters = ",".join(name.split("_")[0] for name in GUARDED)
    command = [sys.executable, "-m", "zephyr_utils", "run", "--seed", str(seed)]
    # status 1: a metric is outside a range that this run may be there to widen
    status = subprocess.run(
        [*command, "--chapters", chapters, "--runs", str(runs)],
        env=os.environ | ({"ATEN_CPU_CAPABILITY": "avx2"} if avx2 else {}),
    ).returncode
    report = read_report(Pipeline(seed=seed, runs=str(runs)).folder)
    if status not in (0, 1) or not GUARDED.keys() <= report.keys():
        raise subprocess.CalledProcessError(status, command)
    return {
        name: {key: one for key, one in report[name]["metrics"].items() if key != "peak_memory_mb"}
        for name in GUARDED
    }


def range_of(values: Sequence[float], positive: bool = False) -> list[float]:
    """From the lowest to the highest value, and as far again to either side; in logarithms where
    a value has to be positive.
    """
    numbers = [math.log(value) for value in values] if positive else list(values)
    low, high = min(numbers), max(numbers)
    ends = (low - (high - low), high + (high - low))
    return outwards(*(math.exp(end) for end in ends)) if positive else outwards(*ends)


def ranges(results: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Chapter -> metric -> its range, over the seeds and the run with AVX2."""
    return {
        chapter: {
            name: range_of(
                [
                    metrics[name]
                    for metrics in [
                        *results["chapters"][chapter].values(),
                        results["avx2"][chapter],
                    ]
                ],
                name in POSITIVE,
            )
            for name in names
        }
        for chapter, names in GUARDED.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 2, 3])
    parser.add_argument("--avx2", action="store_true", help="run seed 0 with AVX2 alone, too")
    parser.add_argument("--write-ranges", action="store_true", help="rewrite the expected ranges")
    options = parser.parse_args()
    results = {"environment": environment_stamp(), "chapters": {}, "avx2": {}} | read_json(RESULTS)
    found: Metrics = results["chapters"]
    for seed in options.seeds:
        if all(str(seed) in found.get(name, {}) for name in GUARDED):
            continue
        with TemporaryDirectory(dir=runs_folder()) as folder:
            for name, metrics in run_seed(seed, Path(folder)).items():
                found.setdefault(name, {})[str(seed)] = metrics
        write_json(RESULTS, results | {"environment": environment_stamp()}, indent=1)
    if options.avx2:
        with TemporaryDirectory(dir=runs_folder()) as folder:
            write_json(RESULTS, results | {"avx2": run_seed(0, Path(folder), avx2=True)}, indent=1)
    if options.write_ranges:
        write_ranges(RANGES, ranges(read_json(RESULTS)))


if __name__ == "__main__":
    main()
