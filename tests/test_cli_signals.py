"""Ctrl-C and SIGTERM to commands in mid-work: status 130, one sentence, and the next start goes on.

The processes are real; what they train and ask is tiny.
"""

import json
import os
import re
import signal
import time

import pytest
import warm
from feedback_server import chat_server
from round_fixtures import start_directory

from zephyr_utils import cli
from zephyr_utils.data.records import save_records
from zephyr_utils.miniature import data as world

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="Windows has no signal that a program could take")
]
both_signals = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
STOPPED = "Stopped. The same command goes on from here."
# An exam of two questions, or the rounds would take longer than what is stopped.
FEW_QUESTIONS = f"""
from zephyr_utils.miniature import data
from zephyr_utils.pipeline.pipeline import Pipeline
Pipeline.questions = lambda self: data.questions()[:2]
{warm.ZEPHYR}"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Options that name a tiny chat model, and prompts with rated answers."""
    folder = tmp_path_factory.mktemp("start")
    feedback = save_records(world.feedback(60), folder / "feedback.jsonl")
    return ["--sft-model", start_directory(folder / "model"), "--feedback", feedback]


def stop(number, ready, folder, *command):
    """Start a command, stop it once it is `ready`, and return what it said on stderr."""
    process = warm.Process(*command)
    deadline = time.monotonic() + 180
    while not ready():
        assert process.poll() is None, f"it ended too soon: {process.stderr}"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send(number)
    assert process.wait() == 130, process.stderr
    assert "Traceback" not in process.stdout + process.stderr
    assert process.stderr.count("Stopped") == 1 and process.stderr.endswith("from here.\n")
    assert not list(folder.rglob("*unfinished*"))
    return process.stderr


def manifest(folder, step):
    (path,) = folder.glob(f"*/{step}/manifest.json")
    return json.loads(path.read_text())


class Interrupted:
    """An interrupt comes while it is finalised, and Python drops what a finaliser raises."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_python_drops_comes_again():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # parallel runs ignore it
    try:
        with pytest.raises(KeyboardInterrupt), cli._no_interrupt_is_lost():
            Interrupted()
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                pass
    finally:
        signal.signal(signal.SIGINT, before)


@both_signals
@pytest.mark.slow
def test_a_stopped_preference_training_goes_on_from_its_checkpoint(number, trained, tmp_path):
    command = [warm.ZEPHYR, "dpo", *trained, "--runs", tmp_path]
    for setting in ("save_steps=1", "num_train_epochs=3", "per_device_train_batch_size=4"):
        command += ["--set", f"ddpo.{setting}"]

    def saved():
        return list(tmp_path.glob("*/05_ddpo/checkpoints/checkpoint-*/trainer_state.json"))

    assert STOPPED in stop(number, saved, tmp_path, *command)
    assert saved() and not list(tmp_path.glob("*/05_ddpo/manifest.json"))
    warm.run(*command)
    assert manifest(tmp_path, "05_ddpo")["resumed"] and not saved()


@both_signals
@pytest.mark.slow
def test_a_stopped_round_keeps_its_rated_answers(number, trained, tmp_path):
    command = [FEW_QUESTIONS, "online", *trained, "--runs", tmp_path]
    command += ["--rounds", 1, "--prompts", 24, "--samples", 4]

    def rated():
        return list(tmp_path.glob("*/11_online/first_answers/manifest.json"))

    assert STOPPED in stop(number, rated, tmp_path, *command)
    assert not list(tmp_path.glob("*/11_online/dpo/round_1/exam/manifest.json"))
    again = warm.run(*command)
    assert "first_answers (reused)" in again.stdout
    assert manifest(tmp_path, "11_online/dpo/round_1/exam")["rows"] == {}


@both_signals
def test_a_stopped_examination_asks_no_judge_twice(number, tmp_path):
    questions = world.questions()[:30]
    answers = [
        {"question_id": q["question_id"], "model_id": "m", "choices": [{"turns": q["reference"]}]}
        for q in questions
    ]
    given = [save_records(answers, tmp_path / "answers.jsonl"), "--questions"]
    given += [save_records(questions, tmp_path / "questions.jsonl")]
    with chat_server(lambda body, n: f"Rating: [[{len(str(body)) % 9 + 1}]]", delay=0.1) as chat:
        judge = ["--judge", "m", "--judge-url", chat.url]
        command = [warm.ZEPHYR, "evaluate", *given, *judge, "--runs", tmp_path / "runs"]
        said = stop(number, lambda: len(chat.bodies) > 8, tmp_path, *command)
        (journal,) = tmp_path.rglob("*journal.jsonl")
        kept, planned = map(int, re.findall(r"(\d+) of (\d+) calls are in the journal", said)[0])
        assert kept == journal.read_bytes().count(b"\n") and 8 < kept < planned
        assert not list(tmp_path.rglob("report.html"))
        warm.run(*command)
    assert sum(chat.paid.values()) == planned and list(tmp_path.rglob("report.html"))


@both_signals
def test_a_model_stopped_while_it_answers_leaves_no_half_of_an_exam(number, trained, tmp_path):
    questions = save_records(world.questions()[:8], tmp_path / "questions.jsonl")
    command = [warm.ZEPHYR, "evaluate", trained[1], "--questions", questions]
    command += ["--max-new-tokens", 200, "--runs", tmp_path / "runs"]

    def begun():
        return list(tmp_path.rglob("in_progress.json"))

    assert STOPPED in stop(number, begun, tmp_path, *command)
    assert not [path for path in tmp_path.rglob("answers.jsonl") if path.parent != tmp_path]
    assert "model: " in warm.run(*command).stdout and not begun()
