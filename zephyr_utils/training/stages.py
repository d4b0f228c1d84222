"""dSFT and dDPO with LoRA on TRL's trainers. Only the modules of `training` know TRL's argument
names.

Both stages read a model directory and rows, and leave a directory with

- ``model/``: the merged model, safetensors and tokenizer, which `from_pretrained` loads;
- ``adapter/``: the LoRA adapter alone;
- ``log.json``: the trainer's log history.

While they run, ``checkpoints/`` holds what a killed run goes on from; the same call then ends with
the same weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trl
from datasets import Dataset, disable_progress_bars
from transformers import TrainerCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint

from zephyr_utils.chat import TemplateChoice
from zephyr_utils.recipes import check_recipe
from zephyr_utils.training.callbacks import ProgressLine, SaveEachEpoch, StopOnDivergence
from zephyr_utils.training.distributed import even_batches, processes, shared_dataset
from zephyr_utils.training.dpo_trainer import PairTrainer
from zephyr_utils.training.encoding import encode_dialogue, map_rows, row_lengths
from zephyr_utils.training.first_step import check_first_step
from zephyr_utils.training.held_out import (
    EVAL_BATCH_SIZE,
    EVAL_PAIRS,
    evaluation_schedule,
)
from zephyr_utils.training.length_grouping import LengthGroupedMixin
from zephyr_utils.training.loading import (
    load_for_training,
    lora_config,
    quantization_options,
    trl_arguments,
)
from zephyr_utils.training.preflight import (
    check_before_training,
    loss_warnings,
    too_long_warnings,
)
from zephyr_utils.training.progress import say
from zephyr_utils.training.rows import split_prompt
from zephyr_utils.training.save import CHECKPOINTS, MODEL, save_trained
from zephyr_utils.training.scoring import held_out_loss

REFERENCE = "reference"  # folder of its log-probabilities
EVENTS = "tensorboard"  # folder of the event files, where they are asked for

# One line of ours says how far a training is; six bars per training and what TRL still calls by its
# old name do not help.
disable_progress_bars()

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Trained:
    """What a stage leaves.

    Attributes:
        model: directory of the merged model.
        log: the trainer's log history, one dictionary per logged step.
        metrics: numbers before and after, see the stage.
    """

    model: Path
    log: list[dict[str, float]]
    metrics: dict[str, Any]


class DialogueTrainer(LengthGroupedMixin, trl.SFTTrainer):
    """`trl.SFTTrainer` whose rows grouped by length come in one order, however often the run is
    stopped, and whose special tokens in contents are encoded as text.
    """

    def _prepare_dataset(
        self,
        dataset: Dataset,
        processing_class: Any,
        args: trl.SFTConfig,
        packing: bool,
        formatting_func: Any,
        dataset_name: str,
    ) -> Dataset:
        encoded = map_rows(
            dataset,
            encode_dialogue,
            args.dataset_num_proc,
            tokenizer=processing_class,
            assistant_only=args.assistant_only_loss,
        )
        if not packing:
            for sentence in too_long_warnings(row_lengths(encoded, "input_ids"), args.max_length):
                say(f"dSFT: {sentence}")
        return super()._prepare_dataset(
            encoded, processing_class, args, packing, formatting_func, dataset_name
        )


def dsft(
    base_model: str | Path,
    dialogues: Rows,
    held_out: Rows,
    output: Path,
    recipe: Mapping[str, Any],
    *,
    chat_template: TemplateChoice | None = None,
    report_to: Sequence[str] = (),
    callbacks: Sequence[TrainerCallback] = (),
) -> Trained:
    """Distilled supervised fine-tuning (paper, section 3): maximum likelihood on the teacher's
    dialogues.

    Args:
        base_model: a model directory or a Hub address.
        dialogues: dialogue records that fit the context (`rows.fit_dialogues`).
        held_out: dialogue records to measure on.
        output: folder for what it leaves.
        recipe: TRL's arguments by name, see `recipes`.
        chat_template: as for `chat.prepare_tokenizer`.
        report_to: trackers besides ``log.json``: trackio, tensorboard, wandb.
        callbacks: called during the training besides our own; they must not change the model.

    Returns:
        `Trained` with `held_out_loss_before` and `held_out_loss`: token-weighted negative
        log-likelihood in nats per token, so that they do not depend on how rows are batched (the
        trainer's own evaluation loss does).

    Raises:
        HandbookError: no model, a recipe with an unknown key or one that does not fit the model
            (`preflight`), a folder that cannot be written to, a loss that is not a number.
    """
    check_recipe(recipe, "dsft")
    set_seed(recipe.get("seed", 42))  # the adapter's first weights, too, are drawn
    model, tokenizer = load_for_training(base_model, "dsft", recipe, chat_template)
    checks = check_before_training(model, tokenizer, recipe, output, len(held_out))
    before = held_out_loss(model, tokenizer, held_out)
    checks.warnings += loss_warnings(before, model.config.get_text_config().vocab_size)
    checks.report("dsft")
    trainer = DialogueTrainer(
        model=model,
        args=trl_arguments("dsft", output, {**recipe, "max_length": checks.max_length}, report_to),
        # Only the messages: a row that also has `prompt` would be taken for prompt and completion.
        train_dataset=shared_dataset(
            [{"messages": row["messages"]} for row in dialogues], output / CHECKPOINTS / "dialogues"
        ),
        processing_class=tokenizer,
        peft_config=lora_config(recipe),
        callbacks=[ProgressLine("dSFT"), StopOnDivergence(), *callbacks],
    )
    log = train_and_log(trainer, output)
    quantised = bool(quantization_options(recipe))
    merged = save_trained(trainer, tokenizer, output, log, recipe, quantised)
    after = held_out_loss(merged, tokenizer, held_out)
    return Trained(output / MODEL, log, {"held_out_loss_before": before, "held_out_loss": after})


def ddpo(
    sft_model: str | Path,
    pairs: Rows,
    output: Path,
    recipe: Mapping[str, Any],
    held_out: Rows | None = None,
    keep_epochs: bool = False,
    reference_folder: Path | None = None,
    *,
    chat_template: TemplateChoice | None = None,
    report_to: Sequence[str] = (),
    callbacks: Sequence[TrainerCallback] = (),
) -> Trained:
    """Distilled direct preference optimisation (paper, equation 1) of a dSFT model with a new
    adapter.

    The reference is the dSFT model itself: the new adapter switched off. Its log-probabilities are
    computed once. Before the first step the policy must *be* the dSFT model, which is checked in
    two ways, because a loss of ln 2 alone says only that policy and reference agree, not that they
    are the right model.

    Args:
        sft_model: directory of the merged dSFT model.
        pairs: preference records that fit the context (`rows.fit_pairs`).
        output, recipe, chat_template, report_to, callbacks: as in `dsft`.
        held_out: pairs not trained on; the first of them are measured before the first step, at the
            end and in between, so that the log holds evaluation rows too. How many and how often
            `held_out.evaluation_schedule` says, unless the recipe has an ``eval_strategy`` or
            ``eval_steps``.
        keep_epochs: leave the adapter (without one the model) as it was after each epoch in
            ``epoch_1/``, ``epoch_2/``, ... One process only, unless there is an adapter.
        reference_folder: folder of reference log-probabilities (`reference_cache`) that runs on the
            same model and pairs share; None keeps them with the checkpoints, for this run alone.

    Returns:
        `Trained` with `first_step_loss`, `first_step_logps_chosen`, `sft_logps_chosen` and
        `evaluated_pairs`, how many held-out pairs were measured.

    Raises:
        HandbookError: as in `dsft`, and when the first step does not start at the dSFT model.
    """
    trainer = ddpo_trainer(
        sft_model,
        pairs,
        output,
        recipe,
        held_out,
        reference_folder,
        chat_template=chat_template,
        report_to=report_to,
    )
    if keep_epochs:
        trainer.add_callback(SaveEachEpoch(output))
    for callback in callbacks:
        trainer.add_callback(callback)
    metrics: dict[str, Any] = check_first_step(trainer, sft_model, pairs, recipe, chat_template)
    log = train_and_log(trainer, output)
    quantised = bool(quantization_options(recipe))
    save_trained(trainer, trainer.processing_class, output, log, recipe, quantised)  # type: ignore[arg-type]
    evaluated = len(trainer.eval_dataset) if trainer.eval_dataset is not None else 0  # type: ignore[arg-type]
    return Trained(output / MODEL, log, metrics | {"evaluated_pairs": evaluated})


def ddpo_trainer(
    start: str | Path,
    pairs: Rows,
    output: Path,
    recipe: Mapping[str, Any],
    held_out: Rows | None = None,
    reference_folder: Path | None = None,
    *,
    chat_template: TemplateChoice | None = None,
    report_to: Sequence[str] = (),
) -> PairTrainer:
    """TRL's trainer as `ddpo` uses it, before the first step: the model of `start` under a new
    adapter.

    The reference is whatever `start` is, for it is the new adapter switched off: a wrong start is a
    wrong reference.
    """
    check_recipe(recipe, "ddpo")
    set_seed(recipe.get("seed", 42))  # the adapter's first weights, too, are drawn
    model, tokenizer = load_for_training(start, "ddpo", recipe, chat_template)
    checks = check_before_training(
        model, tokenizer, recipe, output, None if held_out is None else len(held_out)
    )
    checks.report("ddpo")
    eval_pairs, schedule = _pairs_to_evaluate(held_out or [], len(pairs), recipe)
    return PairTrainer(
        reference_folder=reference_folder or output / CHECKPOINTS / REFERENCE,
        share_prompts=recipe.get("share_prompts"),
        model=model,
        args=trl_arguments(
            "ddpo", output, {**recipe, **schedule, "max_length": checks.max_length}, report_to
        ),
        train_dataset=shared_dataset(
            [split_prompt(pair) for pair in pairs], output / CHECKPOINTS / "pairs"
        ),
        eval_dataset=shared_dataset(eval_pairs, output / CHECKPOINTS / "held_out")
        if eval_pairs
        else None,
        processing_class=tokenizer,
        peft_config=lora_config(recipe),
        callbacks=[ProgressLine("dDPO"), StopOnDivergence()],
    )


def _pairs_to_evaluate(
    held_out: Rows, pairs: int, recipe: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The held-out pairs that are measured on the way, and TRL's arguments for it: the recipe's
    own where it has any, but never more pairs at once than fill whole batches.
    """
    if "eval_strategy" in recipe or "eval_steps" in recipe:
        count, schedule = EVAL_PAIRS, {"eval_strategy": "steps", "eval_on_start": True}
    else:
        batch = recipe.get("per_device_train_batch_size", 8)
        steps = recipe.get("max_steps", -1)
        seen = round(recipe.get("num_train_epochs", 3) * pairs)
        if steps > 0:
            seen = steps * batch * recipe.get("gradient_accumulation_steps", 1)
        count, schedule = evaluation_schedule(len(held_out), pairs, seen)
    most = recipe.get("per_device_eval_batch_size", EVAL_BATCH_SIZE)
    count, at_once = even_batches(min(count, len(held_out)), processes(), most)
    if not count:
        return [], {}
    evaluated = [split_prompt(pair) for pair in held_out[:count]]
    own = {name: recipe[name] for name in schedule if name in recipe}
    return evaluated, schedule | own | {"per_device_eval_batch_size": at_once}


def train_and_log(trainer: Any, output: Path) -> list[dict[str, float]]:
    """Train to the end, from the last whole checkpoint if a killed run left one; returns the log.

    Args:
        trainer: one of TRL's.
        output: the folder whose ``checkpoints/`` the trainer writes.
    """
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in (
            "PrinterCallback",
            "ProgressCallback",
            "NotebookProgressCallback",
        ):
            # a wall of dictionaries; ProgressLine says it in a line
            trainer.remove_callback(callback)
        elif type(callback).__name__ == "TensorBoardCallback" and callback.logging_dir is None:
            callback.logging_dir = str(output / EVENTS)  # checkpoints/ does not stay
    set_seed(trainer.args.seed)
    checkpoints = output / CHECKPOINTS
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    return trainer.state.log_history
