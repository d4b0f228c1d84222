"""One real record of each of the paper's data sets, as it is published: small enough to ship."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "records"  # with the licence of both data sets


@dataclass(frozen=True)
class RealRecord:
    """A record that neither we nor the miniature wrote.

    Attributes:
        record: a dialogue or a preference pair in the package's schema.
        source: the data set, its authors and its licence, to be shown beside the record.
    """

    record: dict[str, Any]
    source: str


def real_dialogue() -> RealRecord:
    """A dialogue of UltraChat 200k (Ding et al., 2023): ``messages``."""
    return RealRecord(
        _record("ultrachat"), "UltraChat 200k, training split; Ding et al. (2023), MIT licence"
    )


def real_pair() -> RealRecord:
    """A pair of UltraFeedback, binarised (Cui et al., 2023): ``prompt``, ``chosen``, ``rejected``,
    ``score_chosen`` and ``score_rejected`` from 1 to 10.
    """
    return RealRecord(
        _record("ultrafeedback"), "UltraFeedback, binarised; Cui et al. (2023), MIT licence"
    )


def _record(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return record
