"""How sure a figure is: bootstrap, paired differences, a few seeds, and shares.

Every table of the handbook prints an interval beside its figure; these four functions make all of
them. They are vectorised and seeded, and values are sorted before they are resampled, so that the
same records give the same interval on every machine and in any order.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zephyr_utils.errors import HandbookError

# Resamples are drawn in blocks, so that a long list of values does not become one huge matrix of
# indices.
_BLOCK_ELEMENTS = 4_000_000
# With this many differing pairs or fewer, all sign patterns are tried (at most 4,096) and the
# p-value is exact.
_EXACT_PAIRS = 12


class IntervalError(HandbookError, ValueError):
    """Values from which no valid interval can be made: none at all, NaN, or pairs of unequal
    number.
    """


@dataclass(frozen=True)
class Interval:
    """An estimate between its lower and upper bound, at the given level of confidence."""

    estimate: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside the interval."""
        return not self.low <= value <= self.high


@dataclass(frozen=True)
class PairedDifference:
    """The mean of ``a - b`` over the same items, its bootstrap interval and a sign-flip p-value
    (two-sided).
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int

    def __str__(self) -> str:
        interval = f"[{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.mean:+.3f} {interval}, p = {self.p_value:.3g}, n = {self.n}"


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return values.mean(axis=axis)


def _finite(values: ArrayLike, name: str = "values") -> NDArray[np.float64]:
    """One-dimensional, not empty, without NaN or infinity; raises :class:`IntervalError` naming the
    first fault.
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.size == 0:
        raise IntervalError(
            "there are no values", where=name, remedy="check that the records were read."
        )
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise IntervalError(
            f"{bad.size} of {array.size} values are NaN or infinite, the first at position "
            f"{bad[0]}",
            where=name,
            remedy="set failed items aside and count them before asking for an interval.",
        )
    return array


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise IntervalError(
            f"the level {level} is not between 0 and 1", where="level", remedy="use 0.95."
        )


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., NDArray[np.float64]] = _mean,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap: the spread of ``statistic`` over ``n`` resamples with replacement.

    Args:
        values: one figure per independent item (question, pair, prompt), in any order; shape
            ``(items,)``.
        statistic: takes a matrix and ``axis=-1`` and returns one figure a row (``np.mean``,
            ``np.median``).
        n: number of resamples.
        seed: seed of the resampling.
        level: confidence, 0.95 for a 95 % interval.

    Raises:
        IntervalError: no values, NaN or infinity among them, or a level outside (0, 1).
    """
    array = np.sort(_finite(values))  # resampling by position would depend on the order of the rows
    _check_level(level)
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK_ELEMENTS // array.size)
    resampled = [
        statistic(
            array[rng.integers(0, array.size, size=(min(rows, n - start), array.size))], axis=-1
        )
        for start in range(0, n, rows)
    ]
    low, high = np.quantile(np.concatenate(resampled), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(array[None, :], axis=-1)[0]), float(low), float(high), level)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    n: int = 2000,
    n_permutations: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedDifference:
    """Compare two models on the same items: mean of ``a - b``, bootstrap interval, sign-flip
    permutation test.

    If the two models were the same, each difference could as well have had the other sign. The
    p-value is the share of random sign patterns whose mean is at least as far from zero; all
    patterns are tried when few items differ, otherwise ``(1 + hits) / (1 + n_permutations)``, which
    is never zero.

    Args:
        a, b: one figure per item, in the same order; shape ``(items,)`` each.
        n: number of bootstrap resamples.
        n_permutations: number of random sign patterns.

    Raises:
        IntervalError: unequal numbers of items, no items, NaN or infinity.
    """
    first, second = _finite(a, "a"), _finite(b, "b")
    if first.size != second.size:
        raise IntervalError(
            f"{first.size} values against {second.size}",
            where="paired difference",
            remedy="pair the two models on the items that both have.",
        )
    difference = first - second
    interval = bootstrap_interval(difference, n=n, seed=seed, level=level)
    return PairedDifference(
        interval.estimate,
        interval.low,
        interval.high,
        _sign_flip_p_value(difference, n_permutations, seed),
        difference.size,
    )


def _sign_flip_p_value(difference: NDArray[np.float64], n_permutations: int, seed: int) -> float:
    # Zero differences add nothing under any sign, so only the others are flipped.
    moving = np.sort(difference[difference != 0])
    if moving.size == 0:
        return 1.0
    # A hair below the observed sum, so that equal sums count as equal in spite of rounding. It is
    # in proportion to what was added up, as rounding is, not to the sum, which may be near 0.
    observed = abs(moving.sum()) - 1e-12 * np.abs(moving).sum()
    if moving.size <= _EXACT_PAIRS:
        patterns = np.arange(2**moving.size)[:, None] >> np.arange(moving.size) & 1
        return float((np.abs((2 * patterns - 1) @ moving) >= observed).mean())
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK_ELEMENTS // moving.size)
    hits = 0
    for start in range(0, n_permutations, rows):
        signs = 2 * rng.integers(0, 2, size=(min(rows, n_permutations - start), moving.size)) - 1
        hits += int((np.abs(signs @ moving) >= observed).sum())
    return (1 + hits) / (1 + n_permutations)


def seeds_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval of a mean over a few training seeds: ``mean +- t * s / sqrt(n)``.

    With five seeds the bootstrap is far too narrow; Student's t allows for the standard deviation
    itself being a guess (t = 2.78 for five seeds, 12.7 for two).

    Raises:
        IntervalError: fewer than two seeds, NaN or infinity.
    """
    array = np.sort(_finite(values, "seeds"))
    _check_level(level)
    if array.size < 2:
        raise IntervalError(
            "one seed says nothing about the spread over seeds",
            where="seeds",
            remedy="train at least two seeds.",
        )
    half = (
        student_quantile((1 + level) / 2, array.size - 1)
        * array.std(ddof=1)
        / math.sqrt(array.size)
    )
    mean = float(array.mean())
    return Interval(mean, mean - float(half), mean + float(half), level)


def student_quantile(probability: float, degrees: int) -> float:
    """The value that Student's t with ``degrees`` (whole, at least 1) exceeds with ``1 -
    probability``.

    Args:
        probability: between one half and one.

    Raises:
        IntervalError: another probability, or no degree of freedom.
    """
    if not 0.5 < probability < 1 or degrees < 1:
        raise IntervalError(
            f"no quantile for probability {probability} and {degrees} degrees of freedom",
            where="Student's t",
            remedy="use a probability between 0.5 and 1 and at least one degree of freedom.",
        )
    from scipy import special  # here, because it takes as long to import as all the rest

    return float(special.stdtrit(degrees, probability))


def student_tail(value: float, degrees: int) -> float:
    """The probability that Student's t with ``degrees`` (whole, at least 1) falls below ``value``.

    Raises:
        IntervalError: no degree of freedom.
    """
    if degrees < 1:
        raise IntervalError(
            f"no probability for {degrees} degrees of freedom",
            where="Student's t",
            remedy="use at least one degree of freedom.",
        )
    from scipy import special  # as above

    return float(special.stdtr(degrees, value))


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share: right for small numbers and never outside [0, 1].

    Raises:
        IntervalError: no trials, or successes outside 0 to ``n``.
    """
    _check_level(level)
    if n < 1 or not 0 <= successes <= n:
        raise IntervalError(
            f"{successes} successes of {n}", where="share", remedy="count successes among trials."
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At 0 and n one bound is the share itself; rounding must not push it a hair past.
    return Interval(
        share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)), level
    )
