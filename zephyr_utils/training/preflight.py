"""Checks before the first step: whether recipe, rows and tokenizer fit the model, any base model.

What would end in a traceback after minutes, or train something else than was meant silently,
is refused or said here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import trl
from peft import PeftConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from zephyr_utils.chat import ZEPHYR_TEMPLATE, context_length, encode, encode_prompt
from zephyr_utils.chat.loading import load_config
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import write_text
from zephyr_utils.recipes import Stage
from zephyr_utils.training.loading import lora_config
from zephyr_utils.training.progress import in_notebook, say
from zephyr_utils.training.rows import FittedRows

STAGE_NAMES: dict[Stage, str] = {"dsft": "dSFT", "ddpo": "dDPO"}
MANY_TOO_LONG = 0.1  # share of the rows
FEW_HELD_OUT = 30  # fewer rows say little: an accuracy of 30 has a standard error of 9 points


@dataclass
class Preflight:
    """What the checks have to say.

    Attributes:
        max_length: tokens of the longest row to train on; None for any.
        notes: how things are, which may be as they were meant.
        warnings: what most likely was not meant.
    """

    max_length: int | None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def report(self, stage: Stage) -> None:
        """Say the warnings on stderr, and outside of notebooks the notes as well."""
        for sentence in [*([] if in_notebook() else self.notes), *self.warnings]:
            say(f"{STAGE_NAMES[stage]}: {sentence}")


def check_before_training(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Mapping[str, Any],
    output: Path,
    held_out: int | None,
) -> Preflight:
    """Check recipe and tokenizer against the model.

    Args:
        tokenizer: as `chat.prepare_tokenizer` leaves it.
        output: the folder that the training is going to write to.
        held_out: rows to measure on; None where nothing is measured.

    Raises:
        HandbookError: the recipe asks for code from the Hub; it names no module that the model has;
            the tokenizer has more tokens than the model; answers alone are to count, and the chat
            template does not mark them; nothing can be written to `output`.
    """
    check_output(output)
    if recipe.get("trust_remote_code") or "trust_remote_code" in str(
        recipe.get("model_init_kwargs")
    ):
        raise HandbookError(
            "`trust_remote_code` lets a model run Python code of its own, and no code from a model "
            "is run here",
            where="recipe",
            remedy="leave it out, and use a model whose architecture is part of transformers",
        )
    _check_vocabulary(model, tokenizer)
    asked = recipe.get("max_length", trl.SFTConfig.max_length)
    checks = Preflight(fitting_length(asked, context_length(model.config)))
    if adapter := lora_config(recipe):
        checks.notes += _check_target_modules(model, adapter)
    if checks.max_length != asked:
        checks.warnings.append(
            f"the model has a context of {checks.max_length:,} tokens and the recipe's max_length "
            f"is {f'{asked:,}' if asked else 'none'}: {checks.max_length:,} is taken"
        )
    checks.notes += _tokenizer_notes(tokenizer)
    checks.warnings += _template_warnings(tokenizer, recipe)
    if held_out is not None and held_out < FEW_HELD_OUT:
        checks.warnings.append(
            f"{held_out} {'row is' if held_out == 1 else 'rows are'} held out: what is measured on "
            f"fewer than {FEW_HELD_OUT} says little about other rows"
        )
    return checks


def check_output(output: Path) -> None:
    """Refuse a folder that cannot be made or written to, before hours are spent.

    Raises:
        HandbookError: a read-only folder, a file in the path, a name that is too long.
    """
    probe = write_text(output / ".writable", "")
    probe.unlink(missing_ok=True)


def fitting_length(max_length: int | None, context: int | None) -> int | None:
    """The smaller of a recipe's ``max_length`` and a model's context; None is not a limit."""
    limits = [limit for limit in (max_length, context) if limit]
    return min(limits, default=None)


def fitting_length_of(base_model: str | Path, max_length: int) -> int:
    """`fitting_length` for a model directory or Hub address whose weights need not be loaded.

    Raises:
        HandbookError: the model's configuration cannot be loaded.
    """
    return fitting_length(max_length, context_length(load_config(base_model))) or max_length


def report_rows(fitted: FittedRows, stage: Stage, max_length: int) -> None:
    """Say how many rows there are and why others are not, and where `max_length` costs more than a
    tenth of them, how many would fit at other lengths. Chapters say it themselves.
    """
    if in_notebook():
        return
    say(f"{STAGE_NAMES[stage]}: {fitted.report()}")
    if sum(n > max_length for n in fitted.lengths) > MANY_TOO_LONG * len(fitted.lengths):
        say(fitted.length_table(max_length))


def loss_warnings(loss: float, vocabulary: int) -> list[str]:
    """What a held-out loss before the first step says against the model or its tokenizer."""
    if loss <= math.log(vocabulary):
        return []
    return [
        f"the held-out loss before the first step is {loss:.2f} nats per token, above "
        f"ln({vocabulary:,}) = {math.log(vocabulary):.2f}, which guessing gives: model and "
        "tokenizer do not belong together, or the texts are unlike what the model was trained on"
    ]


def too_long_warnings(lengths: list[int], max_length: int | None) -> list[str]:
    """What rows say that are longer than the training takes them: they are cut at their end."""
    cut = sum(length > max_length for length in lengths) if max_length else 0
    if not cut:
        return []
    return [
        f"{cut:,} of {len(lengths):,} rows are longer than {max_length:,} tokens and are cut "
        "there, the end of their last answer with them; fit_dialogues and fit_pairs set such rows "
        "aside"
    ]


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    rows = len(model.get_input_embeddings().weight)  # type: ignore[arg-type]
    token, largest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if largest >= rows:
        raise HandbookError(
            f"the tokenizer has tokens up to {largest} (`{token}`), and the model's embedding has "
            f"{rows} rows",
            where=str(tokenizer.name_or_path),
            remedy="use the tokenizer that the model was trained with, or resize the model's "
            "embedding to the tokenizer and save it",
        )


def _check_target_modules(model: PreTrainedModel, adapter: PeftConfig) -> list[str]:
    """Which of the recipe's modules the model lacks; one that PEFT finds is enough for it."""
    wanted = getattr(adapter, "target_modules", None)
    if not isinstance(wanted, set | list | tuple):
        return []  # a pattern, or PEFT's own choice for the architecture
    modules = dict(model.named_modules())
    missing = sorted(
        target
        for target in wanted
        if not any(name == target or name.endswith(f".{target}") for name in modules)
    )
    if len(missing) < len(wanted):
        there = "the model has no modules of these names, which get no adapter: "
        return [there + ", ".join(missing)] if missing else []
    head = model.get_output_embeddings()
    linear = {
        name.rpartition(".")[2]
        for name, module in modules.items()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    }
    kind = model.config.model_type
    raise HandbookError(
        f"the model ({kind}) has none of the modules that get an adapter: {', '.join(missing)}",
        where="lora_target_modules of the recipe",
        remedy=f"name its own, [{', '.join(sorted(linear))}], or write "
        "`lora_target_modules: all-linear` (--set dsft.lora_target_modules=all-linear, and the "
        "same of ddpo)",
    )


