"""A chapter's numbers beside those of other seeds, and the ranges that follow from them."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from zephyr_utils.errors import HandbookError
from zephyr_utils.lessons.chapter_seeds import (
    NOTHING_YET,
    seeds_table,
    sign_changes,
    stored_values,
)

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/chapter_seeds.json"
sys.path.insert(0, str(ROOT / "benchmarks"))
KNOWN = {
    "chapters": {
        "10_x": {
            "10": {"gain": 0.5, "fall": -1.0},
            "2": {"gain": -0.5, "fall": -2.0},
            "0": {"gain": 1.5, "fall": -3.0},
        }
    }
}
LABELS = {"gain": "grade gained", "fall": "grade lost"}


def test_each_run_is_listed_in_the_order_of_its_seed():
    table = seeds_table("10_x", LABELS, {"gain": 0.25, "fall": -4.0}, 1, KNOWN).splitlines()
    assert table == [
        "|  | this run | seeds 0, 2, 10 | mean, SD |",
        "| --- | ---: | ---: | ---: |",
        "| grade gained | +0.25 | +1.50, −0.50, +0.50 | +0.50, 1.00 |",
        "| grade lost | −4.00 | −3.00, −2.00, −1.00 | −2.00, 1.00 |",
    ]


def test_one_measured_seed_has_no_deviation_and_a_bar_in_a_label_is_escaped():
    one = {"chapters": {"10_x": {"3": {"gain": 0.5}}}}
    table = seeds_table("10_x", {"gain": "log p(y | x)"}, {"gain": 0.25}, 1, one).splitlines()
    assert table[2:] == ["| log p(y \\| x) | +0.25 | +0.50 | +0.50, – |"]


def test_a_run_that_differs_from_the_stored_one_of_its_seed_says_why():
    same = {"gain": 1.5001, "fall": -3.0}
    assert seeds_table("10_x", LABELS, same, 0, KNOWN).splitlines()[-1].startswith("| grade lost")
    other = seeds_table("10_x", LABELS, same | {"gain": 1.4}, 0, KNOWN)
    *_, blank, last = other.splitlines()
    assert blank == "" and last.startswith(
        "This run has seed 0, too. Where it differs from the stored seed 0, the machine or the code"
    )


def test_a_metric_is_read_in_the_order_of_the_seeds():
    assert stored_values("10_x", "gain", KNOWN) == [1.5, -0.5, 0.5]
    assert stored_values("11_y", "gain", KNOWN) == stored_values("10_x", "gain", {}) == []


def test_what_changes_its_sign_with_the_seed_is_named_and_counted():
    assert sign_changes("10_x", LABELS, KNOWN) == (
        "Of 2 differences the sign of 1 depends on the seed: grade gained. One run decides none of "
        "these.",
        1,
    )
    assert sign_changes("10_x", {"gain": "grade gained"}, KNOWN)[1] == 0
    assert sign_changes("10_x", {"fall": "grade lost"}, KNOWN) == (
        "Of 1 differences the sign of none depends on the seed.",
        2,
    )


def test_without_results_a_chapter_says_so():
    assert seeds_table("11_y", LABELS, {}, 0, KNOWN) == NOTHING_YET
    assert seeds_table("10_x", LABELS, {}, 0, {}) == NOTHING_YET
    assert sign_changes("11_y", LABELS, KNOWN) == (NOTHING_YET, None)


def test_a_metric_that_the_runs_lack_is_named():
    with pytest.raises(HandbookError, match="10_x was measured without rise"):
        seeds_table("10_x", {"rise": "rise"}, {"rise": 1.0}, 0, KNOWN)


def test_a_range_reaches_as_far_again_to_either_side_and_keeps_above_zero():
    import chapter_seeds

    assert chapter_seeds.range_of([1.0, 3.0, 2.0]) == [-1.0, 5.0]
    assert chapter_seeds.range_of([1.0, 2.0], positive=True) == pytest.approx([0.5, 4.0], abs=1e-3)


def test_the_committed_ranges_follow_from_the_committed_runs():
    import chapter_seeds

    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert all(len(seeds) >= 3 for seeds in found["chapters"].values())
    written = yaml.safe_load((ROOT / "tests/expected/miniature.yaml").read_text(encoding="utf-8"))
    for chapter, metrics in chapter_seeds.ranges(found).items():
        assert metrics.items() <= written[chapter].items(), chapter
