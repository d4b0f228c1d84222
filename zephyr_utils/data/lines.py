"""Rows of text files: JSON Lines, plain or compressed, and whole JSON files.

Lines are split at the byte ``\\n`` alone, before anything is decoded, because U+2028, U+2029 and
U+0085 may occur inside a JSON string, and because one line that cannot be decoded must not cost the
others.
"""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from zephyr_utils.data.file_kinds import BEGINNING, check_kind
from zephyr_utils.data.rows import (
    KEPT_OF_A_LONG_ROW,
    MAX_JSON_BYTES,
    MAX_ROW_BYTES,
    Row,
    broken_row,
    megabytes,
)
from zephyr_utils.data.strict_json import (
    LONG_NUMBER_REMEDY,
    REPEATED_KEY,
    RepeatedKey,
    long_number,
    marked_json,
    repeated_key,
    strict_json,
)
from zephyr_utils.errors import HandbookError

_SPREAD = re.compile(rb"\s*\{[ \t\r]*\n")  # an object that goes on in the next line
# A key, or an item of a list, at the start of a line.
_YAML = re.compile(r"---|- \S|[A-Za-z_][\w-]{0,60}:(?:\s|$)")
_SEVERAL = re.compile(r"\}\s*+,?\s*+\{")
MARK = b"\xef\xbb\xbf"  # a byte order mark; joined files have it in front of several lines


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, decompressed if its name ends in ``.gz``."""
    if path.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    return open(path, "rb")


def bounded_lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """Number, bytes and whether it is whole, of every line; of one longer than `MAX_ROW_BYTES` only
    the beginning is kept.
    """
    number = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        whole = len(line) <= MAX_ROW_BYTES or line.endswith(b"\n")
        beginning = line if whole else line[:KEPT_OF_A_LONG_ROW]
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_ROW_BYTES)
        yield number, beginning, whole


def line_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSONL file; of one that holds a single JSON list, its items."""
    number = 0
    try:
        with open_bytes(path) as stream:
            beginning = stream.read(BEGINNING).removeprefix(MARK)
        check_kind(path, beginning)
        if beginning.lstrip().startswith(b"[") and (rows := _list_rows(path)) is not None:
            yield from rows
            return
        with open_bytes(path) as stream:
            for number, line, whole in bounded_lines(stream):
                where = f"{path}, row {number}"
                if not whole:
                    yield too_long(where, line)
                elif (line := line.removeprefix(MARK)).strip():
                    yield parse_line(line, where)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield broken_row(
            f"{path}, row {number + 1}",
            "broken_file",
            f"the compressed file breaks off or is damaged ({error})",
            "fetch or write the file again",
        )


def json_rows(path: Path) -> Iterator[Row]:
    """The rows of a JSON file: the items of a list, one object, or one object a line."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise HandbookError(
            f"the file is larger than {megabytes(MAX_JSON_BYTES)}, and a .json file is read whole",
            where=str(path),
            remedy="write it as .jsonl, one object a line, which is read line by line",
        )
    data = path.read_bytes().removeprefix(MARK)
    check_kind(path, data)
    whole = _parse_whole(data, path)
    if whole.error is None:
        values = whole.value if isinstance(whole.value, list) else [whole.value]
        yield from _items(values, path)
    elif data.lstrip().startswith(b"{") and not _is_cut_short(data, whole.error.what):
        yield from line_rows(path)  # many sets keep one object a line in a file called .json
    else:
        what = whole.error.what.replace("the line", "the file")
        remedy = whole.error.remedy
        if "no complete JSON" in what:
            remedy = "the file may be cut short: write it again as one JSON list, or as .jsonl"
        yield broken_row(str(path), whole.error.reason, what, remedy)


def _is_cut_short(data: bytes, what: str) -> bool:
    """Whether one object spread over lines breaks off, as opposed to several objects."""
    return _SPREAD.match(data) is not None and "Extra data" not in what


def parse_line(line: bytes, where: str, parse: Callable[[str], Any] = strict_json) -> Row:
    """A row of JSON, or the row with what is wrong with it."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        what = f"invalid UTF-8 at byte {error.start + 1} of the line"
        readable = line.decode(errors="backslashreplace")
        return broken_row(where, "invalid_utf8", what, "write the file as UTF-8", readable)
    try:
        return Row(where, parse(text))
    except RepeatedKey as error:
        return _repeated(where, error, text)
    except (ValueError, RecursionError) as error:
        return broken_row(where, "broken_json", *json_problem(error, text), text)


