"""What people bring from chat exports, trackers and spreadsheets: prompts rendered already, texts
that cannot be seen, thoughts and tools beside answers, lines that are not JSON.
"""

import json

import pytest

from zephyr_utils.data.records import (
    RecordError,
    check_dialogue,
    check_feedback,
    check_preference,
    load_records,
)
from zephyr_utils.data.schema import read_dialogue, read_preference
from zephyr_utils.errors import HandbookError

QUESTION = {"role": "user", "content": "Name a river."}
GOOD = {"role": "assistant", "content": "The Rhine."}
BAD = {"role": "assistant", "content": "The moon."}
HH = "\n\nHuman: Name a river.\n\nAssistant:"
TURNS = [QUESTION, GOOD, {"role": "user", "content": "Another?"}, BAD]
HH_TURNS = HH + " The Rhine.\n\nHuman: Another?\n\nAssistant:"
CHATML = "<|im_start|>user\nName a river.<|im_end|>\n<|im_start|>assistant\n"
TEXTS = {"chosen": " The Rhine.", "rejected": " The moon."}
DIALOGUES = {
    "HH": {"prompt": HH, "completion": " The Rhine."},
    "HH, response": {"prompt": HH, "response": " The Rhine."},
    "ChatML": {"prompt": CHATML, "completion": "The Rhine.<|im_end|>"},
    "Alpaca": {"instruction": HH, "output": "The Rhine."},
    "Phi-4": {
        "text": "<|im_start|>user<|im_sep|>Name a river.<|im_end|>"
        "<|im_start|>assistant<|im_sep|>The Rhine.<|im_end|>"
    },
}


@pytest.mark.parametrize("row", DIALOGUES.values(), ids=DIALOGUES)
def test_a_prompt_in_a_chat_template_is_taken_apart_in_dialogues(row):
    assert check_dialogue(row)["messages"] == [QUESTION, GOOD]


def test_all_turns_of_a_rendered_prompt_are_turns_and_the_system_leads_them():
    row = {"prompt": HH_TURNS, "completion": " The moon.", "system": "Be brief."}
    assert check_dialogue(row)["messages"] == [{"role": "system", "content": "Be brief."}, *TURNS]


@pytest.mark.parametrize("field", ["prompt", "question", "instruction", "input"])
def test_a_prompt_in_a_chat_template_is_taken_apart_in_pairs(field):
    pair = check_preference({field: HH, **TEXTS})
    assert [m["content"].strip() for m in pair["chosen"]] == ["Name a river.", "The Rhine."]
    assert [m["content"].strip() for m in pair["rejected"]] == ["Name a river.", "The moon."]


def test_a_prompt_in_a_chat_template_is_taken_apart_in_labelled_answers():
    answer = read_preference({"prompt": HH, "completion": " The moon.", "label": False}).record
    assert (answer.context, answer.answer, answer.good) == ([QUESTION], BAD, False)


@pytest.mark.parametrize("instruction", [HH, HH_TURNS, CHATML])
def test_an_instruction_in_a_chat_template_is_refused_in_feedback(instruction):
    with pytest.raises(RecordError) as error:
        check_feedback({"instruction": instruction, "completions": []}, "row 1")
    assert error.value.reason == "templated_text" and error.value.where.startswith("row 1")


@pytest.mark.parametrize(
    "asked", ["Human: what is it?", "Human: a\n\nAssistant: b", "Who said Assistant:"]
)
def test_words_that_only_look_like_a_template_stay_a_question(asked):
    turns = check_dialogue({"prompt": asked, "completion": "The Rhine."})["messages"]
    assert turns == [{"role": "user", "content": asked}, GOOD]


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (0, "### Instruction:\nName a river.\n\n### Response:"),
        (0, "Below is an instruction that describes a task.\n\n### Instruction:\na\n### Response:"),
        (0, HH),
        (1, "The Rhine.<|return|>"),
        (1, "The Rhine.<|END_OF_TURN_TOKEN|>"),
        (1, "The Rhine.[|endofturn|]\n"),
        (1, "The Rhine.<end_of_utterance>"),
    ],
)
def test_a_turn_that_is_rendered_already_is_refused(place, text):
    turns = [dict(QUESTION), dict(GOOD)]
    turns[place]["content"] = text
    with pytest.raises(RecordError) as error:
        check_dialogue({"messages": turns})
    assert error.value.reason == "templated_text"


