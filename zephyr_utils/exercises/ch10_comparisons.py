"""Checks of chapter 10: where comparisons pull a reward, and what a method reaches at another's KL
divergence.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

CHAPTER = "10_reward_models"
Array = NDArray[np.float64]


def _lost(rewards: Array) -> Array:
    """The chance that the answer of the row loses to that of the column."""
    return 1 / (1 + np.exp(rewards[:, None] - rewards[None, :]))


def _gradient(rewards: Array, wins: Array) -> Array:
    pulls = wins * _lost(rewards)
    return pulls.sum(axis=0) - pulls.sum(axis=1)


# What readers write instead, by the message that explains it.
_GRADIENTS: dict[str, Callable[[Array, Array], Any]] = {
    "The sign is wrong: a step against this gradient would lower the reward of what wins.": (
        lambda r, w: -_gradient(r, w)
    ),
    "Rows and columns are swapped: wins[i, j] says how often i was chosen over j.": lambda r, w: (
        _gradient(r, w.T)
    ),
    "This counts the comparisons that an answer won; those it lost pull its reward down.": (
        lambda r, w: -(w * _lost(r)).sum(axis=1)
    ),
    "This counts the comparisons that an answer lost; those it won pull its reward up.": (
        lambda r, w: (w * _lost(r)).sum(axis=0)
    ),
    "The pull is strongest here where the order is already right. A comparison pulls by the chance "
    "that it goes the other way, sigmoid(r_j - r_i).": lambda r, w: (
        (w * _lost(-r)).sum(axis=0) - (w * _lost(-r)).sum(axis=1)
    ),
    "The rewards are missing: this pull never ends, however far apart the rewards are.": (
        lambda r, w: w.sum(axis=0) - w.sum(axis=1)
    ),
    "This is the gradient of the probability; the loss has its logarithm.": lambda r, w: _gradient(
        r, w * _lost(-r)
    ),
    "This takes each pair's share of wins; a pair that was compared more often pulls harder.": (
        lambda r, w: _gradient(r, w / np.where(w + w.T > 0, w + w.T, 1.0))
    ),
    "This is a mean over the answers; the loss is a sum over comparisons.": lambda r, w: (
        _gradient(r, w) / len(r)
    ),
    "Each comparison counts twice: wins[i, j] and wins[j, i] are different comparisons, and each "
    "stands in the loss once.": lambda r, w: 2 * _gradient(r, w),
    "These are the pulls of each pair; add up those of an answer, one number for each.": (
        lambda r, w: (w * _lost(r)).T - w * _lost(r)
    ),
    "This is the loss; return its derivative by each reward.": lambda r, w: (
        -(w * np.log(_lost(-r))).sum()
    ),
}


@exercise(
    CHAPTER,
    right="What one answer gains another loses, so that the mean of the rewards stays where it "
    "began.",
    solution=_gradient,
    wrong=_GRADIENTS,
)
def check_reward_gradient(fn: Callable[[Array, Array], Array]) -> None:
    """``fn(rewards, wins) -> gradient``: of ``-sum wins[i, j] log sigmoid(rewards[i] -
    rewards[j])`` by each reward; arrays of (n,), (n, n) and (n,).
    """
    rewards = np.array([0.5, -1.0, 2.0, 0.3])
    wins = np.array([[0, 5, 1, 0], [2, 0, 3, 1], [6, 4, 0, 2], [1, 0, 2, 0]], dtype=np.float64)
    compare(
        attempt(fn, rewards, wins),
        _gradient(rewards, wins),
        {message: slip(rewards, wins) for message, slip in _GRADIENTS.items()},
        "For answer i: the sum over j of wins[j, i] sigmoid(r_i - r_j) - wins[i, j] "
        "sigmoid(r_j - r_i).",
    )


_BEYOND = -1.0  # stands for NaN, which equals nothing


def _marked(value: Any) -> Any:
    try:
        return _BEYOND if math.isnan(value) else value
    except (TypeError, ValueError):  # no single number
        return value


def _at_kl(kl: Array, values: Array, at: float) -> float:
    order = np.argsort(kl)
    return float(np.interp(at, kl[order], values[order], left=np.nan, right=np.nan))


def _below(kl: Array, values: Array, at: float) -> float:
    return float(values[np.where(kl <= at, kl, -np.inf).argmax()])


def _above(kl: Array, values: Array, at: float) -> float:
    return float(values[np.where(kl >= at, kl, np.inf).argmin()])


def _extended(kl: Array, values: Array, at: float) -> float:
    """Straight on through the two points at the end that `at` lies beyond."""
    order = np.argsort(kl)
    pair = order[-2:] if at > kl.max() else order[:2]
    slope = np.diff(values[pair])[0] / np.diff(kl[pair])[0]
    return float(values[pair[0]] + slope * (at - kl[pair[0]]))


# Wrong between two points, and wrong beyond the last one.
_BETWEEN: dict[str, Callable[[Array, Array, float], Any]] = {
    "The points have to be in the order of their KL divergence: a later round can lie nearer to "
    "dSFT.": lambda kl, v, at: float(np.interp(at, kl, v)),
    "This is the nearest measured point, which lies at another divergence.": lambda kl, v, at: (
        float(v[np.abs(kl - at).argmin()])
    ),
    "This is the last point before the divergence asked for; what lies between two points is "
    "partly the next one's.": _below,
    "This is the first point after the divergence asked for; what lies between two points is "
    "partly the one's before.": _above,
    "This is the method's last point: two methods would be compared at two distances.": (
        lambda kl, v, at: float(v[-1])
    ),
    "This is half-way between the two neighbours; the nearer one counts more.": lambda kl, v, at: (
        (_below(kl, v, at) + _above(kl, v, at)) / 2
    ),
    "The two neighbours' weights are swapped: the nearer point counts more.": lambda kl, v, at: (
        _below(kl, v, at) + _above(kl, v, at) - _at_kl(kl, v, at)
    ),
    "This draws one straight line from the first point to the last.": lambda kl, v, at: float(
        v[0] + (v[-1] - v[0]) * (at - kl[0]) / (kl[-1] - kl[0])
    ),
    "Axes are swapped: this is the divergence at which the value is reached.": lambda kl, v, at: (
        float(np.interp(at, np.sort(v), kl[np.argsort(v)]))
    ),
}
_OUTSIDE: dict[str, Callable[[Array, Array, float], Any]] = {
    "NumPy's interp repeats the last point beyond the end, where the method was never measured. "
    "Return NaN.": lambda kl, v, at: float(np.interp(at, np.sort(kl), v[np.argsort(kl)])),
    "This goes straight on beyond the last point, where rewards and grades have turned before. "
    "Return NaN.": lambda kl, v, at: (
        _at_kl(kl, v, at) if kl.min() <= at <= kl.max() else _extended(kl, v, at)
    ),
    "Beyond the last point this is 0, which is a value like any other. Return NaN.": (
        lambda kl, v, at: float(np.nan_to_num(_at_kl(kl, v, at)))
    ),
}
_NOTHING = "Beyond the last point this is None, which an array of numbers cannot hold. Return NaN."
_AT_END = "The ends themselves were measured: NaN is for what lies beyond them."


@exercise(
    CHAPTER,
    right="Two methods can now be compared at one distance from where both began, and only there.",
    solution=_at_kl,
    wrong={
        **_BETWEEN,
        **_OUTSIDE,
        "this is None": lambda kl, v, at: _at_kl(kl, v, at) if kl.min() <= at <= kl.max() else None,
        "ends themselves": lambda kl, v, at: (
            _at_kl(kl, v, at) if kl.min() < at < kl.max() else math.nan
        ),
    },
)
def check_value_at_kl(fn: Callable[[Array, Array, float], float]) -> None:
    """``fn(kl, values, at) -> float``: arrays of one entry per measured point of a method, in the
    order of its training; the value at a divergence, on the straight line between the two points
    around it, and NaN outside of what was measured.
    """
    kl, values = np.array([0.0, 1.0, 2.5, 2.0, 4.0]), np.array([5.0, 6.2, 6.6, 7.4, 5.4])
    between = (1.3, 1.7)  # nearer to the point before, and to the point after
    compare(
        [attempt(fn, kl, values, at) for at in between],
        [_at_kl(kl, values, at) for at in between],
        {message: [slip(kl, values, at) for at in between] for message, slip in _BETWEEN.items()},
        f"At {between[0]} and {between[1]} nats: on the straight line between the points around "
        "each.",
    )
    for at in (4.0, 0.0):
        compare(
            _marked(attempt(fn, kl, values, at)),
            _at_kl(kl, values, at),
            {_AT_END: _BEYOND},
            f"At {at} nats, the measured value itself.",
        )
    for at in (5.0, -0.5):
        got = attempt(fn, kl, values, at, none_is_an_answer=True)
        if got is None:
            raise Wrong(_NOTHING)
        compare(
            _marked(got),
            _BEYOND,
            {message: slip(kl, values, at) for message, slip in _OUTSIDE.items()},
            f"At {at} nats nothing was measured: the points go from 0 to 4. Return NaN.",
        )
