"""The exercises in which the reader decides what a result says: right answers written in other
ways are right, and answers that only look right are not.
"""

from statistics import NormalDist

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from zephyr_utils.exercises.core import REGISTRY


def verdict(name, answer):
    return REGISTRY[name].verdict(answer)


def gap_by_loop(log_probs, tokens, own, own_tokens):
    gaps = [b / m - a / n for a, n, b, m in zip(log_probs, tokens, own, own_tokens, strict=True)]
    mean, error = sum(gaps) / len(gaps), np.std(gaps) / len(gaps) ** 0.5
    beyond = mean - 1.96 * error > 0 or mean + 1.96 * error < 0
    return [float(mean), "off-policy" if beyond else "cannot tell"]


def ahead_by_sample(rewards, grades):
    def standard(rounds, n):
        return (np.mean(rounds[n]) - np.mean(rounds[0])) / np.std(rounds[0], ddof=1)

    return np.array([standard(rewards, n) - standard(grades, n) for n in range(len(rewards))])


def pulls_by_gradient(d, strength, kind):
    d = d.clone().requires_grad_()
    inside = d - strength if kind == "margin" else d
    weight = strength if kind == "scaled" else torch.ones_like(d)
    (-weight * F.logsigmoid(inside)).sum().backward()
    return -d.grad


def helped_by_ends(gains, tries):
    reach = NormalDist().inv_cdf(1 - 0.05 / tries / 2) * np.std(gains) / len(gains) ** 0.5
    low, high = np.mean(gains) - reach, np.mean(gains) + reach
    return "helped" if low > 0 else "harmed" if high < 0 else "cannot tell"


def doubts_as_a_set(figure, beside):
    low = figure["rate"] - 1.96 * (figure["error"] or 0)
    return {
        word
        for word, holds in {
            "scale": (figure["judge"], figure["baseline"]) != (beside["judge"], beside["baseline"]),
            "chance": figure["chance"] is not None and not low > figure["chance"],
            "failed": figure["failed"] / figure["asked"] > 0.1,
            "seen": figure["seen"],
        }.items()
        if holds
    }


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("check_whose_answers", gap_by_loop),
        ("check_ahead", ahead_by_sample),
        ("check_pulls", pulls_by_gradient),
        ("check_helped", helped_by_ends),
        ("check_doubts", doubts_as_a_set),
    ],
)
def test_a_right_answer_written_in_another_way_is_right(name, answer):
    assert verdict(name, answer).status == "right"


LOOK_RIGHT = {
    "check_whose_answers": [
        lambda a, n, b, m: ((b / m - a / n).mean(), True),
        lambda a, n, b, m: ((b / m - a / n).mean(), "Off-policy"),
        lambda a, n, b, m: (str((b / m - a / n).mean()), "off-policy"),
        lambda a, n, b, m: (b / m - a / n, "off-policy"),
        lambda a, n, b, m: (float("nan"), "off-policy"),
        lambda a, n, b, m: (b / m - a / n).mean(),
    ],
    "check_ahead": [
        lambda r, g: [0.0] * len(r),
        lambda r, g: float(r[-1].mean() - g[-1].mean()),
        lambda r, g: list(map(str, ahead_by_sample(r, g))),
        lambda r, g: ahead_by_sample(r, g)[1:],
        lambda r, g: r.append(r[0]) or ahead_by_sample(r[:-1], g),
        lambda r, g: ahead_by_sample(np.array(r), np.array(g)),  # rounds of unequal length
    ],
    "check_pulls": [
        lambda d, s, k: torch.sigmoid(-d),
        lambda d, s, k: pulls_by_gradient(d, s, k).sum(),
        lambda d, s, k: pulls_by_gradient(d.sub_(0.0).add_(1.0), s, k),
        lambda d, s, k: [pulls_by_gradient(d, s, k)],
        lambda d, s, k: d > 0,
    ],
    "check_helped": [
        lambda g, n: "cannot tell",
        lambda g, n: helped_by_ends(g, n).upper(),
        lambda g, n: (helped_by_ends(g, n), g.mean()),
        lambda g, n: g.mean() > 0,
        lambda g, n: g.sort() or helped_by_ends(g, n),
    ],
    "check_doubts": [
        lambda f, b: [],
        lambda f, b: ["seen", "failed", "chance", "scale"],
        lambda f, b: " ".join(doubts_as_a_set(f, b)),
        lambda f, b: [word.title() for word in doubts_as_a_set(f, b)],
        lambda f, b: len(doubts_as_a_set(f, b)),
        lambda f, b: dict.fromkeys(doubts_as_a_set(f, b), True),
        lambda f, b: b.update(f) or doubts_as_a_set(f, b),
    ],
}


@pytest.mark.parametrize("name", LOOK_RIGHT)
def test_an_answer_that_looks_right_is_refused_in_plain_numbers(name):
    for answer in LOOK_RIGHT[name]:
        found = verdict(name, answer)
        assert found.status == "wrong"
        assert "np." not in found.message
