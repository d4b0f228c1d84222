"""``zephyr plan``: what a scale needs before it is started: memory, levers, steps, hours.
Estimates, and called so.

Nothing is downloaded and no GPU is asked: the model's shape, the recipe and the size of the data
are enough. `ANCHORS` holds published and measured figures with what the same formulas say of them,
so that a reader sees how far to trust them.
"""

import re
from dataclasses import dataclass
from typing import Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.planning.memory import (
    LLAMA_3_8B,
    LORA_BYTES,
    SHAPES,
    Shape,
    activations,
    frozen_weights,
    logits,
    trained_weights,
)
from zephyr_utils.scales import get_scale
from zephyr_utils.training.batch import share_batch

GB = 1e9
# Beside what the formulas count: workspaces, temporaries, fragments. The one published peak with
# all its settings (ANCHORS, first row) lies this share of activations and logits above the bare
# count.
RESERVE = 0.75
# CUDA's own (assumed); a process with PyTorch and TRL imported (measured).
CONTEXT = {True: 1.5 * GB, False: 0.44 * GB}
SPARE = 0.95  # a card has a little less than its name says, and an estimate is no promise
FULL_TOKENS = 2048  # in a micro-batch: fewer leave a large model's kernels waiting for its weights
# Floating-point operations a second, sustained, not peak.
RATES = {
    "miniature": (2e10, "measured: the miniature's own dSFT on one core"),
    "smol": (3e12, "assumed: a T4 in float32, a third of its peak"),
    "zephyr-7b-lora": (
        3e14,
        "published: LoRA of an 8 B model through TRL on one H100 (Soup, issue 78)",
    ),
    "zephyr-7b-full": (
        3e14,
        "as one H100 under LoRA; torchtitan and fms-fsdp publish 180 on an A100 and 450 on an H100",
    ),
}


@dataclass(frozen=True)
class TrainingSet:
    """What a stage trains on.

    Attributes:
        count: rows (packed sequences where the recipe packs; pairs in dDPO).
        tokens: in a row on the average (in one of a pair's two sequences).
        longest: tokens of the longest, which decides the memory.
        source: where the figures are from.
        prompt: tokens of a pair's prompt on the average, which go through the model once
            (`prefix_sharing`).
    """

    count: int
    tokens: int
    longest: int
    source: str
    prompt: int = 0


TRAINING_SETS = {
    ("miniature", "dsft"): TrainingSet(5430, 90, 222, "measured"),
    ("miniature", "ddpo"): TrainingSet(3315, 44, 79, "measured", prompt=23),
    ("smol", "dsft"): TrainingSet(
        19_000, 800, 1024, "assumed: 20,000 raw dialogues, shortened to 1,024 tokens, 5 % held out"
    ),
    # Prompts are 36 % of the characters of a sequence in 800 real pairs.
    ("smol", "ddpo"): TrainingSet(
        18_000, 450, 1024, "assumed: 20,000 prompts, a tenth held out", prompt=160
    ),
    ("zephyr-7b", "dsft"): TrainingSet(
        139_264,
        2048,
        2048,
        "published: 272 updates of 512 packed rows (alignment-handbook, issue 31)",
    ),
    ("zephyr-7b", "ddpo"): TrainingSet(
        61_135, 450, 1024, "rows published (ultrafeedback_binarized), tokens assumed", prompt=160
    ),
}


@dataclass(frozen=True)
class StagePlan:
    """One stage: bytes a GPU by term, what was changed to make it fit, updates, operations and
    hours.

    Attributes:
        memory: term -> bytes on one GPU.
        limit: bytes there are.
        levers: what was pulled, in words, in the order it was pulled.
        changes: the recipe's values that differ after that.
        updates: optimiser steps.
        flops: floating-point operations of the whole stage.
        hours: `flops` at the stated rate.
    """

    stage: str
    parameters: int
    trained: int
    memory: dict[str, float]
    limit: float
    levers: list[str]
    changes: dict[str, Any]
    rows_per_update: int
    updates: int
    flops: float
    hours: float

    @property
    def total(self) -> float:
        """Bytes on one GPU, all terms."""
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        """Whether the estimate lies below what there is."""
        return self.total <= self.limit


