"""What a recipe makes of a model: its weights and tokenizer, its adapter, TRL's arguments."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import trl
from peft import PeftConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat import TemplateChoice, load_pretrained, prepare_tokenizer
from zephyr_utils.errors import HandbookError
from zephyr_utils.recipes import Stage, model_fields, trainer_arguments
from zephyr_utils.training.attention import set_attention
from zephyr_utils.training.batch import share_batch
from zephyr_utils.training.distributed import load_unsharded, processes
from zephyr_utils.training.progress import say
from zephyr_utils.training.save import CHECKPOINTS


def load_for_training(
    source: str | Path,
    stage: Stage,
    recipe: Mapping[str, Any],
    chat_template: TemplateChoice | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in the recipe's dtype, quantisation and attention, and its tokenizer with a chat
    template and a padding token.

    Args:
        source: a model directory or a Hub address.
        chat_template: as for `chat.prepare_tokenizer`.

    Raises:
        HandbookError: as `chat.load_model`, and an attention that is not available.
    """
    if processes() > 1 and torch.cuda.is_available():
        # else every process loads onto the first GPU
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    revision, quantised = recipe.get("model_revision"), quantization_options(recipe)
    with load_unsharded():
        model, tokenizer = load_pretrained(
            source, recipe.get("dtype") or "float32", revision, **quantised
        )
    if not quantised:
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
    set_attention(model, stage, recipe)
    own = tokenizer.chat_template
    prepare_tokenizer(tokenizer, chat_template)
    if own not in (None, tokenizer.chat_template):
        say(f"{source}: the tokenizer's own chat template is replaced by Zephyr's")
    return model.eval(), tokenizer


def quantization_options(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What `from_pretrained` is given for a recipe in 4 or 8 bits; nothing otherwise."""
    config = trl.get_quantization_config(_model_config(recipe))
    return {"quantization_config": config} if config else {}


def lora_config(recipe: Mapping[str, Any]) -> PeftConfig | None:
    """PEFT's configuration of the recipe's adapter; None if all weights are trained."""
    return trl.get_peft_config(_model_config(recipe))


def _model_config(recipe: Mapping[str, Any]) -> trl.ModelConfig:
    return trl.ModelConfig(**{key: recipe[key] for key in model_fields() & set(recipe)})


def trl_arguments(
    stage: Stage, output: Path, recipe: Mapping[str, Any], report_to: Sequence[str] = ()
) -> Any:
    """TRL's config of the stage, without what a lesson does not want: uploads, bars, code from the
    Hub.

    Of several processes each takes its share of the recipe's effective batch.

    Args:
        report_to: trackers that the trainer reports to, as TRL names them.

    Raises:
        HandbookError: the effective batch cannot be divided by the number of processes; TRL refuses
            the recipe.
    """
    config: Any = {"dsft": trl.SFTConfig, "ddpo": trl.DPOConfig}[stage]
    fixed: dict[str, Any] = {
        "output_dir": str(output / CHECKPOINTS),
        "report_to": list(report_to) or "none",
        "disable_tqdm": True,
        "push_to_hub": False,
    }
    if not torch.cuda.is_available():
        fixed["use_cpu"] = True
    if (together := processes()) > 1:
        rows, times = share_batch(
            recipe["per_device_train_batch_size"], recipe["gradient_accumulation_steps"], together
        )
        fixed |= {
            "per_device_train_batch_size": rows,
            "gradient_accumulation_steps": times,
            "ddp_find_unused_parameters": False,
        }
        say(
            f"Effective batch: {together} processes x {rows} rows x {times} micro-batches = "
            f"{together * rows * times} rows per step"
        )
    try:
        return config(**{**trainer_arguments(recipe, stage), **fixed})
    except (ValueError, TypeError, ImportError) as error:
        raise HandbookError(
            f"TRL refuses the recipe: {str(error).strip().partition(chr(10))[0]}",
            where=stage,
            remedy="change the value in the recipe, or leave it out (--set)",
        ) from error
