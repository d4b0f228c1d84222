"""Several ways to make pairs of the same feedback, side by side."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zephyr_utils.data.types import Feedback
from zephyr_utils.preferences.binarize import STRATEGIES, binarize
from zephyr_utils.preferences.pairs import pair_faults
from zephyr_utils.preferences.text_table import TextTable


@dataclass(repr=False)
class StrategyComparison(TextTable):
    """Strategies side by side on the same feedback.

    Attributes:
        n_rows: rows of feedback.
        n_pairs, n_ties, n_set_aside: by strategy, its pairs, those of equal score, and the rows
            without a pair.
        changed: for two strategies, (rows in which the chosen answer differs, rows that both use).
    """

    n_rows: int
    n_pairs: dict[str, int] = field(default_factory=dict)
    n_ties: dict[str, int] = field(default_factory=dict)
    n_set_aside: dict[str, int] = field(default_factory=dict)
    changed: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    title = "Strategies on the same feedback; last columns: chosen answers that change"

    @property
    def header(self) -> tuple[str, ...]:
        return (
            "strategy",
            "pairs",
            "ties",
            "rows set aside",
            *(f"against {name}" for name in self.n_pairs),
        )

    def rows(self) -> list[tuple[str, ...]]:
        return [
            (
                name,
                f"{self.n_pairs[name]:,}",
                f"{self.n_ties[name]:,}",
                f"{self.n_set_aside[name]:,}",
                *(self._cell(name, other) for other in self.n_pairs),
            )
            for name in self.n_pairs
        ]

    def _cell(self, name: str, other: str) -> str:
        if name == other:
            return "-"
        n, of = self.changed[name, other]
        return f"{n:,} ({100 * n / of:.1f} %)" if of else "no row in common"


def compare_strategies(
    feedback: Iterable[Feedback], strategies: Mapping[str, Mapping[str, Any]] = STRATEGIES
) -> StrategyComparison:
    """Binarize the same feedback under several strategies and count the chosen answers that change.

    An answer counts as changed if its text or its model differs.

    Args:
        feedback: feedback records.
        strategies: a name for each set of `binarize`'s options, such as ``{"score": "mean",
            "rejected": "lowest"}``.
    """
    feedback = list(feedback)
    result = StrategyComparison(len(feedback))
    chosen: dict[str, dict[int, tuple[str, str]]] = {}
    for name, options in strategies.items():
        made = binarize(feedback, **options)  # one set of pairs at a time, for the memory's sake
        chosen[name] = {
            row: (pair["chosen_model"], pair["chosen"][-1]["content"])
            for row, pair in zip(made.rows, made.pairs, strict=True)
        }
        result.n_pairs[name], result.n_set_aside[name] = len(made.pairs), len(made.set_aside)
        result.n_ties[name] = sum("tied" in pair_faults(pair) for pair in made.pairs)
    for first, second in itertools.product(strategies, repeat=2):
        common = chosen[first].keys() & chosen[second].keys()
        n_changed = sum(chosen[first][row] != chosen[second][row] for row in common)
        result.changed[first, second] = (n_changed, len(common))
    return result
