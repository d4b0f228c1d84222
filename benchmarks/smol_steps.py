"""What one dDPO step of a real model costs: ours beside TRL's defaults, on the same pairs."""

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from steps import Clock, trl_defaults

from zephyr_utils import training
from zephyr_utils.pipeline.pipeline import Pipeline

STEPS = 2  # of a pass


def compare_steps(pipeline: Pipeline, rounds: int, console: Console) -> dict[str, Any]:
    """Seconds per step of the arms, pass by pass in turns, and the medians of their ratios to
    TRL's defaults.

    The reference of ours is computed before the clock starts; that of TRL's defaults is live, so it
    is part of each step. They compute in bfloat16; ours computes in what the pipeline's recipe
    says, and, as an arm of its own, in the other of float32 and bfloat16.
    """
    pairs, _, _ = pipeline.split_pairs()
    recipe = pipeline.recipe("ddpo")
    pairs = pairs[: STEPS * recipe.rows_per_step]
    other = "float32" if recipe["bf16"] else "bfloat16"
    arms: dict[str, Callable[..., dict[str, Any]]] = {
        "ours": ours,
        f"ours, {other}": partial(ours, bf16=not recipe["bf16"]),
        "trl": theirs,
    }
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for number in range(rounds):
        for name, arm in list(arms.items())[:: -1 if number % 2 else 1]:
            with tempfile.TemporaryDirectory() as folder:
                measured[name].append(arm(pipeline, pairs, Path(folder)))
            console.print(
                f"{name}: {measured[name][-1]['wall_ms'] / 1000:.1f} s per step", highlight=False
            )
    ratios = {
        f"{name} / trl": [
            a["wall_ms"] / b["wall_ms"]
            for a, b in zip(measured[name], measured["trl"], strict=True)
        ]
        for name in arms
        if name != "trl"
    }
    return {
        "pairs_per_update": recipe.rows_per_step,
        "other_precision": other,
        **{name: statistics.median(values) for name, values in ratios.items()},
        "rounds": ratios,
        "measured": measured,
    }


def ours(pipeline: Pipeline, pairs: list[dict], folder: Path, **levers: Any) -> dict[str, Any]:
    """The trainer that `training.ddpo` makes."""
    clock = Clock()
    recipe = pipeline.recipe("ddpo") | {"save_strategy": "no", **levers}
    start = pipeline.model_directory("dsft")
    trainer = training.ddpo_trainer(
        start, pairs, folder, recipe, chat_template=pipeline.chat_template
    )
    trainer.add_callback(clock)
    return clock.result(training.train_and_log(trainer, folder))


def theirs(pipeline: Pipeline, pairs: list[dict], folder: Path) -> dict[str, Any]:
    """TRL's defaults (bfloat16, activations recomputed, a live reference), batch and length
    apart.
    """
    recipe = pipeline.recipe("ddpo")
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "max_length")
    same = {name: recipe[name] for name in names}
    start = pipeline.model_directory("dsft")
    return trl_defaults(start, recipe, pairs, folder, logging_steps=1, **same)
