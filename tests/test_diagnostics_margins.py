"""Reward margins of pairs: closed forms, intervals, and bad input."""

import math

import numpy as np
import pytest
import torch

from zephyr_utils.diagnostics import RewardError, reward_margins
from zephyr_utils.objectives import implicit_reward


def test_an_untouched_policy_has_no_margin_and_no_accuracy():
    logps = [-10.0, -20.0, -30.0]
    found = reward_margins(logps, logps, logps, logps, beta=0.1)
    assert found.margins.tolist() == [0, 0, 0]
    assert (found.accuracy.estimate, found.mean_margin.estimate, found.n_ties) == (0, 0, 3)


def test_margins_are_beta_times_the_difference_of_log_ratios():
    found = reward_margins([-9, -22], [-14, -20], [-10, -20], [-12, -21], beta=0.5)
    assert found.chosen.tolist() == [0.5, -1.0]
    assert found.rejected.tolist() == [-1.0, 0.5]
    assert found.margins.tolist() == [1.5, -1.5]
    assert (found.accuracy.estimate, found.mean_margin.estimate, found.n_ties) == (0.5, 0, 0)


def test_beta_scales_margins_and_leaves_the_accuracy_alone():
    rng = np.random.default_rng(0)
    sums = [rng.normal(-100, 10, size=300) for _ in range(4)]
    small, large = reward_margins(*sums, beta=0.1), reward_margins(*sums, beta=0.5)
    assert np.allclose(large.margins, 5 * small.margins)
    assert large.accuracy == small.accuracy


@pytest.mark.parametrize(
    ("right", "pairs", "low", "high"),
    # of 16 of 16 the lower bound is n / (n + z^2)
    [(16, 16, 16 / (16 + 1.959964**2), 1.0), (8, 10, 0.4901625, 0.9433178)],
)
def test_the_accuracys_interval_is_wilsons_of_a_share(right, pairs, low, high):
    zeros = np.zeros(pairs)
    signs = [1.0] * right + [-1.0] * (pairs - right)
    found = reward_margins(signs, zeros, zeros, zeros, beta=1.0)
    assert found.accuracy.estimate == right / pairs
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((low, high), abs=1e-6)


def test_tensors_are_taken_as_they_come():
    tensors = [torch.tensor([-1.0, -2.0]) for _ in range(4)]
    assert reward_margins(*tensors, beta=0.1).margins.tolist() == [0, 0]
    assert implicit_reward(torch.tensor([-1.0]), torch.tensor([-3.0]), 0.1).item() == pytest.approx(
        0.2
    )


@pytest.mark.parametrize(
    ("sums", "beta", "message"),
    [
        (([1.0, 2.0], [1.0], [1.0], [1.0]), 0.1, "policy_rejected \\(1,\\)"),
        (([], [], [], []), 0.1, "four lists of one length"),
        (([[1.0]], [[1.0]], [[1.0]], [[1.0]]), 0.1, "one number a pair"),
        (
            ([1.0, math.nan], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]),
            0.1,
            "policy_chosen: 1 of 2 are NaN .* at pair 1",
        ),
        (([1.0], [1.0], [1.0], [-math.inf]), 0.1, "reference_rejected: 1 of 1"),
        (([1.0], [1.0], [1.0], [1.0]), 0.0, "beta is 0.0"),
        (([1.0], [1.0], [1.0], [1.0]), math.nan, "beta is nan"),
    ],
)
def test_sums_that_give_no_margins_are_errors_that_say_which(sums, beta, message):
    with pytest.raises(RewardError, match=message):
        reward_margins(*sums, beta=beta)
