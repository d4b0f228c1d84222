"""Reading single fields of a row: what is there, of which type, and what is said if it is not."""

import functools
import math
import re
from decimal import Decimal
from typing import Any

from zephyr_utils.errors import HandbookError

Fields = dict[str, Any]  # a row as it was read: names of fields and their values

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*", re.ASCII)
# What is not white space, nor one of the characters without a shape that editors and exports leave.
VISIBLE = re.compile("[^\\s\\x00-\\x1f\\u00ad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2064\\ufeff]")
LONGEST_NUMBER = 40  # characters; a longer one is not a score of anybody's


class RecordError(HandbookError, ValueError):
    """A row that cannot be used.

    Attributes:
        reason: one or two words joined by underscores, for counting: ``missing_field``,
            ``two_user_turns``.
        what, where, remedy: as in `HandbookError`.
    """

    def __init__(self, reason: str, what: str, *, where: str = "", remedy: str = "") -> None:
        self.reason = reason
        super().__init__(what, where=where, remedy=remedy)


def at(where: str, field: str) -> str:
    """The place of a field within a row, in words."""
    return f"{where}, field {field}" if where else f"field {field}"


def kind_of(value: Any) -> str:
    """What a value is, in the words of a message."""
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "true or false",
        type(None): "nothing (null)",
    }
    return names.get(type(value)) or (
        "a number" if isinstance(value, int | float) else type(value).__name__
    )


def has(record: Fields, *fields: str) -> bool:
    """Whether all fields are there and not null (tables pad with null what a row does not have)."""
    return all(record.get(field) is not None for field in fields)


def present(record: Fields) -> str:
    """The fields of a row, for a message: the first twenty."""
    names = [str(name)[:40] for name in record]
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") or "none"


def require_object(record: Any, where: str) -> Fields:
    """The row, if it has named fields.

    Raises:
        RecordError: ``not_an_object``.
    """
    if isinstance(record, dict):
        return record
    raise RecordError(
        "not_an_object",
        f"expected an object with named fields, found {kind_of(record)}",
        where=where,
        remedy="write one JSON object a row",
    )


def required(record: Fields, field: str, where: str, *, hint: str = "") -> Any:
    """The value of a field.

    Raises:
        RecordError: ``missing_field``.
    """
    if field not in record:
        raise RecordError(
            "missing_field",
            f"the field is missing (the row has: {present(record)})",
            where=at(where, field),
            remedy=hint or "add the field, or check that the file holds this kind of record",
        )
    return record[field]


def wrong_type(expected: str, value: Any, place: str) -> RecordError:
    """The error for a value of another type than expected at ``place``."""
    return RecordError(
        "wrong_type",
        f"expected {expected}, found {kind_of(value)}",
        where=place,
        remedy=f"make it {expected}" + (", or remove the row" if value is None else ""),
    )


def check_text(value: Any, place: str, *, filled: bool = False) -> str:
    """The value, if it is text that UTF-8 can hold; with ``filled``, more than white space.

    Raises:
        RecordError: ``wrong_type``, ``empty_content`` or ``bad_unicode``.
    """
    if not isinstance(value, str):
        raise wrong_type("text", value, place)
    if filled and not VISIBLE.search(value):
        what = "the text holds nothing that can be seen" if value.strip() else "the text is empty"
        raise RecordError("empty_content", what, where=place, remedy="write the text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            # JSON may hold half of a surrogate pair ("\ud83d"); no tokenizer and no file format
            # takes it.
            raise RecordError(
                "bad_unicode",
                f"half of a surrogate pair at character {error.start}",
                where=place,
                remedy="fix or remove the broken character",
            ) from None
    return value


def text(
    record: Fields, field: str, where: str, *, default: str | None = None, filled: bool = False
) -> str:
    """The text of a field, or the default where it is missing or null.

    Raises:
        RecordError: ``missing_field``, or as `check_text`.
    """
    if default is not None and record.get(field) is None:
        return default
    return check_text(required(record, field, where), at(where, field), filled=filled)


def as_number(value: Any) -> float | None:
    """A finite number, given as a number or as text (CSV has nothing else); otherwise None.

    Whole numbers beyond a float's range, infinities, NaN, booleans and "1_000" are none.
    """
    if isinstance(value, str):
        return _number_in(value) if len(value) <= LONGEST_NUMBER else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):  # a whole number of 309 digits or more, a signalling NaN
        return None
    return number if math.isfinite(number) else None


@functools.lru_cache(maxsize=1024)  # ratings: millions of texts, a dozen of them different
def _number_in(text: str) -> float | None:
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    return number if math.isfinite(number) else None


def check_number(value: Any, place: str) -> float:
    """The number that `as_number` reads.

    Raises:
        RecordError: ``not_a_number``.
    """
    number = as_number(value)
    if number is None:
        found = repr(value[:80]) if isinstance(value, str) else kind_of(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found = "one that is not finite" if isinstance(value, float) else "one beyond any float"
        raise RecordError(
            "not_a_number",
            f"expected a number, found {found}",
            where=place,
            remedy="give a finite number",
        )
    return number
