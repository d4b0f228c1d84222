"""The card says what the manifests say and what nobody measured; nothing leaves the machine unless
asked. No network.
"""

import json
import re
import shutil
from typing import ClassVar

import pytest
import yaml
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline import hub_upload as uploads
from zephyr_utils.pipeline import model_card as cards
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.pipeline.pipeline import Pipeline

VERSIONS = {"zephyr_utils": "0.1.0", "torch": "2.13.0"}
FACTS = {
    "key": "k",
    "versions": VERSIONS,
    "seed": 0,
    "peak_memory_mb": 900.0,
    "files": {},
    "resumed": False,
}
ROWS = {
    "rows_in": 100,
    "rows_out": 90,
    "rows_set_aside": 10,
    "rows_trained": 80,
    "rows_held_out": 10,
}
SECRET = "hf_" + "x" * 20


@pytest.fixture
def pipeline(tmp_path) -> Pipeline:
    """A pipeline whose manifests are there and whose models are a few bytes."""
    pipeline = Pipeline(runs=str(tmp_path))
    results = {
        "dsft": {"held_out_loss": 1.2345},
        "ddpo": {"first_step_loss": 0.6931, "set_aside": {"identical": 10}},
    }
    inputs = {"dsft": {"base_model": "b" * 64}, "ddpo": {"start": "k", "pairs": "p"}}
    for step, seconds in (("dsft", 61.4), ("ddpo", 99.6)):
        folder = pipeline.folder / cards.STEPS[step]
        (folder / "model").mkdir(parents=True)
        facts = {
            "inputs": inputs[step],
            "recipe": {"learning_rate": 1e-3},
            "seconds": seconds,
            "rows": ROWS,
            "results": results[step],
        }
        (folder / "manifest.json").write_text(json.dumps(FACTS | facts))
        (folder / "model" / "model.safetensors").write_bytes(b"0" * 64)
        (folder / "model" / "config.json").write_text('{"model_type": "mistral"}')
        (folder / "model" / "training_args.bin").write_bytes(b"a pickle")
    for folder, name in ((cards.TRUECASING, "dialogues"), (cards.PAIRS, "feedback")):
        (pipeline.folder / folder).mkdir()
        (pipeline.folder / folder / "manifest.json").write_text(
            json.dumps({"inputs": {name: name[0] * 64}})
        )
    return pipeline


def test_a_card_states_base_data_recipe_figures_seconds_and_what_was_not_evaluated(pipeline):
    card = cards.model_card(pipeline)
    for words in (
        "b" * 64,
        "d" * 64,
        "f" * 64,
        "learning_rate: 0.001",
        "1.2345",
        "0.6931",
        "| 61 |",
        "| 100 |",
        "10 identical",
    ):
        assert words in card, words
    assert "## Not evaluated" in card and "safety" in card and "MT-Bench" in card
    assert "Hardware: not recorded" in card


def test_the_header_of_a_card_is_yaml_that_the_hub_reads(pipeline):
    header = yaml.safe_load(cards.model_card(pipeline).split("---")[1])
    assert (
        header["base_model"] == "zephyr-handbook/miniature-base"
        and header["pipeline_tag"] == "text-generation"
    )
    assert "datasets" not in header  # the miniature's lie on no Hub


def test_the_card_of_a_scale_on_the_hub_pins_model_and_data(pipeline, tmp_path):
    large = Pipeline(scale="zephyr-7b-lora", runs=str(tmp_path))
    pipeline.folder.rename(large.folder)
    card = cards.model_card(large)
    base = large.setting.base_model
    assert base.path in card and base.revision in card and large.setting.feedback.revision in card
    assert "not searched" in card


def test_hardware_and_the_exam_come_in_where_they_were_recorded(pipeline):
    stamp = {"cpu": "Some CPU", "cores": 2, "memory_gb": 8.0, "accelerator": "none"}
    (pipeline.folder / "report.json").write_text(
        json.dumps({"chapters": {cards.STEPS["ddpo"]: {"environment": stamp}}})
    )
    exam = pipeline.folder / cards.EVALUATION / "ddpo"
    exam.mkdir(parents=True)
    assert "own exam: not run on this model" in cards.model_card(pipeline)
    trained = pipeline.folder / cards.STEPS["ddpo"] / "model"
    facts = {"inputs": {"model": fingerprint(trained)}, "results": {"score": 6.5}}
    (exam / "manifest.json").write_text(json.dumps(facts))
    card = cards.model_card(pipeline)
    assert "Some CPU, 2 cores" in card and "rule-based teacher as judge: score | 6.5" in card
    assert "own exam: not run on this model" not in card


