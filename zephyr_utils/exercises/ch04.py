"""Checks of chapter 04: choosing a pair, grades of ten that were meant otherwise, length bias,
leaked questions.
"""

import random
import re
from collections import Counter
from collections.abc import Callable
from typing import cast

import numpy as np

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise
from zephyr_utils.preferences.audit import FAULTY_MEAN, SOUND_MEAN

# --- the grade of ten -----------------------------------------------------------------------------


def _repaired(overall: float, mean: float) -> float | None:
    if overall != 10 or mean > SOUND_MEAN:
        return overall
    return 1.0 if mean <= FAULTY_MEAN else None


@exercise(
    "04_preference_pairs",
    right="This is the repair that UltraFeedback itself received; its doubtful tens were judged "
          "again.",
    solution=_repaired,
    wrong={
        "other grades": lambda overall, mean: _repaired(10.0, mean),
        "are one too": lambda overall, mean: (
            1.0 if overall == 10 and mean < 2 else _repaired(overall, mean + 1e-9)
        ),
        "stays a ten": lambda overall, mean: 1.0 if overall == 10 and mean <= 2 else overall,
        "judged again": lambda overall, mean: 1.0 if overall == 10 and mean <= 4 else overall,
        "a sound ten": lambda overall, mean: (
            None if overall == 10 and mean > 2 else _repaired(overall, mean)
        ),
        "wrong way round": lambda overall, mean: _repaired(overall, 6.0 - mean),
        "whatever their mean": lambda overall, mean: (
            None if 2 < mean <= 4 else _repaired(overall, mean)
        ),
        "is not a ten": lambda overall, mean: _repaired(10.0 if overall > 9 else overall, mean),
    },
)  # fmt: skip
def check_faulty_ten(fn: Callable[[float, float], float | None]) -> None:
    """``fn(overall, mean) -> float | None``: the grade repaired; None for a ten that has to be
    judged again.
    """
    attempt(fn, 10.0, 1.0)  # an untouched stub gives None here, and no right answer does
    cases = [
        (7.0, 1.5, "Leave other grades alone: the fault turned ones into tens and nothing else."),
        (8.0, 3.0, "Leave other grades alone, whatever their mean."),
        (9.5, 2.0, "Leave other grades alone: 9.5 is not a ten."),
        (10.0, 4.5, "With a mean above 4 it is a sound ten and stays. (Are your comparisons the "
                    "wrong way round?)"),
        (10.0, 1.25, "With a mean of at most 2 a one was meant."),
        (10.0, 2.0, "At most 2 holds 2 itself: means of exactly 2 are one too."),
        (10.0, 3.25, "Between 2 and 4 nobody can tell, so it stays a ten only by luck: None, to be "
                     "judged again."),
        (10.0, 4.0, "A mean of exactly 4 is not above 4: None, to be judged again."),
    ]  # fmt: skip
    for overall, mean, hint in cases:
        got, expected = attempt(fn, overall, mean, none_is_an_answer=True), _repaired(overall, mean)
        if got != expected or isinstance(got, bool):
            raise Wrong(
                f"{hint} For a grade of {overall:g} and a mean of {mean:g}: {expected}, not {got}."
            )


# --- length ---------------------------------------------------------------------------------------

Pairs = list[tuple[str, str]]


def _length_bias(pairs: Pairs) -> float:
    longer = sum(len(chosen) > len(rejected) for chosen, rejected in pairs)
    unequal = sum(len(chosen) != len(rejected) for chosen, rejected in pairs)
    return longer / unequal if unequal else 0.5


def _share_longer(pairs: Pairs) -> float:
    return sum(len(chosen) > len(rejected) for chosen, rejected in pairs) / len(pairs)


def _count(pairs: Pairs, size: Callable[[str], int]) -> float:
    return _length_bias([("x" * size(chosen), "x" * size(rejected)) for chosen, rejected in pairs])


