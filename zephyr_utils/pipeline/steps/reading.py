"""Where a step's records are, and how they are read."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zephyr_utils.data.counts import RowCounts
from zephyr_utils.data.records import HubAddress, RecordSet, load_records

RECORDS = {"dialogue": "dialogues", "feedback": "prompts", "preference": "preference pairs"}
BEYOND_LIMIT = "beyond_limit"


@dataclass
class FirstRecords(RecordSet[Any]):
    """The first of the records that were read; the others count as set aside.

    Attributes:
        beyond_limit: how many others there are.
    """

    beyond_limit: int = 0

    @classmethod
    def of(cls, loaded: RecordSet[Any], at_most: int) -> "FirstRecords":
        """The first `at_most` records of a set that has more."""
        parts = {part.name: getattr(loaded, part.name) for part in dataclasses.fields(loaded)}
        used = parts.pop("records")[:at_most]
        return cls(records=used, **parts, beyond_limit=len(loaded) - at_most)

    @property
    def n_read(self) -> int:
        """Rows read, those beyond the limit included."""
        return super().n_read + self.beyond_limit

    def row_counts(self) -> RowCounts:
        """As of all sets, with those beyond the limit set aside."""
        counts = super().row_counts()
        counts.set_aside[BEYOND_LIMIT] = self.beyond_limit
        counts.rows_in += self.beyond_limit
        return counts


@dataclass(frozen=True)
class RecordSource:
    """Records to read.

    Attributes:
        source: an address on the Hub, a file or a folder.
        limit: rows read; None reads all.
        set_aside: count bad rows and go on, instead of stopping at the first.
        at_most: records used of those read, the first; None uses all.
    """

    source: Path | HubAddress
    limit: int | None = None
    set_aside: bool = False
    at_most: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What of this changes the outcome, beside the source."""
        return {
            "limit": self.limit,
            "set_aside_bad_rows": self.set_aside,
            "at_most": self.at_most,
        }

    def load(self, kind: str) -> RecordSet[Any]:
        """The records, checked as `kind` (``dialogue``, ``feedback``, ``preference``).

        Which layout was recognised is printed if anything had to be converted, what many of the
        texts hold and a model would learn, and how many records are used if not all are.
        """
        loaded = load_records(self.source, kind, limit=self.limit, set_aside=self.set_aside)
        name = self.source.name if isinstance(self.source, Path) else self.source
        if loaded.conversions:
            print(f"{name}: {loaded.layout_report()}", flush=True)
        for warning in loaded.warnings:
            print(f"{name}: note: {warning}", flush=True)
        if self.at_most is None or len(loaded) <= self.at_most:
            return loaded
        print(f"{self.at_most:,} of {len(loaded):,} {RECORDS[kind]}, by --limit", flush=True)
        return FirstRecords.of(loaded, self.at_most)
