"""Checks of chapter 10: strength in the loss, the best of n, the leave-one-out baseline, and
generalised advantages.
"""

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from zephyr_utils.exercises.core import attempt, compare, exercise

Array = NDArray[np.float64]


def _scaled(chosen: Tensor, rejected: Tensor, strength: Tensor) -> Tensor:
    return -(strength / strength.mean() * F.logsigmoid(chosen - rejected)).mean()


# What readers write instead, by the message that explains it.
_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "The weights are not divided by their mean: a larger mean strength would act as a larger "
    "learning rate.": lambda c, r, s: -(s * F.logsigmoid(c - r)).mean(),
    "This subtracts the strength from the difference, which is the margin loss; here it weighs the "
    "pair.": lambda c, r, s: -F.logsigmoid(c - r - s / s.mean()).mean(),
    "The strength multiplies the difference inside the sigmoid: that is a sharper judge, not a "
    "heavier pair.": lambda c, r, s: -F.logsigmoid(s / s.mean() * (c - r)).mean(),
    "The strength is forgotten: every pair weighs the same.": lambda c, r, s: (
        -F.logsigmoid(c - r).mean()
    ),
    "Chosen and rejected are swapped: this loss falls as the rejected answer's reward rises.": (
        lambda c, r, s: _scaled(r, c, s)
    ),
    "The sign is wrong: log sigmoid is below 0, and a loss is made smaller.": lambda c, r, s: (
        -_scaled(c, r, s)
    ),
}


