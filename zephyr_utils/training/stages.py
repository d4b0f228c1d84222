"""dSFT and dDPO with LoRA on TRL's trainers. Only the rooms named `training` know TRL's argument
names.

Both stages read a model directory and rows, and leave a directory with

- ``model/``: the merged model, safetensors and tokenizer, which `from_pretrained` loads;
- ``adapter/``: the LoRA adapter alone;
- ``log.json``: the trainer's log history.

While they run, ``checkpoints/`` holds what a killed run goes on from; the same call then ends with
the same weights.
"""

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import disable_progress_bars
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from transformers.trainer_utils import get_last_checkpoint

from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.errors import HandbookError
from zephyr_utils.recipes import check_recipe, model_fields, trainer_arguments
from zephyr_utils.training.attention import set_attention
from zephyr_utils.training.batch import share_batch
from zephyr_utils.training.callbacks import ProgressLine, SaveEachEpoch, StopOnDivergence
from zephyr_utils.training.distributed import (
    even_batches,
    load_unsharded,
    processes,
    shared_dataset,
)
from zephyr_utils.training.dpo_trainer import PairTrainer
from zephyr_utils.training.length_grouping import LengthGroupedMixin
from zephyr_utils.training.rows import split_prompt
from zephyr_utils.training.save import (  # noqa: F401 - chapters read training.ADAPTER and training.LOG
    ADAPTER,
    CHECKPOINTS,
    LOG,
    MODEL,
    save_trained,
)
from zephyr_utils.training.scoring import answer_log_probs, held_out_loss

REFERENCE = "reference"  # folder of its log-probabilities
FIRST_STEP_TOLERANCE = 1e-3  # nats, on sums over an answer's tokens in float32
# held-out pairs measured before, during and after dDPO; Zephyr's own curve is of 64
EVAL_PAIRS = 256
EVAL_BATCH_SIZE = 32
EVAL_SCHEDULE = {"eval_strategy": "steps", "eval_steps": 0.125, "eval_on_start": True}

# One line of ours says how far a training is; six bars a training and what TRL still calls by its
# old name do not help.
disable_progress_bars()
warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)


@dataclass(frozen=True)
class Trained:
    """What a stage leaves.

    Attributes:
        model: directory of the merged model.
        log: the trainer's log history, one dictionary a logged step.
        metrics: numbers before and after, see the stage.
    """

    model: Path
    log: list[dict[str, float]]
    metrics: dict[str, Any]


class DialogueTrainer(LengthGroupedMixin, trl.SFTTrainer):
    """`trl.SFTTrainer` whose rows grouped by length come in one order, however often the run is
    stopped.
    """


def dsft(
    base_model: str | Path,
    dialogues: list[dict],
    held_out: list[dict],
    output: Path,
    recipe: dict[str, Any],
) -> Trained:
    """Distilled supervised fine-tuning (paper, section 3): maximum likelihood on the teacher's
    dialogues.

    Args:
        base_model: a model directory or a Hub address.
        dialogues: dialogue records that fit the context (`training_rows.fit_dialogues`).
        held_out: dialogue records to measure on.
        output: folder for what it leaves.
        recipe: TRL's arguments by name, see `recipes`.

    Returns:
        `Trained` with `held_out_loss_before` and `held_out_loss`: token-weighted negative
            log-likelihood in nats
        a token, so that they do not depend on how rows are batched (the trainer's own evaluation
            loss does).

    Raises:
        HandbookError: no model, a recipe with an unknown key, a loss that is not a number.
    """
    check_recipe(recipe, "dsft")
    set_seed(recipe.get("seed", 42))  # the adapter's first weights, too, are drawn
    model, tokenizer = _load_to_train(base_model, "dsft", recipe)
    before = held_out_loss(model, tokenizer, held_out)
    trainer = DialogueTrainer(
        model=model,
        args=_arguments(trl.SFTConfig, "dsft", output, recipe),
        # Only the messages: a row that also has `prompt` would be taken for prompt and completion.
        train_dataset=shared_dataset(
            [{"messages": row["messages"]} for row in dialogues], output / CHECKPOINTS / "dialogues"
        ),
        processing_class=tokenizer,
        peft_config=_adapter(recipe),
        callbacks=[ProgressLine("dSFT"), StopOnDivergence()],
    )
    log = _train(trainer, output)
    merged = save_trained(trainer, tokenizer, output, log, recipe, bool(_quantised(recipe)))
    after = held_out_loss(merged, tokenizer, held_out)
    return Trained(output / MODEL, log, {"held_out_loss_before": before, "held_out_loss": after})


