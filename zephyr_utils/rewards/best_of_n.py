"""Choosing the best of n answers: nothing is trained, and it is the yardstick for what is."""

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zephyr_utils.rewards.model import RewardModelError


def best_of_n(scores: ArrayLike) -> NDArray[np.intp]:
    """Which of its n answers has the highest score, for each prompt; the first of equal ones.

    For a control choose by random scores of the same shape: whatever n answers give by themselves,
    such as more tries at a lucky one, it has too.

    Args:
        scores: (prompts, n).

    Returns:
        (prompts,) positions from 0.

    Raises:
        RewardModelError: another shape, or a score that is NaN or infinite.
    """
    return _scores("scores", scores).argmax(axis=1)


def best_of_n_curve(scores: ArrayLike, grades: ArrayLike) -> NDArray[np.float64]:
    """The expected grade of the best-scored of n answers, for each n from 1 to N, from N answers to
    each prompt.

    The mean over all subsets of n of the N answers: with scores in ascending order the k-th is the
    best of C(k - 1, n - 1) of the C(N, n) subsets; answers of equal score share their places. So
    one set of samples gives the whole curve, with far less noise than drawing n answers for each n
    (the estimator of WebGPT, arXiv 2112.09332, as used for over-optimisation in arXiv 2210.10760).

    Args:
        scores: (prompts, N), of the judge that chooses, such as a reward model.
        grades: (prompts, N), of the judge that is believed. The scores themselves give the
            chooser's own opinion of what it chooses.

    Returns:
        (prompts, N); column n - 1 is for n. Column 0 is the mean grade, which is what a random
        choice among any number of answers gives.

    Raises:
        RewardModelError: shapes that differ, or a value that is NaN or infinite.
    """
    scores, grades = _scores("scores", scores), _scores("grades", grades)
    if scores.shape != grades.shape:
        raise RewardModelError(
            f"scores of shape {scores.shape} and grades of {grades.shape}",
            where="best of n",
            remedy="give one score and one grade per answer",
        )
    weights = _subset_weights(scores.shape[1])
    curve = np.empty(scores.shape)
    for prompt, (row, graded) in enumerate(zip(scores, grades, strict=True)):
        _, place, counts = np.unique(row, return_inverse=True, return_counts=True)
        # the mean grade of equal scores, at each of their places in ascending order
        means = np.bincount(place, weights=graded) / counts
        curve[prompt] = weights @ np.repeat(means, counts)
    return curve


def best_of_n_kl(n: int) -> float:
    """log n - (n - 1) / n, in nats: KL between the distribution of the best of n and the policy's.

    Exact where no two answers have one score; an upper bound otherwise (arXiv 2401.01879), which
    matters for a small model whose samples repeat.

    Raises:
        RewardModelError: n below 1.
    """
    if n < 1:
        raise RewardModelError(f"n is {n}", where="best of n", remedy="n is 1 or more")
    return math.log(n) - (n - 1) / n


@cache
def _subset_weights(answers: int) -> NDArray[np.float64]:
    """(N, N): row n - 1, column k - 1 is the share of subsets of n whose best is the k-th."""
    return np.array(
        [
            [math.comb(k - 1, n - 1) / math.comb(answers, n) for k in range(1, answers + 1)]
            for n in range(1, answers + 1)
        ]
    )


def _scores(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise RewardModelError(
            f"{name} of shape {array.shape}",
            where="best of n",
            remedy="give (prompts, n), the same number of answers to each prompt",
        )
    if wrong := int((~np.isfinite(array)).sum()):
        raise RewardModelError(
            f"{wrong} of {array.size} {name} are NaN or infinite",
            where="best of n",
            remedy="set prompts with an answer that could not be judged aside, and count them",
        )
    return array
