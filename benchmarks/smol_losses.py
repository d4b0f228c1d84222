"""The loss of held-out dialogues before and after dSFT, and of the messages' own words among their
tokens. Part of ``smol.py``.

A chat template writes tokens of its own, the same in every row: markers, ends of turns, a system
turn. A chat model that was trained on answers alone has never learned to predict them, so the loss
of all tokens can fall without a word of the dialogues becoming likelier.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from zephyr_utils.chat import load_model, prepare_tokenizer, token_view
from zephyr_utils.evaluation import bootstrap_interval
from zephyr_utils.pipeline.pipeline import Pipeline


def held_out_losses(pipeline: Pipeline) -> dict[str, Any]:
    """Nats per token of the held-out dialogues before and after dSFT, of all tokens and of those
    that hold words of a message, and the differences with a bootstrap interval over dialogues.
    """
    _, held_out, _ = pipeline.split_dialogues()
    losses: dict[str, list[np.ndarray]] = {}
    words: list[np.ndarray] = []
    for name in ("base", "dsft"):
        model, tokenizer = load_model(pipeline.model_directory(name), dtype="float32")
        prepare_tokenizer(tokenizer, pipeline.chat_template)
        views = [token_view(tokenizer, row["messages"], assistant_only=False) for row in held_out]
        losses[name] = [token_losses(model.eval(), [view.id for view in row]) for row in views]
        words = [
            is_word([view.text for view in row], record["messages"])[1:]
            for row, record in zip(views, held_out, strict=True)
        ]
    everything = [np.ones(len(row), dtype=bool) for row in words]
    counted = {
        "words": float(np.concatenate(words).mean()),
        "of_words": compared(losses, words),
    }
    return {"dialogues": len(held_out), **compared(losses, everything), **counted}


def compared(losses: dict[str, list[np.ndarray]], counts: Sequence[np.ndarray]) -> dict[str, Any]:
    """Mean loss of the tokens that count, by model, and the change from base to dSFT."""
    sums = {
        name: np.array([row[here].sum() for row, here in zip(rows, counts, strict=True)])
        for name, rows in losses.items()
    }
    tokens = np.array([here.sum() for here in counts])
    each = np.stack([sums["dsft"] - sums["base"], tokens], axis=1)  # (dialogues, 2)

    def per_token(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        total = each[drawn.astype(int)].sum(axis=-2)
        return total[..., 0] / total[..., 1]

    change = bootstrap_interval(np.arange(len(each), dtype=float), per_token)
    return {
        **{name: float(values.sum() / tokens.sum()) for name, values in sums.items()},
        "change": {"estimate": change.estimate, "low": change.low, "high": change.high},
    }


@torch.no_grad()
def token_losses(model: Any, ids: list[int]) -> np.ndarray:
    """Nats of each token but the first."""
    log_probs = model(input_ids=torch.tensor([ids])).logits[0, :-1].float().log_softmax(-1)
    return -log_probs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].numpy()


def is_word(texts: Sequence[str], messages: Sequence[dict[str, str]]) -> np.ndarray:
    """By token, whether it begins within a message's content; a token without text is a further
    piece of the character before.
    """
    rendered, within, place = "".join(texts), set(), 0
    for message in messages:
        content = message["content"].strip()  # some templates strip it, too
        begins = rendered.index(content, place)
        place = begins + len(content)
        within |= set(range(begins, place))
    starts = np.cumsum([0, *map(len, texts)])[:-1]
    found: list[bool] = []
    for text, start in zip(texts, starts.tolist(), strict=True):
        found.append(start in within if text else bool(found) and found[-1])
    return np.array(found)
