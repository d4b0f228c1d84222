"""The ranges of the regression: over replications, and over instruction sets."""

import json
import math
import statistics
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import expected_ranges  # noqa: E402

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


def test_the_ranges_hold_what_either_instruction_set_gave():
    found = json.loads((ROOT / "benchmarks/results/processors.json").read_text(encoding="utf-8"))
    assert set(found["measured"]) == {"avx512", "avx2"}
    for rows in found["measured"].values():
        for row, exams in rows.items():
            low, high = RANGES["07_evaluation"][f"score_{row}"]
            assert len(exams) == 3 and all(low <= exam["score"] <= high for exam in exams)


def test_an_instruction_set_that_moves_a_gain_by_more_widens_the_range(tmp_path, monkeypatch):
    scores = {"avx512": (1.0, 5.0, 7.0), "avx2": (1.0, 5.0, 7.9)}
    measured = {
        name: {
            row: [{"score": score}]
            for row, score in zip(("base", "dsft", "ddpo"), three, strict=True)
        }
        for name, three in scores.items()
    }
    (tmp_path / "processors.json").write_text(json.dumps({"measured": measured}))
    monkeypatch.setattr(expected_ranges, "PROCESSORS", tmp_path / "processors.json")
    gain = expected_ranges.difference("ddpo", "dsft")
    run = {0: {"dsft": {"exam": {"score": 5.0}}, "ddpo": {"exam": {"score": 7.0}}}}
    assert expected_ranges.of_the_run((0,))(gain, run) == pytest.approx([1.1, 2.9])
    score = expected_ranges.at("ddpo", "exam", "score")
    alike = {seed: {"ddpo": {"exam": {"score": 7.0}}} for seed in (0, 1)}
    assert expected_ranges.over_seeds(score, alike) == [7.0, 7.9]
