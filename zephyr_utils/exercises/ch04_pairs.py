"""Checks of chapter 04: the gap that a random rejected answer leaves, and a whole binariser."""

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

# --- the expected gap -----------------------------------------------------------------------------


def _gap(scores: Sequence[float]) -> float | None:
    lower = [score for score in scores if score < max(scores)]
    return float(max(scores) - np.mean(lower)) if lower else None


@exercise(
    "04_preference_pairs",
    right="Never more than the gap to the worst, and less wherever the lower answers differ.",
    solution=_gap,
    wrong={
        "against the worst": lambda scores: max(scores) - min(scores),
        "ties with the best is": lambda scores: (
            max(scores) - (sum(scores) - max(scores)) / (len(scores) - 1)
        ),
        "best itself": lambda scores: max(scores) - np.mean(scores),
        "below zero": lambda scores: None if (gap := _gap(scores)) is None else -gap,
        "second best": lambda scores: (
            max(scores) - max((s for s in scores if s < max(scores)), default=max(scores))
        ),
        "return None": lambda scores: _gap(scores) or 0.0,
    },
)
def check_expected_gap(fn: Callable[[list[float]], float | None]) -> None:
    """``fn(scores) -> float | None``: the best score minus the mean of the lower ones; None where
    none is lower.
    """
    for scores in ([3.0, 4.5, 2.0, 4.5], [5.0, 1.0, 2.5, 4.0]):
        right = _gap(scores)
        best, rest = max(scores), sum(scores) - max(scores)
        mistakes = {
            "This is the gap against the worst; the mean over all lower answers is wanted.": best
            - min(scores),
            "An answer that ties with the best is no lower answer.": best - rest / 3,
            "This counts the best itself among the lower ones.": best - np.mean(scores),
            "This is below zero: chosen minus rejected.": -(right or 0.0),
            "This is the gap to the second best alone.": best - max(s for s in scores if s < best),
        }
        mistakes = {words: value for words, value in mistakes.items() if value != right}
        compare(attempt(fn, scores), right, mistakes, f"The scores are {scores}.")
    if attempt(fn, [3.0, 3.0], none_is_an_answer=True) is not None:
        raise Wrong("Where no answer is lower there is no gap: return None.")


# --- the binariser --------------------------------------------------------------------------------

Pair = tuple[int, int] | None
Row = dict[str, Any]


def _mean(answer: Row) -> float | None:
    texts = [(answer["annotations"].get(aspect) or {}).get("Rating", "") for aspect in ASPECTS]
    numbers = [float(text) for text in texts if text.isdigit()]
    return sum(numbers) / len(numbers) if numbers else None


def _generator(prompt: str, seed: int) -> random.Random:
    digest = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def _pair(row: Row, rng: random.Random, lower: Callable[[float, float], bool]) -> Pair:
    means = {n: mean for n, answer in enumerate(row["completions"]) if (mean := _mean(answer))}
    order = rng.sample(list(means), len(means))  # of several best answers the first in this order
    best = max(order, key=lambda n: means[n], default=None)
    below = [n for n in order if best is not None and n != best and lower(means[n], means[best])]
    return (best, rng.choice(below)) if best is not None and below else None


def _below(score: float, best: float) -> bool:
    return score < best


def _binarise(rows: Sequence[Row], seed: int) -> list[Pair]:
    return [_pair(row, _generator(row["instruction"], seed), _below) for row in rows]


def _seeded_in_each_row(rows: Sequence[Row], seed: int) -> list[Pair]:
    return [_pair(row, random.Random(seed), _below) for row in rows]


def _seeded_once(rows: Sequence[Row], seed: int) -> list[Pair]:
    rng = random.Random(seed)
    return [_pair(row, rng, _below) for row in rows]


def _unrated_as_zero(rows: Sequence[Row], seed: int) -> list[Pair]:
    changed = []
    for row in rows:
        answers = [
            {
                "annotations": {
                    aspect: {"Rating": rating["Rating"].replace("N/A", "0")}
                    for aspect, rating in answer["annotations"].items()
                }
            }
            for answer in row["completions"]
        ]
        changed.append({**row, "completions": answers})
    return _binarise(changed, seed)


def _worst(rows: Sequence[Row], seed: int) -> list[Pair]:
    pairs: list[Pair] = []
    for row, pair in zip(rows, _binarise(rows, seed), strict=True):
        means = {n: m for n, a in enumerate(row["completions"]) if (m := _mean(a)) is not None}
        pairs.append(pair and (pair[0], min(means, key=lambda n: means[n])))
    return pairs


