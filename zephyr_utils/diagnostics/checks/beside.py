"""The check that needs a second log: the same model on the same held-out pairs, from a run known to
be healthy.

Before the first step, log-probabilities depend on the model, the text and which of its tokens
count, and on nothing else. So they show what policy and reference share, which no single log can: a
template, a doubled BOS, a mask that is off, pairs swapped throughout.
"""

from zephyr_utils.diagnostics.log import TrainingLog
from zephyr_utils.diagnostics.reason import Reason

# What half precision and another batch leave open, on sums of a few and of many nats.
_TOLERANCE_NATS, _TOLERANCE_SHARE = 0.2, 0.01
_LOGPS = ("logps/chosen", "logps/rejected")


def check_beside(log: TrainingLog, healthy: TrainingLog) -> list[Reason]:
    """Compare the log-probabilities before the first step with those of a healthy run."""
    own, known = _at_the_start(log), _at_the_start(healthy)
    if own is None or known is None:
        which = log if own is None else healthy
        text = f"{which.source} has no log-probabilities from before the first step, so the two "
        return [Reason("amber", text + "logs cannot be compared (eval_on_start: true logs them)")]
    apart = [a - b for a, b in zip(own, known, strict=True)]
    tolerance = max(_TOLERANCE_NATS, _TOLERANCE_SHARE * max(map(abs, known)))
    if max(map(abs, apart)) <= tolerance:
        text = "log-probabilities before the first step are those of the healthy run: the same "
        return [Reason("green", text + "model, read from the same tokens")]
    text = f"log-probabilities before the first step are {own[0]:.4g} and {own[1]:.4g} nats, in "
    text += f"the healthy run {known[0]:.4g} and {known[1]:.4g}: "
    swapped = max(abs(own[0] - known[1]), abs(own[1] - known[0])) <= tolerance
    if swapped:
        return [Reason("red", text + "chosen and rejected are swapped, held-out pairs included")]
    if abs(apart[0] - apart[1]) <= tolerance:
        text += f"both answers differ by {apart[0]:+.3g}, so what they share counts as part of "
        return [Reason("red", text + "both, the prompt: its mask is off")]
    text += "the same pairs are read as another text (chat template, a doubled BOS, truncation), or"
    return [Reason("red", text + " by another model")]


def _at_the_start(log: TrainingLog) -> list[float] | None:
    """The evaluation's log-probabilities at step 0; training rows are of other pairs every time."""
    if not log.has("step", *_LOGPS):
        return None
    step, *values = log.require("step", *_LOGPS)
    return [float(value[0]) for value in values] if step[0] == 0 else None
