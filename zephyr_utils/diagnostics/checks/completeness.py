"""The checks of the log itself: whether it is whole, and whether its numbers can be true together.

A log with gaps is never green: what is missing may be what went wrong.
"""

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.diagnostics.findings import margins_check
from zephyr_utils.diagnostics.log import TrainingLog
from zephyr_utils.diagnostics.log_columns import KINDS
from zephyr_utils.diagnostics.log_names import PAIR, LogKind
from zephyr_utils.diagnostics.reason import Reason
from zephyr_utils.diagnostics.run_type import (
    BFLOAT16,
    FEWEST_ROWS,
    ROUNDING,
    first_values,
    is_unpaired,
)

# A run this far from its planned end was not finished.
_FINISHED = 0.9
# A distance between steps that is this many times the usual one is a hole in the log, if it also
# is a good part of the run (samplers and restarts of a logger leave smaller ones).
_HOLE = 4
_HOLE_SHARE = 0.1
_RANKS = (*PAIR, "rewards/margins", "rewards/accuracies")


def check_completeness(log: TrainingLog) -> list[Reason]:
    """What is missing in a log, and which of its numbers contradict each other."""
    return [
        *_not_finite(log),
        *[Reason("amber", text) for text in log.warnings],
        *_length(log),
        *_missing_columns(log),
        *_coverage(log),
        *_evaluation_coverage(log),
        *(reason for kind in KINDS for reason in _contradictions(log, kind)),
    ]


def _not_finite(log: TrainingLog) -> list[Reason]:
    if not log.not_finite:
        return []
    text = f"{len(log.not_finite)} logged values are not finite numbers, the first at "
    text += f"{log.not_finite[0]}: the run diverged or a number overflowed (NaN is often stored as "
    return [Reason("red", text + "null); try float32 or bfloat16, or a lower learning rate")]


def _length(log: TrainingLog) -> list[Reason]:
    """What a log of one or two moments leaves open, and what it shows."""
    columns = [part[name] for part in map(log.rows, KINDS) for name in _RANKS if name in part]
    n = max((int(np.isfinite(values).sum()) for values in columns), default=0)
    if n >= FEWEST_ROWS:
        return []
    text = f"only {n} row{'s' if n > 1 else ''} with rewards or accuracies: too short a log to see "
    text += "a course in (a divergence, a fall, overfitting), beta, or how the run ended; judged "
    text += "are its numbers there and whether they agree"
    start = first_values(log, *PAIR) is not None
    text += ", and the start" if start else "; whether the policy began at its reference is not"
    return [Reason("amber", text)]


def _missing_columns(log: TrainingLog) -> list[Reason]:
    reasons = []
    if not log.has("loss", kind="training"):
        text = "there is no training loss: neither its start nor a divergence can be seen"
        reasons.append(Reason("amber", text))
    kind: LogKind = "evaluation" if log.has("rewards/margins") or log.has(*PAIR) else "training"
    if kind == "training":
        text = "there are no evaluation rows with rewards: margins on training pairs do not show "
        reasons.append(Reason("amber", text + "what was learned"))
    wanted = [*PAIR, "rewards/margins", "logps/chosen", "logps/rejected"]
    wanted += [] if is_unpaired(log) else ["rewards/accuracies"]
    wanted += ["loss"] if kind == "evaluation" else []
    if missing := [name for name in wanted if not log.has(name, kind=kind)]:
        text = f"the {kind} rows have no {', '.join(missing)}: what they show was not checked"
        if missing == ["rewards/accuracies"]:
            text += " (for KTO that is normal, but its logs have a column kl)"
        elif {*PAIR, "rewards/margins"} <= {*missing}:
            text += " (LLaMA-Factory writes them into trainer_state.json beside trainer_log.jsonl)"
        reasons.append(Reason("amber", text))
    return reasons


def _steps(log: TrainingLog, kind: LogKind) -> NDArray[np.float64]:
    steps = log.rows(kind).get("step", np.empty(0))
    return np.unique(steps[np.isfinite(steps)])


