"""FastChat's judgments one by one: what a record is about, and its grade or why it has none."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from zephyr_utils.data.fields import as_number
from zephyr_utils.evaluation.common import as_identifier, display_name, finite_number
from zephyr_utils.evaluation.types import QuestionId
from zephyr_utils.evaluation.verdicts import FAILED, parse_rating

# FastChat's public questions come in blocks of ten, 81 to 160, in this order; its judgments bear
# the number only.
CATEGORIES = (
    "writing",
    "roleplay",
    "reasoning",
    "math",
    "coding",
    "extraction",
    "stem",
    "humanities",
)
UNCATEGORISED = "uncategorised"
# The temperatures at which FastChat asks each category (fastchat/llm_judge/common.py).
FASTCHAT_TEMPERATURES = dict(zip(CATEGORIES, (0.7, 0.7, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1), strict=True))
TURNS = (1, 2)
# What others call a grade.
_OTHER_GRADES = ("rating", "ratings", "grade", "points", "mark", "marks", "score", "scores",
                 "overall_score", "final_score", "judge_score", "gpt4_score")  # fmt: skip
# FastChat's prompts, ours, and the rules of the scales' judges: grades from 1 to 10.
_PROMPTS_TO_10 = ("single-", "handbook-single", "rules", "checks")
_ENOUGH_GRADES = 10
_LOW_TOP = 5  # answers whose best grade is no higher are rarer than a scale that ends there
Turn = tuple[QuestionId | None, int | None]  # a question and its turn; None for what is not there


def public_category(question_id: object) -> str:
    """Category of one of the 80 public MT-Bench questions by its number (81 to 160), else
    "uncategorised".
    """
    if isinstance(question_id, int) and 81 <= question_id <= 160:  # True is 1, out of range
        return CATEGORIES[(question_id - 81) // 10]
    return UNCATEGORISED


def question_and_turn(record: Mapping[str, Any]) -> Turn:
    """What a judgment is about; None for a number or text that is not there or is something else
    altogether.
    """
    turn = finite_number(record.get("turn"))
    return (
        as_identifier(record.get("question_id")),
        int(turn) if turn is not None and turn in TURNS else None,
    )


def category_of(record: Mapping[str, Any]) -> str:
    """The category that a question or a judgment names, else that of the public numbering."""
    named = record.get("category")
    return display_name(named) if named else public_category(record.get("question_id"))


def judgment_score(record: Mapping[str, Any]) -> tuple[float | None, str]:
    """The valid grade (1 to 10) of one judgment record, or None with the reason why there is none.

    A grade that is not stored is read from the judgment by
    :func:`~zephyr_utils.evaluation.verdicts.parse_rating`; one under another name than ``score``
    is not read, because its scale may be another one.
    """
    if "score" in record:
        stored = record["score"]
    elif name := next((name for name in record if _is_grade(name, record[name])), None):
        return None, f"the grade is in {display_name(name)}, not in score"
    elif isinstance(record.get("judgment"), str):
        stored = parse_rating(record["judgment"], finish_reason_of(record))
        if stored == FAILED:
            return None, "no [[rating]] could be read from the judgment"
    else:
        return None, "neither a score nor a judgment text"
    score = finite_number(stored)
    if score is None:
        if stored is None:
            return None, "score is null"
        missing = isinstance(stored, float) and math.isnan(stored)
        return None, "score is NaN" if missing else "score is not a finite number"
    if score == FAILED:
        return None, "no rating could be read from the judgment (-1)"
    if not 1 <= score <= 10:
        return None, f"score {score:g} is outside 1 to 10"
    question, turn = question_and_turn(record)
    if turn is None:
        return None, f"turn {display_name(repr(record.get('turn')))} is neither 1 nor 2"
    if question is None:
        return None, "no question_id"
    return score, ""


def _is_grade(name: str, value: object) -> bool:
    return name.lower() in _OTHER_GRADES and as_number(value) is not None


def scale_doubt(records: Iterable[Mapping[str, Any]]) -> str:
    """Why the grades of one model may be on another scale than 1 to 10, in words; "" if nothing
    speaks for it: one is above `_LOW_TOP`, they are few, or their prompts name the scale.
    """
    grades = [
        score
        for record in records
        if not _names_scale(record) and (score := judgment_score(record)[0]) is not None
    ]
    if len(grades) < _ENOUGH_GRADES or max(grades) > _LOW_TOP:
        return ""
    return (
        f"no grade of {len(grades)} is above {max(grades):g}, and their prompts are none of "
        f"FastChat's: they are averaged as grades from 1 to 10, and on another scale (1 to 5) the "
        f"mean says something else"
    )


def _names_scale(record: Mapping[str, Any]) -> bool:
    """Whether the judge's prompt is known to ask for a grade from 1 to 10."""
    judge = record.get("judge")
    named = judge[1] if isinstance(judge, list | tuple) and len(judge) > 1 else ""
    return isinstance(named, str) and named.startswith(_PROMPTS_TO_10)


def finish_reason_of(record: Mapping[str, Any]) -> str:
    """Why the judge stopped, where a record tells."""
    reason = record.get("finish_reason")
    return reason if isinstance(reason, str) else ""
