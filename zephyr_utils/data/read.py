"""Rows from where they lie: JSONL, JSON, CSV, Parquet and Arrow files, folders of them, the Hub.

Everything is read row by row (a plain ``.json`` file aside), so a file may be larger than the
memory. `read_rows` yields each row with its address in words, and a row that cannot even be parsed
as a `RecordError`.
"""

import filecmp
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from zephyr_utils.data.hub import HubAddress, hub_rows
from zephyr_utils.data.lines import json_rows, line_rows
from zephyr_utils.data.rows import Row
from zephyr_utils.data.tables import SAVED_NAMES, arrow_rows, csv_rows, parquet_rows, saved_files
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
# A split's name, as people and the Hub write it: my_train.jsonl, train_sft-00000-of-00003.parquet.
_SPLIT = re.compile(
    r"(?:^|[_.\- ])(train(?:ing)?|test(?:ing)?|valid|validation|val|dev|eval)"
    r"((?:_(?:sft|gen|prefs))?)(?![a-z])",
    re.IGNORECASE,
)
# A part of a set in the Hub's manner: train-00001-of-00003.parquet.
_SHARD = re.compile(r"(.{0,200}?)[-_.]?(\d{1,6})-of-(\d{1,6})\b.*")
_UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".aria2")
_SPLIT_NAMES = {"training": "train", "testing": "test", "valid": "validation", "val": "validation"}


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
    """The ending that says how to read a file, empty if it is not one of ours."""
    name = path.name.lower()
    fitting = [suffix for suffix in SUFFIXES if name.endswith(suffix)]
    return max(fitting, key=len, default="")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return _folder_files(path)
    if not path.exists():
        raise nothing_there(path)
    if not path.is_file():
        raise HandbookError(
            "this is a pipe or a device, and a file is read more than once",
            where=str(path),
            remedy="write what comes through it into a file first",
        )
    if path.name in SAVED_NAMES:
        raise HandbookError(
            "this file only describes a dataset that `datasets` saved",
            where=str(path),
            remedy=f"give its folder: {path.parent}",
        )
    if not _suffix(path):
        raise HandbookError(
            "this kind of file is not known",
            where=str(path),
            remedy=f"use a file ending in {', '.join(SUFFIXES)}",
        )
    return [path]


def nothing_there(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> HandbookError:
    """The error for a path without a file of records: it is missing, or a folder without one."""
    if not path.is_dir():
        return HandbookError(
            "there is no such file or folder", where=str(path), remedy=where_it_may_be(path)
        )
    folders = sorted(child for child in path.iterdir() if child.is_dir())
    inside = [c for c in folders if any(f.name.lower().endswith(suffixes) for f in c.iterdir())]
    return HandbookError(
        "the folder holds no file of records",
        where=str(path),
        remedy=f"give {inside[0]}, which does"
        if inside
        else f"give a folder with files ending in {', '.join(suffixes)}",
    )


def where_it_may_be(path: Path) -> str:
    """What to do about a path at which nothing is."""
    written = path.as_posix()
    if written.startswith("~"):
        return f"the ~ was not replaced: give {path.expanduser()}"
    if re.match(r"(?:https?|s3|gs|hf):/", written):
        return "only files on this machine are read: download it first"
    return "check the path; it is read as seen from here: " + str(Path.cwd())


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
        raise nothing_there(folder)
    _check_stems(data, folder)
    splits = sorted({split for file in data if (split := _split_of(file.name))})
    if len(splits) > 1:
        raise HandbookError(
            f"the folder holds several splits: {', '.join(splits)}",
            where=str(folder),
            remedy="give one file, or a folder with the files of one split",
        )
    _check_whole(folder, data)
    _check_copies(data, folder)
    return data


def _check_stems(files: list[Path], folder: Path) -> None:
    """Refuse one set in two formats, whose rows would count twice."""
    stems: dict[str, Path] = {}
    for file in files:
        other = stems.setdefault(file.name.lower().removesuffix(_suffix(file)), file)
        if other is not file:
            raise HandbookError(
                f"{other.name} and {file.name} look like one set in two formats, which would be "
                "read twice",
                where=str(folder),
                remedy="give one of the two files, or move one out of the folder",
            )


def _check_whole(folder: Path, files: list[Path]) -> None:
    """Refuse a folder from which parts are missing, as the names of its files say."""
    for file in sorted(folder.iterdir()):
        if file.name.lower().endswith(_UNFINISHED) and not file.name.startswith("."):
            raise HandbookError(
                f"{file.name} is a download that did not finish",
                where=str(folder),
                remedy="fetch it again, or move it out of the folder",
            )
    parts: dict[tuple[str, str], set[int]] = {}
    for file in files:
        if shard := _SHARD.fullmatch(file.name):
            parts.setdefault((shard[1], shard[3]), set()).add(int(shard[2]))
    for (stem, count), there in parts.items():
        numbers = range(1, int(count) + 1) if int(count) in there else range(int(count))
        missing = [number for number in numbers if number not in there]
        if missing:
            raise HandbookError(
                f"of the {int(count):,} parts of {stem} {len(missing):,} are missing, the first "
                f"of them number {missing[0]}",
                where=str(folder),
                remedy="fetch them, or give the files that you want one by one",
            )


def _check_copies(files: list[Path], folder: Path) -> None:
    """Refuse a file that appears in the folder twice, whose rows would count twice."""
    sizes: dict[int, list[Path]] = {}
    for file in files:
        if _SHARD.fullmatch(file.name):
            continue  # its number says that it is another part
        others = sizes.setdefault(file.stat().st_size, [])
        for other in others:
            if file.samefile(other) or filecmp.cmp(file, other, shallow=False):
                raise HandbookError(
                    f"{other.name} and {file.name} hold the same bytes, which would be read twice",
                    where=str(folder),
                    remedy="move one out of the folder",
                )
        others.append(file)


def _split_of(name: str) -> str:
    """The split that a file's name names, empty if none."""
    found = _SPLIT.search(name)
    if found is None:
        return ""
    split = found[1].lower()
    return _SPLIT_NAMES.get(split, split) + found[2].lower()
