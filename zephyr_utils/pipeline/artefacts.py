"""Run folders: where artefacts lie, how they are made once, reused, resumed and stamped.

An artefact is a folder. ``manifest.json`` is written into it last, so a folder without a matching
manifest is not whole and is made again. ``in_progress.json`` marks a folder that somebody is
making, or was making when the process died: the same work started again finds its files (a training
finds its checkpoints) and goes on.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from zephyr_utils.errors import HandbookError
from zephyr_utils.files import (
    explain_full_disk,
    make_folder,
    plain_value,
    read_json,
    write_json,
)
from zephyr_utils.machine import code_versions, peak_memory, peak_memory_mb, release_memory
from zephyr_utils.pipeline.source import PACKAGE, code_digests

MANIFEST, IN_PROGRESS, METRICS = "manifest.json", "in_progress.json", "metrics.json"
# set where several chapters of one run are executed at once: one may wait for another
SIDE_BY_SIDE = "ZEPHYR_SIDE_BY_SIDE"
# written by the workflow and the chapter, not by make
NOT_PART_OF_AN_ARTEFACT = {MANIFEST, IN_PROGRESS, METRICS}


@dataclass(frozen=True)
class Manifest:
    """What is known of a finished artefact; ``manifest.json`` holds all fields but ``folder`` and
    ``reused``.
    """

    folder: Path
    key: str
    inputs: dict[str, str]
    recipe: dict[str, Any]
    versions: dict[str, str]
    code: dict[str, str]
    seed: int | None
    seconds: float
    peak_memory_mb: float
    rows: dict[str, int]
    results: dict[str, Any]
    files: dict[str, dict[str, Any]] = field(repr=False)
    resumed: bool = False
    reused: bool = False


# What a killed process was writing, by the names that safetensors and `files.atomic_write` give it.
HALF_WRITTEN = (".tmp??????", ".*.unfinished")
FIELDS = {part.name for part in dataclasses.fields(Manifest)} - {"folder", "reused"}


def runs_folder() -> Path:
    """Where all runs lie: $ZEPHYR_RUNS, else ``runs/`` at the root of the checkout around the
    working directory, else ``./runs``.
    """
    if chosen := os.environ.get("ZEPHYR_RUNS"):
        return Path(chosen).expanduser().resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder / "runs"
    return here / "runs"


def fingerprint(path_or_value: Any) -> str:
    """The sha256 of what a ``Path`` holds, or of a value written as JSON (a string is a value, not
    a path).

    A folder's fingerprint covers the relative names and the contents of its files. Contents are
    read once per (path, size, time of change).
    """
    if not isinstance(path_or_value, Path):
        text = json.dumps(plain_value(path_or_value), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    path = path_or_value
    if path.is_dir():
        names = sorted(
            file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()
        )
        return fingerprint({name: fingerprint(path / name) for name in names})
    try:
        status = path.stat()
    except OSError as error:
        remedy = "check the spelling, or make the file first"
        raise HandbookError(
            "there is no such file or folder", where=str(path), remedy=remedy
        ) from error
    return _file_hash(str(path.resolve()), status.st_size, status.st_mtime_ns)


@functools.cache
def _file_hash(path: str, size: int, changed_ns: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def build_artefact(
    folder: Path,
    *,
    inputs: dict[str, str],
    recipe: dict[str, Any],
    make: Callable[[Path], dict[str, Any]],
    code: Sequence[str] | None = None,
    together: bool = False,
) -> Manifest:
    """Return the manifest of ``folder``, making the artefact only if it is not there already.

    Args:
        folder: where the artefact lies. What else it holds is emptied before a new make.
        inputs: name -> ``fingerprint`` of everything the artefact is made from.
        recipe: every setting that changes the outcome; ``recipe["seed"]`` is shown in the manifest.
        make: fills the folder it is given and returns numbers to keep. It may find files of its own
            there: a process that died left them, and the inputs, the recipe and the versions are
            the same. If it returns ``rows_in``, ``rows_out`` and ``rows_set_aside``, they have to
            add up.
        code: dotted names of the package's modules that make the artefact; what they import
            belongs to it. None takes the module that defines `make`.
        together: of several processes started together (torchrun, accelerate) all call `make`, as a
            training wants; otherwise the first makes the artefact and the others wait for it.

    Raises:
        HandbookError: the disk is full, the folder holds somebody else's files, or rows vanished.
    """
    folder = Path(folder)
    parts = {
        "inputs": dict(inputs),
        "recipe": plain_value(recipe),
        "versions": code_versions(),
        "code": code_digests(_modules_of(make) if code is None else code),
    }
    key = fingerprint(parts)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK", "0") != "0":
        return _follow(folder, key, make if together else None)
    with explain_full_disk(folder), _one_at_a_time(folder):
        if manifest := _whole(folder, key):
            # The marker is still there if the process was killed between its last two steps.
            (folder / IN_PROGRESS).unlink(missing_ok=True)
            return manifest
        if reason := _stale_because(folder, parts):
            print(f"{folder.name}: made again, because {reason}", flush=True)
        resumed = _prepare(folder, key)
        started = time.perf_counter()
        results = plain_value(make(folder))
        release_memory()  # a training's, before the next stage begins in the same process
        rows = {name: count for name, count in results.items() if name.startswith("rows_")}
        _check_rows(rows, folder)
        manifest = Manifest(
            folder,
            key,
            **parts,
            seed=parts["recipe"].get("seed"),
            seconds=round(time.perf_counter() - started, 3),
            peak_memory_mb=peak_memory_mb(),
            rows=rows,
            results=results,
            files=_files_of(folder),
            resumed=resumed,
        )
        fields = dataclasses.asdict(manifest)
        write_json(
            folder / MANIFEST,
            {name: fields[name] for name in fields if name not in ("folder", "reused")},
        )
        (folder / IN_PROGRESS).unlink()
        return manifest


def _follow(folder: Path, key: str, make: Callable[[Path], dict[str, Any]] | None) -> Manifest:
    """A further process of one training: train along where it must, and wait for the first, which
    alone writes.

    If the first dies, the launcher ends this one too.
    """
    while not (manifest := _whole(folder, key)):
        if make and read_json(folder / IN_PROGRESS) == {"key": key, "state": "making"}:
            make(folder)
            make = None
        time.sleep(0.2)
    return manifest


def _whole(folder: Path, key: str) -> Manifest | None:
    """The manifest if it has this key and every file it lists is there, unchanged."""
    stored = read_json(folder / MANIFEST)
    if stored.get("key") != key or set(stored) != FIELDS or _damaged(folder, stored):
        return None
    return Manifest(folder=folder, reused=True, **stored)


def _damaged(folder: Path, stored: dict[str, Any]) -> str:
    """The first file that is missing or is not what was written; "" if there is none.

    A file is read once per process, so a flipped bit is noticed at the first use in a run.
    """
    for name, facts in stored["files"].items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != facts["size"] or fingerprint(path) != facts["sha256"]:
            return f"{name} was changed or damaged"
    return ""


def _stale_because(folder: Path, parts: dict[str, dict[str, Any]]) -> str:
    """Why a finished artefact cannot be used, in words; "" where there is none yet."""
    stored = read_json(folder / MANIFEST)
    if not stored:
        return ""
    if set(stored) != FIELDS:
        return "an earlier version of the handbook made it"
    for part, words in (
        ("code", "{} changed"),
        ("recipe", "`{}` has another value in the recipe"),
        ("inputs", "its input `{}` changed"),
        ("versions", "{} has another version"),
    ):
        then, now = stored[part], parts[part]
        names = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            return words.format(names[0]) + more
    return _damaged(folder, stored)


def _modules_of(make: Callable[..., Any]) -> list[str]:
    while isinstance(make, functools.partial):
        make = make.func
    module = make.__module__
    return [module] if module.split(".")[0] == PACKAGE.name else []


def _prepare(folder: Path, key: str) -> bool:
    """Make the folder ready for ``make``; true if it holds work of a killed run to go on with."""
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / IN_PROGRESS
    if read_json(marker) == {"key": key, "state": "making"}:
        for pattern in HALF_WRITTEN:
            for path in folder.rglob(pattern):
                path.unlink()
        return True
    held = {path.name for path in folder.iterdir()}
    if held - {METRICS} and not held & {MANIFEST, IN_PROGRESS}:
        raise HandbookError(
            "the folder holds files that the handbook did not make, and would have to be emptied",
            where=str(folder),
            remedy="name a new or an empty folder, or move those files away",
        )
    # Killed while emptying, a folder must not look like work to go on with: hence two states.
    write_json(marker, {"key": key, "state": "emptying"})
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != marker:
            path.unlink()
    write_json(marker, {"key": key, "state": "making"})
    return False


def _files_of(folder: Path) -> dict[str, dict[str, Any]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: {"size": path.stat().st_size, "sha256": fingerprint(path)}
        for name, path in names.items()
        if name not in NOT_PART_OF_AN_ARTEFACT and not path.name.startswith(".")
    }


def _check_rows(rows: dict[str, int], folder: Path) -> None:
    if {"rows_in", "rows_out", "rows_set_aside"} <= set(rows):
        missing = rows["rows_in"] - rows["rows_out"] - rows["rows_set_aside"]
        if missing:
            raise HandbookError(
                f"{rows['rows_in']} rows went in, {rows['rows_out']} came out and "
                f"{rows['rows_set_aside']} were set "
                f"aside: {missing} are not accounted for",
                where=str(folder),
                remedy="this is a fault of the handbook, not of your data: please report it with "
                "this message",
            )


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    make_folder(folder.parent, remedy="name a folder that you may write to (--runs, ZEPHYR_RUNS)")
    # Beside the folder, because the folder is emptied. The system releases the lock of a killed
    # process.
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if SIDE_BY_SIDE not in os.environ:  # else it would be printed into a chapter's page
            print(
                f"Process {os.getpid()} waits: another run is making {folder}.",
                flush=True,
            )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_metrics(folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """Write a chapter's ``metrics.json`` and return what was written.

    Numbers that are not finite become null; the peak memory of this process (MB) is added.
    """
    stamped = plain_value({**metrics, **peak_memory()})
    folder = Path(folder)
    with explain_full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / METRICS, stamped)
    return stamped


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics a chapter wrote into its folder."""
    if metrics := read_json(Path(folder) / METRICS):
        return metrics
    raise HandbookError(
        "there is no readable metrics.json: the chapter has not been run to its end",
        where=str(folder),
        remedy=f"run it: zephyr run --chapters {Path(folder).name[:2]}",
    )
