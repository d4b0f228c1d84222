"""Preference sets: made from ratings (`binarize`) and looked into before training (`audit`)."""

from zephyr_utils.preferences.audit import Audit, Tens, audit
from zephyr_utils.preferences.binarize import STRATEGIES, Randomness, Rejected, Ties, binarize
from zephyr_utils.preferences.compare import StrategyComparison, compare_strategies
from zephyr_utils.preferences.pairs import PreferenceSet, pair_faults, score_gap
from zephyr_utils.preferences.ratings import (
    SCALES,
    Scale,
    Score,
    mean_rating,
    overall_rating,
    parse_scale,
)

__all__ = [
    "SCALES",
    "STRATEGIES",
    "Audit",
    "PreferenceSet",
    "Randomness",
    "Rejected",
    "Scale",
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
    "parse_scale",
    "score_gap",
]
