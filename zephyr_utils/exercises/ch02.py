"""Checks of chapter 02: losses summed over batches, the size of an adapter, merging it."""

import math
from collections.abc import Callable

import numpy as np
import torch

from zephyr_utils.exercises.core import attempt, compare, exercise


@exercise(
    "02_dsft",
    right="Sums and counts add up to the same number however the rows are batched.",
    solution=lambda sums, counts: sum(sums) / sum(counts),
    wrong={
        "mean of means": lambda sums, counts: float(np.mean(np.divide(sums, counts))),
        "divide by the tokens": lambda sums, counts: sum(sums),
        "number of batches": lambda sums, counts: sum(sums) / len(sums),
        "upside down": lambda sums, counts: sum(counts) / sum(sums),
        "perplexity": lambda sums, counts: math.exp(sum(sums) / sum(counts)),
        "one number": lambda sums, counts: np.divide(sums, counts),
    },
)
def check_combine_batches(fn: Callable[[list[float], list[int]], float]) -> None:
    """``fn(sums, counts) -> loss``: nats per token of a data set, from each batch's sum of losses
    and number of tokens.
    """
    sums, counts = [30.0, 4.0, 12.0], [20, 2, 16]
    means = np.divide(sums, counts)
    right = sum(sums) / sum(counts)
    mistakes = {
        "This is the mean of means: a token of the batch with 2 tokens weighs ten times one of the "
        "batch with 20.": (np.mean(means)),
        "This is the whole sum; divide by the tokens of all batches.": sum(sums),
        "Divide by the number of tokens, not by the number of batches.": sum(sums) / len(sums),
        "This is upside down: nats per token are nats divided by tokens.": sum(counts) / sum(sums),
        "This is the perplexity, the exponential of what is asked.": math.exp(right),
        "These are the batches' own losses; the data set has one number.": means,
    }
    compare(
        attempt(fn, sums, counts),
        right,
        mistakes,
        "Nats of all batches, divided by tokens of all batches.",
    )


def _merge(weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, alpha: float) -> torch.Tensor:
    return weight + alpha / len(a) * b @ a


@exercise(
    "02_dsft",
    right="Merged like this, the model needs neither the adapter nor the PEFT library to answer.",
    solution=_merge,
    wrong={
        "scale alpha / r": lambda w, a, b, alpha: w + b @ a,
        "divide alpha by the rank": lambda w, a, b, alpha: w + alpha * b @ a,
        "by the number of outputs": lambda w, a, b, alpha: w + alpha / b.shape[0] * b @ a,
        "update alone": lambda w, a, b, alpha: _merge(w, a, b, alpha) - w,
        "transposed": lambda w, a, b, alpha: w + alpha / len(a) * a.T @ b.T,
        "upside down": lambda w, a, b, alpha: w + len(a) / alpha * b @ a,
        "subtracted": lambda w, a, b, alpha: w - alpha / len(a) * b @ a,
    },
)
def check_merge(
    fn: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor],
) -> None:
    """``fn(weight, a, b, alpha) -> merged``: weight (out, in), a (rank, in), b (out, rank), merged
    (out, in).
    """
    draw = torch.Generator().manual_seed(2)
    weight, a, b = (torch.randn(size, generator=draw) for size in ((5, 5), (2, 5), (5, 2)))
    alpha, update = 6.0, b @ a
    mistakes = {
        "The scale alpha / r is missing.": weight + update,
        "You have to divide alpha by the rank, which is the number of rows of a.": weight
        + alpha * update,
        "You divide by the number of outputs, the rows of b; the rank is the number of rows of "
        "a.": weight + alpha / 5 * update,
        "This is the update alone; add it to the weight.": alpha / 2 * update,
        "The update is transposed: b @ a has the shape and the order of the weight.": weight
        + alpha / 2 * update.T,
        "The scale is upside down: it is alpha / r.": weight + 2 / alpha * update,
        "The update is added, not subtracted.": weight - alpha / 2 * update,
    }
    compare(
        attempt(fn, weight, a, b, alpha),
        _merge(weight, a, b, alpha),
        mistakes,
        "This is not the weight plus alpha / r times b @ a.",
        tolerance=1e-5,
    )


def _count(shapes: list[tuple[int, int]], rank: int) -> int:
    return sum(rank * (out + inside) for out, inside in shapes)


@exercise(
    "02_dsft",
    right="Adapters grow with the sum of a matrix's sides, weights with their product: so they are "
    "cheap where it matters.",
    solution=_count,
    wrong={
        "frozen weights": lambda shapes, rank: sum(out * inside for out, inside in shapes),
        "is not trained": lambda shapes, rank: (
            _count(shapes, rank) + sum(out * inside for out, inside in shapes)
        ),
        "A alone": lambda shapes, rank: sum(rank * inside for _, inside in shapes),
        "B alone": lambda shapes, rank: sum(rank * out for out, _ in shapes),
        "rank is missing": lambda shapes, rank: _count(shapes, 1),
        "rank is squared": lambda shapes, rank: rank * _count(shapes, rank),
    },
)
def check_lora_count(fn: Callable[[list[tuple[int, int]], int], int]) -> None:
    """``fn(shapes, rank) -> int``: trainable numbers of LoRA adapters on weights of these shapes,
    (out, in) each.
    """
    shapes, rank = [(160, 160), (80, 160), (448, 160)], 16
    weights, right = sum(out * inside for out, inside in shapes), _count(shapes, rank)
    mistakes = {
        "These are the frozen weights themselves; the adapters are A and B beside them.": weights,
        "The frozen weight is not trained: count A and B alone.": weights + right,
        "This is A alone; B has rank times out more.": sum(rank * inside for _, inside in shapes),
        "This is B alone; A has rank times in more.": sum(rank * out for out, _ in shapes),
        "The rank is missing: A has that many rows, B that many columns.": right // rank,
        "The rank is squared: each of A and B has it once.": right * rank,
    }
    compare(
        attempt(fn, shapes, rank),
        right,
        mistakes,
        "A is (rank, in) and B is (out, rank), for each weight.",
    )
