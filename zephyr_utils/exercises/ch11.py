"""Checks of chapter 11: the pair of a round, win rates, a step of self-play, a judge's optimism."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

Array = NDArray[np.float64]
Places = tuple[int, int]


def _round_pair(scores: Array) -> Places | None:
    known = np.flatnonzero(~np.isnan(scores))
    if len(known) == 0 or scores[known].max() == scores[known].min():
        return None
    return int(np.nanargmax(scores)), int(np.nanargmin(scores))


def _second_best(scores: Array) -> Places:
    order = np.argsort(np.where(np.isnan(scores), -np.inf, scores))
    return int(order[-1]), int(order[-2])


_NO_TIES = (
    "Where all scores are equal nothing is preferred: return None, or the model would be trained "
    "on the judge's order of answers."
)
_PAIRS: dict[str, Callable[[Array], Any]] = {
    "The first is to be the best answer and the second the worst; yours are the other way round.": (
        lambda s: (int(np.nanargmin(s)), int(np.nanargmax(s)))
    ),
    "Your second answer is the second best; with the worst the pair shows the larger difference.": (
        _second_best
    ),
    "A score that is NaN means that the judge failed, not that the answer is bad: leave it out "
    "rather than counting it as 0.": lambda s: _round_pair(np.nan_to_num(s)),
    "NumPy's argmax and argmin stop at the first NaN; nanargmax and nanargmin pass over it.": (
        lambda s: (int(np.argmax(s)), int(np.argmin(s)))
    ),
}
_SCORES = np.array([3.5, np.nan, 1.25, 4.75, 2.0])


@exercise(
    "11_sampling_again",
    right="One pair per prompt, and none where the judge sees no difference.",
    solution=_round_pair,
    wrong={
        **_PAIRS,
        "nothing is preferred": lambda s: (int(np.nanargmax(s)), int(np.nanargmin(s))),
    },
)
def check_round_pair(fn: Callable[[Array], Places | None]) -> None:
    """``fn(scores) -> (best, worst)``: the places of the best- and the worst-scored answer to one
    prompt, scores of failed judgments being NaN; None where no two scores differ.
    """
    compare(
        attempt(fn, _SCORES),
        _round_pair(_SCORES),
        {message: slip(_SCORES) for message, slip in _PAIRS.items()},
        "The places of the highest and of the lowest score that is not NaN, from 0.",
    )
    for tied in ([2.5, 2.5, 2.5], [np.nan, 4.0, 4.0]):
        if attempt(fn, np.array(tied), none_is_an_answer=True) is not None:
            raise Wrong(_NO_TIES)


def _win_rates(scores: Tensor, temperature: float) -> Tensor:
    return torch.sigmoid((scores[:, :, None] - scores[:, None, :]) / temperature).mean(dim=2)


_RATES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "You leave out the comparison of an answer with itself; it counts one half, so that a prompt's "
    "win rates sum to K / 2.": lambda s, t: (
        (_win_rates(s, t) * s.shape[1] - 0.5) / (s.shape[1] - 1)
    ),
    "These are sums over the other answers, and a rate is their mean.": lambda s, t: (
        _win_rates(s, t) * s.shape[1]
    ),
    "The sign is wrong: the answer with the highest score loses most often here.": lambda s, t: (
        1 - _win_rates(s, t)
    ),
    "The temperature divides the difference; a higher one makes comparisons less certain.": (
        lambda s, t: _win_rates(s, 1 / t)
    ),
    "A softmax says how likely each answer is to be the best; a win rate is its mean chance "
    "against one other.": lambda s, t: torch.softmax(s / t, dim=1),
    "These are hard wins: the size of a difference counts too, through the sigmoid.": lambda s, t: (
        _win_rates(s, 1e-9)
    ),
}


@exercise(
    "11_sampling_again",
    right="K answers to one prompt give K targets, and no answer needs a comparison of its own.",
    solution=_win_rates,
    wrong=_RATES,
)
def check_win_rates(fn: Callable[[Tensor, float], Tensor]) -> None:
    """``fn(scores, temperature) -> rates``: tensors of shape (prompts, K); each answer's mean
    chance of winning against the K answers to its prompt, itself included.
    """
    scores = torch.tensor([[3.0, 1.0, 4.5, 2.0], [1.0, 1.0, 5.0, 2.5]], dtype=torch.float64)
    compare(
        attempt(fn, scores, 2.0),
        _win_rates(scores, 2.0),
        {message: slip(scores, 2.0) for message, slip in _RATES.items()},
        "The mean over k of sigmoid((s_i - s_k) / temperature).",
    )


def _self_play(policy: Array, wins: Array, eta: float) -> Array:
    raised = policy * np.exp(eta * (wins @ policy))
    return raised / raised.sum()


def _normalised(weights: Array) -> Array:
    return weights / weights.sum()


_STEPS: dict[str, Callable[[Array, Array, float], Array]] = {
    "The probabilities no longer sum to 1: divide by their sum.": lambda p, w, e: (
        p * np.exp(e * (w @ p))
    ),
    "Row i of wins holds what answer i wins: wins @ policy, not policy @ wins, which counts its "
    "defeats.": lambda p, w, e: _normalised(p * np.exp(e * (p @ w))),
    "The last policy is the reference, and is multiplied: yours forgets it.": lambda p, w, e: (
        _normalised(np.exp(e * (w @ p)))
    ),
    "The opponent is the last policy: weigh the answers by its probabilities, not all alike.": (
        lambda p, w, e: _normalised(p * np.exp(e * w.mean(axis=1)))
    ),
    "eta is left out: it says how far one round goes.": lambda p, w, e: _self_play(p, w, 1.0),
    "The win rate is in the exponent, and not a factor by itself.": lambda p, w, e: _normalised(
        p * (w @ p)
    ),
}


@exercise(
    "11_sampling_again",
    right="This is where a round would end if the model could follow SPPO's targets exactly.",
    solution=_self_play,
    wrong=_STEPS,
)
def check_self_play(fn: Callable[[Array, Array, float], Array]) -> None:
    """``fn(policy, wins, eta) -> policy``: the probabilities of n answers, (n,), and the chances
    that answer i beats answer j, (n, n); the policy after one exact round.
    """
    policy = np.array([0.5, 0.3, 0.2])
    wins = np.array([[0.5, 0.8, 0.1], [0.2, 0.5, 0.7], [0.9, 0.3, 0.5]])
    compare(
        attempt(fn, policy, wins, 2.5),
        _self_play(policy, wins, 2.5),
        {message: slip(policy, wins, 2.5) for message, slip in _STEPS.items()},
        "policy * exp(eta * win rate against the policy), divided by its sum.",
    )


def _optimism(ratings: Array, fresh: Array) -> float:
    rows = np.arange(len(ratings))
    chosen = ratings.argmax(axis=1)
    return float((ratings[rows, chosen] - fresh[rows, chosen]).mean())


_OPTIMISMS: dict[str, Callable[[Array, Array], float]] = {
    "You take the best of each judging by itself, and both are too high: the second judging has to "
    "rate the answer that the first one chose.": lambda r, f: float(
        (r.max(axis=1) - f.max(axis=1)).mean()
    ),
    "This compares all answers; among those that were not chosen the error has the other sign.": (
        lambda r, f: float((r - f).mean())
    ),
    "The second judging chooses here; it is only to rate.": lambda r, f: -_optimism(f, r),
    "The sign is wrong: an optimistic judge gives a positive number.": lambda r, f: (
        -_optimism(r, f)
    ),
    "Without its sign an error cannot cancel: this is positive for an honest judge too.": (
        lambda r, f: float(np.abs(r - f)[np.arange(len(r)), r.argmax(axis=1)].mean())
    ),
    "Per prompt, not over all of them: the mean of the chosen answers' differences.": lambda r, f: (
        float(r.max() - f.flatten()[r.argmax()])
    ),
}


@exercise(
    "11_sampling_again",
    right="Whatever chose an answer must not also report how good it is.",
    solution=_optimism,
    wrong=_OPTIMISMS,
)
def check_judge_optimism(fn: Callable[[Array, Array], float]) -> None:
    """``fn(ratings, fresh) -> float``: arrays of shape (prompts, K), two independent judgings of
    the same answers, of which the first chooses the best answer to each prompt; the mean over
    prompts of what it gave the chosen answer, minus what the second gave it.
    """
    ratings = np.array([[3.0, 4.5, 2.0], [4.0, 1.0, 3.5], [2.0, 2.5, 5.0]])
    fresh = np.array([[3.5, 3.0, 2.5], [4.5, 2.0, 1.5], [3.0, 2.75, 3.0]])
    compare(
        attempt(fn, ratings, fresh),
        _optimism(ratings, fresh),
        {message: slip(ratings, fresh) for message, slip in _OPTIMISMS.items()},
        "In each row take the place of the highest entry of `ratings`; there, `ratings` minus "
        "`fresh`; then the mean.",
    )
