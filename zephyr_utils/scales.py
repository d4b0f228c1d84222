"""The dial: one name chooses base model, data, recipes, exam and what the planner assumes.

A scale is one entry below and its recipes. Each address may be replaced by a local path, which is
how one's own data is used, and how real data is used where the Hub cannot be reached.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zephyr_utils.data.read import HubAddress
from zephyr_utils.errors import HandbookError
from zephyr_utils.exams import VERIFIABLE_EXAM, Exam
from zephyr_utils.machine import hardware_found
from zephyr_utils.miniature import lazy
from zephyr_utils.planning.memory import Shape, TrainingSet
from zephyr_utils.recipes import Recipe, Stage, load_recipe, recipe_path

if TYPE_CHECKING:
    from zephyr_utils.online.pairs import RateAnswers

ULTRACHAT_RAW = HubAddress("stingning/ultrachat", None, split="train")
ULTRACHAT_200K = HubAddress(
    "HuggingFaceH4/ultrachat_200k", "8049631c405ae6576f93f445c6b8166f76f5505a", split="train_sft"
)
ULTRAFEEDBACK = HubAddress(
    "openbmb/UltraFeedback", "40b436560ca83a8dba36114c22ab3c66e43f6d5e", split="train"
)
MISTRAL_7B = HubAddress("mistralai/Mistral-7B-v0.1", "27d67f1b5f57dc0953326b2601d68371d40ea8da")
SMOLLM2_135M = HubAddress("HuggingFaceTB/SmolLM2-135M", "93efa2f097d58c2a74874c7e644dbc9b0cee75a2")
DEFAULT_SCALE = "miniature"


@dataclass(frozen=True)
class Generated:
    """Records that the package makes itself, in the schema that the Hub serves.

    Attributes:
        name: of the set, ``dialogues`` or ``feedback``.
        description: what it is, in words, for a model card.
        write: writes all sets, drawn by a seed, into a folder and returns name -> file.
        sample: makes a few of the records, to tell whether they are still the same.
        module: dotted name of the module that makes the records.
    """

    name: str
    description: str
    write: Callable[[Path, int], dict[str, Path]]
    sample: Callable[[], list[Any]]
    module: str


Source = HubAddress | Path | Generated


@dataclass(frozen=True)
class Rate:
    """Floating-point operations per second that a training sustained on a CPU."""

    flops: float
    source: str


@dataclass(frozen=True)
class Scale:
    """One setting of the dial.

    Attributes:
        base_model, dialogues, feedback: where they are from.
        base_name: what the base model is called in a model card when it has no address.
        limit: rows read of each data set; None reads all.
        exam: what models of this scale are asked.
        runs_on: what it needs, in words, for tables.
        needs_gpu: whether training without one is refused.
        memory_gb: memory that training takes, of all GPUs if `needs_gpu` and else of the machine.
        devices: GPUs that share `memory_gb`.
        shape: of the base model, for the planner.
        training_sets: what each stage trains on, for the planner.
        rate: measured on a CPU; None where a GPU trains, whose rates are in `planning.rates`.
        dtype: of the weights when a model answers; None keeps what they were saved in.
        searched: whether the learning rates were searched here, or taken from published recipes.
        own_data_changes: recipe values for records of one's own, where the scale's own records are
            unlike any others.
        introduction: what a model of this scale knows and a few questions that work, for
            `zephyr chat`; empty where it is not a particular world.
        shipped: loads a model of that name which comes with the package, trained; None where none
            does.
        feedback_judge: makes, from a seed, the judge that rates any answers to the feedback's
            prompts as the feedback's own are rated; None where there is none.
    """

    name: str
    base_model: HubAddress | Path
    dialogues: Source
    feedback: Source
    limit: int | None
    exam: Exam
    runs_on: str
    needs_gpu: bool
    memory_gb: int
    shape: Shape
    training_sets: Mapping[Stage, TrainingSet]
    rate: Rate | None = None
    devices: int = 1
    dtype: str | None = None
    base_name: str = ""
    searched: bool = False
    own_data_changes: Mapping[Stage, Mapping[str, Any]] = field(default_factory=dict)
    introduction: Callable[[], str] = str
    shipped: Callable[[str], tuple[Any, Any]] | None = None
    feedback_judge: "Callable[[int], RateAnswers] | None" = None

    @property
    def keeps_adapters(self) -> bool:
        """Whether trainings leave adapters on their way: the website shows those of a base model
        that comes with the package.
        """
        return isinstance(self.base_model, Path)

    def recipe(self, stage: Stage, **changes: Any) -> Recipe:
        """The scale's recipe for ``dsft`` or ``ddpo``, with `changes`."""
        return load_recipe(recipe_path(self.name, stage), stage, **changes)

    def with_local(self, **paths: str | Path | None) -> "Scale":
        """The scale with addresses replaced by local paths; empty ones leave the address."""
        local: dict[str, Any] = {name: Path(path) for name, path in paths.items() if path}
        return dataclasses.replace(self, **local)