def too_long(where: str, beginning: bytes) -> Row:
    """The row for a line beyond the limit."""
    return broken_row(
        where,
        "row_too_long",
        f"the line is longer than {megabytes(MAX_ROW_BYTES)}, the most that a row may have",
        "check that records are separated by line breaks, one JSON object a line",
        beginning.decode(errors="backslashreplace"),
    )


def _list_rows(path: Path) -> list[Row] | None:
    """The items of a JSON list in a file that is called JSONL; None if it is not one list."""
    with open_bytes(path) as stream:
        data = stream.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        return None
    whole = _parse_whole(data.removeprefix(MARK), path)
    if whole.error is not None or not isinstance(whole.value, list):
        return None
    if not all(isinstance(value, dict) for value in whole.value):
        return None
    return _items(whole.value, path)


def _parse_whole(data: bytes, path: Path) -> Row:
    """The value of a whole file. A key that is named twice costs the item that holds it alone."""
    whole = parse_line(data, str(path))
    if whole.error is not None and whole.error.reason == REPEATED_KEY:
        return parse_line(data, str(path), marked_json)
    return whole


def _items(values: list[Any], path: Path) -> list[Row]:
    """The items of a list in a file, as rows."""
    rows = []
    for number, value in enumerate(values, start=1):
        where, key = f"{path}, row {number}", repeated_key(value)
        row = Row(where, value) if key is None else _repeated(where, RepeatedKey(key), value)
        rows.append(row)
    return rows


def _repeated(where: str, error: RepeatedKey, value: Any) -> Row:
    remedy = "keep one of the two values; a reader of JSON takes the last one, whichever it is"
    return broken_row(where, REPEATED_KEY, str(error), remedy, value)


def json_problem(error: Exception, text: str) -> tuple[str, str]:
    """What is wrong with a line that Python does not read as JSON, and what to do about it.

    Args:
        error: what `json.loads` raised.
        text: the line.
    """
    if isinstance(error, RecursionError):
        return (
            "the line holds lists or objects that are nested too deeply to be read",
            "write the record without them, or as text (json.dumps)",
        )
    if not isinstance(error, json.JSONDecodeError) and (number := long_number(text)):
        return f"the line holds {number}", LONG_NUMBER_REMEDY
    at = (
        f" at character {error.pos + 1} of {len(text)}"
        if isinstance(error, json.JSONDecodeError)
        else ""
    )
    what = f"the line is not a complete JSON value: {getattr(error, 'msg', error)}{at}"
    return what, _line_remedy(text)


def _line_remedy(text: str) -> str:
    """What to do about a line that is not JSON, by what it looks like."""
    stripped = text.strip()
    if stripped.endswith(","):
        return "write one JSON object a line, without a comma after it"
    if "\r" in stripped:
        return "lines seem to end with a carriage return alone: write them with line feeds"
    if stripped in ("[", "]", "{", "}", "},"):
        return "one value is spread over several lines: write one JSON object a line"
    if stripped.startswith(("{'", "[{'")):
        return "the line is written as Python prints it: write it with json.dumps, not str"
    if _YAML.match(stripped):
        return "this looks like YAML: write each record as one JSON object a line"
    if not stripped.startswith(("{", "[", '"')):
        return "this is not JSON: a file of this name has one JSON object a line"
    if _SEVERAL.search(stripped) and _begins_whole(stripped):
        return "several values are in one line: put a line break between them"
    return "the line may be cut short: write it again, one JSON object a line"


def _begins_whole(text: str) -> bool:
    """Whether a whole JSON value begins the text."""
    try:
        json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return True
