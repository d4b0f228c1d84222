"""What several processes that train together share: torchrun and accelerate start one a GPU."""

import json
import os
from pathlib import Path

from accelerate import PartialState
from datasets import Dataset


def processes() -> int:
    """How many processes train together: torchrun and accelerate say so in the environment."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def shared_dataset(rows: list[dict], folder: Path) -> Dataset:
    """The rows as TRL wants them; of several processes the first writes them to a file that all read.

    TRL lets the first process tokenise and score, and the others read its cache, which lies beside a file; rows from
    memory have a temporary folder a process, and there the others would find nothing.
    """
    if processes() == 1:
        return Dataset.from_list(rows)
    state = PartialState()
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    state.wait_for_everyone()
    with state.main_process_first():
        return Dataset.from_json(str(folder / "rows.jsonl"), cache_dir=str(folder))
