"""Whole files: JSONL(.gz) and Parquet in, the same out, in constant memory, resumable file by file.

Every file is written under a temporary name, renamed when whole, and only then gets its report; a
file with a report is not done again. Work is shared out by whole files, so any number of machines
can each take a share.
"""

import glob
import gzip
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from zephyr_utils.data.records import atomic_write
from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing.detect import LABELS
from zephyr_utils.truecasing.lines import messages_of, repair_lines
from zephyr_utils.truecasing.model import Truecaser
from zephyr_utils.truecasing.tables import ColumnReport, truecase_messages

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
COLUMNS = ("messages", "data", "text")  # tried in this order where no column is named
BATCH_ROWS = 1024
BATCH_BYTES = 4 << 20
FIT_BYTES = 24 << 20  # of text to fit on; more gains little and costs time


@dataclass
class FileReport:
    """Counts of one file, or of a whole run.

    Args:
        rows: rows read; rows written are ``rows - sum(set_aside.values())``.
        set_aside: rows left out, by reason.
        messages, labels, altered, edits: see ``ColumnReport``.
        input_bytes: size of the input files.
        seconds: time spent, fitting left out.
        files: the files done in this run; reused: those found done.
    """

    rows: int = 0
    set_aside: Counter = field(default_factory=Counter)
    messages: int = 0
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    altered: int = 0
    edits: int = 0
    input_bytes: int = 0
    seconds: float = 0.0
    files: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)

    def add(self, other: "FileReport") -> None:
        """Add another report's counts."""
        for name in ("rows", "messages", "altered", "edits", "input_bytes", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.set_aside.update(other.set_aside)
        for label, count in other.labels.items():
            self.labels[label] += count

    def add_column(self, column: ColumnReport) -> None:
        """Add the counts of a column."""
        self.messages += column.messages
        self.altered += column.altered
        self.edits += column.edits
        for label, count in column.labels.items():
            self.labels[label] += count

    def report(self) -> str:
        """Rows in = rows out + rows set aside, labels, edits and speed, in lines for the screen."""
        aside = self.set_aside.total()
        lines = [f"{self.rows:,} rows in = {self.rows - aside:,} out + {aside:,} set aside"]
        lines += [f"  {count:,} x {reason}" for reason, count in self.set_aside.most_common()]
        labels = ", ".join(f"{count:,} {label}" for label, count in self.labels.items())
        lines.append(f"{self.messages:,} messages: {labels}")
        lines.append(f"{self.altered:,} messages altered, {self.edits:,} letters")
        speed = (
            f" ({self.input_bytes / 2**20 / self.seconds:,.0f} MB/s of file)"
            if self.seconds
            else ""
        )
        reused = f", {len(self.reused)} found done" if self.reused else ""
        lines.append(f"{len(self.files)} files done{reused}; {self.seconds:,.1f} s{speed}")
        return "\n".join(lines)

    def as_dict(self) -> dict:
        """Ready for JSON."""
        return asdict(self) | {
            "set_aside": dict(self.set_aside),
            "rows_written": self.rows - self.set_aside.total(),
        }


def truecase_files(
    inputs: Sequence[str | Path] | str | Path,
    output_dir: str | Path,
    *,
    truecaser: Truecaser | None = None,
    fit_on: Sequence[str | Path] | str | Path | None = None,
    column: str | None = None,
    roles: Sequence[str] = ("assistant",),
    shard_index: int = 0,
    num_shards: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> FileReport:
    """Truecase files, each into a file of the same name and format.

    Args:
        inputs: files (``.jsonl``, ``.jsonl.gz``, ``.parquet``) or folders of them.
        output_dir: where the results go, with ``NAME.report.json`` beside each,
            ``NAME.set_aside.jsonl`` where lines could not be read, and the sums of the call in
            ``report-INDEX-of-NUMBER.json``.
        truecaser: a fitted one. Without it one is fitted on ``fit_on`` (24 MB of it, spread over
            its files) and kept as ``truecaser.npz`` in the output folder.
        fit_on: files to fit on; the inputs themselves if not given.
        column: the column to repair; by default the first of messages, data and text that a row
            has.
        roles: whose messages to repair.
        shard_index, num_shards: this call takes every ``num_shards``-th file from the
            ``shard_index``-th on.
        progress: called with the input bytes done so far and in all.

    Returns:
        The counts of this call's share, files found done included.

    Raises:
        HandbookError: no such file, an unknown format, two inputs of one name, a bad shard, a
            damaged Parquet file.
    """
    if not 0 <= shard_index < num_shards:
        raise HandbookError(
            f"there is no shard {shard_index} of {num_shards}",
            where="truecase_files",
            remedy="count from 0",
        )
    files = _files(inputs)
    output = Path(output_dir)
    output.mkdir(parents=True, exist_ok=True)
    clash = [str(path) for path in files if (output / path.name).resolve() == path.resolve()]
    if clash:
        raise HandbookError(
            "the output would overwrite its input",
            where=clash[0],
            remedy="choose another output folder",
        )
    if truecaser is None:
        truecaser = _fitted(_files(fit_on) if fit_on is not None else files, output, column, roles)
    settings = {"truecaser": truecaser.fingerprint(), "column": column, "roles": list(roles)}
    share = files[shard_index::num_shards]
    total, done = sum(path.stat().st_size for path in share), 0
    run = FileReport()
    for path in share:
        stamp = settings | {"input_bytes": path.stat().st_size}
        report = _finished(output / path.name, stamp)
        if report is None:
            advance = (
                (lambda part, before=done: progress(before + part, total))
                if progress
                else (lambda part: None)
            )
            report = _truecase_file(
                path, output / path.name, truecaser, column, tuple(roles), advance
            )
            text = json.dumps({"settings": stamp, "report": report.as_dict()}, indent=1)
            with atomic_write(_report_path(output / path.name)) as unfinished:
                unfinished.write_text(text)
            run.files.append(path.name)
        else:
            run.reused.append(path.name)
        run.add(report)
        done += path.stat().st_size
        if progress:
            progress(done, total)
    with atomic_write(output / f"report-{shard_index}-of-{num_shards}.json") as unfinished:
        unfinished.write_text(json.dumps(run.as_dict(), indent=1))
    return run


def _files(inputs: Sequence[str | Path] | str | Path) -> list[Path]:
    """The files meant, sorted by name within each folder; names must differ, since they name the
    outputs.
    """
    found: list[Path] = []
    for item in [inputs] if isinstance(inputs, str | Path) else inputs:
        path = Path(item)
        inside = (
            [path]
            if path.is_file()
            else sorted(child for child in path.glob("*") if _is_records(child.name))
        )
        if not inside:
            raise HandbookError(
                "no such file, or a folder without any",
                where=str(path),
                remedy=f"give {', '.join(SUFFIXES)}",
            )
        found += inside
    for path in found:
        if not path.name.endswith(SUFFIXES):
            raise HandbookError(
                "unknown format", where=str(path), remedy=f"give {', '.join(SUFFIXES)}"
            )
    for name, count in Counter(path.name for path in found).items():
        if count > 1:
            raise HandbookError(
                f"{count} inputs are called {name}",
                where="truecase_files",
                remedy="use one output folder for each",
            )
    return found


def _is_records(name: str) -> bool:
    return (
        name.endswith(SUFFIXES)
        and not name.endswith(".set_aside.jsonl")
        and not name.startswith(".")
    )


def _report_path(output: Path) -> Path:
    return output.with_name(output.name + ".report.json")


def _finished(output: Path, stamp: dict) -> FileReport | None:
    """The report of a file that an earlier call finished under the same settings."""
    try:
        stored = json.loads(_report_path(output).read_text())
    except (OSError, ValueError):
        return None
    if not output.is_file() or stored.get("settings") != stamp:
        return None
    counts = {key: value for key, value in stored["report"].items() if key != "rows_written"}
    return FileReport(**counts | {"set_aside": Counter(counts["set_aside"])})


def _truecase_file(path, output, truecaser, column, roles, advance) -> FileReport:
    report = FileReport(input_bytes=path.stat().st_size)
    begin = time.perf_counter()
    aside = output.with_name(output.name + ".set_aside.jsonl")
    aside.unlink(missing_ok=True)
    for left_over in output.parent.glob(f".{glob.escape(output.name)}.*.unfinished"):
        left_over.unlink(missing_ok=True)  # of a run that was killed at this file
    with atomic_write(output) as unfinished:
        if path.name.endswith(".parquet"):
            _truecase_parquet(path, unfinished, truecaser, column, roles, report, advance)
        else:
            _truecase_jsonl(path, unfinished, aside, truecaser, column, roles, report, advance)
    report.seconds = time.perf_counter() - begin
    return report


def _truecase_parquet(path, unfinished, truecaser, column, roles, report, advance) -> None:
    try:
        with pq.ParquetFile(path, buffer_size=BATCH_BYTES) as source:
            name = column or next(
                (name for name in COLUMNS if name in source.schema_arrow.names), COLUMNS[0]
            )
            groups = source.metadata
            codec = groups.row_group(0).column(0).compression if groups.num_row_groups else "SNAPPY"
            size = path.stat().st_size
            with pq.ParquetWriter(
                unfinished, source.schema_arrow, compression=codec.replace("UNCOMPRESSED", "NONE")
            ) as sink:
                for batch in source.iter_batches(BATCH_ROWS):
                    counts = ColumnReport()
                    sink.write_batch(
                        truecase_messages(batch, name, roles, truecaser=truecaser, report=counts)
                    )
                    report.rows += len(batch)
                    report.add_column(counts)
                    advance(size * report.rows // max(1, groups.num_rows))
    except (pa.ArrowInvalid, OSError) as error:
        raise HandbookError(
            f"the Parquet file cannot be read ({error})",
            where=str(path),
            remedy="fetch the file again",
        ) from error


def _truecase_jsonl(path, unfinished, aside, truecaser, column, roles, report, advance) -> None:
    opened = gzip.open if path.name.endswith(".gz") else open
    with (
        open(path, "rb") as raw,
        gzip.open(raw) if path.name.endswith(".gz") else raw as source,
        opened(unfinished, "wb") as sink,
    ):
        first = 1
        try:
            for lines in _line_batches(source):
                mended, set_aside, counts = repair_lines(
                    lines, first, column, COLUMNS, roles, truecaser
                )
                sink.write(b"".join(mended))
                report.rows += len(lines)
                report.add_column(counts)
                if set_aside:
                    report.set_aside.update(item["reason"] for item in set_aside)
                    with open(aside, "a", encoding="utf-8") as file:
                        file.writelines(
                            json.dumps({"where": f"{path.name}, row {item.pop('row')}"} | item)
                            + "\n"
                            for item in set_aside
                        )
                first += len(lines)
                advance(raw.tell())
        except (EOFError, gzip.BadGzipFile) as error:
            raise HandbookError(
                f"the compressed file is damaged ({error})",
                where=str(path),
                remedy="fetch the file again",
            ) from error


def _line_batches(source) -> Iterator[list[bytes]]:
    while lines := source.readlines(BATCH_BYTES):
        yield lines


def _fitted(files: list[Path], output: Path, column: str | None, roles: Sequence[str]) -> Truecaser:
    """A truecaser fitted on these files, or the one that an earlier call fitted on them."""
    stamp = {
        "files": [[path.name, path.stat().st_size] for path in files],
        "column": column,
        "roles": list(roles),
    }
    model, note = output / "truecaser.npz", output / "truecaser.json"
    try:
        if json.loads(note.read_text()) == stamp:
            return Truecaser.load(model)
    except (OSError, ValueError, HandbookError):
        pass  # none yet, or of other files: fit anew
    texts: list[str] = []
    for path in files:
        held = 0
        for text in _texts(path, column, roles):
            texts.append(text)
            held += len(text)
            if held > FIT_BYTES // len(files):
                break
    truecaser = Truecaser.fit(texts)
    with atomic_write(model) as unfinished:
        truecaser.save(unfinished)
    with atomic_write(note) as unfinished:
        unfinished.write_text(json.dumps(stamp))
    return truecaser


def _texts(path: Path, column: str | None, roles: Sequence[str]) -> Iterator[str]:
    """The messages of a file that would be repaired."""
    if path.name.endswith(".parquet"):
        with pq.ParquetFile(path, buffer_size=BATCH_BYTES) as source:
            name = column or next(
                (name for name in COLUMNS if name in source.schema_arrow.names), COLUMNS[0]
            )
            if name not in source.schema_arrow.names:
                raise HandbookError(
                    f"there is no column {name!r}", where=str(path), remedy="name a column"
                )
            for batch in source.iter_batches(BATCH_ROWS, columns=[name]):
                for value in batch.column(0).to_pylist():
                    yield from (text for _, text in messages_of(value, roles) if text)
        return
    with (gzip.open if path.name.endswith(".gz") else open)(path, "rb") as source:
        for line in source:
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the pass over the file sets it aside and counts it
            if isinstance(row, dict):
                name = column or next((name for name in COLUMNS if name in row), COLUMNS[0])
                yield from (text for _, text in messages_of(row.get(name), roles) if text)
