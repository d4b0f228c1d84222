"""Rows from where they lie: JSONL, JSON, CSV, Parquet and Arrow files, folders of them, the Hub.

Everything is read row by row (a plain ``.json`` file aside), so a file may be larger than the
memory. `read_rows` yields each row with its address in words, and a row that cannot even be parsed
as a `RecordError`.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from zephyr_utils.data.hub import HubAddress, hub_rows
from zephyr_utils.data.lines import json_rows, line_rows
from zephyr_utils.data.rows import Row
from zephyr_utils.data.tables import arrow_rows, csv_rows, parquet_rows, saved_files
from zephyr_utils.errors import HandbookError

__all__ = ["SUFFIXES", "HubAddress", "Row", "read_rows"]

READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": line_rows,
    ".jsonl.gz": line_rows,
    ".parquet": parquet_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".csv.gz": csv_rows,
    ".tsv": csv_rows,
    ".arrow": arrow_rows,
}
SUFFIXES = tuple(READERS)

# Files that truecasing leaves beside its output.
_BESIDE = (".set_aside.jsonl", ".report.json")
_SPLIT = re.compile(r"(train|test|valid|validation|dev|eval)(?![a-z])", re.IGNORECASE)


def read_rows(source: "str | Path | HubAddress", *, limit: int | None = None) -> Iterator[Row]:
    """Yield the rows of a file, of a folder's files in the order of their names, or of a Hub
    dataset.

    In a folder, ``.json`` files count only if there is nothing else, because run folders keep their
    metrics and manifests as ``.json``. A folder that ``datasets`` wrote (``save_to_disk``) is read
    as the one dataset that it is.

    Raises:
        HandbookError: the source does not exist, is of no known kind, holds several splits, or the
            Hub cannot be reached. (A row that cannot be parsed is yielded with its error, not
            raised.)
    """
    rows = hub_rows(source, limit) if isinstance(source, HubAddress) else _path_rows(Path(source))
    for n, row in enumerate(rows):
        if limit is not None and n >= limit:
            return
        yield row


def _path_rows(path: Path) -> Iterator[Row]:
    try:
        for file in _files(path):
            yield from READERS[_suffix(file)](file)
    except OSError as error:
        raise HandbookError(
            f"the file cannot be read: {error.strerror or error}",
            where=str(error.filename or path),
            remedy="check its permissions and the disk",
        ) from error


def _suffix(path: Path) -> str:
    """The ending that says how to read a file, empty if it is none of ours."""
    name = path.name.lower()
    fitting = [suffix for suffix in SUFFIXES if name.endswith(suffix)]
    return max(fitting, key=len, default="")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return _folder_files(path)
    if not path.exists():
        raise HandbookError(
            "there is no such file or folder",
            where=str(path),
            remedy="check the path; it is read as seen from here: " + str(Path.cwd()),
        )
    if not _suffix(path):
        raise HandbookError(
            "this kind of file is not known",
            where=str(path),
            remedy=f"use a file ending in {', '.join(SUFFIXES)}",
        )
    return [path]


def _folder_files(folder: Path) -> list[Path]:
    saved = saved_files(folder)
    if saved is not None:
        return saved
    files = sorted(
        file
        for file in folder.iterdir()
        if _suffix(file)
        and not file.is_dir()
        and not file.name.startswith(".")
        and not file.name.endswith(_BESIDE)
    )
    data = [file for file in files if _suffix(file) != ".json"] or files
    if not data:
        inside = sorted(
            child.name for child in folder.iterdir() if child.is_dir() and _holds_files(child)
        )
        raise HandbookError(
            "the folder holds no file of records",
            where=str(folder),
            remedy=f"give {folder / inside[0]}, which does"
            if inside
            else f"give a folder with files ending in {', '.join(SUFFIXES)}",
        )
    splits = sorted({found[0].lower() for file in data if (found := _SPLIT.match(file.name))})
    if len(splits) > 1:
        raise HandbookError(
            f"the folder holds several splits: {', '.join(splits)}",
            where=str(folder),
            remedy="give one file, or a folder with the files of one split",
        )
    return data


def _holds_files(folder: Path) -> bool:
    return any(_suffix(file) for file in folder.iterdir())
