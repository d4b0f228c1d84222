"""Chapter 10's exercises on comparisons: right answers in other forms are right, and NaN alone
stands for what was never measured.
"""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from zephyr_utils.exercises.core import REGISTRY


def status(name, answer):
    return REGISTRY[name].verdict(answer).status


@pytest.mark.parametrize("name", ["check_reward_gradient", "check_value_at_kl"])
def test_at_least_eight_wrong_answers_are_known(name):
    assert len(REGISTRY[name].wrong) >= 8


def by_autograd(rewards, wins):
    leaf = torch.tensor(rewards, requires_grad=True)
    difference = leaf[:, None] - leaf[None, :]
    (-(torch.tensor(wins) * F.logsigmoid(difference)).sum()).backward()
    return leaf.grad


def in_loops(rewards, wins):
    gradient = [0.0] * len(rewards)
    for i in range(len(rewards)):
        for j in range(len(rewards)):
            pull = wins[i, j] / (1 + np.exp(rewards[i] - rewards[j]))
            gradient[i] -= pull
            gradient[j] += pull
    return gradient


@pytest.mark.parametrize("answer", [by_autograd, in_loops])
def test_a_gradient_that_was_found_otherwise_is_right(answer):
    assert status("check_reward_gradient", answer) == "right"


def by_neighbours(kl, values, at):
    points = sorted(zip(kl, values, strict=True))
    for (near, first), (far, second) in itertools.pairwise(points):
        if near <= at <= far:
            return first + (second - first) * (at - near) / (far - near)
    return float("nan")


def as_tensor(kl, values, at):
    return torch.tensor(by_neighbours(kl, values, at))


@pytest.mark.parametrize("answer", [by_neighbours, as_tensor])
def test_a_value_that_was_found_otherwise_is_right(answer):
    assert status("check_value_at_kl", answer) == "right"


@pytest.mark.parametrize("beyond", [None, 0.0, 5.4, "nan", True, float("inf")])
def test_only_nan_stands_for_what_was_not_measured(beyond):
    def answer(kl, values, at):
        return by_neighbours(kl, values, at) if kl.min() <= at <= kl.max() else beyond

    assert status("check_value_at_kl", answer) == "wrong"
