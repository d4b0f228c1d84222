"""Reward margins: what a model's implicit rewards say on pairs.

The forward passes are made elsewhere; here are sums of log-probabilities per answer in, figures
with intervals out.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.intervals import Interval, bootstrap_interval, wilson_interval
from zephyr_utils.objectives import implicit_reward


class RewardError(HandbookError, ValueError):
    """Log-probabilities from which no margins can be computed: unequal numbers, none, NaN, or a
    beta of no use.
    """


@dataclass(frozen=True)
class RewardMargins:
    """Implicit rewards of a model on preference pairs, one value a pair.

    Attributes:
        chosen, rejected: ``beta * (log-probability under the policy - under the reference)``, shape
            ``(pairs,)``.
        margins: chosen minus rejected.
        accuracy: share of pairs with a margin above zero, with Wilson's interval.
        mean_margin: mean margin with its bootstrap interval over pairs.
        n_ties: pairs with a margin of exactly zero; they count as wrong (all of them do before
            training).
    """

    chosen: NDArray[np.float64]
    rejected: NDArray[np.float64]
    margins: NDArray[np.float64]
    accuracy: Interval
    mean_margin: Interval
    n_ties: int


def reward_margins(
    policy_chosen: ArrayLike,
    policy_rejected: ArrayLike,
    reference_chosen: ArrayLike,
    reference_rejected: ArrayLike,
    beta: float,
    *,
    n: int = 2000,
    seed: int = 0,
) -> RewardMargins:
    """Rewards, margins and accuracy over a whole set of pairs, with intervals.

    Args:
        policy_chosen, policy_rejected, reference_chosen, reference_rejected: sums of the answers'
            token log-probabilities in nats, shape ``(pairs,)`` each, all in the same order (arrays,
            lists or CPU tensors).
        beta: the beta that the policy was trained with.
        n: bootstrap resamples.
        seed: seed of the resampling.

    Raises:
        RewardError: shapes differ, no pairs, NaN or infinity (counted), or beta not above zero.

    Source: DPO (arXiv 2305.18290), section 4, and the curves of Zephyr-7B-beta's model card.
    """
    named = {
        "policy_chosen": policy_chosen,
        "policy_rejected": policy_rejected,
        "reference_chosen": reference_chosen,
        "reference_rejected": reference_rejected,
    }
    sums = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    if not beta > 0:
        raise RewardError(
            f"beta is {beta}", where="reward margins", remedy="beta is above zero; Zephyr's is 0.1."
        )
    shapes = {name: array.shape for name, array in sums.items()}
    if (
        len(set(shapes.values())) != 1
        or len(shapes["policy_chosen"]) != 1
        or shapes["policy_chosen"][0] == 0
    ):
        raise RewardError(
            "needs four lists of one length, one number a pair; got shapes "
            + ", ".join(f"{name} {shape}" for name, shape in shapes.items()),
            where="reward margins",
            remedy="sum the log-probabilities over each answer's tokens, for every pair and both "
            "models.",
        )
    for name, array in sums.items():
        bad = np.flatnonzero(~np.isfinite(array))
        if bad.size:
            raise RewardError(
                f"{bad.size} of {array.size} are NaN or infinite, the first at pair {bad[0]}",
                where=name,
                remedy="look at those pairs: an empty answer or an overflow in half precision.",
            )
    tensors = {name: torch.from_numpy(array) for name, array in sums.items()}
    chosen = implicit_reward(tensors["policy_chosen"], tensors["reference_chosen"], beta).numpy()
    rejected = implicit_reward(
        tensors["policy_rejected"], tensors["reference_rejected"], beta
    ).numpy()
    margins = chosen - rejected
    return RewardMargins(
        chosen=chosen,
        rejected=rejected,
        margins=margins,
        accuracy=wilson_interval(int((margins > 0).sum()), margins.size),
        mean_margin=bootstrap_interval(margins, n=n, seed=seed),
        n_ties=int((margins == 0).sum()),
    )
