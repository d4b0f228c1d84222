"""The practitioner's options of ``sft``, ``dpo`` and ``run``, from the command line to the
artefact, with models of two layers.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from typer.testing import CliRunner

from zephyr_utils import cli, training
from zephyr_utils.chat import ZEPHYR_TEMPLATE, load_model, load_tokenizer, prepare_tokenizer
from zephyr_utils.cli import runs
from zephyr_utils.data.records import save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.miniature import data as world
from zephyr_utils.pipeline import notebooks
from zephyr_utils.pipeline.artefacts import Manifest
from zephyr_utils.pipeline.model_card import model_card
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.pipeline.steps import exam
from zephyr_utils.pipeline.steps.reading import RecordSource
from zephyr_utils.scales import scale_names

OWN_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ':\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
)
SHORT = {"max_steps": 2, "max_length": 200, "per_device_train_batch_size": 4}
BAR = re.compile(r"\d+%\||it/s|s/it")  # of tqdm


def zephyr(*words):
    """Run a command in this process; returns what it printed, or raises what it stopped with."""
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def sets(stage, **values):
    return [
        word
        for name, value in {**SHORT, **values}.items()
        for word in ("--set", f"{stage}.{name}={value}")
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A chat model with a template of its own, a base model without, and records."""
    folder = tmp_path_factory.mktemp("place")
    for name, template in (("chat", OWN_TEMPLATE), ("base", None)):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = template
        tiny_model().save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    save_records(world.dialogues(60), folder / "dialogues.jsonl")
    save_records(world.feedback(60), folder / "feedback.jsonl")
    return folder


def manifest_of(folder, step) -> Manifest:
    (path,) = Path(folder).glob(f"*/{step}/manifest.json")
    return json.loads(path.read_text())


# --- settings and limits --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_changed_setting_trains_again_and_an_unchanged_one_reuses(place, tmp_path):
    command = ["sft", "--base-model", place / "base", "--dialogues", place / "dialogues.jsonl"]
    command += ["--runs", tmp_path, "--limit", 40]
    first = zephyr(*command, *sets("dsft"))
    assert "40 of 60 dialogues, by --limit" in first.stdout and "made in" in first.stdout
    truecased, trained = manifest_of(tmp_path, "01_truecasing"), manifest_of(tmp_path, "02_dsft")
    assert truecased["rows"]["rows_in"] == 60 and truecased["rows"]["rows_out"] <= 40
    assert truecased["results"]["set_aside"]["beyond_limit"] == 20
    assert trained["recipe"]["max_steps"] == 2
    assert "reused" in zephyr(*command, *sets("dsft")).stdout
    again = zephyr(*command, *sets("sft", learning_rate="2e-5"))
    assert "`learning_rate` has another value in the recipe" in again.stdout
    assert manifest_of(tmp_path, "02_dsft")["recipe"]["learning_rate"] == 2e-5


@pytest.mark.slow
def test_a_tracker_does_not_change_the_artefacts_key(place, tmp_path):
    common = {
        "dialogues": str(place / "dialogues.jsonl"), "base_model": str(place / "base"),
        "runs": str(tmp_path), "changes": {"dsft": SHORT},
    }  # fmt: skip
    made = Pipeline(**common).dsft()
    assert Pipeline(**common, report_to=("wandb",)).dsft().reused and not made.reused


def test_a_limit_that_is_not_reached_changes_nothing_and_one_above_counts_the_rest(place, capsys):
    rows = RecordSource(place / "feedback.jsonl", at_most=100).load("feedback")
    assert len(rows) == 60 and rows.n_read == 60 and "--limit" not in capsys.readouterr().out
    few = RecordSource(place / "feedback.jsonl", at_most=25).load("feedback")
    assert len(few) == 25 and few.n_read == 60 and few.reasons() == {"beyond_limit": 35}
    assert few.records == rows.records[:25]
    assert "25 of 60 prompts, by --limit" in capsys.readouterr().out
    assert "25 records + 35 set aside" in few.report()


