"""The policy that a run led to: how far it moved, with which beta, on how many examples."""

import numpy as np

from zephyr_utils.diagnostics.findings import accuracy_examples, displacement, implied_beta
from zephyr_utils.diagnostics.log import TrainingLog
from zephyr_utils.diagnostics.log_columns import TrainingLogError
from zephyr_utils.diagnostics.log_names import PAIR
from zephyr_utils.diagnostics.reason import Colour, Reason
from zephyr_utils.diagnostics.run_type import ROUNDING, reference_free_beta
from zephyr_utils.evaluation.intervals import wilson_interval

# Zephyr's chosen answers lost 18 % of their log-probability's size; half is far outside what good
# runs show.
_DEEP_DISPLACEMENT = -0.5
_USUAL_BETAS = (0.001, 5.0)
# Rewards of a tiny beta are tiny: their slope counts if its error is at most this share of it.
_SURE_SLOPE = 0.05


def check_policy(log: TrainingLog, beta: float | None) -> list[Reason]:
    """What the log-probabilities prove; ``beta`` is the one that the run was meant to use."""
    return [*_likelihoods(log), *_beta(log, beta), *_resolution(log)]


def _likelihoods(log: TrainingLog) -> list[Reason]:
    try:
        moved = displacement(log)
    except TrainingLogError:
        return []  # no reference, or too few evaluations to know it; other checks do not need it
    if not moved.displaced:
        return []
    share = "" if moved.chosen_share is None else f" ({-100 * moved.chosen_share:.0f} %)"
    text = f"the chosen answers became {-moved.chosen:.3g} nats less likely{share}, the rejected "
    text += f"{abs(moved.rejected):.3g} {'less' if moved.rejected < 0 else 'more'}"
    if moved.chosen_share is not None and moved.chosen_share < _DEEP_DISPLACEMENT:
        text += ": far more than usual; the learning rate may be too high or beta too low, and the "
        return [Reason("amber", text + "answers broken: read some")]
    text += ": negative rewards are normal, the loss only asks for a distance between the two"
    return [Reason("green", text)]


def _beta(log: TrainingLog, beta: float | None) -> list[Reason]:
    free = reference_free_beta(log)
    if free is not None:
        text = f"rewards are beta ({free:.4g}) times the log-probability itself: a run without a "
        text += "reference model (ORPO, CPO, SimPO, TPO), whose rewards do not begin at 0"
        if beta is not None and abs(free - beta) > 0.01 * beta:
            return [Reason("red", f"{text}; its beta is not {beta:g}")]
        return [Reason("green", text)]
    try:
        fit = implied_beta(log)
    except TrainingLogError:
        return []
    chosen, rejected = log.require(*PAIR)
    span = float(max(np.ptp(chosen), np.ptp(rejected)))
    if span <= 10 * ROUNDING and fit.standard_error > _SURE_SLOPE * abs(fit.beta):
        return []  # rewards that move by no more than their rounding lie on any line
    colour: Colour = "green"
    if fit.largest_residual > 0.1 * span + ROUNDING:
        text = (
            "rewards are not in line with the log-probabilities: the reference or the evaluation "
        )
        text += "set changed during the run (sync_ref_model?)"
        return [Reason("amber", text)]
    text = f"rewards are beta times the log-ratio throughout, with {fit}"
    low, high = _USUAL_BETAS
    if fit.beta < 0:
        colour = "red"
        text = f"rewards fall where log-probabilities rise ({fit}): policy and reference are "
        text += "exchanged, or the columns are"
    elif beta is not None and abs(fit.beta - beta) > 0.01 * beta + 3 * fit.standard_error:
        colour, text = "red", f"the log implies {fit}, not {beta:g}: another setting was used"
    elif not low <= fit.beta <= high:
        colour, text = "amber", f"{text}: outside the usual {low:g} to {high:g}"
    return [Reason(colour, text)]


def _resolution(log: TrainingLog) -> list[Reason]:
    if not log.has("rewards/accuracies"):
        return []
    n = accuracy_examples(log)
    (accuracy,) = log.require("rewards/accuracies")
    if n is None or n > 200 or not 0 <= accuracy[-1] <= 1:
        return []
    share = wilson_interval(round(accuracy[-1] * n), n)
    text = f"every accuracy is a multiple of 1/{n}, as if measured on {n} examples, and the last "
    text += (
        f"one, {accuracy[-1]:.2f}, may as well be {share.low:.2f} or {share.high:.2f}; evaluate "
    )
    return [Reason("green", text + "the whole split before comparing runs")]
