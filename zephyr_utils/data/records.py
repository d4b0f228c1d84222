"""Dialogues, feedback and preferences: check, convert, load and save.

The rules for one row are in `schema`, the reading of files and of the Hub in `read`; this module
puts them together and keeps the books: rows read = rows handed out + rows set aside.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zephyr_utils.data.read import HubAddress, Row, read_rows
from zephyr_utils.data.schema import (
    ASPECTS,
    ROLES,
    RecordError,
    check_dialogue,
    check_feedback,
    check_preference,
    prompt_hash,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.progress import track

__all__ = [
    "ASPECTS",
    "KINDS",
    "ROLES",
    "HubAddress",
    "RecordError",
    "RecordSet",
    "SetAside",
    "atomic_write",
    "check_dialogue",
    "check_feedback",
    "check_preference",
    "iter_records",
    "load_records",
    "prompt_hash",
    "save_records",
    "save_set_aside",
    "with_answers",
]  # fmt: skip

KINDS: dict[str, Callable[[Any, str], dict]] = {
    "dialogue": check_dialogue,
    "feedback": check_feedback,
    "preference": check_preference,
}


# One value of each published field. Parquet types are inferred from the records and these together,
# so that a set in which a field is still empty (answers not yet rated) has the same columns as a
# full one.
_EXAMPLES: dict[str, Any] = {
    **dict.fromkeys(
        ("prompt", "prompt_id", "source", "instruction", "chosen_model", "rejected_model"), ""
    ),
    **{key: [{"role": "", "content": ""}] for key in ("messages", "chosen", "rejected")},
    **dict.fromkeys(("score_chosen", "score_rejected"), 0.0),
    "models": [""],
    "completions": [
        {
            "model": "",
            "response": "",
            "annotations": {aspect: {"Rating": "", "Rationale": ""} for aspect in ASPECTS},
            "critique": "",
            "overall_score": 0.0,
        }
    ],
}


@dataclass(frozen=True)
class SetAside:
    """A row that is not used: where it stood, the reason in a word, the full message, and the row
    itself.
    """

    where: str
    reason: str
    detail: str
    record: Any


@dataclass
class RecordSet:
    """What `load_records` brings: the good records and the rows set aside."""

    records: list[dict]
    set_aside: list[SetAside] = field(default_factory=list)
    source: str = ""

    def __iter__(self) -> Iterator[dict]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def n_read(self) -> int:
        """Rows read: always records plus rows set aside."""
        return len(self.records) + len(self.set_aside)

    @property
    def n_duplicate_ids(self) -> int:
        """Records whose id (for feedback: whose instruction) an earlier record has already. They
        are kept.
        """
        ids = Counter(r.get("prompt_id") or r.get("instruction") for r in self.records)
        return sum(n - 1 for n in ids.values())

    def reasons(self) -> Counter:
        """How many rows were set aside, by reason."""
        return Counter(row.reason for row in self.set_aside)

    def report(self) -> str:
        """Rows in = rows out + rows set aside, in words, with the first row set aside for each
        reason.
        """
        lines = [
            f"{self.source or 'records'}: {self.n_read:,} rows read = {len(self.records):,} "
            f"records "
            f"+ {len(self.set_aside):,} set aside"
        ]
        first = {row.reason: row for row in reversed(self.set_aside)}
        for reason, n in self.reasons().most_common():
            lines.append(f"  {n:,} x {reason}, first: {first[reason].detail.splitlines()[0]}")
        if self.n_duplicate_ids:
            lines.append(
                f"  {self.n_duplicate_ids:,} records repeat the id of an earlier one (kept)"
            )
        return "\n".join(lines)


def iter_records(
    source: "str | Path | HubAddress",
    kind: str,
    *,
    limit: int | None = None,
    set_aside: list[SetAside] | None = None,
) -> Iterator[dict]:
    """Yield checked records one by one, in constant memory.

    Args:
        source: a ``.jsonl``, ``.jsonl.gz``, ``.json`` or ``.parquet`` file, a folder of them, or a
            `HubAddress`.
        kind: ``dialogue``, ``feedback`` or ``preference``.
        limit: stop after this many rows (good or bad).
        set_aside: a list to which bad rows are appended; without one, the first bad row raises.

    Raises:
        RecordError: at the first bad row, unless ``set_aside`` is given.
        HandbookError: the kind is unknown, the source cannot be read, or holds no rows at all.
    """
    if kind not in KINDS:
        raise HandbookError(
            f"unknown kind of record {kind!r}", remedy=f"use one of {', '.join(KINDS)}"
        )
    empty = limit is None or limit > 0
    for row in read_rows(source, limit=limit):
        empty = False
        try:
            yield _checked(row, kind)
        except RecordError as error:
            if set_aside is None:
                raise RecordError(
                    error.reason,
                    error.what,
                    where=error.where,
                    remedy=f"{error.remedy}; or have bad rows set aside and counted "
                    f"(set_aside=True, on the command line --set-aside)",
                ) from None
            set_aside.append(
                SetAside(row.where, error.reason, f"{error.where}: {error.what}", row.value)
            )
    if empty:
        raise HandbookError(
            "there are no rows in it",
            where=str(source),
            remedy=f"give a source with {kind} records",
        )


def load_records(
    source: "str | Path | HubAddress",
    kind: str,
    *,
    limit: int | None = None,
    set_aside: bool = False,
) -> RecordSet:
    """Read and check all records of a source (arguments and errors as in `iter_records`).

    With ``set_aside=True`` bad rows are collected with their reason instead of raising. A progress
    bar appears on a terminal if reading takes longer than two seconds.
    """
    bad: list[SetAside] = []
    rows = iter_records(source, kind, limit=limit, set_aside=bad if set_aside else None)
    records = list(track(rows, f"reading {source}", total=limit))
    return RecordSet(records, bad, str(source))


def save_records(records: Iterable[dict], path: "str | Path") -> Path:
    """Write records to a ``.jsonl`` or ``.parquet`` file, whole or not at all; returns the path.

    Raises:
        HandbookError: the suffix is another, a record cannot be written in the format, or the disk
            is full.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".parquet"):
        raise HandbookError(
            "records are saved as .jsonl or .parquet",
            where=str(path),
            remedy="change the file's ending",
        )
    with atomic_write(path) as unfinished:
        if path.suffix == ".jsonl":
            with open(unfinished, "w", encoding="utf-8", newline="\n") as file:
                for number, record in enumerate(records, start=1):
                    try:
                        file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
                    except (TypeError, ValueError) as error:
                        raise RecordError(
                            "not_writable",
                            f"the record cannot be written: {error}",
                            where=f"record {number} for {path}",
                            remedy="records hold text, finite numbers, lists and objects only",
                        ) from error
        else:
            _write_parquet(list(records), unfinished, path)
    return path


