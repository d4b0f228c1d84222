"""Close pairs and clear ones of a real model: how they are told apart, and what the page says."""

import copy

import numpy as np
import pytest
import real_model
import real_pairs


@pytest.fixture
def run(monkeypatch):
    """The committed results with the first seed alone, in a copy that may be changed."""
    found = copy.deepcopy(real_model.results())
    found["seeds"] = found["seeds"][:1]
    monkeypatch.setattr(real_model, "results", lambda: found)
    return found["seeds"][0]


@pytest.fixture
def smol_pairs(monkeypatch):
    for name in ("TQDM_DISABLE", "HF_HUB_OFFLINE"):  # which the benchmark would set for all tests
        monkeypatch.setenv(name, "1")
    import smol_pairs

    return smol_pairs


def test_both_parts_of_the_page_can_be_made_from_the_committed_run():
    for name, part in real_pairs.PARTS.items():
        assert part({}, []).strip(), name


def test_the_sentence_follows_the_intervals(run):
    def lows(**of_kind):
        for kind, low in of_kind.items():
            run["ranked"]["together"][kind]["low"] = low

    lows(all=0.51, close=0.4, clear=0.6)
    said = real_pairs.ranked({}, [])
    assert "of all pairs it is above one half; of close pairs it cannot be told" in said
    assert said.endswith("of clear pairs it is above one half.")
    lows(all=0.49, clear=0.5)
    assert "above" not in real_pairs.ranked({}, [])


def test_a_pair_whose_ratings_differ_by_the_median_is_clear(smol_pairs):
    pairs = [
        {"score_chosen": chosen, "score_rejected": 5.0, "prompt": str(chosen)}
        for chosen in (5.5, 6.5, 6.5, 9.0)
    ]
    right = np.array([False, True, True, False])
    found = smol_pairs.by_difference(smol_pairs.differences(pairs), right, median=1.5)
    assert {kind: part["pairs"] for kind, part in found.items()} == {
        "all": 4,
        "close": 1,
        "clear": 3,
    }
    assert found["close"]["accuracy"] == 0 and found["clear"]["accuracy"] == pytest.approx(2 / 3)
    assert found["all"]["low"] < 0.5 < found["all"]["high"]


def test_a_pair_is_ranked_rightly_if_its_margin_is_above_zero(smol_pairs):
    sums = {
        "policy_chosen": [-10.0, -10.0, -10.0],
        "policy_rejected": [-12.0, -12.0, -12.0],
        "reference_chosen": [-10.0, -10.0, -9.0],
        "reference_rejected": [-12.0, -11.0, -12.0],
    }
    assert smol_pairs.ranked_rightly(sums).tolist() == [False, True, False]
