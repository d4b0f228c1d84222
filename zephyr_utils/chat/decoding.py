"""Decoding in one loop that calls the model itself: greedy or sampled, one or several answers to a
prompt.

transformers' `generate` computes every row of a batch until the longest answer has ended, and draws
all rows from one stream of random numbers. Here an answer that has ended leaves its batch, a prompt
goes through the model once however many answers are drawn to it, and each answer has random numbers
of its own.
"""

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from zephyr_utils.errors import HandbookError
from zephyr_utils.progress import track

FEWEST_ROWS, MOST_ROWS = 64, 1024  # of a batch whose size was not asked for
CACHE_BYTES = 2**29  # that the keys and values of such a batch may take, as far as FEWEST_ROWS lets
SPARE_TOKENS = 32  # by which the memory for keys and values grows
# Temperatures beyond which scores divided by them overflow, or differ from noise by nothing.
LOWEST, HIGHEST = 1e-3, 1e3
# From this share of ended rows on a batch is compacted. Each time copies keys and values once.
MOST_ENDED = 0.1


@dataclass(frozen=True)
class Continuation:
    """What follows a prompt.

    Attributes:
        token_ids: of the answer, the end-of-sequence token included where it ended.
        log_probs: of each of these tokens, in nats, under the model's own distribution: neither
            the temperature nor top-p is in it, so that their sum is log pi(answer | prompt).
        ended: whether it ended by itself; otherwise it was cut off.
    """

    token_ids: list[int]
    log_probs: list[float]
    ended: bool


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: of an answer, its end included.
        temperature: 0 for greedy decoding (always the likeliest token).
        top_p: draw from the fewest tokens whose probabilities add up to this (nucleus sampling).
        seed: of the draws.
        first_prompt: the number that the first prompt has in the draws, for prompts that are
            decoded part by part.

    Raises:
        HandbookError: a value outside of its range.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    first_prompt: int = 0

    def __post_init__(self) -> None:
        allowed = {
            "max_new_tokens": (self.max_new_tokens >= 1, "1 or more"),
            "temperature": (
                not self.temperature or LOWEST <= self.temperature <= HIGHEST,
                f"0 (greedy), or {LOWEST:g} to {HIGHEST:g}",
            ),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
        }
        for name, (holds, words) in allowed.items():
            if not holds:
                raise HandbookError(
                    f"{name} is {getattr(self, name)}", where=name, remedy=f"give {words}"
                )


def decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    how: Decoding,
    *,
    samples: int = 1,
    eos_token_id: int,
    pad_token_id: int,
    batch_size: int | None = None,
) -> list[list[Continuation]]:
    """Answers to each prompt, in the prompts' order.

    The draw of answer s to prompt p depends on (seed, p, s) alone: one uniform number per token
    from a generator of its own, and the token at that place of the cumulative distribution. So it
    is the same in any batch up to the rounding of the model's scores. PyTorch's global random state
    is neither read nor moved.

    Args:
        prompts: token ids; each with `max_new_tokens` must fit into the model's context.
        samples: answers to each prompt.
        batch_size: answers computed at once; None takes what `CACHE_BYTES` hold.

    Raises:
        HandbookError: the model's logits are NaN or infinite.
    """
    # Prompts of like length share a batch, so that little of it is padding.
    order = sorted(range(len(prompts)), key=lambda p: len(prompts[p]))
    rows = [(p, s) for p in order for s in range(samples)]
    answers: list[list[Any]] = [[None] * samples for _ in prompts]
    size = batch_size or _rows_at_once(model, max(map(len, prompts), default=0), how)
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    was_training = model.training
    model.eval()
    try:
        for batch in track(batches, "batches of answers"):
            made = _decode_batch(model, prompts, batch, how, eos_token_id, pad_token_id)
            for (p, s), answer in zip(batch, made, strict=True):
                answers[p][s] = answer
    finally:
        model.train(was_training)
    return answers


def _rows_at_once(model: PreTrainedModel, width: int, how: Decoding) -> int:
    config = model.config.get_text_config()
    numbers = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)
    size = 2 * numbers * (width + how.max_new_tokens) * model.dtype.itemsize
    return min(max(CACHE_BYTES // max(size, 1), FEWEST_ROWS), MOST_ROWS)


class _GrowingLayer(DynamicLayer):
    """Keys and values of a layer in memory with room for further tokens.

    The library's own layer copies all of them for each new token, which takes a third of a step.
    """

    memory: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        total = held + key_states.shape[-2]
        memory = self.memory
        if memory is None or memory[0].shape[-2] < total:
            memory = _empty_like(key_states, total), _empty_like(value_states, total)
            if held and self.keys is not None and self.values is not None:
                memory[0][:, :, :held], memory[1][:, :, :held] = self.keys, self.values
        memory[0][:, :, held:total], memory[1][:, :, held:total] = key_states, value_states
        self.memory = memory
        self.keys, self.values = memory[0][:, :, :total], memory[1][:, :, :total]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Any) -> None:
        super().reorder_cache(beam_idx)
        self.memory = None


def _empty_like(states: Tensor, tokens: int) -> Tensor:
    rows, heads, _, size = states.shape
    return states.new_empty((rows, heads, tokens + SPARE_TOKENS, size))


class _Steps:
    """A causal model called with a cache: the scores of the next token of each row.

    Every kind of the library's cache layers has `reorder_cache`, which serves to repeat rows and to
    drop them as well.
    """

    def __init__(self, model: Any) -> None:
        # PEFT's wrapper hides the parameters; the adapter is in the layers of what it wraps.
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.known = set(inspect.signature(self.model.forward).parameters)
        self.cache = DynamicCache(config=self.model.config)
        self.cache.layers = [
            _GrowingLayer() if type(layer) is DynamicLayer else layer for layer in self.cache.layers
        ]

    def __call__(self, input_ids: Tensor, mask: Tensor, position_ids: Tensor) -> Tensor:
        """(rows, new tokens), (rows, all tokens), (rows, new tokens) -> scores (rows, vocabulary)
        of the token that follows the last, in float32.
        """
        optional = {"position_ids": position_ids, "logits_to_keep": 1}
        given = {name: value for name, value in optional.items() if name in self.known}
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
            **given,
        )
        return outputs.logits[:, -1].float()

    def take(self, rows: Any) -> None:
        """Go on with these rows alone, by number; one may be named several times."""
        self.cache.reorder_cache(rows)


