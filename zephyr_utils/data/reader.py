"""From rows to checked records: every row becomes one, half of one, or is set aside by name."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zephyr_utils.data.counts import SetAside
from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.read import HubAddress, Row, read_rows
from zephyr_utils.data.schema import (
    LabelledAnswer,
    Read,
    check_dialogue,
    check_feedback,
    check_preference,
    paired,
    read_dialogue,
    read_feedback,
    read_preference,
)
from zephyr_utils.data.trace_counts import TraceCounts
from zephyr_utils.data.types import Preference
from zephyr_utils.errors import HandbookError

Source = str | Path | HubAddress

KINDS: dict[str, Callable[[Any, str], Any]] = {
    "dialogue": check_dialogue,
    "feedback": check_feedback,
    "preference": check_preference,
}
_READERS: dict[str, Callable[[Any, str], Read]] = {
    "dialogue": read_dialogue,
    "feedback": read_feedback,
    "preference": read_preference,
}


_HELD_OUT = {"test", "validation", "valid", "val", "dev", "eval", "evaluation", "heldout"}


class RecordReader:
    """Rows of one source made into records, and what became of every row.

    Arguments as of `records.iter_records`.

    Attributes:
        rows: how many were read; joined: how many of them became the second answer of a pair.
        layouts, conversions: rows by the layout they were written in, and by what was converted.
        remedies: what to do, by the reason of the rows set aside.
        traces: what exports and templates left in the texts.
        splits: records by the name in their row's column ``split``.
    """

    def __init__(
        self, source: Source, kind: str, limit: int | None, set_aside: list[SetAside] | None
    ) -> None:
        if kind not in KINDS:
            raise HandbookError(
                f"unknown kind of record {kind!r}", remedy=f"use one of {', '.join(KINDS)}"
            )
        self.source, self.kind, self.limit, self.set_aside = source, kind, limit, set_aside
        self.layouts: Counter[str] = Counter()
        self.conversions: Counter[str] = Counter()
        self.rows = 0
        self.joined = 0
        self.remedies: dict[str, str] = {}  # of the first row set aside for each reason
        # Labelled answers that wait for the other half of their pair, by the turns before them:
        # the good ones, and the bad ones, each with its row.
        self.waiting: dict[str, tuple[list, list]] = {}
        self.traces = TraceCounts()
        self.splits: Counter[str] = Counter()

    def records(self) -> Iterator[Any]:
        """The checked records, one by one.

        Raises:
            RecordError: at the first bad row, if none are set aside.
            HandbookError: the source cannot be read, or holds no rows.
        """
        for row in read_rows(self.source, limit=self.limit):
            self.rows += 1
            try:
                if row.error is not None:
                    raise row.error
                read = _READERS[self.kind](row.value, row.where)
            except RecordError as error:
                self._refuse(row, error)
                continue
            self.layouts[read.layout] += 1
            self.conversions.update(sorted(read.notes))  # a set's order changes from run to run
            record = read.record
            if isinstance(record, LabelledAnswer):
                record = self._pair(row, record)
            if record is not None:
                self.traces.add(record, row.where)
                split = row.value.get("split") if isinstance(row.value, dict) else None
                if isinstance(split, str) and split.strip():
                    self.splits[split.strip()] += 1
                yield record
        if not self.rows and self.limit != 0:
            raise HandbookError(
                "there are no rows in it",
                where=str(self.source),
                remedy=f"give a source with {self.kind} records",
            )
        self._refuse_unpaired()

    def warnings(self) -> list[str]:
        """What many of the texts hold, and splits that are mixed, in sentences."""
        sentences = self.traces.sentences()
        if _HELD_OUT & {name.lower() for name in self.splits} and len(self.splits) > 1:
            counts = ", ".join(f"{name} {n:,}" for name, n in self.splits.most_common(5))
            sentences.append(
                f"the rows are of {len(self.splits)} splits, by their column `split` ({counts}), "
                f"and all are used: keep those of one, or what is held out is trained on"
            )
        return sentences

    def _pair(self, row: Row, answer: LabelledAnswer) -> Preference | None:
        key = json.dumps(answer.context, sort_keys=True)
        sides = self.waiting.setdefault(key, ([], []))
        others = sides[answer.good]
        if not others:
            sides[not answer.good].append((row, answer))
            return None
        _, other = others.pop(0)
        self.joined += 1
        return paired(answer, other) if answer.good else paired(other, answer)

    def _refuse_unpaired(self) -> None:
        left = [item for sides in self.waiting.values() for side in sides for item in side]
        for row, answer in left:
            label, missing = ("good", "bad") if answer.good else ("bad", "good")
            what = (
                f"an answer labelled {label} and no {missing} one to the same turns "
                f"({self.joined:,} pairs could be made, {len(left):,} rows have no partner)"
            )
            remedy = "only pairs are trained on here (KTO trains on single answers)"
            self._refuse(row, RecordError("no_partner", what, where=row.where, remedy=remedy))

    def _refuse(self, row: Row, error: RecordError) -> None:
        if self.set_aside is None:
            raise RecordError(
                error.reason,
                error.what,
                where=error.where,
                remedy=f"{error.remedy}; or have bad rows set aside and counted (set_aside=True, "
                f"on the command line --set-aside)",
            ) from None
        self.remedies.setdefault(error.reason, error.remedy)
        self.set_aside.append(
            SetAside(row.where, error.reason, f"{error.where}: {error.what}", row.value)
        )
