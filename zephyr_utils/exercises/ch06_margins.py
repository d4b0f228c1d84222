"""Checks of chapter 06 on pairs: implicit rewards and accuracy, and displacement."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

Array = NDArray[np.float64]
Rewards = tuple[Array, Array, float]

# --- rewards and accuracy -------------------------------------------------------------------------


def _rewards(
    policy_chosen: Array,
    policy_rejected: Array,
    reference_chosen: Array,
    reference_rejected: Array,
    beta: float,
) -> Rewards:
    chosen = beta * (policy_chosen - reference_chosen)
    rejected = beta * (policy_rejected - reference_rejected)
    return chosen, rejected, float((chosen > rejected).mean())


def _counted(count: Callable[[Array, Array], NDArray[Any]]) -> Callable[..., Rewards]:
    """Right rewards, and the share of the pairs that `count` takes."""

    def answer(pc: Array, pr: Array, rc: Array, rr: Array, beta: float) -> Rewards:
        chosen, rejected, _ = _rewards(pc, pr, rc, rr, beta)
        return chosen, rejected, float(count(chosen, rejected).mean())

    return answer


_WRONG_REWARDS: dict[str, Callable[..., Rewards]] = {
    "without the reference": lambda pc, pr, rc, rr, beta: _rewards(pc, pr, 0 * rc, 0 * rr, beta),
    "without beta": lambda pc, pr, rc, rr, beta: _rewards(pc, pr, rc, rr, 1.0),
    "divided by beta": lambda pc, pr, rc, rr, beta: _rewards(pc, pr, rc, rr, 1 / beta),
    "wrong sign": lambda pc, pr, rc, rr, beta: _rewards(rc, rr, pc, pr, beta),
    "other way round": lambda pc, pr, rc, rr, beta: _rewards(pr, pc, rr, rc, beta),
    "ratio of log-probabilities": lambda pc, pr, rc, rr, beta: (
        beta * pc / rc, beta * pr / rr, float((pc / rc > pr / rr).mean())
    ),
}  # fmt: skip
_WRONG_ACCURACIES: dict[str, Callable[..., Rewards]] = {
    "more likely under the policy": lambda pc, pr, rc, rr, beta: (
        *_rewards(pc, pr, rc, rr, beta)[:2], float((pc > pr).mean())
    ),
    "a reward above 0": _counted(lambda chosen, rejected: chosen > 0),
    "margin of exactly 0": _counted(lambda chosen, rejected: chosen >= rejected),
    "rejected answer ahead": _counted(lambda chosen, rejected: chosen < rejected),
    "mean margin": _counted(lambda chosen, rejected: chosen - rejected),
}  # fmt: skip
_EXPLAINED = {
    "without the reference": "These are rewards without the reference: a reward is beta times the "
    "policy's log-probability *minus the reference's*.",
    "without beta": "These are the log-ratios, without beta in front.",
    "divided by beta": "The log-ratios are divided by beta; they are multiplied by it.",
    "wrong sign": "The rewards have the wrong sign: an answer that became likelier has a reward "
    "above 0.",
    "other way round": "Chosen and rejected are the other way round.",
    "ratio of log-probabilities": "This is a ratio of log-probabilities. The logarithm of a ratio "
    "is a difference of logarithms.",
    "more likely under the policy": "This counts the pairs whose chosen answer is more likely "
    "under the policy than the rejected one; the accuracy compares their *rewards*.",
    "a reward above 0": "This counts chosen answers with a reward above 0; a pair is ranked "
    "correctly if the chosen reward is above the *rejected* one.",
    "margin of exactly 0": "A pair with a margin of exactly 0 is not ranked correctly: before the "
    "first step all are, and the accuracy is 0.",
    "rejected answer ahead": "This is the share with the rejected answer ahead.",
    "mean margin": "This is the mean margin; the accuracy is the share of margins above 0.",
}


@exercise(
    "06_reward_margins",
    right="Three columns of every DPO log, from four log-probabilities per pair.",
    solution=_rewards,
    wrong=_WRONG_REWARDS | _WRONG_ACCURACIES,
)
def check_rewards_and_accuracy(fn: Callable[[Array, Array, Array, Array, float], Rewards]) -> None:
    """``fn(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta) -> (rewards
    of the chosen answers, rewards of the rejected answers, accuracy)``.
    """
    pc = np.array([-20.0, -31.0, -12.0, -44.0, -25.0, -18.0, -9.0])
    rc = np.array([-22.0, -29.0, -11.0, -40.0, -26.0, -15.0, -10.0])
    pr = np.array([-30.0, -40.0, -13.0, -45.0, -26.0, -35.0, -8.0])
    rr = np.array([-25.0, -30.0, -11.0, -48.0, -30.0, -22.0, -9.0])
    for beta in (0.5, 0.1):
        given = (pc, pr, rc, rr, beta)
        answer = attempt(fn, *given)
        if not isinstance(answer, tuple | list) or len(answer) != 3:
            raise Wrong(
                "Return three things: the rewards of the chosen answers, those of the rejected "
                "ones, and the accuracy."
            )
        *rewards, accuracy = answer
        right = _rewards(*given)
        compare(
            rewards,
            right[:2],
            {_EXPLAINED[name]: slip(*given)[:2] for name, slip in _WRONG_REWARDS.items()},
            f"With beta = {beta}, these are not the rewards of the seven pairs.",
        )
        compare(
            accuracy,
            right[2],
            {_EXPLAINED[name]: slip(*given)[2] for name, slip in _WRONG_ACCURACIES.items()},
            "The accuracy is the share of the pairs whose margin is above 0.",
        )


# --- displacement ---------------------------------------------------------------------------------


def _displaced(
    policy_chosen: Array, policy_rejected: Array, reference_chosen: Array, reference_rejected: Array
) -> float:
    learned = (policy_chosen - reference_chosen) > (policy_rejected - reference_rejected)
    return float((policy_chosen < reference_chosen)[learned].mean())


@exercise(
    "06_reward_margins",
    right="A pair can be learned while its chosen answer becomes less likely: the loss asks for a "
    "distance alone.",
    solution=_displaced,
    wrong={
        "among the pairs learned": lambda pc, pr, rc, rr: float(
            ((pc - rc > pr - rr) & (pc < rc)).mean()
        ),
        "whether learned or not": lambda pc, pr, rc, rr: float((pc < rc).mean()),
        "the rejected answers": lambda pc, pr, rc, rr: float((pr < rr)[pc - rc > pr - rr].mean()),
        "became likelier": lambda pc, pr, rc, rr: float((pc > rc)[pc - rc > pr - rr].mean()),
        "reference is forgotten": lambda pc, pr, rc, rr: float((pc < rc)[pc > pr].mean()),
        "this is their number": lambda pc, pr, rc, rr: int(((pc - rc > pr - rr) & (pc < rc)).sum()),
    },
)
def check_displaced_share(fn: Callable[[Array, Array, Array, Array], float]) -> None:
    """``fn(policy_chosen, policy_rejected, reference_chosen, reference_rejected) -> share`` of the
    pairs learned.
    """
    pc = np.array([-20.0, -31.0, -12.0, -44.0, -25.0, -18.0, -9.0, -30.0, -27.0, -16.0])
    rc = np.array([-22.0, -29.0, -11.0, -40.0, -26.0, -15.0, -9.5, -24.0, -28.0, -13.0])
    pr = np.array([-30.0, -40.0, -25.0, -41.0, -24.0, -35.0, -8.0, -33.0, -26.0, -29.0])
    rr = np.array([-25.0, -30.0, -20.0, -42.0, -28.0, -22.0, -9.5, -29.0, -25.0, -24.0])
    learned = pc - rc > pr - rr
    mistakes = {
        "This divides by all pairs; the share among the pairs learned was asked for.": (
            (pc < rc) & learned
        ).mean(),
        "This counts every pair whose chosen answer fell, whether learned or not.": (
            pc < rc
        ).mean(),
        "This counts the rejected answers that fell; look at the chosen ones.": (pr < rr)[
            learned
        ].mean(),
        "This is the share that became likelier: the comparison is the other way round.": (pc > rc)[
            learned
        ].mean(),
        "The reference is forgotten: a pair is learned if the *log-ratio* of the chosen answer is "
        "the larger.": ((pc < rc)[pc > pr].mean()),
        "A share was asked for, this is their number.": ((pc < rc) & learned).sum(),
    }
    compare(
        attempt(fn, pc, pr, rc, rr),
        _displaced(pc, pr, rc, rr),
        mistakes,
        "Of the pairs with a margin above 0, the share with policy_chosen < reference_chosen.",
    )