def _miniature_records(name: str) -> Generated:
    return Generated(
        name,
        "the handbook's closed world, made by the package",
        lazy.write_records,
        lazy.sample_records,
        module="zephyr_utils.miniature.data",
    )


MINIATURE_EXAM = Exam(
    "the miniature's held-out questions",
    "the miniature's rule-based teacher",
    lazy.questions,
    lazy.judge,
)
SMOL_SETS: dict[Stage, TrainingSet] = {
    "dsft": TrainingSet(
        19_000, 800, 1024, "assumed: 20,000 raw dialogues, shortened to 1,024 tokens, 5 % held out"
    ),
    # Prompts are 36 % of the characters of a sequence in 800 real pairs.
    "ddpo": TrainingSet(18_000, 450, 1024, "assumed: 20,000 prompts, a tenth held out", prompt=160),
}
ZEPHYR_SETS: dict[Stage, TrainingSet] = {
    "dsft": TrainingSet(
        139_264,
        2048,
        2048,
        "published: 272 steps of 512 packed rows (alignment-handbook, issue 31)",
    ),
    "ddpo": TrainingSet(
        61_135, 450, 1024, "rows published (ultrafeedback_binarized), tokens assumed", prompt=160
    ),
}
MISTRAL_7B_SHAPE = Shape(4096, 14336, 32, 32, 8, 32000, tied=False)
SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            "miniature",
            base_model=Path(__file__).parent / "miniature" / "base",
            base_name="zephyr-handbook/miniature-base",
            dialogues=_miniature_records("dialogues"),
            feedback=_miniature_records("feedback"),
            limit=None,
            exam=MINIATURE_EXAM,
            runs_on="any CPU, offline, no account, minutes",
            needs_gpu=False,
            memory_gb=2,
            shape=Shape(160, 448, 4, 4, 2, 1200, tied=True, head_dim=40),
            training_sets={
                "dsft": TrainingSet(5430, 90, 222, "measured"),
                "ddpo": TrainingSet(3315, 44, 79, "measured", prompt=23),
            },
            rate=Rate(2e10, "measured: the miniature's own dSFT on one core"),
            dtype="float32",
            searched=True,
            # Real answers are long beside the miniature's: sixteen pairs at once took 3.2 GB, and
            # few pairs gave few steps.
            own_data_changes={"ddpo": {"per_device_train_batch_size": 4}},
            introduction=lazy.introduction,
            shipped=lazy.shipped_model,
            feedback_judge=lazy.feedback_judge,
        ),
        Scale(
            "smol",
            base_model=SMOLLM2_135M,
            dialogues=ULTRACHAT_RAW,
            feedback=ULTRAFEEDBACK,
            limit=20_000,
            exam=VERIFIABLE_EXAM,
            runs_on="a Colab T4, or a laptop with patience",
            needs_gpu=False,
            memory_gb=8,
            shape=Shape(576, 1536, 30, 9, 3, 49152, tied=True),
            training_sets=SMOL_SETS,
            rate=Rate(4.8e10, "measured: its dSFT on two shared CPU cores, benchmarks/smol.py"),
        ),
        Scale(
            "zephyr-7b-lora",
            base_model=MISTRAL_7B,
            dialogues=ULTRACHAT_200K,
            feedback=ULTRAFEEDBACK,
            limit=None,
            exam=VERIFIABLE_EXAM,
            runs_on="one GPU of 40 GB; of 24 GB with QLoRA",
            needs_gpu=True,
            memory_gb=24,
            shape=MISTRAL_7B_SHAPE,
            training_sets=ZEPHYR_SETS,
        ),
        Scale(
            "zephyr-7b-full",
            base_model=MISTRAL_7B,
            dialogues=ULTRACHAT_200K,
            feedback=ULTRAFEEDBACK,
            limit=None,
            exam=VERIFIABLE_EXAM,
            runs_on="8 x 80 GB through accelerate launch",
            needs_gpu=True,
            memory_gb=640,
            devices=8,
            shape=MISTRAL_7B_SHAPE,
            training_sets=ZEPHYR_SETS,
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


def scale_names() -> list[str]:
    """All that ``--scale`` takes: each scale, and each of its variants as ``scale/variant``."""
    return [
        name for scale in SCALES for name in (scale, *(f"{scale}/{v}" for v in variants(scale)))
    ]


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
