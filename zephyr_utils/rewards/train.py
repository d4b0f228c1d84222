"""Training a reward model on preference pairs: one plain loop, four objectives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat import TemplateChoice
from zephyr_utils.files import plain_value, write_json
from zephyr_utils.objectives import bradley_terry_loss, rating_loss
from zephyr_utils.progress import track
from zephyr_utils.rewards.model import (
    RewardModelError,
    batch_rewards,
    load_reward_model,
    reward_rows,
)
from zephyr_utils.rewards.strength import preference_strengths, strength_cuts
from zephyr_utils.training.save import LOG, MODEL

RewardObjective = Literal["regular", "margin", "scaled", "rating"]
LORA_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class RewardRecipe:
    """How a reward model is trained.

    Attributes:
        objective: ``regular``, ``margin`` or ``scaled`` Bradley-Terry on the pairs, or ``rating``:
            regression on the scores of their answers.
        learning_rate: of AdamW, after a linear warm-up and before a linear decay to zero.
        epochs: passes over the pairs.
        batch_size: pairs per optimiser step.
        lora_rank: of an adapter on all linear layers, with alpha of twice that, merged at the end;
            None trains all weights. The head is trained in full either way.
        warmup: share of the steps.
        max_grad_norm: at which the gradient is clipped.
        seed: of the pairs' order and the adapter's first weights.
    """

    objective: RewardObjective = "regular"
    learning_rate: float = 1e-3
    epochs: int = 1
    batch_size: int = 16
    lora_rank: int | None = 16
    warmup: float = 0.1
    max_grad_norm: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class RewardTraining:
    """A trained reward model.

    Attributes:
        model, tokenizer: ready to score.
        log: for each optimiser ``step`` the ``loss`` and the ``accuracy`` on its batch before it.
        cuts: score gaps that divide strengths; None where no strength was used.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    log: list[dict[str, float]]
    cuts: tuple[float, float] | None


def train_reward_model(
    start: str | Path,
    pairs: Sequence[Mapping[str, Any]],
    folder: Path,
    recipe: RewardRecipe,
    chat_template: TemplateChoice | None = None,
) -> RewardTraining:
    """Train a reward model and leave it in ``model/`` of a folder, its log in ``log.json``.

    Strengths are 1, 2 and 3 by thirds of the score gap. For ``scaled`` they are divided by their
    mean over the pairs, so that it is no larger learning rate; ``margin`` takes them as they are,
    in logits. Ratings are standardised: mean 0 and standard deviation 1 over the pairs' answers.

    Args:
        start: a directory: of a language model (the head begins at zero), or of a reward model,
            which goes on with its head, as in HelpSteer2-Preference's regression before
            Bradley-Terry.
        pairs: preference records that fit the model's context; with scores, except for ``regular``.
        folder: where the model is written, as safetensors.
        chat_template: as for `chat.prepare_tokenizer`.

    Raises:
        HandbookError: as `load_reward_model`; no pairs, a pair without scores or beyond the
            context; ratings that are all equal; a loss that is NaN.
    """
    if not pairs:
        raise RewardModelError("there are no pairs", where="training", remedy="give some")
    model, tokenizer = load_reward_model(start, new_head=True, chat_template=chat_template)
    targets, cuts = _targets(pairs, recipe.objective)
    sides = [
        reward_rows(model, tokenizer, [pair[side] for pair in pairs])
        for side in ("chosen", "rejected")
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)  # of the adapter
        trained = _with_adapter(model, recipe)
    log = []
    trained.train()
    steps = list(_batches([max(map(len, rows)) for rows in zip(*sides, strict=True)], recipe))
    optimiser, schedule = _optimiser(trained, recipe, len(steps))
    for n, batch in enumerate(track(steps, "reward model: optimiser steps")):
        rewards = batch_rewards(trained, [rows[i] for rows in sides for i in batch])
        if not rewards.isfinite().all():
            raise RewardModelError(
                f"the rewards are NaN or infinite after {n} steps",
                where="training",
                remedy="lower the learning rate",
            )
        chosen, rejected = rewards.chunk(2)
        loss = _loss(chosen, rejected, targets[batch], recipe.objective)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), recipe.max_grad_norm)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        accuracy = (chosen > rejected).float().mean().item()
        log.append({"step": n + 1, "loss": loss.item(), "accuracy": accuracy})
    if recipe.lora_rank is not None:
        model = trained.merge_and_unload()
    model.eval()
    model.save_pretrained(folder / MODEL)
    tokenizer.save_pretrained(folder / MODEL)
    write_json(folder / LOG, plain_value(log), indent=1)
    return RewardTraining(model, tokenizer, log, cuts)


def _targets(
    pairs: Sequence[Mapping[str, Any]], objective: RewardObjective
) -> tuple[Tensor, tuple[float, float] | None]:
    """What each pair is trained towards, (pairs, 2) or (pairs,), and the cuts of its strength."""
    if objective == "regular":
        return torch.zeros(len(pairs)), None
    cuts = strength_cuts(pairs)  # and so a message for pairs without scores
    if objective == "rating":
        ratings = np.array([[pair["score_chosen"], pair["score_rejected"]] for pair in pairs])
        if not ratings.std():
            raise RewardModelError(
                "all ratings are equal, so there is nothing to predict",
                where="score_chosen, score_rejected",
                remedy="use other ratings, or Bradley-Terry on the pairs",
            )
        return torch.tensor((ratings - ratings.mean()) / ratings.std()).float(), None
    strengths = preference_strengths(pairs, cuts)
    scale = strengths.mean() if objective == "scaled" else 1.0
    return torch.tensor(strengths / scale).float(), cuts


def _loss(chosen: Tensor, rejected: Tensor, targets: Tensor, objective: RewardObjective) -> Tensor:
    targets = targets.to(chosen.device)
    if objective == "rating":
        return rating_loss(torch.cat([chosen, rejected]), targets.T.flatten())
    strength = None if objective == "regular" else targets
    return bradley_terry_loss(chosen, rejected, strength, objective)


def _with_adapter(model: PreTrainedModel, recipe: RewardRecipe) -> Any:
    if recipe.lora_rank is None:
        return model
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,  # trains the head, too
        r=recipe.lora_rank,
        lora_alpha=2 * recipe.lora_rank,
        target_modules=LORA_MODULES,
    )
    return get_peft_model(model, config)


def _batches(lengths: Sequence[int], recipe: RewardRecipe) -> Iterator[list[int]]:
    """Each epoch's pairs in batches of like length, in an order that the seed gives."""
    generator = np.random.default_rng(recipe.seed)
    size = recipe.batch_size
    for _ in range(recipe.epochs):
        order = generator.permutation(len(lengths)).tolist()
        batches = []
        for start in range(0, len(order), 16 * size):
            group = sorted(order[start : start + 16 * size], key=lambda i: lengths[i])
            batches += [group[at : at + size] for at in range(0, len(group), size)]
        generator.shuffle(batches)
        yield from batches


def _optimiser(model: Any, recipe: RewardRecipe, steps: int) -> tuple[Any, Any]:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
    warmup = max(1, round(recipe.warmup * steps))

    def share(step: int) -> float:
        return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)
