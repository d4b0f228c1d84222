"""dDPO once more, with its adapter kept on the way, and what each of these models does.

The training is the one of step 5: same start, pairs, recipe and seed. After it comes model
extrapolation (ExPO, arXiv 2404.16792, equation 1), which trains nothing: the change that the
training made to the weights, times 1 + a.
"""

import math
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peft import PeftModel
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from zephyr_utils import diagnostics, training
from zephyr_utils.chat import load_model
from zephyr_utils.evaluation.exam import ask_questions
from zephyr_utils.evaluation.grading import grade_answers
from zephyr_utils.evaluation.intervals import bootstrap_interval
from zephyr_utils.evaluation.judges import Judge
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.objectives import extrapolate_weights
from zephyr_utils.pipeline.steps.ddpo import split_pairs
from zephyr_utils.recipes import Recipe
from zephyr_utils.training.save import CHECKPOINTS, save_adapter

KEPT = 8  # adapters of a training
FACTORS = (1.25, 1.5, 1.75, 2.0)  # ExPO's 1 + a, of the last adapter
SHOWN_PAIRS = 6  # held-out pairs whose own margins are kept, evenly spaced


def kept_steps(steps: int) -> list[int]:
    """The steps after which an adapter is kept: the last of each eighth of the training, each step
    of a training with fewer than eight.
    """
    return sorted({math.ceil(steps * part / KEPT) for part in range(1, KEPT + 1)})


class _KeepAdapters(TrainerCallback):
    """Leave the adapter as it is after each of the `kept_steps`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **_: Any,
    ) -> None:
        if state.global_step in kept_steps(state.max_steps):
            target = self.folder / _name(state.global_step)
            save_adapter(model, target, state.is_world_process_zero)


def _name(step: int) -> str:
    """What the folder with the adapter after this step is called."""
    return f"step_{step}"


def train_checkpoints(
    folder: Path,
    base_model: str,
    start: Path,
    pairs: Path,
    ties: str,
    recipe: Recipe,
    reference_folder: Path,
    questions: Sequence[MTBenchQuestion],
    judge: Judge,
    max_new_tokens: int,
) -> dict[str, Any]:
    """Leave the adapters in folders of their own; returns which, and what was measured of them.

    Args:
        folder: where they are written.
        base_model, start, pairs, ties, recipe, reference_folder: as for `ddpo.train_ddpo`.
        questions: in MT-Bench's schema; none that the models are chosen or compared by.
        judge: one with a ``right_from``.
        max_new_tokens: of the longest answer.

    Returns:
        ``adapters``, step -> folder; ``points``, for the start, each adapter and each of `FACTORS`
        ``{step, factor, margin, accuracy, right, right_low, right_high, margins}``, of which
        `margin` and `accuracy` are of all held-out pairs, `right` (with a 95 % interval) is a share
        of answers and `margins` are those of ``pairs``, ``[{prompt, chosen, rejected}]``; and
        ``answers``, ``rows_trained`` and ``rows_held_out``, how many there were.
    """
    train, held_out, _ = split_pairs(pairs, base_model, recipe.max_length, ties)
    trainer = training.ddpo_trainer(start, train, folder, recipe, reference_folder=reference_folder)
    trainer.add_callback(_KeepAdapters(folder))
    training.train_and_log(trainer, folder)
    steps = kept_steps(trainer.state.max_steps)
    shutil.rmtree(folder / CHECKPOINTS)
    measured = _measure(folder, start, steps, held_out, recipe, questions, judge, max_new_tokens)
    return {
        "rows_trained": len(train),
        "rows_held_out": len(held_out),
        "adapters": {str(step): _name(step) for step in steps},
        **measured,
    }


def _measure(
    folder: Path,
    start: Path,
    steps: list[int],
    held_out: Sequence[dict[str, Any]],
    recipe: Recipe,
    questions: Sequence[MTBenchQuestion],
    judge: Judge,
    max_new_tokens: int,
) -> dict[str, Any]:
    """Margins of the held-out pairs and right answers, of the start and of each model after it."""
    tokenizer = load_model(start)[1]
    shown = list(range(0, len(held_out), -(-len(held_out) // SHOWN_PAIRS)))
    reference: dict[str, Any] = {}
    points = []
    for step, factor, model in _models(folder, start, steps):
        sums = _log_probs(model, tokenizer, held_out)
        reference = reference or sums
        margins = diagnostics.reward_margins(
            sums["chosen"],
            sums["rejected"],
            reference["chosen"],
            reference["rejected"],
            recipe["beta"],
        )
        right = _right(model, tokenizer, questions, judge, max_new_tokens)
        share = bootstrap_interval(right)
        points.append(
            {
                "step": step,
                "factor": factor,
                "margin": margins.mean_margin.estimate,
                "accuracy": margins.accuracy.estimate,
                "right": share.estimate,
                "right_low": share.low,
                "right_high": share.high,
                "margins": [float(margins.margins[place]) for place in shown],
            }
        )
    return {
        "points": points,
        "pairs": [
            {
                "prompt": held_out[place]["chosen"][-2]["content"],
                "chosen": held_out[place]["chosen"][-1]["content"],
                "rejected": held_out[place]["rejected"][-1]["content"],
            }
            for place in shown
        ],
        "answers": sum(len(question["turns"]) for question in questions),
    }


def _models(
    folder: Path, start: Path, steps: list[int]
) -> Iterator[tuple[int, float, PreTrainedModel]]:
    """(step, factor of its change, model): the start, each adapter, and the last extrapolated."""
    model, _ = load_model(start, dtype="float32")
    before = {name: values.clone() for name, values in model.state_dict().items()}
    yield 0, 1.0, model
    for step in steps:
        adapted: Any = PeftModel.from_pretrained(
            load_model(start, dtype="float32")[0], folder / _name(step)
        )
        yield step, 1.0, (merged := adapted.merge_and_unload())
    after = merged.state_dict()
    for factor in FACTORS:
        model.load_state_dict(extrapolate_weights(before, after, factor - 1))
        yield steps[-1], factor, model


def _log_probs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Log-probabilities of the pairs' answers, in nats: side -> (pairs,)."""
    return {
        side: training.answer_log_probs(model, tokenizer, [pair[side] for pair in pairs]).numpy()
        for side in ("chosen", "rejected")
    }


def _right(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[MTBenchQuestion],
    judge: Judge,
    max_new_tokens: int,
) -> list[float]:
    """The share of right answers to the turns of each question, decoded greedily."""
    answers = ask_questions(
        model, tokenizer, "checkpoint", questions, temperature=0.0, max_new_tokens=max_new_tokens
    )
    judged = grade_answers(questions, answers, judge, "checkpoint")
    right_from: float = getattr(judge, "right_from")  # noqa: B009 - no judge must have one
    scores: dict[Any, list[float]] = defaultdict(list)
    for row in judged:
        scores[row["question_id"]].append(row["score"])
    return [float(np.mean(np.array(of_one) >= right_from)) for of_one in scores.values()]
