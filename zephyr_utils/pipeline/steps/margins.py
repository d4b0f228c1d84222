"""Step 6: implicit rewards of the held-out pairs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zephyr_utils import diagnostics, training
from zephyr_utils.chat import TemplateChoice, load_model, load_tokenizer
from zephyr_utils.data.records import save_records
from zephyr_utils.pipeline.steps.ddpo import split_pairs

LOG_PROBS, HELD_OUT_PAIRS = "log_probs.npz", "held_out.parquet"


def measure_margins(
    folder: Path,
    reference: Path,
    policy: Path,
    beta: float,
    pairs: Path,
    base_model: str,
    max_length: int,
    ties: str,
    chat_template: TemplateChoice | None = None,
) -> dict[str, Any]:
    """Score the held-out pairs with both models; leave `LOG_PROBS` and `HELD_OUT_PAIRS`.

    Args:
        folder: where both files are written.
        reference, policy: directories of the dSFT and the dDPO model.
        beta: that the policy was trained with.
        pairs, base_model, max_length, ties, chat_template: as for `ddpo.split_pairs`.
    """
    _, held_out, _ = split_pairs(pairs, base_model, max_length, ties, chat_template)
    sums = pair_log_probs(reference, policy, held_out)
    np.savez(folder / LOG_PROBS, **sums)
    save_records(held_out, folder / HELD_OUT_PAIRS)
    measured = diagnostics.reward_margins(**sums, beta=beta)
    return {
        "pairs": len(held_out),
        "accuracy": measured.accuracy.estimate,
        "accuracy_low": measured.accuracy.low,
        "accuracy_high": measured.accuracy.high,
        "margin": measured.mean_margin.estimate,
        "chosen_reward": float(measured.chosen.mean()),
        "rejected_reward": float(measured.rejected.mean()),
    }


def pair_log_probs(
    reference: Path, policy: Path, pairs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Log-probabilities of both answers under both models, as `diagnostics.reward_margins` takes
    them: (pairs,) each, in nats, in the order given.

    Args:
        reference, policy: directories of the models.
    """
    tokenizer = load_tokenizer(policy)  # of both: its template is the one that was trained with
    sums: dict[str, Any] = {}
    for name, directory in (("reference", reference), ("policy", policy)):
        model, _ = load_model(directory, dtype="float32")
        for side in ("chosen", "rejected"):
            conversations = [pair[side] for pair in pairs]
            log_probs = training.answer_log_probs(model, tokenizer, conversations)
            sums[f"{name}_{side}"] = log_probs.numpy()
    return sums