def test_the_exam_of_an_earlier_model_is_not_this_ones(pipeline):
    exam = pipeline.folder / cards.EVALUATION / "ddpo"
    exam.mkdir(parents=True)
    (exam / "manifest.json").write_text(
        json.dumps({"inputs": {"model": "older"}, "results": {"score": 9.9}})
    )
    card = cards.model_card(pipeline)
    assert "9.9" not in card and "own exam: not run on this model" in card


def test_a_ddpo_model_from_another_dsft_model_has_no_card(pipeline):
    path = pipeline.folder / cards.STEPS["dsft"] / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"key": "newer"}))
    with pytest.raises(HandbookError, match="another dsft model"):
        cards.model_card(pipeline)
    assert "1.2345" in cards.model_card(pipeline, "dsft")


def test_a_card_needs_a_trained_model_and_says_how_to_make_one(tmp_path):
    with pytest.raises(HandbookError, match=r"(?s)has not been made.*zephyr sft --scale smol"):
        cards.model_card(Pipeline(scale="smol", runs=str(tmp_path)))
    with pytest.raises(HandbookError, match="no card for `base`"):
        cards.model_card(Pipeline(runs=str(tmp_path)), "base")


class Hub:
    """Stands in for the Hub's client and keeps what it is asked."""

    calls: ClassVar[list] = []

    def __init__(self, token):
        self.token = token

    def create_repo(self, repository, **options):
        self.calls.append(("create_repo", repository, options))

    def create_commit(self, repository, operations, commit_message):
        self.calls.append(
            ("create_commit", repository, sorted(one.path_in_repo for one in operations))
        )


class Refusing(Hub):
    def create_repo(self, repository, **options):
        raise RuntimeError(f"401 for {self.token}")


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "calls", [])
    return Hub


def test_without_upload_nothing_is_sent_whatever_token_there_is(pipeline, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    told = CliRunner().invoke(app, ["push", "me/mine", "--runs", pipeline.runs])
    assert told.exit_code == 0 and hub.calls == []
    assert "Nothing was uploaded" in told.output and SECRET not in told.output


def test_a_run_on_records_of_ones_own_is_found_by_the_options_that_trained_it(
    pipeline, hub, tmp_path
):
    own = tmp_path / "pairs.jsonl"
    own.write_text("{}\n")
    options = ["push", "me/mine", "--runs", pipeline.runs, "--preferences", str(own)]
    told = CliRunner().invoke(app, options)
    assert told.exit_code != 0 and "has not been made" in str(told.exception)
    shutil.copytree(pipeline.folder, f"{pipeline.folder}-own-data")
    told = CliRunner().invoke(app, options)
    assert told.exit_code == 0, told.output
    assert re.search(r"\| preferences +\| .*pairs\.jsonl", told.output) and hub.calls == []


def test_with_upload_one_commit_holds_card_and_model_and_no_pickle(pipeline, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    told = CliRunner().invoke(app, ["push", "me/mine", "--runs", pipeline.runs, "--upload"])
    assert told.exit_code == 0, told.output
    assert hub.calls == [
        ("create_repo", "me/mine", {"private": True, "exist_ok": True}),
        ("create_commit", "me/mine", ["README.md", "config.json", "model.safetensors"]),
    ]
    assert SECRET not in told.output


def test_without_a_token_an_upload_is_refused_before_anything_is_sent(pipeline, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(HandbookError, match="no HF_TOKEN"):
        uploads.push(uploads.hub_upload(pipeline, "me/mine"))
    assert hub.calls == []


def test_a_refusal_is_told_without_the_token(pipeline, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Refusing)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with pytest.raises(HandbookError) as told:
        uploads.push(uploads.hub_upload(pipeline, "me/mine"))
    assert "401" in str(told.value) and SECRET not in str(told.value)
    assert told.value.__cause__ is None  # whose traceback would hold it


@pytest.mark.parametrize("name", ["mine", "/mine", "me/", "a/b/c", "me/na me", "../mine", "me/.."])
def test_what_is_not_a_repository_is_refused(pipeline, name):
    with pytest.raises(HandbookError, match="is not a repository name"):
        uploads.hub_upload(pipeline, name)


def test_a_file_that_names_a_folder_of_this_machine_is_not_sent(pipeline):
    config = pipeline.folder / cards.STEPS["ddpo"] / "model" / "config.json"
    config.write_text(json.dumps({"_name_or_path": "/home/me/secret/model"}))
    with pytest.raises(HandbookError, match="names a folder of this machine"):
        uploads.hub_upload(pipeline, "me/mine")
