"""Matrices as integers, rounded so that what they make of real texts changes least.

Where the inputs of a matrix are correlated, the error of one weight can be made up for by the
weights of the other inputs: the columns are rounded one after the other, and the error of each is
spread over the columns that are still to come (GPTQ, arXiv 2210.17323, section 3). How the inputs
are correlated is in their second moments, which `second_moments` takes from texts. How fine the
steps of a matrix need to be depends on what an error in it does to the logits, which
`sensitivities` takes from the same texts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.chat.template import Conversation

Moments = Mapping[str, NDArray[np.float64]]
EMBEDDING, HEAD = "embed_tokens", "lm_head"
DAMPING = 0.01  # of the mean second moment, added to each: texts may leave directions out
LONGEST = 400  # tokens of a text that are read


def second_moments(base: Path, texts: Sequence[Conversation]) -> Moments:
    """Place -> the sum of the outer products of its matrix's inputs, (inputs, inputs), damped;
    nothing without texts.

    An embedding that is the head as well has the inputs of the head.

    Args:
        base: directory of the model.
        texts: conversations that the model reads.
    """
    if not texts:
        return {}
    import torch

    model, rows = _read(base, texts)
    sums: dict[str, torch.Tensor] = {}

    def counted(name: str) -> Any:
        def count(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            rows = inputs[0].flatten(0, -2).double()
            sums[name] = sums.get(name, torch.zeros(())) + rows.T @ rows

        return count

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(counted(name.removeprefix("model.")))
    with torch.no_grad():
        for row in rows:
            model(row)
    if model.config.tie_word_embeddings:
        sums[EMBEDDING] = sums.pop(HEAD)
    return {name: _damped(total.numpy()) for name, total in sums.items()}


def sensitivities(base: Path, texts: Sequence[Conversation]) -> dict[str, float]:
    """Place -> what an error of 1 in a weight of its matrix does to the distance between the logits
    of the two likeliest tokens, to first order: the root of the mean square over its weights and
    the tokens; nothing without texts.

    Args:
        base: directory of the model.
        texts: conversations that the model reads.
    """
    if not texts:
        return {}
    import torch

    model, rows = _read(base, texts)
    model.requires_grad_(True)
    matrices = {
        name.removeprefix("model.").removesuffix(".weight"): values
        for name, values in model.named_parameters()
        if values.ndim == 2
    }
    draw, squares, tokens = torch.Generator().manual_seed(0), dict.fromkeys(matrices, 0.0), 0
    for row in rows:
        two = model(row).logits[0].topk(2).values
        # Signs at random: the square of the sum is on average the sum of the tokens' squares.
        signs = torch.randint(0, 2, (len(two),), generator=draw) * 2 - 1
        model.zero_grad()
        (signs * (two[:, 0] - two[:, 1])).sum().backward()
        for place, values in matrices.items():
            squares[place] += float(values.grad.double().square().mean())
        tokens += len(two)
    return {place: (total / tokens) ** 0.5 for place, total in squares.items()}


def _read(base: Path, texts: Sequence[Conversation]) -> tuple[Any, list[Any]]:
    """The model, and the tokens of each text as a batch of one row."""
    import torch

    from zephyr_utils.chat import encode, load_model, prepare_tokenizer

    model, tokenizer = load_model(base, dtype="float32")
    prepare_tokenizer(tokenizer)
    return model, [torch.tensor([encode(tokenizer, row)[0][:LONGEST]]) for row in texts]


def _damped(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    return moments + DAMPING * np.trace(moments) / len(moments) * np.eye(len(moments))


def steps_of(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """What one stands for in each row of integers of so many bits; 1 in a row of zeros."""
    return _steps(values, 2 ** (bits - 1) - 1)


def steps_within(
    values: NDArray[np.float32], error: float, sensitivity: float
) -> NDArray[np.float32]:
    """The same, of as many integers as make the root mean square of the steps, times the
    sensitivity, the error; of 16 bits at most.
    """
    size = float(np.sqrt(np.square(np.abs(values).max(axis=1), dtype=np.float64).mean()))
    return _steps(values, min(max(1, round(size * sensitivity / error)), 2**15 - 1))


def _steps(values: NDArray[np.float32], largest: int) -> NDArray[np.float32]:
    steps = np.abs(values).max(axis=1) / largest
    return np.where(steps == 0, 1, steps).astype("<f4")


def bits_of(values: NDArray[np.float32], steps: NDArray[np.float32]) -> int:
    """Of the integers that a matrix is in steps of its rows, the sign included."""
    return int(np.rint(np.abs(values) / steps[:, None]).max()).bit_length() + 1


def rounded(
    values: NDArray[np.float32],
    steps: NDArray[np.float32],
    bits: int,
    moments: NDArray[np.float64] | None = None,
) -> NDArray[np.int32]:
    """A matrix in steps of its rows: each value to the nearest, or with the error of each column
    spread over those after it.

    Args:
        values: (outputs, inputs).
        steps: of each row, none of them 0.
        bits: of the integers at most.
        moments: of the inputs, positive definite.
    """
    rows, sizes, most = values.astype(np.float64), steps.astype(np.float64), 2 ** (bits - 1) - 1
    if moments is None:
        return np.rint(rows / sizes[:, None]).astype(np.int32)
    # The columns with the largest inputs come first: there an error costs most, and most are left.
    order = np.argsort(-np.diag(moments), kind="stable")
    rows, moments = rows[:, order], moments[np.ix_(order, order)]
    spread = np.linalg.cholesky(np.linalg.inv(moments)).T
    integers = np.empty(rows.shape, np.int32)
    for n in range(rows.shape[1]):
        integers[:, n] = np.clip(np.rint(rows[:, n] / sizes), -most, most)
        error = (rows[:, n] - integers[:, n] * sizes) / spread[n, n]
        rows[:, n + 1 :] -= error[:, None] * spread[n, n + 1 :]
    return integers[:, np.argsort(order)]


def content_of(integers: NDArray[np.int32], steps: NDArray[np.float32], bits: int) -> list[bytes]:
    """A matrix of integers of at most 16 bits as a file has it, in parts: the step of each row in
    float32, the upper 8 bits of all values, and the bits below them as one stream, lowest bit
    first. Fewer than 8 bits take a byte too, which deflating makes small.
    """
    below = max(0, bits - 8)
    upper = (integers >> below).astype(np.int8)
    lower = (integers & (2**below - 1)).astype(np.uint8).ravel()
    stream = np.unpackbits(lower[:, None], axis=1, bitorder="little")[:, :below]
    parts = (steps.astype("<f4"), upper, np.packbits(stream.ravel(), bitorder="little"))
    return [part.tobytes() for part in parts]
