"""Judges like long answers: the win rate against length, and a rate with the length taken out.

Our own length-controlled rate. With ``d`` the model's length minus the baseline's on one
instruction and ``s`` the standard deviation of ``d`` over all of them, a logistic curve is fitted
to the scores of all instructions:

    P(model preferred) = sigmoid(theta + phi * tanh(d / s))

and the rate is read off at equal length (d = 0): ``100 * sigmoid(theta)``. It follows the idea of
AlpacaEval's length-controlled rate (arXiv 2404.04475) but leaves out that rate's per-instruction
difficulties, which are estimated from other models. On the 26 models of AlpacaEval 1 that we hold
records of, the two correlate at 0.988 and differ by 2.5 points on average (the raw rates by 16.9);
on the 7 of AlpacaEval 2, by 5.4.
"""

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.evaluation.annotations import (
    checked_annotations,
    output_length,
    row_key,
    row_score,
)
from zephyr_utils.evaluation.common import EvaluationError, warn_all
from zephyr_utils.evaluation.logistic import fit_logistic
from zephyr_utils.evaluation.types import AlpacaEvalAnnotation

# A weak pull of phi towards zero (a normal prior of standard deviation 1), so that a handful of
# questions, or lengths that separate wins from losses, still give a finite curve. Where nearly
# every row was won or lost it moves the rate by a few points: such rows say little about length.
_LENGTH_PRIOR_PRECISION = 1.0


@dataclass(frozen=True)
class LengthControlledRate:
    """The rate at equal length, in percent, with its standard error and the fitted curve.

    Attributes:
        theta, phi: the curve's two parameters; ``phi`` above zero means that longer answers were
            preferred.
        length_scale: ``s``, in characters.
        n_scored: rows fitted; ``n_left_out``: rows without a preference or without both lengths.
    """

    win_rate: float
    standard_error: float
    theta: float
    phi: float
    length_scale: float
    n_scored: int
    n_left_out: int


def _scores_and_lengths(
    annotations: Iterable[AlpacaEvalAnnotation], baseline_lengths: Mapping[Hashable, int] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Scores in [0, 1], length differences in characters, and the number of rows that lack one of
    them, of which it warns.
    """
    rows = checked_annotations(annotations)
    scores, differences = [], []
    for position, row in enumerate(rows):
        score, _ = row_score(row)
        ours, baseline = output_length(row, 2), output_length(row, 1)
        if baseline is None and baseline_lengths is not None:
            baseline = baseline_lengths.get(row_key(row, position))
        if score is not None and ours is not None and baseline is not None:
            scores.append(score)
            differences.append(ours - baseline)
    if len(scores) < 2:
        raise EvaluationError(
            f"only {len(scores)} of {len(rows)} annotations have a preference and both lengths",
            where="length control",
            remedy="records need output_1 and output_2, or len_output_1 and len_output_2, or pass "
            "baseline_lengths.",
        )
    graded, lengths = np.asarray(scores), np.asarray(differences, dtype=np.float64)
    n_left_out = len(rows) - len(scores)
    if n_left_out:
        warn_all([f"{n_left_out} annotations lack a preference or a length and are left out"])
    # By length, then score: sums and groups are then the same for any order of the rows.
    order = np.lexsort((graded, lengths))
    return graded[order], lengths[order], n_left_out


def length_controlled_win_rate(
    annotations: Iterable[AlpacaEvalAnnotation],
    baseline_lengths: Mapping[Hashable, int] | None = None,
) -> LengthControlledRate:
    """The win rate that the model would have at the baseline's length, by the formula at the top of
    this file.

    Args:
        annotations: records with ``preference`` and both answers or their lengths in characters.
        baseline_lengths: length of the baseline's answer by ``index`` (or ``instruction``), for
            records without it.

    Warns:
        EvaluationWarning: rows left out, with their number.

    Raises:
        EvaluationError: fewer than two rows can be used, and as
            :func:`~zephyr_utils.evaluation.annotations.checked_annotations`.
    """
    scores, difference, n_left_out = _scores_and_lengths(annotations, baseline_lengths)
    scale = float(difference.std())
    # All lengths alike: nothing to control for, and the curve's length term must be zero, not 0 /
    # 0.
    length_term = np.tanh(difference / scale) if scale > 0 else np.zeros_like(difference)
    if scores.min() == scores.max() and scores[0] in (0.0, 1.0):
        # Won or lost throughout: theta would run off to infinity, and no length explains anything.
        rate = 100 * float(scores[0])
        return LengthControlledRate(
            rate, 0.0, math.copysign(math.inf, rate - 50), 0.0, scale, scores.size, n_left_out
        )
    design = np.stack([np.ones_like(length_term), length_term], axis=1)
    parameters, covariance = fit_logistic(
        design, scores, precision=np.array([0.0, _LENGTH_PRIOR_PRECISION])
    )
    rate = 1 / (1 + np.exp(-parameters[0]))
    return LengthControlledRate(
        win_rate=float(100 * rate),
        standard_error=float(100 * rate * (1 - rate) * np.sqrt(covariance[0, 0])),
        theta=float(parameters[0]),
        phi=float(parameters[1]),
        length_scale=scale,
        n_scored=scores.size,
        n_left_out=n_left_out,
    )


@dataclass(frozen=True)
class LengthBin:
    """The win rate among instructions whose answers differ in length by about this much."""

    length_difference: float
    win_rate: float
    standard_error: float
    n: int


def win_rate_by_length(
    annotations: Iterable[AlpacaEvalAnnotation],
    n_bins: int = 5,
    baseline_lengths: Mapping[Hashable, int] | None = None,
) -> list[LengthBin]:
    """The win rate in ``n_bins`` groups of equal size, from the shortest answers (against the
    baseline) to the longest.

    Args:
        annotations, baseline_lengths: as for :func:`length_controlled_win_rate`.
        n_bins: number of groups; at least two rows must fall into each.

    Returns:
        One :class:`LengthBin` a group: mean difference in characters, rate and standard error in
            percent, rows.

    Warns:
        EvaluationWarning: rows left out, with their number.

    Raises:
        EvaluationError: as :func:`length_controlled_win_rate`, or two rows do not fall into each.
    """
    scores, difference, _ = _scores_and_lengths(annotations, baseline_lengths)
    if not 1 <= n_bins <= scores.size // 2:
        raise EvaluationError(
            f"{scores.size} rows do not fill {n_bins} groups",
            where="n_bins",
            remedy="ask for fewer groups.",
        )
    groups = np.array_split(np.arange(difference.size), n_bins)  # sorted by length already
    return [
        LengthBin(
            float(difference[group].mean()),
            float(100 * scores[group].mean()),
            float(100 * scores[group].std(ddof=1) / np.sqrt(group.size)),
            int(group.size),
        )
        for group in groups
    ]
