"""One file: its rows read in batches, repaired and written in the same format, in constant memory;
or its messages read, to fit on.
"""

import errno
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zephyr_utils.data.file_kinds import BEGINNING, check_kind, check_table_kind
from zephyr_utils.data.lines import bounded_lines, open_bytes
from zephyr_utils.data.tables import batch_rows
from zephyr_utils.errors import HandbookError, first_line
from zephyr_utils.truecasing.content import RowError
from zephyr_utils.truecasing.dialogue import MessageFinder
from zephyr_utils.truecasing.lines import BadLine, Line, bad_line, read_line, repair_lines
from zephyr_utils.truecasing.model import Truecaser
from zephyr_utils.truecasing.reports import FileReport
from zephyr_utils.truecasing.tables import Repairer, walk_batch

BATCH_ROWS = 1024
BATCH_BYTES = 4 << 20
Advance = Callable[[int], None]  # gets the bytes of the input done so far


class Rewriter:
    """Repairs one file.

    Args:
        path: the input.
        finder: says which texts are messages.
        truecaser: the fitted truecaser.
        advance: called with the bytes done so far.

    Attributes:
        report: the counts.
    """

    def __init__(
        self, path: Path, finder: MessageFinder, truecaser: Truecaser, advance: Advance
    ) -> None:
        self.path, self.finder, self.truecaser, self.advance = path, finder, truecaser, advance
        self.report = FileReport(input_bytes=path.stat().st_size)

    def rewrite(self, output: Path, set_aside: Path) -> None:
        """Write the repaired rows to one file and the rows that are left out to the other.

        Raises:
            HandbookError: the input is damaged, or its columns hold no messages.
        """
        with open(set_aside, "w", encoding="ascii") as aside, readable(self.path):
            if is_lines(self.path):
                self._lines(output, aside)
            else:
                self._batches(output, aside)
        self.report.unknown_roles.update(self.finder.unknown_roles)

    def _lines(self, output: Path, aside: IO[str]) -> None:
        packed = self.path.name.lower().endswith(".gz")
        _check_lines(self.path)
        with (
            open(self.path, "rb") as raw,
            gzip.open(raw) if packed else raw as source,
            _sink(output, packed=packed) as sink,
        ):
            for lines in _line_batches(cast(IO[bytes], source)):
                written, bad = repair_lines(lines, self.finder, self.truecaser, self.report)
                sink.write(b"".join(written))
                self.report.rows += len(lines)
                for item in bad:
                    self._leave_out(aside, item.row, item.reason, item.detail, item.line)
                self.advance(raw.tell())

    def _batches(self, output: Path, aside: IO[str]) -> None:
        visitor = Repairer(self.truecaser, self.report)
        with open_table(self.path) as table, table.writer(output) as sink:
            for batch in table.batches():
                before = self.report.rows
                repaired, refused = walk_batch(batch, self.finder, visitor)
                if refused:
                    for row, error in sorted(refused.items()):
                        text = _as_text(batch.slice(row, 1), self.path, before + row)
                        self._leave_out(aside, before + row + 1, error.reason, error.detail, text)
                    kept = np.setdiff1d(np.arange(len(batch)), list(refused))
                    repaired = repaired.take(pa.array(kept))
                sink.write_batch(repaired)
                self.report.rows += len(batch)
                self.advance(table.bytes_read(self.report.rows))

    def _leave_out(self, aside: IO[str], row: int, reason: str, detail: str, text: str) -> None:
        self.report.set_aside[reason] += 1
        item = {
            "where": f"{self.path.name}, row {row}",
            "reason": reason,
            "detail": detail,
            "line": text,
        }
        aside.write(json.dumps(item) + "\n")


class Collector:
    """Keeps the messages that it is handed, and changes none."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def strings(self, array: pa.Array, chosen: np.ndarray) -> pa.Array:
        """Keep the chosen strings but those that are not UTF-8."""
        for scalar in array.filter(pa.array(chosen)):
            try:
                self.kept.append(scalar.as_py() or "")
            except UnicodeDecodeError:
                continue  # the pass over the file leaves it as it is
        return array

    def texts(self, texts: list[str]) -> list[str]:
        """Keep all of them."""
        self.kept += texts
        return texts


def file_messages(path: Path, finder: MessageFinder, refused: list[BadLine]) -> Iterator[str]:
    """The messages of a file that would be repaired; rows that cannot be read are passed over, for
    the pass over the file counts them.

    Args:
        path: the file.
        finder: says which texts are messages.
        refused: gets the first row that cannot be read.

    Raises:
        HandbookError: the file is damaged, or its columns hold no messages.
    """
    with readable(path):
        if is_lines(path):
            _check_lines(path)
            with open_bytes(path) as source:
                for line in map(Line._make, bounded_lines(source)):
                    try:
                        _, messages = read_line(line, finder)
                    except RowError as error:
                        refused += [] if refused else [bad_line(line, error)]
                        continue
                    yield from (message.text for message in messages if message.text)
            return
        with open_table(path) as table:
            for batch in table.batches():
                collector = Collector()
                _, errors = walk_batch(batch, finder, collector)
                for row, found in sorted(errors.items())[: 0 if refused else 1]:
                    refused.append(BadLine(row + 1, found.reason, found.detail, ""))
                yield from filter(None, collector.kept)


def _check_lines(path: Path) -> None:
    """Refuse what is not text in UTF-8."""
    with open_bytes(path) as source:
        check_kind(path, source.read(BEGINNING))


def is_lines(path: Path) -> bool:
    """Whether a file is one of JSON Lines."""
    return path.name.lower().endswith((".jsonl", ".jsonl.gz"))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what reading a file raises into a message about that file.

    Raises:
        HandbookError: it cannot be opened, breaks off or is damaged.
    """
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = f"the compressed file is damaged ({error})"
        raise HandbookError(what, where=str(path), remedy="fetch the file again") from error
    except (pa.ArrowException, UnicodeError) as error:
        kind = "Arrow" if path.name.lower().endswith(".arrow") else "Parquet"
        what = f"the {kind} file cannot be read or written ({first_line(error)})"
        raise HandbookError(what, where=str(path), remedy="fetch the file again") from error
    except OSError as error:
        other = error.filename is not None and Path(error.filename) != path
        if other or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise  # about another file, such as the output
        what = f"the file cannot be read or written: {error.strerror or first_line(error)}"
        raise HandbookError(
            what, where=str(path), remedy="check its permissions and the disk, or fetch it again"
        ) from error


