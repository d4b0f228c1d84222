"""dDPO once more, with its adapter kept on the way, and what each of these models does.

The training is the one of step 5: same start, pairs, recipe and seed. After it comes model
extrapolation (ExPO, arXiv 2404.16792, equation 1), which trains nothing: the change that the
training made to the weights, times 1 + a.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils import diagnostics, training
from zephyr_utils.chat import load_model
from zephyr_utils.evaluation.judges import Judge
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.objectives import extrapolate_weights
from zephyr_utils.pipeline.steps.ddpo import split_pairs
from zephyr_utils.pipeline.steps.kept import (
    KeepAdapters,
    kept_steps,
    merged_models,
    step_folder,
)
from zephyr_utils.pipeline.steps.right_answers import count_answers, right_share
from zephyr_utils.recipes import Recipe
from zephyr_utils.training.save import CHECKPOINTS

FACTORS = (1.25, 1.5, 1.75, 2.0)  # ExPO's 1 + a, of the last adapter
SHOWN_PAIRS = 6  # held-out pairs whose own margins are kept, evenly spaced


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
    trainer.add_callback(KeepAdapters(folder))
    training.train_and_log(trainer, folder)
    steps = kept_steps(trainer.state.max_steps)
    shutil.rmtree(folder / CHECKPOINTS)
    measured = _measure(folder, start, steps, held_out, recipe, questions, judge, max_new_tokens)
    return {
        "rows_trained": len(train),
        "rows_held_out": len(held_out),
        "adapters": {str(step): step_folder(step) for step in steps},
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
        points.append(
            {
                "step": step,
                "factor": factor,
                "margin": margins.mean_margin.estimate,
                "accuracy": margins.accuracy.estimate,
                **right_share(model, tokenizer, questions, judge, max_new_tokens),
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
        "answers": count_answers(questions),
    }


def _models(
    folder: Path, start: Path, steps: list[int]
) -> Iterator[tuple[int, float, PreTrainedModel]]:
    """(step, factor of its change, model): the start, each adapter, and the last extrapolated."""
    adapters = {step: folder / step_folder(step) for step in steps}
    states = []
    for step, model in merged_models(start, adapters):
        if step in (0, steps[-1]):
            states.append({name: values.clone() for name, values in model.state_dict().items()})
        yield step, 1.0, model
    before, after = states
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
