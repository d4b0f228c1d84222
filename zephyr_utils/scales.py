"""The dial: one name chooses the base model, the data and the recipes; everything else follows from
it.

A scale is four addresses and two recipes. Each address may be replaced by a local path, which is
how one's own data is used, and how real data is used where the Hub cannot be reached.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zephyr_utils.data.records import HubAddress
from zephyr_utils.errors import HandbookError
from zephyr_utils.machine import hardware_found
from zephyr_utils.recipes import load_recipe, recipe_path

# the address of what the package makes itself: base model, dialogues, feedback, questions
MINIATURE = "miniature"

ULTRACHAT_RAW = HubAddress("stingning/ultrachat", None, split="train")
ULTRACHAT_200K = HubAddress(
    "HuggingFaceH4/ultrachat_200k", "8049631c405ae6576f93f445c6b8166f76f5505a", split="train_sft"
)
ULTRAFEEDBACK = HubAddress(
    "openbmb/UltraFeedback", "40b436560ca83a8dba36114c22ab3c66e43f6d5e", split="train"
)
MISTRAL_7B = HubAddress("mistralai/Mistral-7B-v0.1", "27d67f1b5f57dc0953326b2601d68371d40ea8da")
SMOLLM2_135M = HubAddress("HuggingFaceTB/SmolLM2-135M", "93efa2f097d58c2a74874c7e644dbc9b0cee75a2")


@dataclass(frozen=True)
class Scale:
    """One setting of the dial.

    Attributes:
        base_model, dialogues, feedback: a `HubAddress`, a local path, or `MINIATURE`.
        limit: rows read of each data set; None reads all.
        runs_on: what it needs, in words, for tables.
        memory_gb: memory that training takes, of the GPU if `needs_gpu` and else of the machine.
    """

    name: str
    base_model: HubAddress | Path | str
    dialogues: HubAddress | Path | str
    feedback: HubAddress | Path | str
    limit: int | None
    needs_gpu: bool
    memory_gb: int
    runs_on: str

    def recipe(self, stage: str, **changes: Any) -> dict[str, Any]:
        """The scale's recipe for ``dsft`` or ``ddpo``, with `changes`."""
        return load_recipe(recipe_path(self.name, stage), stage, **changes)

    def with_local(self, **paths: str | Path | None) -> "Scale":
        """The scale with addresses replaced by local paths; empty ones leave the address."""
        return dataclasses.replace(
            self, **{name: Path(path) for name, path in paths.items() if path}
        )


SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            "miniature",
            base_model=MINIATURE,
            dialogues=MINIATURE,
            feedback=MINIATURE,
            limit=None,
            needs_gpu=False,
            memory_gb=2,
            runs_on="any CPU, offline, no account, minutes",
        ),
        Scale(
            "smol",
            base_model=SMOLLM2_135M,
            dialogues=ULTRACHAT_RAW,
            feedback=ULTRAFEEDBACK,
            limit=20_000,
            needs_gpu=False,
            memory_gb=8,
            runs_on="a Colab T4, or a laptop with patience",
        ),
        Scale(
            "zephyr-7b-lora",
            base_model=MISTRAL_7B,
            dialogues=ULTRACHAT_200K,
            feedback=ULTRAFEEDBACK,
            limit=None,
            needs_gpu=True,
            memory_gb=24,
            runs_on="one GPU of 40 GB; of 24 GB with QLoRA",
        ),
        Scale(
            "zephyr-7b-full",
            base_model=MISTRAL_7B,
            dialogues=ULTRACHAT_200K,
            feedback=ULTRAFEEDBACK,
            limit=None,
            needs_gpu=True,
            memory_gb=640,
            runs_on="8 x 80 GB through accelerate launch",
        ),
    )
}


def get_scale(name: str) -> Scale:
    """The scale of that name; ``scale/variant``, such as ``zephyr-7b-lora/qlora``, is the scale
    with other recipes.

    Raises:
        HandbookError: there is none; the message lists those there are.
    """
    scale, _, variant = name.partition("/")
    if scale not in SCALES:
        raise HandbookError(
            f"there is no scale `{name}`",
            where="--scale",
            remedy=f"choose one of {', '.join(SCALES)}",
        )
    if not variant:
        return SCALES[scale]
    there = variants(scale)
    if variant not in there:
        remedy = (
            f"choose one of {', '.join(there)}" if there else f"it has none: write --scale {scale}"
        )
        raise HandbookError(
            f"the scale `{scale}` has no variant `{variant}`", where="--scale", remedy=remedy
        )
    return dataclasses.replace(SCALES[scale], name=name)


def variants(scale: str) -> list[str]:
    """The names of a scale's further recipes: folders beside its own, each with both files."""
    return sorted(
        path.parent.name for path in recipe_path(scale, "dsft").parent.glob("*/dsft.yaml")
    )


def fetch_model(address: HubAddress) -> str:
    """The local copy of a model on the Hub at its pinned revision: safetensors, configuration and
    tokenizer.

    Raises:
        HandbookError: there is no network, a gate, or no model of that name.
    """
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt"]
    try:
        # "consolidated" holds the same weights once more, in another library's layout.
        return snapshot_download(
            address.path,
            revision=address.revision,
            allow_patterns=wanted,
            ignore_patterns=["consolidated*"],
        )
    except Exception as error:  # each of these has an error of its own
        raise HandbookError(
            f"the model cannot be fetched: {type(error).__name__}: "
            f"{str(error).strip().partition(chr(10))[0]}",
            where=address.path,
            remedy="check the network and your access to the model, or name a directory: "
            "--base-model DIR",
        ) from error


def check_machine(scale: Scale) -> str:
    """What this machine has, in a sentence; refuses a scale that needs a GPU where there is none.

    Raises:
        HandbookError: the scale needs a GPU and PyTorch sees none.
    """
    import torch

    if scale.needs_gpu and not torch.cuda.is_available():
        raise HandbookError(
            f"the scale `{scale.name}` needs a GPU and PyTorch sees none ({scale.runs_on})",
            where="--scale",
            remedy="use --scale miniature on this machine, or open the chapter on a machine with a "
            "GPU",
        )
    return hardware_found()
