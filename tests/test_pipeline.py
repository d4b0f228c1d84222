"""The pipeline: each step makes its artefact once, from the steps before it; real records go the
same way; a kill is made good.
"""

import json
import time
from itertools import islice

import pytest
import warm
from real_records import REAL, needs

from zephyr_utils.data.records import save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import data as world
from zephyr_utils.pipeline.pipeline import Pipeline

pytestmark = pytest.mark.slow
SHORT = {
    "per_device_train_batch_size": 8,
    "num_train_epochs": 1,
    "logging_steps": 2,
    "save_steps": 2,
}


def lines(path, count):
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in islice(stream, count)]


@pytest.fixture(scope="module", autouse=True)
def short_exam():
    """Of the exam's 640 questions every sixteenth: 5 of each category."""
    whole = Pipeline.questions
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "questions", lambda self: whole(self)[::16])
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The pipeline on a slice of the miniature's records, given as a reader gives her own."""
    folder = tmp_path_factory.mktemp("small")
    dialogues = save_records(world.dialogues(240), folder / "dialogues.jsonl")
    feedback = save_records(world.feedback(160), folder / "feedback.jsonl")
    return Pipeline(
        dialogues=str(dialogues),
        feedback=str(feedback),
        runs=str(folder / "runs"),
        changes={"dsft": SHORT, "ddpo": SHORT},
    )


def test_the_pipeline_runs_from_raw_dialogues_to_a_graded_model(small):
    graded = small.evaluate("ddpo", small.model_directory("ddpo"))
    assert 1 <= graded.results["score"] <= 10 and 0 <= graded.results["ended"] <= 1
    steps = {"01_truecasing", "02_dsft", "04_preference_pairs", "05_ddpo", "07_evaluation"}
    assert steps <= {path.name for path in small.folder.iterdir() if not path.name.startswith(".")}


def test_at_every_step_rows_in_are_rows_out_and_rows_set_aside(small):
    for manifest in (small.truecased(), small.dsft(), small.pairs(), small.ddpo()):
        rows = manifest.rows
        assert rows["rows_in"] == rows["rows_out"] + rows["rows_set_aside"], manifest.folder
        assert rows["rows_set_aside"] == sum(manifest.results["set_aside"].values())
    trained = small.ddpo().rows
    assert trained["rows_out"] == trained["rows_trained"] + trained["rows_held_out"]


def test_a_second_walk_reuses_everything(small):
    small.margins()
    again = Pipeline(
        **{name: getattr(small, name) for name in ("dialogues", "feedback", "runs", "changes")}
    )
    assert all(
        step().reused
        for step in (again.truecased, again.dsft, again.pairs, again.ddpo, again.margins)
    )


def test_another_seed_and_own_data_have_folders_of_their_own(small):
    assert small.folder.name == "miniature-own-data"
    assert Pipeline(seed=3, runs=small.runs).folder.name == "miniature-seed3"
    assert Pipeline(runs=small.runs).folder.name == "miniature"


def test_a_changed_recipe_makes_the_step_again_and_only_from_there(small):
    other = Pipeline(
        dialogues=small.dialogues, feedback=small.feedback, runs=small.runs,
        changes={"dsft": SHORT, "ddpo": SHORT | {"beta": 0.2, "max_steps": 1}},
    )  # fmt: skip
    assert other.dsft().reused and not other.ddpo().reused
    assert not small.ddpo().reused, "the folder holds one model, that of the last recipe"


def test_refusals_are_dropped_and_capitals_restored(small):
    results = small.truecased().results
    assert results["set_aside"]["refusal"] > 0 and results["case_noise"]["capitalized"] > 0
    assert results["answers_changed"] > 0


def test_an_unknown_model_is_refused_with_the_known_ones(small):
    with pytest.raises(HandbookError, match=r"(?s)no model `ppo`.*base, dsft, ddpo"):
        small.model_directory("ppo")


