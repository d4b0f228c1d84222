"""Checks of chapter 06: the implied beta, how many pairs an accuracy needs, what it was measured
on, and what is wrong with a log.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

Array = NDArray[np.float64]


def _pairs_needed(accuracy: float, half_width: float, z: float = 1.96) -> int:
    return math.ceil(z**2 * accuracy * (1 - accuracy) / half_width**2)


@exercise(
    "06_reward_margins",
    right="Half the width costs four times the pairs: 64 of them cannot tell two good runs apart.",
    solution=_pairs_needed,
    wrong={
        "only one": lambda accuracy, half_width: _pairs_needed(accuracy, half_width, z=1.0),
        "rounded 1.96 to 2": lambda accuracy, half_width: _pairs_needed(
            accuracy, half_width, z=2.0
        ),
        "worst case": lambda accuracy, half_width: _pairs_needed(0.5, half_width),
        "to each side": lambda accuracy, half_width: _pairs_needed(accuracy, half_width / 2),
        "square": lambda accuracy, half_width: math.ceil(
            1.96 * accuracy * (1 - accuracy) / half_width
        ),
        "forgets the accuracy": lambda accuracy, half_width: math.ceil(1.96**2 / half_width**2),
        "variance": lambda accuracy, half_width: math.ceil(1.96**2 * accuracy / half_width**2),
        "whole pairs": lambda accuracy, half_width: (
            1.96**2 * accuracy * (1 - accuracy) / half_width**2
        ),
        "too few": lambda accuracy, half_width: _pairs_needed(accuracy, half_width) - 1,
    },
)
def check_pairs_needed(fn: Callable[[float, float], int]) -> None:
    """``fn(accuracy, half_width) -> pairs``: how many make the 95 % interval of a share that
    narrow.
    """
    for accuracy, half_width in ((0.78, 0.10), (0.78, 0.01), (0.6, 0.03)):
        expected = _pairs_needed(accuracy, half_width)
        spread = accuracy * (1 - accuracy)
        mistakes = {
            "A 95 % interval reaches 1.96 standard errors to each side; this reaches only "
            "one.": _pairs_needed(accuracy, half_width, z=1.0),
            "You rounded 1.96 to 2, which asks for four in a hundred pairs too "
            "many.": _pairs_needed(accuracy, half_width, z=2.0),
            "This is the worst case, an accuracy of one half; the accuracy is "
            "given.": _pairs_needed(0.5, half_width),
            "The interval may reach `half_width` to each side; you fit both halves into "
            "it.": _pairs_needed(accuracy, half_width / 2),
            "The standard error falls with the root of the number, so the half-width enters as its "
            "square.": math.ceil(1.96 * spread / half_width),
            "This forgets the accuracy: the variance of a share is p (1 - p), at most a "
            "quarter.": math.ceil(1.96**2 / half_width**2),
            "The variance of a share is p (1 - p), not p.": math.ceil(
                1.96**2 * accuracy / half_width**2
            ),
            "Give whole pairs, rounded up.": 1.96**2 * spread / half_width**2,
            "One too few: round up, or the interval is a little wider than asked.": expected - 1,
        }
        compare(
            attempt(fn, accuracy, half_width),
            expected,
            mistakes,
            "Solve 1.96 * sqrt(p (1 - p) / n) = half_width for n.",
        )


def _fitting(
    accuracies: Array, most: int = 1000, tolerance: float = 0.51e-4, signed: bool = False
) -> list[int]:
    """Every n up to `most` that all of them are multiples of 1/n of."""
    fitting = []
    for n in range(1, most + 1):
        off = np.round(accuracies * n) / n - accuracies
        if np.max(off if signed else np.abs(off)) <= tolerance:
            fitting.append(n)
    return fitting


def _gap(accuracies: Array) -> int:
    return round(1 / np.diff(np.unique(accuracies)).max())


TOO_COARSE = (1e-4, 2e-4, 5e-4, 1e-3)


@exercise(
    "06_reward_margins",
    right="Zephyr's 58 accuracies give 64: four decimals gave away how few pairs stood behind "
    "them.",
    solution=lambda accuracies: _fitting(accuracies)[0],
    wrong={
        "rounded to four": lambda accuracies: _fitting(accuracies, most=10_000, tolerance=1e-9)[0],
        "largest": lambda accuracies: _fitting(accuracies)[-1],
        "how many evaluations": len,
        "only the first": lambda accuracies: _fitting(accuracies[:1])[0],
        "largest gap": _gap,
        "too coarse": lambda accuracies: _fitting(accuracies, tolerance=1e-3)[0],
        "too coarse a tolerance": lambda accuracies: _fitting(accuracies, tolerance=1e-4)[0],
        "below as well as above": lambda accuracies: _fitting(accuracies, signed=True)[0],
    },
)
def check_measured_on(fn: Callable[[Array], int]) -> None:
    """``fn(accuracies) -> n``: the smallest n that all of them, printed with four decimals, are
    multiples of 1/n of.
    """
    for right, n in (
        ([46, 47, 50, 51, 45], 64), ([30, 31, 26], 40), ([281, 343], 452), ([326, 353], 422)
    ):  # fmt: skip
        accuracies = np.round(np.array(right) / n, 4)
        mistakes = {
            "The figures were rounded to four decimals: allow half a unit of the last, "
            "0.5e-4.": _fitting(accuracies, most=10_000, tolerance=1e-9)[0],
            "Many numbers fit, all multiples of one; this is the largest tried, the smallest was "
            "asked for.": _fitting(accuracies)[-1],
            "This looks at only the first accuracy; all of them have to fit.": _fitting(
                accuracies[:1]
            )[0],
            "This is how many evaluations there were, not how many pairs each was measured "
            "on.": len(right),
            "An accuracy may lie below as well as above the multiple: compare absolute "
            "differences.": _fitting(accuracies, signed=True)[0],
            "This is one over the largest gap between two; the smallest step that fits all was "
            "asked for.": _gap(accuracies),
        }
        got = attempt(fn, accuracies)
        coarse = {_fitting(accuracies, tolerance=tolerance)[0] for tolerance in TOO_COARSE} - {n}
        if got in coarse and got not in mistakes.values():
            raise Wrong(
                "That is too coarse a tolerance: a figure printed with four decimals is off by at "
                "most 0.5e-4, and a wider allowance lets smaller numbers pass."
            )
        compare(got, n, mistakes, "Try n = 1, 2, 3, ... until every accuracy times n is whole.")


def _slope(rewards: np.ndarray, logps: np.ndarray) -> float:
    return float(np.polyfit(logps, rewards, 1)[0])


@exercise(
    "06_reward_margins",
    right="From a published log alone you know with which beta a model was trained, whatever its "
    "card says.",
    solution=_slope,
    wrong={
        "reference": lambda rewards, logps: float(np.mean(rewards / logps)),
        "other way round": lambda rewards, logps: _slope(logps, rewards),
        "intercept": lambda rewards, logps: float(np.polyfit(logps, rewards, 1)[1]),
        "wrong sign": lambda rewards, logps: -_slope(rewards, logps),
    },
)
def check_implied_beta(fn: Callable[[np.ndarray, np.ndarray], float]) -> None:
    """``fn(rewards, logps) -> beta``, from evaluations on one fixed set, reference unknown."""
    logps = np.array([-250.0, -256.0, -261.5, -274.0, -270.0])
    for beta in (0.1, 0.02):
        rewards = beta * (logps - -251.3)
        slope, intercept = np.polyfit(logps, rewards, 1)
        mistakes = {
            "A reward divided by its log-probability leaves out the reference: the reward is beta "
            "times a difference. "
            "The unknown reference is the same in each row, so look at how one changes with the "
            "other.": np.mean(rewards / logps),
            "This is the slope the other way round, 1 / beta: rewards change beta times as much.": 1
            / slope,
            "This is the intercept of the line, -beta times the reference; beta is its "
            "slope.": intercept,
            "This has the wrong sign: rewards rise as log-probabilities rise.": -slope,
        }
        compare(
            attempt(fn, rewards, logps),
            beta,
            mistakes,
            "This is not the slope of rewards over log-probabilities.",
        )


# --- what is wrong with a log ---------------------------------------------------------------------

Log = dict[str, Array]
FAULTS = ("start", "arithmetic", "frozen", "direction", "fine")


def _diagnosis(log: Log) -> str:
    chosen, rejected, margins = (log[name] for name in ("chosen", "rejected", "margins"))
    if abs(log["loss"][0] - math.log(2)) > 0.01:
        return "start"
    if np.abs(chosen - rejected - margins).max() > 1e-3:
        return "arithmetic"
    if not chosen.any() and not rejected.any():
        return "frozen"
    return "direction" if margins[-1] < 0 else "fine"


def _log(chosen: list[float], rejected: list[float], **changes: list[float]) -> Log:
    given, refused = np.array(chosen), np.array(rejected)
    log = {
        "loss": np.logaddexp(0, refused - given),
        "chosen": given,
        "rejected": refused,
        "margins": given - refused,
    }
    return log | {name: np.array(values) for name, values in changes.items()}


_LOGS = {
    "a run as one wishes it": (_log([0, 0.2, 0.4], [0, -0.3, -0.6]), "fine"),
    "a run whose chosen answers fall and whose loss rises": (
        _log([0, -1.1, -4.5], [0, -2.0, -8.3], loss=[math.log(2), 0.51, 0.75]), "fine"
    ),
    "a run whose loss rises while both rewards go where they should": (
        _log([0, 0.3, 0.5], [0, -0.4, -1.0], loss=[math.log(2), 0.5, 0.8]), "fine"
    ),
    "a run that did not start at the reference": (
        _log([-1.0, -0.8, -0.6], [-0.2, -0.5, -0.9]), "start"
    ),
    "a run of which one column is another run's": (
        _log([0, 0.2, 0.4], [0, -0.3, -0.6], margins=[0, 0.1, 0.2]), "arithmetic"
    ),
    "a run in which nothing moves": (_log([0, 0, 0], [0, 0, 0]), "frozen"),
    "a run in which both rewards fall together": (
        _log([0, -0.2, -0.4], [0, -0.2, -0.4]), "fine"
    ),
    "a run in which the rejected reward alone moves": (_log([0, 0, 0], [0, -0.3, -0.6]), "fine"),
    "a run that learns the wrong side": (_log([0, -0.3, -0.6], [0, 0.1, 0.2]), "direction"),
}  # fmt: skip


def _slip(**instead: Callable[[Log], bool]) -> Callable[[Log], str]:
    """A diagnosis in which some faults are recognised by another test."""

    def diagnosis(log: Log) -> str:
        tests: dict[str, Callable[[Log], bool]] = {
            "start": lambda log: bool(abs(log["loss"][0] - math.log(2)) > 0.01),
            "arithmetic": lambda log: bool(
                np.abs(log["chosen"] - log["rejected"] - log["margins"]).max() > 1e-3
            ),
            "frozen": lambda log: not log["chosen"].any() and not log["rejected"].any(),
            "direction": lambda log: bool(log["margins"][-1] < 0),
        }
        tests |= instead
        return next((name for name in FAULTS if name == "fine" or tests[name](log)), "fine")

    return diagnosis


_SLIPS = {
    "may fall below 0 in a healthy run": _slip(direction=lambda log: log["chosen"][-1] < 0),
    "A rising loss is not a fault by itself": _slip(
        direction=lambda log: log["loss"][-1] > log["loss"].min() + 0.01
    ),
    "before the first step every reward is 0": _slip(frozen=lambda log: not log["chosen"][0]),
    "fall by the same amount": _slip(frozen=lambda log: not log["margins"].any()),
    "both rewards have to stay": _slip(frozen=lambda log: not log["chosen"].any()),
    "the *first* row": _slip(start=lambda log: abs(log["loss"][-1] - math.log(2)) > 0.01),
    "in every row": _slip(
        arithmetic=lambda log: abs(log["chosen"][0] - log["rejected"][0] - log["margins"][0]) > 1e-3
    ),
}


@exercise(
    "06_reward_margins",
    right="Falling rewards and a rising loss passed, and four real faults did not.",
    solution=_diagnosis,
    wrong=_SLIPS,
)
def check_diagnosis(fn: Callable[[Log], str]) -> None:
    """``fn(log) -> str``: the first fault of a log, one of "start", "arithmetic", "frozen" and
    "direction", or "fine".

    `log` maps "loss", "chosen", "rejected" and "margins" to an array, one entry per evaluation.
    """
    answers = {words: attempt(fn, log) for words, (log, _) in _LOGS.items()}
    expected = {words: fault for words, (_, fault) in _LOGS.items()}
    if answers == expected:
        return
    explained = {
        "may fall below 0 in a healthy run": "The chosen reward may fall below 0 in a healthy run; "
        "it is the margin that has to end above 0.",
        "A rising loss is not a fault by itself": "A rising loss is not a fault by itself: a few "
        "pairs that are surely wrong lift it while the margin grows.",
        "before the first step every reward is 0": "Look at all rows: before the first step every "
        "reward is 0 in any run.",
        "fall by the same amount": "Margins of 0 do not say that nothing moved: both rewards may "
        "fall by the same amount. Look at the rewards.",
        "both rewards have to stay": "In a frozen run both rewards have to stay at 0, the rejected "
        "one too.",
        "the *first* row": "It is the *first* row whose loss has to be ln 2; the last one should "
        "differ.",
        "in every row": "Margins are chosen minus rejected in every row; at the first, all three "
        "are 0.",
    }
    for words, slip in _SLIPS.items():
        if answers == {name: slip(log) for name, (log, _) in _LOGS.items()}:
            raise Wrong(explained[words])
    wrong = next(words for words in _LOGS if answers[words] != expected[words])
    raise Wrong(f"For {wrong} the answer is {expected[wrong]!r}, not {answers[wrong]!r}.")
