"""A tokenizer and models small enough to make in each test: no download, no files in the
repository.
"""

from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from zephyr_utils.chat import prepare_tokenizer

CORPUS = [
    "What is the capital of France? The capital of France is Paris.",
    "Happy to help! Seven plus two is nine. Anything else I can do?",
    "<|system|>\n<|user|>\n<|assistant|>\n",
] * 20


@cache
def _trained(pad_token: str | None) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>"] + ([pad_token] if pad_token else [])
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    # As Mistral's: plain text gets a BOS in front.
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer.to_str()


def tiny_tokenizer(pad_token: str | None = "<pad>", **special) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 320 tokens with Mistral's special tokens; ``pad_token=None`` leaves the pad
    token out.
    """
    names = {
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": pad_token,
    } | special
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(pad_token)),
        **{name: token for name, token in names.items() if token},
    )


def tiny_model(seed: int = 0, **config) -> LlamaForCausalLM:
    """A random Llama-shaped model; its weights are wide enough for next-token chances far from
    uniform.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes: dict = {
            "vocab_size": 320,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "initializer_range": 0.2,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 3,
        }
        settings = LlamaConfig(**{**sizes, **config})
        return LlamaForCausalLM(settings).eval()


def save_base(folder: Path, **config) -> LlamaForCausalLM:
    """A random model with its tokenizer and Zephyr's template, as `from_pretrained` loads them."""
    tokenizer, model = tiny_tokenizer(), tiny_model(**config)
    prepare_tokenizer(tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model
