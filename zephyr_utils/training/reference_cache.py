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
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import trl
from datasets import Dataset

SAVE_EVERY = 50  # batches between two writings: what a kill costs at most


def model_hash(model: torch.nn.Module) -> str:
    """The sha256 of a model's weights, a LoRA's own apart: the reference is the model with the
    adapter switched off.
    """
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "lora_" in name or not isinstance(tensor, torch.Tensor):
            continue
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def reference_key(weights: str, rows: Dataset, settings: dict[str, Any]) -> str:
    """The name of a set of reference log-probabilities.

    Args:
        weights: `model_hash` of the reference.
        rows: tokenised pairs, with ``prompt_ids``, ``chosen_ids`` and ``rejected_ids``.
        settings: what else decides the numbers, such as the length at which rows are cut and the
            size of a batch.
    """
    found = hashlib.sha256(weights.encode())
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }
    found.update(json.dumps(settings | versions, sort_keys=True).encode())
    for part in ("prompt_ids", "chosen_ids", "rejected_ids"):
        for tokens in rows[part]:
            found.update(np.asarray([len(tokens), *tokens], dtype="<i4").tobytes())
    return found.hexdigest()


def read_reference(path: Path, rows: int) -> np.ndarray:
    """What is known already: (2, rows known), chosen above rejected, in nats; a file that is not
    whole counts as nothing.
    """
    try:
        known = np.load(path)["log_probs"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        known = np.empty((0, 0))
    whole = (
        known.ndim == 2
        and known.shape[0] == 2
        and known.shape[1] <= rows
        and np.isfinite(known).all()
    )
    return known.astype(np.float32) if whole else np.empty((2, 0), np.float32)


def write_reference(path: Path, known: np.ndarray) -> None:
    """Write under another name, then rename: a reader finds the old numbers or the new ones, never
    a half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez(temporary, log_probs=known)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
