"""The command line: every command helps, errors are messages with status 2, and no traceback
reaches a reader.
"""

import dataclasses
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from sample_records import DIALOGUE
from typer.testing import CliRunner

from zephyr_utils import cli
from zephyr_utils.cli import console
from zephyr_utils.data.records import load_records, save_records
from zephyr_utils.files import plain_value
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.miniature import data as world
from zephyr_utils.pipeline.artefacts import Manifest

COMMANDS = ["run", "truecase", "pairs", "sft", "dpo", "evaluate", "chat"]


@pytest.fixture
def zephyr(monkeypatch, capsys):
    """Run the command's entry point in this process (importing TRL afresh takes seconds); returns
    status and words.
    """

    def run(*arguments, said=""):
        monkeypatch.setattr(sys, "argv", ["zephyr", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Result(ended.value.code or 0, " ".join((printed.out + printed.err).split()))

    return run


class Result(NamedTuple):
    status: int
    words: str  # all that was printed, on one line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does_and_what_it_takes(command):
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert (
        result.exit_code == 0 and "--help" in result.stdout and len(result.stdout.splitlines()) > 8
    )


def refused(result, *words):
    assert result.status == 2 and "Traceback" not in result.words
    for word in words:
        assert word in result.words


def test_an_unknown_scale_is_a_message(zephyr, tmp_path):
    result = zephyr("sft", "--scale", "huge", "--runs", tmp_path)
    refused(result, "is not one of", "'zephyr-7b-full'")


def test_a_file_that_is_not_there_is_a_message(zephyr, tmp_path):
    refused(zephyr("sft", "--dialogues", tmp_path / "none.jsonl"), "--dialogues", "no such file")


def test_a_truncated_line_is_named_by_file_and_line(zephyr, tmp_path):
    path = tmp_path / "dialogues.jsonl"
    path.write_text(json.dumps(DIALOGUE) + "\n" + json.dumps(DIALOGUE)[:-9] + "\n")
    refused(
        zephyr("sft", "--dialogues", path, "--runs", tmp_path / "runs"), "dialogues.jsonl, row 2"
    )


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "field messages"),
        ([DIALOGUE["messages"][0]], "assistant"),
        ([DIALOGUE["messages"][0]] * 2, "user"),
        ([{"role": "robot", "content": "Hi"}], "robot"),
        ([{"role": "user", "content": 7}], "content"),
        ("Hi", "messages"),
    ],
)
def test_a_dialogue_that_is_none_is_named_with_what_is_wrong(zephyr, tmp_path, messages, words):
    path = tmp_path / "dialogues.jsonl"
    path.write_text(json.dumps(DIALOGUE) + "\n" + json.dumps({"messages": messages}) + "\n")
    refused(zephyr("sft", "--dialogues", path, "--runs", tmp_path / "runs"), "row 2", words)


def test_a_directory_that_is_not_a_model_is_a_message(zephyr, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(zephyr("evaluate", tmp_path / "empty", "--runs", tmp_path / "runs"), "holds no model")


def test_an_unknown_chapter_is_a_message(zephyr, tmp_path):
    refused(
        zephyr("run", "--chapters", "77", "--runs", tmp_path),
        "there is no chapter 77",
        "choose from",
    )


def test_pairs_are_made_audited_and_counted(zephyr, tmp_path):
    feedback = save_records(world.feedback(120), tmp_path / "feedback.jsonl")
    questions = save_records(world.questions(), tmp_path / "questions.jsonl")
    result = zephyr(
        "pairs", feedback, "--output", tmp_path / "pairs.parquet", "--questions", questions
    )
    assert result.status == 0, result.words
    made = load_records(tmp_path / "pairs.parquet", "preference").records
    assert 80 < len(made) <= 120 and f"{len(made)} pairs in" in result.words
    assert "prompts that hold a question of" in result.words


def test_a_scoreless_feedback_file_is_a_message(zephyr, tmp_path):
    rows = [{**row, "completions": row["completions"][:1]} for row in world.feedback(3)]
    path = save_records(rows, tmp_path / "feedback.jsonl")
    refused(
        zephyr("pairs", path, "--output", tmp_path / "pairs.jsonl"),
        "no pair can be made of 3 rows: 3 x fewer_than_two_answers",
        "a pair needs two answers to a prompt",
    )
    assert not (tmp_path / "pairs.jsonl").exists()


@pytest.mark.slow
def test_one_talks_to_a_model_in_the_terminal(zephyr, tmp_path):
    result = zephyr("chat", BASE_FOLDER, "--temperature", "0", said="What is 1 plus 1?\nnew\n\n")
    assert result.status == 0, result.words
    assert "model>" in result.words
    assert "Loading weights" not in result.words


@pytest.mark.slow
def test_before_any_training_one_talks_to_the_model_that_comes_with_the_package(zephyr, tmp_path):
    result = zephyr("chat", "--runs", tmp_path, said="What is the capital of France?\n\n")
    assert result.status == 0, result.words
    assert "`ddpo` has not been trained here yet" in result.words
    assert "This model knows a small world" in result.words
    assert "Paris" in result.words.partition("model>")[2]


def test_a_result_that_was_not_a_finite_number_is_shown_as_that(capsys, tmp_path):
    results = plain_value({"accuracy": math.nan, "margin": 0.25})  # as an artefact keeps them
    fields = dict.fromkeys(field.name for field in dataclasses.fields(Manifest))
    known = {"folder": tmp_path, "reused": True, "rows": {}, "results": results}
    console.print_manifest(Manifest(**fields | known), "accuracy", "margin")
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "  accuracy: not a finite number",
        "  margin: 0.25",
    ]


def test_the_command_is_installed_under_its_name():
    done = subprocess.run(
        [Path(sys.executable).with_name("zephyr"), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and all(command in done.stdout for command in COMMANDS)


def test_ctrl_c_ends_with_130_and_says_that_the_same_command_goes_on(zephyr, monkeypatch):
    stopped = typer.Typer()

    @stopped.command()
    def command() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", stopped)
    got = zephyr()
    assert got.status == 130 and "The same command goes on from here" in got.words
