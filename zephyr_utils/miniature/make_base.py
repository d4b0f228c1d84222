"""Make the miniature's base model again: ``python -m zephyr_utils.miniature.make_base``.

Trains a byte-level BPE tokenizer and a Mistral-shaped model on `base_text.py` from scratch, on the
CPU, with a bare loop: Muon on the matrices, AdamW on the rest, a document a row. Writes weights,
tokenizer and `base.json` (seconds, loss, seed, versions).

Two choices decide whether the base can be aligned, both found by asking it held-out questions in
its own format. Muon: with AdamW and packed rows it was right in 59 % after 6.9 million tokens and
had not learned to look back at a name at all; with Muon it looked back after 1.5 million. Small
steps: 1,500 tokens a step learn more a token than 3,800.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from zephyr_utils.chat import ZEPHYR_TEMPLATE
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.miniature.base_text import base_documents

VOCABULARY = 1200
SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>"]
# Strings of the template and of lower-cased names, so that chat costs few tokens though no document
# holds them.
EXTRA_TOKENIZER_TEXT = "<|system|>\n<|user|>\n<|assistant|>\n"


def train_tokenizer(documents: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE shaped like Mistral's tokenizer: it adds `<s>` to plain text and knows a
    `<pad>` of its own.
    """
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
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=1024,
    )


def make_model(seed: int) -> MistralForCausalLM:
    """Mistral's architecture (grouped queries, SwiGLU, RoPE) at 1.4 M parameters."""
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


def training_batches(
    tokenizer: PreTrainedTokenizerFast, documents: list[str], tokens: int, seed: int
) -> Iterator[torch.Tensor]:
    """Batches of about `tokens` tokens, shape (documents, longest), each document a row of its own,
    padded, for ever.

    Not packed end to end: with strangers' documents in the same row the model never learned *whose*
    name to copy, and wrote its notes to the wrong person. Documents of a batch are of like length,
    so little is padding.
    """
    rng = random.Random(seed)
    rows = sorted(
        ([*ids, tokenizer.eos_token_id] for ids in tokenizer(documents)["input_ids"]), key=len
    )
    groups: list[list[list[int]]] = []
    group: list[list[int]] = []
    for row in rows:
        if group and (len(group) + 1) * len(row) > tokens:
            groups.append(group)
            group = []
        group.append(row)
    while True:
        for chosen in rng.sample(groups, len(groups)):
            width = len(chosen[-1])
            yield torch.tensor(
                [row + [tokenizer.pad_token_id] * (width - len(row)) for row in chosen]
            )


def make_optimizers(model: MistralForCausalLM, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embedding and the norms."""
    matrices = {
        name: p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name
    }
    rest = [p for name, p in model.named_parameters() if name not in matrices]
    return [
        torch.optim.Muon(
            list(matrices.values()),
            lr=learning_rate,
            weight_decay=0.05,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def main() -> None:
    """Train, print the loss as it falls, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=BASE_FOLDER)
    parser.add_argument("--documents", type=int, default=80_000)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=1_500, help="tokens a step")
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    started = time.perf_counter()
    documents = base_documents(options.documents, options.seed)
    tokenizer = train_tokenizer(documents[:10_000])
    model = make_model(options.seed)
    count = sum(p.numel() for p in model.parameters())
    print(f"{len(documents):,} documents, {count:,} parameters", flush=True)

    optimizers = make_optimizers(model, options.learning_rate)
    # Warm-up, constant to the middle, then down to nothing.
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: min(
                (step + 1) / 50, 1.0, 0.02 + (options.steps - step) / (0.5 * options.steps)
            ),
        )
        for optimizer in optimizers
    ]
    stream = training_batches(tokenizer, documents, options.batch, options.seed)
    recent: list[float] = []
    seen = 0
    for step in range(options.steps):
        batch = next(stream)
        labels = batch.masked_fill(batch == tokenizer.pad_token_id, -100)
        seen += int((labels != -100).sum())
        # Right padding under a causal mask: no real token sees a pad.
        loss = model(input_ids=batch, labels=labels).loss
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        for schedule in schedules:
            schedule.step()
        recent = [*recent[-99:], loss.item()]
        if (step + 1) % 100 == 0:
            elapsed = time.perf_counter() - started
            print(
                f"step {step + 1:5d}  loss {sum(recent) / len(recent):.4f}  {elapsed:.0f} s",
                flush=True,
            )

    tokenizer.chat_template = ZEPHYR_TEMPLATE
    options.output.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    report = {
        "parameters": count,
        "documents": len(documents),
        "tokens_seen": seen,
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
