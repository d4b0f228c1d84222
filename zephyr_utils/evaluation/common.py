"""What every evaluation shares: its error, its warning, and reading rows of JSON from a file."""

import math
import warnings
from collections.abc import Iterable
from pathlib import Path

from zephyr_utils.data import read
from zephyr_utils.errors import HandbookError


class EvaluationError(HandbookError, ValueError):
    """Records that cannot be scored honestly: the message says which, why, and what to do."""


class EvaluationWarning(UserWarning):
    """Records that can be scored but should be looked at: duplicates, another model's rows, missing
    turns.
    """


def warn_all(messages: Iterable[str]) -> tuple[str, ...]:
    """Issue each message as an :class:`EvaluationWarning` and hand them back, so that a report can
    print them too.
    """
    collected = tuple(messages)
    for message in collected:
        warnings.warn(message, EvaluationWarning, stacklevel=3)
    return collected


def name_some(items: Iterable[object], limit: int = 5) -> str:
    """The first few of many things, for a message that a reader can still read."""
    listed = [str(item) for item in items]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def as_number(value: object) -> float | None:
    """A finite float, or None for anything that is not a plain number (text, booleans, null, NaN,
    infinity).
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def checked_rows(records: Iterable[dict], what: str) -> list[dict]:
    """A list of the records; raises :class:`EvaluationError` when there are none or one is no
    mapping.

    Args:
        records: an iterable of records, each a mapping from field names to values.
        what: the word for one of them in messages ("judgment", "annotation").
    """
    rows = list(records)
    if not rows:
        raise EvaluationError(
            f"there is no {what} at all",
            where=f"{what}s",
            remedy="check that the file was written and read in full.",
        )
    for position, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise EvaluationError(
                f"is {type(row).__name__}, not a record with named fields",
                where=f"{what} {position}",
                remedy="read the file with evaluation.read_rows(path).",
            )
    return rows


def read_rows(path: str | Path) -> list[dict]:
    """All records of one file (JSON Lines, plain or compressed, or a JSON list), in their order.

    Judgments and annotations are no training rows: a broken one changes the published figure, so it
    stops the reading instead of being set aside.

    Raises:
        HandbookError: no such file, an unknown kind of file, or a broken row (named by its number).
        EvaluationError: an empty file, or a row that is no object.
    """
    rows = []
    for row in read.read_rows(path):
        if row.error is not None:
            raise row.error
        if not isinstance(row.value, dict):
            raise EvaluationError(
                f"is {type(row.value).__name__}, not an object",
                where=row.where,
                remedy="write one object a row.",
            )
        rows.append(row.value)
    if not rows:
        raise EvaluationError(
            "the file is empty", where=str(path), remedy="fetch or write the file again."
        )
    return rows
