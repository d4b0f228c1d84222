"""Step 4: preference pairs, made from feedback or given."""

from collections import Counter
from pathlib import Path
from typing import Any

from zephyr_utils import preferences
from zephyr_utils.data.filtering import decontaminate
from zephyr_utils.data.records import RecordSet, save_records, save_set_aside
from zephyr_utils.data.trace_counts import differences
from zephyr_utils.pipeline.steps.reading import RecordSource
from zephyr_utils.preferences.pairs import LEAKED

PAIRS_FILE = "pairs.parquet"


def make_pairs(
    folder: Path, reading: RecordSource, asked: list[str], strategy: dict[str, Any]
) -> dict[str, Any]:
    """Pair the rated answers of the feedback, prompts of the exam left out.

    Args:
        folder: where `PAIRS_FILE` is written.
        reading: the feedback.
        asked: the exam's questions, first turns only: a second ("And where?") is so short that it
            would match by accident.
        strategy: options of `preferences.binarize`.

    Raises:
        HandbookError: no pair comes out; the likely cause is named.
    """
    loaded = reading.load("feedback")
    clean = decontaminate([row["instruction"] for row in loaded.records], asked)
    made = preferences.binarize([loaded.records[i] for i in clean.kept], **strategy)
    made.require_pairs(str(reading.source), len(clean.removed))
    for warning in differences(made.pairs):
        print(f"pairs: note: {warning}", flush=True)
    save_records(made.pairs, folder / PAIRS_FILE)
    unpaired = Counter(row.reason for row in made.set_aside)
    reasons = {**loaded.reasons(), LEAKED: len(clean.removed), **unpaired}
    return _saved(folder, loaded, len(made.pairs), reasons)


def copy_pairs(folder: Path, reading: RecordSource) -> dict[str, Any]:
    """Check pairs that are given, and keep them in `PAIRS_FILE`."""
    loaded = reading.load("preference")
    save_records(loaded.records, folder / PAIRS_FILE)
    return _saved(folder, loaded, len(loaded.records), dict(loaded.reasons()))


def _saved(
    folder: Path, loaded: RecordSet, rows_out: int, reasons: dict[str, int]
) -> dict[str, Any]:
    save_set_aside(folder / "set_aside.jsonl", loaded.set_aside)
    return {
        "rows_in": loaded.n_read,
        "rows_out": rows_out,
        "rows_set_aside": sum(reasons.values()),
        "set_aside": reasons,
    }
