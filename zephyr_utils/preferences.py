"""Preference sets: made from ratings (`preferences_pairs`) and looked into before training (`preferences_audit`)."""

from zephyr_utils.preferences_audit import Audit, Comparison, Tens, audit, compare_policies
from zephyr_utils.preferences_pairs import (
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
