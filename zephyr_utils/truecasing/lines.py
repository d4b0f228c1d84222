"""Rows of JSONL: which of their strings are messages to repair, and the lines with those repaired."""

import json
from collections.abc import Iterator, Sequence

import numpy as np

from zephyr_utils.truecasing.arrays import from_strings, strings_with_edits
from zephyr_utils.truecasing.detect import LABELS
from zephyr_utils.truecasing.model import Truecaser
from zephyr_utils.truecasing.tables import ColumnReport


def messages_of(value, roles: Sequence[str]) -> Iterator[tuple[int | None, str | None]]:
    """The strings to repair in a column's value, each with its place in the list (None: the value
    itself).

    Raises:
        TypeError: the value is no string, no list of strings, and no list of messages with role and
            content.
    """
    if value is None:
        return
    if isinstance(value, str):
        yield None, value
    elif isinstance(value, list):
        for place, item in enumerate(value):
            if (
                isinstance(item, dict)
                and isinstance(item.get("role"), str)
                and isinstance(item.get("content"), str | None)
            ):
                if item["role"] in roles:
                    yield place, item.get("content")
            elif isinstance(item, str):  # raw UltraChat: the user speaks first
                if ("user", "assistant")[place % 2] in roles:
                    yield place, item
            else:
                raise TypeError(f"message {place} has no role and content")
    else:
        raise TypeError(f"the column holds {type(value).__name__}")


def repair_lines(
    lines: list[bytes],
    first: int,
    column: str | None,
    columns: Sequence[str],
    roles: Sequence[str],
    truecaser: Truecaser,
) -> tuple[list[bytes], list[dict], ColumnReport]:
    """Repair a batch of lines.

    Args:
        lines: lines of JSON, with their line breaks.
        first: the number of the first line.
        column: the column to repair; None takes the first of ``columns`` that a row has.

    Returns:
        The lines to write (untouched ones byte for byte), the rows set aside (row, reason, detail,
            line), the counts.
    """
    rows: list[tuple[bytes, dict, str] | None] = []
    set_aside: list[dict] = []
    texts: list[str | None] = []
    owners: list[tuple[int, int | None]] = []
    for number, line in enumerate(lines):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise TypeError("the line is no object")
            name = column or next((name for name in columns if name in row), columns[0])
            if name not in row:
                raise KeyError(f"there is no column {name!r}")
            found = list(messages_of(row[name], roles))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = (
                "not JSON"
                if isinstance(error, ValueError)
                else "no such column"
                if isinstance(error, KeyError)
                else "not messages"
            )
            text = line.decode("utf-8", "replace").rstrip("\n")
            set_aside.append(
                {
                    "row": first + number,
                    "reason": reason,
                    "detail": str(error).strip("\"'"),
                    "line": text,
                }
            )
            rows.append(None)
            continue
        rows.append((line, row, name))
        texts += [text for _, text in found]
        owners += [(number, place) for place, _ in found]

    buffer = from_strings(texts)
    repair = truecaser.repair(buffer)
    mended = strings_with_edits(texts, buffer, repair.positions)
    report = ColumnReport(messages=len(texts), edits=len(repair.positions))
    for code, count in enumerate(np.bincount(repair.labels, minlength=len(LABELS)).tolist()):
        report.labels[LABELS[code]] += count
    changed = set()
    for old, new, (number, place) in zip(texts, mended, owners, strict=True):
        if new is old:
            continue
        report.altered += 1
        changed.add(number)
        _, row, name = rows[number]
        if place is None:
            row[name] = new
        elif isinstance(row[name][place], str):
            row[name][place] = new
        else:
            row[name][place]["content"] = new
    result = []
    for number, entry in enumerate(rows):
        if entry is None:
            continue
        line, row, _ = entry
        if number in changed:
            line = _as_line(row, line.isascii())
        result.append(line if line.endswith(b"\n") else line + b"\n")
    return result, set_aside, report


def _as_line(row: dict, ascii_only: bool) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=ascii_only).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair can only be written as an escape
        return json.dumps(row).encode() + b"\n"
