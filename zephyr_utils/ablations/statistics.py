"""What replications allow to be said of a number: intervals, p-values, equivalence, power.

A replication draws world, records, training and exam with a seed of its own, and its rows answer
the same questions. A number is a mean over replications of a mean over questions, so chance enters
at two levels, and two intervals are made:

- Student's over the replications' means. Where each replication has questions of its own, the
  spread of the means holds both levels; t allows for a spread that is itself a guess from few of
  them. Where all answer the same questions it holds one level alone, and the bootstrap has both.
- The two-level bootstrap: replications are drawn with replacement, and within each its questions.
  It assumes no shape, but with few replications it is too narrow by the root of (n - 1) / n and
  knows nothing of t's tails; where the questions' noise dominates it is too wide, as it counts that
  noise twice.

Neither is the narrower one everywhere, and to take the one that decides would be a choice after the
fact. So the conservative of the two counts throughout: the interval is the hull of both, a p-value
the larger of both, a standard error the larger of both.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import Interval, seeds_interval
from zephyr_utils.evaluation.intervals import student_tail

LEVEL, ALPHA = 0.95, 0.05
DRAWS = 10_000  # of the bootstrap
# Samples of questions that are made once; a draw takes one of them for each of its replications.
_SAMPLES = 2_000
# A difference is found at 5 % with 80 % power if it is this many standard errors long (2.80).
DETECTABLE = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)


@dataclass(frozen=True)
class Effect:
    """A number measured in several replications.

    Attributes:
        per_replication: its mean in each, over the questions.
        draws: its bootstrap means, sorted; shape (`DRAWS`,).
    """

    per_replication: tuple[float, ...]
    draws: NDArray[np.float64] = field(repr=False)

    @property
    def estimate(self) -> float:
        """The mean over the replications."""
        return float(np.mean(self.per_replication))

    @property
    def standard_error(self) -> float:
        """The larger of the replications' and the bootstrap's."""
        return max(self._replications_error, float(self.draws.std()))

    @property
    def detectable(self) -> float:
        """The smallest difference that would have been found at 5 % with 80 % power."""
        return DETECTABLE * self.standard_error

    def interval(self, level: float = LEVEL) -> Interval:
        """The hull of Student's and the bootstrap's interval."""
        student = seeds_interval(self.per_replication, level)
        low, high = np.quantile(self.draws, [(1 - level) / 2, (1 + level) / 2])
        return Interval(
            student.estimate, min(student.low, float(low)), max(student.high, float(high)), level
        )

    def p_below(self, boundary: float) -> float:
        """One-sided p-value for "it lies below the boundary"."""
        return self._p_value(boundary, side=1)

    def p_above(self, boundary: float) -> float:
        """One-sided p-value for "it lies above the boundary"."""
        return self._p_value(boundary, side=-1)

    def p_differs(self, boundary: float = 0.0) -> float:
        """Two-sided p-value for "it is not the boundary"."""
        return min(1.0, 2 * min(self.p_below(boundary), self.p_above(boundary)))

    def p_within(self, margin: float, boundary: float = 0.0) -> float:
        """p-value for "it lies within the margin around the boundary": two one-sided tests.

        It falls below 5 % where the 90 % interval lies within the margin.
        """
        return max(self.p_below(boundary + margin), self.p_above(boundary - margin))

    @property
    def _replications_error(self) -> float:
        values = np.asarray(self.per_replication)
        return float(values.std(ddof=1)) / math.sqrt(values.size)

    def _p_value(self, boundary: float, side: int) -> float:
        beyond = float(np.mean(side * (self.draws - boundary) >= 0))
        bootstrap = (beyond * DRAWS + 1) / (DRAWS + 1)  # never zero: so many draws show no less
        distance, error = side * (self.estimate - boundary), self._replications_error
        if error == 0:
            student = 0.0 if distance < 0 else 1.0
        else:
            student = student_tail(distance / error, len(self.per_replication) - 1)
        return max(bootstrap, student)


def measure_effect(
    values: Sequence[ArrayLike], seed: int = 0, *, same_questions: bool = False
) -> Effect:
    """The number whose values are given by replication and question.

    Args:
        values: one array per replication, with one number per question, such as the difference of
            two models' grades; shape (questions,). One number where none are known by question.
        seed: of the bootstrap.
        same_questions: all replications answer the same ones, in the same order: then each draw
            takes one sample of questions for all of them, since their noise does not average out.

    Raises:
        HandbookError: fewer than two replications, one without values, or `same_questions` of
            which some lack some.
    """
    means = [np.asarray(one, dtype=np.float64).ravel() for one in values]
    if len(means) < 2 or any(not one.size or not np.isfinite(one).all() for one in means):
        raise HandbookError(
            f"{len(means)} replications, "
            f"{sum(not one.size or not np.isfinite(one).all() for one in means)} without values",
            where="replications",
            remedy="measure at least two, and leave out those that failed",
        )
    # (samples, replications): what the mean over questions might have been
    samples = np.stack([_question_samples(one.size) @ one for one in means], axis=1)
    if same_questions and len({one.size for one in means}) > 1:
        raise HandbookError(
            "the replications have different numbers of questions",
            where="replications",
            remedy="give each replication a value for the same questions, in the same order",
        )
    rng = np.random.default_rng(seed)
    shape = (DRAWS, len(means))
    of_questions = rng.integers(_SAMPLES, size=(DRAWS, 1) if same_questions else shape)
    drawn = samples[of_questions, rng.integers(len(means), size=shape)]
    return Effect(tuple(float(one.mean()) for one in means), np.sort(drawn.mean(axis=1)))


@functools.lru_cache(maxsize=4)
def _question_samples(questions: int) -> NDArray[np.float64]:
    """Weights of the questions in each of `_SAMPLES` samples with replacement; rows add up to 1."""
    rng = np.random.default_rng(questions)
    counts = rng.multinomial(questions, np.full(questions, 1 / questions), size=_SAMPLES)
    weights: NDArray[np.float64] = counts / questions
    return weights


def holm_corrected(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's procedure, in the order given.

    The smallest is multiplied by n, the next by n - 1, and so on, and none falls below the one
    before it. Those below alpha stand, and the chance of even one false one among them is at most
    alpha.
    """
    corrected, least = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        least = max(least, min(1.0, p_values[place] * (len(p_values) - rank)))
        corrected[place] = least
    return corrected
