"""The objectives written out: dSFT's token loss, dDPO's preference loss, and DPO's relatives beside
it.

Everything here is a pure function of tensors: no model, no tokenizer, no trainer.

Notation, the same in every docstring (w = chosen, l = rejected):
    log-ratio        h = log pi(y|x) - log pi_ref(y|x)      h_w for the chosen answer, h_l for the
    rejected one implicit reward  r = beta * h margin           m = r_w - r_l = beta * (h_w - h_l)
Log-probabilities of an answer are *sums* over its tokens, as in the papers: the probability of a
text is the product of the probabilities of its tokens. Where a loss divides by the length instead,
its docstring says so.

Sources: Zephyr (arXiv 2310.16944), DPO (arXiv 2305.18290); each relative names its own paper. A
test holds every loss against TRL's trainer on the same batch.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE_INDEX = -100  # the label that PyTorch's cross-entropy skips; transformers and TRL use it too


def sequence_log_probs(logits: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Sum of the log-probabilities of each sequence's labelled tokens.

    Args:
        logits: (batch, length, vocabulary), the model's scores as they come out, not shifted.
        labels: (batch, length), token ids; ``ignore_index`` where a token does not count (prompt,
            padding).

    Returns:
        (batch,) sums in nats. The first token never counts: nothing stands before it to predict it
            from.
    """
    return -_token_nll(logits, labels, ignore_index).sum(dim=-1)


def token_weighted_nll(
    logits: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX
) -> tuple[Tensor, Tensor]:
    """The dSFT objective as a sum and a count, so that batches of unequal length add up exactly.

    Add the sums and the counts over a whole data set and divide once: a mean of per-batch means
    would weigh a token in a short batch more than one in a long batch, and would change with the
    batch size.

    Returns:
        (sum of negative log-likelihoods in nats, number of tokens that count), both 0-dimensional.
    """
    nll = _token_nll(logits, labels, ignore_index)
    return nll.sum(), (labels[:, 1:] != ignore_index).sum()


def _token_nll(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """(batch, length - 1) negative log-likelihoods, 0 where the label is ignored."""
    # (batch, length - 1, vocabulary): position t predicts token t + 1;
    predictions = logits[:, :-1].float()
    # (batch, length - 1)                           float32, as bf16 sums lose digits
    targets = labels[:, 1:]
    return F.cross_entropy(
        predictions.transpose(1, 2),
        targets.to(predictions.device),
        ignore_index=ignore_index,
        reduction="none",
    )


# --- DPO ------------------------------------------------------------------------------------------


def implicit_reward(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """r = beta * (log pi - log pi_ref), (batch,): the reward the policy acts as if it had.

    The prompt's partition function is left out, as it cancels in every difference of two answers to
    one prompt (DPO, eq. 5 and 6); so rewards of different prompts must not be compared.
    """
    if policy.shape != reference.shape:
        # (n,) and (n, 1) would broadcast to (n, n) without a word, and the mean would still look
        # like a loss.
        raise ValueError(
            f"log-probabilities of unequal shapes: {tuple(policy.shape)} and "
            f"{tuple(reference.shape)}"
        )
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
    if chosen.shape != rejected.shape:
        raise ValueError(
            f"chosen and rejected of unequal shapes: {tuple(chosen.shape)} and "
            f"{tuple(rejected.shape)}"
        )
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
        beta: how dear it is to move away from the reference; larger means closer to it.

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


# --- the relatives, on the same four log-probabilities --------------------------------------------


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

    Eq. 4.7 with the winner's probability of winning set to 1 and the loser's to 0, in place of a
    judge's estimate.
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
