"""What several processes that train together share: torchrun and accelerate start one a GPU."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers.integrations import deepspeed as hf_deepspeed


def processes() -> int:
    """How many processes train together: torchrun and accelerate say so in the environment."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def shared_dataset(rows: list[dict[str, Any]], folder: Path) -> Dataset:
    """The rows as TRL wants them; of several processes the first writes them to a file that all
    read.

    TRL lets the first process tokenise and score, and the others read its cache, which is beside
    a file; rows from memory have a temporary folder a process, and there the others would find
    nothing.
    """
    if processes() == 1:
        return Dataset.from_list(rows)
    state = PartialState()
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    state.wait_for_everyone()
    with state.main_process_first():
        return Dataset.from_json(str(folder / "rows.jsonl"), cache_dir=str(folder))


def even_batches(rows: int, together: int, most: int) -> tuple[int, int]:
    """How many of `rows` to evaluate, and how many at a time in each of the processes that are
    `together`, at most `most`.

    A trainer averages over batches and fills the last ones up with rows that it has had: only where
    every process has as many rows in as many whole batches is the average that over rows. At most
    ``together - 1`` rows are left over.
    """
    each = rows // together
    return each * together, max(
        (size for size in range(1, most + 1) if each % size == 0), default=1
    )


def gather_full_tensor(weight: Tensor) -> Tensor:
    """The whole of a weight that FSDP2 or ZeRO-3 has spread over the processes, all of which have
    to ask; any other as it is.
    """
    if isinstance(weight, DTensor):
        return weight.full_tensor()
    if hasattr(weight, "ds_id"):  # DeepSpeed's mark
        import deepspeed

        with deepspeed.zero.GatheredParameters([weight]):
            return weight.detach().clone()
    return weight


@contextmanager
def load_unsharded() -> Iterator[None]:
    """What is loaded inside is whole in each process: once ZeRO-3 trains, the library spreads every
    model that it loads.
    """
    reference = hf_deepspeed._hf_deepspeed_config_weak_ref
    config = reference() if reference else None
    hf_deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if config is not None:
            hf_deepspeed.set_hf_deepspeed_config(config)