# --- lines -------------------------------------------------------------------------------------


@contextmanager
def _sink(output: Path, *, packed: bool) -> Iterator[IO[bytes]]:
    with open(output, "wb") as plain:
        if packed:
            # Neither name nor time in the header, so that equal rows are equal bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) as sink:
                yield sink  # type: ignore[misc]  # it has write(), which is all that is used
        else:
            yield plain


def _line_batches(source: IO[bytes]) -> Iterator[list[Line]]:
    lines: list[Line] = []
    held = 0
    for number, content, whole in bounded_lines(source):
        lines.append(Line(number, content, whole))
        held += len(content)
        if held >= BATCH_BYTES:
            yield lines
            lines, held = [], 0
    if lines:
        yield lines


# --- tables ------------------------------------------------------------------------------------


class BatchWriter(Protocol):
    """What writes record batches, in Parquet as in Arrow's own formats."""

    def write_batch(self, batch: pa.RecordBatch) -> None: ...


class Table(Protocol):
    """A file of record batches, open to be read."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in batches."""

    def writer(self, output: Path) -> AbstractContextManager[BatchWriter]:
        """What writes batches to a file of the same format."""

    def bytes_read(self, rows: int) -> int:
        """How much of the file so many rows are."""


class ParquetTable:
    """A Parquet file.

    Timestamps in the old form of 96 bits are read in microseconds, which hold every year that
    people write; nanoseconds end in 2262 and would wrap around.
    """

    def __init__(self, file: pq.ParquetFile, size: int) -> None:
        self.file, self.size = file, size

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in batches of `BATCH_ROWS`."""
        return self.file.iter_batches(BATCH_ROWS)

    def writer(self, output: Path) -> AbstractContextManager[BatchWriter]:
        """A Parquet file with the same schema and compression."""
        meta = self.file.metadata
        codec = meta.row_group(0).column(0).compression if meta.num_row_groups else "SNAPPY"
        codec = "NONE" if codec == "UNCOMPRESSED" else codec
        return pq.ParquetWriter(output, self.file.schema_arrow, compression=codec)

    def bytes_read(self, rows: int) -> int:
        """The share of the file that the rows are of all rows."""
        return self.size * rows // max(1, self.file.metadata.num_rows)


class ArrowTable:
    """An Arrow file in the stream format, as ``datasets`` writes it, or in the file format."""

    def __init__(self, source: pa.NativeFile) -> None:
        self.source = source
        try:
            self.reader, self.open_writer = pa.ipc.open_stream(source), pa.ipc.new_stream
        except pa.ArrowInvalid:
            source.seek(0)
            self.reader, self.open_writer = pa.ipc.open_file(source), pa.ipc.new_file

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches as they were written."""
        if isinstance(self.reader, pa.ipc.RecordBatchFileReader):
            return (self.reader.get_batch(i) for i in range(self.reader.num_record_batches))
        return iter(self.reader)

    def writer(self, output: Path) -> AbstractContextManager[BatchWriter]:
        """A file with the same schema, in the same of the two formats."""
        return self.open_writer(str(output), self.reader.schema)

    def bytes_read(self, rows: int) -> int:
        """How far the file is read."""
        return self.source.tell()


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """A Parquet or Arrow file, open to be read."""
    is_parquet = path.name.lower().endswith(".parquet")
    check_table_kind(path, b"PAR1" if is_parquet else b"ARROW1")
    if is_parquet:
        unit = "us" if _has_old_timestamps(path) else None
        with pq.ParquetFile(
            path, buffer_size=BATCH_BYTES, coerce_int96_timestamp_unit=unit
        ) as file:
            yield ParquetTable(file, path.stat().st_size)
    else:
        with pa.OSFile(str(path)) as source:
            yield ArrowTable(source)


def _has_old_timestamps(path: Path) -> bool:
    schema = pq.read_metadata(path).schema
    return any(schema.column(i).physical_type == "INT96" for i in range(len(schema)))


def _as_text(row: pa.RecordBatch, path: Path, before: int) -> str:
    """A row as JSON, as far as it can be written so."""
    [read] = batch_rows(row, path, before)
    return json.dumps(read.value, default=str, ensure_ascii=False)
