"""Checks of chapter 05: the optimal policy, log-probabilities, the loss, the first step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zephyr_utils import objectives
from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

Array = NDArray[np.float64]


def _best(reference: Array, rewards: Array, beta: float) -> Array:
    tilted = reference * np.exp(rewards / beta)
    return tilted / tilted.sum()


@exercise(
    "05_ddpo",
    right="This is the policy that dDPO heads for, and no reward model was needed to write it "
    "down.",
    solution=_best,
    wrong={
        "add up to 1": lambda reference, rewards, beta: reference * np.exp(rewards / beta),
        "reference is forgotten": lambda reference, rewards, beta: _best(
            np.ones(len(rewards)), rewards, beta
        ),
        "divide by beta": lambda reference, rewards, beta: _best(
            reference, rewards * beta**2, beta
        ),
        "beta is missing": lambda reference, rewards, beta: _best(reference, rewards, 1.0),
        "everything on the best": lambda reference, rewards, beta: np.eye(len(rewards))[
            np.argmax(rewards)
        ],
        "sign": lambda reference, rewards, beta: _best(reference, -rewards, beta),
    },
)
def check_optimal_policy(fn: Callable[[Array, Array, float], Array]) -> None:
    """``fn(reference, rewards, beta) -> policy``: arrays of one entry per answer; the best policy
    at that price beta.
    """
    reference, rewards, beta = (
        np.array([0.5, 0.3, 0.15, 0.05]),
        np.array([0.2, 1.0, -0.5, 1.4]),
        0.5,
    )
    mistakes = {
        "These do not add up to 1: divide by their sum, Z.": reference * np.exp(rewards / beta),
        "The reference is forgotten: an answer it would never give stays unlikely.": _best(
            np.ones(4), rewards, beta
        ),
        "You multiply by beta; divide by beta: the higher the price of moving, the smaller the "
        "tilt.": (_best(reference, rewards * beta, 1.0)),
        "beta is missing: this is the policy at a price of 1.": _best(reference, rewards, 1.0),
        "This puts everything on the best answer, which is the limit of a price of "
        "nothing.": np.eye(4)[3],
        "The sign is wrong: answers with a high reward become likelier.": _best(
            reference, -rewards, beta
        ),
    }
    compare(
        attempt(fn, reference, rewards, beta),
        _best(reference, rewards, beta),
        mistakes,
        "The reference times exp(reward / beta), divided by the sum of that.",
    )


def _of_answer(token_log_probs: Array, in_answer: Array) -> float:
    return float((token_log_probs * in_answer).sum())


@exercise(
    "05_ddpo",
    right="A sum: the logarithm of the probability that the model says exactly this, and then "
    "stops.",
    solution=_of_answer,
    wrong={
        "not divided": lambda logs, mask: _of_answer(logs, mask) / mask.sum(),
        "whole conversation": lambda logs, mask: logs.sum(),
        "the prompt's": lambda logs, mask: _of_answer(logs, 1 - mask),
        "end of the answer": lambda logs, mask: float(logs[mask == 1][:-1].sum()),
        "a probability": lambda logs, mask: float(np.exp(_of_answer(logs, mask))),
        "one per token": lambda logs, mask: logs * mask,
        "sign": lambda logs, mask: -_of_answer(logs, mask),
    },
)
def check_answer_log_prob(fn: Callable[[Array, Array], float]) -> None:
    """``fn(token_log_probs, in_answer) -> float``: log pi(y | x) in nats; in_answer is 1 for the
    answer's tokens.
    """
    logs, mask = (
        np.array([-4.0, -2.5, -0.1, -0.7, -1.2, -0.3, -0.05]),
        np.array([0, 0, 0, 1, 1, 1, 1]),
    )
    right = _of_answer(logs, mask)
    mistakes = {
        "This is the mean: a sum is not divided by the number of tokens.": right / mask.sum(),
        "This counts the whole conversation; the prompt is given, so its tokens do not "
        "count.": logs.sum(),
        "These are the prompt's tokens: the mask is the wrong way round.": _of_answer(
            logs, 1 - mask
        ),
        "The end of the answer is left out, so stopping would earn nothing.": right - logs[-1],
        "This is a probability; stay with its logarithm, which does not shrink to nothing on long "
        "answers.": np.exp(right),
        "These are the values, one per token; log pi(y | x) is their sum.": logs * mask,
        "The sign is wrong: the logarithm of a probability is not above 0.": -right,
    }
    compare(
        attempt(fn, logs, mask), right, mistakes, "The sum of token_log_probs where in_answer is 1."
    )


def _start(logged: Array, dsft: Array, base: Array) -> str:
    return _started(logged, dsft, base, lambda own: np.abs(logged - own).max() < 0.01)


def _started(logged: Array, dsft: Array, base: Array, same: Callable[[Array], Any]) -> str:
    for name, own in (("dsft", dsft), ("base", base)):
        if same(own):
            return name
    return "neither"


def _nearest(logged: Array, dsft: Array, base: Array) -> str:
    return "dsft" if np.abs(logged - dsft).sum() < np.abs(logged - base).sum() else "base"


_SWAPPED = {"dsft": "base", "base": "dsft", "neither": "neither"}
_Start = Callable[[Array, Array, Array], Any]
# What readers write instead, by the message that explains it.
_STARTS: dict[str, _Start] = {
    "This says dsft whatever the numbers are, as a look at the loss alone would.": (
        lambda logged, dsft, base: "dsft"
    ),
    "Sums in another order differ in the last digit: allow a small difference.": (
        lambda logged, dsft, base: _started(logged, dsft, base, lambda own: (logged == own).all())
    ),
    "The names are the wrong way round.": (
        lambda logged, dsft, base: _SWAPPED[_start(logged, dsft, base)]
    ),
    "This asks only the nearer of the two; a model that is neither has to be recognised, "
    "too.": _nearest,
    "This compares means: a model that gives one answer 3 nats more and the others as much less "
    "has the same mean, and is another model. Compare answer by answer.": (
        lambda logged, dsft, base: _started(
            logged, dsft, base, lambda own: abs(logged.mean() - own.mean()) < 0.01
        )
    ),
    "The largest difference is taken with its sign, so a model that is lower everywhere passes: "
    "take the absolute value first.": (
        lambda logged, dsft, base: _started(
            logged, dsft, base, lambda own: (logged - own).max() < 0.01
        )
    ),
    "The mean of the differences lets one answer in 64 be half a nat off: take the largest "
    "difference.": (
        lambda logged, dsft, base: _started(
            logged, dsft, base, lambda own: np.abs(logged - own).mean() < 0.01
        )
    ),
    "One answer that agrees is not enough: all have to.": (
        lambda logged, dsft, base: _started(
            logged, dsft, base, lambda own: np.abs(logged - own).min() < 0.01
        )
    ),
    "This tolerance is too wide: rounding is of the order of 1e-4 nats, and this run is half a nat "
    "off.": lambda logged, dsft, base: _started(
        logged, dsft, base, lambda own: np.allclose(logged, own, atol=1.0)
    ),
}


@exercise(
    "05_ddpo",
    right="One line before the first step tells what a loss of ln 2 cannot.",
    solution=_start,
    wrong={
        words: next(slip for message, slip in _STARTS.items() if words in message)
        for words in (
            "whatever the numbers",
            "last digit",
            "wrong way round",
            "only the nearer",
            "compares means",
            "with its sign",
            "one answer in 64",
            "One answer that agrees",
            "too wide",
        )
    }
    | {"one of the words": lambda logged, dsft, base: bool(np.allclose(logged, dsft))},
)
def check_first_step(fn: _Start) -> None:
    """``fn(logged, dsft, base) -> "dsft", "base" or "neither"``: whose log-probabilities a run
    logged at its start.
    """
    dsft, base = np.array([-16.04, -22.51, -9.87]), np.array([-16.35, -40.20, -31.08])
    rounding = np.array([4e-5, -2e-5, 1e-5])  # another batch size, another order of summing
    many, many_of_base = np.resize(dsft, 64), np.resize(base, 64)
    one_off = np.where(np.arange(64) == 40, many - 0.5, many)
    runs = [
        ("dsft", dsft + rounding, dsft, base),
        ("base", base - rounding, dsft, base),
        ("neither", dsft - 3.0, dsft, base),
        ("neither", base + 3.0, dsft, base),
        ("neither", dsft + np.array([3.0, -2.0, -1.0]), dsft, base),
        ("neither", dsft + np.array([0.0, 3.0, 1.0]), dsft, base),
        ("neither", dsft + 0.5, dsft, base),
        ("neither", one_off, many, many_of_base),
    ]

    def said(function: _Start) -> tuple[Any, ...]:
        return tuple(function(*arrays) for _, *arrays in runs)

    got = tuple(attempt(fn, *arrays) for _, *arrays in runs)
    if not all(isinstance(word, str) and word in _SWAPPED for word in got):
        raise Wrong('Return one of the words "dsft", "base" and "neither".')
    expected = tuple(name for name, *_ in runs)
    if got != expected:
        mistakes = {said(slip): message for message, slip in _STARTS.items()}
        raise Wrong(
            mistakes.get(
                got, f"For runs that began at {', '.join(expected)}, you say {', '.join(got)}."
            )
        )


def _loss_of_means(
    pc: torch.Tensor, pr: torch.Tensor, rc: torch.Tensor, rr: torch.Tensor, beta: float
) -> torch.Tensor:
    """The slip of taking the mean over the batch before the loss instead of after it."""
    return objectives.dpo_loss(
        pc.mean(0, keepdim=True),
        pr.mean(0, keepdim=True),
        rc.mean(0, keepdim=True),
        rr.mean(0, keepdim=True),
        beta,
    )


@exercise(
    "05_ddpo",
    right="This is equation 1 of the paper, and it agrees with TRL's to the last digits.",
    solution=objectives.dpo_loss,
    wrong={
        "beta is missing": lambda pc, pr, rc, rr, beta: objectives.dpo_loss(pc, pr, rc, rr, 1.0),
        "swapped": lambda pc, pr, rc, rr, beta: objectives.dpo_loss(pr, pc, rr, rc, beta),
        "reference is forgotten": lambda pc, pr, rc, rr, beta: objectives.dpo_loss(
            pc, pr, 0 * rc, 0 * rr, beta
        ),
        "not the sum": lambda pc, pr, rc, rr, beta: objectives.dpo_losses(
            pc, pr, rc, rr, beta
        ).sum(),
        "take the mean": lambda pc, pr, rc, rr, beta: objectives.dpo_losses(pc, pr, rc, rr, beta),
        "logarithm": lambda pc, pr, rc, rr, beta: (
            -torch.sigmoid(objectives.reward_margin(pc, pr, rc, rr, beta)).mean()
        ),
        "minus sign": lambda pc, pr, rc, rr, beta: -objectives.dpo_loss(pc, pr, rc, rr, beta),
        "one pair at a time": lambda pc, pr, rc, rr, beta: _loss_of_means(pc, pr, rc, rr, beta),
        "F.logsigmoid": lambda pc, pr, rc, rr, beta: (
            -torch.sigmoid(objectives.reward_margin(pc, pr, rc, rr, beta)).log().mean()
        ),
    },
)
def check_dpo_loss(fn: Callable[..., torch.Tensor]) -> None:
    """``fn(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta) -> loss``,
    the batch's mean.
    """
    numbers = (
        [-12.0, -35.0, -20.5],
        [-15.0, -31.0, -24.0],
        [-13.0, -33.0, -21.0],
        [-14.0, -32.5, -20.0],
    )
    pairs = tuple(torch.tensor(values, dtype=torch.float64) for values in numbers)
    pc, pr, rc, rr = pairs
    losses = objectives.dpo_losses(pc, pr, rc, rr, 0.1)
    margins = objectives.reward_margin(pc, pr, rc, rr, 0.1)
    of_means = _loss_of_means(pc, pr, rc, rr, 0.1)
    mistakes = {
        "beta is missing: multiply the difference of the log-ratios by it.": objectives.dpo_loss(
            pc, pr, rc, rr, 1.0
        ),
        "Chosen and rejected are swapped: this loss falls as the rejected answer "
        "wins.": objectives.dpo_loss(pr, pc, rr, rc, 0.1),
        "The reference is forgotten: subtract its log-probability from the policy's, answer by "
        "answer.": (objectives.dpo_loss(pc, pr, 0 * rc, 0 * rr, 0.1)),
        "Take the mean over the pairs, not the sum: else the learning rate would depend on the "
        "batch size.": losses.sum(),
        "These are the right losses, one a pair: take the mean of them.": losses,
        "The logarithm is missing: the loss is -log(sigmoid(margin)).": -torch.sigmoid(
            margins
        ).mean(),
        "The minus sign is missing: log(sigmoid(margin)) is below 0, and has to be made "
        "larger.": -losses.mean(),
        "Take each loss of one pair at a time, then the mean: the loss of mean rewards is another "
        "number.": of_means,
    }
    compare(
        attempt(fn, *pairs, 0.1),
        losses.mean(),
        mistakes,
        "This is not -log(sigmoid(margin)) of these pairs.",
    )
    # A margin of -120, in the float32 that models give.
    far = [torch.tensor([value]) for value in (-1300.0, -100.0, -100.0, -100.0)]
    got = attempt(fn, *far, 0.1)
    expected = objectives.dpo_loss(far[0], far[1], far[2], far[3], 0.1)
    if not np.isfinite(float(got)):
        raise Wrong(
            "For a pair that is very wrong, sigmoid(m) rounds to 0 in float32 and its logarithm is "
            f"no number: take F.logsigmoid(m), which gives {float(expected):.0f} where yours gives "
            f"{float(got):.0f}."
        )
    compare(got, expected, {}, "A pair that is very wrong has another loss.", tolerance=1e-3)
