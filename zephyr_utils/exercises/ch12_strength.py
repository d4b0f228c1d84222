"""Checks of chapter 12: what the strength of a preference does to a step, and whether it helped."""

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

CHAPTER = "12_comparisons"
Array = NDArray[np.float64]


def _pulls(d: Tensor, strength: Tensor, kind: str) -> Tensor:
    if kind == "margin":
        return torch.sigmoid(strength - d)
    return torch.sigmoid(-d) * (strength if kind == "scaled" else 1)


def _losses(d: Tensor, strength: Tensor, kind: str) -> Tensor:
    if kind == "margin":
        return -F.logsigmoid(d - strength)
    return -F.logsigmoid(d) * (strength if kind == "scaled" else 1)


_PULLS: dict[str, Callable[[Tensor, Tensor, str], Tensor]] = {
    "The sign is wrong: the pull is minus the derivative, and pushes d up.": lambda d, s, k: (
        -_pulls(d, s, k)
    ),
    "These are the losses; the pull is minus their derivative by d.": _losses,
    "The pull is strongest here where the pair is already right: the derivative of -log sigma(d) "
    "is -sigma(-d).": lambda d, s, k: _pulls(-d, -s if k == "margin" else s, k),
    "This is the derivative of the probability; the loss has its logarithm.": lambda d, s, k: (
        _pulls(d, s, k) * torch.sigmoid(d - s if k == "margin" else d)
    ),
    "The margin has the other sign: it asks for d above s, so the pull is still strong at d = s.": (
        lambda d, s, k: _pulls(d, -s if k == "margin" else s, k)
    ),
    "The margin stands inside the logarithm; it is not a weight.": lambda d, s, k: _pulls(
        d, s, "scaled" if k == "margin" else k
    ),
    "The margin does not drop out of the derivative: sigma is taken at d - s.": lambda d, s, k: (
        _pulls(d, s, "regular" if k == "margin" else k)
    ),
    "Scaled multiplies the loss, and not d inside the sigmoid.": lambda d, s, k: (
        s * torch.sigmoid(-s * d) if k == "scaled" else _pulls(d, s, k)
    ),
    "The weight stays in front when you take the derivative of the scaled loss.": lambda d, s, k: (
        _pulls(d, s, "regular" if k == "scaled" else k)
    ),
    "Regular knows no strength: each pair's pull depends on its d alone.": lambda d, s, k: _pulls(
        d, s, "scaled" if k == "regular" else k
    ),
    "Take the strengths as they are given; their mean is 1 in the chapter, and need not be in a "
    "batch.": lambda d, s, k: _pulls(d, s / s.mean(), k),
    "These are a batch's pulls divided by its size; each pair's own is wanted.": lambda d, s, k: (
        _pulls(d, s, k) / len(d)
    ),
    "Return one pull for each pair, not their mean.": lambda d, s, k: _pulls(d, s, k).mean(),
}


@exercise(
    CHAPTER,
    right="Where the pull goes is all that a loss decides: compare it before you compare grades.",
    solution=_pulls,
    wrong=_PULLS,
)
def check_pulls(fn: Callable[[Tensor, Tensor, str], Tensor]) -> None:
    """``fn(d, strength, kind) -> pulls``: tensors (pairs,), `kind` "regular", "margin" or "scaled";
    minus the derivative of each pair's loss by its d.
    """
    d = torch.tensor([0.0, 1.2, -0.7, 2.5, 0.4], dtype=torch.float64)
    strength = torch.tensor([0.5, 2.0, 1.5, 3.0, 1.0], dtype=torch.float64)
    kinds = ("regular", "margin", "scaled")

    def listed(pulls: Callable[[Tensor, Tensor, str], Tensor]) -> list[Any]:
        return [_flat(pulls(d, strength, kind)) for kind in kinds]

    compare(
        listed(lambda *given: attempt(fn, *given)),
        listed(_pulls),
        {message: listed(slip) for message, slip in _PULLS.items()},
        "For regular, margin and scaled: sigma(-d), sigma(s - d), s * sigma(-d).",
    )


def _flat(pulls: Any) -> Any:
    return pulls.detach().tolist() if isinstance(pulls, Tensor) else pulls


# --- a verdict on several tries -------------------------------------------------------------------

HELPED, HARMED, OPEN = "helped", "harmed", "cannot tell"


def _errors(tries: float, level: float = 0.05) -> float:
    """How many standard errors an interval reaches to either side."""
    return NormalDist().inv_cdf(1 - level / tries / 2)


def _helped(gains: Array, tries: int, reach: Callable[[int], float] = _errors) -> str:
    mean, error = gains.mean(), np.std(gains, ddof=1) / np.sqrt(len(gains))
    if abs(mean) <= reach(tries) * error:
        return OPEN
    return HELPED if mean > 0 else HARMED


