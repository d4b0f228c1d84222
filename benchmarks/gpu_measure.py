"""The measurements of `gpu.py`: TRL's own trainers on random rows, timed step by step."""

import contextlib
import io
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from zephyr_utils.plan import forward_flops, passes
from zephyr_utils.plan_memory import Shape
from zephyr_utils.recipes import load_recipe, recipe_path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

SHAPES = {
    "mistral-7b": Shape(4096, 14336, 32, 32, 8, 32000, tied=False),
    "small": Shape(320, 896, 8, 8, 4, 4000, tied=True),  # about 10 M parameters
}
MEASUREMENTS = ("dsft peer", "dsft ours", "dsft equality", "ddpo peer", "ddpo ours", "ddpo equality")
# The alignment-handbook's QLoRA recipe of 2024, in bfloat16: what anyone gets who runs it as it stands.
PEER = {
    "dsft": {"per_device_train_batch_size": 4, "lora_r": 16, "lora_alpha": 16, "lora_dropout": 0.05, "packing": False,
             "activation_checkpointing": True, "max_length": 2048, "train_sampling_strategy": "random"},
    "ddpo": {"per_device_train_batch_size": 4, "lora_r": 128, "lora_alpha": 128, "lora_dropout": 0.0,
             "activation_checkpointing": True, "max_length": 1024, "precompute_ref_log_probs": False},
}  # fmt: skip
# Ours, beside the recipe: activations are kept where that fits, which on 80 GB is 4,096 tokens in a micro-batch.
OURS = {
    "dsft": {"per_device_train_batch_size": 2, "activation_checkpointing": False},
    "ddpo": {"per_device_train_batch_size": 4, "activation_checkpointing": True},
}
SMALL = {"max_length": 256, "lora_r": 8, "lora_alpha": 8, "bf16": False, "dtype": "float32"}
LENGTHS = {"dsft": (1100, 0.7), "ddpo": (420, 0.5)}  # median and spread of a log-normal, cut at max_length
WARM_UP = 2  # steps that are not timed: kernels are chosen, memory is taken


@dataclass
class Clock:
    """Times steps and counts what went through the model in them."""

    seconds: float
    began: float = 0.0
    steps: int = 0
    tokens: int = 0
    positions: int = 0


def measure(shape_name: str, name: str, seconds: float) -> dict[str, Any]:
    """One measurement, in this process."""
    stage, _, what = name.partition(" ")
    shape, small = SHAPES[shape_name], shape_name == "small"
    with contextlib.redirect_stdout(io.StringIO()):  # standard output is for the result alone
        if what == "equality":
            return _equality(shape, stage, small)
        return _throughput(shape, stage, _recipe(stage, what, small), seconds)


def _recipe(stage: str, what: str, small: bool) -> dict[str, Any]:
    recipe = (
        load_recipe(recipe_path("zephyr-7b-lora", stage), stage) | (PEER if what == "peer" else OURS)[stage]
    )
    return recipe | {"gradient_accumulation_steps": 1} | (SMALL if small else {})


def _throughput(shape: Shape, stage: str, recipe: dict[str, Any], seconds: float) -> dict[str, Any]:
    import torch
    from transformers import TrainerCallback

    from zephyr_utils.machine import peak_memory_mb

    clock = Clock(seconds)
    on_gpu = torch.cuda.is_available()

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == WARM_UP:
                _wait()
                clock.began, clock.tokens, clock.positions = time.perf_counter(), 0, 0
            elif state.global_step > WARM_UP:
                clock.steps = state.global_step - WARM_UP
                if time.perf_counter() - clock.began > clock.seconds:
                    control.should_training_stop = True

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        trainer = _trainer(shape, stage, recipe, folder, Watch())
        prepared = time.perf_counter() - began
        collate = trainer.data_collator

        def counted(rows):
            batch = collate(rows)
            ids, mask = batch["input_ids"], batch.get("attention_mask")
            clock.positions += ids.numel()
            clock.tokens += int(mask.sum()) if mask is not None else ids.numel()
            return batch

        trainer.data_collator = counted
        trainer.train()
        _wait()
        taken = time.perf_counter() - clock.began
    row = recipe["max_length"] if recipe.get("packing") else clock.positions / max(clock.steps, 1)
    if not recipe.get("packing"):
        row /= recipe["per_device_train_batch_size"] * (2 if stage == "ddpo" else 1)
    flops = forward_flops(shape, round(row)) * passes(recipe) * clock.positions
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_memory_mb() * 2**20
    return {
        "tokens_a_second": clock.tokens / taken, "positions_a_second": clock.positions / taken,
        "padding": 1 - clock.tokens / clock.positions, "tflops": flops / taken / 1e12, "steps": clock.steps,
        "seconds": taken, "seconds_to_prepare": prepared, "load_of_the_machine": os.getloadavg()[0], "peak_memory_gb": peak / 1e9,
        "last_loss": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-1],
        "recipe": {key: value for key, value in recipe.items() if not isinstance(value, list)},
    }  # fmt: skip


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _trainer(
    shape: Shape,
    stage: str,
    recipe: dict[str, Any],
    folder: str,
    *callbacks,
    rows: int | None = None,
    shorter: int = 1,
):
    """TRL's trainer on a random model and random rows; the rows come with their tokens, so no tokenizer's speed counts."""
    import torch
    import trl
    from datasets import Dataset

    from zephyr_utils.recipes import model_fields, trainer_fields

    fields = {key: recipe[key] for key in trainer_fields(stage) & set(recipe)}
    fixed = {"output_dir": folder, "report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1,
             "num_train_epochs": 1000, "dataloader_drop_last": True, "max_steps": 100_000}  # fmt: skip
    if not torch.cuda.is_available():
        fixed["use_cpu"] = True
    rows = rows or (96 if shape.hidden < 1000 else 1024)
    if stage == "ddpo" and recipe.get("precompute_ref_log_probs"):
        rows = min(rows, 256)  # its one pass is told apart, in seconds_to_prepare
    config = {"dsft": trl.SFTConfig, "ddpo": trl.DPOConfig}[stage]
    kind = {"dsft": trl.SFTTrainer, "ddpo": trl.DPOTrainer}[stage]
    peft = trl.get_peft_config(trl.ModelConfig(**{key: recipe[key] for key in model_fields() & set(recipe)}))
    return kind(
        model=_model(shape, recipe), args=config(**{**fields, **fixed}), peft_config=peft, processing_class=_tokenizer(shape),
        train_dataset=Dataset.from_list(_rows(shape, stage, recipe, rows, shorter)), callbacks=list(callbacks),
    )  # fmt: skip


