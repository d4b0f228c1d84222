"""What the models do that dDPO was on its way: margins of held-out pairs and right answers of each
adapter that step 5 kept, and of model extrapolation behind the last.

Model extrapolation (ExPO, arXiv 2404.16792, equation 1) trains nothing: it takes the change that
the training made to the weights, times 1 + a.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils import diagnostics, training
from zephyr_utils.chat import load_model
from zephyr_utils.evaluation.judges import Judge
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.objectives import extrapolate_weights
from zephyr_utils.pipeline.steps.ddpo import split_pairs
from zephyr_utils.pipeline.steps.kept import merged_models
from zephyr_utils.pipeline.steps.right_answers import count_answers, right_share

FACTORS = (1.25, 1.5, 1.75, 2.0)  # ExPO's 1 + a, of the last adapter
SHOWN_PAIRS = 6  # held-out pairs whose own margins are kept, evenly spaced


def measure_ddpo_checkpoints(
    folder: Path,
    base_model: str,
    start: Path,
    adapters: Mapping[int, Path],
    pairs: Path,
    ties: str,
    recipe: Mapping[str, Any],
    questions: Sequence[MTBenchQuestion],
    judge: Judge,
    max_new_tokens: int,
) -> dict[str, Any]:
    """Measure the start, each adapter merged into it, and the last one extrapolated; trains nothing
    and writes no file.

    Args:
        folder: of the artefact.
        base_model, start, pairs, ties: as for `ddpo.train_ddpo`.
        adapters: step -> folder.
        recipe: the recipe of ``ddpo``; its `max_length` and `beta` are read.
        questions: in MT-Bench's schema; none that the models are chosen or compared by.
        judge: one with a ``right_from``.
        max_new_tokens: of the longest answer.

    Returns:
        ``points``, for the start (step 0), each adapter and each of `FACTORS` ``{step, factor,
        margin, accuracy, right, right_low, right_high, margins}``, of which `margin` and `accuracy`
        are of all held-out pairs, `right` (with a 95 % interval) is a share of answers and
        `margins` are those of ``pairs``, ``[{prompt, chosen, rejected}]``; and ``answers`` and
        ``rows_held_out``, how many there were.
    """
    _, held_out, _ = split_pairs(pairs, base_model, recipe["max_length"], ties)
    tokenizer = load_model(start)[1]
    shown = list(range(0, len(held_out), -(-len(held_out) // SHOWN_PAIRS)))
    reference: dict[str, Any] = {}
    points = []
    for step, factor, model in _models(start, adapters):
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
        "rows_held_out": len(held_out),
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
    start: Path, adapters: Mapping[int, Path]
) -> Iterator[tuple[int, float, PreTrainedModel]]:
    """(step, factor of its change, model): the start, each adapter, and the last extrapolated."""
    last, states = max(adapters), []
    for step, model in merged_models(start, adapters):
        if step in (0, last):
            states.append({name: values.clone() for name, values in model.state_dict().items()})
        yield step, 1.0, model
    before, after = states
    for factor in FACTORS:
        model.load_state_dict(extrapolate_weights(before, after, factor - 1))
        yield last, factor, model


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
