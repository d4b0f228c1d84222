"""Checks of chapter 12: extrapolated weights, the loss of logit distillation, pairs from
demonstrations, a point on a flow's way, the weights of a judge.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

CHAPTER = "12_comparisons"
Array = NDArray[np.float64]
Weights = dict[str, Tensor]


def _extrapolated(start: Weights, end: Weights, amount: float) -> Weights:
    return {name: end[name] + amount * (end[name] - start[name]) for name in end}


# What readers write instead, by the message that explains it.
_LINES: dict[str, Callable[[Weights, Weights, float], Any]] = {
    "You count from the start: an amount of 0 has to give the end, and -1 the start.": (
        lambda s, e, a: {name: s[name] + a * (e[name] - s[name]) for name in e}
    ),
    "This scales all weights; what has to be scaled is what the training changed.": (
        lambda s, e, a: {name: (1 + a) * e[name] for name in e}
    ),
    "The difference is the wrong way round: you go back towards the start.": (
        lambda s, e, a: {name: e[name] + a * (s[name] - e[name]) for name in e}
    ),
    "You return the change alone; add it to the end's weights.": (
        lambda s, e, a: {name: a * (e[name] - s[name]) for name in e}
    ),
}


@exercise(
    CHAPTER,
    right="Nothing was trained, and every amount is another model.",
    solution=_extrapolated,
    wrong=_LINES,
)
def check_extrapolated(fn: Callable[[Weights, Weights, float], Weights]) -> None:
    """``fn(start, end, amount) -> weights``: dictionaries of tensors by name; end + amount times
    (end - start).
    """
    start = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[0.5]])}
    end = {"a": torch.tensor([2.0, 5.0]), "b": torch.tensor([[1.5]])}
    got = attempt(fn, start, end, 0.25)
    if not isinstance(got, Mapping) or got.keys() != end.keys():
        raise Wrong("Return a dictionary with the names of the weights and a tensor for each.")

    def flat(weights: Mapping[str, Any]) -> list[Any]:
        return [
            value
            for name in sorted(weights)
            for value in torch.as_tensor(weights[name]).flatten().tolist()
        ]

    compare(
        flat(got),
        flat(_extrapolated(start, end, 0.25)),
        {message: flat(slip(start, end, 0.25)) for message, slip in _LINES.items()},
        "For each name: end[name] + amount * (end[name] - start[name]).",
    )


def _token_kl(student: Tensor, teacher: Tensor) -> Tensor:
    ours, theirs = F.log_softmax(student, dim=-1), F.log_softmax(teacher, dim=-1)
    return (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()


_DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "This is KL(student || teacher), the reverse divergence: the weights have to be the teacher's "
    "probabilities.": lambda s, t: _token_kl(t, s),
    "You average over the vocabulary too; a divergence is a sum over it, and a mean over tokens.": (
        lambda s, t: _token_kl(s, t) / s.shape[-1]
    ),
    "You add up the tokens: the loss would grow with the length of the texts.": lambda s, t: (
        _token_kl(s, t) * s.shape[0]
    ),
    "The sign is wrong: a divergence is never below 0.": lambda s, t: -_token_kl(s, t),
    "This is the cross-entropy with the teacher's probabilities, whose gradient is the same. Take "
    "the teacher's own entropy off, so that equal models have a loss of 0.": lambda s, t: (
        F.cross_entropy(s, t.softmax(dim=-1))
    ),
    "This looks at the teacher's likeliest token alone, which is what a text could have told.": (
        lambda s, t: F.cross_entropy(s, t.argmax(dim=-1))
    ),
    "Logits are not log-probabilities: normalise both with log_softmax first.": lambda s, t: (
        (t.exp() * (t - s)).sum(dim=-1).mean()
    ),
}


@exercise(
    CHAPTER,
    right="Each token now carries a whole distribution, and a student that agrees has a loss of 0.",
    solution=_token_kl,
    wrong=_DIVERGENCES,
)
def check_token_kl(fn: Callable[[Tensor, Tensor], Tensor]) -> None:
    """``fn(student, teacher) -> loss``: logits of shape (tokens, vocabulary); the mean over tokens
    of KL(teacher || student), in nats.
    """
    student, teacher = torch.randn(
        2, 3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    compare(
        attempt(fn, student, teacher),
        _token_kl(student, teacher),
        {message: slip(student, teacher) for message, slip in _DIVERGENCES.items()},
        "The mean over tokens of the sum over v of p_teacher(v) * (log p_teacher(v) - "
        "log p_student(v)).",
    )


Pair = tuple[str, str, str]


def _demonstration_pairs(prompts: list[str], shown: list[str], own: list[str]) -> list[Pair]:
    return [
        (prompt, demonstration, answer)
        for prompt, demonstration, answer in zip(prompts, shown, own, strict=True)
        if demonstration != answer
    ]


def _shifted(prompts: list[str], shown: list[str], own: list[str]) -> list[Pair]:
    """The demonstrations that differ, beside the first so many answers."""
    kept = [n for n, text in enumerate(shown) if text != own[n]]
    return [(prompts[n], shown[n], own[place]) for place, n in enumerate(kept)]


_PAIRINGS: dict[str, Callable[[list[str], list[str], list[str]], Any]] = {
    "A pair whose two sides are one text teaches nothing, since its margin is always 0: set it "
    "aside.": lambda p, s, o: list(zip(p, s, o, strict=True)),
    "Chosen and rejected are swapped: the demonstration is what is to become likelier.": (
        lambda p, s, o: [(a, c, b) for a, b, c in _demonstration_pairs(p, s, o)]
    ),
    "This keeps the pairs whose two sides are equal; keep the others.": lambda p, s, o: [
        (a, b, c) for a, b, c in zip(p, s, o, strict=True) if b == c
    ],
    "Prompts and answers have come out of step: leave a prompt out together with both of its "
    "answers.": _shifted,
    "This leaves out an answer that is the demonstration of another prompt; only the same prompt's "
    "counts.": lambda p, s, o: [(a, b, c) for a, b, c in zip(p, s, o, strict=True) if c not in s],
}


@exercise(
    CHAPTER,
    right="No judge was asked: the demonstration is chosen because the teacher wrote it.",
    solution=_demonstration_pairs,
    wrong=_PAIRINGS,
)
def check_demonstration_pairs(fn: Callable[[list[str], list[str], list[str]], list[Pair]]) -> None:
    """``fn(prompts, demonstrations, answers) -> pairs``: lists of texts, one per prompt; a list of
    (prompt, chosen, rejected).
    """
    prompts = ["the sum of 1 and 1?", "capital of France?", "a name?", "another name?"]
    shown, own = ["2", "It is Paris.", "Cora", "Tom"], ["2", "Paris", "Tom", "Nina"]
    got = attempt(fn, prompts, shown, own)
    if not isinstance(got, list) or not all(isinstance(pair, tuple | list) for pair in got):
        raise Wrong("Return a list of tuples (prompt, chosen, rejected).")
    pairs = [tuple(pair) for pair in got]
    if pairs == _demonstration_pairs(prompts, shown, own):
        return
    for message, slip in _PAIRINGS.items():
        if pairs == slip(prompts, shown, own):
            raise Wrong(message)
    raise Wrong(f"Expected {_demonstration_pairs(prompts, shown, own)}, got {pairs}.")


Flow = tuple[Tensor, Tensor]


def _flow_pair(rejected: Tensor, chosen: Tensor, time: Tensor, noise: Tensor) -> Flow:
    at = time[:, None]
    return (1 - at) * rejected + at * chosen + 0.1 * noise, chosen - rejected


_FLOWS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Flow]] = {
    "At time 0 the point has to be the rejected one, at time 1 the chosen one; yours goes the "
    "other way.": lambda r, c, t, e: (_flow_pair(c, r, t, e)[0], c - r),
    "The velocity leads from the rejected to the chosen point: chosen - rejected.": (
        lambda r, c, t, e: (_flow_pair(r, c, t, e)[0], r - c)
    ),
    "The velocity is that of the whole way and the same at all times: it is not scaled by t.": (
        lambda r, c, t, e: (_flow_pair(r, c, t, e)[0], t[:, None] * (c - r))
    ),
    "The noise is missing: without it the field is learned on the lines alone.": (
        lambda r, c, t, e: _flow_pair(r, c, t, 0 * e)
    ),
    "The noise has a standard deviation of 0.1, and is not to be taken as it comes.": (
        lambda r, c, t, e: _flow_pair(r, c, t, 10 * e)
    ),
}


@exercise(
    CHAPTER,
    right="A point on the way, and the velocity that is wanted there.",
    solution=_flow_pair,
    wrong=_FLOWS,
)
def check_flow_pair(fn: Callable[[Tensor, Tensor, Tensor, Tensor], Flow]) -> None:
    """``fn(rejected, chosen, time, noise) -> (points, velocities)``: tensors (pairs, dimensions),
    ``time`` (pairs,) from 0 to 1, ``noise`` standard normal.
    """
    rejected, chosen = torch.tensor([[0.0, 1.0], [2.0, -1.0]]), torch.tensor([[3.0, 1.5], [0.5, 4]])
    given = rejected, chosen, torch.tensor([0.25, 0.6]), torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    got = attempt(fn, *given)
    if not isinstance(got, tuple) or len(got) != 2:
        raise Wrong("Return two tensors: the points, and the velocities wanted there.")

    def flat(pair: Flow) -> list[Any]:
        return [value for part in pair for value in torch.as_tensor(part).flatten().tolist()]

    compare(
        flat(got),
        flat(_flow_pair(*given)),
        {message: flat(slip(*given)) for message, slip in _FLOWS.items()},
        "Points (1 - t) * rejected + t * chosen + 0.1 * noise, t as a column; velocities chosen - "
        "rejected.",
    )


def _fit_weights(differences: Array, choices: Array) -> Array:
    weights = np.zeros(differences.shape[1])
    for _ in range(25):
        chance = 1 / (1 + np.exp(-differences @ weights))
        gradient = differences.T @ (choices - chance)
        curvature = (differences * (chance * (1 - chance))[:, None]).T @ differences
        weights = weights + np.linalg.solve(curvature, gradient)
    return weights


_FITS: dict[str, Callable[[Array, Array], Any]] = {
    "The signs are turned round: chance is that the *first* answer is chosen, and the gradient "
    "is choices minus chance.": lambda d, p: -_fit_weights(d, p),
    "This is one step of Newton's method: repeat it until the weights stand still.": (
        lambda d, p: np.linalg.solve(d.T @ d / 4, d.T @ (p - 0.5))
    ),
    "You fit the choices by least squares, as if they were numbers; they are tosses of a coin "
    "whose chance is a sigmoid.": lambda d, p: np.linalg.lstsq(d, p, rcond=None)[0],
    "You fit an intercept too: it would mean that the first answer is chosen for being first.": (
        lambda d, p: _fit_weights(np.column_stack([d, np.ones(len(d))]), p)[:-1]
    ),
    "You look at each feature alone; features that come together, such as a full sentence and its "
    "length, have to be fitted together.": lambda d, p: np.array(
        [_fit_weights(column[:, None], p)[0] for column in d.T]
    ),
}


@exercise(
    CHAPTER,
    right="Choices alone, and out come the judge's weights: no judge has to be asked for reasons.",
    solution=_fit_weights,
    wrong=_FITS,
)
def check_fit_weights(fn: Callable[[Array, Array], Array]) -> None:
    """``fn(differences, choices) -> weights``: (comparisons, features) and (comparisons,) of 0
    and 1; the weights of a logistic regression without intercept.
    """
    draw = np.random.default_rng(2)
    differences = draw.normal(size=(80, 3)) @ np.array([[1, 0.8, 0], [0, 1, 0], [0, 0, 1.0]])
    differences[:, 2] += 0.5
    logits = differences @ np.array([1.5, -0.5, 0.8])
    choices = (draw.random(80) < 1 / (1 + np.exp(-logits))).astype(float)
    compare(
        attempt(fn, differences, choices),
        _fit_weights(differences, choices),
        {message: slip(differences, choices) for message, slip in _FITS.items()},
        "The weights at which the gradient, differences.T @ (choices - chance), is zero.",
        tolerance=1e-3,
    )
