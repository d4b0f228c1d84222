"""The objectives written out: dSFT's token loss, dDPO's preference loss and its relatives, reward
models, what trains on answers that the model sampled itself, and what learns from a model's logits
or from its weights.

Everything here is a pure function of tensors: no model, no tokenizer, no trainer.

Notation, the same in every docstring (w = chosen, l = rejected):

- log-ratio h = log pi(y|x) - log pi_ref(y|x), h_w of the chosen answer, h_l of the rejected one;
- implicit reward r = beta * h;
- margin m = r_w - r_l = beta * (h_w - h_l).

Log-probabilities of an answer are *sums* over its tokens, as in the papers: the probability of a
text is the product of the probabilities of its tokens. Where a loss divides by the length instead,
its docstring says so.

Sources: Zephyr (arXiv 2310.16944), DPO (arXiv 2305.18290); every other loss names its own paper.
Tests hold each against TRL's trainer on the same batch where TRL has it, and against the paper's
equation written out term by term where it has not: TRL 1.16 has no trainer for PPO.
"""

from zephyr_utils.objectives.distillation import Divergence, distillation_loss
from zephyr_utils.objectives.dpo import (
    PairLogProbs,
    dpo_gradient_weight,
    dpo_loss,
    dpo_losses,
    implicit_reward,
    reward_margin,
)
from zephyr_utils.objectives.extrapolation import extrapolate_weights
from zephyr_utils.objectives.log_probs import (
    IGNORE_INDEX,
    sequence_log_probs,
    token_weighted_nll,
)
from zephyr_utils.objectives.ppo import (
    clipped_value_loss,
    generalised_advantages,
    whitened,
)
from zephyr_utils.objectives.relatives import (
    LOSSES,
    apo_down_loss,
    apo_zero_loss,
    conservative_loss,
    exo_pair_loss,
    hinge_loss,
    ipo_loss,
    nca_pair_loss,
    robust_loss,
    sigmoid_norm_loss,
    sppo_hard_loss,
)
from zephyr_utils.objectives.rewards import (
    BradleyTerryKind,
    bradley_terry_dpo_loss,
    bradley_terry_loss,
    rating_loss,
)
from zephyr_utils.objectives.sampled import (
    clipped_policy_loss,
    kl_estimate,
    rloo_advantages,
    selm_loss,
    sppo_loss,
    win_rates,
)

__all__ = [
    "IGNORE_INDEX",
    "LOSSES",
    "BradleyTerryKind",
    "Divergence",
    "PairLogProbs",
    "apo_down_loss",
    "apo_zero_loss",
    "bradley_terry_dpo_loss",
    "bradley_terry_loss",
    "clipped_policy_loss",
    "clipped_value_loss",
    "conservative_loss",
    "distillation_loss",
    "dpo_gradient_weight",
    "dpo_loss",
    "dpo_losses",
    "exo_pair_loss",
    "extrapolate_weights",
    "generalised_advantages",
    "hinge_loss",
    "implicit_reward",
    "ipo_loss",
    "kl_estimate",
    "nca_pair_loss",
    "rating_loss",
    "reward_margin",
    "rloo_advantages",
    "robust_loss",
    "selm_loss",
    "sequence_log_probs",
    "sigmoid_norm_loss",
    "sppo_hard_loss",
    "sppo_loss",
    "token_weighted_nll",
    "whitened",
    "win_rates",
]
