"""The paper's claims over several seeds: ``make claims``.

Trains every row of the ablations with each seed, puts the held-out questions to each model at T =
0.7, and writes scores, differences with 95 % intervals over seeds (Student's t), verdicts and the
machine's stamp to ``benchmarks/results/claims.json``. What is finished is reused: a run that was
killed goes on where it was, and the file is rewritten after each part.

    python benchmarks/claims.py --write-ranges    # also the ranges of tests/expected/miniature.yaml
    python benchmarks/claims.py --write-pages     # also book/results.md and the picture in README

Each part is a process of its own with one thread: on small matrices two threads gain little.
"""

import argparse
import functools
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from rich.console import Console
from rich.markdown import Markdown

from zephyr_utils.ablations.catalogue import BETAS, EPOCHS, LOSSES, PAIRINGS, TABLE_3
from zephyr_utils.ablations.claims import (
    Measured,
    difference,
    findings_table,
    judge_all,
    models_table,
    row_scores,
)
from zephyr_utils.ablations.parallel import run_in_parallel
from zephyr_utils.ablations.results import provenance
from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.pipeline.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "claims.json"
RANGES = ROOT / "tests" / "expected" / "miniature.yaml"
# Parts of the work, the most important first; each is one process for each seed.
PARTS = {
    "dsft": ("base", "dsft"),
    "ddpo": ("ddpo",),
    "table3": ("ddpo_without_dsft", "dsft_2", "few"),
    "few": tuple(dict.fromkeys((*PAIRINGS, *BETAS, *LOSSES))),
    "epochs": EPOCHS,
}


def at(*path: str) -> Callable[[dict], float]:
    """Where a number stands in a seed's results."""
    return lambda rows: functools.reduce(lambda part, key: part[key], path, rows)


def over_seeds(number: Callable[[dict], float], measured: Measured) -> list[float]:
    """The seeds' mean plus and minus four standard deviations: a run with any seed falls inside."""
    values = [number(rows) for rows in measured.values()]
    mean, reach = statistics.mean(values), 4 * statistics.stdev(values)
    return [mean - reach, mean + reach]


def of_the_run(seeds: tuple[int, ...]) -> Callable[..., list[float]]:
    """Half a grade around the mean of the very seeds that a chapter runs.

    They repeat exactly on one type of processor; between types, differences of grades moved by
    0.15. Half a grade leaves room for that, and not for a training that gains nothing.
    """

    def bounds(number: Callable[[dict], float], measured: Measured) -> list[float]:
        mean = statistics.mean(number(measured[seed]) for seed in seeds)
        return [mean - 0.5, mean + 0.5]

    return bounds


def at_ln_2(number: Callable[[dict], float], measured: Measured) -> list[float]:
    """ln 2, where a run that starts at its reference must begin, up to rounding in float32."""
    return [math.log(2) - 1e-4, math.log(2) + 1e-4]


# chapter -> metric of its metrics.json -> (a seed's results to that number, its bounds); a
# chapter's first is its headline.
GUARDED: dict[str, dict[str, tuple[Callable[[dict], float], Callable[..., list[float]]]]] = {
    "00_overview": {"gain": (difference("ddpo", "dsft"), of_the_run((0,)))},
    "02_dsft": {"held_out_loss": (at("ddpo", "dsft", "held_out_loss"), over_seeds)},
    "05_ddpo": {"first_step_loss": (at("ddpo", "trained", "first_step_loss"), at_ln_2)},
    "06_reward_margins": {
        "accuracy": (at("ddpo", "margins", "accuracy"), over_seeds),
        "mean_margin": (at("ddpo", "margins", "margin"), over_seeds),
    },
    "07_evaluation": {
        "score_ddpo": (at("ddpo", "exam", "score"), over_seeds),
        "score_dsft": (at("dsft", "exam", "score"), over_seeds),
        "score_base": (at("base", "exam", "score"), over_seeds),
    },
    "08_ablations": {
        "few_minus_dsft": (difference("few", "dsft"), of_the_run((0, 1))),
        "dsft_2_minus_dsft": (difference("dsft_2", "dsft"), of_the_run((0, 1))),
        "without_dsft_minus_dsft": (difference("ddpo_without_dsft", "dsft"), of_the_run((0, 1))),
    },
}


