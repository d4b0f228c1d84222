"""The files that hold a training log, as rows: JSON, JSON Lines, Parquet, CSV, a model card's
Markdown, TensorBoard's event files.
"""

import contextlib
import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zephyr_utils.data.fields import as_number
from zephyr_utils.data.file_kinds import BEGINNING, check_kind
from zephyr_utils.data.read import read_rows
from zephyr_utils.data.tables import check_delimiter, repeated_names
from zephyr_utils.diagnostics.event_files import read_event_rows
from zephyr_utils.diagnostics.log_columns import TrainingLogError, message_text
from zephyr_utils.errors import HandbookError

# Logs are text about a run: what is larger than this is something else, or would fill the memory.
_LARGEST = 256 * 2**20  # bytes, unpacked
_LONGEST_CELL = 2**16  # characters; numbers are far shorter
_KINDS = ".json, .jsonl, .csv, .tsv, .parquet, a model card (.md) or a TensorBoard event file"
_CANDIDATES = ("trainer_state.json", "trainer_log.jsonl", "logging.jsonl", "*tfevents*", "*.csv")
_EXPORT_HISTORY = (
    "export the run's history (wandb.Api().run(...).history() to CSV), or give the run's "
    "trainer_state.json."
)


@dataclass
class LogFile:
    """A file's rows, and what could not be read of it.

    Attributes:
        name: the file's name, fit to print.
        rows: the rows as they were read; each should be a mapping from column to value.
        unreadable: a sentence for each row that could not be read.
        remedy: what to do about the first row of JSON that could not be read.
        planned_steps: the optimiser steps the run was to take, where the file says so, else NaN.
    """

    name: str
    rows: list[object] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    planned_steps: float = math.nan
    remedy: str = ""


def read_log_file(path: Path) -> LogFile:
    """Read the rows of a log from a file.

    Raises:
        TrainingLogError: no such file, no file, of another kind, too large, damaged throughout, or
            it cannot be read.
    """
    file = LogFile(message_text(path.name))
    name = path.name.lower()
    try:
        _check_file(path)
        if "tfevents" in name:
            events = read_event_rows(_read_bytes(path))
            file.rows += events.rows
            file.unreadable += [events.damage] if events.damage else []
        elif name.endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
            _add_table(file, _text(file, _read_bytes(path)))
        elif name.endswith((".md", ".markdown")):
            _add_markdown(file, _text(file, _read_bytes(path)))
        elif name.endswith((".json", ".jsonl", ".jsonl.gz", ".parquet")):
            _add_records(file, path)
        else:
            _refuse_kind(file.name)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TrainingLogError(
            f"cannot be read ({message_text(reason)})",
            where=message_text(path),
            remedy="check the file, its permissions and the disk.",
        ) from error
    if file.unreadable and len(file.unreadable) >= len(file.rows):
        raise TrainingLogError(
            f"{len(file.unreadable)} of {len(file.rows) + len(file.unreadable)} rows cannot be "
            f"read: {file.unreadable[0]}",
            where=file.name,
            remedy=file.remedy or "the file may be damaged or cut short; copy or export it again.",
        )
    return file


def _check_file(path: Path) -> None:
    try:
        is_there, is_folder = path.exists(), path.is_dir()
    except ValueError as error:  # a NUL in the path
        raise OSError(str(error)) from error
    if is_folder:
        found = sorted(p.name for pattern in _CANDIDATES for p in path.glob(pattern))
        candidates = ", ".join(message_text(name) for name in found[:5])
        raise TrainingLogError(
            "this is a folder, not the file of a log",
            where=message_text(path),
            remedy=f"give the file: {candidates or 'trainer_state.json of a checkpoint'}.",
        )
    if not is_there:
        raise TrainingLogError(
            "there is no such file",
            where=message_text(path),
            remedy=f"check the path; it is read as seen from here: {message_text(Path.cwd())}",
        )
    if (size := path.stat().st_size) > _LARGEST:
        raise _too_large(path, f"{size / 2**20:,.0f} MiB")


def _too_large(path: Path, size: str) -> TrainingLogError:
    return TrainingLogError(
        f"{size} are more than any training log has (at most {_LARGEST >> 20} MiB are read)",
        where=message_text(path),
        remedy="give the log alone, without the rest of the run's output.",
    )


def _refuse_kind(name: str) -> None:
    if name.lower().endswith(".wandb"):
        raise TrainingLogError(
            "this is the binary run file of Weights & Biases", where=name, remedy=_EXPORT_HISTORY
        )
    raise TrainingLogError(
        "this kind of file is not read as a log", where=name, remedy=f"give a file of {_KINDS}."
    )


def _read_bytes(path: Path) -> bytes:
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise _too_large(path, "its unpacked contents")
    return bytes(data)


def _text(file: LogFile, data: bytes) -> str:
    with _as_log_error(file):
        check_kind(Path(file.name), data[:BEGINNING])
    # Bytes that are not UTF-8 become lone surrogates, by which their rows are recognised.
    return data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")


