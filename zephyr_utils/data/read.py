"""Rows from where they lie: JSONL, JSONL.gz, JSON and Parquet files, folders of them, and the Hub.

Everything is read row by row (a plain ``.json`` file aside), so a file may be larger than the
memory. `read_rows` yields each row with its address in words, and a row that cannot even be parsed
as a `RecordError`.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zephyr_utils.data.schema import RecordError
from zephyr_utils.errors import HandbookError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".json")


@dataclass(frozen=True)
class HubAddress:
    """A dataset (or a model) on the Hugging Face Hub, at one revision.

    Attributes:
        path: such as ``HuggingFaceH4/ultrachat_200k``.
        revision: the commit; None only where none is known yet (see `resolved`).
        split: such as ``train_sft``; may be left out where there is only one.
        name: the configuration, for datasets that have several.
    """

    path: str
    revision: str | None
    split: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.path}@{self.revision or 'newest'}" + (f":{self.split}" if self.split else "")

    def resolved(self) -> "HubAddress":
        """The same address with the newest commit filled in where the revision is None (asks the
        Hub).
        """
        if self.revision is not None:
            return self
        from huggingface_hub import HfApi

        try:
            return replace(self, revision=HfApi().dataset_info(self.path).sha)
        # the client raises a dozen kinds: refused, unknown, offline, time-out
        except Exception as error:
            raise _unreachable(self, error) from error


@dataclass(frozen=True)
class Row:
    """One row as it was read: ``where`` it stood, and its ``value`` or, if it could not be parsed,
    the ``error`` with what there is of the row in ``value``.
    """

    where: str
    value: Any
    error: RecordError | None = None


def read_rows(source: "str | Path | HubAddress", *, limit: int | None = None) -> Iterator[Row]:
    """Yield the rows of a file, of a folder's files in the order of their names, or of a Hub
    dataset.

    In a folder, ``.json`` files count only if there is no JSONL and no Parquet, because run folders
    keep their metrics and manifests as ``.json``.

    Raises:
        HandbookError: the source does not exist, is of no known kind, or the Hub cannot be reached.
            (A row that cannot be parsed is yielded with its error, not raised.)
    """
    rows = _hub_rows(source, limit) if isinstance(source, HubAddress) else _path_rows(Path(source))
    for n, row in enumerate(rows):
        if limit is not None and n >= limit:
            return
        yield row


def _path_rows(path: Path) -> Iterator[Row]:
    for file in _files(path):
        name = file.name.lower()
        try:
            if name.endswith(".parquet"):
                yield from _parquet_rows(file)
            elif name.endswith(".json"):
                yield from _json_rows(file)
            else:
                yield from _line_rows(file)
        except OSError as error:
            raise HandbookError(
                f"the file cannot be read: {error.strerror or error}",
                where=str(file),
                remedy="check its permissions and the disk",
            ) from error


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(
            p
            for p in path.iterdir()
            if p.name.lower().endswith(SUFFIXES) and not p.name.startswith(".")
        )
        data = [p for p in found if p.suffix.lower() != ".json"]
        if not found:
            raise HandbookError(
                "the folder holds no file of records",
                where=str(path),
                remedy=f"give a folder with files ending in {', '.join(SUFFIXES)}",
            )
        return data or found
    if not path.exists():
        raise HandbookError(
            "there is no such file or folder",
            where=str(path),
            remedy="check the path; it is read as seen from here: " + str(Path.cwd()),
        )
    if not path.name.lower().endswith(SUFFIXES):
        raise HandbookError(
            "this kind of file is not known",
            where=str(path),
            remedy=f"use a file ending in {', '.join(SUFFIXES)}",
        )
    return [path]


def _line_rows(path: Path) -> Iterator[Row]:
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    number = 0
    try:
        with opener(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield _parse_line(line, f"{path}, row {number}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        where = f"{path}, row {number + 1}"
        what = f"the compressed file breaks off or is damaged ({error})"
        yield Row(
            where,
            None,
            RecordError("broken_file", what, where=where, remedy="fetch or write the file again"),
        )


def _parse_line(line: bytes, where: str) -> Row:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        what = f"invalid UTF-8 at byte {error.start + 1} of the line"
        readable = line.decode(errors="backslashreplace")
        return Row(
            where,
            readable,
            RecordError("invalid_utf8", what, where=where, remedy="write the file as UTF-8"),
        )
    try:
        return Row(where, json.loads(text))
    except (ValueError, RecursionError) as error:
        at = (
            f" at character {error.pos + 1} of {len(text)}"
            if isinstance(error, json.JSONDecodeError)
            else ""
        )
        what = f"the line is no complete JSON value: {getattr(error, 'msg', error)}{at}"
        remedy = "the line may be cut short: write it again, one JSON object a line"
        return Row(where, text, RecordError("broken_json", what, where=where, remedy=remedy))


def _json_rows(path: Path) -> Iterator[Row]:
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    whole = _parse_line(data, str(path))
    if whole.error is None:
        rows = whole.value if isinstance(whole.value, list) else [whole.value]
        for number, value in enumerate(rows, start=1):
            yield Row(f"{path}, row {number}", value)
    elif data.lstrip().startswith(b"{"):  # many sets keep one object a line in a file called .json
        yield from _line_rows(path)
    else:
        what = whole.error.what.replace("the line is", "the file is").replace(
            "of the line", "of the file"
        )
        remedy = "the file may be cut short: write it again as one JSON list, or as .jsonl"
        yield Row(
            str(path), None, RecordError(whole.error.reason, what, where=str(path), remedy=remedy)
        )


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=512):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}, row {number}", value)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        where = f"{path}, row {number + 1}"
        what = f"the Parquet file is damaged or not one: {str(error).splitlines()[0]}"
        yield Row(
            where,
            None,
            RecordError("broken_file", what, where=where, remedy="fetch or write the file again"),
        )


def _hub_rows(address: HubAddress, limit: int | None) -> Iterator[Row]:
    import datasets

    try:
        # With a limit, stream: a lesson's slice must not download gigabytes.
        data = datasets.load_dataset(
            address.path,
            address.name,
            split=address.split,
            revision=address.revision,
            streaming=limit is not None,
        )
    except Exception as error:
        # datasets and the Hub client raise a dozen kinds: refused, unknown, offline, time-out.
        raise _unreachable(address, error) from error
    if isinstance(data, dict):
        if len(data) != 1:
            raise HandbookError(
                f"the dataset has several splits: {', '.join(data)}",
                where=str(address),
                remedy="name one split in the address",
            )
        data = next(iter(data.values()))
    for number, value in enumerate(data, start=1):
        yield Row(f"{address}, row {number}", value)


def _unreachable(address: HubAddress, error: Exception) -> HandbookError:
    return HandbookError(
        f"the Hub did not serve this dataset ({type(error).__name__}: "
        f"{str(error).splitlines()[0] if str(error) else ''})",
        where=str(address),
        remedy="check the network and the address, or give a local file (JSONL, JSON or Parquet) "
        "instead",
    )