def measure_all(seeds: int, workers: int, parts: list[str], console: Console) -> Measured:
    """Run the parts for all seeds, writing the results after each; those of other parts stay if
    nothing has changed.
    """
    started = time.perf_counter()
    measured: Measured = (
        known_results() if read_json(RESULTS).get("provenance") == provenance() else {}
    )
    wanted = [(seed, PARTS[part]) for part in parts for seed in range(seeds)]
    tasks = [
        (Pipeline(seed=seed), rows)
        for seed, rows in wanted
        if not set(rows) <= set(measured.get(seed, {}))
    ]
    for seed, results in run_in_parallel(
        tasks, workers, lambda line: console.print(line, highlight=False)
    ):
        measured[seed] = measured.get(seed, {}) | results
        write_results(dict(sorted(measured.items())), round(time.perf_counter() - started))
    return dict(sorted(measured.items()))


def write_results(measured: Measured, seconds: int) -> None:
    """Scores, verdicts, and all that they were made from."""
    rows = sorted({row for results in measured.values() for row in results})
    write_json(
        RESULTS,
        {
            "stamp": environment_stamp(),
            "provenance": provenance(),
            "seconds_of_the_last_run": seconds,
            "findings": {result.claim.key: result.as_record() for result in judge_all(measured)},
            "scores": {row: row_scores(measured, row) for row in rows},
            "measured": measured,
        },
    )


def known_results() -> Measured:
    """What the file holds."""
    return {int(seed): rows for seed, rows in read_json(RESULTS).get("measured", {}).items()}


def ranges(measured: Measured) -> dict[str, dict[str, list[float]]]:
    """For each guarded number its bounds, rounded outwards."""
    return {
        chapter: {
            metric: _outwards(*bounds(number, measured))
            for metric, (number, bounds) in metrics.items()
        }
        for chapter, metrics in GUARDED.items()
    }


def _outwards(low: float, high: float) -> list[float]:
    return [math.floor(low * 1e4) / 1e4, math.ceil(high * 1e4) / 1e4]


def write_ranges(measured: Measured) -> None:
    """Replace the guarded chapters' ranges; those of other chapters and the file's opening comment
    stay.
    """
    text = RANGES.read_text(encoding="utf-8")
    comment = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    known = yaml.safe_load(text) or {}
    for chapter, metrics in ranges(measured).items():
        known[chapter] = {
            **metrics,
            **{key: v for key, v in known.get(chapter, {}).items() if key not in metrics},
        }
    RANGES.write_text(
        comment + yaml.safe_dump(known, sort_keys=False, default_flow_style=None), encoding="utf-8"
    )


def write_pages() -> None:
    """The tables of book/results.md and the picture of README; the scripts read the results."""
    for script in ("results_page.py", "readme_picture.py"):
        subprocess.run([sys.executable, ROOT / "tools" / script], check=True)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument(
        "--parts", nargs="+", choices=tuple(PARTS), default=tuple(PARTS), help="default: all"
    )
    parser.add_argument(
        "--write-ranges",
        action="store_true",
        help="rewrite the regression's ranges from these seeds",
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
    console = Console()
    measured = (
        known_results()
        if options.known
        else measure_all(options.seeds, options.workers, options.parts, console)
    )
    if options.known:
        write_results(measured, read_json(RESULTS).get("seconds_of_the_last_run", 0))
    console.print(
        Markdown(models_table(measured, TABLE_3)), Markdown(findings_table(judge_all(measured)))
    )
    if options.write_ranges:
        write_ranges(measured)
    if options.write_pages:
        write_pages()


if __name__ == "__main__":
    main()
