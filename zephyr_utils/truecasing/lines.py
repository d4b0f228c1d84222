"""Rows of JSONL: the lines with their messages repaired, and all else byte for byte as it came."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zephyr_utils.data.lines import MARK, json_problem
from zephyr_utils.data.rows import MAX_ROW_BYTES, megabytes
from zephyr_utils.data.strict_json import RepeatedKey, strict_json
from zephyr_utils.truecasing.arrays import from_strings, strings_with_edits
from zephyr_utils.truecasing.content import BROKEN_STRUCTURE, LocatedText, RowError
from zephyr_utils.truecasing.dialogue import NO_COLUMN, MessageFinder
from zephyr_utils.truecasing.literals import Change, changed_literal
from zephyr_utils.truecasing.model import Truecaser
from zephyr_utils.truecasing.reports import ColumnReport

NOT_JSON, NOT_UTF8, TOO_LONG = "not JSON", "not UTF-8", "line too long"
KEY_TWICE = "a key twice"


class Line(NamedTuple):
    """A line as it was read: its number from 1, its bytes, and whether these are all of it."""

    number: int
    content: bytes
    whole: bool = True


class BadLine(NamedTuple):
    """A line that is set aside."""

    row: int
    reason: str
    detail: str
    line: str


def read_line(line: Line, finder: MessageFinder) -> tuple[str, list[LocatedText]]:
    """The text of a line, and the messages in it to repair.

    Raises:
        RowError: the line cannot be read, or holds no messages.
    """
    if not line.whole:
        raise RowError(TOO_LONG, f"longer than {megabytes(MAX_ROW_BYTES)}; only its start is kept")
    try:
        # Half of a surrogate pair in three bytes is not UTF-8, and yet some tools write it.
        text = line.content.removeprefix(MARK).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise RowError(NOT_UTF8, f"{error.reason} at byte {error.start + 1} of the line") from error
    try:
        row = strict_json(text)
    except RepeatedKey as error:
        raise RowError(KEY_TWICE, str(error)) from error
    except (ValueError, RecursionError) as error:
        raise RowError(NOT_JSON, _broken(error, text)) from error
    return text, finder.in_row(row)


def repair_lines(
    lines: Sequence[Line], finder: MessageFinder, truecaser: Truecaser, report: ColumnReport
) -> tuple[list[bytes], list[BadLine]]:
    """Repair a batch of lines.

    Args:
        lines: lines of JSON, with their line breaks.
        finder: says which texts are messages.
        truecaser: the fitted truecaser.
        report: counts are added to it.

    Returns:
        The lines to write, each with a line break, and those set aside.
    """
    rows: list[tuple[Line, str, list[LocatedText]]] = []
    set_aside: list[BadLine] = []
    for line in lines:
        try:
            rows.append((line, *read_line(line, finder)))
        except RowError as error:
            set_aside.append(bad_line(line, error))
    located = [message for _, _, messages in rows for message in messages]
    texts = [message.text for message in located]
    buffer = from_strings(texts)
    repair = truecaser.repair(buffer)
    repaired = strings_with_edits(texts, buffer, repair.positions)
    report.add_repair(repair, buffer)

    changes: dict[int, list[Change]] = defaultdict(list)
    owners = np.repeat(np.arange(len(rows)), [len(messages) for _, _, messages in rows])
    for owner, message, new in zip(owners.tolist(), located, repaired, strict=True):
        if new is not message.text:
            changes[owner].append(Change(message.path, message.text, new))
    written: list[bytes] = []
    for number, (line, text, _) in enumerate(rows):
        content = line.content
        if number in changes:
            try:
                content = _with_changes(content, text, changes[number])
            except ValueError as error:
                set_aside.append(bad_line(line, RowError(BROKEN_STRUCTURE, str(error))))
                continue
        written.append(content if content.endswith(b"\n") else content + b"\n")
    return written, sorted(set_aside)


def likely_cause(reason: str, detail: str, line: str) -> str:
    """What is probably wrong with a file, by the first of its rows that were set aside.

    Args:
        reason, detail, line: as in `BadLine`.
    """
    if line.lstrip().startswith("["):
        return "the file is a JSON list rather than JSON Lines: write one object a line"
    if reason == NO_COLUMN:
        return f"rename the column of the answers to one that is known: {detail}"
    return f"the first of them: {detail}"


def bad_line(line: Line, error: RowError) -> BadLine:
    """A line as it is set aside."""
    content = line.content.decode("utf-8", "backslashreplace").rstrip("\n")
    return BadLine(line.number, error.reason, error.detail, content)


def _with_changes(line: bytes, text: str, changes: list[Change]) -> bytes:
    mark = MARK if line.startswith(MARK) else b""
    changed = changed_literal(text, changes, is_json=True)
    return mark + changed.encode("utf-8", "surrogatepass")


def _broken(error: Exception, text: str) -> str:
    return "; ".join(json_problem(error, text)) if text.strip() else "the line is empty"
