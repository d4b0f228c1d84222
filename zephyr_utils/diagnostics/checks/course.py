"""The course of a run: its losses, and how it ranks pairs on the way and at the end."""

import math

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.diagnostics.findings import accuracy_examples, epoch_steps, overfitting
from zephyr_utils.diagnostics.log import TrainingLog
from zephyr_utils.diagnostics.log_columns import KINDS
from zephyr_utils.diagnostics.log_names import PAIR, LogKind
from zephyr_utils.diagnostics.reason import Reason
from zephyr_utils.diagnostics.run_type import (
    FEWEST_ROWS,
    LN_2,
    ROUNDING,
    first_values,
    largest_reward,
    reference_free_beta,
)
from zephyr_utils.evaluation.intervals import wilson_interval

# A margin below which no loss is exactly 0: even the hinge needs 1.
_HINGE_MARGIN = 1.0
# A training loss that ends a quarter above its start has diverged; no loss is noisier than that in
# the mean of a quarter of a run.
_DIVERGED = 1.25
_SPIKE = 10.0
# Norms are logged with six digits or more; five different ones are not on a grid by chance.
_PRINTED, _FEWEST_NORMS = 5e-6, 5
_EVALUATION_RISE = 2.0
# An accuracy within this of one half is not clearly better than guessing on a few hundred pairs.
_BARELY_ABOVE_CHANCE = 0.55
# No run that learns ranks so few pairs of so many batches rightly, in the mean of the last quarter.
_FEWEST_BATCHES, _BELOW_CHANCE = 20, 0.4
# A mean margin of fewer pairs may lie below 0 by chance in a run that has just begun to learn.
_FEWEST_PAIRS = 10
_FEW_BATCHES = "one or two batches, too few to tell"
# A fall of the mean accuracy that 64 examples cannot explain over a quarter of a run.
_ACCURACY_FALL = 0.05


def check_course(log: TrainingLog) -> list[Reason]:
    """What losses, margins and accuracies do during the run."""
    return [
        *_zero_losses(log),
        *_negative_losses(log),
        *_divergence(log),
        *_ranking(log),
        *_losses(log),
    ]


