"""What kind of run wrote a log: a preference run or another, with a reference model or without,
with the sigmoid loss or another.
"""

import math

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.diagnostics.log import TrainingLog
from zephyr_utils.diagnostics.log_columns import TrainingLogError, is_core
from zephyr_utils.diagnostics.log_names import PAIR, LogKind

LN_2 = math.log(2)
# Two points have no course, and chance explains what two batches show.
FEWEST_ROWS = 3

# Columns that only one method's trainers write (TRL, and what it shares with LLaMA-Factory and
# ms-swift), the most telling first. A preference run has none of them without a pair of rewards.
_REWARD_MODEL = "the training of a reward model"
_OTHER_METHODS = (
    (("reward_std", "frac_reward_zero_std", "clip_ratio"), "a GRPO or RLOO run"),
    (("completions/mean_length", "completion_length"), "a run on its own samples, such as GRPO"),
    (("objective/rlhf_reward", "objective/scores", "policy/approxkl_avg"), "a PPO or RLOO run"),
    (("mean_reward", "max_reward", "center_rewards"), _REWARD_MODEL),
    (("mean_token_accuracy",), "supervised fine-tuning"),
)
_ODDS_RATIO = ("log_odds_ratio", "log_odds_chosen", "odds_ratio_loss")
# Three figures rounded to four decimals can disagree by one and a half units of the last place.
ROUNDING = 2e-4
# A mean over bfloat16 numbers may be off by half a unit in their eighth bit.
BFLOAT16 = 2.0**-8
# A loss this close to what the sigmoid gives for a small margin is the sigmoid's: the spread of
# the margins adds a little.
_SIGMOID_RANGE = (-0.03, 0.08)
_SMALL_MARGIN = 0.3


def check_preference_log(log: TrainingLog) -> None:
    """Refuse the log of a run that compared no pairs, for the true reason.

    Raises:
        TrainingLogError: it has neither margins, nor rewards of both sides, nor their accuracy, or
            one of these curves and nothing beside it.
    """
    names = {*log.training, *log.evaluation}
    if {"reward_mean", "reward_std"} <= log.evaluation.keys():  # OpenRLHF's reward model trainer
        raise TrainingLogError(
            f"this is the log of {_REWARD_MODEL}, not of a preference run: its evaluations have "
            "reward_mean and reward_std, of scores and not of log-ratios",
            where=log.source,
            remedy="give the log of the run that trained the policy.",
        )
    has_pair = set(PAIR) <= names or "rewards/margins" in names
    curves = [name for name in names if is_core(name)]
    if has_pair and len(curves) == 1:
        raise TrainingLogError(
            f"it holds one curve, {curves[0]}, and a run cannot be judged by that (a panel of "
            "Weights & Biases exports the curves it shows, no others)",
            where=log.source,
            remedy="export the run's whole history, or give its trainer_state.json.",
        )
    if has_pair or ("rewards/accuracies" in names and "reward_std" not in names):
        return
    rewards = sorted(name for name in names if name.startswith("rewards/"))
    method = next(
        (
            text
            for marks, text in _OTHER_METHODS
            if any(name.startswith(mark) for mark in marks for name in names)
        ),
        "",
    )
    if method:
        what = f"this is the log of {method}, not of a preference run"
        if rewards:
            what += f": {', '.join(rewards[:3])} are rewards of single answers, not of pairs"
    elif rewards:
        what = (
            f"it has {', '.join(rewards[:5])} and lacks the other answer of the pair, so nothing "
        )
        what += "can be compared: it is not the whole log of a preference run"
    else:
        what = "it has losses and no rewards, so it is not the log of a preference run"
    raise TrainingLogError(
        what,
        where=log.source,
        remedy="give the log of the dDPO stage, with rewards/chosen and rewards/rejected "
        "(trainer_state.json has them all).",
    )


def is_unpaired(log: TrainingLog) -> bool:
    """Whether the answers were not compared in pairs (KTO, BCO): no accuracy is logged then, and
    margins are not the difference of the logged rewards where batches lack one side.
    """
    return any(name in part for part in (log.training, log.evaluation) for name in ("kl", "delta"))


def reference_free_beta(log: TrainingLog) -> float | None:
    """The beta of a run without a reference model (ORPO, CPO, SimPO, TPO); None for all others.

    Such a run logs ``rewards = beta * logps``, exactly and in every row, training rows included. A
    run with a reference cannot do so: its rewards begin at 0 where its log-probabilities do not.
    """
    x, y = _all_rows(log, ("logps/chosen", "logps/rejected"), PAIR)
    marked = any(name in part for part in (log.training, log.evaluation) for name in _ODDS_RATIO)
    if x.size < (2 if marked else 6) or float(x @ x) == 0:
        return None
    beta = float(x @ y) / float(x @ x)
    largest = float(np.abs(y).max())
    # Both columns may be rounded or bfloat16.
    tolerance = ROUNDING + (4 * BFLOAT16) * largest
    fits = bool(np.all(np.abs(y - beta * x) <= tolerance))
    return beta if fits and beta > 0 and largest > 10 * ROUNDING else None


def _all_rows(
    log: TrainingLog, x_names: tuple[str, ...], y_names: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pairs of columns, joined over both kinds of rows, where all of them are finite."""
    x: list[NDArray[np.float64]] = [np.empty(0)]
    y: list[NDArray[np.float64]] = [np.empty(0)]
    for part in (log.training, log.evaluation):
        if all(name in part for name in (*x_names, *y_names)):
            columns = np.stack([part[name] for name in (*x_names, *y_names)])
            columns = columns[:, np.isfinite(columns).all(axis=0)]
            x.append(columns[: len(x_names)].ravel())
            y.append(columns[len(x_names) :].ravel())
    return np.concatenate(x), np.concatenate(y)


def is_sigmoid(log: TrainingLog) -> bool:
    """Whether rows with small margins prove that the loss is DPO's sigmoid or a relative of it that
    begins at ln 2 as well (robust, AOT).
    """
    margins, losses = _all_rows(log, ("rewards/margins",), ("loss",))
    small = np.abs(margins) <= _SMALL_MARGIN
    if not small.any():
        return False
    excess = float(np.median(losses[small] - np.logaddexp(0, -margins[small])))
    return _SIGMOID_RANGE[0] <= excess <= _SIGMOID_RANGE[1]


def first_values(log: TrainingLog, *names: str) -> list[float] | None:
    """Values from before the first step: of the evaluation at step 0, or else of the training row
    of step 1 (or 0), which is computed before its update; None if none were logged.
    """
    kinds: tuple[tuple[LogKind, int], ...] = (("evaluation", 0), ("training", 1))
    for kind, last_step in kinds:
        if log.has("step", *names, kind=kind):
            step, *values = log.require("step", *names, kind=kind)
            if step[0] <= last_step:
                return [float(value[0]) for value in values]
    return None


def largest_reward(log: TrainingLog, kind: LogKind) -> float:
    """The largest size of a logged reward of either side."""
    return float(max(np.abs(values).max() for values in log.require(*PAIR, kind=kind)))
