"""The start of a run and its movement: did the policy begin at its reference, and leave it?"""

import numpy as np

from zephyr_utils.diagnostics.findings import implied_beta
from zephyr_utils.diagnostics.log import TrainingLog
from zephyr_utils.diagnostics.log_columns import TrainingLogError, message_text
from zephyr_utils.diagnostics.log_names import PAIR, LogKind
from zephyr_utils.diagnostics.reason import Reason
from zephyr_utils.diagnostics.run_type import (
    LN_2,
    ROUNDING,
    first_values,
    is_sigmoid,
    largest_reward,
    reference_free_beta,
)

# First losses of TRL's loss types other than the sigmoid, at equal policy and reference.
_LOSS_STARTS = {
    "KTO": 0.5,
    "hinge": 1.0,
    "APO": 1.0,
    "BCO": 2 * LN_2,
    "NCA": 2 * LN_2,
    "DiscoPOP": (LN_2 + 1) / 2,
}
# What bfloat16 log-probabilities leave open of the first rewards and of the first loss.
_START_TOLERANCE = 0.05
_START_TOLERANCE_NATS = 0.5
# A mean offset above this is more than rounding usually leaves; in the miniature a doubled BOS that
# the policy alone reads makes 0.25.
_NOTICEABLE_NATS = 0.15
# In the miniature, a reference of the base model is off by 45 to 50 nats per answer, one that reads
# another template by 6 to 8.
_MANY_NATS = 15
# Rewards this large in a log's first rows, early in the run, are not a slow beginning.
_LARGE_EARLY_REWARD = 1.0
_EARLY = 0.05  # of the run
# Rewards below this at the end of a run mean that the policy hardly left its reference.
_LITTLE_MOVEMENT = 0.01
_NO_MOVEMENT = 0.002
_SMALLEST_BETA_INVERSE = 1000
# A loss that stays this close to ln 2 was not trained on.
_CONSTANT_LOSS = 5e-4


def check_start(log: TrainingLog) -> list[Reason]:
    """Whether the policy began at its reference and was trained."""
    return [*_start(log), *_reward_model(log), *_movement(log)]


def _reward_model(log: TrainingLog) -> list[Reason]:
    """Columns that a reward model's trainer writes too, where nothing shows which run this was: a
    policy's rewards are 0 before the first step, a reward model's scores are not.
    """
    offsets = first_values(log, *PAIR)
    if not log.shared_names or (offsets and max(map(abs, offsets)) <= _START_TOLERANCE):
        return []
    names = message_text(", ".join(log.shared_names))
    text = f"{names} may be the scores of a reward model, as its trainer writes the same columns"
    if offsets is None:
        text += ", and the log does not begin before the first step"
    return [Reason("amber", f"{text}: if it is one, nothing here applies")]


def _start(log: TrainingLog) -> list[Reason]:
    """Whether the policy began at its reference: by the rewards if they were logged before the
    first step, otherwise by the loss, which is ln 2 then for the sigmoid alone.
    """
    if reference_free_beta(log) is not None:
        return []
    first_loss = first_values(log, "loss")
    offsets = first_values(log, *PAIR)
    loss = None if first_loss is None else first_loss[0]
    is_ln_2 = loss is None or abs(loss - LN_2) <= _START_TOLERANCE
    if offsets is not None:
        chosen, rejected = offsets
        beta = _fitted_beta(log)
        tolerance = _START_TOLERANCE if beta is None else _START_TOLERANCE_NATS * beta
        if max(abs(chosen), abs(rejected)) > tolerance:
            return [_wrong_start(log, chosen, rejected, beta)]
        if beta is not None and max(abs(chosen), abs(rejected)) > _NOTICEABLE_NATS * beta:
            text = f"rewards before the first step are {chosen:+.3f} and {rejected:+.3f}, that is "
            text += f"{chosen / beta:+.2f} and {rejected / beta:+.2f} nats per answer, where 0 was "
            text += "to be expected: half precision, or policy and reference read the texts in "
            return [Reason("amber", text + "slightly different ways (a doubled BOS)")]
        text = "rewards are 0 before the first step: the policy began at its reference"
        if loss is not None and not is_ln_2:
            text += f"; a first loss of {loss:.4g} is {_loss_names(loss, beta)}"
        return [Reason("green", text)]
    if is_ln_2:
        return _early_rewards(log)
    text = f"the first loss is {loss:.4f}, not ln 2 = 0.6931"
    if is_sigmoid(log):
        text += ", while later rows have the sigmoid's loss: the policy did not begin at its "
        return [Reason("red", text + "reference")]
    text += ", and no rewards were logged before the first step: another loss than DPO's sigmoid "
    return [Reason("amber", text + "was used, or the policy did not begin at its reference")]


def _loss_names(loss: float, beta: float | None) -> str:
    """Whose loss begins at this value when policy and reference agree."""
    starts = _LOSS_STARTS | (
        {} if beta is None else {"IPO": 1 / (4 * beta**2), "SPPO": 1 / (2 * beta**2)}
    )
    names = [name for name, start in starts.items() if abs(loss - start) < 0.01 * start]
    if names:
        return f"that of {' or '.join(names)}, not the sigmoid's ln 2"
    text = "not the sigmoid's ln 2: another loss, one with a further term, or a sum over "
    return text + "accumulation steps"


