"""Reward models: a head on a language model that gives each answer a number.

Trained on preference pairs (`train`), read and written as transformers' sequence classifiers with
one label (`model`), used to score answers (`scoring`) and to choose among them (`best_of_n`). The
losses are in `objectives`. DPO needs none of this: its reward is implicit in the policy, as
`diagnostics.reward_margins` measures it. `dissection` fits what a judge, or a reward, goes by.
"""

from zephyr_utils.rewards.best_of_n import best_of_n, best_of_n_curve, best_of_n_kl
from zephyr_utils.rewards.dissection import Dissection, dissect_choices
from zephyr_utils.rewards.model import RewardModelError, load_reward_model
from zephyr_utils.rewards.scoring import PairScores, score_answers, score_pairs
from zephyr_utils.rewards.strength import preference_strengths, strength_cuts
from zephyr_utils.rewards.train import (
    RewardObjective,
    RewardRecipe,
    RewardTraining,
    train_reward_model,
)

__all__ = [
    "Dissection",
    "PairScores",
    "RewardModelError",
    "RewardObjective",
    "RewardRecipe",
    "RewardTraining",
    "best_of_n",
    "best_of_n_curve",
    "best_of_n_kl",
    "dissect_choices",
    "load_reward_model",
    "preference_strengths",
    "score_answers",
    "score_pairs",
    "strength_cuts",
    "train_reward_model",
]
