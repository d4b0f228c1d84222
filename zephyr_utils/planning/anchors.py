"""How far to trust the planner: published and measured figures beside what its formulas say."""

from dataclasses import dataclass

from zephyr_utils.planning.memory import (
    LLAMA_3_8B,
    LORA_BYTES,
    TrainingSet,
    activations,
    logits,
)
from zephyr_utils.planning.operations import stage_flops
from zephyr_utils.planning.plan import CONTEXT, RESERVE, memory_of
from zephyr_utils.planning.rates import (
    CARDS,
    ZEPHYR_DDPO,
    ZEPHYR_DDPO_GPUS,
    ZEPHYR_DDPO_SECONDS,
    ZEPHYR_PAIRS,
    hours_range,
)
from zephyr_utils.recipes import Recipe
from zephyr_utils.scales import DEFAULT_SCALE, MISTRAL_7B_SHAPE, get_scale

TOLERANCE = 0.02  # of either end of an estimate, by which a figure may lie outside


@dataclass(frozen=True)
class Anchor:
    """A figure that somebody measured, and what the formulas say.

    Attributes:
        what: the run, in words; where: who says so.
        measured: in `unit`.
        low, high: the estimate in `unit`: of memory the bare count and with the planner's reserve,
            of hours the fastest and the slowest published share of the card's peak.
        used: whether the estimate was fitted to this very figure, so that it is not a test of it.
    """

    what: str
    where: str
    unit: str
    measured: float
    low: float
    high: float
    used: bool = False

    @property
    def inside(self) -> bool:
        """Whether the measured figure is within the estimate, give or take `TOLERANCE`."""
        return self.low * (1 - TOLERANCE) <= self.measured <= self.high * (1 + TOLERANCE)

    @property
    def error(self) -> float:
        """Of the nearer end of the estimate, as a share of the measured figure; 0 inside."""
        if self.inside:
            return 0.0
        return (self.low if self.measured < self.low else self.high) / self.measured - 1


def _lora_peak(fused: bool) -> tuple[float, float]:
    """GiB of LoRA r = 16 on Llama-3.1-8B, bfloat16, 4 x 1,024 tokens, nothing recomputed."""
    shape, tokens = LLAMA_3_8B, 4096
    adapter = LORA_BYTES * shape.adapter(16, list(shape.projections))
    kept = activations(shape, tokens, 2, lora=True, checkpointing=False) + logits(
        shape, tokens, fused
    )
    count = 2 * shape.parameters + adapter + kept + CONTEXT[True]
    return count / 2**30, (count + RESERVE * kept) / 2**30


def _hours(recipe: Recipe, rows: TrainingSet, card: str, gpus: int) -> tuple[float, float]:
    flops = stage_flops(MISTRAL_7B_SHAPE, recipe, rows)
    return hours_range(flops, recipe.stage, CARDS[card], gpus)


def _default_peak() -> tuple[float, float]:
    scale = get_scale(DEFAULT_SCALE)
    memory = memory_of(scale.shape, scale.recipe("dsft"), scale.training_sets["dsft"], 1, False)
    count = sum(size for name, size in memory.items() if name != "reserve")
    return count / 2**20, (count + memory["reserve"]) / 2**20


def compare_with_anchors(default_peak_mb: float | None = None) -> list[Anchor]:
    """Published figures, and the miniature's own peak if given, each with what the formulas say of
    it.
    """
    sft = Recipe("dsft", {"num_train_epochs": 1, "activation_checkpointing": True})
    qlora = Recipe(
        "ddpo",
        {
            "num_train_epochs": 1,
            "use_peft": True,
            "activation_checkpointing": True,
            "share_prompts": False,
        },
    )
    packed = TrainingSet(1090 * 128, 2048, 2048, "its card: 1,090 steps of 128 rows")
    rows = [
        Anchor("LoRA of Llama-3.1-8B, 4 x 1,024 tokens, one H100: peak", "Soup, issue 78", "GiB",
               71.0, *_lora_peak(False), used=True),
        Anchor("the same with Liger's kernels: peak", "Soup, issue 78", "GiB",
               61.8, *_lora_peak(True)),
        Anchor("dSFT of zephyr-7b-sft-full, 8 GPUs, not named: if H100", "its model card",
               "hours", 5608 / 3600, *_hours(sft, packed, "H100", 8)),
        Anchor("the same, if A100", "its model card",
               "hours", 5608 / 3600, *_hours(sft, packed, "A100 80 GB", 8)),
        Anchor("dDPO of zephyr-7b-dpo-qlora, not named: if 8 A100", "its model card",
               "hours", 7610 / 3600, *_hours(qlora, ZEPHYR_PAIRS, "A100 80 GB", 8)),
        Anchor("dDPO of zephyr-7b-beta, 16 x A100, 3 epochs", "its model card",
               "hours", ZEPHYR_DDPO_SECONDS / 3600,
               *_hours(ZEPHYR_DDPO, ZEPHYR_PAIRS, "A100 80 GB", ZEPHYR_DDPO_GPUS), used=True),
    ]  # fmt: skip
    if default_peak_mb:
        rows.append(
            Anchor("the miniature's dSFT: peak of the process", "measured here", "MiB",
                   default_peak_mb, *_default_peak())
        )  # fmt: skip
    return rows
