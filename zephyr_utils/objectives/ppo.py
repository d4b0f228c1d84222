"""What PPO needs beside its clipped policy loss: advantages from a value head, and that head's
loss.

A value head predicts, at each token of an answer, the rewards still to come. Tensors are (batch,
length) of an answer's tokens; where answers are padded, a mask is true at the tokens that count.
"""

import torch
from torch import Tensor

from zephyr_utils.objectives.inputs import require_finite, require_same_shape


def generalised_advantages(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    discount: float = 1.0,
    decay: float = 0.95,
) -> Tensor:
    """A_t = sum over l of (gamma lambda)^l delta_{t+l}, with the temporal-difference errors
    delta_t = R_t + gamma V_{t+1} - V_t: generalised advantage estimation (GAE, arXiv 1506.02438,
    eq. 16).

    The value after the last token is 0, also where an answer was cut off. With decay 0 an advantage
    is the TD error alone: little variance, and as wrong as the values. With decay 1 it is the
    discounted return minus the value: no bias, and the variance of the whole return. The value
    head's target is the advantage plus the value, before any whitening.

    Args:
        rewards: (batch, length), of each token, in any unit.
        values: (batch, length), the value head's prediction *before* each token, without gradients.
        mask: (batch, length), true from an answer's first token to its last; None: all are. What
            is masked may hold anything, also NaN.
        discount: the paper's gamma, from 0 to 1; 1 for answers that are rewarded at their end.
        decay: the paper's lambda, from 0 to 1.

    Returns:
        (batch, length) advantages in the rewards' unit, 0 at what is masked.

    Raises:
        ValueError: shapes that differ or are not (batch, length), a reward or value that counts and
            is NaN or infinite, a mask with a gap, or a discount or decay outside of 0 to 1.
    """
    counts = _counts("rewards, values and mask", mask, rewards, values)
    if rewards.dim() != 2:
        raise ValueError(f"rewards must be (batch, length), and are {tuple(rewards.shape)}")
    for name, number in (("discount", discount), ("decay", decay)):
        if not 0 <= number <= 1:
            raise ValueError(f"the {name} must lie from 0 to 1, and is {number}")
    begins = counts & ~torch.nn.functional.pad(counts, (1, 0))[:, :-1]
    if (begins.sum(dim=1) > 1).any():
        raise ValueError("the mask of an answer has a gap: an advantage would reach across it")
    require_finite("rewards", rewards[counts])
    require_finite("values", values[counts])
    values = values.masked_fill(~counts, 0.0)
    rewards = rewards.to(values.dtype).masked_fill(~counts, 0.0)
    advantages = torch.zeros_like(values)
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        error = rewards[:, t] + discount * next_value - values[:, t]
        next_advantage = (error + discount * decay * next_advantage) * counts[:, t]
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    return advantages


def whitened(advantages: Tensor, mask: Tensor | None = None) -> Tensor:
    """Advantages of mean 0 and standard deviation 1 over all that count in the batch.

    A policy loss then has one scale whatever the reward's unit. It is not part of PPO's paper but
    of its usual implementations.

    Args:
        advantages: of any shape.
        mask: of the same shape, true where a token counts; None: all count.

    Returns:
        The same shape, 0 at what is masked. Equal advantages, or a single one, have no spread and
        give 0: such a batch teaches nothing, instead of a division by zero.

    Raises:
        ValueError: shapes that differ, nothing that counts, or an advantage that counts and is NaN
            or infinite.
    """
    counts = _counts("advantages and mask", mask, advantages)
    counted = advantages[counts]
    require_finite("advantages", counted)
    centred = counted - counted.mean()
    spread = centred.square().mean().sqrt()
    # equal numbers may differ from their own mean by rounding
    rounding = torch.finfo(counted.dtype).eps * counted.abs().max()
    scaled = centred / spread if spread > 4 * rounding else torch.zeros_like(counted)
    return torch.zeros_like(advantages).masked_scatter(counts, scaled)


def clipped_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    epsilon: float = 0.2,
    mask: Tensor | None = None,
) -> Tensor:
    """1/2 max((V - R)^2, (clip(V, V_old - epsilon, V_old + epsilon) - R)^2): a value head's squared
    error that pulls no further once a value has moved by epsilon.

    Not in PPO's paper (arXiv 1707.06347, eq. 9, has the plain square) but in OpenAI's code and
    most others since; epsilon is in the unit of the returns, and infinity gives the plain square.

    Args:
        values, old_values: of the head in training, and of the one before this batch.
        returns: what it should have predicted, `generalised_advantages` plus `old_values`.
        epsilon: how far a value may move in a batch.
        mask: true where a token counts; None: all count.

    Returns:
        The mean over what counts, 0-dimensional.

    Raises:
        ValueError: shapes that differ, nothing that counts, or a value or return that counts and is
            NaN or infinite.
    """
    counts = _counts("values, returns and mask", mask, values, old_values, returns)
    values, old_values, returns = values[counts], old_values[counts], returns[counts]
    for name, numbers in (("values", values), ("old values", old_values), ("returns", returns)):
        require_finite(name, numbers)
    clipped = old_values + (values - old_values).clamp(-epsilon, epsilon)
    return 0.5 * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2).mean()


def _counts(names: str, mask: Tensor | None, *tensors: Tensor) -> Tensor:
    """The mask as booleans, of the tensors' one shape."""
    counts = torch.ones_like(tensors[0], dtype=torch.bool) if mask is None else mask.bool()
    require_same_shape(names, *tensors, counts)
    if not counts.any():
        raise ValueError("no token counts: the batch is empty, or its mask leaves nothing")
    return counts
