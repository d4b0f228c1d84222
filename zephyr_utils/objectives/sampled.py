"""Objectives on answers that the model sampled itself: SPPO, SELM, RLOO and PPO.

Their answers come from the policy of the last round and not from a data set, so "reference" means
that policy here. Log-ratios h are sums over an answer's tokens, in nats.
"""

from typing import Literal

import torch
from torch import Tensor

from zephyr_utils.objectives.dpo import dpo_loss
from zephyr_utils.objectives.inputs import require_finite, require_groups, require_same_shape


def win_rates(scores: Tensor, temperature: float) -> Tensor:
    """How often each answer beats the policy it was sampled from (SPPO, arXiv 2405.00675, eq. 4.6).

    P(y_i > pi_t) = 1/K sum_k P(y_i > y_k), with P(y_i > y_k) = sigmoid((s_i - s_k) / temperature).
    The comparison of an answer with itself counts one half, so that the win rates of a prompt sum
    to K / 2. A probability made of one score per answer is Bradley-Terry's and hence transitive,
    as in the authors' code; a judge that compares answers in pairs need not be.

    Args:
        scores: (prompts, K), one score per sampled answer.
        temperature: the difference of scores, in their unit, at which the better answer wins
            with chance sigmoid(1) = 0.73.

    Returns:
        (prompts, K) probabilities.

    Raises:
        ValueError: K is 1, a score is NaN or infinite, or the temperature is not above 0.
    """
    require_groups("scores", scores)
    require_finite("scores", scores)
    if not temperature > 0:
        raise ValueError(f"the temperature must be above 0, and is {temperature}")
    differences = scores.unsqueeze(2) - scores.unsqueeze(1)  # (prompts, K, K): s_i - s_k
    return torch.sigmoid(differences / temperature).mean(dim=2)


def sppo_loss(
    chosen_logratios: Tensor,
    rejected_logratios: Tensor,
    chosen_win_rate: Tensor,
    rejected_win_rate: Tensor,
    eta: float,
) -> Tensor:
    """1/2 [(h_w - eta (P_w - 1/2))^2 + (h_l - eta (P_l - 1/2))^2]: self-play preference
    optimisation (SPPO, arXiv 2405.00675, eq. 4.7).

    The paper writes an expectation over sampled answers; over a pair it is the mean of two terms,
    as in the authors' code. Each log-ratio is regressed on how often the answer beats the last
    round's policy; the 1/2 stands for log Z / eta (appendix A). With win rates of 1 and 0 and
    eta = 1 / beta it is half of :func:`~zephyr_utils.objectives.sppo_hard_loss`.

    Args:
        chosen_logratios, rejected_logratios: (batch,) log pi - log pi_t, in nats, where pi_t is the
            policy of the last round.
        chosen_win_rate, rejected_win_rate: (batch,) from 0 to 1, see :func:`win_rates`.
        eta: scale of the targets, in nats; 1,000 in the paper, whose targets reach 500 nats.

    Returns:
        The mean over the batch, 0-dimensional. Where the policy is still that of the last round it
        is eta^2 / 2 [(P_w - 1/2)^2 + (P_l - 1/2)^2].

    Raises:
        ValueError: shapes that differ, or a win rate that is NaN or outside of 0 to 1.
    """
    require_same_shape(
        "log-ratios and win rates",
        chosen_logratios,
        rejected_logratios,
        chosen_win_rate,
        rejected_win_rate,
    )
    for rate in (chosen_win_rate, rejected_win_rate):
        require_finite("win rates", rate)
        if ((rate < 0) | (rate > 1)).any():
            raise ValueError("win rates are probabilities, and one is outside of 0 to 1")
    chosen = (chosen_logratios - eta * (chosen_win_rate - 0.5)) ** 2
    rejected = (rejected_logratios - eta * (rejected_win_rate - 0.5)) ** 2
    return (0.5 * (chosen + rejected)).mean()


