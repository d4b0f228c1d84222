"""Two outcomes of an exam, grade and right answers, by question: written compactly, and read back.

A turn of an exam is one string with a letter for each question, in the exam's order: "a" is grade
1, "b" 1.5, "c" 2, up to "s", grade 10; a capital letter says that the answer is right; "." that it
has no grade. Grades are rounded to half points (the miniature's teacher gives no others). So ten
replications of all rows are a megabyte, and a row's 1,280 grades can be read by eye.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.evaluation.types import MTBenchJudgment

LETTERS = string.ascii_lowercase[:19]  # grades 1, 1.5, ..., 10
GRADE, RIGHT, LENGTH = "grade", "right", "length"
# How small a difference is as good as none: benchmarks/protocol.md, before anything was measured
MARGINS = {GRADE: 0.3, RIGHT: 0.02}
OUTCOMES = tuple(MARGINS)


def encode_turns(
    judgments: Sequence[MTBenchJudgment], question_ids: Sequence[Any], right_from: float | None
) -> list[str]:
    """A string of letters for each turn, see above.

    Args:
        judgments: of one model, all turns.
        question_ids: of the exam, in its order.
        right_from: the lowest grade of a right answer; None where the judge does not know.
    """
    grades = {(row["question_id"], row["turn"]): row["score"] for row in judgments}
    turns = sorted({turn for _, turn in grades})
    return [
        "".join(_letter(grades.get((number, turn)), right_from) for number in question_ids)
        for turn in turns
    ]


def _letter(grade: float | None, right_from: float | None) -> str:
    if grade is None or not 1 <= grade <= 10:  # a failed judgment is -1
        return "."
    letter = LETTERS[round(2 * (grade - 1))]
    return letter.upper() if right_from is not None and grade >= right_from else letter


def decode_turns(turns: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grades (1 to 10) and right answers (0 or 1), each of shape (turns, questions); NaN without a
    grade.
    """
    letters = [list(turn) for turn in turns]
    grades = [
        [np.nan if one == "." else 1 + LETTERS.index(one.lower()) / 2 for one in turn]
        for turn in letters
    ]
    right = [[np.nan if one == "." else float(one.isupper()) for one in turn] for turn in letters]
    return np.array(grades), np.array(right)


def by_question(exam: Mapping[str, Any], outcome: str) -> NDArray[np.float64]:
    """An outcome of one exam for each question, the mean of its turns; shape (questions,).

    Results that say nothing of single questions (and the length, which they never do) give their
    mean, as one number.

    Raises:
        KeyError: the exam says nothing of this outcome.
    """
    key = {GRADE: "score", RIGHT: "right", LENGTH: "tokens"}[outcome]
    mean = exam[key]
    if outcome == LENGTH or not exam.get("questions"):
        return np.array([mean], dtype=np.float64)
    values = decode_turns(exam["questions"])[OUTCOMES.index(outcome)]
    # no warning of a question without any grade: it stays NaN
    graded = np.isfinite(values)
    total = np.where(graded, values, 0).sum(axis=0)
    count = graded.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def find_exam(rows: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An exam of a replication: a row's name, or ``row@2`` for the row after its second epoch.

    Raises:
        KeyError: the replication has no such row.
    """
    row, _, epoch = name.partition("@")
    exam: dict[str, Any] = rows[row]["epochs"][int(epoch) - 1] if epoch else rows[row]["exam"]
    return exam


def paired_values(
    rows: Mapping[str, Any], better: str, worse: str, outcome: str
) -> NDArray[np.float64]:
    """An outcome of one exam minus that of another, for each question that has both.

    Raises:
        KeyError: the replication lacks one of the exams, or it says nothing of this outcome.
    """
    ours, theirs = (by_question(find_exam(rows, name), outcome) for name in (better, worse))
    if ours.size != theirs.size:  # an exam without single questions beside one with them
        ours, theirs = (np.array([np.nanmean(values)]) for values in (ours, theirs))
    gaps = ours - theirs
    return gaps[np.isfinite(gaps)]
