"""Chapters 10 to 12 with several seeds: what each measures, and the ranges that follow.

    python benchmarks/chapter_seeds.py --seeds 0 1 2 3   # some ten minutes a seed on two cores
    python benchmarks/chapter_seeds.py --known --write-ranges

A seed draws the records, the trainings and the samples of a whole run. ``zephyr run`` runs the
chapters with it in a folder of its own; their metrics are added to
``benchmarks/results/chapter_seeds.json`` as they come, and seeds that are there are not run again.
The chapters show the table beside their own numbers (`zephyr_utils.lessons.chapter_seeds`).

``--write-ranges`` puts prediction intervals for one further run into
``tests/expected/miniature.yaml``: mean ± t · s · √(1 + 1/n) at 99 %. Metrics that do not depend on
the seed, or whose range is known from theory or from a larger study, keep theirs.
"""

import argparse
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from expected_ranges import outwards, write_ranges
from scipy.stats import t

from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp
from zephyr_utils.pipeline.artefacts import runs_folder
from zephyr_utils.pipeline.chapter_report import read_report
from zephyr_utils.pipeline.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "chapter_seeds.json"
RANGES = ROOT / "tests" / "expected" / "miniature.yaml"
LEVEL = 0.99
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
POSITIVE = {"rl_kl", "ppo_kl", "dpo_kl", "distance_texts", "distance_logits"}
Metrics = dict[str, dict[str, dict[str, float]]]  # chapter -> seed -> metric -> value


def run_seed(seed: int, runs: Path) -> dict[str, dict[str, Any]]:
    """Chapter -> metrics of one run.

    Raises:
        CalledProcessError: a chapter failed; its own message is on the screen.
    """
    chapters = ",".join(name.split("_")[0] for name in GUARDED)
    command = [sys.executable, "-m", "zephyr_utils", "run", "--seed", str(seed)]
    # status 1: a metric is outside a range that this run may be there to widen
    status = subprocess.run([*command, "--chapters", chapters, "--runs", str(runs)]).returncode
    report = read_report(Pipeline(seed=seed, runs=str(runs)).folder)
    if status not in (0, 1) or not GUARDED.keys() <= report.keys():
        raise subprocess.CalledProcessError(status, command)
    return {name: report[name]["metrics"] for name in GUARDED}


def prediction_interval(values: Sequence[float], positive: bool = False) -> list[float]:
    """Where one further value falls with probability `LEVEL`, if values are normal; of their
    logarithms where they cannot be negative.
    """
    numbers = [math.log(value) for value in values] if positive else list(values)
    mean, n = statistics.mean(numbers), len(numbers)
    quantile = float(t.ppf((1 + LEVEL) / 2, n - 1))
    reach = quantile * statistics.stdev(numbers) * math.sqrt(1 + 1 / n)
    ends = (mean - reach, mean + reach)
    return outwards(*(math.exp(end) for end in ends)) if positive else outwards(*ends)


def ranges(found: Metrics) -> dict[str, dict[str, list[float]]]:
    """Chapter -> metric -> its interval."""
    return {
        chapter: {
            name: prediction_interval(
                [metrics[name] for metrics in found[chapter].values()], name in POSITIVE
            )
            for name in names
        }
        for chapter, names in GUARDED.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--known", action="store_true", help="run nothing")
    parser.add_argument("--write-ranges", action="store_true", help="rewrite the expected ranges")
    parser.add_argument("--runs", type=Path, default=None, help="keep the runs in this folder")
    options = parser.parse_args()
    found: Metrics = read_json(RESULTS).get("chapters", {})
    for seed in [] if options.known else options.seeds:
        if all(str(seed) in found.get(name, {}) for name in GUARDED):
            continue
        with TemporaryDirectory(dir=runs_folder()) as folder:
            measured = run_seed(seed, options.runs or Path(folder))
        for name, metrics in measured.items():
            found.setdefault(name, {})[str(seed)] = {
                key: value for key, value in metrics.items() if key != "peak_memory_mb"
            }
        write_json(RESULTS, {"environment": environment_stamp(), "chapters": found}, indent=1)
    if options.write_ranges:
        write_ranges(RANGES, ranges(found))


if __name__ == "__main__":
    main()