def _instead(words: dict[str, str]) -> Callable[[Array, int], str]:
    """The right verdict, with other words for some."""
    return lambda gains, tries: words.get(word := _helped(gains, tries), word)


_HELPED: dict[str, Callable[[Array, int], Any]] = {
    "With 1.96 for each of several tries, one of them looks like a gain too often: divide the 5 % "
    "by the number of tries.": lambda g, n: _helped(g, n, lambda tries: 1.96),
    "The interval grows with the tries, but not in proportion: it is the 5 % that is divided.": (
        lambda g, n: _helped(g, n, lambda tries: 1.96 * tries)
    ),
    "The 5 % are multiplied by the tries: more tries have to make the interval wider.": (
        lambda g, n: _helped(g, n, lambda tries: _errors(1, min(0.05 * tries, 1.0)))
    ),
    "This is a one-sided quantile; the interval has two ends, with half of the 5 % beyond each.": (
        lambda g, n: _helped(g, n, lambda tries: NormalDist().inv_cdf(1 - 0.05 / tries))
    ),
    "The sign of the mean alone is not a finding: every mean has one.": lambda g, n: (
        HELPED if g.mean() > 0 else HARMED
    ),
    "The error is that of a mean: the spread of the gains divided by the root of their number.": (
        lambda g, n: _helped(g, n, lambda tries: _errors(tries) * len(g) ** 0.5)
    ),
    "Divide by the root of the number of gains, not by the number.": lambda g, n: _helped(
        g, n, lambda tries: _errors(tries) / len(g) ** 0.5
    ),
    "One standard error is a 68 % interval, and many such gains are chance.": lambda g, n: _helped(
        g, n, lambda tries: 1.0
    ),
    'What did not help need not have harmed: where zero lies inside, say "cannot tell".': (
        _instead({OPEN: HARMED})
    ),
    "You never say that it harmed: an interval below zero is a finding, too.": _instead(
        {HARMED: OPEN}
    ),
    "The signs are the wrong way round: gains above zero helped.": _instead(
        {HELPED: HARMED, HARMED: HELPED}
    ),
    "You count the prompts that gained; a few that lost much outweigh them. Take the mean.": (
        lambda g, n: HELPED if (g > 0).mean() > 0.5 else HARMED
    ),
    'That no difference was seen does not say that there is none: say "cannot tell".': _instead(
        {OPEN: "no difference"}
    ),
}


def _gains(t: float, seed: int) -> Array:
    """64 gains whose mean is `t` standard errors above zero."""
    drawn = np.random.default_rng(seed).gamma(1.0, size=64)  # skewed, as gains often are
    shape = (drawn - drawn.mean()) / np.std(drawn, ddof=1)
    return 2.5 * (shape + t / 8)


_TRIED = tuple(
    (_gains(t, seed), tries)
    for seed, (tries, t) in enumerate(
        [(1, t) for t in (5.0, -5.0, 0.1, 0.5, 1.2, 1.8, 2.1)]
        + [(2, t) for t in (1.8, 2.1, 2.4, 3.2, -2.1, -2.5)]
        + [(5, t) for t in (-0.4, 2.4, 3.0)]
    )
)


@exercise(
    CHAPTER,
    right="Two tries, one wider interval: what is left over is a gain, and not the luckier of two.",
    solution=lambda gains, tries: _helped(gains, tries),
    wrong=_HELPED,
)
def check_helped(fn: Callable[[Array, int], str]) -> None:
    """``fn(gains, tries) -> str``: "helped", "harmed" or "cannot tell" from the grades' gains, one
    per prompt, where `tries` objectives were compared with the same rival.

    Over all tries one finding by chance alone has to stay below 5 %: each gets 5 % / tries.
    """
    words = [attempt(fn, gains, tries) for gains, tries in _TRIED]
    if not all(isinstance(word, str) for word in words):
        raise Wrong('Return one of the words "helped", "harmed" and "cannot tell".')
    expected = [_helped(gains, tries) for gains, tries in _TRIED]
    if words == expected:
        return
    for message, slip in _HELPED.items():
        if words == [slip(gains, tries) for gains, tries in _TRIED]:
            raise Wrong(message)
    place = next(n for n, word in enumerate(expected) if words[n] != word)
    gains, tries = _TRIED[place]
    t = gains.mean() / (np.std(gains, ddof=1) / 8)
    raise Wrong(
        f"A mean gain of {gains.mean():.2f}, {t:.1f} standard errors, at tries = {tries}: "
        f"expected {expected[place]!r}, got {words[place]!r}."
    )
