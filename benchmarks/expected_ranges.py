"""The ranges that the miniature's numbers fall into, from the replications of ``make claims`` and
from the same seeds on another instruction set (``processors.py``).
"""

import functools
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from zephyr_utils.ablations.claims import score
from zephyr_utils.ablations.verdicts import Measured
from zephyr_utils.files import read_json

Number = Callable[[dict[str, Any]], float]
PROCESSORS = Path(__file__).parent / "results" / "processors.json"


def at(*path: str) -> Number:
    """Where a number is in a replication's results."""
    return lambda rows: functools.reduce(lambda part, key: part[key], path, rows)  # type: ignore[return-value]


def difference(better: str, worse: str) -> Number:
    """Grade of one row minus that of another."""
    return lambda rows: score(rows[better]) - score(rows[worse])


def by_processor(number: Number) -> list[tuple[float, ...]]:
    """A number of the same seed on each instruction set, seed by seed; empty where it rests on more
    than the three exams that are known.
    """
    sets = read_json(PROCESSORS)["measured"].values()
    seeds = [
        [{row: {"exam": exam} for row, exam in zip(rows, exams, strict=True)} for exams in seeds]
        for rows in sets
        if (seeds := list(zip(*rows.values(), strict=True)))
    ]
    try:
        return [tuple(map(number, same)) for same in zip(*seeds, strict=True)]
    except KeyError:
        return []


def over_seeds(number: Number, measured: Measured) -> list[float]:
    """The replications' mean plus and minus four standard deviations, and what was met on either
    instruction set: a run with any seed falls inside.
    """
    values = [number(rows) for rows in measured.values()]
    mean, reach = statistics.mean(values), 4 * statistics.stdev(values)
    met = [value for same in by_processor(number) for value in same]
    return [min([mean - reach, *met]), max([mean + reach, *met])]


def of_the_run(seeds: tuple[int, ...]) -> Callable[..., list[float]]:
    """Half a grade around the mean of the very seeds that a chapter runs, or more if an instruction
    set has moved what dDPO gains by more.

    They repeat exactly on one type of processor. Half a grade leaves room for the other (the most
    it moved a gain by was 0.40), and not for a training that gains nothing.
    """

    def bounds(number: Number, measured: Measured) -> list[float]:
        mean = statistics.mean(number(measured[seed]) for seed in seeds)
        gains = by_processor(difference("ddpo", "dsft"))
        reach = max(0.5, *(max(same) - min(same) for same in gains))
        return [mean - reach, mean + reach]

    return bounds


def at_ln_2(number: Number, measured: Measured) -> list[float]:
    """ln 2, where a run that starts at its reference must begin, up to rounding in float32."""
    return [math.log(2) - 1e-4, math.log(2) + 1e-4]


# chapter -> metric of its metrics.json -> (a replication's results to that number, its bounds); a
# chapter's first is its headline.
GUARDED: dict[str, dict[str, tuple[Number, Callable[..., list[float]]]]] = {
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
        "few_minus_dsft": (difference("few", "dsft"), of_the_run((0,))),
        "without_dsft_minus_dsft": (difference("ddpo_without_dsft", "dsft"), of_the_run((0,))),
    },
}


def ranges(measured: Measured) -> dict[str, dict[str, list[float]]]:
    """For each guarded number its bounds, rounded outwards."""
    return {
        chapter: {
            metric: outwards(*bounds(number, measured))
            for metric, (number, bounds) in metrics.items()
        }
        for chapter, metrics in GUARDED.items()
    }


def outwards(low: float, high: float) -> list[float]:
    """Rounded to four digits, so that the range grows."""
    return [math.floor(low * 1e4) / 1e4, math.ceil(high * 1e4) / 1e4]


def write_ranges(path: Path, found: dict[str, dict[str, list[float]]]) -> None:
    """Replace the ranges of the metrics that are named; all others and the file's opening comment
    stay.
    """
    text = path.read_text(encoding="utf-8")
    comment = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    known = yaml.safe_load(text) or {}
    for chapter, metrics in found.items():
        earlier = known.get(chapter, {})
        known[chapter] = {key: metrics.get(key, bounds) for key, bounds in earlier.items()}
        known[chapter] |= {key: metrics[key] for key in metrics if key not in earlier}
    path.write_text(
        comment + yaml.safe_dump(known, sort_keys=False, default_flow_style=None), encoding="utf-8"
    )
