"""One way to account for rows: rows in = rows out + rows set aside, by reason."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from zephyr_utils.errors import HandbookError


@dataclass(frozen=True)
class SetAside:
    """A row that is not used: where it was, the reason in a word, the full message, and the row
    itself.
    """

    where: str
    reason: str
    detail: str
    record: Any


@dataclass
class RowCounts:
    """What became of the rows of one step.

    Attributes:
        rows_in: rows read.
        rows_out: rows handed on.
        set_aside: rows that were not, by reason.
    """

    rows_in: int = 0
    rows_out: int = 0
    set_aside: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows_out: int, set_aside: Iterable[SetAside], rows_in: int | None = None) -> Self:
        """The counts of a list of rows set aside; ``rows_in`` is their sum where nobody counted."""
        reasons = Counter(row.reason for row in set_aside)
        return cls(rows_out + reasons.total() if rows_in is None else rows_in, rows_out, reasons)

    @property
    def rows_set_aside(self) -> int:
        """Rows set aside for any reason."""
        return self.set_aside.total()

    def check(self, where: str = "") -> Self:
        """These counts, if every row is accounted for.

        Raises:
            HandbookError: rows in are not rows out + rows set aside, which is a fault of ours.
        """
        if self.rows_in != self.rows_out + self.rows_set_aside:
            raise HandbookError(
                f"{self.rows_in:,} rows went in, {self.rows_out:,} came out and "
                f"{self.rows_set_aside:,} were set aside: some are unaccounted for",
                where=where,
                remedy="this is a fault of the program: please report it with the file",
            )
        return self

    def add(self, other: "RowCounts") -> None:
        """Add the counts of another file."""
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        self.set_aside.update(other.set_aside)

    def ranked(self) -> list[tuple[str, int]]:
        """Reasons with their counts, the most frequent first, equal counts by name."""
        return sorted(((r, n) for r, n in self.set_aside.items() if n), key=lambda x: (-x[1], x[0]))

    def report(self) -> str:
        """``8 rows in = 2 out + 6 set aside``, then a line for each reason."""
        first = (
            f"{self.rows_in:,} rows in = {self.rows_out:,} out + {self.rows_set_aside:,} set aside"
        )
        return "\n".join([first, *(f"  {n:,} x {reason}" for reason, n in self.ranked())])

    def as_dict(self) -> dict[str, Any]:
        """The counts as an artefact's results keep them."""
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "rows_set_aside": self.rows_set_aside,
            "set_aside": dict(self.ranked()),
        }