@contextlib.contextmanager
def _as_log_error(file: LogFile) -> Iterator[None]:
    try:
        yield
    except HandbookError as error:
        raise TrainingLogError(error.what, where=file.name, remedy=error.remedy) from None


def _is_decoded(cells: list[str]) -> bool:
    return not any("\ud800" <= c <= "\udfff" for cell in cells for c in cell)


def _add_table(file: LogFile, text: str) -> None:
    lines = [
        line
        for line in io.StringIO(text, newline="")
        if line.strip() and not line.lstrip().startswith("#")
    ]
    header_line = lines[0] if lines else ""
    delimiter = max(",;\t", key=header_line.count)
    try:
        header, *table = list(csv.reader(lines, delimiter=delimiter)) or [[]]
    except csv.Error as error:
        raise TrainingLogError(
            f"is not a table of numbers: {error}",
            where=file.name,
            remedy="look for a quotation mark that is not closed, or a cell with a whole text.",
        ) from error
    with _as_log_error(file):
        check_delimiter(header, file.name)
    _add_cells(file, header, table)


def _add_markdown(file: LogFile, text: str) -> None:
    """The table of a model card's "Training results": the first one with a loss."""
    tables: list[list[list[str]]] = [[]]
    for line in io.StringIO(text):
        if line.lstrip().startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            tables[-1].append(cells)
        elif tables[-1]:
            tables.append([])
    for table in tables:
        if table and any("loss" in cell.lower() for cell in table[0]):
            rule = 1 if len(table) > 1 and set("".join(table[1])) <= set(":- ") else 0
            return _add_cells(file, table[0], table[1 + rule :])
    raise TrainingLogError(
        "it holds no table with a loss",
        where=file.name,
        remedy="give the card with its section Training results, or the log itself.",
    )


def _add_cells(file: LogFile, header: list[str], table: list[list[str]]) -> None:
    names = [name.strip() for name in header]
    if repeated := repeated_names([name for name in names if name]):
        raise TrainingLogError(
            f"has several columns named {message_text(repeated[0])}",
            where=file.name,
            remedy="export one run only, and each curve once.",
        )
    if not _is_decoded(names):
        raise TrainingLogError(
            "the header is not UTF-8 text", where=file.name, remedy="save the file as UTF-8."
        )
    if any(names) and all(as_number(name) is not None for name in names if name):
        raise TrainingLogError(
            f"the first line is not a header, it holds numbers: {', '.join(names[:3])}",
            where=file.name,
            remedy="put a line in front of it that names the columns, such as step,loss.",
        )
    if [name.lower() for name in names] == ["wall time", "step", "value"]:
        raise TrainingLogError(
            "this is one curve downloaded from TensorBoard, without its name",
            where=file.name,
            remedy="give the event file itself (events.out.tfevents...), which has all curves.",
        )
    for number, cells in enumerate(table, start=1):
        if len(cells) != len(names):
            file.unreadable.append(f"row {number}: has a different number of cells from the header")
        elif not _is_decoded(cells):
            file.unreadable.append(f"row {number}: is not UTF-8 text")
        elif (longest := max(map(len, cells), default=0)) > _LONGEST_CELL:
            file.unreadable.append(f"row {number}: has a cell of {longest:,} characters")
        else:
            file.rows.append(dict(zip(names, cells, strict=True)))


def _add_records(file: LogFile, path: Path) -> None:
    for number, row in enumerate(read_rows(path), start=1):
        if row.error is None:
            file.rows.append(row.value)
        else:
            file.unreadable.append(f"row {number}: {message_text(row.error.what)}")
            file.remedy = file.remedy or row.error.remedy
    if len(file.rows) == 1 and isinstance(file.rows[0], Mapping):
        _unwrap(file, file.rows[0])
    histories = sum(isinstance(row, Mapping) and "log_history" in row for row in file.rows)
    if histories > 1:
        raise TrainingLogError(
            f"it holds the histories of {histories} runs",
            where=file.name,
            remedy="give one run's trainer_state.json.",
        )


def _unwrap(file: LogFile, whole: Mapping[str, object]) -> None:
    """One object instead of rows: trainer_state.json and its like, or columns as lists."""
    lists = {
        name: value
        for name, value in whole.items()
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value)
    }
    if isinstance(history := whole.get("log_history"), list):
        file.rows = list(history)
    elif len(lists) == 1:
        file.rows = list(next(iter(lists.values())))
    else:
        columns = {
            name: list(cells.values()) if isinstance(cells, Mapping) else cells
            for name, cells in whole.items()
        }
        lengths = {len(cells) if isinstance(cells, list) else -1 for cells in columns.values()}
        if len(lengths) == 1 and min(lengths) > 0:
            lists_of_cells = [cells for cells in columns.values() if isinstance(cells, list)]
            file.rows = [
                dict(zip(columns, cells, strict=True))
                for cells in zip(*lists_of_cells, strict=True)
            ]
    planned = as_number(whole.get("max_steps"))
    if planned is not None and planned > 0:  # -1 where the epochs say how long the run is
        file.planned_steps = planned
