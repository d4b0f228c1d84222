"""Step 1: dialogues without refusals, truecased."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from zephyr_utils.data.filtering import refusal_filter
from zephyr_utils.data.records import save_records, save_set_aside, with_answers
from zephyr_utils.pipeline.steps.reading import RecordSource
from zephyr_utils.truecasing import Truecaser, detect_case_noise

DIALOGUES, TRUECASER = "dialogues.parquet", "truecaser.npz"


def truecase_dialogues(folder: Path, reading: RecordSource) -> dict[str, Any]:
    """Leave the dialogues in `DIALOGUES` and the truecaser fitted on them in `TRUECASER`.

    Returns:
        rows in, out and set aside; answers, answers changed, and the kinds of case noise.
    """
    loaded = reading.load("dialogue")
    kept = refusal_filter(loaded.records)
    dialogues = [loaded.records[i] for i in kept.kept]
    answers = [m["content"] for d in dialogues for m in d["messages"] if m["role"] == "assistant"]
    truecaser = Truecaser.fit(answers)
    repaired = truecaser.truecase_batch(answers)
    clean = with_answers(dialogues, repaired)
    save_records(clean, folder / DIALOGUES)
    truecaser.save(folder / TRUECASER)
    save_set_aside(folder / "set_aside.jsonl", loaded.set_aside)
    return {
        "rows_in": loaded.n_read,
        "rows_out": len(clean),
        "rows_set_aside": loaded.n_read - len(clean),
        "set_aside": {**loaded.reasons(), "refusal": len(kept.removed)},
        "case_noise": dict(Counter(detect_case_noise(pa.array(answers)).to_pylist())),
        "answers": len(answers),
        "answers_changed": sum(a != b for a, b in zip(answers, repaired, strict=True)),
    }