def _last_quarter(values: NDArray[np.float64]) -> float:
    return float(values[-max(1, values.size // 4) :].mean())


def _zero_losses(log: TrainingLog) -> list[Reason]:
    if not log.has("loss", kind="training"):
        return []
    loss = log.training["loss"]
    margin = log.training.get("rewards/margins", np.full(loss.size, math.nan))
    zero = np.flatnonzero(loss == 0)
    impossible = [i for i in zero if margin[i] < _HINGE_MARGIN or (i == 0 and np.isnan(margin[i]))]
    if not impossible:
        return []
    text = f"the training loss is exactly 0 in {len(impossible)} rows"
    if impossible[0] == 0:
        text = "the first training loss is exactly 0"
    text += ", at margins that cannot make it so: nothing was compared (half precision, or every "
    return [Reason("red", text + "token of the answers masked?)")]


def _negative_losses(log: TrainingLog) -> list[Reason]:
    lowest = [
        log.require("loss", kind=kind)[0].min() for kind in KINDS if log.has("loss", kind=kind)
    ]
    if not lowest or min(lowest) >= 0:
        return []
    text = f"the loss falls to {min(lowest):.3g}: below 0, "
    first = first_values(log, "loss")
    if first is not None and abs(first[0] - LN_2) < 0.05:
        return [Reason("green", text + "as robust DPO's can (label_smoothing), and no other loss")]
    return [Reason("amber", text + "which only robust DPO's can be, and that begins at ln 2")]


def _divergence(log: TrainingLog) -> list[Reason]:
    """Finite losses of a run that broke down."""
    if not log.has("loss", kind="training"):
        return []
    names = ("step", "loss") if log.has("step", "loss", kind="training") else ("loss", "loss")
    step, loss = log.require(*names, kind="training")
    start = _starting_loss(log)
    if loss.size < 4 or start is None:
        return []
    end, peak = _last_quarter(loss), int(loss.argmax())
    if end > _DIVERGED * start:
        text = f"the training loss ends at {end:.4g} (mean of the last quarter), above the "
        text += f"{start:.4g} it began with: the run diverged; "
        if _float16_gradients(log):
            text += "its gradients were in float16 (each norm is a number of float16), where the "
            text += "squares that AdamW keeps vanish: use float32 or bfloat16"
            return [Reason("red", text)]
        return [Reason("red", text + "lower the learning rate")]
    if loss[peak] > _SPIKE * start:
        text = (
            f"the training loss jumps to {loss[peak]:.4g} at step {step[peak]:g} ({start:.4g} at "
        )
        return [Reason("amber", text + "the start): the learning rate may be too high")]
    return []


def _float16_gradients(log: TrainingLog) -> bool:
    """Whether every gradient norm is a number that float16 has, and not all are bfloat16's."""
    if not log.has("grad_norm", kind="training"):
        return False
    norms = np.unique(log.require("grad_norm", kind="training")[0])
    with np.errstate(over="ignore"):
        half = norms.astype(np.float16).astype(np.float64)
    fraction, exponent = np.frexp(norms)
    coarse = np.ldexp(np.round(fraction * 2**8), exponent - 8)  # eight bits, as in bfloat16
    on_grid = [np.abs(grid - norms) <= _PRINTED * norms for grid in (half, coarse)]
    return norms.size >= _FEWEST_NORMS and bool(on_grid[0].all()) and not bool(on_grid[1].all())


def _starting_loss(log: TrainingLog) -> float | None:
    """The training loss that a run began with: that of the first step where it was logged, as all
    pairs have the same loss there, and else the typical one of the first quarter; None if not
    above 0.
    """
    first = None if reference_free_beta(log) is not None else first_values(log, "loss")
    (loss,) = log.require("loss", kind="training")
    typical = max(float(loss[0]), float(np.median(loss[: max(1, loss.size // 4)])))
    start = typical if first is None else float(first[0])
    return start if start > 0 else None


def _ranking(log: TrainingLog) -> list[Reason]:
    """Whether chosen answers are ranked above rejected ones, on held-out pairs where there are."""
    kind: LogKind = "evaluation"
    if not log.has("rewards/margins") and not log.has("rewards/accuracies"):
        kind = "training"
    if log.has(*PAIR, kind=kind) and largest_reward(log, kind) < ROUNDING:
        return []  # nothing moved, which `_movement` says; ties count as wrong
    reasons = []
    margins = _after_start(log, "rewards/margins", kind)
    if margins.size and (mean := _last_quarter(margins)) <= 0:
        n = accuracy_examples(log) if kind == "evaluation" else None
        text = f"the mean margin is {mean:.3f} in the last quarter"
        if n is not None and n < _FEWEST_PAIRS:
            reasons.append(Reason("amber", f"{text}, on {n} examples: too few to tell"))
        elif _is_short(kind, margins):
            reasons.append(Reason("amber", f"{text} of the training rows: {_FEW_BATCHES}"))
        else:
            reasons.append(Reason("red", _swapped(log, kind, mean)))
    elif margins.size and kind == "evaluation":
        reasons += _against_training_pairs(log, mean)
    accuracy = _after_start(log, "rewards/accuracies", kind)
    if accuracy.size:
        reasons.append(_accuracy(log, accuracy, kind))
    elif log.has("rewards/accuracies", kind=kind):
        reasons.append(Reason("amber", "no accuracy was measured after the first step"))
    return reasons


def _against_training_pairs(log: TrainingLog, mean: float) -> list[Reason]:
    """A run that ranks held-out pairs rightly and its own training pairs wrongly."""
    margins = _after_start(log, "rewards/margins", "training")
    accuracy = _after_start(log, "rewards/accuracies", "training")
    if min(margins.size, accuracy.size) < _FEWEST_BATCHES:
        return []
    last, right = _last_quarter(margins), _last_quarter(accuracy)
    if last >= 0 or right >= _BELOW_CHANCE:
        return []
    text = f"the mean margin is {last:.3f} in the last quarter of the training rows (accuracy "
    text += f"{right:.2f}), and {mean:+.3f} on held-out pairs: chosen and rejected are swapped in "
    return [Reason("red", text + "one of the two sets, or in the columns")]


def _after_start(log: TrainingLog, name: str, kind: LogKind) -> NDArray[np.float64]:
    """A column without the rows before the first step, where all margins are 0."""
    if not log.has(name, kind=kind):
        return np.empty(0)
    if not log.has("step", name, kind=kind):
        return log.require(name, kind=kind)[0]
    step, values = log.require("step", name, kind=kind)
    return values[step > (0 if kind == "evaluation" else 1)]


def _swapped(log: TrainingLog, kind: LogKind, mean: float) -> str:
    text = (
        f"the mean margin is {mean:.3f} in the last quarter of the {kind} rows: rejected answers "
    )
    text += "are preferred"
    training = _after_start(log, "rewards/margins", "training")
    if kind == "evaluation" and training.size:
        if _last_quarter(training) > 0:
            return (
                f"{text}, while margins on training pairs rise to {_last_quarter(training):+.3f}: "
                "chosen and rejected are swapped in one of the two sets"
            )
        if any(reason.colour == "red" for reason in _divergence(log)):
            return f"{text}, on training pairs as well, as the run diverged"
        text += ", on training pairs as well"
    return f"{text}: chosen and rejected are swapped, in the data after training or in the columns"


def _accuracy(log: TrainingLog, accuracy: NDArray[np.float64], kind: LogKind) -> Reason:
    last = _last_quarter(accuracy)
    what = "the accuracy" if kind == "evaluation" else "the training accuracy"
    text = f"{what} is {last:.2f} in the mean of the last quarter"
    best = max(float(part.mean()) for part in np.array_split(accuracy, min(4, accuracy.size)))
    if last <= 0.5 and _is_short(kind, accuracy):
        return Reason("amber", f"{text}: {_FEW_BATCHES}")
    if last <= 0.5:
        n = accuracy_examples(log) if kind == "evaluation" else None
        if n is not None and last >= 0 and wilson_interval(round(last * n), n).high > 0.55:
            text = f"{text}, on {n} examples: too few to tell it from guessing or from learning"
            return Reason("amber", text)
        return Reason("red", f"{text}, no better than guessing")
    if last <= _BARELY_ABOVE_CHANCE:
        return Reason("amber", f"{text}, hardly better than guessing")
    if last < best - _ACCURACY_FALL:
        text = f"{what} fell from {best:.2f} to {last:.2f} (means over quarters of the run)"
        return Reason("amber", f"{text}: trained too long, or at too high a learning rate")
    if accuracy.size < FEWEST_ROWS:
        return Reason("green", text)
    return Reason("green", f"{text} and did not fall on the way")


def _is_short(kind: LogKind, values: NDArray[np.float64]) -> bool:
    """Whether so few batches were logged that chance explains whatever they show."""
    return kind == "training" and values.size < FEWEST_ROWS


def _losses(log: TrainingLog) -> list[Reason]:
    reasons = []
    if log.has("step", "loss"):
        course = overfitting(log)
        first = float(log.require("step", "loss")[1][0])
        text = f"the evaluation loss rises from {course.best_loss:.3f} (step {course.best_step:g}) "
        text += f"to {course.last_loss:.3f}: "
        if first > 0 and course.last_loss > _EVALUATION_RISE * first:
            text += f"more than twice the first one, {first:.3f}; trained too long, or at too high "
            reasons.append(Reason("amber", text + "a learning rate"))
        elif course.rises:
            text += "surer of its mistakes, normal while the accuracy holds"
            reasons.append(Reason("green", text))
    if log.has("loss", "epoch", "step", kind="training"):
        for border in epoch_steps(log):
            if border.mean_after < 0.7 * border.mean_before:
                text = f"the training loss drops at the end of epoch {border.epoch} "
                text += f"({border.loss_before:.3f} to {border.loss_after:.3f}): the pairs are "
                text += "being memorised, normal for several epochs"
                reasons.append(Reason("green", text))
    return reasons
