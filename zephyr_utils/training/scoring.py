"""What a model says of rows that it is not training on: log-probabilities of answers, the loss of
whole dialogues.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat import Conversation, encode, encode_prompt
from zephyr_utils.objectives import IGNORE_INDEX, sequence_log_probs, token_weighted_nll
from zephyr_utils.training.encoding import common_prefix

Row = tuple[list[int], int]  # token ids, and where the answer begins
MAX_LOGITS = 2**26  # that one forward pass may give: 256 MB in float32


def answer_log_probs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    batch_size: int = 32,
) -> torch.Tensor:
    """log p(last message | the messages before it) of each conversation, summed over the message's
    tokens.

    Args:
        conversations: message lists that end with the assistant's answer.

    Returns:
        Tensor of shape (conversations,), in nats, in the order given.
    """
    rows = [answer_row(tokenizer, messages) for messages in conversations]
    return row_log_probs(model, rows, int(tokenizer.pad_token_id), batch_size)


def answer_row(tokenizer: PreTrainedTokenizerBase, messages: Conversation) -> Row:
    """A conversation's token ids, and where its last message begins."""
    prompt, ids = encode_prompt(tokenizer, messages[:-1]), encode(tokenizer, messages)[0]
    # As TRL counts: the answer begins behind the generation prompt and runs to the template's last
    # newline.
    return ids, common_prefix(prompt, ids)


@torch.no_grad()
def row_log_probs(
    model: PreTrainedModel, rows: Sequence[Row], pad_token_id: int, batch_size: int = 32
) -> torch.Tensor:
    """The log-probability of each row's answer, summed over its tokens: (rows,), in nats."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    sums = torch.empty(len(rows))
    lengths = [len(rows[i][0]) for i in order]
    with _without_dropout(model):
        for start, end in _batches(lengths, batch_size, _vocabulary(model)):
            picked = order[start:end]
            sums[picked] = batch_log_probs(model, [rows[i] for i in picked], pad_token_id).cpu()
    return sums


@contextmanager
def _without_dropout(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode for a while; then the mode that the model was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def batch_log_probs(model: PreTrainedModel, rows: Sequence[Row], pad_token_id: int) -> torch.Tensor:
    """As `row_log_probs`, from one forward pass, with gradients where they are on."""
    width = max(len(ids) for ids, _ in rows)
    padded = torch.full((len(rows), width), pad_token_id)
    labels = torch.full((len(rows), width), IGNORE_INDEX)
    for n, (ids, begins) in enumerate(rows):
        padded[n, : len(ids)] = torch.tensor(ids)
        labels[n, begins : len(ids)] = torch.tensor(ids[begins:])
    mask = torch.arange(width) < torch.tensor([[len(ids)] for ids, _ in rows])
    logits = model(input_ids=padded.to(model.device), attention_mask=mask.to(model.device)).logits
    return sequence_log_probs(logits, labels)


@torch.no_grad()
def held_out_loss(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dialogues: Sequence[Mapping[str, Any]],
    batch_size: int = 16,
) -> float:
    """Token-weighted negative log-likelihood of whole dialogues, in nats per token."""
    encoded = sorted((encode(tokenizer, row["messages"])[0] for row in dialogues), key=len)
    total, count = 0.0, 0
    lengths = list(map(len, encoded))
    with _without_dropout(model):
        for start, end in _batches(lengths, batch_size, _vocabulary(model)):
            batch = encoded[start:end]
            width = lengths[end - 1]
            padded = [row + [tokenizer.pad_token_id] * (width - len(row)) for row in batch]
            ids = torch.tensor(padded).to(model.device)
            labels = torch.tensor([row + [IGNORE_INDEX] * (width - len(row)) for row in batch])
            # Right padding under a causal mask: no real token sees a pad, so no attention mask is
            # needed.
            logits = model(input_ids=ids).logits.float()
            nll, tokens = token_weighted_nll(logits, labels.to(model.device))
            total, count = total + float(nll), count + int(tokens)
    return total / count


def _batches(lengths: Sequence[int], batch_size: int, vocabulary: int) -> Iterator[tuple[int, int]]:
    """(start, end) of batches of rows that are ordered by length: `batch_size` rows, or as many
    as keep the logits of a padded batch below `MAX_LOGITS`; one at least.
    """
    start = 0
    for row, length in enumerate(lengths):
        rows = row - start  # of the batch before this row
        if rows and (rows == batch_size or (rows + 1) * length * vocabulary > MAX_LOGITS):
            yield start, row
            start = row
    if lengths:
        yield start, len(lengths)


def _vocabulary(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config().vocab_size)
