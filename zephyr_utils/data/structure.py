"""Text that holds structure: a list of messages written into one cell, as CSV exports do.

Such a column is parsed, as JSON or as Python writes its literals, or refused by that name. It is
never trained on as the text that it is.
"""

import json
import re
import warnings
from typing import Any

from zephyr_utils.data.fields import Fields, RecordError, at, present, require_object
from zephyr_utils.data.strict_json import (
    LONG_NUMBER_REMEDY,
    REPEATED_KEY,
    RepeatedKey,
    long_number,
    strict_json,
    strict_literal,
)
from zephyr_utils.data.types import SPEAKERS, TOOL_ROLES

# Fields that are lists or objects whatever the layout, and fields that may also be plain text.
LIST_FIELDS = (
    *("messages", "conversations", "data", "completions", "history", "metadata"),
    *("conversation_a", "conversation_b", "rejected_messages"),
)
FREE_FIELDS = (
    *("prompt", "chosen", "rejected", "completion", "response", "rejected_response"),
    *("question", "instruction", "input", "output", "text", "system"),
    *("human_ref_A", "human_ref_B", "preferred_output", "non_preferred_output"),
)
NOTE = "JSON or Python text read as the messages that it holds"

BROKEN_STRUCTURE = "broken_structure"  # the reason of a row that is set aside
_NAMES = (*SPEAKERS, *TOOL_ROLES)
_OPENING = re.compile(r"\s*[\[{]")
_TURN_INSIDE = re.compile(
    rf"""['"](?:role|from)['"]\s*:\s*['"](?:{"|".join(_NAMES)})['"]""", re.IGNORECASE
)
# A list of messages as YAML writes it; two lines of it, since one may be about YAML.
_YAML_TURNS = re.compile(
    rf"\s*+(?:---\s*+)?-\s++['\"]?(?:role|from)['\"]?:\s*+['\"]?(?:{'|'.join(_NAMES)})['\"]?"
    r"[ \t\r]*+\n\s++['\"]?(?:content|value)['\"]?:",
    re.IGNORECASE,
)
_LONGEST_LITERAL = 4 << 20  # characters; Python's parser takes a hundred times the memory
_LOOK = 2000  # characters in which a broken list must show that it is one of messages


def unpacked(record: Fields, where: str, notes: set[str]) -> Fields:
    """The row with every column that holds messages as text parsed.

    Args:
        record: the row as it was read.
        where: where it was.
        notes: `NOTE` is added to it if anything was parsed.

    Raises:
        RecordError: ``broken_structure``: a field is the beginning of a list of messages; or
            ``repeated_key``.
    """
    parsed: Fields = {}
    for field in (*LIST_FIELDS, *FREE_FIELDS):
        value = record.get(field)
        if isinstance(value, str) and (_opens(value := _decoded(value)) or holds_yaml_turns(value)):
            read = turns_in_text if field in FREE_FIELDS else parse
            found = read(value, at(where, field))
            if found is not None:
                parsed[field] = found
    if not parsed:
        return record
    notes.add(NOTE)
    return {**record, **parsed}


def unpacked_row(record: Any, where: str, notes: set[str]) -> Any:
    """The row itself, parsed if it is an object that was encoded as JSON twice.

    Raises:
        RecordError: ``repeated_key``.
    """
    if isinstance(record, str) and record.lstrip().startswith("{"):
        value = parse(record, where)
        if isinstance(value, dict):
            notes.add(NOTE)
            return value
    return record


def object_of(record: Any, where: str) -> tuple[Fields, set[str]]:
    """The row as an object with its columns of text parsed, and what was converted.

    Raises:
        RecordError: ``not_an_object``, ``columns``, or as `unpacked`.
    """
    notes: set[str] = set()
    row = require_object(unpacked_row(record, where, notes), where)
    if _is_columns(row):
        raise RecordError(
            "columns",
            f"the object holds columns rather than a row (it has: {present(row)})",
            where=where,
            remedy="write one object a row: df.to_json(path, orient='records', lines=True), or "
            "dataset.to_json(path)",
        )
    return unpacked(row, where, notes), notes