@pytest.mark.parametrize("text", ["a <|b c|>", "x |> f", "<|>", "|endofturn|", "### Response:"])
def test_an_answer_that_ends_with_other_signs_passes(text):
    assert check_dialogue({"messages": [QUESTION, {**GOOD, "content": text}]})


@pytest.mark.parametrize(
    "text", ["", " \n", "\u200b", "\u00a0\u2060\ufeff", "\x00", "\u00ad\u200e"]
)
def test_a_text_in_which_nothing_can_be_seen_is_empty(text):
    for row in (
        {"messages": [QUESTION, {**GOOD, "content": text}]},
        {"prompt": text, "completion": "The Rhine."},
    ):
        with pytest.raises(RecordError) as error:
            check_dialogue(row)
        assert error.value.reason == "empty_content"


@pytest.mark.parametrize("text", ["a\u200b", "\u200bЧто", "👩\u200d🚀", "\x00a", "¿"])
def test_signs_without_a_shape_inside_a_text_stay(text):
    turns = check_dialogue({"messages": [QUESTION, {**GOOD, "content": text}]})["messages"]
    assert turns[1]["content"] == text


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_and_tools_that_are_left_out_are_said(field):
    turns = [QUESTION, {**GOOD, field: "They want a river."}]
    read = read_dialogue({"messages": turns, "tools": [{"type": "function"}]})
    assert read.record["messages"] == [QUESTION, GOOD]
    assert any("thoughts" in note for note in read.notes)
    assert any("tools" in note for note in read.notes)
    padded = read_dialogue({"messages": [QUESTION, {**GOOD, field: None}], "tools": []})
    assert not padded.notes


@pytest.mark.parametrize("names", ["score_chosen score_rejected", "chosen-rating rejected-rating"])
def test_two_scores_that_a_table_fills_with_nan_are_missing(names):
    row = {"prompt": "Name a river.", **TEXTS}
    assert "score_chosen" not in check_preference(row | dict.fromkeys(names.split(), float("nan")))


@pytest.mark.parametrize(
    ("row", "advice"),
    [
        ({"row_idx": 0, "row": {"messages": [QUESTION, GOOD]}}, "'row' holds such a row"),
        ({"custom_id": "1", "body": {"messages": [QUESTION]}}, "'body' holds such a row"),
        ({"items": [{"messages": [QUESTION, GOOD]}]}, "'items' holds a list of such rows"),
        ({"instruction": "a", "generation": "b"}, "rename 'generation' to 'output'"),
        ({"human": "a", "assistant": "b"}, "rename 'human' to 'prompt'"),
        ({"text": "USER: a ASSISTANT: b"}, "rendered in a chat template"),
        ({"messages": [QUESTION, {"role": "assistant", "content": None}]}, "or remove the row"),
    ],
)
def test_a_row_in_no_layout_is_told_what_to_change(row, advice):
    with pytest.raises(RecordError) as error:
        check_dialogue(row)
    assert advice in str(error.value.remedy)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("messages:", "YAML"),
        ("- role: user", "YAML"),
        ("---", "YAML"),
        ("title: a river", "YAML"),
        ("{'messages': []}", "json.dumps"),
        ("[{'role': 'user'}]", "json.dumps"),
        ("prompt,completion", "not JSON"),
        ("# a comment", "not JSON"),
        ('{"messages": [', "cut short"),
    ],
)
def test_a_line_that_is_not_json_is_told_what_it_looks_like(tmp_path, line, advice):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{line}\n{json.dumps({'messages': [QUESTION, GOOD]})}\n")
    with pytest.raises(RecordError) as error:
        load_records(path, "dialogue")
    assert error.value.reason == "broken_json" and advice in error.value.remedy
    loaded = load_records(path, "dialogue", set_aside=True)
    assert (loaded.n_read, len(loaded), len(loaded.set_aside)) == (2, 1, 1)


def test_the_folder_of_a_hub_snapshot_names_the_folder_inside(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("# A set")
    (tmp_path / "data" / "train.jsonl").write_text(json.dumps({"messages": [QUESTION, GOOD]}))
    with pytest.raises(HandbookError) as error:
        load_records(tmp_path, "dialogue")
    assert str(tmp_path / "data") in str(error.value.remedy)
