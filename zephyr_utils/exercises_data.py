"""The checks about data: truecasing, AI feedback, preference pairs. Readers call them through ``exercises``."""

import random
import re
from collections.abc import Callable

import numpy as np

from zephyr_utils.exercises_core import Wrong, attempt, compare, exercise
from zephyr_utils.preferences import mean_rating
from zephyr_utils.records import ASPECTS

# --- 01_truecasing -----------------------------------------------------------------------------------------------


def _capitalise(pattern: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, lambda match: match.group().upper(), text)


@exercise(
    "01_truecasing",
    right="This rule repairs the visible part of UltraChat's fault, and shows its limits: names, 'i' and new lines stay as they are.",
    solution=_capitalise(r"[.!?] +[a-z]"),
    wrong={
        "stays small": lambda text: text,
        "question marks": _capitalise(r"\. +[a-z]"),
        "NASA": lambda text: ". ".join(part.capitalize() for part in text.split(". ")),
        "inside a number": _capitalise(r"[.!?] *[a-z]"),
        "more than one space": _capitalise(r"[.!?] [a-z]"),
        "same line": _capitalise(r"[.!?]\s+[a-z]"),
        "changed": lambda text: re.sub(r"([.!?]) +([a-z])", lambda m: f"{m[1]} {m[2].upper()}", text),
    },
)
def check_sentence_starts(fn: Callable[[str], str]) -> None:
    """``fn(text) -> text``: make the first letter after ``.``, ``!`` or ``?`` and spaces on the same line a capital."""
    cases = [
        ("It works. try it.", "It works. Try it.", "The letter after a full stop and a space stays small."),
        (
            "Ask NASA. they know Paris. or rome.",
            "Ask NASA. They know Paris. Or rome.",
            "Only first letters may change: 'NASA' and 'Paris' must stay, but str.capitalize() and str.title() "
            "make every other letter small.",
        ),
        ("Really? yes! good.", "Really? Yes! Good.", "Exclamation and question marks end sentences too."),
        (
            "Take 2.5b or v1.x. it is free.",
            "Take 2.5b or v1.x. It is free.",
            "A full stop inside a number or a name ends no sentence: ask for a space after it.",
        ),
        (
            "One.  two.",
            "One.  Two.",
            "There may be more than one space between sentences, and none may get lost.",
        ),
        ("A list.\nitem one", "A list.\nitem one", "Stay on the same line: \\s matches line breaks as well."),
    ]
    for text, expected, hint in cases:
        got = attempt(fn, text)
        if got != expected:
            kept = "" if str(got).lower() == text.lower() else " More than the case of letters was changed."
            raise Wrong(f"{hint}{kept} {text!r} should become {expected!r}, not {got!r}.")


# --- 03_ai_feedback ----------------------------------------------------------------------------------------------


def _completion(*ratings: str, overall: float) -> dict:
    annotations = {aspect: {"Rating": rating} for aspect, rating in zip(ASPECTS, ratings, strict=True)}
    return {"annotations": annotations, "overall_score": overall}


def _ratings(completion: dict) -> list[int]:
    texts = [annotation["Rating"] for annotation in completion["annotations"].values()]
    return [int(text) for text in texts if text.isdigit()]


@exercise(
    "03_ai_feedback",
    right="The paper's score: the mean of the aspects that the teacher rated.",
    solution=mean_rating,
    wrong={
        "overall_score": lambda completion: completion["overall_score"],
        "not rated": lambda completion: sum(_ratings(completion)) / 4,
        "whole number": lambda completion: round(np.mean(_ratings(completion))),
        "not their sum": lambda completion: sum(_ratings(completion)),
        "TypeError": lambda completion: sum(a["Rating"] for a in completion["annotations"].values()) / 4,
        "ValueError": lambda completion: np.mean(
            [int(a["Rating"]) for a in completion["annotations"].values()]
        ),
    },
)
def check_mean_rating(fn: Callable[[dict], float]) -> None:
    """``fn(completion) -> float``: the mean of the aspects' ratings (strings), those that are "N/A" left out."""
    for completion in (
        _completion("5", "4", "3", "5", overall=8.0),
        _completion("2", "N/A", "1", "2", overall=6.5),
    ):
        ratings = _ratings(completion)
        mistakes = {
            "This is overall_score, the critique's own grade; the paper takes the mean of the four aspects.": completion[
                "overall_score"
            ],
            "This is the right total, but the mean is wanted, not their sum.": sum(ratings),
            'An aspect that was not rated ("N/A") counts as 0 here; leave it out of the count as well.': sum(
                ratings
            )
            / 4,
            "Do not round to a whole number: it would make ties of answers that the teacher told apart.": round(
                np.mean(ratings)
            ),
        }
        compare(attempt(fn, completion), np.mean(ratings), mistakes, f"The ratings are {ratings}.")


