"""What a reward model says of answers and of pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat import Conversation
from zephyr_utils.evaluation.intervals import Interval, wilson_interval
from zephyr_utils.rewards.model import RewardModelError, batch_rewards, reward_rows


@dataclass(frozen=True)
class PairScores:
    """A reward model's scores of preference pairs.

    Attributes:
        chosen, rejected: (pairs,) rewards, in logits.
        accuracy: share of pairs whose chosen answer has the higher reward, with Wilson's interval
            over pairs. Equal rewards count as wrong: before training all are equal.
        n_ties: pairs of equal rewards.
    """

    chosen: NDArray[np.float64]
    rejected: NDArray[np.float64]
    accuracy: Interval
    n_ties: int


@torch.no_grad()
def score_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    batch_size: int = 64,
) -> NDArray[np.float64]:
    """The reward of the last message of each conversation.

    Rewards of answers to one prompt can be compared; those of different prompts cannot, where the
    model was trained on pairs alone: a number that depends on the prompt cancels in every pair.

    Args:
        conversations: message lists that end with the assistant's answer.
        batch_size: answers scored at once; they are sorted by length, so that little is padding.

    Returns:
        (conversations,) rewards, in logits, in the order given.

    Raises:
        RewardModelError: a conversation without an answer or beyond the context; a reward that is
            NaN or infinite.
    """
    rows = reward_rows(model, tokenizer, conversations)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    rewards = np.empty(len(rows))
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            picked = order[start : start + batch_size]
            rewards[picked] = batch_rewards(model, [rows[i] for i in picked]).cpu().numpy()
    finally:
        model.train(was_training)
    if wrong := np.flatnonzero(~np.isfinite(rewards)).tolist():
        raise RewardModelError(
            f"{len(wrong)} of {len(rewards)} rewards are NaN or infinite, the first of "
            f"conversation {wrong[0]}",
            where="reward model",
            remedy="its training has diverged: train it again with a lower learning rate",
        )
    return rewards


def score_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Mapping[str, Any]],
    batch_size: int = 64,
) -> PairScores:
    """Rewards of both answers of each pair, and how often the chosen one's is higher.

    Args:
        pairs: preference records; of pairs that were not trained on, or the accuracy flatters.

    Raises:
        RewardModelError: as `score_answers`.
        IntervalError: no pairs.
    """
    chosen, rejected = (
        score_answers(model, tokenizer, [pair[side] for pair in pairs], batch_size)
        for side in ("chosen", "rejected")
    )
    accuracy = wilson_interval(int((chosen > rejected).sum()), len(pairs))
    return PairScores(chosen, rejected, accuracy, int((chosen == rejected).sum()))