@torch.no_grad()
def _decode_batch(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    batch: list[tuple[int, int]],
    how: Decoding,
    eos: int,
    pad: int,
) -> list[Continuation]:
    device, steps = model.device, _Steps(model)
    asked = list(dict.fromkeys(p for p, _ in batch))  # each prompt once
    width = max(len(prompts[p]) for p in asked)
    # Padded on the left: the answer has to follow the prompt at once.
    gaps = [width - len(prompts[p]) for p in asked]
    ids = torch.tensor([[pad] * gap + list(prompts[p]) for gap, p in zip(gaps, asked, strict=True)])
    mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps]).to(device)
    scores = steps(ids.to(device), mask, (mask.cumsum(1) - 1).clamp(min=0))
    place = {p: n for n, p in enumerate(asked)}
    index = torch.tensor([place[p] for p, _ in batch], device=device)
    steps.take(index)
    scores, mask = scores[index], mask[index]
    lengths = mask.sum(1, keepdim=True)
    mask = torch.cat([mask, mask.new_ones(len(batch), how.max_new_tokens)], dim=1)
    draws = _uniform_numbers(batch, how).to(device)
    tokens = torch.full((len(batch), how.max_new_tokens), eos, device=device)
    log_probs = torch.zeros(tokens.shape, device=device)
    ended = torch.zeros(len(batch), dtype=torch.bool, device=device)
    rows = torch.arange(len(batch), device=device)  # of `tokens`, those that are still computed
    for step in range(how.max_new_tokens):
        chosen = _choose(scores, draws[rows, step, None] if how.temperature else None, how)
        # what a row says after its end, until it is dropped, does not count
        tokens[rows, step] = chosen[:, 0].masked_fill(ended[rows], eos)
        log_probs[rows, step] = (scores.gather(1, chosen) - scores.logsumexp(1, keepdim=True))[:, 0]
        ended[rows] |= chosen[:, 0] == eos
        going = ~ended[rows]
        n_going = int(going.sum())
        if not n_going or step + 1 == how.max_new_tokens:
            break
        if n_going <= (1 - MOST_ENDED) * len(rows):
            kept = going.nonzero()[:, 0]
            steps.take(kept)
            rows, chosen, mask, lengths = rows[kept], chosen[kept], mask[kept], lengths[kept]
        scores = steps(chosen, mask[:, : width + step + 1], lengths + step)
    return _continuations(tokens.tolist(), log_probs.tolist(), ended.tolist(), eos)


def _uniform_numbers(batch: list[tuple[int, int]], how: Decoding) -> Tensor:
    """(rows, max_new_tokens) numbers in [0, 1), each row's from a generator of its own; none where
    decoding is greedy.
    """
    if not how.temperature:
        return torch.empty(0)
    seed = how.seed % 2**64  # NumPy takes no negative one
    seeds = ([seed, how.first_prompt + p, s] for p, s in batch)
    numbers = [np.random.default_rng(own).random(how.max_new_tokens) for own in seeds]
    return torch.from_numpy(np.stack(numbers))


def _choose(scores: Tensor, uniform: Tensor | None, how: Decoding) -> Tensor:
    """The next token of each row, (rows, 1): the likeliest, or the one at the place `uniform` of
    the cumulative distribution.
    """
    if uniform is None:
        return scores.argmax(1, keepdim=True)
    # weights, not divided by their sum: the place is multiplied by it instead
    weights = ((scores - scores.amax(1, keepdim=True)) / how.temperature).exp()
    names = None
    if how.top_p < 1:
        weights, names = weights.sort(1, descending=True)
        before = weights.cumsum(1, dtype=torch.float64) - weights
        weights = weights.masked_fill(before >= how.top_p * weights.sum(1, keepdim=True), 0)
    cumulative = weights.cumsum(1, dtype=torch.float64)
    place = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    place = place.clamp(max=scores.shape[1] - 1)
    return place if names is None else names.gather(1, place)


def _continuations(
    tokens: list[list[int]], log_probs: list[list[float]], ended: list[bool], eos: int
) -> list[Continuation]:
    made = []
    for row, values, whole in zip(tokens, log_probs, ended, strict=True):
        length = row.index(eos) + 1 if whole else len(row)
        if not all(map(math.isfinite, values[:length])):
            raise HandbookError(
                "the model's logits are NaN or infinite",
                where="the model",
                remedy="its training has diverged, or its weights are damaged: make it again",
            )
        made.append(Continuation(row[:length], values[:length], whole))
    return made
