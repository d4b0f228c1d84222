"""Ablations: rows that say what they train on, verdicts of three words, results that survive a
kill.
"""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from zephyr_utils.ablations import catalogue as ablations
from zephyr_utils.ablations import claims, results
from zephyr_utils.ablations.parallel import run_in_parallel
from zephyr_utils.data.records import load_records, save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import Interval
from zephyr_utils.miniature import data as world
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.scales import SCALES
from zephyr_utils.training import callbacks
from zephyr_utils.training.callbacks import SaveEachEpoch

ROOT = Path(__file__).resolve().parents[1]

# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", [row for row in ablations.ABLATIONS.values() if row.trains], ids=lambda row: row.name
)
@pytest.mark.parametrize("scale", SCALES)
def test_every_row_has_a_recipe_at_every_scale_that_trl_takes(row, scale):
    from zephyr_utils.recipes import check_recipe

    recipe = ablations.recipe_of(Pipeline(scale=scale), row)
    check_recipe(recipe, row.stage)
    assert row.recipe.items() <= recipe.items()


def test_the_searched_values_belong_to_rows_there_are():
    found = yaml.safe_load((ablations.RECIPES_FOLDER / "miniature" / "ablations.yaml").read_text())
    assert set(found) == {"few", "rows"}
    assert set(found["rows"]) <= set(ablations.ABLATIONS)


def test_rows_that_are_compared_differ_in_what_their_label_says_and_in_the_searched_values_alone():
    pipeline = Pipeline()
    plain = ablations.recipe_of(pipeline, ablations.ABLATIONS["few"])
    for name in {*ablations.PAIRINGS, *ablations.BETAS, *ablations.LOSSES} - {"few"}:
        row = ablations.ABLATIONS[name]
        recipe = ablations.recipe_of(pipeline, row)
        changed = {key for key in recipe if recipe[key] != plain.get(key)}
        # IPO's beta is a distance per token and no kin of DPO's: it has a search of its own.
        searched = {"learning_rate", "beta"} if name == "ipo" else {"learning_rate"}
        assert changed <= {*searched, *row.recipe}
        assert bool(row.pairs) != bool(row.recipe)


def test_an_unknown_row_is_answered_with_those_there_are():
    with pytest.raises(HandbookError, match="dsft_2"):
        ablations.get_ablation("dsft_3")


def test_a_share_of_the_rows_keeps_their_order_and_depends_on_the_prompt_alone():
    rows = [{"prompt": f"What is {n} plus 1?", "side": n % 2} for n in range(2000)]
    kept = ablations.take_share(rows, 0.25)
    assert 420 < len(kept) < 580
    assert kept == [row for row in rows if row in kept]
    assert [row["prompt"] for row in kept] == [
        r["prompt"] for r in ablations.take_share([{**r, "side": 0} for r in rows], 0.25)
    ]


def test_pairs_of_another_making_need_the_ratings_they_are_made_from(tmp_path):
    pipeline = Pipeline(preferences="pairs.jsonl", runs=str(tmp_path))
    with pytest.raises(HandbookError, match="here the pairs are given"):
        ablations.data_of(pipeline, ablations.ABLATIONS["lowest"])


def test_ties_that_are_kept_are_trained_on(tmp_path):
    save_records(world.feedback(200), tmp_path / "feedback.jsonl")
    pipeline = Pipeline(feedback=str(tmp_path / "feedback.jsonl"), runs=str(tmp_path))
    made = ablations.data_of(pipeline, ablations.ABLATIONS["ties_kept"])
    pairs = load_records(made.folder / "pairs.parquet", "preference").records
    ties = sum(pair["score_chosen"] == pair["score_rejected"] for pair in pairs)
    train, held_out, fitted = pipeline.split_pairs(made)
    same = sum(
        p["chosen"] == p["rejected"] and p["score_chosen"] == p["score_rejected"] for p in pairs
    )  # teaches nothing
    assert ties > 5 and fitted.set_aside["tied"] == 0
    assert (
        sum(pair["score_chosen"] == pair["score_rejected"] for pair in train + held_out)
        == ties - same
    )
    assert not any(
        pair["score_chosen"] == pair["score_rejected"] for pair in pipeline.split_pairs()[0]
    )


# --- accuracies -----------------------------------------------------------------------------------


