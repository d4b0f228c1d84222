"""The protocol's third outcome over replications: what is counted, and what is committed of it."""

import sys
from pathlib import Path

import pytest
import results_page
import yaml

from zephyr_utils.ablations.results import Committed, changes_since
from zephyr_utils.files import read_json
from zephyr_utils.miniature import newcomers_study
from zephyr_utils.miniature.newcomers import NEWCOMERS

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
INSIDE = [int(asked.inside) for asked in NEWCOMERS]
EVERYTHING, NOTHING = [1] * len(NEWCOMERS), [0] * len(NEWCOMERS)


def rows(dsft, ddpo):
    return {"dsft": {"sensible": dsft}, "ddpo": {"sensible": ddpo}}


def test_shares_are_of_all_questions_of_those_inside_and_of_those_outside():
    measured = {0: rows(EVERYTHING, INSIDE), 1: rows(INSIDE, INSIDE)}
    found = newcomers_study.newcomer_shares(measured)
    assert list(found) == ["all 80", "48 inside", "32 outside"]
    whole, inside, outside = found.values()
    assert whole["dsft"].estimate == pytest.approx((1 + 0.6) / 2)
    assert whole["ddpo"].estimate == pytest.approx(0.6)
    assert whole["difference"].per_replication == pytest.approx((-0.4, 0))
    assert inside["ddpo"].estimate == 1 and outside["ddpo"].estimate == 0
    assert "| 48 inside | 100.0 [100.0, 100.0] |" in newcomers_study.newcomers_table(measured)


def test_a_replication_without_one_of_the_stages_is_left_out():
    whole = {seed: rows(EVERYTHING, NOTHING) for seed in range(3)}
    found = newcomers_study.newcomer_shares(whole | {3: {"dsft": {"sensible": NOTHING}}})["all 80"]
    assert found["dsft"].per_replication == (1, 1, 1)


def test_the_page_says_for_each_stage_whether_the_aim_is_reached():
    measured = {seed: rows(EVERYTHING, INSIDE) for seed in range(3)}
    said = results_page.newcomers(Committed(measured, "a machine"))
    assert "dSFT's mean reaches it (3 of 3 replications reach it)" in said
    assert "dDPO's mean misses it (0 of 3 replications reach it)" in said
    measured[0] = rows(NOTHING, EVERYTHING)
    said = results_page.newcomers(Committed(measured, "a machine"))
    assert "dSFT's mean misses it, though the interval includes it (2 of 3" in said
    said = results_page.newcomers(Committed(measured, "", failed={3: {"ddpo": "no memory"}}))
    assert "3 replications." in said and "Replication 3 failed in ddpo, and is left out." in said
    for few in ({}, {0: rows(EVERYTHING, INSIDE)}):
        assert "make newcomers" in results_page.newcomers(Committed(few, ""))


def test_the_committed_results_are_of_this_world_and_bound_the_regression():
    import newcomers as script

    found = read_json(script.RESULTS)
    assert changes_since(found["provenance"], newcomers_study.newcomers_provenance) == ()
    assert len(found["measured"]) == script.REPLICATIONS and not found["failed"]
    bounds = script.ranges(found["measured"])
    expected = yaml.safe_load(script.RANGES.read_text("utf-8"))["07_evaluation"]
    assert {name: expected[name] for name in bounds} == bounds
