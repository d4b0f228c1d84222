"""AlpacaEval's annotations one by one: what a row is about, its score, its lengths, and whether a
list of them can be scored at all.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from zephyr_utils.evaluation.common import (
    EvaluationError,
    as_identifier,
    checked_rows,
    finite_number,
    name_some,
)
from zephyr_utils.evaluation.types import AlpacaEvalAnnotation

_LONGEST_OUTPUT = 10**9  # characters; a stored length beyond is not a length


def row_key(row: Mapping[str, Any], position: int) -> Hashable:
    """What says that two rows are about one instruction: its index, else its text, else the row's
    own place.
    """
    for field in ("index", "instruction"):
        key = as_identifier(row.get(field))
        if key is not None:
            return key
    return ("row", position)


def row_score(row: Mapping[str, Any]) -> tuple[float | None, str]:
    """The model's score of one row in [0, 1], or None with the reason why there is none."""
    if "preference" not in row:
        return None, "no preference field"
    preference = finite_number(row["preference"])
    if preference is None:
        value = row["preference"]
        if value is None:
            return None, "preference is null"
        missing = isinstance(value, float) and math.isnan(value)
        return None, "preference is NaN" if missing else "preference is not a finite number"
    if preference == 0:
        return 0.5, ""
    if not 1 <= preference <= 2:
        return None, f"preference {preference:g} is outside 1 to 2"
    return preference - 1, ""


def output_length(row: Mapping[str, Any], which: int) -> int | None:
    """Length in characters of output 1 (baseline) or 2 (model), as stored or as counted from the
    text.
    """
    stored = finite_number(row.get(f"len_output_{which}"))
    if stored is not None and 0 <= stored <= _LONGEST_OUTPUT:
        return int(stored)
    text = row.get(f"output_{which}")
    return len(text) if isinstance(text, str) else None


def checked_annotations(annotations: Iterable[AlpacaEvalAnnotation]) -> list[AlpacaEvalAnnotation]:
    """The annotations as a list, if a preference of 2 means the model in all of them.

    Raises:
        EvaluationError: there are none, one is not a record, some name the two models in the other
            order, or the preferences are on a scale of their own.
    """
    rows = checked_rows(annotations, "annotation")
    orders = Counter(
        (first, second)
        for row in rows
        if isinstance(first := row.get("generator_1"), str)
        and isinstance(second := row.get("generator_2"), str)
        and first != second
    )
    for (first, second), count in sorted(orders.items()):
        if turned := orders.get((second, first)):
            raise EvaluationError(
                f"{name_some([first])} is output 1 in {count} of them and output 2 in {turned}, so "
                "a preference of 2 does not always mean one model",
                where="annotations",
                remedy="turn the rows of one order (swap generators and outputs, write 3 minus the "
                "preference), or score the two orders apart.",
            )
    numbers = [n for row in rows if (n := finite_number(row.get("preference"))) is not None]
    if numbers and min(numbers) < 0 and max(numbers) <= 1:
        raise EvaluationError(
            f"{sum(n < 0 for n in numbers)} of {len(numbers)} preferences are below 0 and none is "
            "above 1: this looks like a scale from -1 for the baseline to 1 for the model",
            where="annotations",
            remedy="AlpacaEval's is 1 for the baseline, 2 for the model: write (preference + 3) / "
            "2 in place of each.",
        )
    if numbers and max(numbers) <= 1 and set(numbers) != {1.0}:
        raise EvaluationError(
            f"no preference of {len(numbers)} is above 1 and not all are 1: "
            "this looks like a scale that ends at 1 (0 for the baseline, 1 for the model)",
            where="annotations",
            remedy="AlpacaEval's is 1 for the baseline, 2 for the model: add 1 to each preference. "
            "If the model never won, write its draws as 1.5.",
        )
    return rows


def scores_by_instruction(annotations: Iterable[AlpacaEvalAnnotation]) -> dict[Hashable, float]:
    """One score in [0, 1] per instruction that could be scored (the mean, where rows are
    duplicated).
    """
    scores: defaultdict[Hashable, list[float]] = defaultdict(list)
    for position, row in enumerate(checked_annotations(annotations)):
        score, _ = row_score(row)
        if score is not None:
            scores[row_key(row, position)].append(score)
    return {key: math.fsum(values) / len(values) for key, values in scores.items()}
