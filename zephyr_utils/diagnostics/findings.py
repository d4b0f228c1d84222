"""What a preference run's log proves about the run: beta, the reference, displacement, epochs,
overfitting.
"""

import math
from dataclasses import dataclass

import numpy as np

from zephyr_utils.diagnostics.log import TrainingLog
from zephyr_utils.diagnostics.log_columns import TrainingLogError
from zephyr_utils.diagnostics.log_names import LogKind
from zephyr_utils.diagnostics.run_type import ROUNDING, reference_free_beta

# A log-probability whose size is below this has no share that would say anything.
_SMALLEST_REFERENCE = 0.05  # nats
# More examples than this cannot be told from accuracies printed with four decimals.
_MOST_EXAMPLES = 1000


@dataclass(frozen=True)
class MarginsCheck:
    """Whether every logged margin is chosen minus rejected; ``steps_off`` are those where it is
    not.
    """

    n_rows: int
    largest_gap: float
    steps_off: tuple[float, ...]

    @property
    def ok(self) -> bool:
        """No row is off by more than the tolerance."""
        return not self.steps_off


def margins_check(
    log: TrainingLog, tolerance: float = ROUNDING, kind: LogKind = "evaluation"
) -> MarginsCheck:
    """Check ``rewards/margins = rewards/chosen - rewards/rejected`` in every row of one kind.

    Raises:
        TrainingLogError: the log lacks those columns.
    """
    step, chosen, rejected, margins = log.require(
        "step", "rewards/chosen", "rewards/rejected", "rewards/margins", kind=kind
    )
    gap = np.abs(margins - (chosen - rejected))
    return MarginsCheck(gap.size, float(gap.max()), tuple(step[gap > tolerance].tolist()))


@dataclass(frozen=True)
class ImpliedBeta:
    """The beta that a log was written with, and the reference's mean log-probabilities, by least
    squares.

    ``largest_residual`` is in reward units: at the size of the log's rounding the run kept one
    reference and one evaluation set throughout; far above, it did not.
    """

    beta: float
    standard_error: float
    reference_chosen: float
    reference_rejected: float
    largest_residual: float
    n_rows: int

    def __str__(self) -> str:
        return f"beta {self.beta:.4f} ± {self.standard_error:.1g} from {self.n_rows} evaluations"


def implied_beta(log: TrainingLog) -> ImpliedBeta:
    """Recover beta and the reference from rewards and log-probabilities of the evaluation rows.

    A reward is ``beta * (logp - logp_ref)`` (DPO, arXiv 2305.18290, eq. 5), and on a fixed
    evaluation set the reference's mean is one constant for the chosen and one for the rejected
    answers. So both rewards lie on lines of slope beta over the policy's log-probabilities, with
    intercepts ``-beta * logp_ref``: one regression with a common slope. Training rows cannot be
    used, as each averages over other examples with another reference mean.

    Raises:
        TrainingLogError: missing columns, fewer than three evaluations, or log-probabilities that
            do not move.
    """
    columns = log.require("rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected")
    chosen, rejected, logps_chosen, logps_rejected = columns
    n = chosen.size
    if n < 3:
        raise TrainingLogError(
            f"{n} evaluations do not determine beta and two reference log-probabilities",
            where=log.source,
            remedy="evaluate at least three times during the run.",
        )
    # Within-group centring solves the common-slope regression exactly and keeps it well
    # conditioned.
    x = np.concatenate([logps_chosen - logps_chosen.mean(), logps_rejected - logps_rejected.mean()])
    y = np.concatenate([chosen - chosen.mean(), rejected - rejected.mean()])
    spread = float(x @ x)
    if spread < 1e-12:
        raise TrainingLogError(
            "the log-probabilities never change, so the run learned nothing that beta could be "
            "read from",
            where=log.source,
            remedy="check the learning rate and that parameters were trained.",
        )
    beta = float(x @ y) / spread
    if beta == 0:
        raise TrainingLogError(
            "rewards do not follow the log-probabilities at all",
            where=log.source,
            remedy="check that the columns belong to one run.",
        )
    residual = y - beta * x
    return ImpliedBeta(
        beta=beta,
        # Three parameters were fitted to 2 n points.
        standard_error=math.sqrt(float(residual @ residual) / (2 * n - 3) / spread),
        reference_chosen=float(logps_chosen.mean() - chosen.mean() / beta),
        reference_rejected=float(logps_rejected.mean() - rejected.mean() / beta),
        largest_residual=float(np.abs(residual).max()),
        n_rows=n,
    )


@dataclass(frozen=True)
class Displacement:
    """How far the mean log-probabilities of the evaluation's answers moved from the reference, in
    nats.

    Attributes:
        chosen, rejected: change at the last evaluation; below zero: the answers became less likely.
        chosen_share: the chosen answers' change as a share of their reference log-probability's
            size; None where that is near 0.
        lowest_chosen: the deepest change of the chosen answers during the run.
    """

    chosen: float
    rejected: float
    chosen_share: float | None
    lowest_chosen: float

    @property
    def displaced(self) -> bool:
        """Whether even the chosen answers ended up less likely than under the reference."""
        return self.chosen < 0


