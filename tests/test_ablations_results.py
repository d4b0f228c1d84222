"""``make claims``: results that are read back, resumed, refused when the world has changed; and the
search, whose grids bracket their winners.
"""

import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from zephyr_utils.ablations import catalogue, claims, results
from zephyr_utils.ablations.tables import models_table
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import claims as script  # noqa: E402
import expected_ranges  # noqa: E402
import study  # noqa: E402

QUIET = Console(file=io.StringIO())


def whole_seed(shift):
    exam = {
        "score": 5.0 + shift,
        "right": 0.5,
        "ended": 1.0,
        "tokens": 12.0,
        "questions": ["iIiI", "IiIi"],
    }
    row = {
        "exam": exam,
        "epochs": [exam] * 3,
        "accuracies": {"train": [0.5] * 3, "held_out": [0.5] * 3},
        "accuracy_once_trained": 0.5,
    }
    more = {
        "dsft": {"held_out_loss": 1.0 + shift},
        "trained": {"first_step_loss": 0.6931},
        "margins": {"accuracy": 0.8, "margin": 1.0},
    }
    return dict.fromkeys(catalogue.ABLATIONS, row) | {"ddpo": {**row, **more}}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    elsewhere = dataclasses.replace(script.STUDY, results=tmp_path / "claims.json")
    monkeypatch.setattr(script, "STUDY", elsewhere)


# --- claims ---------------------------------------------------------------------------------------


def test_every_claim_reads_what_a_replication_measures_in_both_outcomes():
    findings = claims.judge_all({seed: whole_seed(0.0) for seed in (0, 1)})
    assert len({found.claim.key for found in findings}) == len(findings) == len(claims.CLAIMS)
    for found in findings:
        assert set(found.findings) == set(found.claim.outcomes)
        assert "not measured" not in {found.verdict_on(name) for name in found.claim.outcomes}
        assert found.why or found.verdict == "undecided"
    # equal answers everywhere: a difference of nothing is a verdict
    differences = [found for found in findings if not found.claim.number]
    assert {found.verdict for found in differences} == {"equivalent", "holds"}
    json.dumps([found.as_record() for found in findings])


def test_the_first_eighteen_claims_are_those_of_the_protocols_families():
    first = [claim.family for claim in claims.CLAIMS[: claims.FIRST]]
    assert {name: first.count(name) for name in first} == {
        "table 3": 5,
        "epochs": 3,
        "pairings": 3,
        "beta": 2,
        "losses": 5,
    }


def test_every_row_is_measured_by_make_claims():
    assert set(script.ROWS) == set(catalogue.ABLATIONS)


def test_a_model_has_a_line_with_both_outcomes():
    measured = {seed: whole_seed(0.0) for seed in (0, 1)}
    line = "| dSFT-2 | 5.00 [5.00, 5.00] | 50.0 [50.0, 50.0] | 12.0 | 100 % | 6.19 | 2 |"
    assert line in models_table(measured, catalogue.TABLE_3)


# --- the file -------------------------------------------------------------------------------------


def test_results_are_read_back_as_they_were_written():
    measured, failed = {1: whole_seed(0.2), 0: whole_seed(0.0)}, {2: {"ipo": "loss is nan"}}
    script.STUDY.write(measured, failed, {"ipo": [3.0]}, results.provenance())
    script.STUDY.write_findings(claims.judge_all(measured))
    assert script.STUDY.known() == (measured, failed)
    assert list(script.STUDY.known()[0]) == [0, 1], "in order, whoever finished first"
    written = read_json(script.STUDY.results)
    assert {"base_model", "world", "recipes", "recipe_of_ipo"} <= set(written["provenance"])
    found = written["findings"]["ddpo_adds"]
    assert found["replications"] == 2 and {"grade", "right"} <= set(found)


def test_committed_results_are_found_wherever_a_notebook_is_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert results.committed_file("chapter_seeds.json")["chapters"]


def test_ten_replications_of_640_questions_stay_below_three_megabytes():
    exam = {"score": 5.0, "right": 0.5, "questions": ["iI" * 320, "Ii" * 320]}
    seed = {row: {"exam": exam, "epochs": [exam] * 3} for row in catalogue.ABLATIONS}
    script.STUDY.write(dict.fromkeys(range(10), seed), {}, {}, results.provenance())
    assert script.STUDY.results.stat().st_size < 3e6


def fake_runs(monkeypatch, outcome):
    asked = []

    def run(tasks, workers, say, keep, module):
        for pipeline, names in tasks:
            for name in names:
                asked.append((pipeline.seed, name))
                keep(pipeline.seed, {"row": name, "seconds": 2.0, **outcome(pipeline.seed, name)})
            yield pipeline.seed, {}

    monkeypatch.setattr(study, "run_in_parallel", run)
    return asked


def test_a_run_that_was_killed_goes_on_with_the_rows_that_are_missing(monkeypatch):
    exam = {"results": {"exam": {"score": 1.0, "right": 0.0}}}

    def killed(seed, name):
        if (seed, name) == (1, "dsft"):
            raise KeyboardInterrupt
        return exam

    fake_runs(monkeypatch, killed)
    with pytest.raises(KeyboardInterrupt):
        script.STUDY.measure(2, 1, ["base", "dsft"], False, QUIET)
    asked = fake_runs(monkeypatch, lambda seed, name: exam)
    measured, failed = script.STUDY.measure(2, 1, ["base", "dsft"], False, QUIET)
    assert asked == [(1, "dsft")] and not failed
    assert {seed: set(rows) for seed, rows in measured.items()} == {
        0: {"base", "dsft"},
        1: {"base", "dsft"},
    }


