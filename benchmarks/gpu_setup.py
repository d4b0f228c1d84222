"""What `gpu.py` measures on: shapes, the two sides' recipes, random weights, random rows, and TRL's
trainers or ours on them.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zephyr_utils.planning.memory import Shape
from zephyr_utils.recipes import Recipe, Stage, load_recipe, recipe_path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

SHAPES = {
    "mistral-7b": Shape(4096, 14336, 32, 32, 8, 32000, tied=False),
    "small": Shape(320, 896, 8, 8, 4, 4000, tied=True),  # about 10 M parameters
}
# The alignment-handbook's QLoRA recipe of 2024, in bfloat16: what anyone gets who runs it as it
# stands.
PEER: dict[str, dict[str, Any]] = {
    "dsft": {
        "per_device_train_batch_size": 4,
        "lora_r": 16,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "packing": False,
        "activation_checkpointing": True,
        "max_length": 2048,
        "train_sampling_strategy": "random",
    },
    "ddpo": {
        "per_device_train_batch_size": 4,
        "lora_r": 128,
        "lora_alpha": 128,
        "lora_dropout": 0.0,
        "activation_checkpointing": True,
        "max_length": 1024,
        "precompute_ref_log_probs": False,
    },
}
# Ours, beside the recipe: activations are kept where that fits, which on 80 GB is 4,096 tokens in a
# micro-batch.
OURS: dict[str, dict[str, Any]] = {
    "dsft": {
        "per_device_train_batch_size": 2,
        "activation_checkpointing": False,
        "attn_implementation": "sdpa",
    },
    "ddpo": {"per_device_train_batch_size": 4, "activation_checkpointing": False},
}
# Ours with one thing changed.
CHANGED: dict[str, dict[str, Any]] = {
    "flex": {"attn_implementation": "flex_attention"},
    "flash": {"attn_implementation": "flash_attention_2"},
    "compiled": {"torch_compile": True},
    "two rows": {"share_prompts": False},
}
# What grows, by the power of how many times: rows grow longer at as many tokens a step.
GROWTH = {
    "length": {"max_length": 1, "per_device_train_batch_size": -1},
    "batch": {"per_device_train_batch_size": 1},
    "rank": {"lora_r": 1, "lora_alpha": 1},
}
SMALL = {"max_length": 256, "lora_r": 8, "lora_alpha": 8, "bf16": False, "dtype": "float32"}
# median and spread of a log-normal, cut at max_length
LENGTHS = {"dsft": (1100, 0.7), "ddpo": (420, 0.5)}


def recipe(stage: Stage, what: str, small: bool) -> Recipe:
    """A side's recipe, ``peer`` or ours, or ours changed: by name (`CHANGED`), or what grows
    (`GROWTH`) and how many times.
    """
    side = PEER[stage] if what == "peer" else OURS[stage] | CHANGED.get(what, {})
    recipe = load_recipe(recipe_path("zephyr-7b-lora", stage), stage) | side
    recipe |= {"gradient_accumulation_steps": 1} | (SMALL if small else {})
    grows, _, times = what.partition(" x ")
    for key, power in GROWTH.get(grows, {}).items():
        recipe[key] = round(recipe[key] * float(times) ** power)
    return recipe


def trainer(
    shape: Shape,
    stage: Stage,
    recipe: Recipe,
    folder: str,
    *callbacks,
    rows: int | None = None,
    shorter: int = 1,
):
    """TRL's trainer on a random model and random rows; the rows come with their tokens, so no
    tokenizer's speed counts.
    """
    import torch
    import trl
    from datasets import Dataset

    from zephyr_utils.recipes import model_fields, trainer_arguments
    from zephyr_utils.training.dpo_trainer import PairTrainer

    fields = trainer_arguments(recipe, stage)
    fixed = {
        "output_dir": folder,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "num_train_epochs": 1000,
        "dataloader_drop_last": True,
        "max_steps": 100_000,
    }
    if not torch.cuda.is_available():
        fixed["use_cpu"] = True
    rows = rows or (96 if shape.hidden < 1000 else 1024)
    if stage == "ddpo" and recipe.get("precompute_ref_log_probs"):
        rows = min(rows, 256)  # its one pass is timed apart, in seconds_to_prepare
    config = {"dsft": trl.SFTConfig, "ddpo": trl.DPOConfig}[stage]
    kind: Callable[..., Any] = trl.SFTTrainer if stage == "dsft" else trl.DPOTrainer
    if stage == "ddpo" and recipe.get("precompute_ref_log_probs"):  # ours
        kind = partial(
            PairTrainer,
            reference_folder=Path(folder) / "reference",
            share_prompts=recipe.get("share_prompts"),
        )
    peft = trl.get_peft_config(
        trl.ModelConfig(**{key: recipe[key] for key in model_fields() & set(recipe)})
    )
    return kind(
        model=_model(shape, recipe),
        args=config(**{**fields, **fixed}),
        peft_config=peft,
        processing_class=_tokenizer(shape),
        train_dataset=Dataset.from_list(_rows(shape, stage, recipe, rows, shorter)),
        callbacks=list(callbacks),
    )


def _model(shape: Shape, recipe: dict[str, Any]):
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        sliding_window=None,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        torch.set_default_dtype(getattr(torch, recipe["dtype"]))
        try:
            model = MistralForCausalLM(config)
        finally:
            torch.set_default_dtype(torch.float32)
    if attention := recipe.get("attn_implementation"):
        model.set_attn_implementation(attention)
    return model


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


def _rows(
    shape: Shape, stage: str, recipe: dict[str, Any], count: int, shorter: int = 1
) -> list[dict]:
    """Random rows, the same for peer and ours: lengths log-normal, cut at what the recipe takes;
    `shorter` divides them.
    """
    draw = np.random.default_rng(0)
    longest, (median, spread) = recipe["max_length"] // shorter, LENGTHS[stage]
    # a smaller shape takes shorter rows, of the same spread
    full = {"dsft": 2048, "ddpo": 1024}[stage]
    most = longest if stage == "dsft" else longest // 2
    lengths = (
        draw.lognormal(np.log(median * longest / full), spread, (count, 3))
        .astype(int)
        .clip(4, most)
    )

    def words(n: int) -> list[int]:
        return draw.integers(3, shape.vocabulary, n).tolist()

    if stage == "dsft":
        return [{"input_ids": words(int(a))} for a, _, _ in lengths]

    def text(n: int) -> str:
        return " ".join(f"w{n}" for n in words(n))

    return [
        {
            "prompt": text(int(a) // 2),
            "chosen": " " + text(int(b) // 2),
            "rejected": " " + text(int(c) // 2),
        }
        for a, b, c in lengths
    ]
