"""The miniature's claims over five seeds: ``make claims``.

Trains dSFT, dSFT + dDPO and dDPO without dSFT with each seed, samples their answers to the held-out questions at
T = 0.7, and writes scores, differences with 95 % intervals over seeds (Student's t), and the machine's stamp to
``benchmarks/results/claims.json``. With ``--write-ranges`` also the ranges of ``tests/expected/miniature.yaml``.

Each seed is a process of its own with one thread: on small matrices two threads gain little and quarrel much.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from zephyr_utils.evaluation import seeds_interval
from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.workflow import write_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "claims.json"
RANGES = ROOT / "tests" / "expected" / "miniature.yaml"
MODELS = ("base", "ddpo_without_dsft", "dsft", "ddpo")
DIFFERENCES = {
    "dsft - base": ("dsft", "base"),
    "ddpo - dsft": ("ddpo", "dsft"),
    "ddpo_without_dsft - base": ("ddpo_without_dsft", "base"),
}
# chapter -> metric of its metrics.json -> where it stands in a seed's results
GUARDED = {
    "02_dsft": {"held_out_loss": ("dsft", "held_out_loss")},
    "05_ddpo": {"first_step_loss": ("ddpo", "first_step_loss")},
    "06_reward_margins": {"accuracy": ("margins", "accuracy"), "mean_margin": ("margins", "margin")},
    "07_evaluation": {
        "score_ddpo": ("evaluation", "ddpo", "score"),
        "score_dsft": ("evaluation", "dsft", "score"),
        "score_base": ("evaluation", "base", "score"),
    },
}


def run_seed(seed: int) -> dict:
    """Everything of one seed, in this process."""
    from zephyr_utils.road import Road

    road = Road(seed=seed)
    evaluated = {name: road.evaluate(name, road.model_directory(name)).results for name in MODELS}
    return {
        "seed": seed,
        "dsft": road.dsft().results,
        "ddpo": road.ddpo().results,
        "margins": road.margins().results,
        "evaluation": evaluated,
    }


def in_a_process(seed: int) -> dict:
    """`run_seed` in a process of its own; its last line is the result."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, __file__, "--one-seed", str(seed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"seed {seed} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def summarise(seeds: list[dict]) -> dict:
    """Scores per model and seed, and the differences that the claims are about."""
    keys = ("score", "turn_1", "turn_2", "right", "right_turn_1", "right_turn_2", "ended", "tokens")
    models = {name: {key: [s["evaluation"][name][key] for s in seeds] for key in keys} for name in MODELS}
    differences = {}
    for claim, (better, worse) in DIFFERENCES.items():
        gaps = [a - b for a, b in zip(models[better]["score"], models[worse]["score"], strict=True)]
        interval = seeds_interval(gaps)
        differences[claim] = {"per_seed": gaps, "mean": interval.estimate, "low": interval.low, "high": interval.high}
    return {
        "models": {name: values["score"] for name, values in models.items()},
        "details": models,
        "differences": differences,
        "margins": [s["margins"] for s in seeds],
        "held_out_loss": [s["dsft"]["held_out_loss"] for s in seeds],
    }


def ranges(seeds: list[dict]) -> dict[str, dict[str, list[float]]]:
    """For each guarded number: the seeds' mean plus and minus four standard deviations (at least 2 % of the mean)."""
    found: dict[str, dict[str, list[float]]] = {}
    for chapter, metrics in GUARDED.items():
        for metric, path in metrics.items():
            values = []
            for seed in seeds:
                value = seed
                for key in path:
                    value = value[key]
                values.append(value)
            mean = statistics.mean(values)
            reach = max(4 * statistics.stdev(values), 0.02 * abs(mean))
            found.setdefault(chapter, {})[metric] = [round(mean - reach, 4), round(mean + reach, 4)]
    return found


def print_table(summary: dict, console: Console) -> None:
    """The claims as a table, for the terminal."""
    table = Table(title="Held-out questions, T = 0.7, mean grade of both turns (1 to 10)")
    for column in ("model", "score (mean of seeds)", "right, turn 1", "right, turn 2", "ends by itself"):
        table.add_column(column)
    for name, values in summary["details"].items():
        shares = [f"{statistics.mean(values[key]):.0%}" for key in ("right_turn_1", "right_turn_2", "ended")]
        table.add_row(name, f"{statistics.mean(values['score']):.2f}", *shares)
    console.print(table)
    for claim, gap in summary["differences"].items():
        console.print(f"{claim}: {gap['mean']:+.2f} [{gap['low']:+.2f}, {gap['high']:+.2f}]", highlight=False)


def main() -> None:
    """Run the seeds side by side, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--one-seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--write-ranges", action="store_true", help="rewrite the regression's ranges from these seeds")
    options = parser.parse_args()
    if options.one_seed is not None:
        print(json.dumps(run_seed(options.one_seed)))
        return
    started = time.perf_counter()
    with ThreadPoolExecutor(options.workers) as pool:  # threads that wait for processes
        seeds = list(pool.map(in_a_process, range(options.seeds)))
    summary = summarise(seeds)
    summary |= {"seeds": options.seeds, "seconds": round(time.perf_counter() - started), "stamp": environment_stamp()}
    print_table(summary, Console())
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    write_json(RESULTS, summary)
    if options.write_ranges:
        known = yaml.safe_load(RANGES.read_text(encoding="utf-8")) if RANGES.exists() else {}
        RANGES.write_text(yaml.safe_dump({**(known or {}), **ranges(seeds)}, sort_keys=True), encoding="utf-8")


if __name__ == "__main__":
    main()