def _write_parquet(records: list[dict], unfinished: Path, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = list(dict.fromkeys(key for record in records for key in record))
    try:
        # The types are taken from all records, so that a field that only later records have is not
        # lost.
        schema = pa.schema(
            [(k, pa.infer_type([r.get(k) for r in records] + [_EXAMPLES.get(k)])) for k in fields]
        )
        with pq.ParquetWriter(unfinished, schema) as writer:
            for start in range(0, len(records), 4096):
                part = records[start : start + 4096]
                columns = [
                    pa.array([r.get(key) for r in part], type=schema.field(key).type)
                    for key in fields
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise RecordError(
            "not_writable",
            f"the records do not fit one table: {error}",
            where=str(path),
            remedy="give a field the same type in all records, or save as .jsonl",
        ) from error


def with_answers(dialogues: list[dict], answers: list[str]) -> list[dict]:
    """The dialogues with the assistant's messages replaced, in order."""
    following = iter(answers)
    return [
        {
            **dialogue,
            "messages": [
                {**message, "content": next(following)}
                if message["role"] == "assistant"
                else message
                for message in dialogue["messages"]
            ],
        }
        for dialogue in dialogues
    ]


def save_set_aside(path: "str | Path", set_aside: Iterable[SetAside]) -> Path:
    """Write the rows set aside as JSONL: ``{where, reason, detail, record}`` a line; returns the
    path.
    """
    path = Path(path)
    with atomic_write(path) as unfinished, open(unfinished, "w", encoding="ascii") as file:
        for row in set_aside:
            # ASCII escapes, because a row may have been set aside for a character that UTF-8 cannot
            # hold.
            file.write(json.dumps(vars(row), default=str) + "\n")
    return path


@contextlib.contextmanager
def atomic_write(path: "str | Path") -> Iterator[Path]:
    """A temporary name beside ``path`` to write to; renamed at the end, removed on any error.

    So a reader never meets half a file, whatever kills the writer.

    Raises:
        HandbookError: the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with open(unfinished, "rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise HandbookError(
            f"the file cannot be written: {error.strerror or error}",
            where=str(path),
            remedy="free some space or choose a folder you may write to",
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _checked(row: Row, kind: str) -> dict:
    if row.error is not None:
        raise row.error
    return KINDS[kind](row.value, row.where)
