"""A row as it was read, before anything is made of it, and how large one may be."""

from dataclasses import dataclass
from typing import Any

from zephyr_utils.data.fields import RecordError

# Nobody's record has a longer line or cell: half a gigabyte without a line break is another kind of
# file, or one made to fill the memory.
MAX_ROW_BYTES = 64 << 20
MAX_JSON_BYTES = 1 << 30  # of a file that is read whole
KEPT_OF_A_LONG_ROW = 200  # bytes, to recognise it by


@dataclass(frozen=True)
class Row:
    """One row as it was read: ``where`` it stood, and its ``value`` or, if it could not be parsed,
    the ``error`` with what there is of the row in ``value``.
    """

    where: str
    value: Any
    error: RecordError | None = None


def broken_row(where: str, reason: str, what: str, remedy: str, value: Any = None) -> Row:
    """A row that could not be read."""
    return Row(where, value, RecordError(reason, what, where=where, remedy=remedy))


def megabytes(size: int) -> str:
    """A size in words: ``64 MB``."""
    return f"{size >> 20:,} MB"
