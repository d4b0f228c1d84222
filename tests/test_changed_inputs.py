"""A command that is started again with other inputs in the same place never mixes them with what it
made of the old ones: neither with what a killed run left, nor with results that were whole.
"""

import json
import shutil
from dataclasses import replace

import pytest
from evaluation_command import few_questions, lines, right_answers, run
from feedback_server import chat_server
from tiny import save_base, tiny_model
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.data.records import load_records
from zephyr_utils.miniature import data as world
from zephyr_utils.pipeline import evaluate
from zephyr_utils.pipeline.pipeline import Pipeline

LEFT = "checkpoint"  # what a killed training leaves


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_base(folder)
    return folder


@pytest.fixture
def pipeline(model, tmp_path):
    """A run on files of its own, which a test may change."""
    shutil.copytree(model, tmp_path / "model")
    lines(tmp_path / "dialogues.jsonl", world.dialogues(12))
    pairs = [
        {"prompt": f"What is {n} plus 1?", "chosen": f"It is {n + 1}.", "rejected": f"It is {n}."}
        for n in range(12)
    ]
    lines(tmp_path / "pairs.jsonl", pairs)
    (tmp_path / "recipe.yaml").write_text("learning_rate: 1.0e-4\n")
    names = {"dialogues": "dialogues.jsonl", "base_model": "model", "preferences": "pairs.jsonl"}
    recipe = str(tmp_path / "recipe.yaml")
    return Pipeline(
        runs=str(tmp_path / "runs"),
        recipes={"dsft": recipe, "ddpo": recipe},
        **{name: str(tmp_path / file) for name, file in names.items()},
    )


class Training:
    """Stands for a training: says what it found of an earlier one; killed when told to."""

    def __init__(self):
        self.killed, self.found = False, []

    def __call__(self, folder, **_):
        self.found.append((folder / LEFT).exists())
        (folder / LEFT).touch()
        if self.killed:
            raise KeyboardInterrupt
        (folder / "model").mkdir(exist_ok=True)
        return {}


def replaced(path, old, new):
    """Other contents of the same size, as far as `old` and `new` are."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def dialogues(folder, pipeline):
    replaced(folder / "dialogues.jsonl", '"data": ["', '"data": ["Well, ')
    return pipeline


def pair_of_the_same_size(folder, pipeline):
    replaced(folder / "pairs.jsonl", "It is 1.", "It is 7.")
    return pipeline


def recipe_file(folder, pipeline):
    replaced(folder / "recipe.yaml", "1.0e-4", "2.0e-4")
    return pipeline


def weights(folder, pipeline):
    tiny_model(seed=1).save_pretrained(folder / "model")
    return pipeline


def setting(folder, pipeline):
    return replace(pipeline, changes={"dsft": {"max_steps": 3}, "ddpo": {"max_steps": 3}})


def template(folder, pipeline):
    return replace(pipeline, chat_template="zephyr")


def limit(folder, pipeline):
    return replace(pipeline, limit=5)


def nothing(folder, pipeline):
    return pipeline


CHANGES = [recipe_file, weights, setting, template, limit, nothing]


@pytest.mark.parametrize(
    ("step", "change"),
    [*(("dsft", change) for change in (dialogues, *CHANGES)),
     *(("ddpo", change) for change in (pair_of_the_same_size, *CHANGES))],
)  # fmt: skip
def test_a_training_goes_on_from_a_kill_only_if_nothing_changed(
    step, change, pipeline, tmp_path, monkeypatch
):
    if step == "ddpo":  # starts from a chat model, so that no dSFT is before it
        pipeline = replace(pipeline, sft_model=pipeline.base_model, base_model="", dialogues="")
    training = Training()
    monkeypatch.setattr(f"zephyr_utils.pipeline.pipeline.train_{step}", training)
    training.killed = True
    with pytest.raises(KeyboardInterrupt):
        getattr(pipeline, step)()
    training.killed = False
    changed = change(tmp_path, pipeline)
    made = getattr(changed, step)()
    same = change is nothing
    assert training.found == [False, same] and made.resumed == same and not made.reused
    assert getattr(changed, step)().reused, "with the same inputs it is whole"
    if not same and changed is not pipeline:
        again = getattr(pipeline, step)()  # the old inputs are not given the new ones' model
        assert not again.reused and training.found[-1] is False


# --- feedback -------------------------------------------------------------------------------------


def test_feedback_on_changed_prompts_holds_the_new_ones_alone_and_pays_for_those(tmp_path):
    def collect(chat, *prompts):
        file = lines(tmp_path / "p.jsonl", [{"prompt": prompt} for prompt in prompts])
        asked = ["feedback", file, "--output", tmp_path / "f.jsonl", "--models", "a,b"]
        done = CliRunner().invoke(app, [*map(str, asked), "--base-url", chat.url])
        assert done.exit_code == 0, done.output
        rows = load_records(tmp_path / "f.jsonl", "feedback").records
        return {row["instruction"]: [one["response"] for one in row["completions"]] for row in rows}

    def reply(body, n):
        return f"{body['model']} says {body['messages'][-1]['content']}"

    with chat_server(reply) as server:
        assert set(collect(server, "One?", "Two?")) == {"One?", "Two?"}
        asked = sum(server.asked.values())
        after = collect(server, "Two?", "Three?")
        assert after == {q: [f"a says {q}", f"b says {q}"] for q in ("Two?", "Three?")}
        assert sum(server.asked.values()) == asked + 2, "the prompt that stayed is paid for once"


# --- evaluation -----------------------------------------------------------------------------------


def test_changed_answers_under_the_same_name_are_graded_again(tmp_path):
    few = few_questions()
    wrong = [row | {"choices": [{"turns": ["No.", "No."]}]} for row in right_answers(few, "me")]
    given = {"right": right_answers(few, "me"), "wrong": wrong}
    questions, said = lines(tmp_path / "q.jsonl", few), {}
    for name in ("right", "wrong", "right"):
        file = lines(tmp_path / "a.jsonl", given[name])
        where = ["--runs", tmp_path, "--report", tmp_path / "report"]
        output = run(file, "--questions", questions, *where)
        content = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
        grade = content["grades"]["me"]
        assert grade["n_judgments"] == 2 * len(few) and "me: " in output
        assert said.setdefault(name, grade["overall"]) == grade["overall"]
    assert said["right"] == 7 and said["wrong"] < 3


def test_changed_questions_and_weights_are_asked_and_judged_again(model, tmp_path, monkeypatch):
    few, asked = few_questions(), []

    def answer(network, tokenizer, name, questions, **_):
        asked.append([question["question_id"] for question in questions])
        return right_answers(questions, name)

    monkeypatch.setattr(evaluate, "ask_questions", answer)
    directory = shutil.copytree(model, tmp_path / "mine")

    def examined(questions):
        file = lines(tmp_path / "q.jsonl", questions)
        run(directory, "--questions", file, "--runs", tmp_path, "--report", tmp_path / "report")
        content = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
        return content["grades"]["mine"]["n_judgments"]

    assert examined(few) == examined(few) == 2 * len(few) and len(asked) == 1
    assert examined(few[:4]) == 8 and asked[1:] == [[q["question_id"] for q in few[:4]]]
    tiny_model(seed=1).save_pretrained(directory)
    assert examined(few[:4]) == 8 and len(asked) == 3