@exercise(
    "04_preference_pairs",
    right="A judge that only counts characters agrees with this share of the labels; 0.5 would be "
    "no bias.",
    solution=_length_bias,
    wrong={
        "as long as each other": _share_longer,
        "half a point": lambda pairs: np.mean(
            [np.sign(len(c) - len(r)) / 2 + 0.5 for c, r in pairs]
        ),
        "wrong way round": lambda pairs: _length_bias(
            [(rejected, chosen) for chosen, rejected in pairs]
        ),
        "words": lambda pairs: _count(pairs, lambda text: len(text.split())),
        "mean difference": lambda pairs: np.mean([len(c) - len(r) for c, r in pairs]),
        "at least as long": lambda pairs: np.mean([len(c) >= len(r) for c, r in pairs]),
        "ZeroDivisionError": lambda pairs: _share_longer(
            [(c, r) for c, r in pairs if len(c) != len(r)]
        ),
    },
)
def check_length_bias(fn: Callable[[Pairs], float]) -> None:
    """``fn(pairs) -> float``: of the (chosen, rejected) texts that differ in length, the share
    whose chosen is longer.
    """
    pairs = [
        ("A long answer.", "Short."), ("Yes.", "Nay."), ("No.", "It depends."),
        ("Extraordinarily so!", "I do not know it."),
        ("Ten", "Two"), ("Gladly, here it is.", "Here it is."), ("Rome and Paris are.", "Rome."),
    ]  # fmt: skip
    sizes = [(len(chosen), len(rejected)) for chosen, rejected in pairs]
    mistakes = {
        "Pairs as long as each other say nothing of length: leave them out of the count below as "
        "well.": _share_longer(pairs),
        "Pairs as long as each other get half a point here, which draws every set towards 0.5; "
        "leave them out.": (
            np.mean([0.5 if c == r else float(c > r) for c, r in sizes])
        ),
        "The wrong way round: the share whose chosen answer is the longer one is "
        "wanted.": 1 - _length_bias(pairs),
        "You count words; count characters, with "
        "len(text).": _count(pairs, lambda text: len(text.split())),
        "This is the mean difference of the lengths; a single very long answer can make it "
        "anything.": (
            np.mean([c - r for c, r in sizes])
        ),
        "This counts chosen answers that are at least as long: equal lengths speak for "
        "neither.": np.mean([c >= r for c, r in sizes]),
    }  # fmt: skip
    compare(attempt(fn, pairs), _length_bias(pairs), mistakes, "Count the pairs of unequal length.")
    compare(
        attempt(fn, [("Yes.", "Nay.")]),
        0.5,
        {},
        "Where no two lengths differ there is no bias to see: 0.5.",
    )


# --- leaks ----------------------------------------------------------------------------------------


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _stands_inside(prompt: str, question: str) -> bool:
    return f" {_words(question)} " in f" {_words(prompt)} "


@exercise(
    "04_preference_pairs",
    right="This finds all three disguises; a question put in other words still gets past it, as "
    "past every such rule.",
    solution=_stands_inside,
    wrong={
        "word for word": lambda prompt, question: prompt == question,
        "letters are small": lambda prompt, question: question.rstrip("?.") in prompt,
        "full stop": lambda prompt, question: question.lower() in prompt.lower(),
        "something around": lambda prompt, question: _words(prompt) == _words(question),
        "end of a word": lambda prompt, question: _words(question) in _words(prompt),
        "begin in the middle": lambda prompt, question: (
            f"{_words(question)} " in f"{_words(prompt)} "
        ),
        "in another order": lambda prompt, question: (
            set(_words(question).split()) <= set(_words(prompt).split())
        ),
        "wrong way round": lambda prompt, question: _stands_inside(question, prompt),
        "True or False": lambda prompt, question: _words(prompt).find(_words(question)),
    },
)
def check_leak(fn: Callable[[str, str], bool]) -> None:
    """``fn(prompt, question) -> bool``: whether the question stands in the prompt, whatever case
    and punctuation.
    """
    question = "Who is the tallest, Ana or Ben?"
    cases = [
        (question, True, "Word for word it is found even by the exact rule."),
        ("who is the tallest, Ana or "
         "Ben", True, "Not only word for word: it is a leak too when letters are small, or a full "
                      "stop or question mark is gone."),
        ("Who is the tallest Ana or Ben", True, "A comma, a full stop or a question mark more or "
                                                "less makes no difference."),
        ("Tell me: who is the tallest, Ana or Ben? Thank you.", True,
         "With something around it, it is the same question. (Or are prompt and question the wrong "
         "way round?)"),
        ("Who is the tallest, Ana or "
         "Benedict?", False, "A match must not stop before the end of a word: Ben is not "
                             "Benedict."),
        ("Ana or Ben: who of the two is the "
         "tallest?", False, "These words in another order are another text; that is for a cleverer "
                            "rule."),
        ("What is a tin?", False, "Nothing of the question is in this prompt."),
        ("Is it Diana or Ben?", False, "A match must not begin in the middle of a word either: "
                                       "Ana is not in Diana."),
    ]  # fmt: skip
    for prompt, expected, hint in cases:
        got = attempt(fn, prompt, "Ana or Ben?" if "Diana" in prompt else question)
        if not isinstance(got, bool | np.bool_):
            raise Wrong(f"Return True or False, not {type(got).__name__}.")
        if got != expected:
            raise Wrong(f"{hint} For {prompt!r} the answer is {expected}.")


def _choose_pair(scores: list[float], rng: random.Random) -> tuple[int, int] | None:
    best = scores.index(max(scores))
    lower = [n for n, score in enumerate(scores) if score < scores[best]]
    return (best, rng.choice(lower)) if lower else None


def _others(scores: list[float]) -> list[int]:
    return [n for n in range(len(scores)) if n != scores.index(max(scores))]