def ddpo(
    sft_model: str | Path,
    pairs: list[dict],
    output: Path,
    recipe: dict[str, Any],
    held_out: list[dict] | None = None,
    keep_epochs: bool = False,
    reference_folder: Path | None = None,
) -> Trained:
    """Distilled direct preference optimisation (paper, equation 1) of a dSFT model with a new
    adapter.

    The reference is the dSFT model itself: the new adapter switched off. Its log-probabilities are
    computed once. Before the first step the policy must *be* the dSFT model, which is checked in
    two ways, because a loss of ln 2 alone says only that policy and reference agree, not that they
    are the right model.

    Args:
        sft_model: directory of the merged dSFT model.
        pairs: preference records that fit the context (`training_rows.fit_pairs`).
        output, recipe: as in `dsft`.
        held_out: pairs not trained on; the first `EVAL_PAIRS` of them are measured before the first
            step and at every eighth of the run (unless the recipe says otherwise), so that the log
            holds evaluation rows too.
        keep_epochs: leave the adapter as it was after each epoch in ``epoch_1/``, ``epoch_2/``, ...
        known: folder of reference log-probabilities (`reference_cache`) that runs on the same model
            and pairs share; None keeps them with the checkpoints, for this run alone.

    Returns:
        `Trained` with `first_step_loss`, `first_step_logps_chosen` and `sft_logps_chosen`.

    Raises:
        HandbookError: as in `dsft`, and when the first step does not start at the dSFT model.
    """
    trainer = ddpo_trainer(sft_model, pairs, output, recipe, held_out, reference_folder)
    if keep_epochs:
        trainer.add_callback(SaveEachEpoch(output))
    first_step = check_first_step(trainer, sft_model, pairs, recipe)
    log = _train(trainer, output)
    save_trained(trainer, trainer.processing_class, output, log, recipe, bool(_quantised(recipe)))
    return Trained(output / MODEL, log, first_step)


def ddpo_trainer(
    start: str | Path,
    pairs: list[dict],
    output: Path,
    recipe: dict[str, Any],
    held_out: list[dict] | None = None,
    reference_folder: Path | None = None,
) -> PairTrainer:
    """TRL's trainer as `ddpo` uses it, before the first step: the model of `start` under a new
    adapter.

    The reference is whatever `start` is, for it is the new adapter switched off: a wrong start is a
    wrong reference.
    """
    check_recipe(recipe, "ddpo")
    set_seed(recipe.get("seed", 42))  # the adapter's first weights, too, are drawn
    model, tokenizer = _load_to_train(start, "ddpo", recipe)
    eval_pairs = [split_prompt(pair) for pair in (held_out or [])[:EVAL_PAIRS]]
    count, at_once = even_batches(len(eval_pairs), processes(), EVAL_BATCH_SIZE)
    eval_pairs, eval_schedule = (
        eval_pairs[:count],
        EVAL_SCHEDULE | {"per_device_eval_batch_size": at_once},
    )
    return PairTrainer(
        reference_folder=reference_folder or output / CHECKPOINTS / REFERENCE,
        share_prompts=recipe.get("share_prompts"),
        model=model,
        args=_arguments(
            trl.DPOConfig, "ddpo", output, (eval_schedule if eval_pairs else {}) | recipe
        ),
        train_dataset=shared_dataset(
            [split_prompt(pair) for pair in pairs], output / CHECKPOINTS / "pairs"
        ),
        eval_dataset=shared_dataset(eval_pairs, output / CHECKPOINTS / "watched")
        if eval_pairs
        else None,
        processing_class=tokenizer,
        peft_config=_adapter(recipe),
        callbacks=[ProgressLine("dDPO"), StopOnDivergence()],
    )


