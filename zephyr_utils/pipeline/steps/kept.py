"""Adapters that a training leaves on its way, for the website's sliders."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from zephyr_utils.chat import load_model
from zephyr_utils.training.save import save_adapter

KEPT_ADAPTERS = "kept"  # the folder of those that a training leaves on its way
KEPT = 8  # adapters of a training


def kept_steps(steps: int) -> list[int]:
    """The steps after which an adapter is kept: the last of each eighth of the training, each step
    of a training with fewer than eight.
    """
    return sorted({math.ceil(steps * part / KEPT) for part in range(1, KEPT + 1)})


def halved_steps(steps: int) -> list[int]:
    """The same for a training that changes most at its beginning: the last step, and seven times
    the half of the step that follows.

    >>> halved_steps(680)
    [6, 11, 22, 43, 85, 170, 340, 680]
    """
    return sorted({math.ceil(steps / 2**halvings) for halvings in range(KEPT)})


class KeepAdapters(TrainerCallback):
    """Leave the adapter as it is after some steps in ``step_N/`` of a folder.

    Args:
        folder: where they are written.
        chosen: the steps of a training of so many, such as `kept_steps`.
    """

    def __init__(self, folder: Path, chosen: Callable[[int], Sequence[int]]) -> None:
        self.folder, self.chosen = folder, chosen

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        if state.global_step in self.chosen(state.max_steps):
            target = self.folder / step_folder(state.global_step)
            save_adapter(model, target, state.is_world_process_zero)


def step_folder(step: int) -> str:
    """What the folder with the adapter after this step is called."""
    return f"step_{step}"


def merged_models(
    start: str | Path, adapters: Mapping[int, Path]
) -> Iterator[tuple[int, PreTrainedModel]]:
    """(step, model) of the start, step 0, and then of each adapter merged into it."""
    yield 0, load_model(start, dtype="float32")[0]
    for step, folder in sorted(adapters.items()):
        adapted: Any = PeftModel.from_pretrained(load_model(start, dtype="float32")[0], folder)
        yield step, adapted.merge_and_unload()
