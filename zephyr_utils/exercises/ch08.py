"""The checks of chapter 08: a difference in its errors and over seeds, what an interval decides,
what a search chooses, and many comparisons at once.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from zephyr_utils.ablations.statistics import holm_corrected
from zephyr_utils.evaluation import seeds_interval
from zephyr_utils.evaluation.intervals import student_quantile
from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

Triple = tuple[float, float, float]


def _spread(mean: float, half: float) -> Triple:
    return mean, mean - half, mean + half


def _paired(ours: Sequence[float], theirs: Sequence[float]) -> Triple:
    interval = seeds_interval(np.subtract(ours, theirs))
    return interval.estimate, interval.low, interval.high


def _unpaired(ours: Sequence[float], theirs: Sequence[float]) -> Triple:
    n = len(ours)
    half = student_quantile(0.975, n - 1) * math.sqrt(
        (np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / n
    )
    return _spread(float(np.mean(ours) - np.mean(theirs)), half)


def _with(
    factor: Callable[[int], float], ddof: int = 1
) -> Callable[[Sequence[float], Sequence[float]], Triple]:
    def triple(ours: Sequence[float], theirs: Sequence[float]) -> Triple:
        gaps = np.subtract(ours, theirs)
        return _spread(float(gaps.mean()), factor(len(gaps)) * float(gaps.std(ddof=ddof)))

    return triple


# The paper's table 1, AlpacaEval: Zephyr-7B-beta and Xwin-LM-7B. (The chapter asks about table 3.)
_GRADES = (90.60, 1.03, 87.83, 1.15)
_FAR = (5.0, 0.3, 7.0, 0.4)
_APART: dict[str, Callable[[float, float, float, float], float]] = {
    "You add the errors up. Errors of independent figures partly cancel: add their squares, and "
    "take the root.": lambda a, e, b, f: (a - b) / (e + f),
    "You subtract the variances. A difference, too, is made less certain by each of the two.": (
        lambda a, e, b, f: (a - b) / math.sqrt(abs(e**2 - f**2))
    ),
    "This divides by the variance of the difference; its standard error is the root of that.": (
        lambda a, e, b, f: (a - b) / (e**2 + f**2)
    ),
    "Only the first error is in it: the other figure is uncertain, too.": (
        lambda a, e, b, f: (a - b) / e
    ),
    "Only the larger error is in it: the smaller one adds to it.": (
        lambda a, e, b, f: (a - b) / max(e, f)
    ),
    "The sign is missing: below 0 the first figure is the lower one.": (
        lambda a, e, b, f: abs(a - b) / math.hypot(e, f)
    ),
    "The sign is wrong: the first minus the second was asked for.": (
        lambda a, e, b, f: (b - a) / math.hypot(e, f)
    ),
}


@exercise(
    "08_ablations",
    right="The difference of two independent figures is less certain than either of them.",
    solution=lambda a, e, b, f: (a - b) / np.hypot(e, f),
    wrong=_APART,
)
def check_errors_apart(fn: Callable[[float, float, float, float], float]) -> None:
    """``fn(one, one_error, other, other_error)``: their difference in standard errors of it."""
    for given in (_GRADES, _FAR):
        mistakes = {message: slip(*given) for message, slip in _APART.items()}
        compare(
            attempt(fn, *given),
            (given[0] - given[2]) / math.hypot(given[1], given[3]),
            mistakes,
            "The difference, divided by the root of the sum of the squared errors.",
        )


_SLIPS = {
    "seed by seed": _unpaired,
    "1.96": _with(lambda n: 1.96 / math.sqrt(n)),
    "square root": _with(lambda n: student_quantile(0.975, n - 1)),
    "by n, not by its root": _with(lambda n: student_quantile(0.975, n - 1) / n),
    "n - 1": _with(lambda n: student_quantile(0.975, n - 1) / math.sqrt(n), ddof=0),
}


@exercise(
    "08_ablations",
    right="Both rows of a seed share their dSFT model, so what a seed does to both cancels, and "
    "the interval is narrower.",
    solution=_paired,
    wrong={**_SLIPS, "wrong way round": lambda ours, theirs: _paired(theirs, ours)},
)
def check_seed_difference(fn: Callable[[Sequence[float], Sequence[float]], Triple]) -> None:
    """``fn(ours, theirs) -> (mean, low, high)``: five scores each, seed by seed; Student's t for
    five is 2.776.
    """
    ours, theirs = [6.9, 7.4, 6.4, 7.1, 6.6], [6.5, 6.9, 6.1, 6.4, 6.3]
    explained = {
        "seed by seed": "These are two separate groups' errors added up. Take the differences seed "
        "by seed first: what a "
        "seed does to both rows cancels.",
        "1.96": "1.96 is for many values; with five, the spread itself is a guess, and Student's t "
        "is 2.776.",
        "square root": "This is the spread of single seeds. The mean of n seeds is more precise: "
        "divide by the square root of n.",
        "by n, not by its root": "You divide by n, not by its root: errors of a mean shrink with "
        "the root.",
        "n - 1": "The standard deviation has to divide by n - 1 (ddof=1), as the mean was taken "
        "from the same five values.",
    }
    mistakes = {explained[name]: slip(ours, theirs) for name, slip in _SLIPS.items()}
    mistakes["This is the wrong way round: ours minus theirs."] = _paired(theirs, ours)
    otherwise = (
        "The mean of the differences, plus and minus 2.776 standard deviations divided by the root "
        "of 5."
    )
    compare(attempt(fn, ours, theirs), _paired(ours, theirs), mistakes, otherwise, tolerance=2e-3)


Ends = tuple[float, float]
MARGIN = 0.3


def _verdict(wide: Ends, narrow: Ends, margin: float) -> str:
    if not wide[0] <= 0 <= wide[1]:
        return "holds" if wide[0] > 0 else "does not hold"
    return "equivalent" if -margin < narrow[0] and narrow[1] < margin else "undecided"


_CASES: dict[tuple[Ends, Ends], str] = {
    ((0.2, 0.9), (0.25, 0.85)): "holds",
    ((-0.9, -0.2), (-0.85, -0.25)): "does not hold",
    ((-0.2, 0.9), (-0.1, 0.8)): "undecided",
    ((-0.2, 0.25), (-0.15, 0.2)): "equivalent",
    ((-0.15, 0.33), (-0.1, 0.28)): "equivalent",
    ((0.05, 0.2), (0.07, 0.18)): "holds",
    ((-0.5, 0.1), (-0.45, 0.05)): "undecided",
}
_VERDICT_SLIPS: dict[str, Callable[[Ends, Ends, float], str]] = {
    "not proof of the contrary": lambda wide, narrow, margin: (
        "holds" if wide[0] > 0 else "does not hold"
    ),
    "the middle": lambda wide, narrow, margin: "holds" if sum(wide) > 0 else "does not hold",
    "wrong way round": lambda wide, narrow, margin: {
        "holds": "does not hold",
        "does not hold": "holds",
    }.get(word := _verdict(wide, narrow, margin), word),
    "is not 'no difference'": lambda wide, narrow, margin: (
        "equivalent" if wide[0] <= 0 <= wide[1] else _verdict(wide, narrow, margin)
    ),
    "never says": lambda wide, narrow, margin: (
        "undecided" if wide[0] <= 0 <= wide[1] else _verdict(wide, narrow, margin)
    ),
    "the 90 % interval": lambda wide, narrow, margin: _verdict(wide, wide, margin),
    "Ask for a difference first": lambda wide, narrow, margin: (
        "equivalent"
        if -margin < narrow[0] and narrow[1] < margin
        else _verdict(wide, narrow, margin)
    ),
}


@exercise(
    "08_ablations",
    right="Four words: 'equivalent' is a finding, and 'undecided' says that more would have to be "
    "measured.",
    solution=_verdict,
    wrong=_VERDICT_SLIPS,
)
def check_verdict(fn: Callable[[Ends, Ends, float], str]) -> None:
    """``fn(wide, narrow, margin) -> str``: does "ours is better" hold? "holds", "does not hold",
    "equivalent" or "undecided".

    `wide` and `narrow` are the ends of the 95 % and the 90 % interval of ours minus theirs.
    """
    answers = {case: attempt(fn, *case, MARGIN) for case in _CASES}
    if answers == _CASES:
        return
    explained = {
        "not proof of the contrary": "An interval that holds 0 is not proof of the contrary: the "
        "claim may be true and the measurement too weak.",
        "the middle": "You look at the middle of the interval, and forget its ends.",
        "wrong way round": "This is the wrong way round: an interval above 0 holds.",
        "is not 'no difference'": "That no difference was seen is not 'no difference': equivalent "
        "is only what lies within the margin altogether.",
        "never says": "This never says 'equivalent': where 0 lies inside, look whether the 90 % "
        "interval stays within the margin.",
        "the 90 % interval": "Equivalence is two tests at 5 % each, so it is the 90 % interval "
        "that has to lie within the margin.",
        "Ask for a difference first": "Ask for a difference first: one that is significant holds, "
        "however small it is.",
    }
    for words, slip in _VERDICT_SLIPS.items():
        if answers == {case: slip(*case, MARGIN) for case in _CASES}:
            raise Wrong(explained[words])
    wrong = next(case for case in _CASES if answers[case] != _CASES[case])
    raise Wrong(f"For {wrong} the answer is {_CASES[wrong]!r}, not {answers[wrong]!r}.")


# --- a search -------------------------------------------------------------------------------------

Grid = dict[float, list[float]]


def _choice(scores: Grid) -> tuple[float, bool]:
    best = max(scores, key=lambda rate: sum(scores[rate]) / len(scores[rate]))
    return best, best in (min(scores), max(scores))


_GRIDS: tuple[Grid, ...] = (
    {1e-3: [5.1, 5.3, 5.2], 3e-3: [5.6, 5.5, 5.7], 1e-2: [6.1, 4.9, 5.0]},
    {3e-3: [5.6, 5.5, 5.7], 1e-3: [5.1, 5.3, 5.2], 3e-4: [4.0, 4.2, 4.1]},
    {3e-3: [5.6, 5.5, 5.7], 1e-2: [4.9, 5.1, 5.0], 1e-3: [5.1, 5.3, 5.2]},
    {1e-2: [3.0, 3.2, 3.1], 3e-4: [4.9, 5.0, 4.8], 1e-3: [4.4, 5.2, 4.5]},
)
_SEARCH_SLIPS: dict[str, Callable[[Grid], tuple[float, bool]]] = {
    "the luckiest": lambda scores: (
        best := max(scores, key=lambda rate: max(scores[rate])),
        best in (min(scores), max(scores)),
    ),
    "the first seed": lambda scores: (
        best := max(scores, key=lambda rate: scores[rate][0]),
        best in (min(scores), max(scores)),
    ),
    "at either end": lambda scores: (_choice(scores)[0], _choice(scores)[0] == max(scores)),
    "in the order of their values": lambda scores: (
        _choice(scores)[0],
        _choice(scores)[0] in (next(iter(scores)), list(scores)[-1]),
    ),
    "whether it must be extended": lambda scores: (_choice(scores)[0], not _choice(scores)[1]),
}


@exercise(
    "08_ablations",
    right="A mean over seeds chooses a good setting, not a lucky one, and a winner at the edge is "
    "only the best of those you tried.",
    solution=_choice,
    wrong=_SEARCH_SLIPS,
)
def check_search_choice(fn: Callable[[Grid], tuple[float, bool]]) -> None:
    """``fn(scores) -> (rate, extend)``: the learning rate with the best mean over seeds, and
    whether the grid has to be extended because that rate lies at one of its ends.

    `scores` maps each rate to its scores, one per seed; the rates are in no order.
    """
    expected = [_choice(grid) for grid in _GRIDS]
    answers = [attempt(fn, grid) for grid in _GRIDS]
    if answers == expected:
        return
    explained = {
        "the luckiest": "You took the luckiest single score; compare means over the seeds.",
        "the first seed": "You look at the first seed alone; compare means over the seeds.",
        "at either end": "A grid can end too early at either end, the lower one too.",
        "in the order of their values": "The rates are in no order: the ends are the smallest and "
        "the largest, in the order of their values.",
        "whether it must be extended": "The second answer is whether it must be extended: True at "
        "an end.",
    }
    for words, slip in _SEARCH_SLIPS.items():
        if answers == [slip(grid) for grid in _GRIDS]:
            raise Wrong(explained[words])
    place = next(n for n, answer in enumerate(answers) if answer != expected[n])
    raise Wrong(f"For {_GRIDS[place]} the answer is {expected[place]}, not {answers[place]}.")


def _holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    return [p <= level for p in holm_corrected(p_values)]


def _benjamini_hochberg(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    order, n = np.argsort(p_values), len(p_values)
    passed = [rank for rank, i in enumerate(order, start=1) if p_values[i] <= level * rank / n]
    return [bool(p <= p_values[order[max(passed) - 1]]) if passed else False for p in p_values]


def _holm_without_stop(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    ranks = np.argsort(np.argsort(p_values))
    return [
        bool(p <= level / (len(p_values) - rank)) for p, rank in zip(p_values, ranks, strict=True)
    ]


@exercise(
    "08_ablations",
    right="Holm keeps the chance of even one false finding below 5 %, and is never weaker than "
    "Bonferroni.",
    solution=_holm,
    wrong={
        "no correction": lambda p_values: [p <= 0.05 for p in p_values],
        "Bonferroni": lambda p_values: [p <= 0.05 / len(p_values) for p in p_values],
        "go on": _holm_without_stop,
        "Benjamini": _benjamini_hochberg,
        "in the order given": lambda p_values: sorted(_holm(p_values), reverse=True),
    },
)
def check_holm(fn: Callable[[Sequence[float]], list[bool]]) -> None:
    """``fn(p_values) -> list[bool]``: which of several findings stand at a level of 0.05 after
    Holm's correction.
    """
    p_values = [0.02, 0.008, 0.007, 0.30, 0.001, 0.012, 0.047, 0.0124]
    expected = _holm(p_values)
    mistakes = {
        "There is no correction here: of twenty true nulls one is 'found' at 0.05.": [
            p <= 0.05 for p in p_values
        ],
        "This is Bonferroni: each against 0.05 / n. Holm's first is that; the next is 0.05 / (n - "
        "1), and so on.": [p <= 0.05 / len(p_values) for p in p_values],
        "You go on after the first that fails: Holm stops there, and all larger ones fall with "
        "it.": _holm_without_stop(p_values),
        "This is Benjamini and Hochberg's: it bounds the share of false findings, not the chance "
        "of one.": (_benjamini_hochberg(p_values)),
        "Sort to decide, but answer in the order given.": sorted(expected, reverse=True),
    }
    compare(
        attempt(fn, p_values),
        expected,
        mistakes,
        "Sort; compare the smallest with 0.05 / n, the next with 0.05 / (n - 1), and so on; stop "
        "at the first that fails.",
    )
