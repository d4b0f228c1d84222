"""What tools write around the texts: a system's column, media, tool calls, marks and labels of what
is not to be trained on, other names of fields, tables by their columns. Used, or refused by name.
"""

import json

import pytest

from zephyr_utils.data.records import (
    RecordError,
    check_dialogue,
    check_feedback,
    check_preference,
    load_records,
    prompt_hash,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences.binarize import binarize

CHECKS = {
    "dialogue": check_dialogue,
    "feedback": check_feedback,
    "preference": check_preference,
}
BRIEF = {"role": "system", "content": "Be brief."}
QUESTION = {"role": "user", "content": "Name a river."}
GOOD = {"role": "assistant", "content": "The Rhine."}
BAD = {"role": "assistant", "content": "The moon."}
TEXTS = {"chosen": "The Rhine.", "rejected": "The moon."}
TURNS = [BRIEF, QUESTION, GOOD]


def pair(*context):
    prompt = {"prompt": "Name a river.", "prompt_id": prompt_hash("Name a river.")}
    return prompt | {"chosen": [*context, GOOD], "rejected": [*context, BAD]}


def reason_of(row, kind="preference"):
    with pytest.raises(RecordError) as error:
        CHECKS[kind](row, "row 1")
    assert error.value.remedy and error.value.where.startswith("row 1")
    return error.value.reason


# Every layout of dialogues and of pairs that has no system turn of its own.
DIALOGUE_ROWS = {
    "messages": {"messages": [QUESTION, GOOD]},
    "data": {"data": ["Name a river.", "The Rhine."]},
    "ShareGPT": {
        "conversations": [
            {"from": "human", "value": "Name a river."},
            {"from": "gpt", "value": "The Rhine."},
        ]
    },
    "Alpaca": {"instruction": "Name a river.", "output": "The Rhine."},
    "prompt, text": {"prompt": "Name a river.", "completion": "The Rhine."},
    "prompt, messages": {"prompt": [QUESTION], "completion": [GOOD]},
}
PAIR_ROWS = {
    "implicit": {"chosen": [QUESTION, GOOD], "rejected": [QUESTION, BAD]},
    "implicit, one answer": {"chosen": [QUESTION, GOOD], "rejected": "The moon."},
    "explicit, text": {"prompt": "Name a river.", **TEXTS},
    "explicit, messages": {"prompt": [QUESTION], **TEXTS},
    "ShareGPT": {"conversations": [QUESTION], "chosen": GOOD, "rejected": BAD},
    "Alpaca": {"instruction": "Name a river.", **TEXTS},
    "Orca": {"question": "Name a river.", **TEXTS},
    "ms-swift": {"messages": [QUESTION, GOOD], "rejected_response": "The moon."},
    "ms-swift, whole": {
        "messages": [QUESTION, GOOD],
        "rejected_messages": [QUESTION, BAD],
    },
}
SYSTEMS = [
    ("system", "Be brief."),
    ("system_prompt", "Be brief."),
    ("system", [{"type": "text", "text": "Be brief."}]),
]


@pytest.mark.parametrize(("field", "value"), SYSTEMS)
@pytest.mark.parametrize("row", DIALOGUE_ROWS.values(), ids=DIALOGUE_ROWS)
def test_the_column_of_the_system_leads_a_dialogue_in_every_layout(row, field, value):
    assert check_dialogue(row | {field: value})["messages"] == TURNS


@pytest.mark.parametrize(("field", "value"), SYSTEMS)
@pytest.mark.parametrize("row", PAIR_ROWS.values(), ids=PAIR_ROWS)
def test_the_column_of_the_system_leads_both_sides_of_a_pair_in_every_layout(row, field, value):
    assert check_preference(row | {field: value}) == pair(BRIEF, QUESTION)


@pytest.mark.parametrize("empty", ["", None, [], float("nan")])
def test_an_empty_column_of_the_system_adds_no_turn(empty):
    row = {"messages": [QUESTION, GOOD], "system": empty}
    assert check_dialogue(row)["messages"] == [QUESTION, GOOD]


def test_a_system_that_stands_in_its_column_and_in_the_turns_is_said_once_or_refused():
    assert check_dialogue({"messages": TURNS, "system": "Be brief."})["messages"] == TURNS
    assert reason_of({"messages": TURNS, "system": "Be long."}, "dialogue") == "misplaced_system"


@pytest.mark.parametrize("field", ["image", "images", "videos", "audio"])
@pytest.mark.parametrize("value", ["a.png", ["a.png", "b.png"], [{"bytes": None, "path": "a.png"}]])
def test_texts_about_images_or_sound_beside_them_are_not_trained_on_alone(field, value):
    assert reason_of({"messages": [QUESTION, GOOD], field: value}, "dialogue") == "not_text"
    assert reason_of({"prompt": "Name a river.", **TEXTS, field: value}) == "not_text"


@pytest.mark.parametrize("value", [None, [], "", [None]])
def test_an_empty_column_of_images_is_not_an_obstacle(value):
    assert check_dialogue({"messages": [QUESTION, GOOD], "images": value})


@pytest.mark.parametrize(
    "answer",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "Let me look.", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "", "function_call": {"name": "f"}},
    ],
)
def test_an_answer_that_calls_a_tool_is_not_an_answer_whatever_it_says(answer):
    assert reason_of({"messages": [QUESTION, answer]}, "dialogue") == "tool_turn"
    assert reason_of({"prompt": [QUESTION], "chosen": [GOOD], "rejected": [answer]}) == "tool_turn"


