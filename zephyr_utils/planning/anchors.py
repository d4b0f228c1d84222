"""How far to trust the planner: published and measured figures beside what its formulas say."""

from dataclasses import dataclass

from zephyr_utils.planning.memory import (
    LLAMA_3_8B,
    LORA_BYTES,
    TrainingSet,
    activations,
    logits,
)
from zephyr_utils.planning.plan import CONTEXT, memory_of, stage_flops
from zephyr_utils.recipes import Recipe
from zephyr_utils.scales import DEFAULT_SCALE, get_scale


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
    """GiB of LoRA r = 16 on Llama-3.1-8B, bfloat16, 4 x 1,024 tokens, nothing recomputed."""
    shape, tokens = LLAMA_3_8B, 4096
    adapter = LORA_BYTES * shape.adapter(16, list(shape.projections))
    kept = activations(shape, tokens, 2, lora=True, checkpointing=False) + logits(
        shape, tokens, fused
    )
    return (2 * shape.parameters + adapter + kept + CONTEXT[True]) / 2**30


def _hours(recipe: Recipe, rows: TrainingSet, gpus: int) -> float:
    full = get_scale("zephyr-7b-full")
    return stage_flops(full.shape, recipe, rows) / (full.rate.flops * gpus) / 3600


def _default_peak() -> float:
    scale = get_scale(DEFAULT_SCALE)
    memory = memory_of(scale.shape, scale.recipe("dsft"), scale.training_sets["dsft"], 1, False)
    return sum(size for name, size in memory.items() if name != "reserve") / 2**20


def compare_with_anchors(default_peak_mb: float | None = None) -> list[Anchor]:
    """Published figures, and the miniature's own peak if given, each with what the formulas say of
    it.
    """
    sft = Recipe("dsft", {"num_train_epochs": 1, "activation_checkpointing": True})
    dpo = Recipe("ddpo", {"num_train_epochs": 3, "beta": 0.1})
    rows = [
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
    if default_peak_mb:
        rows.append(
            Anchor(
                "the miniature's dSFT: peak of the process",
                "measured here",
                "MiB",
                default_peak_mb,
                _default_peak(),
            )
        )
    return rows