def bytes_of(size: str) -> float:
    """``24GB`` -> 24e9 bytes. A number alone is GB.

    Raises:
        HandbookError: it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(GB|GiB|MB)?\s*", size, re.I)
    if not found or not float(found[1]):
        raise HandbookError(
            f"`{size}` is no size of memory", where="--gpu-memory", remedy="write 24GB or 80GB"
        )
    return float(found[1]) * {"gb": 1e9, "gib": 2**30, "mb": 1e6}[(found[2] or "GB").lower()]


def updates(rows: int, rows_per_update: int, epochs: float) -> int:
    """Optimiser steps: each epoch ends with whatever rows are left, as the trainer counts."""
    return round(epochs * -(-rows // rows_per_update))


def forward_flops(shape: Shape, tokens_in_row: int) -> float:
    """Operations of one forward pass for one token: 2 for each weight that is multiplied, and
    attention.

    An embedding is looked up, not multiplied, so only the head's table counts. Attention adds 4 x
    layers x width x tokens (every token on the whole row, TRL's own convention; a causal kernel
    does half of it).
    """
    return 2 * (shape.linear + shape.embedding) + 4 * shape.layers * shape.query * tokens_in_row


def passes(recipe: dict[str, Any]) -> float:
    """What a training step costs in forward passes.

    1 forward; backward 2, or 1 where the weights are frozen under LoRA and need no gradient of
    their own (so 4N in place of 6N operations a token); 1 more where activations are computed anew;
    1 more for a reference that is asked every step.
    """
    live = "beta" in recipe and not recipe.get("precompute_ref_log_probs")
    return (
        1
        + (1 if recipe.get("use_peft") else 2)
        + bool(recipe.get("activation_checkpointing"))
        + live
    )


def stage_flops(shape: Shape, recipe: dict[str, Any], rows: TrainingSet) -> float:
    """Operations of a whole stage; a precomputed reference is one forward pass over the rows,
    whatever the epochs.
    """
    shared = rows.prompt if recipe.get("share_prompts") is not False else 0
    tokens = rows.count * (2 * rows.tokens - shared if "beta" in recipe else rows.tokens)
    once = 1 if "beta" in recipe and recipe.get("precompute_ref_log_probs") else 0
    return (
        forward_flops(shape, rows.tokens)
        * tokens
        * (passes(recipe) * recipe["num_train_epochs"] + once)
    )


def memory_of(
    shape: Shape, recipe: dict[str, Any], rows: TrainingSet, gpus: int, on_gpu: bool = True
) -> dict[str, float]:
    """Bytes on one GPU (or in one process on a CPU) by term, at the longest micro-batch; prompts
    that are shared take less.

    All weights trained on several GPUs are spread over them (ZeRO-3, FSDP2); a LoRA's base is whole
    on each (DDP).
    """
    lora, mixed = bool(recipe.get("use_peft")), recipe.get("dtype") == "bfloat16"
    width = 2 if mixed else 4
    sequences = recipe["per_device_train_batch_size"] * (2 if "beta" in recipe else 1)
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
    copy = "beta" in recipe and not lora and not recipe.get("precompute_ref_log_probs")
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
    stage: str,
    gpu_memory: float | None = None,
    gpus: int = 1,
    rate: float | None = None,
) -> StagePlan:
    """The plan of one stage.

    Levers are pulled in this order until it fits, the fastest way first: activations kept, in
    smaller micro-batches as long as `FULL_TOKENS` are in one; activations computed anew, in
    micro-batches as small as need be; 4 bits under LoRA. The effective batch stays. If nothing
    helps, the plan says that it does not fit.

    Args:
        scale: a scale's name, or scale/variant.
        stage: ``dsft`` or ``ddpo``.
        gpu_memory: bytes on one GPU; None takes the scale's own share.
        gpus: how many train together.
        rate: operations a second and GPU that are sustained; None takes that of `RATES`.

    Raises:
        HandbookError: no such scale; a batch that cannot be shared by that many GPUs.
    """
    setting, family = get_scale(scale), scale.partition("/")[0]
    shape, recipe = SHAPES[family], setting.recipe(stage)
    rows = TRAINING_SETS[family if family in ("miniature", "smol") else "zephyr-7b", stage]
    limit = gpu_memory or setting.memory_gb * GB / (8 if family == "zephyr-7b-full" else 1)
    wanted = share_batch(
        recipe["per_device_train_batch_size"], recipe["gradient_accumulation_steps"], gpus
    )

    def held(changes: dict[str, Any]) -> dict[str, float]:
        return memory_of(shape, recipe | changes, rows, gpus, setting.needs_gpu)

    def fits(changes: dict[str, Any], share: float = 1.0) -> bool:
        return sum(held(changes).values()) <= share * limit

    tokens_per_row = min(rows.longest, recipe["max_length"]) * (2 if "beta" in recipe else 1)
    for anew, least, share in (
        (False, max(1, FULL_TOKENS // tokens_per_row), SPARE),
        (True, 1, 1.0),
    ):
        shared = wanted
        while not fits(changes := _micro_batches(shared, anew), share) and shared[0] > least:
            shared = _smaller(*shared)
        if fits(changes, share):
            break
    if not fits(changes) and recipe.get("use_peft") and setting.needs_gpu:
        changes |= {"load_in_4bit": True, "use_bnb_nested_quant": True}
    changes = {name: value for name, value in changes.items() if recipe.get(name, False) != value}
    final, memory = recipe | changes, held(changes)
    batch = recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
    flops = stage_flops(shape, final, rows)
    return StagePlan(
        stage=stage,
        parameters=shape.parameters,
        trained=shape.adapter(final["lora_r"], final["lora_target_modules"])
        if final.get("use_peft")
        else shape.parameters,
        memory=memory,
        limit=limit,
        levers=_in_words(changes, shared, wanted),
        changes=changes,
        rows_per_update=batch,
        updates=updates(rows.count, batch, final["num_train_epochs"]),
        flops=flops,
        hours=flops / ((rate or RATES[family][0]) * gpus) / 3600,
    )


def _micro_batches(shared: tuple[int, int], anew: bool) -> dict[str, Any]:
    sizes = dict(
        zip(("per_device_train_batch_size", "gradient_accumulation_steps"), shared, strict=True)
    )
    return sizes | {"activation_checkpointing": anew}


def _in_words(
    changes: dict[str, Any], shared: tuple[int, int], wanted: tuple[int, int]
) -> list[str]:
    anew = changes.get("activation_checkpointing")
    told = {None: [], False: ["activations kept"], True: ["activations computed anew"]}[anew]
    if shared != wanted:
        told = [*told, f"micro-batches of {shared[0]}, {shared[1]} of them an update"]
    return [*told, *(["4 bits (QLoRA)"] if changes.get("load_in_4bit") else [])]


def _smaller(share: int, times: int) -> tuple[int, int]:
    """Micro-batches of half as many rows or fewer, and more of them, so that their product stays."""
    rows = max(n for n in range(1, share // 2 + 1) if share * times % n == 0)
    return rows, share * times // rows


# --- how far to trust it ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Anchor:
    """A figure that somebody measured, and what the formulas say.

    Attributes:
        what: the run, in words; where: who says so.
        measured, estimated: in `unit`; `estimated` without the reserve.
    """

    what: str
    where: str
    unit: str
    measured: float
    estimated: float

    @property
    def error(self) -> float:
        """Of the estimate, as a share of the measured figure."""
        return self.estimated / self.measured - 1


def _lora_peak(fused: bool) -> float:
    """GiB of LoRA r = 16 on Llama-3.1-8B, bfloat16, 4 x 1,024 tokens, nothing computed anew."""
    shape, tokens = LLAMA_3_8B, 4096
    adapter = LORA_BYTES * shape.adapter(16, list(shape.projections))
    kept = activations(shape, tokens, 2, lora=True, checkpointing=False) + logits(
        shape, tokens, fused
    )
    return (2 * shape.parameters + adapter + kept + CONTEXT[True]) / 2**30


def _hours(recipe: dict[str, Any], rows: TrainingSet, gpus: int) -> float:
    return (
        stage_flops(SHAPES["zephyr-7b-full"], recipe, rows)
        / (RATES["zephyr-7b-full"][0] * gpus)
        / 3600
    )


def _miniature_peak() -> float:
    memory = memory_of(
        SHAPES["miniature"],
        get_scale("miniature").recipe("dsft"),
        TRAINING_SETS["miniature", "dsft"],
        1,
        False,
    )
    return sum(size for name, size in memory.items() if name != "reserve") / 2**20


def anchors(miniature_peak_mb: float | None = None) -> list[Anchor]:
    """Published figures, and the miniature's own peak if given, each with what the formulas say of
    it.
    """
    sft = {"num_train_epochs": 1, "activation_checkpointing": True}
    dpo = {"num_train_epochs": 3, "beta": 0.1}
    found = [
        Anchor("LoRA of Llama-3.1-8B, 4 x 1,024 tokens, one H100: "
               "peak", "Soup, issue 78", "GiB", 71.0, _lora_peak(False)),
        Anchor("the same with Liger's kernels: "
               "peak", "Soup, issue 78", "GiB", 61.8, _lora_peak(True)),
        Anchor(
            "dSFT of zephyr-7b-sft-full, 8 GPUs of a kind not named", "its model card", "hours",
            5608 / 3600, _hours(sft, TrainingSet(1090 * 128, 2048, 2048, "card"), 8),
        ),
        Anchor(
            "dDPO of zephyr-7b-beta, 16 x A100, 3 epochs", "its model card", "hours",
            23866 / 3600, _hours(dpo, TrainingSet(61_966, 450, 1024, "card"), 16),
        ),
    ]  # fmt: skip
    if miniature_peak_mb:
        found.append(
            Anchor(
                "the miniature's dSFT: peak of the process",
                "measured here",
                "MiB",
                miniature_peak_mb,
                _miniature_peak(),
            )
        )
    return found