def test_tables_pad_messages_without_a_tool_call_and_these_pass():
    padded = GOOD | {"tool_calls": None, "function_call": None, "weight": None, "train": None}
    assert check_dialogue({"messages": [QUESTION, padded]})["messages"] == [QUESTION, GOOD]


@pytest.mark.parametrize(
    "mark", [{"weight": 0}, {"weight": 0.0}, {"train": False}, {"loss": False}]
)
def test_an_answer_that_is_marked_as_not_to_be_trained_on_is_refused_in_dialogues(mark):
    turns = [
        QUESTION,
        BAD | mark,
        {"role": "user", "content": "Another try?"},
        GOOD | {"weight": 1},
    ]
    assert reason_of({"messages": turns}, "dialogue") == "untrained_turn"
    assert check_dialogue({"messages": [QUESTION | {"weight": 0}, GOOD | {"train": True}]})
    # Of a pair the last answer alone is trained on.
    assert check_preference({"prompt": turns[:3], "chosen": GOOD, "rejected": BAD})


@pytest.mark.parametrize("label", [False, 0, "False", "0", "undesirable", "bad", "rejected", "no"])
def test_answers_that_are_labelled_are_not_dialogues_however_the_label_is_written(label):
    row = {"prompt": "Name a river.", "completion": "The moon.", "label": label}
    assert reason_of(row, "dialogue") == "labelled_answer"


@pytest.mark.parametrize("labels", [("True", "False"), ("desirable", "undesirable"), (1, 0)])
def test_labels_in_words_make_the_same_pair(tmp_path, labels):
    rows = [
        {"prompt": "Name a river.", "completion": text, "label": label}
        for text, label in zip(TEXTS.values(), labels, strict=True)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_records(path, "preference").records == [pair(QUESTION)]


@pytest.mark.parametrize("label", [-1, 0.5, "neutral"])
def test_a_label_of_another_kind_is_named_and_not_taken_for_a_dialogue(label):
    row = {"prompt": "Name a river.", "completion": "The moon.", "label": label}
    assert reason_of(row) == "unknown_label"


@pytest.mark.parametrize("text", [json.dumps, lambda turns: json.dumps(json.dumps(turns)), repr])
@pytest.mark.parametrize("times", [1, 2])
def test_messages_that_were_encoded_again_are_read_and_never_trained_on_as_text(text, times):
    sides = {
        side: text([QUESTION, answer]) for side, answer in (("chosen", GOOD), ("rejected", BAD))
    }
    if times == 2:
        sides = {side: json.dumps(value) for side, value in sides.items()}
    assert check_preference({"prompt": "Name a river.", **sides}) == pair(QUESTION)


@pytest.mark.parametrize("said", ['"The Rhine."', '"[a] river"', '"', '"[1, 2]"', '""'])
def test_an_answer_in_quotation_marks_stays_the_answer(said):
    row = {"prompt": "Name a river.", "chosen": said, "rejected": "The moon."}
    assert check_preference(row)["chosen"][-1]["content"] == said


def test_messages_as_an_object_of_lists_are_those_messages():
    columns = {"role": ["user", "assistant"], "content": ["Name a river.", "The Rhine."]}
    assert check_dialogue({"messages": columns})["messages"] == [QUESTION, GOOD]
    named = {"from": ["human", "gpt"], "value": ["Name a river.", "The Rhine."]}
    assert check_dialogue({"conversations": named})["messages"] == [QUESTION, GOOD]
    answers = {"model": ["a", "b"], "response": ["x", "y"], "overall_score": [9, 2]}
    read = check_feedback({"instruction": "?", "completions": answers})
    assert [(c["model"], c["overall_score"]) for c in read["completions"]] == [("a", 9), ("b", 2)]


@pytest.mark.parametrize(
    "table",
    [
        {"prompt": {"0": "q", "1": "r"}, "chosen": {"0": "a", "1": "b"}},
        {"prompt": ["q", "r"], "chosen": ["a", "b"], "rejected": ["c", "d"]},
        {"messages": [[QUESTION, GOOD], [QUESTION, GOOD]], "source": ["x", "y"]},
    ],
)
def test_a_table_that_is_written_by_columns_is_called_that(tmp_path, table):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(table))
    for kind in ("dialogue", "preference"):
        with pytest.raises(RecordError) as error:
            load_records(path, kind)
        assert error.value.reason == "columns" and "orient" in error.value.remedy


