"""Objectives of reward models, and the same losses on the implicit rewards of a policy."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from zephyr_utils.objectives.dpo import implicit_reward
from zephyr_utils.objectives.inputs import require_finite, require_same_shape

BradleyTerryKind = Literal["regular", "margin", "scaled"]


def bradley_terry_loss(
    rewards_chosen: Tensor,
    rewards_rejected: Tensor,
    strength: Tensor | None = None,
    kind: BradleyTerryKind = "regular",
) -> Tensor:
    """The loss of a reward model on preference pairs, with d = r_w - r_l and strength s.

    - "regular": -log sigmoid(d), the likelihood of Bradley and Terry (InstructGPT, arXiv
      2203.02155, eq. 1);
    - "margin": -log sigmoid(d - s), which asks for a difference of at least s (Llama 2, arXiv
      2307.09288, eq. 2);
    - "scaled": -s log sigmoid(d), as if the pair stood s times in the data
      (HelpSteer2-Preference, arXiv 2410.01257).

    Args:
        rewards_chosen, rewards_rejected: (batch,) a reward model's scores, in logits.
        strength: (batch,) how much better the chosen answer is, at least 0; HelpSteer2 has 1, 2
            and 3. A mean above 1 over the data set acts as a larger learning rate in "scaled", so
            divide by that mean before comparing the three.
        kind: which of the three.

    Returns:
        The mean over the batch, 0-dimensional; "regular" is ln 2 = 0.6931 where all rewards are
        equal.

    Raises:
        ValueError: shapes that differ, a reward or strength that is NaN or infinite, a negative
            strength, another kind, a kind that needs a strength without one, or "regular" with one.
    """
    require_same_shape("rewards", rewards_chosen, rewards_rejected)
    require_finite("rewards of chosen answers", rewards_chosen)
    require_finite("rewards of rejected answers", rewards_rejected)
    difference = rewards_chosen - rewards_rejected
    if kind == "regular":
        if strength is not None:
            raise ValueError('"regular" takes no strength; choose "margin" or "scaled" to use it')
        return -F.logsigmoid(difference).mean()
    if kind not in ("margin", "scaled"):
        raise ValueError(f"there is no kind {kind!r}; choose regular, margin or scaled")
    if strength is None:
        raise ValueError(f'"{kind}" needs the strength of each preference')
    require_same_shape("rewards and strengths", difference, strength)
    require_finite("strengths", strength)
    if (strength < 0).any():
        raise ValueError("a strength is negative: are chosen and rejected the wrong way round?")
    if kind == "margin":
        return -F.logsigmoid(difference - strength).mean()
    return -(strength * F.logsigmoid(difference)).mean()


def bradley_terry_dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    *,
    strength: Tensor | None = None,
    kind: BradleyTerryKind = "regular",
) -> Tensor:
    """:func:`bradley_terry_loss` on the implicit rewards r = beta * h of a policy: DPO that knows
    how strong each preference is (HelpSteer2-Preference, arXiv 2410.01257).

    "regular" is :func:`~zephyr_utils.objectives.dpo_loss`, bit for bit. The strength of "margin" is
    in the unit of beta * h, whose differences stay far below 1 in a short run: choose it to fit.

    Args:
        policy_chosen, policy_rejected, reference_chosen, reference_rejected: (batch,) sums of
            log-probabilities, in nats, as in :func:`~zephyr_utils.objectives.dpo_loss`.

    Raises:
        ValueError: as :func:`bradley_terry_loss`.
    """
    return bradley_terry_loss(
        implicit_reward(policy_chosen, reference_chosen, beta),
        implicit_reward(policy_rejected, reference_rejected, beta),
        strength,
        kind,
    )


def rating_loss(rewards: Tensor, ratings: Tensor) -> Tensor:
    """The mean squared error of a reward model that predicts ratings (HelpSteer2-Preference, arXiv
    2410.01257, the regression of its first stage).

    Args:
        rewards, ratings: (batch,), in one unit. Ratings with a mean far from 0 cost many steps that
            only move the head's offset; standardise them first.

    Raises:
        ValueError: shapes that differ, or a value that is NaN or infinite.
    """
    require_same_shape("rewards and ratings", rewards, ratings)
    require_finite("rewards", rewards)
    require_finite("ratings", ratings)
    return F.mse_loss(rewards, ratings)