def _coverage(log: TrainingLog) -> list[Reason]:
    """Whether the log begins at the beginning, ends at the end and has no hole."""
    steps = np.union1d(_steps(log, "training"), _steps(log, "evaluation"))
    if steps.size == 0:
        text = "the rows have no step: whether the log is whole cannot be seen"
        return [Reason("amber", text)]
    reasons = []
    first, last = float(steps[0]), float(steps[-1])
    if last < _FINISHED * log.planned_steps:
        text = f"the log ends at step {last:g} of {log.planned_steps:g}: the run was not finished"
        reasons.append(Reason("amber", f"{text}, or the log is cut short"))
    if last > log.planned_steps:
        text = f"the log goes on to step {last:g}, though {log.planned_steps:g} were planned"
        reasons.append(Reason("amber", f"{text}: rows of several runs, or another run's plan"))
    if steps.size < 3:
        return reasons
    spacing = float(np.median(np.diff(steps)))
    if first > 1.5 * spacing:
        text = f"the log begins at step {first:g} though it has a row every {spacing:g} steps"
        reasons.append(Reason("amber", f"{text}: its beginning is missing"))
    gaps = np.diff(steps)
    widest = int(gaps.argmax())
    if gaps[widest] > _HOLE * spacing and gaps[widest] > _HOLE_SHARE * (last - first):
        text = f"nothing was logged between step {steps[widest]:g} and {steps[widest + 1]:g}"
        reasons.append(Reason("amber", f"{text}: rows are missing"))
    return reasons


def _evaluation_coverage(log: TrainingLog) -> list[Reason]:
    """Whether evaluations go on to the end of the training."""
    if not (log.has("step", "rewards/margins") or log.has("step", *PAIR)):
        return []
    names = ("rewards/margins",) if log.has("step", "rewards/margins") else PAIR
    evaluated = np.unique(log.require("step", *names)[0])
    if evaluated.size == 1:
        text = f"there is a single evaluation, at step {evaluated[0]:g}: no course can be seen"
        return [Reason("amber", text)]
    trained = _steps(log, "training")
    last = float(evaluated[-1])
    if trained.size and trained[-1] - last > 2 * float(np.median(np.diff(evaluated))):
        text = f"the evaluations end at step {last:g}, the training rows at {trained[-1]:g}"
        return [Reason("amber", f"{text}: how the run ended is not known")]
    return []


def _contradictions(log: TrainingLog, kind: LogKind) -> list[Reason]:
    """Numbers of one kind of rows that cannot be true together."""
    reasons = []
    if log.has("step", *PAIR, "rewards/margins", kind=kind) and not is_unpaired(log):
        chosen, rejected = log.require(*PAIR, kind=kind)
        largest = float(max(np.abs(chosen).max(), np.abs(rejected).max()))
        check = margins_check(log, tolerance=ROUNDING + BFLOAT16 * largest, kind=kind)
        if not check.ok:
            text = f"margins are not chosen minus rejected in {len(check.steps_off)} of "
            text += f"{check.n_rows} {kind} rows (by up to {check.largest_gap:.3g}, first at step "
            text += f"{check.steps_off[0]:g}): columns are mixed up, or come from several runs"
            reasons.append(Reason("red", text))
    if log.has("rewards/accuracies", kind=kind):
        (accuracy,) = log.require("rewards/accuracies", kind=kind)
        low, high = float(accuracy.min()), float(accuracy.max())
        if low < -1e-6 or high > 1 + 1e-6:
            text = f"accuracies of {kind} rows reach from {low:g} to {high:g}, outside 0 to 1"
            reasons.append(Reason("red", f"{text}: percentages, or another column"))
        elif log.has("rewards/accuracies", "rewards/margins", kind=kind):
            reasons += _accuracy_against_margin(log, kind)
    for name in ("logps/chosen", "logps/rejected"):
        if log.has(name, kind=kind) and (top := log.require(name, kind=kind)[0].max()) > ROUNDING:
            text = f"{kind} {name} reaches {top:g}: a log-probability cannot be above 0"
            reasons.append(Reason("red", f"{text} (losses or positive scores in its place?)"))
    if log.has("learning_rate", kind=kind):
        (rate,) = log.require("learning_rate", kind=kind)
        if (low := float(rate.min())) < 0:
            text = f"the learning rate is {low:g} in a {kind} row, and it cannot be below 0"
            reasons.append(Reason("red", f"{text}: another column in its place?"))
    return reasons


def _accuracy_against_margin(log: TrainingLog, kind: LogKind) -> list[Reason]:
    accuracy, margin = log.require("rewards/accuracies", "rewards/margins", kind=kind)
    impossible = ((accuracy >= 1) & (margin < -ROUNDING)) | ((accuracy <= 0) & (margin > ROUNDING))
    if not impossible.any():
        return []
    i = int(np.flatnonzero(impossible)[0])
    text = (
        f"in {int(impossible.sum())} {kind} rows accuracy and margin contradict each other (first "
    )
    text += f"{accuracy[i]:g} and {margin[i]:+.3g}): the accuracy is the share of margins above 0"
    return [Reason("red", text)]