def test_a_row_that_failed_is_named_left_out_and_tried_again(monkeypatch):
    def outcome(seed, name):
        return {"failed": "the loss is nan"} if seed == 1 else {"results": whole_seed(0.0)[name]}

    fake_runs(monkeypatch, outcome)
    measured, failed = script.STUDY.measure(3, 1, ["base", "dsft"], False, QUIET)
    assert failed == {1: {"base": "the loss is nan", "dsft": "the loss is nan"}}
    said = script.summary(claims.judge_all(measured), measured, failed)
    assert "2 replications" in said and "Left out: seed 1, dsft: the loss is nan" in said
    asked = fake_runs(monkeypatch, lambda seed, name: {"results": {"exam": {"score": 1.0}}})
    assert script.STUDY.measure(3, 1, ["base", "dsft"], False, QUIET)[1] == {1: {}}
    assert asked == [(1, "base"), (1, "dsft")]
    assert read_json(script.STUDY.results)["failed"] == {}


def test_the_time_left_is_told_from_the_rows_that_were_measured():
    progress = study.Progress([(0, "a"), (0, "b"), (1, "a"), (1, "b")], workers=1)
    assert progress.add(0, "a", 600) == "1 of 4 rows, about 30 min left"
    assert progress.add(0, "b", 6000) == "2 of 4 rows, about 1 h 50 min left"


def test_results_of_another_world_are_refused_by_name(monkeypatch):
    then = results.provenance() | {"world": "another", "base_model": "another"}
    script.STUDY.write({0: whole_seed(0.0)}, {}, {}, then)
    monkeypatch.setattr("sys.argv", ["claims.py", "--known"])
    with pytest.raises(HandbookError, match="last change of: base model, world") as refused:
        script.main()
    assert "--afresh" in str(refused.value)


def test_judging_again_keeps_where_and_from_what_the_results_were_measured(monkeypatch):
    script.STUDY.write({0: whole_seed(0.0), 1: whole_seed(0.2)}, {}, {}, results.provenance())
    before = read_json(script.STUDY.results)
    monkeypatch.setattr(study, "environment_stamp", lambda: {"cpu": "another"})
    monkeypatch.setattr("sys.argv", ["claims.py", "--known"])
    assert script.main() == 0
    after = read_json(script.STUDY.results)
    assert after.pop("findings") and before.pop("findings") == {}
    assert after == before


@pytest.mark.parametrize("options", [["--known"], ["--known", "--afresh"]])
def test_without_results_or_with_results_to_be_forgotten_there_is_nothing_to_judge(
    options, monkeypatch, capsys
):
    if "--afresh" in options:
        then = results.provenance() | {"world": "another"}
        script.STUDY.write({0: whole_seed(0.0)}, {}, {}, then)
    before = read_json(script.STUDY.results)
    monkeypatch.setattr("sys.argv", ["claims.py", *options])
    with pytest.raises(SystemExit):
        script.main()
    assert "--known judges the results" in capsys.readouterr().err
    assert read_json(script.STUDY.results) == before


def test_the_committed_results_say_when_something_they_rest_on_has_changed(tmp_path, monkeypatch):
    then = {**results.provenance(), "base_model": "another"}
    stamp = {"cpu": "a", "torch": "b", "trl": "c"}
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "claims.json").write_text(
        json.dumps({"stamp": stamp, "provenance": then, "measured": {"0": {}}})
    )
    monkeypatch.chdir(tmp_path)
    found = results.committed()
    assert found.changed == ("base model",) and found.format == 1


def test_a_row_that_was_added_leaves_results_valid_and_a_row_that_changed_is_named():
    now = results.provenance()
    earlier = {name: one for name, one in now.items() if name != "recipe_of_all_weights"}
    assert results.changes_since(earlier) == ()
    assert results.changes_since(earlier | {"recipe_of_ipo": "another"}) == ("recipe of ipo",)
    del earlier["recipes"]
    assert results.changes_since(earlier) == ("recipes",)


# --- ranges ---------------------------------------------------------------------------------------


def test_ranges_reach_four_deviations_and_leave_other_chapters_alone(tmp_path):
    path = tmp_path / "ranges.yaml"
    path.write_text(
        "# about\n01_truecasing: {f1: [0.9, 1.0]}\n02_dsft: {held_out_loss: [0, 9], seconds: [1, "
        "2]}\n"
    )
    measured = {0: whole_seed(0.0), 1: whole_seed(0.2)}
    expected_ranges.write_ranges(path, expected_ranges.ranges(measured))
    text = path.read_text()
    found = yaml.safe_load(text)
    assert text.startswith("# about\n") and found["01_truecasing"] == {"f1": [0.9, 1.0]}
    low, high = found["02_dsft"]["held_out_loss"]
    assert (low, high) == (
        pytest.approx(1.1 - 4 * 0.1414, abs=1e-3),
        pytest.approx(1.1 + 4 * 0.1414, abs=1e-3),
    )
    assert (
        found["02_dsft"]["seconds"] == [1, 2] and next(iter(found["07_evaluation"])) == "score_ddpo"
    )
    assert found["05_ddpo"]["first_step_loss"] == [0.693, 0.6933], "ln 2, and nothing beside it"
    low, high = found["08_ablations"]["few_minus_dsft"]
    assert high - low == pytest.approx(1.0, abs=1e-3), "half a grade to each side"