def displacement(log: TrainingLog) -> Displacement:
    """Likelihood displacement: the margin can grow while the chosen answers become *less* likely.

    The reference's log-probabilities come from :func:`implied_beta`; raises what that raises.

    Raises:
        TrainingLogError: the run had no reference model (ORPO, CPO, SimPO).
    """
    if reference_free_beta(log) is not None:
        raise TrainingLogError(
            "its rewards are beta times the log-probabilities, so there is no reference model that "
            "answers could have moved away from",
            where=log.source,
            remedy="read logps/chosen itself.",
        )
    reference = implied_beta(log)
    chosen, rejected = log.require("logps/chosen", "logps/rejected")
    change = chosen - reference.reference_chosen
    size = abs(reference.reference_chosen)
    return Displacement(
        chosen=float(change[-1]),
        rejected=float(rejected[-1] - reference.reference_rejected),
        chosen_share=float(change[-1]) / size if size > _SMALLEST_REFERENCE else None,
        lowest_chosen=float(change.min()),
    )


@dataclass(frozen=True)
class EpochStep:
    """The training loss on both sides of an epoch border.

    ``loss_before`` and ``loss_after`` are the logged rows next to the border, ``mean_before`` and
    ``mean_after`` the means of the epochs that meet there.
    """

    epoch: int
    step_before: float
    step_after: float
    loss_before: float
    loss_after: float
    mean_before: float
    mean_after: float


def epoch_steps(log: TrainingLog) -> list[EpochStep]:
    """The stair-steps of the training loss: from the second epoch on, every pair was seen before.

    Returns:
        One entry a border; empty for a run of one epoch. ``epoch`` is the epoch that ends there.

    Raises:
        TrainingLogError: the training rows lack loss, epoch or step.
    """
    loss, epoch, step = log.require("loss", "epoch", "step", kind="training")
    # A row at epoch 1.0 exactly still averages over the first epoch's batches.
    number = np.clip(np.ceil(epoch - 1e-9), 1, 1e6)
    epochs, position = np.unique(number, return_inverse=True)
    means = np.bincount(position, weights=loss) / np.bincount(position)
    return [
        EpochStep(
            epoch=int(epochs[position[i]]),
            step_before=float(step[i]),
            step_after=float(step[i + 1]),
            loss_before=float(loss[i]),
            loss_after=float(loss[i + 1]),
            mean_before=float(means[position[i]]),
            mean_after=float(means[position[i + 1]]),
        )
        for i in np.flatnonzero(np.diff(number) > 0)
    ]


@dataclass(frozen=True)
class Overfitting:
    """The evaluation loss at its best and at the end, with the accuracy (None where not logged) at
    both.
    """

    best_step: float
    best_loss: float
    last_loss: float
    best_accuracy: float | None
    last_accuracy: float | None

    @property
    def rises(self) -> bool:
        """Whether the loss ended more than a tenth above its best. Normal over several epochs; see
        the accuracy.
        """
        return self.last_loss > 1.1 * self.best_loss


def overfitting(log: TrainingLog) -> Overfitting:
    """Compare the last evaluation with the one of lowest loss.

    Raises:
        TrainingLogError: the evaluation rows lack loss or step.
    """
    step, loss = log.require("step", "loss")
    accuracy = None
    if "rewards/accuracies" in log.evaluation:
        step, loss, accuracy = log.require("step", "loss", "rewards/accuracies")
    best = int(loss.argmin())
    return Overfitting(
        best_step=float(step[best]),
        best_loss=float(loss[best]),
        last_loss=float(loss[-1]),
        best_accuracy=None if accuracy is None else float(accuracy[best]),
        last_accuracy=None if accuracy is None else float(accuracy[-1]),
    )


def accuracy_examples(log: TrainingLog) -> int | None:
    """On how many examples the logged accuracy was measured, if the figures give it away.

    An accuracy over ``n`` examples is a multiple of ``1 / n``; the smallest ``n`` that all logged
    accuracies are multiples of is returned. Where fewer than three differ, the examples per second
    times the seconds that each evaluation took, if the log has both. Else, and when there is none
    up to 1,000, None. Zephyr's log gives 64: the rows that one of 16 processes saw, not the whole
    split, with a standard error of 5 points.
    """
    (accuracy,) = log.require("rewards/accuracies")
    different = np.unique(accuracy)
    if different.size < 3:
        return _timed_examples(log)
    printed_with_four = np.allclose(different, different.round(4), atol=1e-9)
    tolerance = 0.51e-4 if printed_with_four else 1e-6
    for n in range(1, _MOST_EXAMPLES + 1):
        if np.all(np.abs(np.round(different * n) / n - different) <= tolerance):
            return n
    return None


def _timed_examples(log: TrainingLog) -> int | None:
    if not log.has("runtime", "samples_per_second"):
        return None
    seconds, per_second = log.require("runtime", "samples_per_second")
    examples = seconds * per_second  # both are rounded to three decimals or so
    n = round(float(np.median(examples)))
    return n if n >= 1 and np.allclose(examples, n, rtol=0.02) else None