def _model(shape: Shape, recipe: dict[str, Any]):
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        hidden_size=shape.hidden, intermediate_size=shape.intermediate, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied, sliding_window=None, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        torch.set_default_dtype(getattr(torch, recipe["dtype"]))
        try:
            return MistralForCausalLM(config)
        finally:
            torch.set_default_dtype(torch.float32)


def _tokenizer(shape: Shape):
    """A word a token, so that a row of words has as many tokens as it is meant to have."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{n}": n for n in range(3, shape.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def _rows(shape: Shape, stage: str, recipe: dict[str, Any], count: int, shorter: int = 1) -> list[dict]:
    """Random rows, the same for peer and ours: lengths log-normal, cut at what the recipe takes; `shorter` divides them."""
    draw = np.random.default_rng(0)
    longest, (median, spread) = recipe["max_length"] // shorter, LENGTHS[stage]
    full = {"dsft": 2048, "ddpo": 1024}[stage]  # a smaller shape takes shorter rows, of the same spread
    most = longest if stage == "dsft" else longest // 2
    lengths = draw.lognormal(np.log(median * longest / full), spread, (count, 3)).astype(int).clip(4, most)

    def words(n: int) -> list[int]:
        return draw.integers(3, shape.vocabulary, n).tolist()

    if stage == "dsft":
        return [{"input_ids": words(int(a))} for a, _, _ in lengths]

    def text(n: int) -> str:
        return " ".join(f"w{n}" for n in words(n))

    return [
        {"prompt": text(int(a) // 2), "chosen": " " + text(int(b) // 2), "rejected": " " + text(int(c) // 2)}
        for a, b, c in lengths
    ]


def _equality(shape: Shape, stage: str, small: bool) -> dict[str, Any]:
    """The first loss of the fast path against the plain one, on the same rows and the same weights, before any update.

    dSFT: packed rows against one row at a time, both weighted by tokens. dDPO: a precomputed reference against a live one,
    with an adapter that has been moved away from nothing, so that policy and reference differ.
    """
    import torch

    losses, batches = {}, {}
    for path in ("plain", "fast"):
        recipe = _recipe(stage, "ours", small) | {
            "per_device_train_batch_size": 1 if stage == "dsft" else 4,
            "lora_r": 8,
        }
        recipe |= (
            {"packing": path == "fast"} if stage == "dsft" else {"precompute_ref_log_probs": path == "fast"}
        )
        with tempfile.TemporaryDirectory() as folder:
            trainer = _trainer(shape, stage, recipe, folder, rows=16, shorter=4)
            torch.manual_seed(1)
            for name, weight in trainer.model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight, std=0.02)
            losses[path], batches[path] = _mean_loss(trainer, stage)
    if stage == "dsft" and not batches["fast"] < batches["plain"]:
        raise RuntimeError("nothing was packed: the comparison would prove nothing")
    difference = abs(losses["fast"] / losses["plain"] - 1)
    return {**losses, "relative_difference": difference, "batches": batches, "dtype": recipe["dtype"]}


def _mean_loss(trainer, stage: str) -> tuple[float, int]:
    """Over all rows, and in how many batches: weighted by the tokens that count in dSFT, a mean over pairs in dDPO."""
    import torch

    total, weight, batches = 0.0, 0, 0
    trainer.model.eval()
    with torch.no_grad():
        for batch in trainer.get_train_dataloader():
            batch = trainer._prepare_inputs(batch)
            # A row's first token is predicted by nothing; a packed row has as many firsts as dialogues.
            firsts = (
                int((batch["position_ids"] == 0).sum())
                if "position_ids" in batch
                else len(batch["input_ids"])
            )
            rows = (
                int((batch["labels"] != -100).sum())
                if stage == "dsft" and "labels" in batch
                else len(batch["input_ids"])
            )
            rows -= firsts if stage == "dsft" and "position_ids" not in batch else 0
            total += float(trainer.compute_loss(trainer.model, batch)) * rows
            weight, batches = weight + rows, batches + 1
    return total / weight, batches


if __name__ == "__main__":
    sys.exit("start gpu.py")
