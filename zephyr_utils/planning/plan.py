"""``zephyr plan``: what a scale needs before it is started: memory, levers, steps, hours.
Estimates, and called so.

Nothing is downloaded and no GPU is asked: the model's shape, the recipe and the size of the data
are enough. Parameters and steps are exact, memory is good to about a third, and hours are a range
for each card (`rates`). `anchors` holds published and measured figures beside what the same
formulas say of them.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.planning.memory import (
    LORA_BYTES,
    Shape,
    TrainingSet,
    activations,
    frozen_weights,
    logits,
    trained_weights,
)
from zephyr_utils.planning.operations import stage_flops
from zephyr_utils.planning.rates import cards_of_size, hours_range
from zephyr_utils.recipes import Recipe, Stage
from zephyr_utils.scales import Scale, get_scale
from zephyr_utils.training.batch import share_batch

GB = 1e9
# Beside what the formulas count: workspaces, temporaries, fragments. The one published peak with
# all its settings (`anchors`, first row) lies this share of activations and logits above the bare
# count.
RESERVE = 0.75
# CUDA's own (assumed); a process with PyTorch and TRL imported (measured).
CONTEXT = {True: 1.5 * GB, False: 0.44 * GB}
SPARE = 0.95  # a card has a little less than its name says, and an estimate is not a promise
GIVEN, CPU = "the rate given", "a CPU"  # devices without a data sheet
FULL_TOKENS = 2048  # in a micro-batch: fewer leave a large model's kernels waiting for its weights


@dataclass(frozen=True)
class StagePlan:
    """One stage: bytes a GPU by term, what was changed to make it fit, steps, operations and
    hours.

    Attributes:
        memory: term -> bytes on one GPU.
        limit: bytes there are.
        levers: what was pulled, in words, in the order it was pulled.
        changes: the recipe's values that differ after that.
        steps: optimiser steps.
        flops: floating-point operations of the whole stage.
        hours: device -> fewest and most hours; both are the same at a rate that was given or
            measured, and there is no device where no rate is known.
    """

    stage: str
    parameters: int
    trained: int
    memory: dict[str, float]
    limit: float
    levers: list[str]
    changes: dict[str, Any]
    rows_per_step: int
    steps: int
    flops: float
    hours: dict[str, tuple[float, float]]

    @property
    def total(self) -> float:
        """Bytes on one GPU, all terms."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether the estimate is below the memory that there is."""
        return self.total <= self.limit


_LARGEST_SIZE = 1e6  # in the unit that was given: a thousand times what one GPU has


