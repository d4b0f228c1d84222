"""Prompts as people bring them: a question is asked whole, or not at all."""

import json

import pytest

from zephyr_utils.data.records import RecordError
from zephyr_utils.feedback.prompt_files import load_prompts

IMAGE = {"type": "image_url", "image_url": {"url": "river.png"}}


def words(text):
    return {"type": "text", "text": text}


def prompts_of(tmp_path, row):
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return [record["prompt"] for record in load_prompts(path)]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"instruction": "Translate into French.", "input": "a river"},
         "Translate into French.\na river"),
        ({"instruction": "Name a river.", "input": ""}, "Name a river."),
        ({"instruction": "Name a river.", "input": None, "images": []}, "Name a river."),
        ({"prompt": [words("Name "), words("a river.")]}, "Name a river."),
        ({"messages": [{"role": "user", "content": [words("Name "), words("a river.")]}]},
         "Name a river."),
        ({"messages": [{"role": "system", "content": "Be brief."},
                       {"role": "user", "content": "Name a river."}]}, "Name a river."),
    ],
)  # fmt: skip
def test_a_prompt_is_the_whole_question(tmp_path, row, prompt):
    assert prompts_of(tmp_path, row) == [prompt]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What is it?", "images": ["river.png"]},
        {"prompt": [words("What is it?"), IMAGE]},
        {"messages": [{"role": "user", "content": [IMAGE, words("What is it?")]}]},
    ],
)
def test_a_question_about_an_image_is_not_asked_without_it(tmp_path, row):
    with pytest.raises(RecordError) as error:
        prompts_of(tmp_path, row)
    assert error.value.reason == "not_text" and error.value.remedy


SYSTEM, FIRST = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}
ANSWER, SECOND = {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And?"}
NOT_SENT = "its system message is not sent"
BEFORE = "what was said before it is not sent"
LATER = "later turns of the conversation are not asked"


@pytest.mark.parametrize(
    ("row", "notes"),
    [
        ({"prompt": "Hi?", "system": "Be brief."}, [NOT_SENT]),
        ({"instruction": "Hi?", "system_prompt": "Be brief."}, [NOT_SENT]),
        ({"messages": [SYSTEM, FIRST, ANSWER]}, [NOT_SENT]),
        ({"prompt": [SYSTEM, FIRST]}, [NOT_SENT]),
        ({"messages": json.dumps([SYSTEM, FIRST])}, [NOT_SENT]),
        ({"messages": [{"role": "developer", "content": "Be brief."}, FIRST]}, [NOT_SENT]),
        ({"conversations": [{"from": "system", "value": "x"}, {"from": "human", "value": "Hi?"}]},
         [NOT_SENT]),
        ({"instruction": "Hi?", "history": [["a", "b"]]}, [BEFORE]),
        ({"messages": [ANSWER, FIRST]}, [BEFORE]),
        ({"messages": [FIRST, ANSWER, SECOND, ANSWER]}, [LATER]),
        ({"data": ["Hi?", "Hello.", "And?"]}, [LATER]),
        ({"messages": [SYSTEM, FIRST, ANSWER, SECOND], "system": ""}, [NOT_SENT, LATER]),
        ({"prompt": "Hi?", "system": " "}, []),
        ({"prompt": "Hi?", "system": None, "history": []}, []),
        ({"messages": [FIRST, ANSWER]}, []),
        ({"data": ["Hi?", "Hello."]}, []),
        ({"prompt": [words("H"), words("i"), words("?")]}, []),
        ("Hi?", []),
    ],
)  # fmt: skip
def test_what_a_row_says_beside_its_prompt_is_counted(tmp_path, row, notes):
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'{json.dumps(row)}\n{{"prompt": "Why?"}}\n')
    got = load_prompts(path)
    assert [record["prompt"] for record in got] == ["Hi?", "Why?"]
    assert got.conversions == dict.fromkeys(notes, 1)


def test_the_command_says_what_it_does_not_send(tmp_path):
    from zephyr_utils.feedback.command import FeedbackCommand

    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "Hi?", "system": "Be brief."}, {"messages": [SYSTEM, FIRST, ANSWER, SECOND]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"prompt": "Why?"}]))
    said = []
    FeedbackCommand(path, tmp_path / "out.jsonl", models="m", dry_run=True).run(said.append)
    assert said[:2] == [f"2 of 3 prompts: {NOT_SENT}", f"1 of 3 prompts: {LATER}"]
