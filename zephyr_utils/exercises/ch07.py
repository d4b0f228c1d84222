"""Checks of chapter 07: win rates, both orders of a judge, paired errors, how many questions, and a
change taken apart.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np

from zephyr_utils.exercises.core import attempt, compare, exercise

# --- both orders ----------------------------------------------------------------------------------

_VERDICTS = tuple(itertools.product(("A", "B", "tie"), repeat=2))


def _both_orders(first: str, second: str) -> float:
    straight = {"A": 0.0, "B": 1.0}.get(first, 0.5)
    swapped = {"A": 1.0, "B": 0.0}.get(second, 0.5)
    return straight if straight == swapped else 0.5


def _mean_of_orders(first: str, second: str) -> float:
    return ({"A": 0.0, "B": 1.0}.get(first, 0.5) + {"A": 1.0, "B": 0.0}.get(second, 0.5)) / 2


def _letters(first: str, second: str) -> float:
    return {"A": 0.0, "B": 1.0}.get(first, 0.5) if first == second else 0.5


@exercise(
    "07_evaluation",
    right="A judge that always names the first place now decides nothing at all.",
    solution=_both_orders,
    wrong={
        "letters": _letters,
        "first order alone": lambda first, second: {"A": 0.0, "B": 1.0}.get(first, 0.5),
        "half a win": _mean_of_orders,
        "model 1's": lambda first, second: 1 - _both_orders(first, second),
        "between": lambda first, second: 100 * _both_orders(first, second),
    },
)
def check_both_orders(fn: Callable[[str, str], float]) -> None:
    """``fn(first, second) -> float``: model 2's score (1, 0.5 or 0) from the verdicts "A", "B" or
    "tie" of two games.

    In the first game model 1's answer is A, in the second model 2's answer is A.
    """
    mistakes = {
        "You compare the letters. The same letter twice means the same place, and so two different "
        "models.": _letters,
        "You use the first order alone, so a judge that likes a place decides every game.": (
            lambda first, second: {"A": 0.0, "B": 1.0}.get(first, 0.5)
        ),
        "A tie in one order and a win in the other is half a win to you; a win counts only when "
        "both orders name it.": (_mean_of_orders),
        "This is model 1's score; in the first game model 1's answer is A.": lambda a, b: (
            1 - _both_orders(a, b)
        ),
        "Give a share between 0 and 1, not a percentage.": lambda a, b: 100 * _both_orders(a, b),
    }
    compare(
        [attempt(fn, *verdicts) for verdicts in _VERDICTS],
        [_both_orders(*verdicts) for verdicts in _VERDICTS],
        {
            message: [wrong(*verdicts) for verdicts in _VERDICTS]
            for message, wrong in mistakes.items()
        },
        f"The verdicts were {', '.join('/'.join(verdicts) for verdicts in _VERDICTS)}.",
    )


# --- paired error ---------------------------------------------------------------------------------


def _error(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _unpaired(a: np.ndarray, b: np.ndarray) -> float:
    return math.hypot(_error(a), _error(b))


@exercise(
    "07_evaluation",
    right="What makes a question hard for both models has dropped out of the difference, and of "
    "its error.",
    solution=lambda a, b: _error(a - b),
    wrong={
        "not paired": _unpaired,
        "standard deviation": lambda a, b: float(np.std(a - b, ddof=1)),
        "n - 1": lambda a, b: float(np.std(a - b) / np.sqrt(len(a))),
        "root": lambda a, b: float(np.std(a - b, ddof=1) / len(a)),
        "difference of the errors": lambda a, b: abs(_error(a) - _error(b)),
        "mean difference": lambda a, b: float(np.mean(a - b)),
    },
)
def check_paired_error(fn: Callable[[np.ndarray, np.ndarray], float]) -> None:
    """``fn(a, b) -> float``: the standard error of mean(a) - mean(b), for grades of the same
    questions.
    """
    a, b = np.array([9.0, 4.0, 7.5, 2.0, 8.0, 6.0]), np.array([8.0, 2.5, 7.0, 1.0, 8.5, 4.0])
    d = a - b
    mistakes = {
        "These are not paired: the two errors are added as if the models had answered different "
        "questions. Take the "
        "difference question by question first.": _unpaired(a, b),
        "This is the standard deviation of the differences; the mean of n of them is more "
        "precise by the root of n.": np.std(d, ddof=1),
        "Divide by n - 1 inside the standard deviation (ddof=1): the mean itself was taken from "
        "these numbers.": (np.std(d) / np.sqrt(len(d))),
        "Divide by the root of n, not by n.": np.std(d, ddof=1) / len(d),
        "The error of a difference is not the difference of the errors: errors do not cancel each "
        "other.": abs(_error(a) - _error(b)),
        "This is the mean difference; its standard error is wanted.": d.mean(),
    }
    compare(
        attempt(fn, a, b),
        _error(d),
        mistakes,
        "Take the differences, then the standard error of their mean.",
    )


# --- how many questions ---------------------------------------------------------------------------


def _needed(sd: float, gap: float, z: float = 1.96 + 0.84) -> int:
    return math.ceil((z * sd / gap) ** 2)


@exercise(
    "07_evaluation",
    right="Half the gap needs four times the questions, and 80 % power twice those of 50 %: small "
    "benchmarks tell only large differences.",
    solution=_needed,
    wrong={
        "only half of the time": lambda sd, gap: _needed(sd, gap, z=1.96),
        "square": lambda sd, gap: math.ceil(2.8 * sd / gap),
        "standard errors": lambda sd, gap: math.ceil((sd / gap) ** 2),
        "upside down": lambda sd, gap: math.ceil((2.8 * gap / sd) ** 2),
        "round up": lambda sd, gap: _needed(sd, gap) - 1,
        "Add the two": lambda sd, gap: math.ceil((1.96**2 + 0.84**2) * (sd / gap) ** 2),
        "95 % power": lambda sd, gap: _needed(sd, gap, z=1.96 + 1.645),
    },
)
def check_questions_needed(fn: Callable[[float, float], int]) -> None:
    """``fn(sd, gap) -> int``: the fewest questions with which a true difference of `gap` is seen,
    at 95 % confidence, in 80 % of exams: it has to be 1.96 + 0.84 standard errors.
    """
    cases = ((2.6, 0.22), (2.6, 0.5), (3.1, 1.0))
    mistakes: dict[str, Callable[[float, float], int]] = {
        "With 1.96 alone a true difference of that size is seen only half of the time: the "
        "measured one falls as often below as above it.": lambda sd, gap: _needed(sd, gap, 1.96),
        "The square is missing: the error falls with the root of n, so n grows with the square.": (
            lambda sd, gap: math.ceil(2.8 * sd / gap)
        ),
        "The factor is missing: the gap has to be 1.96 + 0.84 standard errors, not one.": (
            lambda sd, gap: math.ceil((sd / gap) ** 2)
        ),
        "This is upside down: a smaller gap needs more questions, not fewer.": (
            lambda sd, gap: math.ceil((2.8 * gap / sd) ** 2)
        ),
        "You have to round up: with fewer questions the error is still too large.": (
            lambda sd, gap: _needed(sd, gap) - 1
        ),
        "Add the two factors before you square: the errors stand on one line, they are not "
        "independent.": lambda sd, gap: math.ceil((1.96**2 + 0.84**2) * (sd / gap) ** 2),
        "This is 95 % power; for 80 % the second factor is 0.84.": lambda sd, gap: _needed(
            sd, gap, 1.96 + 1.645
        ),
    }
    compare(
        [attempt(fn, *case) for case in cases],
        [_needed(*case) for case in cases],
        {message: [wrong(*case) for case in cases] for message, wrong in mistakes.items()},
        "Solve (1.96 + 0.84) sd / sqrt(n) = gap for n, and round up.",
    )


@exercise(
    "07_evaluation",
    right="Half a point for a draw keeps two equal models at one half.",
    solution=lambda outcomes: (outcomes.count("win") + outcomes.count("draw") / 2) / len(outcomes),
    wrong={
        "draws are lost": lambda outcomes: outcomes.count("win") / len(outcomes),
        "left out": lambda outcomes: (
            outcomes.count("win") / (len(outcomes) - outcomes.count("draw"))
        ),
        "whole wins": lambda outcomes: 1 - outcomes.count("loss") / len(outcomes),
        "between 0 and 1": lambda outcomes: (
            100 * (outcomes.count("win") + outcomes.count("draw") / 2) / len(outcomes)
        ),
        "divide by": lambda outcomes: outcomes.count("win") + outcomes.count("draw") / 2,
    },
)
def check_win_rate(fn: Callable[[list[str]], float]) -> None:
    """``fn(outcomes) -> float``: the win rate of a list of "win", "draw" and "loss", between 0 and
    1.
    """
    outcomes = ["win"] * 5 + ["draw"] * 2 + ["loss"] * 3
    mistakes = {
        "The draws are lost: each counts half a win.": 0.5,
        "The draws are left out of the count; each should count half a win among all "
        "comparisons.": 5 / 8,
        "Draws count as whole wins here; each counts half.": 0.7,
        "Give a share between 0 and 1, not a percentage.": 60.0,
        "This is the number of points; divide by the number of comparisons.": 6.0,
    }
    compare(attempt(fn, outcomes), 0.6, mistakes, "5 wins, 2 draws and 3 losses.")


# --- a change taken apart -------------------------------------------------------------------------

Shares = np.ndarray


def _parts(
    share_before: Shares, share_after: Shares, right_before: Shares, right_after: Shares
) -> tuple[float, float]:
    """Within-group and composition part of the change of the overall rate; they add up to it."""
    within = (share_before + share_after) / 2 * (right_after - right_before)
    composition = (share_after - share_before) * (right_before + right_after) / 2
    return float(within.sum()), float(composition.sum())


_PART_SLIPS: dict[str, Callable[..., tuple[float, float]]] = {
    "do not add up": lambda sb, sa, rb, ra: (
        float((sb * (ra - rb)).sum()),
        float(((sa - sb) * rb).sum()),
    ),
    "other way round": lambda sb, sa, rb, ra: _parts(sb, sa, rb, ra)[::-1],
    "as if the groups were equally large": lambda sb, sa, rb, ra: (
        float((ra - rb).mean()),
        float((sa * ra - sb * rb).sum() - (ra - rb).mean()),
    ),
    "before minus after": lambda sb, sa, rb, ra: _parts(sa, sb, ra, rb),
}


@exercise(
    "07_evaluation",
    right="The two parts add up to the change: you can now tell a model that answers better from "
    "one that only answers in another manner.",
    solution=_parts,
    wrong=_PART_SLIPS,
)
def check_change_parts(fn: Callable[..., tuple[float, float]]) -> None:
    """``fn(share_before, share_after, right_before, right_after) -> (within, composition)``: the
    change of the overall rate, taken apart.

    Each argument is an array with one entry per group; shares add up to 1. Each part weights with
    the mean of before and after, so that the two add up to the change.
    """
    share_before, share_after = np.array([0.2, 0.8]), np.array([0.7, 0.3])
    right_before, right_after = np.array([0.4, 0.9]), np.array([0.55, 0.85])
    arguments = (share_before, share_after, right_before, right_after)
    explained = {
        "do not add up": "The two parts do not add up to the change: with the weights of before in "
        "both, the product of the two changes is lost. Weight with the mean of before and after.",
        "other way round": "These are the two parts the other way round: within the groups first.",
        "as if the groups were equally large": "You average the groups as if the groups were "
        "equally large; weight each with its share.",
        "before minus after": "The signs are those of before minus after.",
    }
    compare(
        attempt(fn, *arguments),
        _parts(*arguments),
        {explained[words]: slip(*arguments) for words, slip in _PART_SLIPS.items()},
        "Sum over the groups: mean share x change of the rate, and change of the share x mean "
        "rate.",
    )
