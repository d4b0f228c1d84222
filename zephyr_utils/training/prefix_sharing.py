"""Prefix sharing (arXiv 2410.20305): the prompt of a pair goes through the model once, not once
with each answer.

A pair as TRL batches it is two rows, ``prompt + chosen`` and ``prompt + rejected``, padded to the
longest row. Here it is

    p1 p2 ... pn | c1 c2 ... | pn r1 r2 ...        positions 1 2 ... n | n+1 n+2 ... | n n+1 n+2 ...

with a mask under which the second answer does not see the first. The prompt's last token stands
before each answer, since it is what predicts the answer's first. Several pairs are in one row,
unseen by each other, so that almost nothing is padding. Every token sees the tokens, at the
positions, that it would see in two rows, so the log-probabilities are the same up to rounding; ``2
* prompt + chosen + rejected`` positions and padding become ``prompt + chosen + rejected + 1``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from zephyr_utils.errors import HandbookError
from zephyr_utils.objectives import IGNORE_INDEX
from zephyr_utils.training.attention import FLEX

# the segment of what belongs to no pair; pair i has 3i for its prompt, 3i + 1 and 3i + 2 for its
# answers
PADDING = -1
ALIBI = ("bloom", "mpt")  # others say so in their configuration
DENSE, SPARSE = "sdpa", FLEX  # the attentions that take a mask for each two tokens


@dataclass(frozen=True)
class SharedRows:
    """Pairs, several in a row.

    Attributes:
        input_ids, position_ids, labels: (rows, width).
        segments: (rows, width), see `PADDING`.
        back: (2 * pairs, width of the two-row batch - 1), where each of its predictions stands
            among the ``rows * (width - 1)`` predictions of these rows; -1 where nothing is
            predicted.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    segments: Tensor
    back: Tensor

    def dense_mask(self) -> Tensor:
        """(rows, 1, width, width), true where a token (third axis) sees another (fourth)."""
        asks, asked = self.segments[:, :, None], self.segments[:, None, :]
        causal = torch.ones(
            asked.shape[-1], asked.shape[-1], dtype=torch.bool, device=asks.device
        ).tril()
        return (causal & _same_text(asks, asked))[:, None]

    def block_mask(self) -> BlockMask:
        """The same for flex attention, which passes over blocks in which nothing is seen."""
        segments = self.segments

        def sees(row: Tensor, head: Tensor, asks: Tensor, asked: Tensor) -> Tensor:
            return (asks >= asked) & _same_text(segments[row, asks], segments[row, asked])

        rows, width = segments.shape
        return create_block_mask(sees, rows, None, width, width, device=segments.device)


def _same_text(asks: Tensor, asked: Tensor) -> Tensor:
    """Whether a token of segment `asked` belongs to the text of one of segment `asks`: its own
    segment, or its prompt.
    """
    return (asks == asked) | (asked == asks.div(3, rounding_mode="floor") * 3)


def share_prompts(
    input_ids: Tensor, attention_mask: Tensor, labels: Tensor, hidden_size: int
) -> SharedRows:
    """Turn a batch of two rows a pair into one in which each prompt appears once.

    Args:
        input_ids: (2 * pairs, tokens): all chosen rows, then all rejected ones, padded at the
            right.
        attention_mask: the same shape, 0 on padding.
        labels: the same shape, -100 on prompts and padding; the two rows of a pair have one prompt.
        hidden_size: of the model, see `pack`.
    """
    pairs, tokens = len(input_ids) // 2, input_ids.shape[1]
    lengths = attention_mask.sum(1).tolist()
    # the one before an answer's first token predicts it
    splits = _last_of_prompts(input_ids, labels)
    sizes = [lengths[i] + lengths[i + pairs] - splits[i] for i in range(pairs)]
    rows, width = pack(sizes, hidden_size)
    source, positions = np.zeros((2, len(rows), width), dtype=np.int64)
    segments = np.full((len(rows), width), PADDING)
    back = np.full((2 * pairs, tokens - 1), -1)
    for row, members in enumerate(rows):
        begins = 0
        for i in members:
            # the second time from the prompt's last token on
            for side, start in ((0, 0), (1, splits[i])):
                text = np.arange(start, lengths[i + side * pairs])
                here = slice(begins, begins + len(text))
                source[row, here], positions[row, here] = (i + side * pairs) * tokens + text, text
                segments[row, here] = 3 * i + np.where(
                    (side == 0) & (text < splits[i]), 0, side + 1
                )
                predicts = text[(text >= splits[i]) & (text < text[-1])]
                back[i + side * pairs, predicts] = row * (width - 1) + begins + predicts - start
                begins += len(text)
    where, position_ids, segment_ids, predictions = (
        torch.from_numpy(numbers).to(input_ids.device)
        for numbers in (source, positions, segments, back)
    )
    ids, targets = (whole.flatten()[where] for whole in (input_ids, labels))
    targets = targets.masked_fill(segment_ids == PADDING, IGNORE_INDEX)
    return SharedRows(ids, position_ids, targets, segment_ids, predictions)


