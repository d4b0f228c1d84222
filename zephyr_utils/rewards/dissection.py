"""What a judge goes by: the weights of features in its choices between two answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zephyr_utils.evaluation.logistic import fit_logistic
from zephyr_utils.rewards.model import RewardModelError

# of a normal prior with a standard deviation of 10: it matters only where a feature decides every
# choice, and its weight would be infinite
_PRECISION = 0.01


@dataclass(frozen=True)
class Dissection:
    """A judge's weights.

    Attributes:
        features: names.
        weights: (features,) change of the log-odds of being preferred per unit of the feature.
        standard_errors: (features,); too small where the same answers are in several
            comparisons, or where a feature decides nearly every choice.
        accuracy: share of the choices that the weights predict; half for a draw.
        n: comparisons.
    """

    features: tuple[str, ...]
    weights: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    accuracy: float
    n: int

    def correlation(self, other: "Dissection") -> float:
        """Pearson's r of two judges' weights over the same features.

        Of a handful of features it says little, and it depends on the features' units.

        Raises:
            RewardModelError: other features, fewer than three of them, or weights that are all
                equal.
        """
        if self.features != other.features:
            raise RewardModelError(
                f"weights of {self.features} and of {other.features}",
                where="dissection",
                remedy="compare judges by the same features",
            )
        if len(self.features) < 3 or not (np.ptp(self.weights) and np.ptp(other.weights)):
            raise RewardModelError(
                f"no correlation of {len(self.features)} weights, or of equal ones",
                where="dissection",
                remedy="compare the weights of three or more features",
            )
        return float(np.corrcoef(self.weights, other.weights)[0, 1])


def dissect_choices(
    differences: ArrayLike, choices: ArrayLike, features: Sequence[str]
) -> Dissection:
    """Fit P(first chosen) = sigmoid(sum_k w_k d_k), a logistic regression without intercept.

    With Bradley and Terry's model this is a reward that is linear in the features, r = sum_k w_k
    f_k, of which only differences can be seen. As in "Dissecting Human and LLM Preferences" (arXiv
    2402.11296), which fits the same model by sampling and with a prior that pulls harder.

    Args:
        differences: (comparisons, features), the first answer's features minus the second's.
            Without an intercept it does not matter which answer is the first.
        choices: (comparisons,) 1 where the first answer was preferred, 0 where the second was.
            Leave ties out and count them.
        features: their names.

    Raises:
        RewardModelError: shapes that do not fit, no comparisons, a value that is NaN or infinite, a
            choice that is neither 0 nor 1, or features that say the same, whose weights cannot be
            told apart.
    """
    rows = np.asarray(differences, dtype=np.float64)
    chosen = np.asarray(choices, dtype=np.float64)
    _check(rows, chosen, features)
    weights, covariance = fit_logistic(rows, chosen, np.full(len(features), _PRECISION))
    logits = rows @ weights
    return Dissection(
        features=tuple(features),
        weights=weights,
        standard_errors=np.sqrt(np.diag(covariance)),
        accuracy=float(np.where(logits == 0, 0.5, (logits > 0) == chosen).mean()),
        n=len(rows),
    )


def _check(
    rows: NDArray[np.float64], choices: NDArray[np.float64], features: Sequence[str]
) -> None:
    if rows.ndim != 2 or choices.shape != rows.shape[:1] or rows.shape[1] != len(features):
        raise RewardModelError(
            f"differences of shape {rows.shape}, choices of {choices.shape}, "
            f"{len(features)} features",
            where="dissection",
            remedy="give (comparisons, features), (comparisons,) and one name per feature",
        )
    if not rows.size:
        raise RewardModelError(
            "there is nothing to compare",
            where="dissection",
            remedy="give comparisons and features",
        )
    if wrong := int((~np.isfinite(rows)).sum()):
        raise RewardModelError(
            f"{wrong} of {rows.size} differences are NaN or infinite",
            where="dissection",
            remedy="set answers with a feature that is unknown aside, and count them",
        )
    if wrong := int((~np.isin(choices, (0, 1))).sum()):
        raise RewardModelError(
            f"{wrong} of {len(choices)} choices are neither 0 nor 1",
            where="dissection",
            remedy="leave ties and failed judgments out, and count them",
        )
    if (rank := int(np.linalg.matrix_rank(rows))) < rows.shape[1]:
        raise RewardModelError(
            f"{rows.shape[1]} features, of which {rank} say something of their own: of the others "
            "the weights cannot be told apart",
            where="dissection",
            remedy="leave out a feature that never differs, or that others give",
        )
