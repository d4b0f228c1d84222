"""The real records that chapters show: shape, attribution, and that each shows what its chapter
says of it.
"""

import re

import pytest

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences import mean_rating
from zephyr_utils.published import published_record, record_names


def answer(name):
    return published_record(name).record["messages"][1]["content"]


@pytest.mark.parametrize("name", record_names())
def test_every_record_names_its_source_and_a_licence_that_lets_it_be_passed_on(name):
    found = published_record(name)
    assert found.title and found.source and found.record
    assert found.licence.startswith(("MIT", "Apache-2.0"))
    assert found.source in found.attribution and found.licence in found.attribution


def test_an_unknown_record_lists_the_known_ones():
    with pytest.raises(HandbookError, match="preference_pair, ultrachat_dialogue"):
        published_record("nothing")


def test_the_dialogue_opens_with_a_disclaimer_and_keeps_the_fault_at_paragraph_starts():
    roles = [m["role"] for m in published_record("ultrachat_dialogue").record["messages"]]
    assert roles == ["user", "assistant"] * 2
    text = answer("ultrachat_dialogue")
    assert text.startswith("I do not have a capability to use or experience products")
    assert len(re.findall(r"\n\n[a-z]", text)) == 4, "paragraphs that open in lower case"
    assert not re.findall(r"[.!?] [a-z]", text), "sentence starts on one line are repaired"


def test_the_code_of_the_two_other_dialogues_was_broken_by_a_repair_of_case():
    assert "for I in range" in answer("ultrachat_factorial")
    assert "factorial *= i" in answer("ultrachat_factorial")
    assert "for I = 1" in answer("ultrachat_lua") and ".. Sum)" in answer("ultrachat_lua")


def test_the_rated_row_has_four_answers_and_the_ratings_of_one():
    row = published_record("ultrafeedback_row").record
    assert [bool(c.get("annotations")) for c in row["completions"]] == [True, False, False, False]
    first = row["completions"][0]
    assert set(first["annotations"]) == set(ASPECTS)
    assert mean_rating(first) == 2.75, "2, 3, 3, 3"


def test_the_pair_chooses_the_nearer_of_two_wrong_answers():
    pair = published_record("preference_pair").record
    chosen, rejected = (pair[side][-1]["content"] for side in ("chosen", "rejected"))
    right = f"{0xB3A9:b}"
    assert right == "1011001110101001"
    assert right not in chosen and right not in rejected
    assert len(chosen) < len(rejected)


def test_the_answer_of_zephyr_follows_its_system_prompt():
    messages = published_record("zephyr_answer").record["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant"]
    assert messages[-1]["content"].startswith("Arr!")
