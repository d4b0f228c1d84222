"""Prefix sharing (arXiv 2410.20305): the prompt of a pair goes through the model once, not once with each answer.

A pair as TRL batches it is two rows, ``prompt + chosen`` and ``prompt + rejected``. Here it is one,

    p1 p2 ... pn | c1 c2 ... | pn r1 r2 ...        positions 1 2 ... n | n+1 n+2 ... | n n+1 n+2 ...

with a mask under which the second answer does not see the first. The prompt's last token stands before each answer, since
it is what predicts the answer's first. Every token sees the tokens, at the positions, that it would see in two rows, so the
log-probabilities are the same up to rounding; ``2 * prompt + chosen + rejected`` positions become
``prompt + chosen + rejected + 1``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zephyr_utils.errors import HandbookError

IGNORE = -100
PADDING = 3  # segments: 0 the prompt, 1 and 2 the two answers


@dataclass(frozen=True)
class SharedRows:
    """Pairs in one row each.

    Attributes:
        input_ids, position_ids, labels: (pairs, width).
        attention_mask: (pairs, 1, width, width), true where a token (third axis) sees another (fourth).
        back: (2 * pairs, width of the two-row batch - 1), where each prediction of the two-row batch stands in a shared row;
            -1 where nothing is predicted.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    attention_mask: Tensor
    back: Tensor


def share_prompts(input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> SharedRows:
    """Turn a batch of two rows a pair into one of one row a pair.

    Args:
        input_ids: (2 * pairs, tokens): all chosen rows, then all rejected ones, padded at the right.
        attention_mask: the same shape, 0 on padding.
        labels: the same shape, -100 on prompts and padding; the two rows of a pair have one prompt.
    """
    pairs, device = len(input_ids) // 2, input_ids.device
    lengths = attention_mask.sum(1).tolist()
    firsts = (
        (labels != IGNORE).int().argmax(1).tolist()
    )  # the answer's first token; the one before it predicts it
    rows, positions, targets, segments = [], [], [], []
    back = torch.full((2 * pairs, input_ids.shape[1] - 1), -1, device=device)
    for i in range(pairs):
        j, split, chosen, rejected = i + pairs, firsts[i] - 1, lengths[i], lengths[i + pairs]
        if firsts[i] != firsts[j] or not torch.equal(input_ids[i, : split + 1], input_ids[j, : split + 1]):
            raise ValueError(f"pair {i}: the two rows do not begin with one prompt")
        rows.append(torch.cat([input_ids[i, :chosen], input_ids[j, split:rejected]]))
        targets.append(torch.cat([labels[i, :chosen], labels[j, split:rejected]]))
        positions.append(torch.cat([torch.arange(chosen), torch.arange(split, rejected)]))
        segment = torch.ones(chosen + rejected - split, dtype=torch.long)
        segment[:split], segment[chosen:] = 0, 2
        segments.append(segment)
        back[i, split : chosen - 1] = torch.arange(split, chosen - 1, device=device)
        back[j, split : rejected - 1] = torch.arange(chosen, chosen + rejected - split - 1, device=device)

    def padded(parts: list[Tensor], value: int) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=value).to(device)

    segment = padded(segments, PADDING)
    causal = torch.ones(segment.shape[1], segment.shape[1], dtype=torch.bool, device=device).tril()
    seen = (segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None])
    return SharedRows(
        padded(rows, 0), padded(positions, 0), padded(targets, IGNORE), (causal & seen)[:, None], back
    )


def with_shared_prompts(model: Callable) -> Callable:
    """`model` with TRL's fused head as a function of the same batch and of the same outputs, computed on shared rows.

    Raises (when called):
        HandbookError: the model's attention takes no mask of this shape, or slides over fewer tokens than a row has.
    """

    def call(input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **options):
        shared = share_prompts(input_ids, attention_mask, labels)
        _check_attention(model, shared.position_ids)
        outputs = model(
            input_ids=shared.input_ids, attention_mask=shared.attention_mask, position_ids=shared.position_ids,
            labels=shared.labels, **options,
        )  # fmt: skip
        index = shared.back.clamp(min=0)
        for name, values in outputs.items():
            if isinstance(values, Tensor) and values.ndim == 2:  # one number a position
                both = torch.cat([values, values]).gather(1, index)
                setattr(outputs, name, both.masked_fill(shared.back < 0, 0))
        return outputs

    return call


def _check_attention(model, positions: Tensor) -> None:
    config = (model.module if hasattr(model, "module") else model).config
    if config._attn_implementation != "sdpa":
        raise HandbookError(
            f"prompts cannot be shared under {config._attn_implementation} attention, which takes no mask for each pair of tokens",
            remedy="set attn_implementation: sdpa, or leave share_prompts off",
        )
    window = getattr(config, "sliding_window", None)
    if window and int(positions.max()) >= window:
        raise HandbookError(
            f"a row is longer than the model's sliding window of {window} tokens, which a shared row cannot keep",
            remedy="lower max_length, or leave share_prompts off",
        )
