"""Does it fit, and how long will it take: the planner's formulas, with the choices at hand.

``planner.js`` has the formulas once more, for pages without a kernel; a test holds them against
those of ``planning``. Constants, shapes, cards and shares come from there.
"""

import dataclasses
from typing import Any

import traitlets

from zephyr_utils.explorers.common import Explorer, script
from zephyr_utils.planning.memory import (
    FUSED_HEAD_TOKENS,
    FUSED_HEAD_WORDS,
    LLAMA_3_8B,
    LORA_BYTES,
    NF4_NESTED_BYTES,
    Shape,
)
from zephyr_utils.planning.plan import CONTEXT, RESERVE, SPARE
from zephyr_utils.planning.rates import CARDS, shares
from zephyr_utils.planning.report import TERMS
from zephyr_utils.recipes import STAGES
from zephyr_utils.scales import get_scale

METHODS = ("full", "lora", "qlora")
GPUS, ROWS, LENGTHS = (1, 2, 4, 8, 16), (1, 2, 4, 8, 16, 32), (512, 1024, 2048, 4096, 8192)
RANK = 16  # of the LoRA, on all seven maps
# name -> the model's shape, and the scale whose rows it is planned for
MODELS: dict[str, tuple[Shape, str]] = {
    "SmolLM2-135M": (get_scale("smol").shape, "smol"),
    "Mistral-7B": (get_scale("zephyr-7b-lora").shape, "zephyr-7b-lora"),
    "Llama-3.1-8B": (LLAMA_3_8B, "zephyr-7b-lora"),
}


def facts() -> dict[str, Any]:
    """What the formulas in the script are given: shapes, rows, cards, shares and constants."""
    models = {}
    for name, (shape, scale) in MODELS.items():
        sets = get_scale(scale).training_sets
        models[name] = {
            "shape": dataclasses.asdict(shape),
            "sets": {stage: dataclasses.asdict(sets[stage]) for stage in STAGES},
        }
    cards = [
        {"name": card.name, "memory_gb": card.memory_gb, "peak": card.peak}
        for card in CARDS.values()
    ]
    slow, fast = shares("ddpo")
    return {
        "models": models,
        "cards": cards,
        "shares": {stage: list(shares(stage)) for stage in STAGES},
        "terms": TERMS,
        "gpus": GPUS,
        "rows": ROWS,
        "lengths": LENGTHS,
        "rank": RANK,
        "lora_bytes": LORA_BYTES,
        "nf4_bytes": NF4_NESTED_BYTES,
        "head_tokens": FUSED_HEAD_TOKENS,
        "head_words": FUSED_HEAD_WORDS,
        "reserve": RESERVE,
        "spare": SPARE,
        "context": CONTEXT[True],
        "note": (
            f"In bfloat16 with AdamW; LoRA of rank {RANK} on all seven maps. All weights are "
            "spread over the GPUs, an adapter's base is whole on each. Memory is good to about a "
            "third. Hours span the published shares of a card's peak, in dDPO "
            f"{100 * slow:.0f} to {100 * fast:.0f} %, all of models of 7 and 8 billion weights: a "
            "much smaller model reaches "
            "less. A T4 has no bfloat16; its peak is for float16."
        ),
    }


class Planner(Explorer):
    """Memory by term and a range of hours, for a model, a stage, a card and a batch.

    Attributes:
        model: one of `MODELS`.
        stage: ``dsft`` or ``ddpo``.
        method: what is trained, one of `METHODS`.
        card: the name of a card in `planning.rates.CARDS`.
        gpus, rows, length: how many train together, rows (pairs) in a micro-batch, tokens of the
            longest row; of `GPUS`, `ROWS`, `LENGTHS`. dSFT packs its rows to that length.
        epochs: 1 to 3.
        recompute: whether activations are recomputed.
        precomputed: whether the reference's log-probabilities are computed before training.
        facts: what the formulas are given.
    """

    _esm = script("planner")

    model = traitlets.Enum(tuple(MODELS), "Mistral-7B").tag(sync=True)
    stage = traitlets.Enum(STAGES, "ddpo").tag(sync=True)
    method = traitlets.Enum(METHODS, "lora").tag(sync=True)
    card = traitlets.Enum(tuple(CARDS), "A100 40 GB").tag(sync=True)
    gpus = traitlets.Enum(GPUS, 1).tag(sync=True)
    rows = traitlets.Enum(ROWS, 4).tag(sync=True)
    length = traitlets.Enum(LENGTHS, 1024).tag(sync=True)
    epochs = traitlets.Int(1, min=1, max=3).tag(sync=True)
    recompute = traitlets.Bool(True).tag(sync=True)
    precomputed = traitlets.Bool(True).tag(sync=True)
    facts: "traitlets.Dict[str, Any]" = traitlets.Dict().tag(sync=True)

    def __init__(self, **values: Any) -> None:
        super().__init__(facts=facts(), **values)