def test_the_events_of_tensorboard_stay_when_the_checkpoints_go(tmp_path):
    class TensorBoardCallback:
        logging_dir = None

    callback = TensorBoardCallback()
    trainer = SimpleNamespace(
        callback_handler=SimpleNamespace(callbacks=[callback]),
        args=SimpleNamespace(seed=0),
        train=lambda resume_from_checkpoint: None,
        state=SimpleNamespace(log_history=[]),
    )
    training.train_and_log(trainer, tmp_path)
    assert callback.logging_dir == str(tmp_path / "tensorboard")


# --- dDPO of a chat model that is given -----------------------------------------------------------


@pytest.fixture(scope="module")
def from_chat_model(place, tmp_path_factory):
    """``zephyr dpo --sft-model``; the folder of its runs, and what it printed."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TQDM_DISABLE", raising=False)  # benchmarks that were imported set it
        result = zephyr(
            "dpo", "--sft-model", place / "chat", "--feedback", place / "feedback.jsonl",
            "--limit", 50, "--runs", folder, *sets("ddpo"),
        )  # fmt: skip
    return folder, result


def same_run(folder, place) -> Pipeline:
    """The run of `from_chat_model`, in Python."""
    return Pipeline(
        sft_model=str(place / "chat"), feedback=str(place / "feedback.jsonl"), limit=50,
        runs=str(folder), changes={"ddpo": SHORT},
    )  # fmt: skip


@pytest.mark.slow
def test_the_card_names_the_chat_model_the_limit_and_no_dsft(from_chat_model, place):
    run = same_run(from_chat_model[0], place)
    assert run.ddpo().reused
    card = model_card(run)
    assert f"`chat`, sha256 `{run.start()[1]}`" in card and "supervised" not in card
    assert "| feedback | own data, feedback.jsonl, the first 50 rows |" in card
    assert "max_steps: 2" in card and "dialogues" not in card


@pytest.mark.slow
def test_no_dsft_is_run_where_a_chat_model_is_given(from_chat_model):
    folder, result = from_chat_model
    steps = {path.name for path in folder.glob("*/*") if not path.name.startswith(".")}
    assert {"05_ddpo", "06_reward_margins"} <= steps and "02_dsft" not in steps
    assert "50 of 60 prompts, by --limit" in result.output
    assert "the chat template is the model's own, which is kept" in result.output


@pytest.mark.slow
def test_training_reference_margins_and_saved_model_have_the_template_that_is_kept(
    from_chat_model, place
):
    folder, _ = from_chat_model
    (step,) = folder.glob("*/05_ddpo")
    assert load_tokenizer(step / "model").chat_template == OWN_TEMPLATE
    model, tokenizer = load_model(place / "chat", dtype="float32")
    train, held_out, _ = same_run(folder, place).split_pairs()
    scored = training.answer_log_probs(model, tokenizer, [pair["chosen"] for pair in train[:8]])
    results = manifest_of(folder, "05_ddpo")["results"]
    assert results["first_step_logps_chosen"] == pytest.approx(float(scored.mean()), rel=1e-4)
    (file,) = folder.glob("*/06_reward_margins/log_probs.npz")
    scored = training.answer_log_probs(model, tokenizer, [pair["chosen"] for pair in held_out])
    assert np.allclose(np.load(file)["reference_chosen"], scored, rtol=1e-4)
    prepare_tokenizer(tokenizer, "zephyr")
    other = training.answer_log_probs(model, tokenizer, [pair["chosen"] for pair in held_out])
    assert not torch.allclose(scored, other, rtol=1e-2), "the two templates can be told apart"


@pytest.mark.slow
def test_no_bar_is_drawn_into_a_pipe(from_chat_model):
    _, result = from_chat_model
    assert "dDPO: 2 steps begin" in result.output
    assert not BAR.search(result.output) and "\r" not in result.output


@pytest.mark.slow
def test_zephyrs_template_can_be_asked_for_and_stays_with_the_model(place, tmp_path):
    result = zephyr(
        "dpo", "--sft-model", place / "chat", "--feedback", place / "feedback.jsonl",
        "--chat-template", "zephyr", "--runs", tmp_path, *sets("ddpo"),
    )  # fmt: skip
    assert "own chat template is replaced by Zephyr's" in result.output
    (step,) = tmp_path.glob("*/05_ddpo")
    assert load_tokenizer(step / "model").chat_template == ZEPHYR_TEMPLATE
    assert manifest_of(tmp_path, "05_ddpo")["recipe"]["chat_template"] == "zephyr"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sft-model", "base", "--chat-template", "keep"], "--chat-template zephyr"),
        (["--sft-model", "adapter"], r"merge_and_unload\(\)"),
        (["--sft-model", "nowhere"], r"--sft-model: there is no such file or folder"),
        (["--sft-model", "chat", "--base-model", "base"], "leave one of the two out"),
        (["--sft-model", "chat", "--set", "dsft.lora_r=3"], "trains no dsft"),
        (["--report-to", "wandb", "--report-to", "none"], "exclude each other"),
    ],
)
def test_what_cannot_be_started_from_is_refused_before_pairs_are_made(
    place, tmp_path, monkeypatch, words, said
):
    (place / "adapter").mkdir(exist_ok=True)
    (place / "adapter" / "adapter_config.json").write_text("{}")
    monkeypatch.chdir(place)
    with pytest.raises(HandbookError, match=f"(?s){said}"):
        zephyr("dpo", "--feedback", "feedback.jsonl", "--runs", tmp_path, *words)
    assert not list(tmp_path.glob("*/04_preference_pairs"))


def test_a_model_sits_the_exam_in_its_own_template_unless_another_is_asked_for(
    place, tmp_path, monkeypatch
):
    asked = []

    def run_exam(model, tokenizer, *_, **__):
        asked.append(tokenizer.chat_template)
        return {}

    monkeypatch.setattr(exam, "run_exam", run_exam)
    for name, template in (("chat", None), ("chat", "zephyr"), ("base", None)):
        exam.sit_exam(tmp_path, name, str(place / name), [], None, chat_template=template)
    assert asked == [OWN_TEMPLATE, ZEPHYR_TEMPLATE, ZEPHYR_TEMPLATE]


# --- run, scales, completion ----------------------------------------------------------------------


def test_run_hands_its_settings_to_the_chapters(place, tmp_path, monkeypatch):
    given = {}

    def run_chapters(chapters, parameters, folder, *, expected, console, jobs):
        given.update(parameters, expected=expected, jobs=jobs)
        return []

    monkeypatch.setattr(notebooks, "run_chapters", run_chapters)
    monkeypatch.setattr(runs, "_chosen_chapters", lambda numbers: [])
    zephyr(
        "run", "--dialogues", place / "dialogues.jsonl", "--limit", 40, "--runs", tmp_path,
        "--set", "dsft.learning_rate=2e-5", "--set-aside", "--chat-template", "keep",
        "--jobs", 3,
    )  # fmt: skip
    assert given["jobs"] == 3
    assert given["dialogues"] == str(place / "dialogues.jsonl") and given["expected"] is None
    assert given["settings"] == {
        "set_aside_bad_rows": True, "changes": {"dsft": {"learning_rate": 2e-5}}, "limit": 40,
        "chat_template": "keep",
    }  # fmt: skip


def test_a_base_model_of_ones_own_has_the_machine_for_itself(place, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(notebooks, "default_jobs", lambda scale: 4)
    monkeypatch.setattr(notebooks, "run_chapters", lambda *_, jobs, **__: given.append(jobs) or [])
    monkeypatch.setattr(runs, "_chosen_chapters", lambda numbers: [])
    zephyr("run", "--runs", tmp_path)
    zephyr("run", "--runs", tmp_path, "--base-model", BASE_FOLDER)
    assert given == [4, 1]


def test_every_variant_of_a_scale_is_a_choice_of_the_option(monkeypatch):
    # whatever an earlier test of this process left in the environment
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 400)
    monkeypatch.setattr("typer.rich_utils.FORCE_TERMINAL", None)
    shown = zephyr("sft", "--help").stdout
    assert all(name in shown for name in scale_names())


def test_a_shell_can_complete_the_command(monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert "complete -o default -F _zephyr_completion zephyr" in CliRunner().invoke(
        cli.app, ["--show-completion", "bash"], prog_name="zephyr"
    ).stdout  # fmt: skip
