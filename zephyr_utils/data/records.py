"""Dialogues, feedback and preferences: check, convert, load and save.

The rules for one row are in `schema`, the layouts it may have in `layouts`, the reading of files
and of the Hub in `read`; this module puts them together and accounts for every row.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, cast, overload

from zephyr_utils.data.counts import RowCounts, SetAside
from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.read import HubAddress
from zephyr_utils.data.reader import KINDS, RecordReader, Source
from zephyr_utils.data.schema import (
    check_dialogue,
    check_feedback,
    check_preference,
    prompt_hash,
)
from zephyr_utils.data.types import ASPECTS, ROLES, Dialogue, Feedback, Preference
from zephyr_utils.data.write import save_records, save_set_aside
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import atomic_write
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

R = TypeVar("R")
JOINED = "joined_with_another_row"  # the second row of a pair that was made of two


@dataclass
class RecordSet(Generic[R]):
    """What `load_records` brings: the good records and the rows set aside.

    Attributes:
        records: in the order of the rows.
        set_aside: the rows that are not used, each with its reason.
        source: where they come from, in words.
        layouts: rows by the layout they were written in.
        conversions: rows by what was converted in them.
        joined: rows that became the second answer of a pair (KTO).
        warnings: what many of the texts hold and a model would learn (`traces`), in sentences.
    """

    records: list[R]
    set_aside: list[SetAside] = field(default_factory=list)
    source: str = ""
    layouts: Counter[str] = field(default_factory=Counter)
    conversions: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    warnings: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[R]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def n_read(self) -> int:
        """Rows read: always records plus rows set aside, or joined with another."""
        return len(self.records) + len(self.set_aside) + self.joined

    @property
    def n_duplicate_ids(self) -> int:
        """Records whose id (for feedback: whose instruction; for prompts: whose text) an earlier
        record has already. They are kept.
        """
        rows = cast(list[dict[str, Any]], self.records)
        ids = Counter(
            row.get("prompt_id") or row.get("instruction") or row.get("prompt") for row in rows
        )
        return sum(n - 1 for n in ids.values())

    @property
    def layout(self) -> str:
        """The layouts that were recognised, the most frequent first."""
        return ", ".join(name for name, _ in self.layouts.most_common())

    def reasons(self) -> Counter[str]:
        """How many rows were set aside, by reason; rows joined with another count as such."""
        return self.row_counts().set_aside

    def row_counts(self) -> RowCounts:
        """Rows read = records + rows set aside or joined, by reason."""
        counts = RowCounts.of(len(self.records), self.set_aside)
        if self.joined:
            counts.set_aside[JOINED] = self.joined
            counts.rows_in += self.joined
        return counts

    def report(self) -> str:
        """Rows in = rows out + rows set aside, the layout and what was converted, in words, with
        the first row set aside for each reason, and the warnings.
        """
        counts = self.row_counts()
        lines = [
            f"{self.source or 'records'}: {counts.rows_in:,} rows read = {counts.rows_out:,} "
            f"records + {counts.rows_set_aside:,} set aside"
        ]
        if self.layouts:
            lines.append("  " + self.layout_report())
        first = {row.reason: row.detail.splitlines()[0] for row in reversed(self.set_aside)}
        for reason, n in counts.ranked():
            lines.append(
                f"  {n:,} x {reason}" + (f", first: {first[reason]}" if reason in first else "")
            )
        if self.n_duplicate_ids:
            lines.append(
                f"  {self.n_duplicate_ids:,} records repeat the id of an earlier one (kept)"
            )
        lines += [f"  note: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def layout_report(self) -> str:
        """One line: which layouts were recognised, and what was converted in how many rows."""
        layouts = [f"{name} ({n:,} rows)" for name, n in self.layouts.most_common()]
        notes = [f"{note} ({n:,} rows)" for note, n in self.conversions.most_common()]
        return f"layout: {', '.join(layouts)}" + (
            f"; converted: {'; '.join(notes)}" if notes else ""
        )


@overload
def iter_records(
    source: Source, kind: Literal["dialogue"], *, limit: int | None = None,
    set_aside: list[SetAside] | None = None,
) -> Iterator[Dialogue]: ...  # fmt: skip
@overload
def iter_records(
    source: Source, kind: Literal["feedback"], *, limit: int | None = None,
    set_aside: list[SetAside] | None = None,
) -> Iterator[Feedback]: ...  # fmt: skip
@overload
def iter_records(
    source: Source, kind: Literal["preference"], *, limit: int | None = None,
    set_aside: list[SetAside] | None = None,
) -> Iterator[Preference]: ...  # fmt: skip
@overload
def iter_records(
    source: Source, kind: str, *, limit: int | None = None,
    set_aside: list[SetAside] | None = None,
) -> Iterator[Any]: ...  # fmt: skip
def iter_records(
    source: Source,
    kind: str,
    *,
    limit: int | None = None,
    set_aside: list[SetAside] | None = None,
) -> Iterator[Any]:
    """Yield checked records one by one, in constant memory (labelled answers apart, which wait for
    the other half of their pair).

    Args:
        source: a file, a folder of files, or a `HubAddress`; the endings are `read.SUFFIXES`.
        kind: ``dialogue``, ``feedback`` or ``preference``.
        limit: stop after this many rows (good or bad).
        set_aside: a list to which bad rows are appended; without one, the first bad row raises.

    Raises:
        RecordError: at the first bad row, unless ``set_aside`` is given.
        HandbookError: the kind is unknown, the source cannot be read, or holds no rows at all.
    """
    return RecordReader(source, kind, limit, set_aside).records()


@overload
def load_records(
    source: Source, kind: Literal["dialogue"], *, limit: int | None = None, set_aside: bool = False
) -> RecordSet[Dialogue]: ...
@overload
def load_records(
    source: Source, kind: Literal["feedback"], *, limit: int | None = None, set_aside: bool = False
) -> RecordSet[Feedback]: ...
@overload
def load_records(
    source: Source,
    kind: Literal["preference"],
    *,
    limit: int | None = None,
    set_aside: bool = False,
) -> RecordSet[Preference]: ...
@overload
def load_records(
    source: Source, kind: str, *, limit: int | None = None, set_aside: bool = False
) -> RecordSet[Any]: ...
def load_records(
    source: Source, kind: str, *, limit: int | None = None, set_aside: bool = False
) -> RecordSet[Any]:
    """Read and check all records of a source (arguments and errors as in `iter_records`).

    With ``set_aside=True`` bad rows are collected with their reason instead of raising. A progress
    bar appears on a terminal if reading takes longer than two seconds.

    Raises:
        HandbookError: as `iter_records`, or every single row was set aside.
    """
    bad: list[SetAside] = []
    reader = RecordReader(source, kind, limit, bad if set_aside else None)
    records = list(track(reader.records(), f"reading {source}", total=limit))
    loaded = RecordSet(records, bad, str(source), reader.layouts, reader.conversions, reader.joined)
    loaded.warnings = reader.warnings()
    counts = loaded.row_counts()
    counts.rows_in = reader.rows  # counted when they were read, not added up afterwards
    counts.check(str(source))
    if bad and not records:
        raise HandbookError(
            f"not one of its {counts.rows_in:,} rows can be used: "
            + ", ".join(f"{n:,} x {reason}" for reason, n in counts.ranked())
            + f"; the first: {bad[0].detail.splitlines()[0]}",
            where=str(source),
            remedy=f"{reader.remedies[counts.ranked()[0][0]]}; the page 'What you can bring' shows "
            f"the layouts of {kind} records that are read",
        )
    return loaded


def with_answers(dialogues: Sequence[dict], answers: Sequence[str]) -> list[dict]:
    """The dialogues with the assistant's messages replaced, in order.

    Raises:
        HandbookError: there are more answers than such messages, or fewer.
    """
    turns = sum(
        message["role"] == "assistant" for dialogue in dialogues for message in dialogue["messages"]
    )
    if len(answers) != turns:
        raise HandbookError(
            f"{len(answers):,} answers cannot replace {turns:,} messages of the assistant",
            where="answers",
            remedy="give one for each such message, in order",
        )
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
