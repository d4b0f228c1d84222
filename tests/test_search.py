"""The search behind the recipes: grids, winners, and what it keeps of earlier results."""

import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from zephyr_utils.ablations import catalogue
from zephyr_utils.ablations.methods.catalogue import settings_of
from zephyr_utils.files import read_json
from zephyr_utils.pipeline.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import claims as script  # noqa: E402
import search  # noqa: E402
import search_grid as grids  # noqa: E402


def test_a_result_stamps_its_own_stage_and_leaves_the_stamps_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "RESULTS", tmp_path / "search.json")
    earlier = [{"learning_rate": 1e-3, "seed": seed, "score": 5.0} for seed in grids.SEEDS]
    stamp = {"cpu": "another machine"}
    known = {stage: {"tried": earlier, "stamp": stamp} for stage in ("few", "ipo")}
    (tmp_path / "search.json").write_text(json.dumps(known))
    found = search.Search(Console(file=io.StringIO()), [], 1)
    found._keep("few", {"learning_rate": 2e-3, "seed": 100, "score": 6.0})
    written = json.loads((tmp_path / "search.json").read_text())
    assert written["ipo"]["stamp"] == stamp and written["ipo"]["tried"] == earlier
    assert written["few"]["stamp"]["threads"] == 1 and len(written["few"]["tried"]) == 4
    assert written["few"]["winner"] == {"learning_rate": 1e-3}, "the only one of all three seeds"


def whole_search(stage, grade):
    """A whole search whose grades are given by learning rate; returns what was tried."""
    tried = []
    for _ in range(20):
        settings = [one for batch in grids.wanted(stage, tried) for one in batch]
        if not settings:
            return tried
        for setting, seed in settings:
            tried.append({**setting, "seed": seed, "score": grade(setting) + 0.01 * (seed - 101)})
    raise AssertionError("the search never ends")


def test_a_grid_whose_winner_lies_inside_is_tried_with_three_seeds_and_no_more():
    tried = whole_search("few", lambda setting: -abs(setting["learning_rate"] - 1.6e-3))
    assert len(tried) == 9 and {row["seed"] for row in tried} == {100, 101, 102}
    found = grids.outcome("few", tried)
    assert found["winner"] == {"learning_rate": 1.6e-3} and found["bracketed"]


@pytest.mark.parametrize(("best", "rates"), [(1.28e-2, 6), (2e-4, 6)])
def test_a_grid_goes_on_until_it_brackets_its_winner(best, rates):
    tried = whole_search("few", lambda setting: -abs(setting["learning_rate"] - best))
    found = grids.outcome("few", tried)
    assert found["winner"] == {"learning_rate": best} and found["bracketed"]
    assert len(tried) == 3 * rates


def test_a_grid_without_a_bracket_ends_and_says_so():
    tried = whole_search("few", lambda setting: setting["learning_rate"])
    assert len(tried) == 3 * (3 + grids.EXTENSIONS) and not grids.outcome("few", tried)["bracketed"]


def test_the_mean_over_the_seeds_decides_and_not_the_luckiest():
    rows = [
        {"learning_rate": rate, "seed": seed, "score": grade}
        for rate, grades in {8e-4: (4, 4, 4), 1.6e-3: (5, 5, 5), 3.2e-3: (9, 1, 1)}.items()
        for seed, grade in zip(grids.SEEDS, grades, strict=True)
    ]
    assert grids.outcome("few", rows)["winner"] == {"learning_rate": 1.6e-3}


@pytest.mark.parametrize("row", ["by_heart", "all_weights"])
def test_a_row_that_is_to_know_its_pairs_by_heart_must_first_reach_that(row):
    rows = [
        {"learning_rate": rate, "seed": seed, "score": grade, "accuracy_train": accuracy}
        for rate, grade, accuracy in ((8e-4, 6.0, 0.9), (1.6e-3, 4.0, 0.96), (3.2e-3, 3.0, 0.99))
        for seed in grids.SEEDS
    ]
    assert grids.outcome(row, rows)["winner"] == {"learning_rate": 1.6e-3}


def test_no_replication_has_a_seed_of_the_search():
    assert not set(grids.SEEDS) & set(range(script.REPLICATIONS))


def test_every_row_that_trains_is_searched_but_a_control():
    trained = {row.name for row in catalogue.ABLATIONS.values() if row.trains}
    assert set(grids.GRIDS) == (trained - set(catalogue.AT_THE_RATE_OF)) | set(grids.PIPELINE)
    assert not set(grids.GRIDS) & set(grids.SEARCHED)


@pytest.mark.parametrize(("control", "row"), catalogue.AT_THE_RATE_OF.items())
def test_a_control_takes_the_rate_of_the_row_that_it_is_the_control_of(control, row):
    rates = {
        catalogue.recipe_of(Pipeline(), catalogue.ABLATIONS[name])["learning_rate"]
        for name in (control, row)
    }
    assert len(rates) == 1


def test_the_committed_search_brackets_its_winners():
    found = read_json(ROOT / "benchmarks" / "results" / "search.json")
    assert set(grids.GRIDS) <= set(found) <= set(grids.GRIDS) | set(grids.SEARCHED)
    for stage, one in found.items():
        # ExPO's amount may go to zero, which is the model that it would extrapolate
        assert one["bracketed"] or grids.varied(stage) == "amount", f"{stage}: go on with search.py"
        assert one["winner"] == grids.outcome(stage, one["tried"])["winner"]
        assert one["winner"].items() <= searched_values(stage).items(), f"{stage}: another recipe"


def searched_values(stage):
    """The recipe that the repository trains a stage or row with."""
    if stage in grids.PIPELINE:
        return Pipeline().recipe(stage)
    if stage in grids.SEARCHED:
        return settings_of("miniature", stage)
    return catalogue.recipe_of(Pipeline(), catalogue.ABLATIONS[stage])