@exercise(
    "04_preference_pairs",
    right="A binariser: every row accounted for, each pair dependent on its own row and the seed "
    "alone.",
    solution=_binarise,
    wrong={
        "one entry for each row": lambda rows, seed: [p for p in _binarise(rows, seed) if p],
        "highest mean": lambda rows, seed: [p and p[::-1] for p in _binarise(rows, seed)],
        "not rated": _unrated_as_zero,
        "rows before it": _seeded_once,
        "seeded again in every row": _seeded_in_each_row,
        "ties with the best": lambda rows, seed: [
            _pair(row, _generator(row["instruction"], seed), lambda *_: True) for row in rows
        ],
        "always the worst": _worst,
        "makes no difference": lambda rows, seed: _binarise(rows, 0),
        "second call": lambda rows, seed: _binarise(rows, random.randrange(10**9)),
    },
)
def check_binarise(fn: Callable[[list[Row], int], list[Pair]]) -> None:
    """``fn(rows, seed) -> list``: for each row of feedback the places of the chosen and the
    rejected answer, or None; see the exercise for the rules.
    """
    rows = [_row(n, "3333", "5544", "2222", "1111") for n in range(60)]
    special = [
        _row(60, "5N5N", "4444", "1111"), _row(61, "4444", "4444", "2222"),
        _row(62, "NNNN", "3333", "4444"), _row(63, "3333", "3333"), _row(64, "3333", "NNNN"),
    ]  # fmt: skip
    pairs = _made(fn, rows + special, 0)
    for row, pair in zip(rows, pairs, strict=False):
        if pair is None or pair[0] != 1:
            raise Wrong(
                f"The answer with the highest mean is number 1 in {_shown(row)}, not {pair}."
            )
    unrated, tied, without, equal, alone = pairs[60:]
    if unrated is None or unrated[0] != 0:
        raise Wrong(
            f"An aspect that was not rated (N/A) is not a zero: of {_shown(special[0])} number "
            "0 is the best."
        )
    if tied is None or tied[1] != 2:
        raise Wrong(f"An answer that ties with the best cannot be rejected: {_shown(special[1])}.")
    if without != (2, 1):
        raise Wrong(f"An answer without any rating takes no part: {_shown(special[2])}.")
    if equal is not None or alone is not None:
        raise Wrong(f"Where no answer scores lower the entry is None: {_shown(special[3])}.")
    _check_randomness(fn, rows, [pair for pair in pairs[:60] if pair])


def _check_randomness(fn: Callable, rows: list[Row], pairs: list[tuple[int, int]]) -> None:
    if [pair for pair in _made(fn, rows, 0)] != pairs:
        raise Wrong(
            "A second call with the same seed gave other pairs: use no generator but your "
            "own, seeded."
        )
    places = {rejected for _, rejected in pairs}
    others = {rejected for _, rejected in filter(None, _made(fn, rows, 1))}
    if places == others == {3}:
        raise Wrong("The rejected answer is always the worst; draw one of all lower answers.")
    if len(places) == 1:
        raise Wrong(
            f"In 60 rows the rejected answer was always number {places.pop()}. Is the "
            "generator seeded again in every row? Let the prompt take part in the seed."
        )
    if places != {0, 2, 3}:
        raise Wrong(f"Numbers 0, 2 and 3 score lower, but only {sorted(places)} were drawn.")
    backwards = _made(fn, rows[::-1], 0)[::-1]
    if backwards != pairs or _made(fn, rows[1:], 0) != pairs[1:]:
        raise Wrong(
            "A row's pair depends on the rows before it: in another order it came out "
            "otherwise. Seed a generator for each row, from the seed and the prompt."
        )
    if _made(fn, rows, 1) == pairs:
        raise Wrong("The seed makes no difference: 0 and 1 give the same pairs.")


def _row(number: int, *ratings: str) -> Row:
    answers = [
        {"model": f"model-{place}", "response": f"answer {place}", "annotations": {
            aspect: {"Rating": "N/A" if r == "N" else r}
            for aspect, r in zip(ASPECTS, four, strict=True)
        }}
        for place, four in enumerate(ratings)
    ]  # fmt: skip
    return {"instruction": f"question {number}", "completions": answers}


def _shown(row: Row) -> str:
    return "; ".join(
        " ".join(a["annotations"][aspect]["Rating"] for aspect in ASPECTS)
        for a in row["completions"]
    )


def _made(fn: Callable, rows: list[Row], seed: int) -> list[Pair]:
    got = attempt(fn, rows, seed)
    if not isinstance(got, list | tuple) or len(got) != len(rows):
        raise Wrong(
            f"Return a list with one entry for each row, so that none vanishes: {len(rows)} "
            "rows went in."
        )
    for pair in got:
        if pair is not None and np.shape(pair) != (2,):
            raise Wrong(f"An entry is (chosen, rejected), two places, or None, not {pair!r}.")
    return [None if pair is None else (int(pair[0]), int(pair[1])) for pair in got]
