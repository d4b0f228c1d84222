"""Is my DPO broken? Green, amber or red for a reader's own run, with the reasons in plain words.

Much of what frightens a newcomer is normal: Zephyr-7B-beta's own log has negative rewards, chosen
answers that become less likely, and an evaluation loss that rises for two of three epochs. Such
findings are named here, as green. Red is kept for what no healthy run shows, amber for what a
reader should look at before trusting the model.
"""

import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zephyr_utils.diagnostics.findings import (
    ROUNDING,
    accuracy_examples,
    displacement,
    epoch_steps,
    implied_beta,
    margins_check,
    overfitting,
)
from zephyr_utils.diagnostics.log import TrainingLog, TrainingLogError
from zephyr_utils.evaluation.intervals import wilson_interval

GREEN, AMBER, RED = "green", "amber", "red"
_ORDER = (GREEN, AMBER, RED)

# A mean over bfloat16 rewards may be off by half a unit in its eighth bit; that is no fault of the
# run's.
_BFLOAT16 = 2.0**-8
# The first loss of an untouched policy is ln 2 to within what bfloat16 log-probabilities leave
# open.
_FIRST_LOSS_TOLERANCE = 0.05
# Rewards this small at the end of a run mean that the policy never left its reference.
_NO_MOVEMENT = 0.01
# An accuracy within this of one half is not clearly better than guessing on a few hundred pairs.
_BARELY_ABOVE_CHANCE = 0.55
# A fall of the mean accuracy that 64 examples cannot explain over a quarter of a run.
_ACCURACY_FALL = 0.05
# Zephyr's chosen answers lost 18 % of their log-probability's size; half is far outside what good
# runs show.
_DEEP_DISPLACEMENT = -0.5


@dataclass(frozen=True)
class Reason:
    """One finding: its colour and what it means."""

    colour: str
    text: str


@dataclass(frozen=True)
class TrafficLight:
    """The worst colour among the reasons, and all of them, the worst first."""

    colour: str
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return "\n".join(
            [
                self.colour.upper(),
                *(
                    textwrap.fill(
                        f"{reason.colour}: {reason.text}",
                        100,
                        initial_indent="  ",
                        subsequent_indent="    ",
                    )
                    for reason in self.reasons
                ),
            ]
        )


def traffic_light(log: TrainingLog, beta: float | None = None) -> TrafficLight:
    """Judge one preference run by its log.

    Args:
        log: from :func:`~zephyr_utils.diagnostics.log.read_training_log`.
        beta: the beta that the run was meant to use, if known; compared with the one the log
            implies.

    Raises:
        TrainingLogError: the log has no reward columns (the log of a dSFT run, say).
    """
    if not any(name.startswith("rewards/") for name in (*log.training, *log.evaluation)):
        raise TrainingLogError(
            "it has no rewards, so it is not the log of a preference run",
            where=log.source,
            remedy="give the log of the dDPO stage.",
        )
    checks: tuple[Callable[[], list[Reason]], ...] = (
        lambda: _finite(log),
        lambda: _start(log),
        lambda: _movement(log),
        lambda: _sums(log),
        lambda: _ranking(log),
        lambda: _losses(log),
        lambda: _likelihoods(log),
        lambda: _beta(log, beta),
        lambda: _resolution(log),
    )
    reasons = [reason for check in checks for reason in check()]
    reasons.sort(key=lambda reason: -_ORDER.index(reason.colour))
    return TrafficLight(reasons[0].colour if reasons else GREEN, tuple(reasons))


def _has(log: TrainingLog, *names: str) -> bool:
    return all(name in log.evaluation and np.isfinite(log.evaluation[name]).any() for name in names)


