"""What a training leaves: the merged model, the adapter, the log. No pickle, and no path of this
machine.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat import load_model, load_pretrained
from zephyr_utils.files import plain_value, write_json, write_text
from zephyr_utils.training.distributed import gather_full_tensor, load_unsharded, processes

MODEL, ADAPTER, LOG, CHECKPOINTS = "model", "adapter", "log.json", "checkpoints"


def save_trained(
    trainer: Any,
    tokenizer: PreTrainedTokenizerBase,
    output: Path,
    log: list[dict[str, float]],
    recipe: Mapping[str, Any],
    quantised: bool,
) -> PreTrainedModel:
    """Write adapter, merged model and log; drop the checkpoints. Returns the merged model.

    Of several processes the first writes; weights that are spread over them are gathered by all.

    Args:
        trainer: TRL's, after training.
        quantised: whether the weights under the adapter are in 4 or 8 bits.
    """
    model, writes = trainer.model, trainer.is_world_process_zero()
    if hasattr(model, "merge_and_unload"):
        save_adapter(model, output / ADAPTER, writes)
        trainer.accelerator.wait_for_everyone()
        # An adapter cannot be merged into weights in 4 bits, nor into a share of them.
        afresh = quantised or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
        model = merged_into_base(model, output, recipe) if afresh else model.merge_and_unload()
        if writes:
            model.save_pretrained(output / MODEL)
    elif processes() == 1:
        model.save_pretrained(output / MODEL)
    else:
        trainer.save_model(str(output / MODEL))
        trainer.accelerator.wait_for_everyone()
        if writes:
            (output / MODEL / "training_args.bin").unlink(
                missing_ok=True
            )  # a pickle, and of use to nobody else
        with load_unsharded():
            model = load_model(output / MODEL, dtype=recipe.get("dtype") or "float32")[0]
    if writes:
        tokenizer.save_pretrained(output / MODEL)
        # JSON knows no NaN: what is not finite is null, which readers of logs take for divergence.
        write_json(output / LOG, plain_value(log), indent=1)
        shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    return model


def save_adapter(model: PeftModel, folder: Path, writes: bool) -> None:
    """Write the adapter alone, by the process that `writes`; weights that are spread over processes
    are put together by all.
    """
    whole = {
        name: gather_full_tensor(weight)
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }
    if writes:
        model.save_pretrained(str(folder), state_dict=whole)
        portable_config(folder)


def merged_into_base(model: PeftModel, output: Path, recipe: Mapping[str, Any]) -> PreTrainedModel:
    """The adapter merged into the base loaded again: into 4 bits it would be rounded away, into
    shares it cannot go.
    """
    config: Any = model.get_base_model().config
    with load_unsharded():
        base, _ = load_pretrained(
            config._name_or_path, recipe.get("dtype") or "float32", recipe.get("model_revision")
        )
        merged: Any = PeftModel.from_pretrained(base, output / ADAPTER).merge_and_unload()
        return merged.to(model.device)


def portable_config(adapter: Path) -> None:
    """PEFT records where the base lay on this machine, in its card too; keep its name only. Names
    of modules, which it holds as a set, get an order that every run gives.
    """
    path, card = adapter / "adapter_config.json", adapter / "README.md"
    config = json.loads(path.read_text(encoding="utf-8"))
    base = config["base_model_name_or_path"] or ""
    config["base_model_name_or_path"] = Path(base).name
    for name in ("target_modules", "exclude_modules"):
        if isinstance(config.get(name), list):
            config[name].sort()
    write_json(path, config)
    if Path(base).is_dir() and card.is_file():
        write_text(card, card.read_text(encoding="utf-8").replace(base, Path(base).name))
