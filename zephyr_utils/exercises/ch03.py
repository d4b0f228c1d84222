"""Checks of chapter 03: the order of the answers, position bias, reading a grade, suspect tens, the
mean rating.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise
from zephyr_utils.preferences import mean_rating

# --- the order of the answers ---------------------------------------------------------------------


def _undo(ratings: Sequence[int], places: Sequence[int]) -> list[int]:
    return [ratings[list(places).index(answer)] for answer in range(len(places))]


@exercise(
    "03_ai_feedback",
    right="Shuffle, ask, undo: without the last step every rating would belong to another answer.",
    solution=_undo,
    wrong={
        "order they were shown in": lambda ratings, places: list(ratings),
        "shuffles them once more": lambda ratings, places: [ratings[answer] for answer in places],
        "sorted by": lambda ratings, places: sorted(ratings),
        "other way round": lambda ratings, places: list(ratings)[::-1],
    },
)
def check_undo_order(fn: Callable[[list[int], list[int]], list[int]]) -> None:
    """``fn(ratings, places) -> list``: ``ratings[k]`` is of the answer shown at k, which is answer
    ``places[k]``.
    """
    for ratings, places in (([3, 1, 5, 4], [2, 0, 3, 1]), ([1, 2, 5], [1, 2, 0])):
        got = attempt(fn, ratings, places)
        mistakes = {
            "These are the ratings in the order they were shown in: rating 0 belongs to answer "
            "places[0].": ratings,
            "This takes rating places[k] for answer k, which shuffles them once more; it is rating "
            "k that belongs to "
            "answer places[k].": [ratings[answer] for answer in places],
            "These are the ratings sorted by size; they have to be sorted by the answer they "
            "belong to.": sorted(ratings),
            "This turns the list the other way round; the shuffle was another.": ratings[::-1],
        }
        compare(
            got,
            _undo(ratings, places),
            mistakes,
            f"The ratings {ratings} are of the answers {places}.",
        )


# --- the critique's grade -------------------------------------------------------------------------


def _grade(text: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/10)?", text.strip())
    grade = float(match[1]) if match else None
    return grade if grade is not None and 1 <= grade <= 10 else None


def _first_number(text: str) -> float | None:
    match = re.search(r"\d+(?:\.\d+)?", text)
    return float(match[0]) if match else None


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _historic(text: str) -> float | None:
    grade = _grade(text)
    return grade if grade is None or grade > 1 else 10 * grade


@exercise(
    "03_ai_feedback",
    right="A one stays a one, and what cannot be read is None: it gets counted, not guessed.",
    solution=_grade,
    wrong={
        "the very fault": _historic,
        "out of range": _first_number,
        "a whole number": lambda text: None if (g := _grade(text)) is None else round(g),
        "ten times": lambda text: None if (g := _grade(text)) is None else g * 10,
        "fraction": lambda text: eval(text, {}) if re.fullmatch(r"[\d./]+", text.strip()) else None,
        "None for": lambda text: _grade(text) or 1.0,
        "another scale": lambda text: (
            _grade(re.sub(r"/\d+$", "", text.strip())) if "/" in text else _grade(text)
        ),
        "two numbers": lambda text: None if "/" in text else _grade(text),
        "'1e1'": lambda text: _grade(text) if "e" not in text else _float(text),
        "a text": lambda text: None if (g := _grade(text)) is None else f"{g:g}",
    },
)
def check_read_grade(fn: Callable[[str], float | None]) -> None:
    """``fn(text) -> float | None``: the grade from 1 to 10 in "7", "7.5" or "7/10"; None for
    anything else.
    """
    for text in (
        *("7", "1", "7.5", " 10 ", "1/10", "9/10", "11", "0", "0.7", "good", "", "3 or 4"),
        *("7/5", "9/100", "10.5", "1e1", "7/10/10"),
    ):
        expected = _grade(text)
        got = attempt(fn, text, none_is_an_answer=True)
        if isinstance(got, str):
            raise Wrong(f"{text!r} gave {got!r}, a text: turn a grade into a number.")
        if (
            got is None
            and expected is not None
            and attempt(fn, "7", none_is_an_answer=True) is None
        ):
            attempt(fn, "7")  # an untouched stub says None to everything
        if expected is None:
            if got is not None:
                why = (
                    "it is out of range"
                    if re.fullmatch(r"[\d.]+", text)
                    else "it is on another scale"
                    if re.fullmatch(r"\d+/(5|100)", text)
                    else "there is no one grade in it"
                )
                raise Wrong(
                    f"{text!r} should give None, for {why}; you gave {float(got):g}. Return None "
                    "for what is not a grade."
                )
            continue
        mistakes = {
            f"{text!r} became a ten: the very fault of UltraFeedback's first code, which took what "
            f"was not above 1 for "
            "a fraction.": 10.0 if expected == 1 else np.nan,
            f"{text!r} is not a fraction: the number before the slash is the grade.": expected / 10,
            f"{text!r} became ten times what it says.": expected * 10,
            f"{text!r} need not be a whole number: 7.5 is a grade.": round(expected),
        }
        if got is None:
            raise Wrong(
                f"{text!r} holds two numbers and is a grade all the same: {expected:g}."
                if "/" in text
                else f"{text!r} is a grade, {expected:g}, and not None."
            )
        compare(got, expected, mistakes, f"{text!r} was misread.")


# --- tens that ought to be ones -------------------------------------------------------------------


def _suspects(rows: Sequence[tuple[float | None, float | None]]) -> list[int]:
    return [
        n
        for n, (mean, overall) in enumerate(rows)
        if overall == 10 and mean is not None and mean <= 2
    ]


@exercise(
    "03_ai_feedback",
    right="Two measurements of one thing that contradict each other: that is how the fault was "
    "found in the real set.",
    solution=_suspects,
    wrong={
        "every ten": lambda rows: [n for n, (_, overall) in enumerate(rows) if overall == 10],
        "2 itself": lambda rows: [
            n for n, (m, o) in enumerate(rows) if o == 10 and m is not None and m < 2
        ],
        "only tens": lambda rows: [n for n, (m, _) in enumerate(rows) if m is not None and m <= 2],
        "TypeError": lambda rows: [n for n, (m, o) in enumerate(rows) if o == 10 and m <= 2],
        "places": lambda rows: [row for n, row in enumerate(rows) if n in _suspects(rows)],
        "how many": lambda rows: len(_suspects(rows)),
        "whole numbers": lambda rows: [n + 0.5 for n in _suspects(rows)],
        "True or False": lambda rows: [n in _suspects(rows) for n in range(len(rows))],
        "each place once": lambda rows: 2 * _suspects(rows),
    },
)
def check_suspect_tens(fn: Callable[[list[tuple[float | None, float | None]]], list[int]]) -> None:
    """``fn(rows) -> list of places``: rows of (mean rating, overall grade), either may be None; 10
    with a mean <= 2.
    """
    rows = [
        (4.75, 10.0),
        (1.25, 10.0),
        (1.0, 1.0),
        (2.0, 10.0),
        (2.25, 10.0),
        (None, 10.0),
        (1.5, None),
        (1.5, 3.0),
    ]
    got = attempt(fn, rows)
    if np.shape(got) == ():
        raise Wrong(f"Return the places of the rows in a list, not how many they are or {got!r}.")
    if len(np.shape(got)) != 1:
        raise Wrong("Return the places of the rows, 0 for the first, not the rows themselves.")
    given = np.asarray(list(got))
    if given.dtype.kind == "b":
        raise Wrong("This says True or False for each row; return the places where it is True.")
    if given.dtype.kind != "i":
        raise Wrong(f"Places are whole numbers, not {given.tolist()}.")
    if len(set(given.tolist())) < len(given):
        raise Wrong(f"Return each place once, not {given.tolist()}.")
    places, wanted = set(given.tolist()), {1, 3}
    if places == {0, 1, 3, 4, 5}:
        raise Wrong("This is every ten; most tens are sound. Look at the mean rating beside it.")
    if places - wanted & {2, 7} and {2, 7} <= places:
        raise Wrong("These are all answers with a low mean rating; only tens are suspect.")
    if places == {1}:
        raise Wrong(
            "A mean of at most 2 holds 2 itself: the fault was a '>' where a '>=' was meant, do "
            "not repeat it."
        )
    if places != wanted:
        raise Wrong(f"Among {rows} the places are {sorted(wanted)}, not {sorted(places)}.")


# --- position bias --------------------------------------------------------------------------------


def _bonus(first: Sequence[float], last: Sequence[float]) -> float:
    return float(np.mean(np.asarray(first) - np.asarray(last)))


@exercise(
    "03_ai_feedback",
    right="The same answer in both places: its quality cancels, and position bias is left.",
    solution=_bonus,
    wrong={
        "sign": lambda first, last: -_bonus(first, last),
        "cancel out": lambda first, last: float(np.mean(np.abs(np.subtract(first, last)))),
        "share": lambda first, last: float(np.mean(np.greater(first, last))),
        "half": lambda first, last: _bonus(first, last) / 2,
        "their sum": lambda first, last: float(np.sum(np.subtract(first, last))),
    },
)
def check_place_bonus(fn: Callable[[list[float], list[float]], float]) -> None:
    """``fn(first, last) -> float``: the same answers' ratings when shown first and when shown last:
    the mean gain.
    """
    for first, last in (([5, 3, 4, 2], [4, 3, 2, 3]), ([1, 2, 5], [4, 2, 4])):
        gains = np.subtract(first, last)
        mistakes = {
            "The sign is turned: a judge that favours the first position should come out above "
            "0.": -gains.mean(),
            "Do not take absolute values: chance goes both ways and has to cancel out, or an "
            "unbiased judge would seem to have a bias.": np.abs(gains).mean(),
            "This is a share of answers, not the points that the position is worth.": np.greater(
                first, last
            ).mean(),
            "This is half of it: the gain from last to first is wanted, not the distance from the "
            "middle.": gains.mean() / 2,
            "This is their sum; the mean is wanted, so that more answers do not make more "
            "bias.": gains.sum(),
        }
        compare(
            attempt(fn, first, last), gains.mean(), mistakes, f"The gains are {gains.tolist()}."
        )


def _completion(*ratings: str, overall: float) -> dict:
    annotations = {
        aspect: {"Rating": rating} for aspect, rating in zip(ASPECTS, ratings, strict=True)
    }
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
        "TypeError": lambda completion: (
            sum(a["Rating"] for a in completion["annotations"].values()) / 4
        ),
        "ValueError": lambda completion: np.mean(
            [int(a["Rating"]) for a in completion["annotations"].values()]
        ),
    },
)
def check_mean_rating(fn: Callable[[dict], float]) -> None:
    """``fn(completion) -> float``: the mean of the aspects' ratings (strings), those that are "N/A"
    left out.
    """
    for completion in (
        _completion("5", "4", "3", "5", overall=8.0),
        _completion("2", "N/A", "1", "2", overall=6.5),
    ):
        ratings = _ratings(completion)
        mistakes = {
            "This is overall_score, the critique's own grade; the paper takes the mean of the four "
            "aspects.": completion["overall_score"],
            "This is the right total, but the mean is wanted, not their sum.": sum(ratings),
            'An aspect that was not rated ("N/A") counts as 0 here; leave it out of the count as '
            "well.": sum(ratings) / 4,
            "Do not round to a whole number: it would make ties of answers that the teacher kept "
            "apart.": round(np.mean(ratings)),
        }
        compare(attempt(fn, completion), np.mean(ratings), mistakes, f"The ratings are {ratings}.")
