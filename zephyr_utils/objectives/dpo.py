"""The preference loss of dDPO (Zephyr, equation 1) and what it is made of."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zephyr_utils.objectives.inputs import require_same_shape


class PairLogProbs(NamedTuple):
    """The four log-probabilities that every loss here is made of, each (batch,), in nats.

    In the order of the losses' arguments, so that ``dpo_loss(*pair, beta=0.1)`` is their loss.

    Attributes:
        policy_chosen, policy_rejected: sums over the answers' tokens under the model in training.
        reference_chosen, reference_rejected: the same under the frozen reference model.
    """

    policy_chosen: Tensor
    policy_rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor


def implicit_reward(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """r = beta * (log pi - log pi_ref), (batch,): the reward the policy acts as if it had.

    The prompt's partition function is left out, as it cancels in every difference of two answers to
    one prompt (DPO, eq. 5 and 6); so rewards of different prompts must not be compared.
    """
    require_same_shape("log-probabilities", policy, reference)
    return beta * (policy - reference)


def reward_margin(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> Tensor:
    """m = r_w - r_l, (batch,): above 0 where the policy ranks the pair as the teacher did."""
    chosen = implicit_reward(policy_chosen, reference_chosen, beta)
    rejected = implicit_reward(policy_rejected, reference_rejected, beta)
    require_same_shape("chosen and rejected", chosen, rejected)
    return chosen - rejected


def dpo_losses(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> Tensor:
    """-log sigmoid(m) of each pair, (batch,). See :func:`dpo_loss` for their mean."""
    margin = reward_margin(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
    )
    return -F.logsigmoid(margin)


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> Tensor:
    """The dDPO objective: the mean over the batch of -log sigmoid(m) (Zephyr, eq. 1; DPO, eq. 7).

    Args:
        policy_chosen, policy_rejected: (batch,) sums of log-probabilities under the model in
            training.
        reference_chosen, reference_rejected: the same under the frozen dSFT model.
        beta: how much it costs to move away from the reference; larger means closer to it.

    Returns:
        The mean loss, 0-dimensional. It is ln 2 = 0.6931 when the policy equals the reference.
    """
    return dpo_losses(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
    ).mean()


def dpo_gradient_weight(margin: Tensor) -> Tensor:
    """sigmoid(-m), (batch,): how hard each pair pulls (DPO, section 4).

    The gradient of a pair's loss is -beta * sigmoid(-m) * (grad log pi(y_w) - grad log pi(y_l)):
    one half at the start, near 1 for a pair ranked the wrong way round, near 0 once the pair is
    settled.
    """
    return torch.sigmoid(-margin)
