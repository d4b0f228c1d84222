"""Rows of a file of prompts without one: told where it stands instead, or what the row is."""

import json

import pytest

from zephyr_utils.data.records import RecordError
from zephyr_utils.feedback import load_prompts

QUESTIONS = [f"What is {n} plus 1?" for n in range(4)]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


USER = [{"role": "user", "content": "Q?"}]


@pytest.mark.parametrize(
    ("row", "what", "remedy"),
    [
        ({"question": "Q?"}, "the row has question", "rename `question` to `prompt`"),
        ({"Prompt": "Q?"}, "the row has Prompt", "rename `Prompt` to `prompt`"),
        ({"text": "Q?", "id": 3}, "the row has text, id", "rename `text` to `prompt`"),
        ({"conversation": USER}, "the row has conversation", "rename `conversation` to `messages`"),
        ({"turns": ["Q?", "Why?"]}, "the row has turns", "rename `turns` to `data`"),
        ({"rows": [{"prompt": "Q?"}]}, "the row has rows", "write the list in `rows` as the file"),
        ({"data": [{"prompt": "Q?"}]}, "`data` holds a list", "write the list in `data` as"),
        ({"prompt": ""}, "`prompt` is empty", "write the question there, or remove the row"),
        ({"prompt": None}, "`prompt` is empty", "write the question there"),
        ({"prompt": 7}, "`prompt` holds a number", "write the question there"),
        ({"messages": []}, "`messages` is empty", "write the question there"),
        (
            {"messages": [{"role": "assistant", "content": "A."}]},
            "`messages` holds a list without a user's text",
            "write the question there",
        ),
        ({"id": 3}, "the row has id", "give each row a `prompt`, an `instruction` or `messages`"),
        (["Q?"], "the row is a list", "give each row a `prompt`"),
    ],
    ids=str,
)
def test_a_row_without_a_prompt_is_told_what_stands_in_its_place(tmp_path, row, what, remedy):
    path = written(tmp_path / "prompts.jsonl", [{"prompt": "Q?"}, row])
    with pytest.raises(RecordError) as error:
        load_prompts(path)
    assert error.value.where.endswith("prompts.jsonl, row 2")
    assert error.value.what.startswith(f"there is no prompt in it: {what}")
    assert error.value.remedy.startswith(remedy)
    read = load_prompts(path, set_aside=True)
    assert (read.n_read, len(read), dict(read.reasons())) == (2, 1, {"no_prompt": 1})


def test_a_table_of_questions_without_a_header_is_told_that_it_lacks_one(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text("\n".join(QUESTIONS) + "\n")
    with pytest.raises(RecordError, match="row 2") as error:
        load_prompts(path)
    assert "the file seems to have no header" in error.value.remedy


@pytest.mark.parametrize("role", ["User", "USER", "human", "Human", "prompter"])
def test_a_user_in_any_spelling_is_one(tmp_path, role):
    turns = [{"role": "System", "content": "Be brief."}, {"role": role, "content": "Q?"}]
    read = load_prompts(written(tmp_path / "prompts.jsonl", [{"messages": turns}] * 2))
    assert [row["prompt"] for row in read.records] == ["Q?", "Q?"]
    assert read.conversions == {"its system message is not sent": 2}


def test_a_prompt_beside_messages_that_begin_otherwise_is_counted(tmp_path):
    rows = [{"prompt": "Q?", "messages": USER}, {"prompt": "Another?", "messages": USER}]
    read = load_prompts(written(tmp_path / "prompts.jsonl", rows))
    assert [row["prompt"] for row in read.records] == ["Q?", "Another?"]
    assert read.conversions == {"its `messages` begin with another question; `prompt` is asked": 1}
