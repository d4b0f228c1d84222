"""What a judge's ratings are worth: one score an answer, on a scale that is known.

A rating outside of its scale means that the scale is another one. Left out one by one, such ratings
turn pairs round: of answers rated 9 and 2 on a scale from 1 to 10, only the 2 would count. So an
answer with one has no score, and its row makes no pair.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from zephyr_utils.data.fields import LONGEST_NUMBER, as_number
from zephyr_utils.data.types import ASPECTS
from zephyr_utils.errors import HandbookError


class Score(StrEnum):
    """Which number makes one answer better than another."""

    MEAN = "mean"  # of the four aspects' ratings (the paper)
    OVERALL = "overall"  # the grade at the end of the critique (the published set)


class RatingScale(NamedTuple):
    """The lowest and the highest rating that a judge may give."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


class BadRating(NamedTuple):
    """A rating that cannot be used: ``reason`` to count it by, and what it is in words."""

    reason: str
    detail: str


class Scored(NamedTuple):
    """What an answer's ratings come to.

    Attributes:
        score: None if nothing is rated, or if one rating cannot be used.
        ratings: the numbers it is made of, inside of the scale or not.
        bad: the first rating that is not a number of the scale.
    """

    score: float | None
    ratings: list[float]
    bad: BadRating | None


RATING_SCALES: Mapping[str, RatingScale] = {
    Score.MEAN: RatingScale(1, 5),
    Score.OVERALL: RatingScale(1, 10),
}
OUT_OF_RANGE, UNREADABLE = "rating_out_of_range", "unreadable_rating"

# How judges and tables write that an aspect was not rated.
_NOT_RATED = ("", "n/a", "na", "none", "null", "nan", "-", "not rated", "not applicable")
# Scales in use, from the narrowest; what is proposed when ratings lie outside of the one assumed.
_ENDS = re.compile(r"\s*([+-]?[\d.]{1,20})\s*(?:-|–|to|:)\s*([+-]?[\d.]{1,20})\s*")
_KNOWN_SCALES = tuple(
    RatingScale(*ends)
    for ends in ((0, 1), (1, 4), (0, 4), (1, 5), (0, 5), (1, 7), (1, 10), (0, 10),
                              (1, 100), (0, 100))
)  # fmt: skip


def mean_rating(
    completion: Mapping[str, Any], scale: RatingScale = RATING_SCALES[Score.MEAN]
) -> float | None:
    """The mean of an answer's ratings in the four aspects (paper, section 3: the teacher's score).

    An aspect that the judge did not rate ("N/A", missing) is left out of the mean. None if no
    aspect is rated, or if one rating is not a number of the scale.
    """
    return scored(completion, Score.MEAN, scale).score


def overall_rating(
    completion: Mapping[str, Any], scale: RatingScale = RATING_SCALES[Score.OVERALL]
) -> float | None:
    """The one grade the critique ends with (UltraFeedback's ``overall_score``); None if there is
    none, or none of the scale.
    """
    return scored(completion, Score.OVERALL, scale).score


def scored(completion: Mapping[str, Any], score: str, scale: RatingScale) -> Scored:
    """An answer's score, the ratings behind it, and the first that cannot be used."""
    ratings: list[float] = []
    bad: BadRating | None = None
    for name, value in _written(completion, score):
        if _not_rated(value):
            continue
        rating = as_number(value)
        if rating is None:
            bad = bad or BadRating(
                UNREADABLE, f"{name} is {str(value)[:LONGEST_NUMBER]!r}, no number"
            )
            continue
        ratings.append(rating)
        if not scale.low <= rating <= scale.high:
            bad = bad or BadRating(OUT_OF_RANGE, f"{name} is {rating:g}, outside of {scale}")
    if bad is not None or not ratings:
        return Scored(None, ratings, bad)
    return Scored(sum(ratings) / len(ratings), ratings, None)


def parse_rating_scale(text: str) -> RatingScale:
    """A scale as the command line takes it: ``1-10``.

    Raises:
        HandbookError: it is none, or its ends are turned round.
    """
    parts = _ENDS.fullmatch(text)
    ends = (as_number(parts[1]), as_number(parts[2])) if parts else (None, None)
    if ends[0] is None or ends[1] is None or ends[0] >= ends[1]:
        raise HandbookError(
            f"no scale of ratings: {text[:LONGEST_NUMBER]!r}",
            where="--rating-scale",
            remedy="give the lowest and the highest rating, such as 1-10",
        )
    return RatingScale(ends[0], ends[1])


def check_rating_scale(
    ratings: RatingScale, score: str, scale: RatingScale, n_rows: int, n_bad: int
) -> None:
    """Refuse feedback of which too many rows have ratings outside of the scale.

    Args:
        ratings: the lowest and the highest rating that were seen.
        score, scale: what they were taken for.
        n_rows: rows with ratings; n_bad: those with one outside of the scale.

    Raises:
        HandbookError: more than a tenth of the rows, and more than two; the scale that fits is
            named.
    """
    if n_bad <= max(2, n_rows // 10):
        return
    fitting = next(
        (
            known
            for known in _KNOWN_SCALES
            if known.low <= ratings.low and ratings.high <= known.high
        ),
        ratings,
    )
    raise HandbookError(
        f"{n_bad:,} of {n_rows:,} rows have ratings outside of {scale}, the scale of the {score} "
        f"score; they run from {ratings.low:g} to {ratings.high:g}",
        where="feedback",
        remedy=f"if the judge rated from {fitting}, say so: --rating-scale {fitting.low:g}-"
        f"{fitting.high:g} (rating_scales={{{str(score)!r}: RatingScale({fitting.low:g}, "
        f"{fitting.high:g})}} in "
        "Python); else correct the ratings",
    )


def _written(completion: Mapping[str, Any], score: str) -> list[tuple[str, Any]]:
    """The ratings that a score is made of, as they were written."""
    if score == Score.OVERALL:
        return [("overall_score", completion.get("overall_score"))]
    annotations = completion.get("annotations") or {}
    return [(aspect, (annotations.get(aspect) or {}).get("Rating")) for aspect in ASPECTS]


def _not_rated(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _NOT_RATED
    return value is None or value != value  # NaN