def bytes_of(size: str) -> float:
    """``24GB`` -> 24e9 bytes. A number alone is GB.

    Raises:
        HandbookError: it is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(GB|GiB|MB)?\s*", size, re.I)
    if not match or not 0 < float(match[1]) < _LARGEST_SIZE:
        raise HandbookError(
            f"`{size}` is not a size of memory", where="--gpu-memory", remedy="write 24GB or 80GB"
        )
    return float(match[1]) * {"gb": 1e9, "gib": 2**30, "mb": 1e6}[(match[2] or "GB").lower()]


def optimiser_steps(rows: int, rows_per_step: int, epochs: float) -> int:
    """Optimiser steps: each epoch ends with whatever rows are left, and part of a step is
    one, as the trainer counts."""
    return math.ceil(epochs * -(-rows // rows_per_step))


def memory_of(
    shape: Shape, recipe: Recipe, rows: TrainingSet, gpus: int, on_gpu: bool = True
) -> dict[str, float]:
    """Bytes on one GPU (or in one process on a CPU) by term, at the longest micro-batch; prompts
    that are shared take less.

    All weights trained on several GPUs are spread over them (ZeRO-3, FSDP2); a LoRA's base is whole
    on each (DDP).
    """
    lora, mixed = bool(recipe.get("use_peft")), recipe.get("dtype") == "bfloat16"
    width = 2 if mixed else 4
    sequences = recipe["per_device_train_batch_size"] * (2 if recipe.is_preference else 1)
    tokens = sequences * min(rows.longest, recipe["max_length"])
    if lora:
        adapter = shape.adapter(recipe["lora_r"], recipe["lora_target_modules"])
        four_bit, nested = (
            bool(recipe.get("load_in_4bit")),
            bool(recipe.get("use_bnb_nested_quant")),
        )
        memory = {
            "weights": float(frozen_weights(shape, width, four_bit, nested) + adapter * 4),
            "gradients": adapter * 4.0,
            "optimiser": adapter * (LORA_BYTES - 8.0),
        }
    else:
        memory = {
            name: size / gpus
            for name, size in trained_weights(shape, mixed, recipe["optim"]).items()
        }
        if gpus > 1:
            # Two: the one at work and the one fetched ahead.
            memory["gathered layer"] = 2.0 * width * shape.linear / shape.layers
    # Under LoRA the reference is the base with the adapter off. Of a full model it is a copy,
    # unless asked beforehand.
    copy = recipe.is_preference and not lora and not recipe.get("precompute_ref_log_probs")
    memory["reference"] = shape.parameters * width / gpus if copy else 0.0
    checkpointing, dropout = (
        bool(recipe.get("activation_checkpointing")),
        recipe.get("lora_dropout", 0.0) > 0,
    )
    memory["activations"] = float(activations(shape, tokens, width, lora, checkpointing, dropout))
    memory["logits"] = float(logits(shape, tokens))
    memory["reserve"] = RESERVE * (memory["activations"] + memory["logits"])
    memory["context"] = CONTEXT[on_gpu]
    return memory


def plan_stage(
    scale: str,
    stage: Stage,
    gpu_memory: float | None = None,
    gpus: int = 1,
    rate: float | None = None,
) -> StagePlan:
    """The plan of one stage.

    Levers are pulled in this order until it fits, the fastest way first: activations kept, in
    smaller micro-batches as long as `FULL_TOKENS` are in one; activations recomputed, in
    micro-batches as small as need be; 4 bits under LoRA. The effective batch stays. If nothing
    helps, the plan says that it does not fit.

    Args:
        scale: a scale's name, or scale/variant.
        stage: ``dsft`` or ``ddpo``.
        gpu_memory: bytes on one GPU; None takes the scale's own share.
        gpus: how many train together.
        rate: sustained operations per second and GPU; None takes a range for each card of that
            memory, or what was measured on a CPU.

    Raises:
        HandbookError: no such scale; a batch that cannot be shared by that many GPUs.
    """
    setting = get_scale(scale)
    shape, recipe, rows = setting.shape, setting.recipe(stage), setting.training_sets[stage]
    limit = gpu_memory or setting.memory_gb * GB / setting.devices
    wanted = share_batch(
        recipe["per_device_train_batch_size"], recipe["gradient_accumulation_steps"], gpus
    )

    def memory_with(changes: dict[str, Any]) -> dict[str, float]:
        return memory_of(shape, recipe | changes, rows, gpus, setting.needs_gpu)

    def fits(changes: dict[str, Any], share: float = 1.0) -> bool:
        return sum(memory_with(changes).values()) <= share * limit

    tokens_per_row = min(rows.longest, recipe["max_length"]) * (2 if recipe.is_preference else 1)
    for recompute, least, share in (
        (False, max(1, FULL_TOKENS // tokens_per_row), SPARE),
        (True, 1, 1.0),
    ):
        shared = wanted
        while not fits(changes := _micro_batches(shared, recompute), share) and shared[0] > least:
            shared = _smaller(*shared)
        if fits(changes, share):
            break
    if not fits(changes) and recipe.get("use_peft") and setting.needs_gpu:
        changes |= {"load_in_4bit": True, "use_bnb_nested_quant": True}
    changes = {name: value for name, value in changes.items() if recipe.get(name, False) != value}
    final, memory = recipe | changes, memory_with(changes)
    flops = stage_flops(shape, final, rows)
    return StagePlan(
        stage=stage,
        parameters=shape.parameters,
        trained=shape.adapter(final["lora_r"], final["lora_target_modules"])
        if final.get("use_peft")
        else shape.parameters,
        memory=memory,
        limit=limit,
        levers=_levers(changes, shared, wanted),
        changes=changes,
        rows_per_step=recipe.rows_per_step,
        steps=optimiser_steps(rows.count, recipe.rows_per_step, final["num_train_epochs"]),
        flops=flops,
        hours=_hours(setting, final, flops, gpu_memory, gpus, rate),
    )


def _hours(
    setting: Scale,
    recipe: Recipe,
    flops: float,
    gpu_memory: float | None,
    gpus: int,
    rate: float | None,
) -> dict[str, tuple[float, float]]:
    at_once = {GIVEN: rate} if rate else {}
    if not rate and setting.rate and not gpu_memory:
        at_once = {CPU: setting.rate.flops}
    if at_once:
        return {name: (flops / (each * gpus) / 3600,) * 2 for name, each in at_once.items()}
    memory = gpu_memory or setting.memory_gb * GB / setting.devices
    return {
        card.name: hours_range(flops, recipe.stage, card, gpus, recipe["dtype"])
        for card in cards_of_size(memory)
    }


def _micro_batches(shared: tuple[int, int], recompute: bool) -> dict[str, Any]:
    sizes = dict(
        zip(("per_device_train_batch_size", "gradient_accumulation_steps"), shared, strict=True)
    )
    return sizes | {"activation_checkpointing": recompute}


def _levers(changes: dict[str, Any], shared: tuple[int, int], wanted: tuple[int, int]) -> list[str]:
    recompute = changes.get("activation_checkpointing")
    words = {None: [], False: ["activations kept"], True: ["activations recomputed"]}[recompute]
    if shared != wanted:
        words = [*words, f"micro-batches of {shared[0]}, {shared[1]} of them per step"]
    return [*words, *(["4 bits (QLoRA)"] if changes.get("load_in_4bit") else [])]


def _smaller(share: int, times: int) -> tuple[int, int]:
    """Micro-batches of at most half as many rows, and more of them: the product stays."""
    rows = max(n for n in range(1, share // 2 + 1) if share * times % n == 0)
    return rows, share * times // rows
