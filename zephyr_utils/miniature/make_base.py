"""Make the miniature's base model again: ``python -m zephyr_utils.miniature.make_base``.

Trains a byte-level BPE tokenizer and a Mistral-shaped model on `base_text.py` from scratch, on the CPU, with a bare
loop: AdamW, cosine schedule, packed rows. Writes weights, tokenizer and `base.json` (seconds, loss, seed, versions).
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from zephyr_utils.chat import ZEPHYR_TEMPLATE
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.miniature.base_text import base_documents


VOCABULARY = 1000
SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>"]
# Strings of the template and of lower-cased names, so that chat costs few tokens though no document holds them.
EXTRA_TOKENIZER_TEXT = "<|system|>\n<|user|>\n<|assistant|>\n"


def train_tokenizer(documents: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE shaped like Mistral's tokenizer: it adds `<s>` to plain text and knows a `<pad>` of its own."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lower = [document.lower() for document in documents[::20]]
    tokenizer.train_from_iterator([*documents, *lower, EXTRA_TOKENIZER_TEXT * 500], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=1024,
    )


def make_model(seed: int) -> MistralForCausalLM:
    """Mistral's architecture (grouped queries, SwiGLU, RoPE) at 1.3 M parameters."""
    torch.manual_seed(seed)
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=160,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        sliding_window=None,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        initializer_range=0.02,
    )
    return MistralForCausalLM(config)


def packed_rows(tokenizer: PreTrainedTokenizerFast, documents: list[str], length: int) -> torch.Tensor:
    """Documents end to end, `<s>` before and `</s>` behind each, cut into rows of shape (rows, length)."""
    stream = []
    for ids in tokenizer(documents)["input_ids"]:
        stream += [*ids, tokenizer.eos_token_id]
    rows = len(stream) // length
    return torch.tensor(stream[: rows * length]).view(rows, length)


def main() -> None:
    """Train, print the loss as it falls, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=BASE_FOLDER)
    parser.add_argument("--documents", type=int, default=60_000)
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--batch", type=int, default=24, help="rows a step")
    parser.add_argument("--length", type=int, default=160, help="tokens a row")
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    started = time.perf_counter()
    documents = base_documents(options.documents, options.seed)
    tokenizer = train_tokenizer(documents[:10_000])
    rows = packed_rows(tokenizer, documents, options.length)
    model = make_model(options.seed)
    count = sum(p.numel() for p in model.parameters())
    print(f"{len(documents):,} documents, {rows.numel():,} tokens, {count:,} parameters", flush=True)

    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    warm_up = 100
    shape = lambda s: min(1.0, (s + 1) / warm_up) * (0.05 + 0.475 * (1 + math.cos(math.pi * s / options.steps)))  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shape)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(options.seed))
    recent: list[float] = []
    for step in range(options.steps):
        picked = order[torch.arange(step * options.batch, (step + 1) * options.batch) % len(rows)]
        batch = rows[picked]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent = [*recent[-99:], loss.item()]
        if (step + 1) % 100 == 0:
            elapsed = time.perf_counter() - started
            print(f"step {step + 1:5d}  loss {sum(recent) / len(recent):.4f}  {elapsed:.0f} s", flush=True)

    tokenizer.chat_template = ZEPHYR_TEMPLATE
    options.output.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    report = {
        "parameters": count,
        "documents": len(documents),
        "tokens_seen": options.steps * options.batch * options.length,
        "final_loss": round(sum(recent) / len(recent), 4),
        "seconds": round(time.perf_counter() - started),
        "threads": torch.get_num_threads(),
        "seed": options.seed,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    (options.output / "base.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