# --- 04_preference_pairs -----------------------------------------------------------------------------------------


def _choose_pair(scores: list[float], rng: random.Random) -> tuple[int, int] | None:
    best = scores.index(max(scores))
    lower = [n for n, score in enumerate(scores) if score < scores[best]]
    return (best, rng.choice(lower)) if lower else None


def _others(scores: list[float]) -> list[int]:
    return [n for n in range(len(scores)) if n != scores.index(max(scores))]


@exercise(
    "04_preference_pairs",
    right="The best against a random lower one: more varied than the worst, and harder to tell from the best.",
    solution=_choose_pair,
    wrong={
        "highest score": lambda scores, rng: (scores.index(min(scores)), scores.index(max(scores))),
        "always the worst": lambda scores, rng: (scores.index(max(scores)), scores.index(min(scores))),
        "seeded anew": lambda scores, rng: _choose_pair(scores, random.Random(42)),
        "were drawn": lambda scores, rng: (scores.index(max(scores)), rng.choice(_others(scores)[:2])),
        "generator it is given": lambda scores, rng: _choose_pair(scores, random),
        "score lower": lambda scores, rng: (scores.index(max(scores)), rng.choice(_others(scores))),
        "against itself": lambda scores, rng: (scores.index(max(scores)), rng.randrange(len(scores))),
        "IndexError": lambda scores, rng: (
            scores.index(max(scores)),
            rng.choice([n for n in _others(scores) if scores[n] < max(scores)]),
        ),
        "return None": lambda scores, rng: _choose_pair(scores, rng) or (0, 1),
    },
)
def check_choose_pair(fn: Callable[[list[float], random.Random], tuple[int, int] | None]) -> None:
    """``fn(scores, rng) -> (chosen, rejected)``, places in the list; None when no answer scores below the best."""
    attempt(fn, [2.0, 1.0], random.Random(0))
    tables = [[3.0, 4.5, 2.0, 1.0], [1.0, 4.5, 2.0, 3.0]]  # the worst of them in two places
    pairs = [_draw(fn, scores) for scores in tables]
    if any(chosen != 1 for chosen, _ in pairs[0] + pairs[1]):
        raise Wrong(f"The chosen answer must be the one with the highest score: number 1 of {tables[0]}.")
    drawn = [{rejected for _, rejected in table} for table in pairs]
    if 1 in drawn[0] | drawn[1]:
        raise Wrong("Sometimes the best answer is set against itself: leave it out before drawing.")
    if drawn == [{3}, {0}]:
        raise Wrong(
            "The rejected answer is always the worst; the paper draws one of all lower answers at random."
        )
    if len(drawn[0]) == 1:
        raise Wrong(
            f"In 200 draws the rejected answer was always number {drawn[0].pop()}. Is the generator seeded anew in "
            "each call? The first published set had that fault."
        )
    if drawn[0] != {0, 2, 3}:
        raise Wrong(f"Numbers 0, 2 and 3 score lower, but only {sorted(drawn[0])} were drawn in 200 draws.")
    if pairs[0] != _draw(fn, tables[0]):
        raise Wrong(
            "The same seed gave other pairs: draw with the generator it is given, not with one of your own."
        )
    if any(pair[1] != 2 for pair in _draw(fn, [4.0, 4.0, 2.0, 4.0])):
        raise Wrong(
            "An answer that ties with the best was rejected: it must score lower, or the pair teaches nothing."
        )
    if attempt(fn, [3.0, 3.0, 3.0], random.Random(0), none_is_an_answer=True) is not None:
        raise Wrong("When all answers tie there is no pair: return None, and the row is dropped.")


def _draw(fn: Callable, scores: list[float]) -> list[tuple[int, int]]:
    rng = random.Random(7)  # one generator through all draws, as over the rows of a data set
    pairs = [attempt(lambda values: fn(values, rng), scores) for _ in range(200)]
    if any(np.shape(pair) != (2,) for pair in pairs):
        raise Wrong(f"Return two places in the list, (chosen, rejected), not {pairs[0]!r}.")
    return [(int(chosen), int(rejected)) for chosen, rejected in pairs]
