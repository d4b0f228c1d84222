"""The three record types: good rows come through in one shape, bad ones are named to the row and
the field.
"""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_records import ASSISTANT, DIALOGUE, FEEDBACK, FLAT, PAIR, SYSTEM, USER

from zephyr_utils.data.fields import VISIBLE
from zephyr_utils.data.records import (
    RecordError,
    check_dialogue,
    check_feedback,
    check_preference,
    with_answers,
)
from zephyr_utils.errors import HandbookError


@pytest.mark.parametrize("answers", [["a"], ["a", "b", "c"], []])
def test_answers_that_are_not_as_many_as_the_assistants_messages_are_refused(answers):
    dialogues = [{"messages": [USER, ASSISTANT]}, {"messages": [USER, ASSISTANT, USER]}]
    with pytest.raises(HandbookError, match=f"{len(answers)} answers cannot replace 2 messages"):
        with_answers(dialogues, answers)
    replaced = with_answers(dialogues, ["a", "b"])
    assert [row["messages"][1]["content"] for row in replaced] == ["a", "b"]
    assert replaced[1]["messages"][2] == USER


def without(record, field):
    return {key: value for key, value in record.items() if key != field}


# --- good records ---------------------------------------------------------------------------------


def test_a_dialogue_without_prompt_and_id_gets_both_as_ultrachat_200k_has_them():
    dialogue = check_dialogue({"messages": [SYSTEM, USER, ASSISTANT], "split": "train"})
    assert dialogue == {
        "prompt": "Hi",
        "prompt_id": hashlib.sha256(b"Hi").hexdigest(),
        "messages": [SYSTEM, USER, ASSISTANT],
    }


def test_raw_ultrachat_becomes_a_dialogue():
    assert check_dialogue({"id": "0", "data": ["Hi", "Hello.", "Bye"]})["messages"] == [
        USER,
        ASSISTANT,
        {"role": "user", "content": "Bye"},
    ]


def test_an_empty_system_turn_is_allowed_because_zephyrs_own_formatting_puts_one():
    assert (
        check_dialogue({"messages": [{"role": "system", "content": ""}, USER, ASSISTANT]})["prompt"]
        == "Hi"
    )


def test_both_forms_of_a_preference_become_the_same_record():
    assert check_preference(FLAT) == check_preference(PAIR)
    assert (
        check_preference(PAIR)["score_chosen"] == 8.0
        and type(check_preference(PAIR)["score_chosen"]) is float
    )


def test_a_preference_without_a_prompt_takes_the_first_user_turn():
    assert check_preference(without(PAIR, "prompt")) == check_preference(PAIR)


def test_equal_scores_and_empty_or_identical_answers_are_left_for_the_audit():
    pair = check_preference(
        FLAT | {"chosen": "", "rejected": "", "metadata": {"score_chosen": 1, "score_rejected": 1}}
    )
    assert pair["chosen"][-1]["content"] == pair["rejected"][-1]["content"] == ""


def test_the_models_of_a_preference_are_kept_where_known():
    assert (
        check_preference(PAIR | {"chosen_model": "a", "rejected_model": None})["chosen_model"]
        == "a"
    )
    assert "rejected_model" not in check_preference(
        PAIR | {"chosen_model": "a", "rejected_model": None}
    )


def test_feedback_without_annotations_passes_and_ratings_become_text():
    feedback = check_feedback(FEEDBACK)
    assert feedback["completions"][0]["overall_score"] == 9.0
    assert feedback["completions"][1] == {
        "model": "b",
        "response": "No.",
        "annotations": {},
        "critique": "",
        "overall_score": None,
    }
    numbered = {
        "model": "a",
        "response": "",
        "annotations": {"honesty": {"Rating": 4}, "helpfulness": {"Rating": "N/A"}},
    }
    annotations = check_feedback(FEEDBACK | {"completions": [numbered]})["completions"][0][
        "annotations"
    ]
    assert {aspect: a["Rating"] for aspect, a in annotations.items()} == {
        "honesty": "4",
        "helpfulness": "N/A",
    }


@given(
    st.lists(
        st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="<[{"), min_size=1
        ).filter(VISIBLE.search),
        min_size=2,
    )
)
def test_checking_a_checked_dialogue_changes_nothing(turns):
    checked = check_dialogue({"data": turns})
    assert check_dialogue(checked) == checked
    assert [m["content"] for m in checked["messages"]] == turns


# --- bad records ----------------------------------------------------------------------------------

BAD_DIALOGUES = {
    "not_an_object": ([1, 2], ""),
    "missing_field": ({"text": "Hi"}, "messages"),
    "wrong_type": ({"messages": 5}, "messages"),
    "text_not_structure": ({"messages": "Hi"}, "messages"),
    "empty_dialogue": ({"messages": []}, "messages"),
    "one_sided": ({"messages": [USER]}, "messages"),
    "unknown_role": ({"messages": [USER, {"role": "robot", "content": "Hi"}]}, "messages[1].role"),
    "misplaced_system": ({"messages": [USER, SYSTEM, ASSISTANT]}, "messages[1].role"),
    "assistant_first": ({"messages": [SYSTEM, ASSISTANT, USER]}, "messages[1].role"),
    "two_user_turns": ({"messages": [USER, USER, ASSISTANT]}, "messages[1].role"),
    "two_assistant_turns": ({"messages": [USER, ASSISTANT, ASSISTANT]}, "messages[2].role"),
    "empty_content": (
        {"messages": [USER, {"role": "assistant", "content": " \n"}]},
        "messages[1].content",
    ),
    "bad_unicode": (
        {"messages": [USER, {"role": "assistant", "content": "\ud83d"}]},
        "messages[1].content",
    ),
}