def _fitted_beta(log: TrainingLog) -> float | None:
    """Beta by regression where the rewards follow the log-probabilities closely, else None."""
    try:
        fit = implied_beta(log)
    except TrainingLogError:
        return None
    chosen, rejected = log.require(*PAIR)
    span = float(max(np.ptp(chosen), np.ptp(rejected)))
    is_line = span > 10 * ROUNDING and fit.largest_residual < 0.02 * span + ROUNDING
    return fit.beta if is_line and fit.beta > 0 else None


def _wrong_start(log: TrainingLog, chosen: float, rejected: float, beta: float | None) -> Reason:
    """Rewards that do not begin at 0, and why: a text that is tokenised in another way costs a few
    nats, however long the answer is; another model costs tens.
    """
    text = f"rewards before the first step are {chosen:+.3f} and {rejected:+.3f} instead of 0"
    has_nll = any("nll_loss" in part for part in (log.training, log.evaluation))
    if has_nll and beta is None:
        text += ": the reference is another model than the starting point, or there is none "
        return Reason("amber", text + "(nll_loss is logged, as by AlphaPO and by DPO with SFT)")
    other_model = "the reference is another model than the starting point"
    other_text = "policy and reference read the texts in different ways (a doubled BOS, another "
    other_text += "chat template or truncation)"
    if beta is None:
        return Reason("red", f"{text}: {other_model}, or {other_text}")
    nats = chosen / beta, rejected / beta
    text += f", that is {nats[0]:+.3g} and {nats[1]:+.3g} nats per answer: "
    if max(map(abs, nats)) > _MANY_NATS:
        return Reason("red", text + other_model)
    return Reason("red", f"{text}{other_text}, or {other_model}")


def _early_rewards(log: TrainingLog) -> list[Reason]:
    for kind in ("training", "evaluation"):
        if not log.has("step", *PAIR, kind=kind):
            continue
        step, chosen, rejected = log.require("step", *PAIR, kind=kind)
        size = np.maximum(np.abs(chosen), np.abs(rejected))
        is_early = step.size > 2 and step[0] <= _EARLY * step[-1]
        if is_early and size[0] > max(_LARGE_EARLY_REWARD, size.max() / 2):
            text = f"rewards are already {chosen[0]:+.2f} and {rejected[0]:+.2f} at step "
            text += f"{step[0]:g}, where the log begins: a wrong reference, or too high a learning "
            text += "rate (eval_on_start: true would tell)"
            return [Reason("amber", text)]
    return []


def _movement(log: TrainingLog) -> list[Reason]:
    """Whether anything was trained."""
    if log.has("learning_rate", kind="training"):
        (rate,) = log.require("learning_rate", kind="training")
        if rate.size > 1 and not rate.any():
            return [Reason("red", "the learning rate is 0 throughout")]
    kind: LogKind = "evaluation" if log.has(*PAIR) else "training"
    reasons = []
    if log.has("step", *PAIR, kind=kind) and reference_free_beta(log) is None:
        reasons = _reward_movement(log, kind)
    return reasons or _constant_loss(log)


def _reward_movement(log: TrainingLog, kind: LogKind) -> list[Reason]:
    size = largest_reward(log, kind)
    if size >= _LITTLE_MOVEMENT:
        return []
    if log.require("step", *PAIR, kind=kind)[0].max() <= 1:
        return [Reason("amber", "nothing was logged after the first step")]
    moved = _nats_moved(log)
    if moved > _SMALLEST_BETA_INVERSE * max(size, ROUNDING):
        where = f"within {size:.2g} of 0" if size else "at 0"
        text = f"the rewards stay {where} while log-probabilities move by {moved:.2g} nats: beta "
        text += "is 0 or nearly so, or policy and reference are one model that is trained"
        return [Reason("red", text)]
    if moved > 1:
        return []
    if size < _NO_MOVEMENT:
        text = "the rewards stayed at 0: no parameter moved (a frozen adapter, beta 0, or far too "
        return [Reason("red", text + "low a learning rate)")]
    text = f"the rewards stayed within {size:.2g} of 0: hardly anything was learned (too few "
    return [Reason("amber", text + "steps, too low a learning rate, or a very small beta)")]


def _nats_moved(log: TrainingLog) -> float:
    """By how much the mean log-probabilities of the evaluation's answers changed; 0 if unknown."""
    if not log.has("logps/chosen", "logps/rejected"):
        return 0.0
    return float(max(np.ptp(values) for values in log.require("logps/chosen", "logps/rejected")))


def _constant_loss(log: TrainingLog) -> list[Reason]:
    if not log.has("loss", kind="training"):
        return []
    (loss,) = log.require("loss", kind="training")
    if loss.size > 2 and np.ptp(loss) < 1e-6 and loss[0] != 0:
        text = f"the training loss is {loss[0]:.4f} in all {loss.size} rows: nothing is learned"
        return [Reason("red", text)]
    if loss.size > 2 and np.abs(loss - LN_2).max() < _CONSTANT_LOSS and _nats_moved(log) <= 1:
        text = "the training loss stays at ln 2 = 0.6931 from the first row to the last: the "
        return [Reason("red", text + "policy stays at its reference, nothing is learned")]
    return []
