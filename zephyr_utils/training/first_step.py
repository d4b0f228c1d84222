"""The check before dDPO's first update: the policy must be the model that it starts from."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    """Loss and log-probabilities of the first rows before any update, against ln 2 and the dSFT
    model's own.

    Raises:
        HandbookError: the loss is not ln 2, or `logps/chosen` is not what `sft_model`, loaded
            afresh, gives.
    """
    rows = pairs[:FIRST_STEP_ROWS]
    mixed = trainer.accelerator.mixed_precision != "no"
    trainer.model.eval()
    # The reference was computed in mixed precision; the policy's forward is wrapped for it only
    # when it trains.
    with torch.no_grad(), trainer.accelerator.autocast():
        dataset: Any = trainer.train_dataset
        batch = trainer.data_collator([dataset[i] for i in range(len(rows))])
        batch = trainer._prepare_inputs(batch)
        try:
            loss = trainer.compute_loss(trainer.model, batch).item()
        except ValueError as error:  # the first that TRL says of a loss it does not know
            wrong = HandbookError(str(error), where="loss_type", remedy="name one of these")
            raise wrong from error
    logged = trainer._metrics["eval"].pop("logps/chosen")[-1]
    trainer._metrics["eval"].clear()
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
