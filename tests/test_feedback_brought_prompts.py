"""Prompts as people bring them: a question is asked whole, or not at all."""

import json

import pytest

from zephyr_utils.data.records import RecordError
from zephyr_utils.feedback.estimate import load_prompts

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