def test_the_accuracy_of_an_epoch_is_the_mean_of_its_steps_and_the_last_measurement_held_out():
    log = [
        {"epoch": 0.5, "rewards/accuracies": 0.5},
        {"epoch": 1.0, "rewards/accuracies": 0.7},
        {"epoch": 1.0, "eval_rewards/accuracies": 0.6},
        {"epoch": 1.5, "rewards/accuracies": 0.9},
        {"epoch": 2.0, "eval_rewards/accuracies": 0.8},
        {"epoch": 2.0, "train_loss": 0.3},
    ]
    found = ablations.accuracies_by_epoch(log, 2)
    assert found == {"train": [pytest.approx(0.6), 0.9], "held_out": [0.6, 0.8]}


def test_each_epoch_leaves_its_adapter_in_a_folder_of_its_own(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(
        callbacks, "save_adapter", lambda model, folder, writes: saved.append(folder)
    )
    keeper = SaveEachEpoch(tmp_path)
    for epoch in (1.0, 1.9999999, 3.0):  # as the trainer counts: sums of fractions
        keeper.on_epoch_end(None, SimpleNamespace(epoch=epoch, is_world_process_zero=True), None)
    assert [path.name for path in saved] == ["epoch_1", "epoch_2", "epoch_3"]


# --- verdicts -------------------------------------------------------------------------------------


def seeds_of(better, worse):
    return {
        seed: {"ddpo": {"exam": {"score": b}}, "dsft": {"exam": {"score": w}}}
        for seed, (b, w) in enumerate(zip(better, worse, strict=True))
    }


CLAIM = claims.Claim(
    "key",
    "dDPO adds",
    "7.00 against 6.64",
    claims.difference("ddpo", "dsft"),
    why={"holds": "because"},
)


@pytest.mark.parametrize(
    ("low", "high", "expected", "verdict"),
    [
        (0.1, 0.9, "above", "holds"),
        (0.1, 0.9, "below", "does not hold"),
        (-0.9, -0.1, "above", "does not hold"),
        (-0.9, -0.1, "below", "holds"),
        (-0.1, 0.9, "above", "undecided"),
        (0.0, 0.9, "above", "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low, high, expected, verdict):
    assert claims.verdict_of(Interval((low + high) / 2, low, high), expected) == verdict


def test_a_difference_is_taken_seed_by_seed():
    # Far apart from seed to seed and always the same gap: certain when paired, hopeless when not.
    found = claims.judge(CLAIM, seeds_of([5.5, 7.6, 9.4], [5.0, 7.0, 9.0]))
    assert found.verdict == "holds" and found.why == "because"
    assert found.interval.estimate == pytest.approx(0.5)
    assert found.ours == "+0.50 [+0.25, +0.75]"


def test_one_seed_is_no_measurement_and_a_seed_without_the_row_is_left_out():
    one = seeds_of([6.0], [5.0])
    assert claims.judge(CLAIM, one).verdict == "not measured"
    more = {**seeds_of([6.0, 6.1], [5.0, 5.0]), 2: {"dsft": {"exam": {"score": 5.0}}}}
    assert len(claims.judge(CLAIM, more).per_seed) == 2


def test_an_interval_around_the_boundary_is_undecided_and_says_so_in_the_table():
    found = claims.judge(CLAIM, seeds_of([5.0, 7.0], [5.2, 6.0]))
    table = claims.findings_table([found])
    assert found.verdict == "undecided" and claims.UNDECIDED in table and "**undecided**" in table


def test_every_claim_reads_what_a_seed_measures():
    exam = {"score": 5.0, "right_turn_1": 0.5, "right_turn_2": 0.5, "ended": 1.0}
    row = {
        "exam": exam,
        "epochs": [exam] * 3,
        "accuracies": {"train": [0.5] * 3, "held_out": [0.5] * 3},
    }
    measured = {seed: dict.fromkeys(ablations.ABLATIONS, row) for seed in (0, 1)}
    findings = claims.judge_all(measured)
    assert all(found.verdict != "not measured" for found in findings)
    assert len({found.claim.key for found in findings}) == len(findings) == len(claims.CLAIMS)
    assert "| dSFT-2 | 5.00 [5.00, 5.00] | 50% | 50% | 100% | 6.19 | 2 |" in claims.models_table(
        measured, ablations.TABLE_3
    )
    json.dumps([found.as_record() for found in findings])


# --- several processes ----------------------------------------------------------------------------


def test_a_process_that_fails_says_which_seed_and_why(tmp_path):
    pipeline = Pipeline(seed=3, runs=str(tmp_path), feedback="missing.jsonl")
    with pytest.raises(HandbookError, match=r"(?s)seed 3 failed.*there is no ablation `nonsense`"):
        list(run_in_parallel([(pipeline, ["nonsense"])], workers=1))


@pytest.mark.slow
def test_rows_train_from_what_they_say_and_a_second_process_reuses_them(tmp_path, monkeypatch):
    save_records(world.dialogues(60), tmp_path / "dialogues.jsonl")
    save_records(world.feedback(160), tmp_path / "feedback.jsonl")
    short = {"max_steps": 2, "logging_steps": 1, "per_device_train_batch_size": 4}
    own = {name: str(tmp_path / f"{name}.jsonl") for name in ("dialogues", "feedback")}
    pipeline = Pipeline(runs=str(tmp_path / "runs"), changes={"dsft": short, "ddpo": short}, **own)
    few_questions = [
        question for question in world.questions() if question["question_id"] % 40 == 0
    ]
    monkeypatch.setattr(Pipeline, "questions", lambda self: few_questions)
    # A quarter of the pairs for the one, every chosen answer for the other.
    for name, at_least in (("ddpo_without_dsft", 20), ("dsft_2", 80)):
        measured = ablations.measure(pipeline, name)
        assert (
            1 <= measured["exam"]["score"] <= 10 and measured["trained"]["rows_trained"] > at_least
        )
    without, after = (
        ablations.train(pipeline, ablations.ABLATIONS[name])
        for name in ("ddpo_without_dsft", "dsft_2")
    )
    assert without.reused and after.reused
    # What dDPO without dSFT starts from is the base, and not the dSFT model that lies beside it.
    assert without.inputs["start"] != after.inputs["start"]
    assert without.results["sft_logps_chosen"] == pytest.approx(
        without.results["first_step_logps_chosen"], abs=1e-2
    )


# --- benchmarks/claims.py -------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location(
        "claims_script", ROOT / "benchmarks" / "claims.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("RESULTS", "RANGES"):
        monkeypatch.setattr(module, name, tmp_path / name)
    return module


def whole_seed(shift):
    exam = {"score": 5.0 + shift, "right_turn_1": 0.5, "right_turn_2": 0.5, "ended": 1.0}
    row = {
        "exam": exam,
        "epochs": [exam] * 3,
        "accuracies": {"train": [0.5] * 3, "held_out": [0.5] * 3},
    }
    more = {
        "dsft": {"held_out_loss": 1.0 + shift},
        "trained": {"first_step_loss": 0.6931},
        "margins": {"accuracy": 0.8, "margin": 1.0},
    }
    return dict.fromkeys(ablations.ABLATIONS, row) | {"ddpo": {**row, **more}}


def test_ranges_reach_four_deviations_and_leave_other_chapters_alone(script):
    script.RANGES.write_text(
        "# about\n01_truecasing: {f1: [0.9, 1.0]}\n02_dsft: {held_out_loss: [0, 9], seconds: [1, "
        "2]}\n"
    )
    script.write_ranges({0: whole_seed(0.0), 1: whole_seed(0.2)})
    text = script.RANGES.read_text()
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


def test_results_are_read_back_as_they_were_written(script):
    measured = {0: whole_seed(0.0), 1: whole_seed(0.2)}
    script.write_results(measured, 12)
    assert script.known_results() == measured
    written = json.loads(script.RESULTS.read_text())
    assert set(written["provenance"]) == {"base_model", "world", "recipes"}
    assert written["findings"]["ddpo_adds"]["seeds"] == 2


def test_the_committed_results_say_when_something_they_rest_on_has_changed(tmp_path, monkeypatch):
    then = {**results.provenance(), "base_model": "another"}
    stamp = {"cpu": "a", "torch": "b", "trl": "c"}
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "claims.json").write_text(
        json.dumps({"stamp": stamp, "provenance": then, "measured": {"0": {}}})
    )
    monkeypatch.chdir(tmp_path)
    assert results.committed().changed == ("base model",)
