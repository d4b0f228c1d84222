"""What the models do that dSFT was on its way: held-out loss and right answers of each adapter that
step 2 kept.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zephyr_utils import training
from zephyr_utils.chat import load_tokenizer, prepare_tokenizer
from zephyr_utils.evaluation.judges import Judge
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.pipeline.steps.dsft import split_dialogues
from zephyr_utils.pipeline.steps.kept import merged_models
from zephyr_utils.pipeline.steps.right_answers import count_answers, right_share


def measure_dsft_checkpoints(
    folder: Path,
    base_model: str,
    adapters: Mapping[int, Path],
    dialogues: Path,
    max_length: int,
    questions: Sequence[MTBenchQuestion],
    judge: Judge,
    max_new_tokens: int,
) -> dict[str, Any]:
    """Measure the base model and each adapter merged into it; trains nothing and writes no file.

    Args:
        folder: of the artefact.
        base_model, dialogues, max_length: as for `dsft.split_dialogues`.
        adapters: step -> folder.
        questions: in MT-Bench's schema; none that the models are chosen or compared by.
        judge: one with a ``right_from``.
        max_new_tokens: of the longest answer.

    Returns:
        ``points``, for the base model (step 0) and each adapter ``{step, factor, loss, right,
        right_low, right_high}``, of which `loss` is that of the held-out dialogues in nats per
        token, `right` (with a 95 % interval) a share of answers and `factor` 1; ``answers`` and
        ``rows_held_out``, how many there were.
    """
    _, held_out, _ = split_dialogues(dialogues, base_model, max_length)
    tokenizer = load_tokenizer(base_model)
    prepare_tokenizer(tokenizer)
    points = [
        {
            "step": step,
            "factor": 1.0,
            "loss": training.held_out_loss(model, tokenizer, held_out),
            **right_share(model, tokenizer, questions, judge, max_new_tokens),
        }
        for step, model in merged_models(base_model, adapters)
    ]
    return {
        "rows_held_out": len(held_out),
        "points": points,
        "answers": count_answers(questions),
    }