def check_first_step(
    trainer: trl.DPOTrainer, sft_model: str | Path, pairs: list[dict], recipe: dict[str, Any]
) -> dict[str, float]:
    """Loss and log-probabilities of the first rows before any update, against ln 2 and the dSFT
    model's own.

    Raises:
        HandbookError: the loss is not ln 2, or `logps/chosen` is not what `sft_model`, loaded
            afresh, gives.
    """
    rows = pairs[:8]
    trainer.model.eval()
    with torch.no_grad():
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
        batch = trainer._prepare_inputs(batch)
        loss = trainer.compute_loss(trainer.model, batch).item()
    logged = trainer._metrics["eval"].pop("logps/chosen")[-1]
    trainer._metrics["eval"].clear()
    trainer.model.train()
    reference, tokenizer = _load_to_train(sft_model, "ddpo", recipe)
    own = float(answer_log_probs(reference, tokenizer, [row["chosen"] for row in rows]).mean())
    values = {"first_step_loss": loss, "first_step_logps_chosen": logged, "sft_logps_chosen": own}
    if (
        recipe.get("loss_type", ["sigmoid"]) == ["sigmoid"]
        and abs(loss - float(torch.log(torch.tensor(2.0)))) > 1e-4
    ):
        raise HandbookError(
            f"the first loss is {loss:.4f}, not ln 2 = 0.6931: policy and reference differ",
            where="dDPO",
        )
    if abs(logged - own) > FIRST_STEP_TOLERANCE * max(1.0, abs(own)):
        raise HandbookError(
            f"the policy starts at log-probability {logged:.4f} for the chosen answers, the dSFT "
            f"model gives {own:.4f}",
            where="dDPO",
            remedy="start from the merged dSFT model: an adapter that was left out would start "
            "from the base",
        )
    return values


def _load_to_train(source: str | Path, stage: str, recipe: dict[str, Any]) -> tuple:
    """The model in the recipe's dtype and attention, and its tokenizer with Zephyr's template and a
    padding token.
    """
    dtype = recipe.get("dtype") or "float32"
    if processes() > 1 and torch.cuda.is_available():
        # else every process loads onto the first GPU
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    local, quantised = Path(source).is_dir() or "/" not in str(source), _quantised(recipe)
    with load_unsharded():
        if local and not quantised:
            model, tokenizer = load_model(source, dtype=dtype)
        else:
            revision = recipe.get("model_revision")
            options = {"revision": revision} if revision and not local else {}
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=dtype, **quantised, **options
            )
    set_attention(model, stage, recipe)
    prepare_tokenizer(tokenizer)
    return model, tokenizer


def _quantised(recipe: dict[str, Any]) -> dict[str, Any]:
    config = trl.get_quantization_config(_model_config(recipe))
    return {"quantization_config": config} if config else {}


def _model_config(recipe: dict[str, Any]) -> trl.ModelConfig:
    return trl.ModelConfig(**{key: recipe[key] for key in model_fields() & set(recipe)})


def _adapter(recipe: dict[str, Any]):
    return trl.get_peft_config(_model_config(recipe))


def _arguments(config: type, stage: str, output: Path, recipe: dict[str, Any]):
    """TRL's config from the recipe, without what a lesson does not want: uploads, bars, reports."""
    chosen = trainer_arguments(recipe, stage)
    fixed = {
        "output_dir": str(output / CHECKPOINTS),
        "report_to": "none",
        "disable_tqdm": True,
        "push_to_hub": False,
    }
    if not torch.cuda.is_available():
        fixed["use_cpu"] = True
    if (together := processes()) > 1:
        # The recipe's effective batch stays, whatever the number of processes.
        sizes = ("per_device_train_batch_size", "gradient_accumulation_steps")
        rows, times = share_batch(*(recipe[name] for name in sizes), together)
        fixed |= {
            **dict(zip(sizes, (rows, times), strict=True)),
            "ddp_find_unused_parameters": False,
        }
        if os.environ.get("RANK") == "0":
            line = f"{together} processes x {rows} rows x {times} micro-batches = {together * rows * times} rows an update"
            print(f"Effective batch: {line}", file=sys.stderr, flush=True)
    return config(**{**chosen, **fixed})


def _train(trainer, output: Path) -> list[dict[str, float]]:
    """Train to the end, from the last whole checkpoint if a killed run left one."""
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in (
            "PrinterCallback",
            "ProgressCallback",
            "NotebookProgressCallback",
        ):
            # a wall of dictionaries; ProgressLine says it in a line
            trainer.remove_callback(callback)
    set_seed(trainer.args.seed)
    checkpoints = output / CHECKPOINTS
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    return trainer.state.log_history
