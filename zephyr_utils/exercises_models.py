"""The checks about models: dSFT, dDPO, reward margins, evaluation. Readers call them through ``exercises``."""

from collections.abc import Callable

import numpy as np
import torch

from zephyr_utils import objectives
from zephyr_utils.exercises_core import Wrong, attempt, compare, exercise

# --- 02_dsft -----------------------------------------------------------------------------------------------------


def _labels(ids: list[int], mask: list[int]) -> list[int]:
    return [token if counts else -100 for token, counts in zip(ids, mask, strict=True)]


@exercise(
    "02_dsft",
    right="The end-of-sequence token counts too: that is how the student learns to stop.",
    solution=_labels,
    wrong={
        "0 is a token": lambda ids, mask: [t if m else 0 for t, m in zip(ids, mask, strict=True)],
        "wrong way round": lambda ids, mask: [-100 if m else t for t, m in zip(ids, mask, strict=True)],
        "does the shift": lambda ids, mask: [*_labels(ids, mask)[1:], -100],
        "never stops": lambda ids, mask: [-100 if t == 2 else t for t in _labels(ids, mask)],
        "whole conversation": lambda ids, mask: ids,
        "as many labels": lambda ids, mask: [t for t, m in zip(ids, mask, strict=True) if m],
    },
)
def check_loss_mask(fn: Callable[[list[int], list[int]], list[int]]) -> None:
    """``fn(input_ids, assistant_mask) -> labels``: the token id where the mask is 1, -100 where it is 0."""
    ids, mask = [11, 12, 13, 2, 14, 15, 16, 2, 17], [0, 0, 0, 0, 0, 1, 1, 1, 0]  # 2 ends a turn
    expected = _labels(ids, mask)
    got = attempt(fn, ids, mask)
    if np.shape(got) != (len(ids),):
        raise Wrong(
            f"There must be as many labels as tokens: {len(ids)}. Mark those that do not count with -100."
        )
    mistakes = {
        "0 is a token of the vocabulary, which the model would learn to say; -100 is what the loss skips.": [
            max(label, 0) for label in expected
        ],
        "This is the wrong way round: the user's words count, and the assistant's do not.": _labels(
            ids, [1 - m for m in mask]
        ),
        "Labels stand at the place of their own token; the loss does the shift by one itself.": [
            *expected[1:],
            -100,
        ],
        "The token that ends the answer (2) does not count, so the student never stops.": [
            -100 if label == 2 else label for label in expected
        ],
        "The whole conversation counts here: that is training on all tokens.": ids,
    }
    compare(got, expected, mistakes, "Keep the token id where the mask is 1, and put -100 elsewhere.")


# --- 05_ddpo -----------------------------------------------------------------------------------------------------


@exercise(
    "05_ddpo",
    right="This is equation 1 of the paper, and it agrees with TRL's to the last digits.",
    solution=objectives.dpo_loss,
    wrong={
        "beta is missing": lambda pc, pr, rc, rr, beta: objectives.dpo_loss(pc, pr, rc, rr, 1.0),
        "swapped": lambda pc, pr, rc, rr, beta: objectives.dpo_loss(pr, pc, rr, rc, beta),
        "reference is forgotten": lambda pc, pr, rc, rr, beta: objectives.dpo_loss(
            pc, pr, 0 * rc, 0 * rr, beta
        ),
        "not the sum": lambda pc, pr, rc, rr, beta: objectives.dpo_losses(pc, pr, rc, rr, beta).sum(),
        "take the mean": lambda pc, pr, rc, rr, beta: objectives.dpo_losses(pc, pr, rc, rr, beta),
        "logarithm": lambda pc, pr, rc, rr, beta: (
            -torch.sigmoid(objectives.reward_margin(pc, pr, rc, rr, beta)).mean()
        ),
        "minus sign": lambda pc, pr, rc, rr, beta: -objectives.dpo_loss(pc, pr, rc, rr, beta),
        "one pair at a time": lambda pc, pr, rc, rr, beta: objectives.dpo_loss(
            *(values.mean(dim=0, keepdim=True) for values in (pc, pr, rc, rr)), beta
        ),
    },
)
def check_dpo_loss(fn: Callable[..., torch.Tensor]) -> None:
    """``fn(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta) -> loss``, the batch's mean."""
    numbers = ([-12.0, -35.0, -20.5], [-15.0, -31.0, -24.0], [-13.0, -33.0, -21.0], [-14.0, -32.5, -20.0])
    pairs = tuple(torch.tensor(values, dtype=torch.float64) for values in numbers)
    pc, pr, rc, rr = pairs
    losses = objectives.dpo_losses(*pairs, 0.1)
    margins = objectives.reward_margin(*pairs, 0.1)
    batch_means = [values.mean(dim=0, keepdim=True) for values in pairs]
    mistakes = {
        "beta is missing: multiply the difference of the log-ratios by it.": objectives.dpo_loss(*pairs, 1.0),
        "Chosen and rejected are swapped: this loss falls as the rejected answer wins.": objectives.dpo_loss(
            pr, pc, rr, rc, 0.1
        ),
        "The reference is forgotten: subtract its log-probability from the policy's, answer by answer.": (
            objectives.dpo_loss(pc, pr, 0 * rc, 0 * rr, 0.1)
        ),
        "Take the mean over the pairs, not the sum: else the learning rate would depend on the batch size.": losses.sum(),
        "These are the right losses, one a pair: take the mean of them.": losses,
        "The logarithm is missing: the loss is -log(sigmoid(margin)).": -torch.sigmoid(margins).mean(),
        "The minus sign is missing: log(sigmoid(margin)) is below 0, and has to be made larger.": -losses.mean(),
        "Take each loss of one pair at a time, then the mean: the loss of mean rewards is another number.": (
            objectives.dpo_loss(*batch_means, 0.1)
        ),
    }
    compare(
        attempt(fn, *pairs, 0.1), losses.mean(), mistakes, "This is not -log(sigmoid(margin)) of these pairs."
    )


