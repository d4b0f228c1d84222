"""Checks of chapter 11: whether a model wrote the answers of a data set, and how far its opinion
of its own answers ran ahead of their grades.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

CHAPTER = "11_sampling_again"
Array = NDArray[np.float64]
Found = tuple[float, str]
OFF, OPEN = "off-policy", "cannot tell"


def _error(values: Array) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _found(gap: float, error: float) -> Found:
    return gap, OFF if abs(gap) > 1.96 * error else OPEN


def _whose(log_probs: Array, tokens: Array, own: Array, own_tokens: Array) -> Found:
    gaps = own / own_tokens - log_probs / tokens
    return _found(float(gaps.mean()), _error(gaps))


# --- what readers write instead -------------------------------------------------------------------


def _whole_answers(log_probs: Array, tokens: Array, own: Array, own_tokens: Array) -> Found:
    gaps = own - log_probs
    return _found(float(gaps.mean()), _error(gaps))


def _by_tokens(log_probs: Array, tokens: Array, own: Array, own_tokens: Array) -> Found:
    _, word = _whose(log_probs, tokens, own, own_tokens)
    return float(own.sum() / own_tokens.sum() - log_probs.sum() / tokens.sum()), word


def _not_paired(log_probs: Array, tokens: Array, own: Array, own_tokens: Array) -> Found:
    ours, theirs = own / own_tokens, log_probs / tokens
    error = float(np.hypot(_error(ours), _error(theirs)))
    return _found(float(ours.mean() - theirs.mean()), error)


def _with(change: Callable[[Found, float], Found]) -> Callable[..., Found]:
    """The right gap and error, and another reading of them."""

    def slip(log_probs: Array, tokens: Array, own: Array, own_tokens: Array) -> Found:
        gaps = own / own_tokens - log_probs / tokens
        return change(_whose(log_probs, tokens, own, own_tokens), _error(gaps))

    return slip


def _in_nats(limit: float) -> Callable[[Found, float], Found]:
    return lambda found, error: (found[0], OFF if abs(found[0]) > limit else OPEN)


_WHOSE: dict[str, Callable[..., Found]] = {
    "These are whole answers: a longer one is less likely whoever wrote it. Divide each by its own "
    "tokens.": _whole_answers,
    "You divide all nats by all tokens, so that long answers count for more. Take each answer's "
    "nats per token, and the mean over answers.": _by_tokens,
    "The sign is wrong: the model's own answers minus those of the data set.": _with(
        lambda found, error: (-found[0], found[1])
    ),
    "These are not paired: both answer the same prompts, and what makes a prompt hard cancels in "
    "the difference.": _not_paired,
    "The error is that of a mean: the spread of the differences divided by the root of their "
    "number.": lambda lp, n, own, m: _found(
        _whose(lp, n, own, m)[0], _error(own / m - lp / n) * len(lp) ** 0.5
    ),
    "One standard error is a 68 % interval; take 1.96.": _with(
        lambda found, error: (found[0], OFF if abs(found[0]) > error else OPEN)
    ),
    "Answers that are *likelier* than the model's draws, such as greedy ones, are not draws of its "
    "own either: the interval may leave out zero on both sides.": _with(
        lambda found, error: (found[0], OFF if found[0] > 1.96 * error else OPEN)
    ),
    "A difference other than zero is not a finding yet: draws of the same model differ, too. "
    "Compare it with its error.": _with(_in_nats(0.0)),
    "A threshold in nats knows nothing of how many answers there are: compare the difference with "
    "its error.": _with(_in_nats(0.25)),
    'An interval that holds zero does not prove that the model wrote them: say "cannot tell".': (
        _with(lambda found, error: (found[0], OFF if found[1] == OFF else "on-policy"))
    ),
    "The two words are swapped: an interval without zero says off-policy.": _with(
        lambda found, error: (found[0], OPEN if found[1] == OFF else OFF)
    ),
    "This is a ratio of probabilities; the difference of the logarithms is in nats.": _with(
        lambda found, error: (float(np.exp(found[0])), found[1])
    ),
}


def _draws(seed: int, shift: float, spread: float = 0.3, prompts: int = 24) -> tuple[Array, ...]:
    """Answers to prompts of which some are harder than others, `shift` nats per token apart."""
    draw = np.random.default_rng(seed)
    hard = draw.normal(-1.5, 0.5, prompts)
    tokens, own_tokens = draw.integers(5, 40, (2, prompts)).astype(float)
    noise, own_noise = draw.normal(0, spread, (2, prompts))
    noise -= (noise - own_noise).mean()  # so that the gap is the shift
    return (hard + noise - shift) * tokens, tokens, (hard + own_noise) * own_tokens, own_tokens


_SETS = {
    "other models' answers": _draws(1, 1.2),
    "a second draw": _draws(2, 0.06),
    "a difference that pairing shows": _draws(3, 0.22, spread=0.15),
    "a small difference among few answers": _draws(4, 0.3, spread=0.6, prompts=12),
    "greedy answers": _draws(5, -0.5),
    "a second draw, a little likelier": _draws(6, -0.12),
}


@exercise(
    CHAPTER,
    right="The model itself says how far a data set lies from it, and nobody has to remember who "
    "wrote what.",
    solution=_whose,
    wrong=_WHOSE,
)
def check_whose_answers(fn: Callable[[Array, Array, Array, Array], Found]) -> None:
    """``fn(log_probs, tokens, own_log_probs, own_tokens) -> (gap, word)``: each an array with one
    entry per prompt, log-probabilities of whole answers in nats.

    The gap is the mean over prompts of the own answer's nats per token minus the other's; the word
    is "off-policy" where its 95 % interval leaves out zero, else "cannot tell".
    """
    gaps, words = [], []
    for arrays in _SETS.values():
        pair = attempt(fn, *arrays)
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[1], str):
            raise Wrong(
                'Return a number of nats per token and a word, "off-policy" or "cannot tell".'
            )
        gaps.append(pair[0])
        words.append(str(pair[1]))
    right = [_whose(*arrays) for arrays in _SETS.values()]
    slips = {message: [slip(*a) for a in _SETS.values()] for message, slip in _WHOSE.items()}
    compare(
        gaps,
        [round(gap, 6) for gap, _ in right],
        {message: [gap for gap, _ in found] for message, found in slips.items()},
        "The mean over prompts of own_log_probs / own_tokens - log_probs / tokens.",
    )
    if words == [word for _, word in right]:
        return
    for message, found in slips.items():
        same_gaps = np.allclose([gap for gap, _ in found], [gap for gap, _ in right])
        if same_gaps and words == [word for _, word in found]:
            raise Wrong(message)
    place = next(n for n, (_, word) in enumerate(right) if words[n] != word)
    raise Wrong(f"For {list(_SETS)[place]} the word is {right[place][1]!r}, not {words[place]!r}.")


# --- its opinion of itself ------------------------------------------------------------------------

Rounds = Sequence[Array]


def _ahead(rewards: Rounds, grades: Rounds) -> list[float]:
    def rises(rounds: Rounds) -> list[float]:
        return [float((each.mean() - rounds[0].mean()) / rounds[0].std()) for each in rounds]

    return [a - b for a, b in zip(rises(rewards), rises(grades), strict=True)]


def _of_rounds(measure: Callable[[Rounds, int], float]) -> Callable[[Rounds, Rounds], list[float]]:
    """Rewards minus grades, each by a measure of a round among the rounds."""
    return lambda rewards, grades: [
        float(measure(rewards, n) - measure(grades, n)) for n in range(len(rewards))
    ]


_AHEAD: dict[str, Callable[[Rounds, Rounds], list[float]]] = {
    "Nats and grades have different units: divide each rise by its standard deviation in the first "
    "round.": _of_rounds(lambda each, n: each[n].mean() - each[0].mean()),
    "Each round is divided by its own standard deviation; a ruler that changes measures no rise. "
    "Take the first round's.": _of_rounds(
        lambda each, n: (each[n].mean() - each[0].mean()) / each[n].std()
    ),
    "This counts standard errors, and grows with the number of answers: divide by the standard "
    "deviation of the answers.": _of_rounds(
        lambda each, n: (each[n].mean() - each[0].mean()) / each[0].std() * len(each[0]) ** 0.5
    ),
    "These are levels; a rise is what was added since the first round, so the first number is 0.": (
        _of_rounds(lambda each, n: each[n].mean() / each[0].std())
    ),
    "This is the rise since the round before; what was gained since the first is wanted.": (
        _of_rounds(lambda each, n: (each[n].mean() - each[max(n - 1, 0)].mean()) / each[0].std())
    ),
    "You divide by the variance, whose unit is squared.": _of_rounds(
        lambda each, n: (each[n].mean() - each[0].mean()) / each[0].var()
    ),
    "The sign is wrong: the opinion's rise minus that of the grade.": lambda r, g: _ahead(g, r),
    "This is the rise of its opinion alone, which says nothing without the grade.": (
        lambda r, g: _ahead(r, [g[0]] * len(r))
    ),
    "This is a ratio; the two rises are subtracted, and a grade need not rise at all.": (
        lambda r, g: (
            [0.0]
            + [
                float(
                    (r[n].mean() - r[0].mean())
                    / r[0].std()
                    * g[0].std()
                    / (g[n].mean() - g[0].mean())
                )
                for n in range(1, len(r))
            ]
        )
    ),
    "A correlation says which answers it likes, and not whether its opinion rose: that is about "
    "means.": lambda r, g: [float(np.corrcoef(r[n], g[n])[0, 1]) for n in range(len(r))],
    "One ruler for each: the grades by the standard deviation of the grades.": lambda r, g: [
        float((r[n].mean() - r[0].mean() - g[n].mean() + g[0].mean()) / r[0].std())
        for n in range(len(r))
    ],
    "This is the last round alone; return one number for each round.": lambda r, g: _ahead(r, g)[
        -1:
    ],
}


def _rated(seed: int, means: Sequence[float], spreads: Sequence[float]) -> list[Array]:
    """A round rates only what ended and fits, so that numbers of answers differ."""
    draw = np.random.default_rng(seed)
    kinds = zip(means, spreads, (400, 360, 320), strict=True)
    return [draw.normal(mean, spread, answers) for mean, spread, answers in kinds]


_ROUNDS = _rated(1, (-1.2, -0.7, -0.2), (0.8, 0.6, 0.3)), _rated(2, (5.4, 6.3, 6.0), (2.6, 2.4, 2))


@exercise(
    CHAPTER,
    right="Above 0, the model has come to like its answers faster than they became better.",
    solution=_ahead,
    wrong=_AHEAD,
)
def check_ahead(fn: Callable[[list[Array], list[Array]], list[float]]) -> None:
    """``fn(rewards, grades) -> list``: lists with an array per round, an entry per answer; for each
    round the rise of the mean reward since the first, minus that of the mean grade, each in its own
    standard deviations of the first round.
    """
    rewards, grades = _ROUNDS
    compare(
        attempt(fn, rewards, grades),
        [round(each, 4) for each in _ahead(rewards, grades)],
        {message: slip(rewards, grades) for message, slip in _AHEAD.items()},
        "For each round: (mean reward - mean of the first) / standard deviation of the first, "
        "minus the same of the grades.",
        tolerance=2e-3,  # either divisor of the standard deviation will do
    )