def selm_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    *,
    sampled_logratios: Tensor,
    alpha: float,
) -> Tensor:
    """-log sigmoid(m) + alpha beta h(y_s): self-exploring language models (SELM, arXiv 2405.19332,
    eq. 4.2).

    DPO's loss with a term that lowers the likelihood of what the last round's policy would answer,
    y_s ~ pi_t, and so favours answers it would not give. The paper's algorithm 1 prints the term
    without beta; equation 4.2 and the authors' code have it.

    Args:
        policy_chosen, policy_rejected, reference_chosen, reference_rejected: as in
            :func:`~zephyr_utils.objectives.dpo_loss`.
        beta: as there; 0.01 in the paper.
        sampled_logratios: (batch,) h(y_s) = log pi(y_s|x) - log pi_t(y_s|x), in nats. Where y_s is
            itself the chosen or the rejected answer, pass that answer's log-ratio again.
        alpha: weight of the term; 0.001 in the paper. At 0 this is DPO's loss, bit for bit.

    Returns:
        The mean loss, 0-dimensional; its derivative by one sampled log-ratio is alpha beta / batch.

    Raises:
        ValueError: shapes that differ.
    """
    require_same_shape("chosen and sampled", policy_chosen, sampled_logratios)
    pairs = dpo_loss(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta)
    return pairs + alpha * beta * sampled_logratios.mean()


def rloo_advantages(rewards: Tensor) -> Tensor:
    """A_i = r_i - mean of the other k - 1 rewards: REINFORCE with a leave-one-out baseline (RLOO,
    arXiv 2402.14740).

    Args:
        rewards: (prompts, k), the rewards of k answers sampled for each prompt, in any unit.

    Returns:
        (prompts, k) advantages in the rewards' unit. Those of one prompt sum to zero, and are all
        zero where its answers are rewarded alike: such a prompt teaches nothing.

    Raises:
        ValueError: k is 1, or a reward is NaN or infinite. TRL gives such an answer the advantage
            0 instead, which hides a judge that failed.
    """
    require_groups("rewards", rewards)
    require_finite("rewards", rewards)
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return rewards - others


def clipped_policy_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    epsilon: float = 0.2,
    mask: Tensor | None = None,
) -> Tensor:
    """-min(rho A, clip(rho, 1 - epsilon, 1 + epsilon) A), rho = pi / pi_old: PPO's clipped
    surrogate (arXiv 1707.06347, eq. 7), as a loss.

    The gradient of a sample is zero once its ratio has passed the clip in the direction of its
    advantage, and is never zero in the other direction.

    Args:
        log_probs, old_log_probs: in nats, of what was sampled, under the policy in training and
            under the one that sampled: (batch, length) of tokens as in PPO, or (batch,) of whole
            answers as in TRL's RLOO.
        advantages: of the same shape.
        epsilon: 0.2 in the paper.
        mask: of the same shape, true where a token counts (not padding); None: all count.

    Returns:
        The mean over what counts, 0-dimensional.

    Raises:
        ValueError: shapes that differ, nothing that counts, an advantage that is NaN, or a ratio
            that is not finite, which means that the policy is far from the one that sampled.
    """
    counts = torch.ones_like(log_probs, dtype=torch.bool) if mask is None else mask.bool()
    require_same_shape(
        "log-probabilities, advantages and mask", log_probs, old_log_probs, advantages, counts
    )
    if not counts.any():
        raise ValueError("the mask leaves no token that counts")
    advantages = advantages[counts]
    ratio = (log_probs[counts] - old_log_probs[counts]).exp()
    require_finite("advantages", advantages)
    require_finite("probability ratios", ratio)
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()


def kl_estimate(
    log_probs: Tensor, reference_log_probs: Tensor, kind: Literal["k1", "k3"] = "k1"
) -> Tensor:
    """Estimates of KL(pi || pi_ref) from samples of pi, one per sample; their mean is the estimate.

    With d = log pi - log pi_ref, k1 = d and k3 = e^-d - 1 + d (J. Schulman, "Approximating KL
    divergence", 2020). Both are unbiased. k1 can be negative for a sample and sums over tokens; k3
    never is, and varies less while the models are close. TRL's RLOO uses k1, its GRPO k3.

    Args:
        log_probs, reference_log_probs: of one shape, in nats, of answers sampled **from the
            policy**; on a data set's answers the mean is not a KL divergence.

    Raises:
        ValueError: shapes that differ, or another kind.
    """
    require_same_shape("log-probabilities", log_probs, reference_log_probs)
    difference = log_probs - reference_log_probs
    if kind == "k1":
        return difference
    if kind == "k3":
        return torch.expm1(-difference) + difference
    raise ValueError(f"there is no estimator {kind!r}; choose k1 or k3")
