"""Reference log-probabilities kept on disk: a second dDPO on the same model and pairs does not
compute them again.

The reference never changes, so neither do its log-probabilities: another beta, learning rate or
loss on the same pairs, or the same run after a kill, needs the same numbers. One ``.npz`` a set,
named by the hash of all that decides the numbers down to their last bit: the model's weights, the
tokens of the rows in their order, how they are batched (padding and the shape of a product move the
last bits), precision, device and versions.
"""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import trl
from datasets import Dataset

from zephyr_utils.files import atomic_write

SAVE_EVERY = 50  # batches between two writings: what a kill costs at most


def model_hash(model: torch.nn.Module) -> str:
    """The sha256 of a model's weights, a LoRA's own apart: the reference is the model with the
    adapter switched off.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "lora_" in name or not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(values.numpy().data)
    return digest.hexdigest()


def reference_key(weights: str, rows: Dataset, settings: dict[str, Any]) -> str:
    """The name of a set of reference log-probabilities.

    Args:
        weights: `model_hash` of the reference.
        rows: tokenised pairs, with ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``.
        settings: what else decides the numbers, such as the length at which rows are cut and the
            size of a batch.
    """
    digest = hashlib.sha256(weights.encode())
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }
    digest.update(json.dumps(settings | versions, sort_keys=True).encode())
    for part in ("prompt_ids", "chosen_ids", "rejected_ids"):
        for tokens in rows[part]:
            digest.update(np.asarray([len(tokens), *tokens], dtype="<i4").tobytes())
    return digest.hexdigest()


def read_reference(path: Path, rows: int) -> np.ndarray:
    """The log-probabilities that a file holds: (2, rows computed so far), chosen above rejected, in
    nats; a file that is not whole counts as empty.
    """
    try:
        log_probs = np.load(path, allow_pickle=False)["log_probs"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        log_probs = np.empty((0, 0))
    whole = (
        log_probs.ndim == 2
        and log_probs.shape[0] == 2
        and log_probs.shape[1] <= rows
        and np.isfinite(log_probs).all()
    )
    return log_probs.astype(np.float32) if whole else np.empty((2, 0), np.float32)


def write_reference(path: Path, log_probs: np.ndarray) -> None:
    """Write all or nothing: a reader finds the old numbers or the new ones, never a half."""
    with atomic_write(path) as unfinished, open(unfinished, "wb") as file:
        np.savez(file, log_probs=log_probs)