def _is_columns(row: Fields) -> bool:
    """Whether an object holds a table by its columns, as pandas and ``datasets`` write them."""
    values = list(row.values())
    if len(values) < 2:
        return False
    if all(isinstance(value, dict) and value for value in values):
        keys = set(values[0])
        return all(key.isdigit() for key in keys) and all(set(value) == keys for value in values)
    if not all(isinstance(value, list) and value for value in values) or "data" in row:
        return False
    same_length = len({len(value) for value in values}) == 1
    items = [value[0] for value in values]
    return same_length and not any(isinstance(item, dict) for item in items)


def turns_in_text(value: str, place: str) -> Any | None:
    """The message or the list of messages that a text holds from end to end; None for other text.

    Raises:
        RecordError: ``broken_structure``: it begins as a list of messages and does not end as one;
            or ``repeated_key``, in messages.
    """
    try:
        parsed = parse(value, place)
    except RecordError:
        if _TURN_INSIDE.search(value[:_LOOK]):
            raise
        return None  # an answer that is JSON of its own
    if holds_yaml_turns(value):
        raise RecordError(
            BROKEN_STRUCTURE,
            "the text is a list of messages in YAML",
            where=place,
            remedy=_remedy(value),
        )
    if parsed is not None:
        return parsed if _are_turns(parsed) else None
    if _TURN_INSIDE.search(value[:_LOOK]) and not _goes_on_in_prose(value):
        raise RecordError(
            BROKEN_STRUCTURE,
            "the text begins as a list of messages but cannot be parsed as JSON or as a Python "
            "literal",
            where=place,
            remedy=_remedy(value),
        )
    return None


def parse(value: str, place: str) -> Any | None:
    """What JSON or a Python literal holds, if it is a list or an object; otherwise None.

    Raises:
        RecordError: ``repeated_key``: an object names a key twice.
    """
    if not _opens(value):
        return None
    try:
        try:
            found = strict_json(value)
        except RepeatedKey:
            raise
        except (ValueError, RecursionError):
            found = _literal(value)
    except RepeatedKey as error:
        raise RecordError(
            REPEATED_KEY, str(error), where=place, remedy="keep one of the two values"
        ) from None
    return found if isinstance(found, list | dict) else None


def not_structure(value: str, place: str) -> RecordError:
    """The error for text where a list must be, and that `parse` could not read."""
    return RecordError(
        "text_not_structure",
        "expected a list, found text that is neither JSON nor a Python literal",
        where=place,
        remedy=_remedy(value),
    )


def _literal(value: str) -> Any | None:
    if len(value) > _LONGEST_LITERAL:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in the text
            return strict_literal(value.strip())
    except RepeatedKey:
        raise
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _decoded(value: str) -> str:
    """The structure that a text holds as a JSON string, once or several times; other text as it is.

    A sentence in quotation marks stays one.
    """
    inner: Any = value
    while isinstance(inner, str) and inner.lstrip().startswith('"'):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            return value
    return inner if isinstance(inner, str) and _opens(inner) else value


def _opens(value: str) -> bool:
    return _OPENING.match(value) is not None


def holds_yaml_turns(value: str) -> bool:
    """Whether a text begins as a list of messages in YAML."""
    return _YAML_TURNS.match(value) is not None


def _are_turns(value: Any) -> bool:
    turns = value if isinstance(value, list) else [value]
    return bool(turns) and all(
        isinstance(turn, dict)
        and (
            ("role" in turn and ("content" in turn or "tool_calls" in turn))
            or ("from" in turn and "value" in turn)
        )
        and str(turn.get("role", turn.get("from"))).lower() in _NAMES
        for turn in turns
    )


def _goes_on_in_prose(value: str) -> bool:
    """Whether a whole JSON value is followed by words: an answer that explains one."""
    try:
        json.JSONDecoder().raw_decode(value.lstrip())
    except (ValueError, RecursionError):
        return False
    return True


def _remedy(value: str) -> str:
    if re.search(r"\}\s*+\{", value) or "array(" in value:
        return (
            "it looks like a printed NumPy array; write the column as lists "
            "(df[column].map(list)) and save as JSONL or Parquet"
        )
    if holds_yaml_turns(value):
        return "YAML is not read here: write the column as lists, or as JSON (json.dumps)"
    if number := long_number(value):
        return f"it holds {number}: {LONG_NUMBER_REMEDY}"
    return "the text may be cut off (spreadsheets end a cell at 32,767 characters); save as JSONL"