@exercise(
    "10_reward_models",
    right="A pair of strength 3 pulls three times as hard as one of strength 1, and the mean pull "
    "is that of the regular loss.",
    solution=_scaled,
    wrong=_LOSSES,
)
def check_scaled_loss(fn: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """``fn(chosen, rejected, strength) -> loss``: tensors of one reward or strength per pair; the
    batch's mean of the scaled Bradley-Terry loss, weights of mean 1.
    """
    chosen, rejected, strength = (
        torch.tensor(values, dtype=torch.float64)
        for values in ([1.5, -0.5, 0.2], [0.0, 1.0, 0.9], [1.0, 3.0, 2.0])
    )
    compare(
        attempt(fn, chosen, rejected, strength),
        _scaled(chosen, rejected, strength),
        {message: slip(chosen, rejected, strength) for message, slip in _LOSSES.items()},
        "The mean of -strength / mean strength * log sigmoid(chosen - rejected).",
    )


def _expected_best(scores: Array, grades: Array, n: int) -> float:
    ordered = grades[np.argsort(scores)]
    subsets = comb(len(scores), n)
    return float(sum(comb(k, n - 1) / subsets * grade for k, grade in enumerate(ordered)))


def _replaced(scores: Array, grades: Array, n: int) -> float:
    places = np.arange(len(scores) + 1) / len(scores)
    return float(np.diff(places**n) @ grades[np.argsort(scores)])


def _unsorted(scores: Array, grades: Array, n: int) -> float:
    return _expected_best(np.arange(len(grades), dtype=np.float64), grades, n)


_BESTS: dict[str, Callable[[Array, Array, int], Any]] = {
    "The answers have to be sorted by their score first: the weights belong to places in that "
    "order.": _unsorted,
    "You sorted the grades by themselves; the score chooses, and the grade is what is then "
    "received.": lambda s, g, n: _expected_best(g, g, n),
    "This draws with replacement, so that an answer can be drawn twice; n different answers are "
    "drawn here.": _replaced,
    "This is the mean grade of the n best-scored answers; of n answers only the best is taken.": (
        lambda s, g, n: float(g[np.argsort(s)][-n:].mean())
    ),
    "This is the best of all answers whatever n is.": lambda s, g, n: float(g[np.argmax(s)]),
    "This is one draw, the first n answers: unbiased, but far noisier than the mean over all "
    "subsets.": lambda s, g, n: float(g[:n][np.argmax(s[:n])]),
    "The order is the wrong way round: this takes the answer with the lowest score.": (
        lambda s, g, n: _expected_best(-s, g, n)
    ),
}


@exercise(
    "10_reward_models",
    right="One set of samples now gives the whole curve, and no draw of n answers is wasted.",
    solution=_expected_best,
    wrong=_BESTS,
)
def check_expected_best(fn: Callable[[Array, Array, int], float]) -> None:
    """``fn(scores, grades, n) -> float``: arrays of one entry per answer to one prompt; the mean
    grade of the best-scored of n, over all subsets of n answers.
    """
    scores, grades = np.array([0.3, -1.2, 0.9, 2.0, -0.4]), np.array([5.0, 2.0, 10.0, 7.0, 1.0])
    for n in (3, 1, 5):  # 3 first: it alone tells the known wrong answers apart
        compare(
            attempt(fn, scores, grades, n),
            _expected_best(scores, grades, n),
            {m: slip(scores, grades, n) for m, slip in _BESTS.items()} if n == 3 else {},
            f"For n = {n}: the k-th in ascending order is the best of C(k - 1, n - 1) of the "
            "C(N, n) subsets.",
        )


def _leave_one_out(rewards: Array) -> Array:
    k = rewards.shape[1]
    return rewards - (rewards.sum(axis=1, keepdims=True) - rewards) / (k - 1)


_BASELINES: dict[str, Callable[[Array], Any]] = {
    "Your baseline holds the answer's own reward, so a high reward lowers its own advantage; take "
    "the mean of the others.": lambda r: r - r.mean(axis=1, keepdims=True),
    "The others are k - 1, and you divide their sum by k.": lambda r: (
        r - (r.sum(axis=1, keepdims=True) - r) / r.shape[1]
    ),
    "This is the mean over the whole batch: an answer to a hard prompt would be blamed for its "
    "prompt.": lambda r: r - (r.sum() - r) / (r.size - 1),
    "The sign is wrong: an answer that is better than the others has an advantage above 0.": (
        lambda r: -_leave_one_out(r)
    ),
    "You divide by the standard deviation as well, as GRPO does; RLOO keeps the unit of the "
    "reward.": lambda r: (r - r.mean(axis=1, keepdims=True)) / r.std(axis=1, keepdims=True),
    "These are the baselines; the advantage is the reward minus its baseline.": (
        lambda r: (r.sum(axis=1, keepdims=True) - r) / (r.shape[1] - 1)
    ),
}


@exercise(
    "10_reward_models",
    right="No critic and no second model: the other answers to the same prompt say what was to be "
    "expected.",
    solution=_leave_one_out,
    wrong=_BASELINES,
)
def check_leave_one_out(fn: Callable[[Array], Array]) -> None:
    """``fn(rewards) -> advantages``: both (prompts, k)."""
    rewards = np.array([[1.0, 4.0, 2.5, 9.0], [3.0, 3.0, 6.0, 1.0]])
    compare(
        attempt(fn, rewards),
        _leave_one_out(rewards),
        {message: slip(rewards) for message, slip in _BASELINES.items()},
        "Each reward minus the mean of the other k - 1 in its row.",
    )


def _summed(errors: Array, factor: float) -> Array:
    """Of each place the sum of what follows, each further one times the factor once more."""
    sums = np.zeros(len(errors) + 1)
    for t in reversed(range(len(errors))):
        sums[t] = errors[t] + factor * sums[t + 1]
    return sums[:-1]


def _errors(rewards: Array, values: Array, gamma: float, after: float = 0.0) -> Array:
    return rewards + gamma * np.append(values[1:], after) - values


def _gae(rewards: Array, values: Array, gamma: float, lam: float) -> Array:
    return _summed(_errors(rewards, values, gamma), gamma * lam)


_ADVANTAGES: dict[str, Callable[[Array, Array, float, float], Any]] = {
    "Lambda is missing: this is the return minus the value, whatever lambda is.": (
        lambda r, v, gamma, lam: _summed(r, gamma) - v
    ),
    "These are the TD errors alone: each advantage also has what follows, times gamma lambda.": (
        lambda r, v, gamma, lam: _errors(r, v, gamma)
    ),
    "The sum is discounted by lambda alone; the factor is gamma times lambda.": (
        lambda r, v, gamma, lam: _summed(_errors(r, v, gamma), lam)
    ),
    "The next value in the TD error is not multiplied by gamma.": lambda r, v, gamma, lam: _summed(
        _errors(r, v, 1.0), gamma * lam
    ),
    "Nothing comes after the last token: its next value is 0, and not its own once more.": (
        lambda r, v, gamma, lam: _summed(_errors(r, v, gamma, v[-1]), gamma * lam)
    ),
    "These are the targets of the value head, advantage plus value; return the advantages.": (
        lambda r, v, gamma, lam: _gae(r, v, gamma, lam) + v
    ),
    "You add up what came before a token; an action changes only what comes after it.": (
        lambda r, v, gamma, lam: _summed(_errors(r, v, gamma)[::-1], gamma * lam)[::-1]
    ),
    "The sign of the TD error is wrong: a reward above what was predicted is an advantage above "
    "0.": lambda r, v, gamma, lam: -_gae(r, v, gamma, lam),
}


@exercise(
    "10_reward_models",
    right="Lambda 0 trusts the value head, lambda 1 trusts the sampled rewards; PPO takes a value "
    "between them.",
    solution=_gae,
    wrong=_ADVANTAGES,
)
def check_gae(fn: Callable[[Array, Array, float, float], Array]) -> None:
    """``fn(rewards, values, gamma, lam) -> advantages``: arrays with one entry per token of one
    answer.
    """
    rewards, values = np.array([-0.1, 0.3, 0.0, 2.0]), np.array([0.5, 0.9, 0.4, 1.2])
    for gamma, lam in ((0.9, 0.7), (1.0, 1.0), (1.0, 0.0)):  # the first tells wrong answers apart
        first = gamma < 1
        compare(
            attempt(fn, rewards, values, gamma, lam),
            _gae(rewards, values, gamma, lam),
            {m: slip(rewards, values, gamma, lam) for m, slip in _ADVANTAGES.items() if first},
            f"For gamma = {gamma} and lambda = {lam}: from the last token backwards, its TD error "
            "plus gamma lambda times the advantage after it.",
        )
