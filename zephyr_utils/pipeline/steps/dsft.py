"""Step 2: distilled supervised fine-tuning."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zephyr_utils import training
from zephyr_utils.chat import TemplateChoice, load_tokenizer, prepare_tokenizer
from zephyr_utils.data.records import load_records
from zephyr_utils.recipes import Recipe
from zephyr_utils.training.preflight import fitting_length_of, report_rows
from zephyr_utils.training.rows import FittedRows, fit_dialogues, hold_out

HELD_OUT = 0.05  # share of the dialogues kept back to measure on
HELD_OUT_ROWS, MOST_HELD_OUT = 40, 0.2  # of few dialogues so many, up to a fifth


def split_dialogues(
    dialogues: Path,
    base_model: str,
    max_length: int,
    chat_template: TemplateChoice | None = None,
) -> tuple[list[dict], list[dict], FittedRows]:
    """Dialogues to train on, dialogues held out, and the accounting of the rows they come from.

    Args:
        dialogues: a file of dialogues.
        base_model: whose tokenizer measures them.
        max_length: tokens of the longest row that is trained on; a model with a shorter context
            takes no more than that.
        chat_template: as for `chat.prepare_tokenizer`.
    """
    tokenizer = load_tokenizer(base_model)
    prepare_tokenizer(tokenizer, chat_template)
    records = load_records(dialogues, "dialogue").records
    fitted = fit_dialogues(tokenizer, records, fitting_length_of(base_model, max_length))
    return *hold_out(fitted.rows, HELD_OUT, wanted=HELD_OUT_ROWS, most=MOST_HELD_OUT), fitted


def train_dsft(
    folder: Path,
    base_model: str,
    dialogues: Path,
    recipe: Recipe,
    chat_template: TemplateChoice | None = None,
    report_to: Sequence[str] = (),
    keep: bool = False,
) -> dict[str, Any]:
    """Leave the dSFT model in ``model/``; returns row counts and the training's metrics.

    Args:
        folder: where the model is written.
        base_model, dialogues, chat_template: as for `split_dialogues`.
        recipe: the recipe of ``dsft``.
        report_to: as for `training.dsft`.
        keep: leave the adapter as it was after each of the `halved_steps` in ``kept/``, where the
            recipe trains one.
    """
    from zephyr_utils.pipeline.steps.kept import (  # transformers: slow
        KEPT_ADAPTERS,
        KeepAdapters,
        halved_steps,
    )

    train, held_out, fitted = split_dialogues(
        dialogues, base_model, recipe.max_length, chat_template
    )
    report_rows(fitted, "dsft", fitting_length_of(base_model, recipe.max_length))
    kept = [KeepAdapters(folder / KEPT_ADAPTERS, halved_steps)]
    trained = training.dsft(
        base_model,
        train,
        held_out,
        folder,
        recipe,
        chat_template=chat_template,
        report_to=report_to,
        callbacks=kept if keep and training.lora_config(recipe) else (),
    )
    return {
        **fitted.row_counts(),
        "rows_trained": len(train),
        "rows_held_out": len(held_out),
        **trained.metrics,
    }
