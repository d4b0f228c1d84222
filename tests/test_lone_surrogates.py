"""Half of a surrogate pair, which JSON can hold and UTF-8 cannot, in records that were made in
Python and never went through a loader: the row and the field are named, wherever it comes in.
"""

import pytest
from sample_feedback import row

from zephyr_utils.chat import encode, encode_prompt, load_tokenizer, render, token_view
from zephyr_utils.data.records import RecordError, save_records
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.preferences import binarize, compare_strategies
from zephyr_utils.training import hold_out

HALF = "red \ud83d door"
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": HALF}]
PUBLISHED = {"score": "overall", "ties": "keep", "randomness": "published-v2"}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(BASE_FOLDER)


@pytest.mark.parametrize("options", [{}, PUBLISHED], ids=["ours", "published"])
@pytest.mark.parametrize(
    ("field", "place"),
    [("instruction", "instruction"), ("response", "completions[1].response"),
     ("model", "completions[1].model")],
)  # fmt: skip
def test_rated_answers_with_half_a_character_are_named_by_row_and_field(field, place, options):
    good, bad = row("Is it red?", 5, 1), row("Is it green?", 5, 1)
    (bad if field == "instruction" else bad["completions"][1])[field] = HALF
    with pytest.raises(RecordError) as caught:
        binarize([good, bad], **options)
    assert caught.value.reason == "bad_unicode" and caught.value.where == f"row 2, field {place}"
    with pytest.raises(RecordError, match="row 1"):
        compare_strategies([bad])


def test_whole_characters_outside_of_the_first_plane_make_pairs_as_any_others():
    [pair] = binarize([row("Is it red? \U0001f6aa", 5, 1)])
    assert pair["prompt"] == "Is it red? \U0001f6aa"


@pytest.mark.parametrize("read", [encode, render, token_view])
def test_a_conversation_with_half_a_character_is_refused_by_its_message(tokenizer, read):
    with pytest.raises(RecordError) as caught:
        read(tokenizer, CHAT)
    assert caught.value.where == "message 2, field content"


def test_a_prompt_with_half_a_character_is_refused_before_special_tokens_are_looked_for(tokenizer):
    asked = [{"role": "user", "content": f"{HALF} </s>"}]
    with pytest.raises(RecordError, match="message 1"):
        encode_prompt(tokenizer, asked)


def test_rows_to_hold_out_are_named():
    with pytest.raises(RecordError) as caught:
        hold_out([{"prompt": "a"}, {"prompt": HALF}])
    assert caught.value.where == "row 2, field prompt"


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_a_record_that_cannot_be_saved_says_to_fix_the_character(tmp_path, name):
    with pytest.raises(RecordError) as caught:
        save_records([{"prompt": HALF}], tmp_path / name)
    assert "broken character" in caught.value.remedy and not list(tmp_path.iterdir())


def test_values_with_half_a_character_have_fingerprints_and_they_differ():
    assert fingerprint([HALF]) != fingerprint(["red ? door"]) != fingerprint(["red \ud83e door"])
