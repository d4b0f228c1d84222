"""Where a step's records are, and how they are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zephyr_utils.data.records import HubAddress, RecordSet, load_records


@dataclass(frozen=True)
class RecordSource:
    """Records to read.

    Attributes:
        source: an address on the Hub, a file or a folder.
        limit: rows read; None reads all.
        set_aside: count bad rows and go on, instead of stopping at the first.
    """

    source: Path | HubAddress
    limit: int | None = None
    set_aside: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """What of this changes the outcome, beside the source."""
        return {"limit": self.limit, "set_aside_bad_rows": self.set_aside}

    def load(self, kind: str) -> RecordSet:
        """The records, checked as `kind` (``dialogue``, ``feedback``, ``preference``).

        Which layout was recognised is printed if anything had to be converted.
        """
        loaded = load_records(self.source, kind, limit=self.limit, set_aside=self.set_aside)
        if loaded.conversions:
            name = self.source.name if isinstance(self.source, Path) else self.source
            print(f"{name}: {loaded.layout_report()}", flush=True)
        return loaded
