"""Preference sets: made from ratings (`binarize`) and looked into before training (`audit`)."""

from zephyr_utils.preferences.audit import Audit, Tens, audit
from zephyr_utils.preferences.binarize import STRATEGIES, Randomness, Rejected, Ties, binarize
from zephyr_utils.preferences.compare import StrategyComparison, compare_strategies
from zephyr_utils.preferences.pairs import PreferenceSet, pair_faults, score_gap
from zephyr_utils.preferences.ratings import (
    RATING_SCALES,
    RatingScale,
    Score,
    mean_rating,
    overall_rating,
    parse_rating_scale,
)

__all__ = [
    "RATING_SCALES",
    "STRATEGIES",
    "Audit",
    "PreferenceSet",
    "Randomness",
    "RatingScale",
    "Rejected",
    "Score",
    "StrategyComparison",
    "Tens",
    "Ties",
    "audit",
    "binarize",
    "compare_strategies",
    "mean_rating",
    "overall_rating",
    "pair_faults",
    "parse_rating_scale",
    "score_gap",
]
