"""What people give `zephyr online` and `zephyr chat` beside prompts: files without any, addresses
in place of paths, temperatures at which nothing is drawn.
"""

import json

import pytest
from round_fixtures import refused, run_of, start_directory
from typer.testing import CliRunner

from zephyr_utils.chat.decoding import Decoding
from zephyr_utils.cli import app
from zephyr_utils.errors import HandbookError


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return start_directory(tmp_path_factory.mktemp("start"))


@pytest.fixture
def pipeline(start, tmp_path, monkeypatch):
    return run_of(start, tmp_path, monkeypatch)


@pytest.mark.parametrize("text", ["", "\n\n"], ids=["empty", "blank lines"])
def test_a_file_without_rows_is_said_to_have_no_prompt(pipeline, tmp_path, text):
    path = tmp_path / "empty.jsonl"
    path.write_text(text)
    said = refused(pipeline, "--feedback", path, "--rounds", 1)
    assert said.startswith(f"{path}: there is no prompt in its 0 rows\n")


def test_a_file_whose_rows_are_all_set_aside_is_told_their_reasons(pipeline, tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text(json.dumps({"prompt": ""}) + "\n" + "{broken\n" * 2)
    said = refused(pipeline, "--feedback", path, "--rounds", 1, "--set-aside")
    assert "there is no prompt in its 3 rows (" in said
    assert "1 x no_prompt" in said and "2 x broken_json" in said


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("--feedback", "~/prompts.jsonl", "the ~ was not replaced"),
        ("--feedback", "https://huggingface.co/datasets/x", "download it first"),
        ("--feedback", "nowhere.jsonl", "check the path; it is read as seen from here"),
        ("--sft-model", "HuggingFaceH4/zephyr-7b-beta", "hf download HuggingFaceH4/zephyr-7b-beta"),
        ("--sft-model", "nowhere", "check the path"),
    ],
)
def test_what_is_not_a_path_is_told_what_to_give(pipeline, option, value, remedy):
    said = refused(pipeline, option, value)
    assert f"{option}: there is no such file or folder: {value}" in said and remedy in said


@pytest.mark.parametrize("temperature", [1e-300, 1e-9, 1e4, 1e300])
def test_a_temperature_at_which_scores_overflow_or_are_noise_is_refused(temperature):
    # Scores divided by 1e-300 were all infinite, and the first token of the vocabulary was drawn.
    with pytest.raises(HandbookError, match="temperature is") as error:
        Decoding(8, temperature)
    assert error.value.remedy == "give 0 (greedy), or 0.001 to 1000"
    run = CliRunner().invoke(app, ["chat", "--temperature", str(temperature)], input="\n")
    assert isinstance(run.exception, HandbookError)


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-3, 0.7, 1, 1e3])
def test_temperatures_of_the_range_are_taken(temperature):
    assert Decoding(8, temperature).temperature == temperature
