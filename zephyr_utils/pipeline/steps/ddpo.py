"""Step 5: distilled direct preference optimisation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zephyr_utils import training
from zephyr_utils.chat import TemplateChoice, load_tokenizer, prepare_tokenizer
from zephyr_utils.data.records import load_records
from zephyr_utils.recipes import Recipe
from zephyr_utils.training.preflight import fitting_length_of, report_rows
from zephyr_utils.training.rows import FittedRows, fit_pairs, hold_out_pairs


def split_pairs(
    pairs: Path,
    base_model: str,
    max_length: int,
    ties: str,
    chat_template: TemplateChoice | None = None,
) -> tuple[list[dict], list[dict], FittedRows]:
    """Pairs to train on, pairs held out, and the accounting of the rows they come from.

    Args:
        pairs: a file of preference pairs.
        base_model: whose tokenizer measures them.
        max_length: tokens of the longest sequence that is trained on; a model with a shorter
            context takes no more than that.
        ties: ``drop`` or ``keep``, what is done with pairs of equal scores.
        chat_template: as for `chat.prepare_tokenizer`.
    """
    tokenizer = load_tokenizer(base_model)
    prepare_tokenizer(tokenizer, chat_template)
    records = load_records(pairs, "preference").records
    fitting = fitting_length_of(base_model, max_length)
    fitted = fit_pairs(tokenizer, records, fitting, ties=ties)
    return *hold_out_pairs(fitted.rows), fitted


def train_ddpo(
    folder: Path,
    base_model: str,
    start: Path,
    pairs: Path,
    ties: str,
    recipe: Recipe,
    reference_folder: Path,
    chat_template: TemplateChoice | None = None,
    report_to: Sequence[str] = (),
    keep: bool = False,
) -> dict[str, Any]:
    """Leave the dDPO model in ``model/``; returns row counts and the training's metrics.

    Args:
        folder: where the model is written.
        base_model: whose tokenizer measures the pairs.
        start: directory of the dSFT model, the start and the reference.
        pairs, ties, chat_template: as for `split_pairs`.
        recipe: the recipe of ``ddpo``.
        reference_folder: where the reference's log-probabilities are cached.
        report_to: as for `training.ddpo`.
        keep: leave the adapter as it was after each of the `kept_steps` in ``kept/``, where the
            recipe trains one.
    """
    from zephyr_utils.pipeline.steps.kept import (  # transformers: slow
        KEPT_ADAPTERS,
        KeepAdapters,
        kept_steps,
    )

    train, held_out, fitted = split_pairs(pairs, base_model, recipe.max_length, ties, chat_template)
    report_rows(fitted, "ddpo", fitting_length_of(base_model, recipe.max_length))
    kept = [KeepAdapters(folder / KEPT_ADAPTERS, kept_steps)]
    trained = training.ddpo(
        start,
        train,
        folder,
        recipe,
        held_out,
        reference_folder=reference_folder,
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