def test_a_base_model_on_the_hub_is_fetched_at_its_pinned_revision(monkeypatch):
    asked = []

    def snapshot_download(path, **options):
        asked.append((path, options["revision"], options["ignore_patterns"]))
        return "a local folder"

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    pipeline = Pipeline(scale="smol")
    assert pipeline.model_directory("base") == "a local folder"
    assert asked == [
        (pipeline.setting.base_model.path, pipeline.setting.base_model.revision, ["consolidated*"])
    ]


def test_a_base_model_that_cannot_be_fetched_is_an_error_with_a_way_out(monkeypatch):
    def snapshot_download(path, **options):
        raise OSError("no network\nand a long tail")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(
        HandbookError, match=r"cannot be fetched: OSError: no network(?s:.)*--base-model DIR"
    ):
        Pipeline(scale="smol").model_directory("base")


def test_bad_rows_stop_the_walk_or_are_set_aside_and_counted(tmp_path):
    rows = [
        *world.dialogues(120),
        {"id": "x", "data": []},
        {"id": "y", "data": ["only a question"]},
    ]
    path = save_records(rows, tmp_path / "dialogues.jsonl")
    with pytest.raises(HandbookError, match=r"dialogues.jsonl, row 121"):
        Pipeline(dialogues=str(path), runs=str(tmp_path / "a")).truecased()
    kept = Pipeline(
        dialogues=str(path), runs=str(tmp_path / "b"), set_aside_bad_rows=True
    ).truecased()
    assert kept.rows["rows_in"] == 122
    assert (
        sum(count for reason, count in kept.results["set_aside"].items() if reason != "refusal")
        == 2
    )
    assert len((kept.folder / "set_aside.jsonl").read_text().splitlines()) == 2


@needs("ultrachat_200k_sample")
@needs("ultrafeedback_binarized_sample")
def test_real_ultrachat_and_ultrafeedback_records_go_the_same_way(tmp_path):
    dialogues = save_records(
        lines(REAL / "ultrachat_200k_sample" / "ultrachat_small.shared.jsonl", 40),
        tmp_path / "dialogues.jsonl",
    )
    preferences = save_records(
        lines(REAL / "ultrafeedback_binarized_sample" / "train_clean.shared.jsonl", 40),
        tmp_path / "pairs.jsonl",
    )
    # A real message is long in tokens of the miniature.
    longest = SHORT | {"max_length": 768, "per_device_train_batch_size": 4}
    pipeline = Pipeline(
        dialogues=str(dialogues), preferences=str(preferences), runs=str(tmp_path / "runs"),
        changes={"dsft": longest, "ddpo": longest},
    )  # fmt: skip
    sft = pipeline.dsft()
    assert sft.results["held_out_loss"] < sft.results["held_out_loss_before"] - 0.5
    pairs = pipeline.ddpo()
    assert pairs.rows["rows_in"] == 40 and pairs.rows["rows_set_aside"] > 0
    assert 0 <= pipeline.margins().results["accuracy_low"] <= pipeline.margins().results["accuracy"]


KILLED = """
import sys
from zephyr_utils.pipeline.pipeline import Pipeline
import json
pipeline = Pipeline(**json.loads(sys.argv[1]))
print(pipeline.dsft().key)
"""


def test_a_walk_killed_in_the_middle_of_dsft_goes_on_and_ends_with_the_same_weights(
    small, tmp_path
):
    dials = {
        "dialogues": small.dialogues,
        "feedback": small.feedback,
        "runs": str(tmp_path / "runs"),
        "changes": small.changes,
    }
    process = warm.Process(KILLED, json.dumps(dials))
    folder = Pipeline(**dials).folder / "02_dsft"
    deadline = time.monotonic() + 120
    while (
        not list(folder.glob("checkpoints/checkpoint-*/trainer_state.json"))
        and time.monotonic() < deadline
    ):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    assert not (folder / "manifest.json").exists()
    warm.run(KILLED, json.dumps(dials))
    one, two = (
        manifest.files["model/model.safetensors"]["sha256"]
        for manifest in (Pipeline(**dials).dsft(), small.dsft())
    )
    assert Pipeline(**dials).dsft().resumed and one == two