def _tokenizer_notes(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    zephyr = tokenizer.chat_template == ZEPHYR_TEMPLATE
    whose = "Zephyr's" if zephyr else "the model's own, which is kept"
    notes = [f"the chat template is {whose}"]
    bos = tokenizer.bos_token_id
    plain, prompt = (
        tokenizer("a")["input_ids"],
        encode_prompt(tokenizer, [{"role": "user", "content": "a"}]),
    )
    if bos is not None and plain[:1] == [bos] and prompt[:1] != [bos]:
        notes.append(
            f"conversations begin without {tokenizer.bos_token}, which the tokenizer puts before "
            f"plain text: the chat template has none{', as Zephyr-7B had none' if zephyr else ''}"
        )
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        notes.append(
            f"padding uses {tokenizer.eos_token}, which also ends turns: labels are masked by "
            "position, so that every real end counts"
        )
    return notes


def _template_warnings(tokenizer: PreTrainedTokenizerBase, recipe: Mapping[str, Any]) -> list[str]:
    """What a chat template of the model's own may lack."""
    template = str(tokenizer.chat_template)
    if recipe.get("assistant_only_loss") and not re.search(r"\{%-?\s*generation", template):
        raise HandbookError(
            "`assistant_only_loss` needs a chat template that marks the assistant's words "
            "({% generation %}), and the model's own does not: nothing would be trained",
            where="recipe",
            remedy="--chat-template zephyr, or assistant_only_loss: false",
        )
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    answer = encode(tokenizer, turns)[0][len(encode(tokenizer, turns[:1])[0]) :]
    if tokenizer.eos_token_id in answer:
        return []
    return [
        f"an answer in the model's own chat template does not end with {tokenizer.eos_token}, the "
        "tokenizer's end-of-sequence token: answers will go on until they are cut off; set "
        "eos_token in its tokenizer_config.json to the token that ends a turn"
    ]
