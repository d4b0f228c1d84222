"""How strong a preference is, from the scores that made it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.preferences import score_gap
from zephyr_utils.rewards.model import RewardModelError

Cuts = tuple[float, float]


def strength_cuts(pairs: Sequence[Mapping[str, Any]]) -> Cuts:
    """The two score gaps that divide pairs into thirds.

    HelpSteer2-Preference (arXiv 2410.01257) has strengths of 1, 2 and 3 from people; rated answers
    give them for nothing, by the gap of the two scores.

    Raises:
        RewardModelError: no pairs, or a pair without scores.
    """
    if not pairs:
        raise RewardModelError("there are no pairs", where="strength", remedy="give some")
    low, high = np.quantile(_gaps(pairs), [1 / 3, 2 / 3])
    return float(low), float(high)


def preference_strengths(pairs: Sequence[Mapping[str, Any]], cuts: Cuts) -> NDArray[np.float64]:
    """1, 2 or 3 for each pair: a score gap up to the first cut, up to the second, beyond it.

    Args:
        pairs: preference records with scores.
        cuts: as `strength_cuts` gives them for the pairs that are trained on.

    Raises:
        RewardModelError: a pair without scores.
    """
    return 1 + np.searchsorted(cuts, _gaps(pairs), side="left").astype(np.float64)


def _gaps(pairs: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    gaps = [score_gap(pair) for pair in pairs]  # type: ignore[arg-type]
    if without := [n for n, gap in enumerate(gaps) if gap is None]:
        raise RewardModelError(
            f"{len(without)} of {len(gaps)} pairs have no scores, the first is pair {without[0]}",
            where="strength",
            remedy='use pairs with score_chosen and score_rejected, or the objective "regular"',
        )
    return np.array(gaps, dtype=np.float64)