def _last_of_prompts(input_ids: Tensor, labels: Tensor) -> list[int]:
    """Where each pair's prompt has its last token.

    Raises:
        ValueError: the two rows of a pair do not begin with one prompt.
    """
    chosen, rejected = (labels != IGNORE_INDEX).int().argmax(1).chunk(2)
    columns = torch.arange(input_ids.shape[1], device=input_ids.device)
    ours, theirs = input_ids.chunk(2)
    differ = ((ours != theirs) & (columns < chosen[:, None])).any(1) | (chosen != rejected)
    if differ.any():
        raise ValueError(
            f"pair {int(differ.int().argmax())}: the two rows do not begin with one prompt"
        )
    return (chosen - 1).tolist()


def pack(sizes: list[int], hidden_size: int) -> tuple[list[list[int]], int]:
    """Pairs into rows, so that the least is computed: the pairs of each row, by number, and the
    rows' width.

    Few rows leave little padding, but attention costs a row's width for each token. Beside it stand
    the layer's matrices, of about ``12 * hidden_size ** 2`` weights: as many operations as
    attention over ``6 * hidden_size`` tokens. So ``rows * width * (6 * hidden_size + width)`` is
    what is made small.
    """
    packings = []
    for count in range(1, len(sizes) + 1):
        rows: list[list[int]] = [[] for _ in range(count)]
        filled = [0] * count
        for pair in sorted(range(len(sizes)), key=lambda pair: -sizes[pair]):
            emptiest = filled.index(min(filled))
            rows[emptiest].append(pair)
            filled[emptiest] += sizes[pair]
        width = -(-max(filled) // 8) * 8  # GPUs read masks eight columns at a time
        packings.append((count * width * (6 * hidden_size + width), rows, width))
    _, rows, width = min(packings, key=lambda packing: packing[0])
    return rows, width


def with_shared_prompts(model: Any) -> Callable[..., Any]:
    """`model` with TRL's fused head as a function of the same batch and of the same outputs,
    computed on shared rows.
    """
    config = (model.module if hasattr(model, "module") else model).config

    def call(input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **options: Any) -> Any:
        shared = share_prompts(input_ids, attention_mask, labels, config.hidden_size)
        sparse = config._attn_implementation == SPARSE
        outputs = model(
            input_ids=shared.input_ids,
            attention_mask=shared.block_mask() if sparse else shared.dense_mask(),
            position_ids=shared.position_ids,
            labels=shared.labels,
            **options,
        )
        index = shared.back.clamp(min=0)
        for name, values in outputs.items():
            if isinstance(values, Tensor) and values.ndim == 2:  # one number a prediction
                setattr(outputs, name, values.flatten()[index].masked_fill(shared.back < 0, 0))
        return outputs

    return call


def can_share_prompts(config: Any, max_length: int | None, asked: bool | None) -> bool:
    """Whether pairs of at most `max_length` tokens can share their prompts under the model's
    `config`.

    Raises:
        HandbookError: it was `asked` for, and its attention takes no such mask, slides over fewer
            tokens than a row has, or has its positions from the mask.
    """
    reason = None
    if config._attn_implementation not in (DENSE, SPARSE):
        reason = (
            f"{config._attn_implementation} attention takes no mask for each pair of tokens",
            f"set attn_implementation: {DENSE}, or leave share_prompts out",
        )
    if config.model_type in ALIBI or getattr(config, "alibi", False):
        reason = (
            "the model takes positions from a mask of whole rows (ALiBi)",
            "leave share_prompts out",
        )
    window = getattr(config, "sliding_window", None)
    if window and (not max_length or max_length > window):
        reason = (
            f"the model's attention slides over {window} tokens, which a row with a prompt shared "
            f"cannot keep, "
            f"and a text may have {max_length or 'any number'}",
            f"set max_length: {window}, or leave share_prompts out",
        )
    if reason and asked:
        raise HandbookError(
            f"prompts cannot be shared: {reason[0]}", where="dDPO", remedy=reason[1]
        )
    return asked is not False and reason is None