@pytest.mark.parametrize(
    ("kind", "row", "advice"),
    [
        ("preference", {"Prompt": "q", "Chosen": "a", "Rejected": "b"}, "'Chosen' to 'chosen'"),
        ("preference", {"prompt": "q", " chosen": "a", " rejected": "b"}, "' chosen' to 'chosen'"),
        ("preference", {"prompt": "q", "chosen": "a", "reject": "b"}, "'reject' to 'rejected'"),
        ("dialogue", {"conversation": [QUESTION, GOOD], "turn": 1}, "'conversation' to 'messages'"),
        ("dialogue", {"question": "q", "answer": "a"}, "'answer' to 'completion'"),
        ("dialogue", {"instruction": "q", "context": "c", "response": "a"}, "'context' to 'input'"),
        ("preference", {"version": 1, "data": [{"prompt": "q", **TEXTS}]}, "'data' holds a list"),
        ("dialogue", {"rows": [{"row": {"messages": [QUESTION, GOOD]}}]}, "under 'row'"),
        ("preference", {"prompt": "q", "chosen": "a", "rejected": None}, "fill it"),
        ("preference", {"prompt": b"q", "chosen": b"a", "rejected": b"b"}, "as text"),
    ],
)
def test_a_row_that_nearly_fits_a_layout_is_told_what_it_lacks(kind, row, advice):
    with pytest.raises(RecordError) as error:
        CHECKS[kind](row, "row 1")
    assert advice in error.value.remedy


@pytest.mark.parametrize("number", [17, 0, 2**63])
def test_an_id_that_is_a_whole_number_is_that_id(number):
    row = {"messages": [QUESTION, GOOD], "prompt_id": number}
    assert check_dialogue(row)["prompt_id"] == str(number)


# --- rated answers -------------------------------------------------------------------------------


def rated(model, response, grade, **more):
    annotation = {"helpfulness": {"Rating": str(grade), "Rationale": ""}}
    return {"model": model, "response": response, "annotations": annotation, **more}


def feedback(*completions):
    return {"instruction": "Name a river.", "completions": list(completions)}


@pytest.mark.parametrize(
    "annotations",
    [
        {"Helpfulness": {"Rating": 5}},
        {"helpfulness": {"rating": 5}},
        {" Instruction Following ": {"RATING": "5"}},
    ],
)
def test_names_of_aspects_and_ratings_are_read_in_capitals_or_not(annotations):
    read = check_feedback(
        feedback(rated("a", "x", 1) | {"annotations": annotations}, rated("b", "y", 1))
    )
    assert [a["Rating"] for a in read["completions"][0]["annotations"].values()] == ["5"]


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({"quality": {"Rating": 5}}, "unknown_aspects"),
        ({"overall": {"Rating": 5}, "style": None}, "unknown_aspects"),
        ({"helpfulness": {"score": 5}}, "missing_field"),
        ({"honesty": {"Value": 5, "Rationale": "good"}}, "missing_field"),
    ],
)
def test_ratings_under_another_name_do_not_pass_as_not_rated(annotations, reason):
    row = feedback({"model": "a", "response": "x", "annotations": annotations})
    assert reason_of(row, "feedback") == reason


def test_an_overall_score_that_is_not_a_number_is_missing_as_tables_write_it():
    row = feedback(rated("a", "x", 5, overall_score=float("nan")))
    assert check_feedback(row)["completions"][0]["overall_score"] is None


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ('[{"role": "assistant", "content": "The Rhine."}]', "text_is_structure"),
        ("{'from': 'gpt', 'value': 'The Rhine.'}", "text_is_structure"),
        ('[{"role": "assistant", "content": "The Rh', "broken_structure"),
        ("<|assistant|>\nThe Rhine.</s>", "templated_text"),
        ("The Rhine.<|im_end|>", "templated_text"),
    ],
)
def test_an_answer_that_is_structure_or_a_rendered_turn_makes_no_pair_and_is_counted(
    response, reason
):
    rows = [
        check_feedback(feedback(rated("a", response, 5), rated("b", "y", 1))),
        check_feedback(feedback(rated("a", "y", 5), rated("b", response, 1))),
        check_feedback(feedback(rated("a", "x", 5), rated("b", "y", 1))),
    ]
    made = binarize(rows)
    assert made.reasons() == {reason: 2} and len(made) == 1
    with pytest.raises(HandbookError, match=reason):
        binarize(rows[:2]).require_pairs("feedback")