# --- 06_reward_margins -------------------------------------------------------------------------------------------


def _slope(rewards: np.ndarray, logps: np.ndarray) -> float:
    return float(np.polyfit(logps, rewards, 1)[0])


@exercise(
    "06_reward_margins",
    right="From a published log alone you know with which beta a model was trained, whatever its card says.",
    solution=_slope,
    wrong={
        "reference": lambda rewards, logps: float(np.mean(rewards / logps)),
        "other way round": lambda rewards, logps: _slope(logps, rewards),
        "intercept": lambda rewards, logps: float(np.polyfit(logps, rewards, 1)[1]),
        "wrong sign": lambda rewards, logps: -_slope(rewards, logps),
    },
)
def check_implied_beta(fn: Callable[[np.ndarray, np.ndarray], float]) -> None:
    """``fn(rewards, logps) -> beta``, from a run's evaluations on one fixed set, reference unknown."""
    logps = np.array([-250.0, -256.0, -261.5, -274.0, -270.0])
    for beta in (0.1, 0.02):
        rewards = beta * (logps - -251.3)
        slope, intercept = np.polyfit(logps, rewards, 1)
        mistakes = {
            "A reward divided by its log-probability leaves out the reference: the reward is beta times a difference. "
            "The unknown reference is the same in each row, so look at how one changes with the other.": np.mean(
                rewards / logps
            ),
            "This is the slope the other way round, 1 / beta: rewards change beta times as much.": 1 / slope,
            "This is the intercept of the line, -beta times the reference; beta is its slope.": intercept,
            "This has the wrong sign: rewards rise as log-probabilities rise.": -slope,
        }
        compare(
            attempt(fn, rewards, logps),
            beta,
            mistakes,
            "This is not the slope of rewards over log-probabilities.",
        )


# --- 07_evaluation -----------------------------------------------------------------------------------------------


@exercise(
    "07_evaluation",
    right="Half a point for a draw keeps two equal models at one half.",
    solution=lambda outcomes: (outcomes.count("win") + outcomes.count("draw") / 2) / len(outcomes),
    wrong={
        "draws are lost": lambda outcomes: outcomes.count("win") / len(outcomes),
        "left out": lambda outcomes: outcomes.count("win") / (len(outcomes) - outcomes.count("draw")),
        "whole wins": lambda outcomes: 1 - outcomes.count("loss") / len(outcomes),
        "between 0 and 1": lambda outcomes: (
            100 * (outcomes.count("win") + outcomes.count("draw") / 2) / len(outcomes)
        ),
        "divide by": lambda outcomes: outcomes.count("win") + outcomes.count("draw") / 2,
    },
)
def check_win_rate(fn: Callable[[list[str]], float]) -> None:
    """``fn(outcomes) -> float``: the win rate of a list of "win", "draw" and "loss", between 0 and 1."""
    outcomes = ["win"] * 5 + ["draw"] * 2 + ["loss"] * 3
    mistakes = {
        "The draws are lost: each counts half a win.": 0.5,
        "The draws are left out of the count; each should count half a win among all comparisons.": 5 / 8,
        "Draws count as whole wins here; each counts half.": 0.7,
        "Give a share between 0 and 1, not a percentage.": 60.0,
        "This is the number of points; divide by the number of comparisons.": 6.0,
    }
    compare(attempt(fn, outcomes), 0.6, mistakes, "5 wins, 2 draws and 3 losses.")