@exercise(
    "04_preference_pairs",
    right="The best against a random lower one: more varied than the worst, and harder to tell "
    "from the best.",
    solution=_choose_pair,
    wrong={
        "highest score": lambda scores, rng: (scores.index(min(scores)), scores.index(max(scores))),
        "always the worst": lambda scores, rng: (
            scores.index(max(scores)),
            scores.index(min(scores)),
        ),
        "always the second best": lambda scores, rng: (
            scores.index(max(scores)),
            max(_others(scores), key=lambda n: scores[n]),
        ),
        "always the first": lambda scores, rng: (scores.index(max(scores)), _others(scores)[0]),
        "equally often": lambda scores, rng: (
            scores.index(max(scores)),
            rng.choice(_others(scores)[:1] * 6 + _others(scores)),
        ),
        "seeded again": lambda scores, rng: _choose_pair(scores, random.Random(42)),
        "were drawn": lambda scores, rng: (
            scores.index(max(scores)),
            rng.choice(_others(scores)[:2]),
        ),
        "generator it is given": lambda scores, rng: _choose_pair(
            scores, cast(random.Random, random)
        ),
        "score lower": lambda scores, rng: (scores.index(max(scores)), rng.choice(_others(scores))),
        "against itself": lambda scores, rng: (
            scores.index(max(scores)),
            rng.randrange(len(scores)),
        ),
        "IndexError": lambda scores, rng: (
            scores.index(max(scores)),
            rng.choice([n for n in _others(scores) if scores[n] < max(scores)]),
        ),
        "return None": lambda scores, rng: _choose_pair(scores, rng) or (0, 1),
    },
)
def check_choose_pair(fn: Callable[[list[float], random.Random], tuple[int, int] | None]) -> None:
    """``fn(scores, rng) -> (chosen, rejected)``, places in the list; None when no answer scores
    below the best.
    """
    attempt(fn, [2.0, 1.0], random.Random(0))
    tables = [[3.0, 4.5, 2.0, 1.0], [1.0, 4.5, 2.0, 3.0]]  # the worst of them in two places
    pairs = [_draw(fn, scores) for scores in tables]
    if any(chosen != 1 for chosen, _ in pairs[0] + pairs[1]):
        raise Wrong(
            f"The chosen answer must be the one with the highest score: number 1 of {tables[0]}."
        )
    drawn = [{rejected for _, rejected in table} for table in pairs]
    if 1 in drawn[0] | drawn[1]:
        raise Wrong("Sometimes the best answer is set against itself: leave it out before drawing.")
    if drawn == [{3}, {0}]:
        raise Wrong(
            "The rejected answer is always the worst; the paper draws one of all lower answers at "
            "random."
        )
    if drawn == [{0}, {3}]:
        raise Wrong(
            "The rejected answer is always the second best; the paper draws one of all lower "
            "answers at random."
        )
    for word, place in (("first", 1), ("last", -1)):
        if _always(fn, place):
            raise Wrong(f"The rejected answer is always the {word} of the lower ones; draw one.")
    if len(drawn[0]) == 1:
        raise Wrong(
            f"In 200 draws the rejected answer was always number {drawn[0].pop()}. Is the "
            f"generator seeded again in "
            "each call? The first published set had that fault."
        )
    if drawn[0] != {0, 2, 3}:
        raise Wrong(
            f"Numbers 0, 2 and 3 score lower, but only {sorted(drawn[0])} were drawn in 200 draws."
        )
    if min(Counter(rejected for _, rejected in pairs[0]).values()) < 40:
        raise Wrong(
            "Each lower answer should be drawn equally often; in 200 draws one came up far "
            "more often than another."
        )
    if pairs[0] != _draw(fn, tables[0]):
        raise Wrong(
            "The same seed gave other pairs: draw with the generator it is given, not with one of "
            "your own."
        )
    if any(pair[1] != 2 for pair in _draw(fn, [4.0, 4.0, 2.0, 4.0])):
        raise Wrong(
            "An answer that ties with the best was rejected: it must score lower, or the pair "
            "teaches nothing."
        )
    if attempt(fn, [3.0, 3.0, 3.0], random.Random(0), none_is_an_answer=True) is not None:
        raise Wrong("When all answers tie there is no pair: return None, and the row is dropped.")


def _always(fn: Callable, place: int) -> bool:
    """Whether the rejected answer is at one place of the lower ones, however many there are."""
    rows = [[9.0, *(5.0 + (n * 3 % size) / size for n in range(size))] for size in (2, 4, 5, 7, 8)]
    return all(
        {rejected for _, rejected in _draw(fn, row)} == {range(len(row))[place]} for row in rows
    )


def _draw(fn: Callable, scores: list[float]) -> list[tuple[int, int]]:
    rng = random.Random(7)  # one generator through all draws, as over the rows of a data set
    pairs = [attempt(lambda values: fn(values, rng), scores) for _ in range(200)]
    if any(np.shape(pair) != (2,) for pair in pairs):
        raise Wrong(f"Return two places in the list, (chosen, rejected), not {pairs[0]!r}.")
    return [(int(chosen), int(rejected)) for chosen, rejected in pairs]