@pytest.mark.parametrize("reason", BAD_DIALOGUES)
def test_a_bad_dialogue_is_named_by_place_field_reason_and_remedy(reason):
    record, field = BAD_DIALOGUES[reason]
    with pytest.raises(RecordError) as error:
        check_dialogue(record, "talk.jsonl, row 3")
    assert error.value.reason == reason
    assert error.value.where == "talk.jsonl, row 3" + (f", field {field}" if field else "")
    assert error.value.remedy and str(error.value).startswith(
        f"{error.value.where}: {error.value.what}"
    )
    assert isinstance(error.value, ValueError) and isinstance(error.value, HandbookError)


@pytest.mark.parametrize(
    ("record", "reason", "field"),
    [
        ({"data": ["Hi", 5]}, "wrong_type", "data[1]"),
        ({"data": ["Hi"]}, "one_sided", "data"),
        ({"messages": [USER, "Hello."]}, "wrong_type", "messages[1]"),
        (
            {"messages": [USER, {"role": "assistant", "content": None}]},
            "wrong_type",
            "messages[1].content",
        ),
        ({"messages": [USER, {"role": "assistant"}]}, "missing_field", "messages[1].content"),
        ({"messages": [{"from": "human"}]}, "missing_field", "messages[0].value"),
        ({"messages": [{"content": "Hi"}]}, "missing_field", "messages[0].role"),
        (DIALOGUE | {"prompt": 3}, "wrong_type", "prompt"),
        (DIALOGUE | {"prompt_id": [3]}, "wrong_type", "prompt_id"),
    ],
)
def test_the_faulty_field_of_a_dialogue_is_named(record, reason, field):
    with pytest.raises(RecordError) as error:
        check_dialogue(record)
    assert (error.value.reason, error.value.where) == (reason, f"field {field}")


@pytest.mark.parametrize(
    ("record", "reason", "field"),
    [
        (without(PAIR, "score_chosen"), "one_score", "score_chosen"),
        (without(PAIR, "rejected"), "missing_field", "rejected"),
        (PAIR | {"score_rejected": "N/A"}, "not_a_number", "score_rejected"),
        (PAIR | {"score_rejected": None}, "one_score", "score_rejected"),
        (PAIR | {"score_rejected": True}, "not_a_number", "score_rejected"),
        (PAIR | {"score_rejected": float("nan")}, "not_a_number", "score_rejected"),
        (FLAT | {"metadata": {"score_chosen": "x"}}, "one_score", "metadata.score_rejected"),
        (FLAT | {"metadata": {"score_chosen": "x", "score_rejected": 1}}, "not_a_number",
         "metadata.score_chosen"),
        (PAIR | {"chosen": 5}, "wrong_type", "chosen"),
        (PAIR | {"chosen": [USER, ASSISTANT, USER]}, "ends_with_user", "chosen[2].role"),
        (PAIR | {"chosen": [USER, {"role": "assistant", "content": ""}, USER, ASSISTANT]},
         "empty_content", "chosen[1].content"),
        (PAIR | {"rejected": [{"role": "user", "content": "Ho"}, ASSISTANT]}, "different_context",
         "rejected"),
        (FLAT | {"prompt": None, "chosen": [ASSISTANT], "rejected": [ASSISTANT]}, "missing_field",
         "prompt"),
        (FLAT | {"prompt": " "}, "empty_content", "prompt"),
    ],
)  # fmt: skip
def test_the_faulty_field_of_a_preference_is_named(record, reason, field):
    with pytest.raises(RecordError) as error:
        check_preference(record)
    assert (error.value.reason, error.value.where) == (reason, f"field {field}")


@pytest.mark.parametrize(
    ("completion", "reason", "field"),
    [
        ("Hello.", "wrong_type", ""),
        ({"response": "Hello."}, "missing_field", ".model"),
        ({"model": "a"}, "missing_field", ".response"),
        ({"model": "a", "response": None}, "wrong_type", ".response"),
        ({"model": "a", "response": "", "overall_score": "9/10"}, "not_a_number", ".overall_score"),
        ({"model": "a", "response": "", "annotations": [1]}, "wrong_type", ".annotations"),
        ({"model": "a", "response": "", "annotations": {"honesty": 5}}, "wrong_type",
         ".annotations.honesty"),
        ({"model": "a", "response": "", "annotations": {"honesty": {"Rating": True}}}, "wrong_type",
         ".annotations.honesty.Rating"),
    ],
)  # fmt: skip
def test_the_faulty_field_of_feedback_is_named(completion, reason, field):
    with pytest.raises(RecordError) as error:
        check_feedback(FEEDBACK | {"completions": [FEEDBACK["completions"][0], completion]})
    assert (error.value.reason, error.value.where) == (reason, f"field completions[1]{field}")


def test_feedback_without_an_instruction_or_completions_is_named():
    for record, field in (
        (without(FEEDBACK, "completions"), "completions"),
        (FEEDBACK | {"instruction": ""}, "instruction"),
    ):
        with pytest.raises(RecordError, match=f"field {field}"):
            check_feedback(record)
