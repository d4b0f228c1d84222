"""Rows of tables: CSV, Parquet, and the Arrow files that ``datasets`` saves."""

import csv
import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zephyr_utils.data.fields import as_number
from zephyr_utils.data.file_kinds import BEGINNING, check_kind, check_table_kind
from zephyr_utils.data.lines import MARK, bounded_lines, open_bytes
from zephyr_utils.data.rows import MAX_ROW_BYTES, Row, broken_row, megabytes
from zephyr_utils.errors import HandbookError

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = ",;\t"
# What separates cells elsewhere, and a name as it is between such signs.
_OTHER_DELIMITERS = {"|": "|", "^": "^", "\x01": "\\x01", "  ": "blanks"}
_NAME = re.compile(r"\s*+[\"']?[A-Za-z_][\w ./-]{0,40}[\"']?\s*+")
BATCH_BYTES = 64 << 20  # of a table that are turned into Python's objects at once
BATCH_ROWS = 512
SAVED_STATE, SAVED_SPLITS = "state.json", "dataset_dict.json"
SAVED_NAMES = (SAVED_STATE, SAVED_SPLITS, "dataset_info.json")


# --- CSV ---------------------------------------------------------------------------------------


def csv_rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV file with a header: commas, semicolons or tabs, UTF-8.

    Every value is text; an empty cell counts as missing. What a broken quotation mark leaves of the
    file is not read, because nobody can tell rows from cells there.

    Raises:
        HandbookError: the header is missing, or names a column twice.
    """
    number = 1
    try:
        with open_bytes(path) as stream:
            beginning = stream.read(BEGINNING).removeprefix(MARK)
        check_kind(path, beginning)
        first = beginning.partition(b"\n")[0].decode(errors="replace")
        delimiter = max(DELIMITERS, key=first.count)
        csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))  # Python's own is 128 kB
        with open_bytes(path) as stream:
            reader = csv.reader(_decoded(stream), delimiter=delimiter, strict=True)
            header = next(reader, [])
            _check_header(header, path)
            for cells in reader:
                number += 1
                if cells:
                    yield _csv_row(header, cells, f"{path}, row {number}")
    except csv.Error as error:
        too_large = "field larger than" in str(error)
        what = (
            f"a cell is longer than {megabytes(MAX_ROW_BYTES)}, the most that a row may have"
            if too_large
            else f"the table is broken here ({error}); the rest of the file is not read"
        )
        remedy = "look for a quotation mark that is never closed, or save as JSONL or Parquet"
        if "new-line character" in str(error):
            what = "lines end with a carriage return alone; the rest of the file is not read"
            remedy = "write them with line feeds"
        yield broken_row(f"{path}, row {number + 1}", "broken_csv", what, remedy)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield broken_row(
            f"{path}, row {number + 1}",
            "broken_file",
            f"the compressed file breaks off or is damaged ({error})",
            "fetch or write the file again",
        )


def _decoded(stream: Any) -> Iterator[str]:
    for _, line, whole in bounded_lines(stream):
        if not whole:
            raise csv.Error("field larger than field limit")
        yield line.removeprefix(MARK).decode(errors="surrogateescape")


def check_delimiter(header: list[str], where: str) -> None:
    """Refuse a table whose cells another sign than `DELIMITERS` separates.

    Raises:
        HandbookError: the first line is one cell, and names several columns.
    """
    for sign, shown in _OTHER_DELIMITERS.items() if len(header) == 1 else ():
        names = header[0].strip().split(sign)
        if len(names) > 1 and all(_NAME.fullmatch(name) for name in names if name.strip()):
            raise HandbookError(
                f"its cells are separated by {shown}; only commas, semicolons and tabs are read",
                where=where,
                remedy="write the table with commas (pandas: read_csv(FILE, sep=SIGN).to_csv(FILE, "
                "index=False)), or as JSONL",
            )


def _check_header(header: list[str], path: Path) -> None:
    if header and re.fullmatch(r"sep=.?", header[0].strip(), re.IGNORECASE):
        raise HandbookError(
            "the first line is a note for Excel (sep=), not a header",
            where=str(path),
            remedy="remove that line",
        )
    check_delimiter(header, str(path))
    filled = [name for name in header if name.strip()]
    numbers = [name for name in filled if as_number(name) is not None]
    if numbers and 2 * len(numbers) >= len(filled):
        raise HandbookError(
            f"the first line is not a header, it holds numbers: {', '.join(numbers[:3])}",
            where=str(path),
            remedy="put a line in front of it that names the columns, such as "
            "prompt,chosen,rejected",
        )
    repeated = repeated_names(header)
    if not any(header) or repeated:
        what = f"the header names {repeated[0]!r} twice" if repeated else "it has no header"
        raise HandbookError(
            what,
            where=str(path),
            remedy="the first line names the columns, such as prompt,chosen,rejected",
        )


def _csv_row(header: list[str], cells: list[str], where: str) -> Row:
    if len(cells) != len(header):
        return broken_row(
            where,
            "broken_csv",
            f"the row has {len(cells)} cells under {len(header)} columns",
            "put texts with commas, quotation marks or line breaks in quotation marks",
            cells,
        )
    value = {name: cell or None for name, cell in zip(header, cells, strict=True)}
    try:
        for cell in cells:
            cell.encode()
    except UnicodeEncodeError:  # surrogateescape leaves a mark of each byte that is not UTF-8
        what = "invalid UTF-8 in the row"
        return broken_row(where, "invalid_utf8", what, "write the file as UTF-8", value)
    return Row(where, value)


# --- Parquet and Arrow -------------------------------------------------------------------------


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file, a batch at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        check_table_kind(path, b"PAR1")
        with pq.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, path)
            meta = file.metadata
            size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            rows = max(1, min(BATCH_ROWS, BATCH_BYTES * max(meta.num_rows, 1) // max(size, 1)))
            for batch in file.iter_batches(batch_size=rows):
                for row in batch_rows(batch, path, number):
                    number += 1
                    yield row
    except (pa.ArrowException, OSError) as error:
        yield _damaged(f"{path}, row {number + 1}", "Parquet", error)


def arrow_rows(path: Path) -> Iterator[Row]:
    """The rows of an Arrow file, in the stream or the file format."""
    import pyarrow as pa

    number = 0
    try:
        check_table_kind(path, b"ARROW1")
        with pa.memory_map(str(path)) as source:
            try:
                reader = pa.ipc.open_stream(source)
            except pa.ArrowInvalid:
                source.seek(0)
                file = pa.ipc.open_file(source)
                batches = (file.get_batch(i) for i in range(file.num_record_batches))
                schema = file.schema
            else:
                batches, schema = iter(reader), reader.schema
            _check_columns(schema.names, path)
            for batch in batches:
                for start in range(0, len(batch), BATCH_ROWS):
                    for row in batch_rows(batch.slice(start, BATCH_ROWS), path, number):
                        number += 1
                        yield row
    except (pa.ArrowException, OSError) as error:
        yield _damaged(f"{path}, row {number + 1}", "Arrow", error)


def batch_rows(batch: "pa.RecordBatch", path: Path, before: int) -> Iterator[Row]:
    """The rows of a batch, of which ``before`` was in front of it.

    A value that Python cannot hold (a date in the year 60,000, bytes that are not UTF-8) costs its
    row alone; a date outside of any message is passed over.
    """
    import pyarrow as pa

    try:
        # Arrow's way to turn maps into objects takes five times as long.
        has_maps = "map<" in str(batch.schema)
        values = batch.to_pylist(maps_as_pydicts="strict") if has_maps else batch.to_pylist()
    except (ValueError, KeyError, OverflowError, pa.ArrowException):
        yield from _one_by_one(batch, path, before)
        return
    for number, value in enumerate(values, start=before + 1):
        yield Row(f"{path}, row {number}", value)


def _one_by_one(batch: "pa.RecordBatch", path: Path, before: int) -> Iterator[Row]:
    import pyarrow as pa

    for i in range(len(batch)):
        where, value, problem = f"{path}, row {before + i + 1}", {}, ""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                value[name] = column[i].as_py(maps_as_pydicts="strict")
            except (ValueError, KeyError, OverflowError, pa.ArrowException) as error:
                if not pa.types.is_temporal(column.type):
                    problem = f"the field {name} cannot be read: {error}"
        if problem:
            remedy = "correct the value, or remove the row"
            yield broken_row(where, "unreadable_value", problem, remedy, value)
        else:
            yield Row(where, value)


def repeated_names(names: Sequence[str]) -> list[str]:
    """The names that occur more than once, sorted."""
    return sorted(name for name, times in Counter(names).items() if times > 1)


def _check_columns(names: list[str], path: Path) -> None:
    if repeated := repeated_names(names):
        raise HandbookError(
            f"the table has two columns called {repeated[0]!r}",
            where=str(path),
            remedy="rename or remove one of them",
        )


def _damaged(where: str, kind: str, error: Exception) -> Row:
    lines = str(error).splitlines()
    what = f"the {kind} file is damaged or not one: {lines[0] if lines else type(error).__name__}"
    return broken_row(where, "broken_file", what, "fetch or write the file again")


# --- folders of datasets -----------------------------------------------------------------------


def saved_files(folder: Path) -> list[Path] | None:
    """The Arrow files of a folder that ``datasets`` wrote by ``save_to_disk``; None for any other.

    Raises:
        HandbookError: the folder holds several splits, or its list of files is damaged.
    """
    if (folder / SAVED_SPLITS).is_file():
        splits = _described(folder / SAVED_SPLITS, "splits")
        if len(splits) != 1:
            raise HandbookError(
                f"the folder holds a dataset with the splits {', '.join(splits) or '(none)'}",
                where=str(folder),
                remedy="name one of them: " + " or ".join(str(folder / name) for name in splits),
            )
        return saved_files(folder / Path(splits[0]).name)
    if not (folder / SAVED_STATE).is_file():
        return None
    files = _described(folder / SAVED_STATE, "_data_files")
    # Only names: the list must not lead out of the folder.
    return [folder / Path(name).name for name in files]


def _described(path: Path, field: str) -> list[str]:
    try:
        listed = json.loads(path.read_bytes())[field]
        return [str(item["filename"] if isinstance(item, dict) else item) for item in listed]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise HandbookError(
            f"the folder looks as if `datasets` had saved it, but {path.name} cannot be read",
            where=str(path),
            remedy="save the dataset again: dataset.save_to_disk(folder)",
        ) from error
