"""How fast a GPU trains: peaks from vendors' data sheets, and what published runs reached of them.

Hours are operations / (peak x share). The peak is known; the share is not: published runs of models
of 7 and 8 B (`PUBLISHED`) differ by a factor of 2.0 in fine-tuning on long rows, and of 2.8 in DPO.
So the planner gives a range, from the slowest to the fastest of these runs. That another card
reaches the same share is an assumption.
"""

from dataclasses import dataclass

from zephyr_utils.planning.memory import LLAMA_3_8B, TrainingSet
from zephyr_utils.planning.operations import forward_flops, stage_flops
from zephyr_utils.recipes import Recipe, Stage
from zephyr_utils.scales import MISTRAL_7B_SHAPE

NEAR = 0.1  # a card's memory may differ by this share from what was asked for: a T4 offers 15 of 16


@dataclass(frozen=True)
class Card:
    """A GPU as its vendor describes it.

    Attributes:
        memory_gb: in units of 1e9 bytes.
        peak: operations per second on dense matrices in bfloat16 (float16 on the T4), summed in
            float32. Data sheets often print twice that, which holds for sparse matrices alone.
        float32: operations per second in float32, outside the matrix units.
        source: the data sheet.
    """

    name: str
    memory_gb: int
    peak: float
    float32: float
    source: str

    def peak_of(self, dtype: str) -> float:
        """Operations per second with weights of that type, ``bfloat16`` or ``float32``."""
        return self.float32 if dtype == "float32" else self.peak


CARDS = {
    card.name: card
    for card in (
        Card("T4", 16, 65e12, 8.1e12, "NVIDIA T4 data sheet"),
        Card("L4", 24, 121e12, 30.3e12, "NVIDIA L4 data sheet, half of the sparse 242"),
        Card("A10G", 24, 70e12, 35e12, "Amazon EC2 G5 instances; an A10 has 125"),
        Card("RTX 4090", 24, 165e12, 82.6e12, "NVIDIA Ada whitepaper"),
        Card("A100 40 GB", 40, 312e12, 19.5e12, "NVIDIA A100 data sheet"),
        Card("L40S", 48, 362e12, 91.6e12, "NVIDIA L40S data sheet, half of the sparse 733"),
        Card("A100 80 GB", 80, 312e12, 19.5e12, "NVIDIA A100 data sheet"),
        Card("H100", 80, 989e12, 67e12, "NVIDIA H100 SXM data sheet, half of the sparse 1,979"),
        Card("H200", 141, 989e12, 67e12, "NVIDIA H200 data sheet"),
    )
}


@dataclass(frozen=True)
class PublishedRun:
    """A run whose speed somebody published.

    Attributes:
        what: the run, in words.
        source: who says so.
        stage: which of the two stages it resembles.
        card: name of its GPU.
        flops: operations per second and GPU that it sustained.
    """

    what: str
    source: str
    stage: Stage
    card: str
    flops: float

    @property
    def share(self) -> float:
        """Of the card's peak."""
        return self.flops / CARDS[self.card].peak


def _lora(tokens_per_second: float, length: int) -> float:
    """Operations per second of LoRA on Llama-3.1-8B: a forward pass and as much backward."""
    return 2 * forward_flops(LLAMA_3_8B, length) * tokens_per_second


ZEPHYR_PAIRS = TrainingSet(61_966, 450, 1024, "model card of zephyr-7b-beta; tokens assumed")
ZEPHYR_DDPO = Recipe("ddpo", {"num_train_epochs": 3, "share_prompts": False})
ZEPHYR_DDPO_SECONDS, ZEPHYR_DDPO_GPUS = 23_866, 16

PUBLISHED = (
    PublishedRun("LoRA of Llama-3.1-8B through TRL, rows of 1,024 tokens", "Soup, issue 78",
                 "dsft", "H100", _lora(9_621, 1024)),
    PublishedRun("the same with fused kernels", "Soup, issue 78",
                 "dsft", "H100", _lora(10_256, 1024)),
    PublishedRun("QLoRA of Llama-3.1-8B, packed and compiled", "torchtune's README",
                 "dsft", "RTX 4090", _lora(2_413, 2048)),
    PublishedRun("LoRA of Llama-3.1-8B, packed and compiled", "torchtune's README",
                 "dsft", "RTX 4090", _lora(3_083, 2048)),
    PublishedRun("Llama-3-8B, all weights on 64 GPUs, pre-training", "torchtitan, performance.md",
                 "dsft", "A100 80 GB", 0.582 * CARDS["A100 80 GB"].peak),
    PublishedRun("dDPO of zephyr-7b-beta, all weights on 16 GPUs", "its model card",
                 "ddpo", "A100 80 GB", stage_flops(MISTRAL_7B_SHAPE, ZEPHYR_DDPO, ZEPHYR_PAIRS)
                 / ZEPHYR_DDPO_SECONDS / ZEPHYR_DDPO_GPUS),
    PublishedRun("DPO of OLMo-2-7B, all weights on 16 GPUs, tensor-parallel",
                 "allenai/open-instruct, pull request 1467", "ddpo", "H100",
                 0.169 * CARDS["H100"].peak),
    PublishedRun("DPO of OLMo-2-7B, all weights on 16 GPUs, packed and compiled",
                 "allenai/open-instruct, pull request 1466", "ddpo", "H100",
                 0.2248 * CARDS["H100"].peak),
)  # fmt: skip


def shares(stage: Stage) -> tuple[float, float]:
    """Of a card's peak: what the slowest and the fastest published run like this stage reached."""
    reached = [run.share for run in PUBLISHED if run.stage == stage]
    return min(reached), max(reached)


def cards_of_size(memory: float) -> list[Card]:
    """The cards with about that many bytes, slowest first; none where no such card is known."""
    near = [
        card for card in CARDS.values() if abs(card.memory_gb * 1e9 / memory - 1) <= NEAR + 1e-9
    ]
    return sorted(near, key=lambda card: card.peak)


def hours_range(
    flops: float, stage: Stage, card: Card, gpus: int = 1, dtype: str = "bfloat16"
) -> tuple[float, float]:
    """Hours of a stage on that card at the fastest and at the slowest published share."""
    slow, fast = shares(stage)
    at_peak = flops / (card.peak_of(dtype) * gpus) / 3600
    return at_peak / fast, at_peak / slow
