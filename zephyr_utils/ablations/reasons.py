"""Reasons in words, each from what was measured."""

import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np

from zephyr_utils.ablations.outcomes import decode_turns, find_exam
from zephyr_utils.ablations.verdicts import CONJECTURE, Claim, Measured

FINISHED = "accuracy_once_trained"  # `measurements.measure`


def explain(claim: Claim, verdict: str, measured: Measured) -> str:
    """What we make of a verdict: the claim's own words for it, or the difference in parts."""
    reason = claim.why.get(verdict)
    if reason is None:
        return "" if claim.number else in_parts(claim.better, claim.worse, measured)
    if callable(reason):
        return reason(measured)
    if not reason.startswith(CONJECTURE):
        raise ValueError(f"the reason for {claim.key} is neither measured nor marked: {reason}")
    return reason


def in_parts(better: str, worse: str, measured: Measured) -> str:
    """A difference of grades taken apart: how much of it comes from another share of right answers,
    and how much from other grades for right answers and for wrong ones (manner).

    After Kitagawa (1955): with the share of right answers p and the mean grades of right and wrong
    answers r and w, the first part is the change of p times the mean of r - w, the second the rest,
    each at the mean of both models. A model without a right (or a wrong) answer has no such grade,
    and takes the other model's: then nothing is put down to manner that nobody saw. "" where single
    questions are not known, or not which answers are right.
    """
    content, manner = [], []
    for ours, theirs in _both(better, worse, measured):
        (p1, r1, w1), (p0, r0, w0) = ours, theirs
        content.append((p1 - p0) * ((r1 - w1) + (r0 - w0)) / 2)
        share = (p1 + p0) / 2
        manner.append(share * (r1 - r0) + (1 - share) * (w1 - w0))
    if not content:
        return ""
    return (
        f"{_signed(statistics.mean(content))} of the grade by more or fewer right answers, "
        f"{_signed(statistics.mean(manner))} by other grades for right and for wrong ones"
    )


def _both(
    better: str, worse: str, measured: Measured
) -> Iterator[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Of each replication that has both exams: share right, mean grade of right and of wrong."""
    for rows in measured.values():
        try:
            exams = [find_exam(rows, name) for name in (better, worse)]
        except KeyError:
            continue
        if all(_has_grades(exam) and "right" in exam for exam in exams):
            (p1, r1, w1), (p0, r0, w0) = (_composition(exam) for exam in exams)
            yield (p1, _either(r1, r0), _either(w1, w0)), (p0, _either(r0, r1), _either(w0, w1))


def _has_grades(exam: dict[str, Any]) -> bool:
    return any(set(turn) - {"."} for turn in exam.get("questions") or ())


def _either(own: float | None, other: float | None) -> float:
    """A mean grade, else the other model's; of answers that neither gave any number will do."""
    return next((grade for grade in (own, other) if grade is not None), 0.0)


def _composition(exam: dict[str, Any]) -> tuple[float, float | None, float | None]:
    grades, right = (values.ravel() for values in decode_turns(exam["questions"]))
    known = np.isfinite(grades)
    grades, is_right = grades[known], right[known] > 0
    of_right = float(grades[is_right].mean()) if is_right.any() else None
    of_wrong = float(grades[~is_right].mean()) if (~is_right).any() else None
    return float(is_right.mean()), of_right, of_wrong


def accuracies(row: str, epoch: int = -1, *, once: bool = False) -> Any:
    """A reason that names training and held-out accuracy of an epoch of a row, and with `once` that
    of its finished model on the training pairs.
    """

    def words(measured: Measured) -> str:
        found = [rows[row]["accuracies"] for rows in measured.values() if row in rows]
        train, held_out = (
            statistics.mean(one[part][epoch] for one in found) for part in ("train", "held_out")
        )
        said = f"training accuracy {train:.3f}, held out {held_out:.3f}"
        if not once:
            return said
        of = [rows[row][FINISHED] for rows in measured.values() if FINISHED in rows.get(row, {})]
        return f"{statistics.mean(of):.3f} once trained; over the last epoch {said}"

    return words


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")
