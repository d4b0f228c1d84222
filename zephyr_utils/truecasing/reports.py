"""What was done: counts of a column, and of a file or a whole run."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from zephyr_utils.data.counts import RowCounts
from zephyr_utils.truecasing.arrays import TextBuffer, distinct
from zephyr_utils.truecasing.detect import LABELS
from zephyr_utils.truecasing.recase import Repair


@dataclass
class ColumnReport:
    """What was done to a column.

    Args:
        messages: messages looked at (those of the chosen roles).
        labels: messages per label.
        altered: messages in which a byte changed.
        edits: letters whose case was changed.
    """

    messages: int = 0
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    altered: int = 0
    edits: int = 0

    def add(self, other: "ColumnReport") -> None:
        """Add another report's counts."""
        self.messages += other.messages
        self.altered += other.altered
        self.edits += other.edits
        for label, count in other.labels.items():
            self.labels[label] += count

    def add_repair(self, repair: Repair, text: TextBuffer) -> None:
        """Add what was done to these messages."""
        self.messages += len(text)
        for code, count in enumerate(np.bincount(repair.labels, minlength=len(LABELS)).tolist()):
            self.labels[LABELS[code]] += count
        self.edits += len(repair.positions)
        if len(repair.positions):
            rows = np.searchsorted(text.ends, repair.positions, side="right")
            self.altered += len(distinct(rows))


@dataclass
class FileReport(ColumnReport):
    """Counts of one file, or of a whole run.

    Args:
        messages, labels, altered, edits: see ``ColumnReport``.
        rows: rows read; rows written are ``rows - sum(set_aside.values())``.
        set_aside: rows left out, by reason.
        unknown_roles: messages passed over because nobody knows what their role means.
        input_bytes: size of the input files.
        seconds: time spent, fitting left out.
        files: the files done in this run; reused: those an earlier run had done.
    """

    rows: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)
    unknown_roles: Counter[str] = field(default_factory=Counter)
    input_bytes: int = 0
    seconds: float = 0.0
    files: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """The report that `as_dict` made this of."""
        counts = {name: value for name, value in stored.items() if name != "rows_written"}
        for name in ("set_aside", "unknown_roles"):
            counts[name] = Counter(counts[name])
        return cls(**counts)

    def add_file(self, other: "FileReport") -> None:
        """Add a file's counts."""
        self.add(other)
        self.rows += other.rows
        self.input_bytes += other.input_bytes
        self.seconds += other.seconds
        self.set_aside.update(other.set_aside)
        self.unknown_roles.update(other.unknown_roles)

    @property
    def rows_written(self) -> int:
        """Rows that came out."""
        return self.rows - self.set_aside.total()

    def report(self) -> str:
        """Rows in = rows out + rows set aside, labels, edits and speed, in lines for the screen."""
        lines = [RowCounts(self.rows, self.rows_written, self.set_aside).report()]
        labels = ", ".join(f"{count:,} {label}" for label, count in self.labels.items())
        lines.append(f"{self.messages:,} messages: {labels}")
        if self.unknown_roles:
            roles = ", ".join(f"{n:,} x {role!r}" for role, n in self.unknown_roles.most_common(5))
            lines.append(f"passed over, of roles that are not known: {roles}")
        lines.append(f"{self.altered:,} messages altered, {self.edits:,} letters")
        speed = self.input_bytes / 2**20 / self.seconds if self.seconds else 0.0
        shown = f" ({speed:,.0f} MB/s of file)" if speed else ""
        reused = f", {len(self.reused)} already done" if self.reused else ""
        lines.append(f"{len(self.files)} files done{reused}; {self.seconds:,.1f} s{shown}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        counts = {"set_aside": dict(self.set_aside), "unknown_roles": dict(self.unknown_roles)}
        return asdict(self) | counts | {"rows_written": self.rows_written}
