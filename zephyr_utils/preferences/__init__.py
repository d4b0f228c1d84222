"""Preference sets: made from ratings (`binarize`) and looked into before training (`audit`)."""

from zephyr_utils.preferences.audit import Audit, Comparison, Tens, audit, compare_policies
from zephyr_utils.preferences.binarize import (
    POLICIES,
    PreferenceSet,
    binarize,
    mean_rating,
    overall_rating,
    pair_faults,
)

__all__ = [
    "POLICIES", "Audit", "Comparison", "PreferenceSet", "Tens", "audit", "binarize", "compare_policies", "mean_rating",
    "overall_rating", "pair_faults",
]  # fmt: skip
