"""The models of a run, written beside a page, and what is refused."""

import json
import shutil
from pathlib import Path

import best_of_n
import checkpoints
import live_models
import pytest
from live_runs import know_scale, save_run_of_models

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.learning import CHECKPOINTS, STARTS
from zephyr_utils.explorers.live import address_of
from zephyr_utils.files import write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run_of_models(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def known_scale(run, monkeypatch):
    know_scale(run, monkeypatch)


def test_the_three_models_of_a_run_are_written_where_the_explorer_looks(known_scale, run, tmp_path):
    packed = live_models.models_of(run)
    header = json.loads(live_models.write_models(packed, tmp_path).read_text("utf-8"))
    assert [model["name"] for model in header["models"]] == ["base", "dSFT", "dDPO"]
    assert (tmp_path / "models" / "models.json").is_file() and address_of("models").endswith(
        "/models.json"
    )
    assert (tmp_path / "models" / header["file"]).stat().st_size == header["bytes"]


def test_a_run_without_adapters_or_with_a_model_of_the_hub_has_no_models(known_scale, run):
    assert live_models.models_of(run.parent / "other") is None
    assert live_models.models_of(run.parent / "zephyr-7b-lora") is None
    for mark in live_models.MARKS:
        shown = live_models.with_explorers(f"# Talk\n\n{mark}\n", run, None)
        assert shown == f"# Talk\n\n{live_models.NO_MODELS}\n"


def test_checkpoints_are_written_beside_the_models_that_they_rest_on(known_scale, run, tmp_path):
    packed = live_models.models_of(run)
    kept = live_models.checkpoints_of(run, packed)
    paths = live_models.write_checkpoints(kept, tmp_path)
    assert len(paths) == len(STARTS)
    for path, stage in zip(paths, kept, strict=True):
        header = json.loads(path.read_text("utf-8"))
        assert path == tmp_path / Path(address_of(CHECKPOINTS[stage])).relative_to("_static")
        assert header["rests_on"] == packed.header["sha256"]
        listed = [(model["name"], model["on"]) for model in header["models"]]
        assert listed == [("step 1", STARTS[stage])], "the last step is one of the models"


@pytest.mark.parametrize("stage, model", [("dSFT", "02_dsft"), ("dDPO", "05_ddpo")])
def test_a_run_without_checkpoints_says_so_and_those_of_another_training_are_refused(
    known_scale, run, tmp_path, stage, model
):
    other = tmp_path / "tiny"
    shutil.copytree(run, other)
    packed = live_models.models_of(other)
    made = json.loads((other / model / "manifest.json").read_text("utf-8"))
    write_json(other / model / "manifest.json", {**made, "key": "another"})
    with pytest.raises(HandbookError, match=f"not those of this run's {stage}"):
        live_models.checkpoints_of(other, packed)
    shutil.rmtree(other / checkpoints.MEASURED[model])
    write_json(other / model / "manifest.json", made)
    kept = live_models.checkpoints_of(other, packed)
    assert stage not in kept and len(kept) == 1
    shown = live_models.with_explorers(f"<!-- learning: {stage} -->\n", other, packed, kept)
    assert shown == f"{live_models.NO_CHECKPOINTS.format(stage)}\n"


def test_the_best_of_n_is_shown_of_the_runs_own_answers_and_of_no_others(
    known_scale, run, tmp_path
):
    other = tmp_path / "tiny"
    shutil.copytree(run, other)
    packed = live_models.models_of(other)
    mark = f"{live_models.BEST_OF_N}\n"
    assert live_models.with_explorers(mark, other, packed) == f"{live_models.NO_ANSWERS}\n"
    trained = json.loads((other / "02_dsft" / "manifest.json").read_text("utf-8"))
    write_json(other / "02_dsft" / "manifest.json", {**trained, "key": "start"})
    rewards = other / best_of_n.REWARD_MODEL / "manifest.json"
    write_json(rewards, {"key": "rewards", "inputs": {"start": "start"}})
    answers = [{"text": f"<i>{n}</i>", "reward": float(n), "grade": 5.0} for n in range(4)]
    results = {"questions": [{"prompt": "Which?", "answers": answers}]}
    made = {"inputs": best_of_n.inputs_of(other), "results": results}
    write_json(other / best_of_n.FOLDER / "manifest.json", made)
    shown = live_models.with_explorers(mark, other, packed)
    assert "byReward" in shown and "<i>" not in shown
    write_json(rewards, {"key": "other rewards", "inputs": {"start": "start"}})
    with pytest.raises(HandbookError, match="not those of this run's models"):
        live_models.with_explorers(mark, other, packed)
    write_json(rewards, {"key": "rewards", "inputs": {"start": "another"}})
    with pytest.raises(HandbookError, match="no reward model of this run's dSFT model"):
        best_of_n.inputs_of(other)


def test_models_of_another_base_are_refused(known_scale, run, tmp_path):
    other = tmp_path / "tiny"
    shutil.copytree(run, other)
    write_json(other / "02_dsft" / "manifest.json", {"inputs": {"base_model": "of yesterday"}})
    with pytest.raises(HandbookError, match="not the one that this run's models were trained from"):
        live_models.models_of(other)


def test_models_that_are_too_large_for_a_reader_are_refused(known_scale, run, monkeypatch):
    monkeypatch.setattr(live_models, "MOST_BYTES", 1000)
    with pytest.raises(HandbookError, match="a reader fetches 1,000 at most"):
        live_models.models_of(run)


def test_where_not_all_fit_the_last_checkpoints_of_dsft_are_left_out(
    known_scale, run, monkeypatch, capsys
):
    packed = live_models.models_of(run)
    kept = live_models.checkpoints_of(run, packed)
    whole = sum(len(part.payload) for part in (packed, *kept.values()))
    monkeypatch.setattr(live_models, "MOST_BYTES", whole - 1)
    fewer = live_models.checkpoints_of(run, packed)
    assert fewer["dDPO"] == kept["dDPO"] and not fewer["dSFT"].header["models"]
    assert "step 1 of dSFT is left out" in capsys.readouterr().out
    shown = live_models._explorer("<!-- learning: dSFT -->", run, packed, fewer)
    assert [point["model"] for point in shown.points] == ["base", "dSFT"]
    monkeypatch.setattr(live_models, "MOST_BYTES", len(packed.payload) + 100)
    with pytest.raises(HandbookError, match="a reader fetches"):
        live_models.checkpoints_of(run, packed)


def test_a_page_without_the_mark_is_left_as_it_is(known_scale, run):
    assert live_models.with_explorers("# Other\n", run, live_models.models_of(run)) == "# Other\n"
