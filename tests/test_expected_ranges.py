"""The ranges of the regression that rest on the replications of part two's methods."""

import json
import math
import statistics
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
RANGES = yaml.safe_load((ROOT / "tests/expected/miniature.yaml").read_text(encoding="utf-8"))


def replications():
    results = json.loads((ROOT / "benchmarks/results/methods.json").read_text(encoding="utf-8"))
    return results["measured"].values()


def four_deviations(values):
    mean, reach = statistics.mean(values), 4 * statistics.stdev(values)
    return mean - reach, mean + reach


def test_a_reward_models_accuracy_has_the_range_of_the_eight_replications():
    each = [rows["reward"]["accuracy"] for rows in replications()]
    assert len(each) == 8
    assert RANGES["10_reward_models"]["accuracy"] == pytest.approx(four_deviations(each), abs=1e-4)


def test_the_distance_of_ddpo_has_the_range_of_the_replications_logarithms():
    each = [math.log(rows["ddpo"]["kl"]) for rows in replications()]
    expected = [math.exp(end) for end in four_deviations(each)]
    assert RANGES["10_reward_models"]["ddpo_kl"] == pytest.approx(expected, abs=1e-3)
