"""DPO's relatives, on the same four log-probabilities; each names its own paper."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from zephyr_utils.objectives.dpo import dpo_loss, implicit_reward, reward_margin


def conservative_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    label_smoothing: float = 0.1,
) -> Tensor:
    """-(1 - e) log sigmoid(m) - e log sigmoid(-m): conservative DPO, e = chance that a label is the
    wrong way round.

    Lowest at the finite margin log((1 - e) / e), so a pair is not pushed apart without end. From E.
    Mitchell's note on DPO with noisy preferences (2023). TRL's ``label_smoothing`` no longer
    reaches its sigmoid loss, so this one has no counterpart there.
    """
    margin = reward_margin(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
    )
    return (
        -(1 - label_smoothing) * F.logsigmoid(margin) - label_smoothing * F.logsigmoid(-margin)
    ).mean()


def robust_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    label_smoothing: float = 0.1,
) -> Tensor:
    """(-(1 - e) log sigmoid(m) + e log sigmoid(-m)) / (1 - 2 e): robust DPO (arXiv 2403.00409).

    Its expectation under labels flipped with chance e (below one half) is the loss on the clean
    labels. Mind the sign: conservative DPO *adds* the flipped term, this one takes it away.
    """
    margin = reward_margin(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
    )
    losses = -(1 - label_smoothing) * F.logsigmoid(margin) + label_smoothing * F.logsigmoid(-margin)
    return losses.mean() / (1 - 2 * label_smoothing)


def hinge_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> Tensor:
    """max(0, 1 - m): the hinge of SLiC-HF (arXiv 2305.10425), normalised by a reference as in RSO
    (arXiv 2309.06657).

    A pair whose margin has reached 1 pulls no more.
    """
    margin = reward_margin(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
    )
    return torch.relu(1 - margin).mean()


def ipo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    *,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
) -> Tensor:
    """(h_w / n_w - h_l / n_l - 1 / (2 beta))^2: identity preference optimisation (arXiv 2310.12036,
    eq. 17).

    The paper writes h_w - h_l; divided by the numbers of answer tokens n (``chosen_lengths``,
    ``rejected_lengths``, each (batch,)) here **as in TRL**, whose source says that the paper's
    authors confirmed it. beta is the paper's tau.
    """
    chosen, rejected = _rewards(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta=1.0
    )
    margin = chosen / chosen_lengths - rejected / rejected_lengths
    return ((margin - 1 / (2 * beta)) ** 2).mean()


def sigmoid_norm_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    *,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
) -> Tensor:
    """-log sigmoid(beta * (h_w / n_w - h_l / n_l)): length-normalised DPO (Tulu 3, arXiv
    2411.15124, eq. 6).

    Per-token differences are small, so beta is chosen larger than for DPO (about 5 in the paper).
    """
    chosen, rejected = _rewards(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta=1.0
    )
    margin = chosen / chosen_lengths - rejected / rejected_lengths
    return -F.logsigmoid(beta * margin).mean()


def exo_pair_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    label_smoothing: float = 1e-3,
) -> Tensor:
    """KL((sigmoid(m), sigmoid(-m)) || (1 - e, e)): efficient exact optimisation (EXO, arXiv
    2402.00856, eq. 16).

    The *reverse* direction of the divergence whose forward direction is conservative DPO. e must be
    above 0: the logarithm of the rejected answer's share is part of the loss.
    """
    margin = reward_margin(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
    )
    teacher = torch.tensor(
        [1 - label_smoothing, label_smoothing], dtype=margin.dtype, device=margin.device
    ).log()
    student = torch.stack([F.logsigmoid(margin), F.logsigmoid(-margin)], dim=-1)  # (batch, 2)
    return (student.exp() * (student - teacher)).sum(dim=-1).mean()


def nca_pair_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> Tensor:
    """-log sigmoid(r_w) - (log sigmoid(-r_w) + log sigmoid(-r_l)) / 2: noise-contrastive alignment
    (arXiv 2402.05369).

    It looks at each reward on its own and not only at their difference, which keeps the chosen
    answer's likelihood from sinking.
    """
    chosen, rejected = _rewards(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
    )
    return (
        -F.logsigmoid(chosen) - 0.5 * F.logsigmoid(-chosen) - 0.5 * F.logsigmoid(-rejected)
    ).mean()


def sppo_hard_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> Tensor:
    """(h_w - 1 / (2 beta))^2 + (h_l + 1 / (2 beta))^2: self-play preference optimisation (SPPO,
    arXiv 2405.00675).

    Eq. 4.7 with the win rate of the chosen answer set to 1 and that of the rejected one to 0, in
    place of a judge's estimate, and beta = 1 / eta. On the pairs of a data set it is SPPO's loss,
    offline, and not SPPO: that samples its answers from the last round's policy (see
    :func:`~zephyr_utils.objectives.sppo_loss`).
    """
    chosen, rejected = _rewards(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta=1.0
    )
    return ((chosen - 0.5 / beta) ** 2 + (rejected + 0.5 / beta) ** 2).mean()


def apo_zero_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> Tensor:
    """1 - sigmoid(r_w) + sigmoid(r_l): anchored preference optimisation, APO-zero (arXiv
    2408.06266, eq. 7).

    For chosen answers better than the model's own: raises the chosen, lowers the rejected.
    """
    chosen, rejected = _rewards(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
    )
    return (1 - torch.sigmoid(chosen) + torch.sigmoid(rejected)).mean()


def apo_down_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> Tensor:
    """sigmoid(r_w) + 1 - sigmoid(m): APO-down (arXiv 2408.06266, eq. 8).

    For chosen answers worse than the model's own: lowers both, the rejected more.
    """
    chosen, rejected = _rewards(
        policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
    )
    return (torch.sigmoid(chosen) + 1 - torch.sigmoid(chosen - rejected)).mean()


def _rewards(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """(r_w, r_l), each (batch,)."""
    return (
        implicit_reward(policy_chosen, reference_chosen, beta),
        implicit_reward(policy_rejected, reference_rejected, beta),
    )


# TRL's names for its `loss_type`, and "conservative", which TRL has not. Each returns the mean over
# the batch; "ipo" and "sigmoid_norm" ask for the lengths of the answers as well.
LOSSES: dict[str, Callable[..., Tensor]] = {
    "sigmoid": dpo_loss,
    "conservative": conservative_loss,
    "robust": robust_loss,
    "hinge": hinge_loss,
    "ipo": ipo_loss,
    "sigmoid_norm": sigmoid_norm_loss,
    "exo_pair": exo_pair_loss,
    "nca_pair": nca_pair_loss,
    "sppo_hard": sppo_hard_loss,
    "apo_zero": apo_zero_loss,
    "apo_down": apo_down_loss,
}
