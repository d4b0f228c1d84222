"""Preference sets: made from ratings (`binarize`) and looked into before training (`audit`)."""

from zephyr_utils.preferences.audit import (
    Audit,
    StrategyComparison,
    Tens,
    audit,
    compare_strategies,
)
from zephyr_utils.preferences.binarize import (
    STRATEGIES,
    PreferenceSet,
    binarize,
    mean_rating,
    overall_rating,
    pair_faults,
)

__all__ = [
    "STRATEGIES",
    "Audit",
    "PreferenceSet",
    "StrategyComparison",
    "Tens",
    "audit",
    "binarize",
    "compare_strategies",
    "mean_rating",
    "overall_rating",
    "pair_faults",
]  # fmt: skip
