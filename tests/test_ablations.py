"""Ablations: rows that say what they train on, and results that survive a kill, a failure and a
change of what they rest on.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from zephyr_utils.ablations import catalogue as ablations
from zephyr_utils.ablations import measurements
from zephyr_utils.ablations.outcomes import decode_turns
from zephyr_utils.ablations.parallel import run_in_parallel
from zephyr_utils.data.records import load_records, save_records
from zephyr_utils.errors import HandbookError
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
        assert row.as_many_as == ("few" if row.pairs else ""), "other records, as many updates"
        # IPO's beta is a distance per token and no kin of DPO's: it has a search of its own.
        searched = {"learning_rate", "beta"} if name == "ipo" else {"learning_rate"}
        assert changed <= {*searched, *row.recipe}
        assert bool(row.pairs) != bool(row.recipe)


def test_an_unknown_row_is_answered_with_those_there_are():
    with pytest.raises(HandbookError, match="dsft_2"):
        ablations.get_ablation("dsft_3")


def test_a_share_of_the_rows_keeps_their_order_and_depends_on_the_prompt_alone():
    rows = [{"prompt": f"What is {n} plus 1?", "side": n % 2} for n in range(2000)]
    kept = measurements.take_share(rows, 0.25)
    assert 420 < len(kept) < 580
    assert kept == [row for row in rows if row in kept]
    assert [row["prompt"] for row in kept] == [
        r["prompt"] for r in measurements.take_share([{**r, "side": 0} for r in rows], 0.25)
    ]


def test_rows_on_other_records_make_as_many_updates(tmp_path, monkeypatch):
    count = {"few": 828, "lowest": 900}
    rows = {name: ([{"prompt": str(n)} for n in range(many)], []) for name, many in count.items()}
    monkeypatch.setattr(measurements, "training_rows", lambda pipeline, row: rows[row.name])
    given = {}

    def ddpo(start, rows, folder, recipe, *others, **more):
        given.update(recipe, rows=len(rows))
        return SimpleNamespace(metrics={})

    monkeypatch.setattr(measurements.training, "ddpo", ddpo)
    pipeline, row = Pipeline(runs=str(tmp_path)), ablations.ABLATIONS["lowest"]
    recipe = ablations.recipe_of(pipeline, row)
    measurements.train_into(pipeline, row, "model", tmp_path, recipe)
    assert given["rows"] == 900 and given["max_steps"] == 52  # 828 pairs in batches of 16


def test_rows_on_the_models_own_answers_pair_those_alike_but_for_the_rejected_one(monkeypatch):
    asked = {}
    monkeypatch.setattr(
        Pipeline, "pair_up", lambda self, folder, **changes: (self.on_policy, folder.name, changes)
    )
    for name in ablations.OWN_ANSWERS:
        asked[name] = measurements.data_of(Pipeline(), ablations.ABLATIONS[name])
    assert asked == {
        "own_random": (True, "own_random_pairs", {}),
        "own_worst": (True, "own_worst_pairs", {"rejected": "lowest"}),
        "best_of_4": (True, "best_of_4_pairs", {}),
    }


def test_pairs_of_another_making_need_the_ratings_they_are_made_from(tmp_path):
    pipeline = Pipeline(preferences="pairs.jsonl", runs=str(tmp_path))
    with pytest.raises(HandbookError, match="here the pairs are given"):
        measurements.data_of(pipeline, ablations.ABLATIONS["lowest"])


def test_ties_that_are_kept_are_trained_on(tmp_path):
    save_records(world.feedback(200), tmp_path / "feedback.jsonl")
    pipeline = Pipeline(feedback=str(tmp_path / "feedback.jsonl"), runs=str(tmp_path))
    made = measurements.data_of(pipeline, ablations.ABLATIONS["ties_kept"])
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
    found = measurements.accuracies_by_epoch(log, 2)
    assert found == {"train": [pytest.approx(0.6), 0.9], "held_out": [0.6, 0.8]}


class Saved:
    """Stands for a model or a tokenizer, and notes where it is saved."""

    def __init__(self):
        self.folders = []

    def save_pretrained(self, folder):
        self.folders.append(Path(folder).name)


def test_each_epoch_leaves_its_adapter_in_a_folder_of_its_own(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(callbacks, "PeftModel", Saved)
    monkeypatch.setattr(
        callbacks, "save_adapter", lambda model, folder, writes: saved.append(folder)
    )
    keeper = SaveEachEpoch(tmp_path)
    for epoch in (1.0, 1.9999999, 3.0):  # as the trainer counts: sums of fractions
        state = SimpleNamespace(epoch=epoch, is_world_process_zero=True)
        keeper.on_epoch_end(None, state, None, model=Saved())
    assert [path.name for path in saved] == ["epoch_1", "epoch_2", "epoch_3"]


@pytest.mark.parametrize(("first", "folders"), [(True, ["epoch_2"]), (False, [])])
def test_without_an_adapter_each_epoch_leaves_a_model_that_can_be_examined(
    tmp_path, first, folders
):
    model, tokenizer = Saved(), Saved()
    state = SimpleNamespace(epoch=2.0, is_world_process_zero=first)
    SaveEachEpoch(tmp_path).on_epoch_end(None, state, None, model=model, processing_class=tokenizer)
    assert model.folders == tokenizer.folders == folders


# --- several processes ----------------------------------------------------------------------------


def test_a_row_that_fails_says_which_seed_and_why(tmp_path):
    pipeline = Pipeline(seed=3, runs=str(tmp_path), feedback="missing.jsonl")
    with pytest.raises(HandbookError, match=r"(?s)seed 3 failed.*there is no ablation `nonsense`"):
        list(run_in_parallel([(pipeline, ["nonsense"])], workers=1))


def test_with_somebody_to_keep_them_failures_stop_nothing(monkeypatch, capsys):
    def measure(pipeline, name):
        if name == "dsft_one_epoch":
            raise HandbookError("the loss is nan")
        return {"exam": {"score": 5.0}}

    task = {"pipeline": {}, "rows": ["dsft_one_epoch", "epochs_after_one", "few"]}
    monkeypatch.setattr(measurements, "measure", measure)
    monkeypatch.setattr("sys.argv", ["measurements", json.dumps(task)])
    measurements.main()
    one, after, few = map(json.loads, capsys.readouterr().out.splitlines())
    assert "the loss is nan" in one["failed"]
    assert "`dsft_one_epoch`, which it starts from, failed" in after["failed"]
    assert few["results"] == {"exam": {"score": 5.0}}


def test_the_base_model_is_examined_although_dsft_failed(monkeypatch, capsys):
    def measure(pipeline, name):
        if name == "dsft":
            raise HandbookError("the loss is nan")
        return {"exam": {"score": 1.0}}

    monkeypatch.setattr(measurements, "measure", measure)
    task = {"pipeline": {}, "rows": ["dsft", "base", "ddpo"]}
    monkeypatch.setattr("sys.argv", ["measurements", json.dumps(task)])
    measurements.main()
    _, base, ddpo = map(json.loads, capsys.readouterr().out.splitlines())
    assert base["results"] == {"exam": {"score": 1.0}}
    assert "`dsft`, which it starts from, failed" in ddpo["failed"]


def test_a_process_that_dies_fails_the_rows_that_it_had_not_measured(monkeypatch):
    said = json.dumps({"row": "dsft", "label": "dSFT-1", "results": {}, "seconds": 1})
    dying = f"import os; print({said!r}, flush=True); os._exit(9)"
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda command, **options: start([sys.executable, "-c", dying], **options),
    )
    kept = []
    tasks = [(Pipeline(seed=4), ["dsft", "few"])]
    found = list(run_in_parallel(tasks, 1, lambda line: None, lambda *one: kept.append(one)))
    assert found == [(4, {"dsft": {}})]
    assert [(seed, done["row"], "failed" in done) for seed, done in kept] == [
        (4, "dsft", False),
        (4, "few", True),
    ]
    assert "the process ended with 9" in kept[1][1]["failed"]


@pytest.mark.parametrize("fails", ["say", "keep"])
def test_a_process_ends_where_what_it_measured_cannot_be_kept(monkeypatch, fails):
    said = json.dumps({"row": "dsft", "label": "dSFT-1", "results": {}, "seconds": 1})
    training_on = f"import time; print({said!r}, flush=True); time.sleep(600)"
    start, started = subprocess.Popen, []

    def popen(command, **options):
        started.append(start([sys.executable, "-c", training_on], **options))
        return started[0]

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(subprocess, "Popen", popen)
    calls = {"say": lambda line: None, "keep": None} | {fails: full}
    try:
        with pytest.raises(OSError, match="no space left"):
            list(run_in_parallel([(Pipeline(seed=4), ["dsft", "few"])], 1, **calls))
        assert started[0].returncode not in (0, None)
    finally:
        started[0].kill()


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
    trained = set()
    for name in ("ddpo_without_dsft", "dsft_2"):
        measured = measurements.measure(pipeline, name)
        exam = measured["exam"]
        # the two outcomes by question are those of the means
        grades, right = decode_turns(exam["questions"])
        assert grades.shape == (2, len(few_questions))
        assert grades.mean() == pytest.approx(exam["score"], abs=1e-5)
        assert right.mean() == pytest.approx(exam["right"], abs=1e-5)
        trained.add(measured["trained"]["rows_trained"])
    assert len(trained) == 1 and trained.pop() > 60, "both on all the pairs"
    without, after = (
        measurements.train(pipeline, ablations.ABLATIONS[name])
        for name in ("ddpo_without_dsft", "dsft_2")
    )
    assert without.reused and after.reused
    # What dDPO without dSFT starts from is the base, and not the dSFT model that lies beside it.
    assert without.inputs["start"] != after.inputs["start"]
    assert without.results["sft_logps_chosen"] == pytest.approx(
        without.results["first_step_logps_chosen"], abs=1e-2
    )
