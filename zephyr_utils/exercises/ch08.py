"""The checks of chapter 08: a difference over seeds, what an interval decides, and many comparisons
at once.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

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
        "square root": "This is the spread of single seeds. The mean of n seeds is surer: divide "
        "by the square root of n.",
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


def _verdict(low: float, high: float) -> str:
    return "undecided" if low <= 0 <= high else "holds" if low > 0 else "does not hold"


@exercise(
    "08_ablations",
    right="Three words, not two: 'undecided' is a result, and it says how much more would have to "
    "be measured.",
    solution=_verdict,
    wrong={
        "no proof of the contrary": lambda low, high: "holds" if low > 0 else "does not hold",
        "the middle": lambda low, high: "holds" if low + high > 0 else "does not hold",
        "wrong way round": lambda low, high: {
            "holds": "does not hold",
            "does not hold": "holds",
        }.get(_verdict(low, high), "undecided"),
        "reaches above": lambda low, high: "holds" if high > 0 else "does not hold",
    },
)
def check_verdict(fn: Callable[[float, float], str]) -> None:
    """``fn(low, high) -> str``: does "ours is better" hold? "holds", "does not hold" or
    "undecided".
    """
    cases = {
        (0.2, 0.9): "holds",
        (-0.9, -0.2): "does not hold",
        (-0.2, 0.9): "undecided",
        (-0.9, 0.2): "undecided",
    }
    got = {case: attempt(fn, *case) for case in cases}
    if got == cases:
        return
    answers = tuple(got.values())
    known = {
        (
            "holds",
            "does not hold",
            "does not hold",
            "does not hold",
        ): "An interval that holds 0 is no proof of the "
        "contrary: the claim may be true and the measurement too weak. That is 'undecided'.",
        (
            "holds",
            "does not hold",
            "holds",
            "does not hold",
        ): "You look at the middle of the interval, and forget its ends.",
        (
            "does not hold",
            "holds",
            "undecided",
            "undecided",
        ): "This is the wrong way round: an interval above 0 holds.",
        (
            "holds",
            "does not hold",
            "holds",
            "holds",
        ): "That the interval reaches above 0 is not enough; all of it has to.",
    }
    wrong = next(case for case in cases if got[case] != cases[case])
    raise Wrong(
        known.get(answers, f"For {wrong} the answer is {cases[wrong]!r}, not {got[wrong]!r}.")
    )


def _holm(p_values: Sequence[float], level: float = 0.05) -> list[bool]:
    order, kept = np.argsort(p_values), [False] * len(p_values)
    for rank, i in enumerate(order):
        if p_values[i] > level / (len(p_values) - rank):
            break
        kept[i] = True
    return kept


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
        "You go on behind the first that fails: Holm stops there, and all larger ones fall with "
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