def _last_quarter(values: np.ndarray) -> float:
    return float(values[-max(1, values.size // 4) :].mean())


def _finite(log: TrainingLog) -> list[Reason]:
    if not log.not_finite:
        return []
    count = len(log.not_finite)
    text = f"{count} logged values are NaN or infinite, first at {log.not_finite[0]}: a number overflowed"
    return [Reason(RED, f"{text} (half precision? try float32 or a lower learning rate)")]


def _start(log: TrainingLog) -> list[Reason]:
    reasons = []
    loss, step = log.training.get("loss"), log.training.get("step")
    if loss is not None and loss.size and loss[0] == 0:
        reasons.append(
            Reason(
                RED, "the first training loss is exactly 0: nothing was compared (half precision?)"
            )
        )
    elif (
        loss is not None
        and step is not None
        and step[0] <= 1
        and abs(loss[0] - math.log(2)) > _FIRST_LOSS_TOLERANCE
    ):
        reasons.append(
            Reason(
                RED,
                f"the first step's loss is {loss[0]:.4f}, not ln 2 = 0.6931: the policy did not "
                f"start at its reference "
                "(unless another loss than DPO's sigmoid was used)",
            )
        )
    if _has(log, "step", "rewards/chosen", "rewards/rejected"):
        step_0, chosen, rejected = log.require("step", "rewards/chosen", "rewards/rejected")
        if step_0[0] == 0 and max(abs(chosen[0]), abs(rejected[0])) > _FIRST_LOSS_TOLERANCE:
            text = f"rewards before the first step are {chosen[0]:+.3f} and {rejected[0]:+.3f} instead of 0"
            reasons.append(
                Reason(RED, f"{text}: the reference is another model than the starting point")
            )
    return reasons


def _movement(log: TrainingLog) -> list[Reason]:
    rate = log.training.get("learning_rate")
    if rate is not None and rate.size > 1 and np.all(rate[np.isfinite(rate)] == 0):
        return [Reason(RED, "the learning rate is 0 throughout")]
    if not _has(log, "rewards/chosen", "rewards/rejected"):
        return [
            Reason(
                AMBER,
                "there are no evaluation rows: margins on training pairs do not show what was "
                "learnt",
            )
        ]
    chosen, rejected = log.require("rewards/chosen", "rewards/rejected")
    if max(abs(chosen[-1]), abs(rejected[-1])) < _NO_MOVEMENT:
        return [
            Reason(
                RED,
                "the rewards stayed at 0: no parameter moved (frozen adapter, or far too low a "
                "rate)",
            )
        ]
    return []


def _sums(log: TrainingLog) -> list[Reason]:
    if not _has(log, "step", "rewards/chosen", "rewards/rejected", "rewards/margins"):
        return []
    chosen, rejected = log.require("rewards/chosen", "rewards/rejected")
    largest = float(max(np.abs(chosen).max(), np.abs(rejected).max()))
    check = margins_check(log, tolerance=ROUNDING + _BFLOAT16 * largest)
    if check.ok:
        return []
    text = f"margins are not chosen minus rejected in {len(check.steps_off)} of {check.n_rows} evaluations"
    return [Reason(RED, f"{text} (by up to {check.largest_gap:.3g}): columns are mixed up")]


def _ranking(log: TrainingLog) -> list[Reason]:
    reasons = []
    if _has(log, "rewards/margins"):
        (margins,) = log.require("rewards/margins")
        if _last_quarter(margins) <= 0:
            text = f"the mean margin is {_last_quarter(margins):.3f} in the last quarter: rejected answers are preferred"
            reasons.append(Reason(RED, f"{text} (chosen and rejected swapped?)"))
    if _has(log, "rewards/accuracies"):
        (accuracy,) = log.require("rewards/accuracies")
        last = _last_quarter(accuracy)
        mean_of_end = f"is {last:.2f} in the mean of the last quarter"
        best = max(float(part.mean()) for part in np.array_split(accuracy, min(4, accuracy.size)))
        if last <= 0.5:
            reasons.append(Reason(RED, f"the accuracy {mean_of_end}, no better than guessing"))
        elif last <= _BARELY_ABOVE_CHANCE:
            reasons.append(
                Reason(AMBER, f"the accuracy {mean_of_end}, hardly better than guessing")
            )
        elif last < best - _ACCURACY_FALL:
            text = (
                f"the accuracy fell from {best:.2f} to {last:.2f} (means over quarters of the run)"
            )
            reasons.append(Reason(AMBER, f"{text}: trained too long, or at too high a rate"))
        else:
            reasons.append(Reason(GREEN, f"the accuracy {mean_of_end} and did not fall on the way"))
    return reasons


def _losses(log: TrainingLog) -> list[Reason]:
    reasons = []
    if _has(log, "step", "loss"):
        found = overfitting(log)
        if found.rises:
            text = f"the evaluation loss rises from {found.best_loss:.3f} (step {found.best_step:g}) to "
            text += f"{found.last_loss:.3f}: surer of its mistakes, normal while the accuracy holds"
            reasons.append(Reason(GREEN, text))
    if all(name in log.training for name in ("loss", "epoch", "step")):
        for border in epoch_steps(log):
            if border.mean_after < 0.7 * border.mean_before:
                text = f"the training loss drops at the end of epoch {border.epoch} ({border.loss_before:.3f} to "
                text += f"{border.loss_after:.3f}): the pairs are being memorised, normal for several epochs"
                reasons.append(Reason(GREEN, text))
    return reasons


def _likelihoods(log: TrainingLog) -> list[Reason]:
    try:
        moved = displacement(log)
    except TrainingLogError:
        return []  # too few evaluations to know the reference; the other checks do not need it
    if not moved.displaced:
        return []
    text = f"the chosen answers became {-moved.chosen:.0f} nats less likely ({-moved.chosen_share:.0%}), the rejected "
    text += f"{-moved.rejected:.0f}"
    if moved.chosen_share < _DEEP_DISPLACEMENT:
        return [
            Reason(
                AMBER, f"{text}: far more than usual; read the model's answers, they may be broken"
            )
        ]
    return [
        Reason(
            GREEN,
            f"{text}: negative rewards are normal, the loss only asks for a distance between the "
            f"two",
        )
    ]


def _beta(log: TrainingLog, beta: float | None) -> list[Reason]:
    try:
        found = implied_beta(log)
    except TrainingLogError:
        return []
    reasons = []
    chosen, rejected = log.require("rewards/chosen", "rewards/rejected")
    span = float(max(np.ptp(chosen), np.ptp(rejected)))
    if found.largest_residual > 0.1 * span + ROUNDING:
        text = "rewards are not in line with the log-probabilities"
        reasons.append(
            Reason(AMBER, f"{text}: the reference or the evaluation set changed during the run")
        )
    elif beta is not None and abs(found.beta - beta) > 0.01 * beta + 3 * found.standard_error:
        reasons.append(
            Reason(RED, f"the log implies {found}, not {beta:g}: another setting was in force")
        )
    else:
        reasons.append(
            Reason(GREEN, f"rewards are beta times the log-ratio throughout, with {found}")
        )
    return reasons


def _resolution(log: TrainingLog) -> list[Reason]:
    if not _has(log, "rewards/accuracies"):
        return []
    n = accuracy_examples(log)
    (accuracy,) = log.require("rewards/accuracies")
    if n is None or n > 200:
        return []
    share = wilson_interval(round(accuracy[-1] * n), n)
    text = f"every accuracy is a multiple of 1/{n}: it was measured on {n} examples, so the last one, {accuracy[-1]:.2f}, may as well be "
    return [
        Reason(
            GREEN,
            f"{text}{share.low:.2f} or {share.high:.2f}; evaluate the whole split before comparing "
            f"runs",
        )
    ]
