"""The check before dDPO's first step: the policy must be the model that it starts from."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zephyr_utils.chat import TemplateChoice
from zephyr_utils.errors import HandbookError
from zephyr_utils.training.dpo_trainer import PairTrainer
from zephyr_utils.training.encoding import encode_pair
from zephyr_utils.training.loading import load_for_training
from zephyr_utils.training.rows import split_prompt
from zephyr_utils.training.scoring import row_log_probs

FIRST_STEP_ROWS = 8
# Of the loss, in nats, and of an answer's log-probability, as a share of it. In mixed precision a
# token's log-probability is rounded, by another amount in a batch of another shape.
LOSS_TOLERANCE, LOG_PROB_TOLERANCE = 1e-4, 1e-3
MIXED_TOLERANCE = 5e-3  # of both


def check_first_step(
    trainer: PairTrainer,
    sft_model: str | Path,
    pairs: Sequence[Mapping[str, Any]],
    recipe: Mapping[str, Any],
    chat_template: TemplateChoice | None = None,
) -> dict[str, float]:
    """Loss and log-probabilities of the first rows before any step, against ln 2 and the dSFT
    model's own.

    Raises:
        HandbookError: the loss is not ln 2, or `logps/chosen` is not what `sft_model`, loaded
            afresh, gives.
    """
    mixed = trainer.accelerator.mixed_precision != "no"
    arguments = trainer.args
    at_once = arguments.precompute_ref_batch_size or arguments.per_device_train_batch_size
    # The reference's own batches, where whole ones fit: mixed precision rounds by the shape.
    rows = pairs[: FIRST_STEP_ROWS - FIRST_STEP_ROWS % min(at_once, FIRST_STEP_ROWS)]
    parts = [range(len(rows))[start : start + at_once] for start in range(0, len(rows), at_once)]
    trainer.model.eval()
    # The reference was computed in mixed precision; the policy's forward is wrapped for it only
    # when it trains.
    with torch.no_grad(), trainer.accelerator.autocast():
        dataset: Any = trainer.train_dataset
        batches = [trainer.data_collator([dataset[i] for i in part]) for part in parts]
        try:
            losses = [
                trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch)).item()
                for batch in batches
            ]
        except ValueError as error:  # the first that TRL says of a loss it does not know
            wrong = HandbookError(str(error), where="loss_type", remedy="name one of these")
            raise wrong from error
    counts, means = [len(part) for part in parts], trainer._metrics["eval"].pop("logps/chosen")
    trainer._metrics["eval"].clear()
    loss, logged = (float(np.average(each, weights=counts)) for each in (losses, means))
    trainer.model.train()
    reference, tokenizer = load_for_training(sft_model, "ddpo", recipe, chat_template)
    encoded = [encode_pair(split_prompt(row), tokenizer) for row in rows]
    answers = [(row["prompt_ids"] + row["chosen_ids"], len(row["prompt_ids"])) for row in encoded]
    with trainer.accelerator.autocast():
        own = float(row_log_probs(reference, answers, int(tokenizer.pad_token_id)).mean())
    values = {"first_step_loss": loss, "first_step_logps_chosen": logged, "sft_logps_chosen": own}
    tolerance = MIXED_TOLERANCE if mixed else LOSS_TOLERANCE
    if recipe.get("loss_type", ["sigmoid"]) == ["sigmoid"] and abs(loss - math.log(2)) > tolerance:
        raise HandbookError(
            f"the first loss is {loss:.4f}, not ln 2 = 0.6931: policy and reference differ",
            where="dDPO",
        )
    tolerance = MIXED_TOLERANCE if mixed else LOG_PROB_TOLERANCE
    if abs(logged - own) > tolerance * max(1.0, abs(own)):
        raise HandbookError(
            f"the policy starts at log-probability {logged:.4f} for the chosen answers, the dSFT "
            f"model gives {own:.4f}",
            where="dDPO",
            remedy="start from the merged dSFT model: an adapter that was left out would start "
            "from the base",
        )
    return values
