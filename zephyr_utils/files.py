"""Files that are written whole or not at all: under a temporary name, flushed to the disk, renamed.

A reader meets the old file or the new one and never half of one, whatever kills the writer.
"""

import contextlib
import dataclasses
import errno
import hashlib
import itertools
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zephyr_utils.errors import HandbookError

LONGEST_NAME = 255  # bytes that file systems allow in a name
_numbers = itertools.count()  # two threads that write the same file must not share a temporary one


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; renamed at the end, removed on any error.

    The folder is made if it is missing. The temporary name is ``.NAME.PID-N.unfinished``, so that
    what a killed process left behind can be found by ``.NAME.*.unfinished``.

    Raises:
        HandbookError: the disk is full, the folder cannot be made or written to, a part of the path
            is a file, or a name in it is too long. An ``OSError`` about another file (one that is
            read on the way) passes as it is.
    """
    path = Path(path)
    _check_name(path)
    unfinished = _temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with open(unfinished, "rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        if not _is_about(error, path, unfinished):
            raise
        raise HandbookError(
            f"the file cannot be written: {error.strerror or error}",
            where=str(path),
            remedy="free some space, or choose a folder that you may write to and a short name",
        ) from error
    finally:
        # Where the name itself is refused there is nothing to remove, and asking raises again.
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


class _Abandoned(Exception):
    """Leaves a file that was only begun to see whether it can be."""


def check_writable(path: str | Path) -> None:
    """See that a file can be written, before work whose result would be lost.

    Raises:
        HandbookError: as `atomic_write`.
    """
    with contextlib.suppress(_Abandoned), atomic_write(path) as unfinished:
        unfinished.touch()
        raise _Abandoned


def existing_path(name: str | Path) -> Path | None:
    """A name as a path, if something is there; one that no file system takes is not a path."""
    path = Path(name)
    try:
        path.stat()
    except (OSError, ValueError):
        return None
    return path


def make_folder(folder: str | Path, *, remedy: str) -> Path:
    """Make a folder and see that it can be written to, before work whose result would be lost.

    Raises:
        HandbookError: it cannot be.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Path(folder)
    except (OSError, ValueError) as error:  # ValueError: a NUL, half of a surrogate pair
        raise HandbookError(
            f"the folder cannot be written to: {getattr(error, 'strerror', None) or error}",
            where=str(folder),
            remedy=remedy,
        ) from error


def write_text(path: str | Path, text: str) -> Path:
    """Write a text as UTF-8, whole or not at all; returns the path.

    Half of a surrogate pair, which UTF-8 cannot hold, is written as its escape (``\\ud83d``): a
    report must not be lost for one broken character in a record.

    Raises:
        HandbookError: as `atomic_write`.
    """
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(text.encode("utf-8", errors="backslashreplace"))
    return Path(path)


def write_json(path: str | Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a value as strict JSON (no NaN, no infinity), whole or not at all.

    Raises:
        HandbookError: as `atomic_write`, or the value is not one that JSON can hold.
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise HandbookError(
            f"the value cannot be written as JSON: {error}",
            where=str(path),
            remedy="give text, finite numbers, lists and objects only",
        ) from error
    write_text(path, text + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds; empty if the file is missing or holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def plain_value(value: Any) -> Any:
    """A value as JSON can hold it: array scalars become numbers, numbers that are not finite None.

    Raises:
        TypeError: a value that is not one of these, such as a function.
    """
    if isinstance(value, dict):
        return {str(name): plain_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(inner) for inner in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain_value(dataclasses.asdict(value))
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None  # np.float64 is a float, too
    if hasattr(value, "tolist"):  # numpy and torch, scalars too
        return plain_value(value.tolist())
    raise TypeError(
        f"{type(value).__name__} cannot be kept in a manifest: give a number, a string, a list or "
        f"a dict"
    )


@contextlib.contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left on device", from whichever library, into an error that says where and
    what to do.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, HandbookError) or not _is_full_disk(error):
            raise
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free / 2**20
        raise HandbookError(
            f"the disk is full: {free:.0f} MB are free",
            where=str(folder),
            remedy="free some space, or set ZEPHYR_RUNS to a folder on a larger disk, and start "
            "the same command again",
        ) from error


def _is_full_disk(error: Exception) -> bool:
    # safetensors and torch report it in words, as errors of their own that are not OSError.
    words = ("No space left on device", "PytorchStreamWriter failed writing")
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or any(word in str(error) for word in words)


def _check_name(path: Path) -> None:
    try:
        refused = b"\0" in os.fsencode(path)
    except UnicodeEncodeError:  # half of a surrogate pair
        refused = True
    if refused:
        raise HandbookError(
            "the file cannot be written: its name holds a character that no file system takes",
            where=repr(str(path)),
            remedy="choose another name",
        )


def _temporary_name(path: Path) -> Path:
    ending = f".{os.getpid()}-{next(_numbers)}.unfinished"
    name = path.name
    fits = LONGEST_NAME - len(ending) - 1
    if fits < len(os.fsencode(name)) <= LONGEST_NAME:  # a long name that is still allowed
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}{ending}")


def _is_about(error: OSError, path: Path, unfinished: Path) -> bool:
    if error.filename is None:  # raised in writing, such as by a full disk
        return True
    named = Path(os.fsdecode(error.filename))
    return named in (path, unfinished) or path.is_relative_to(named) or named == Path()
