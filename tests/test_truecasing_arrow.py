"""Truecasing of Arrow arrays and of columns of messages: types, nulls, chunks and slices come back
as they were.
"""

import pyarrow as pa
import pytest
from truecasing_corpus import CLEAN, FAULTY, REPAIRED, fitted

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import truecase_messages
from zephyr_utils.truecasing.tables import ColumnReport

# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_kind_of_string_array_keeps_its_type_nulls_and_length(kind):
    array = pa.array([CLEAN, None, FAULTY, ""], kind)
    repaired = fitted().truecase_batch(array)
    assert repaired.type == kind and repaired.to_pylist() == [CLEAN, None, REPAIRED, ""]
    repaired.validate(full=True)


def test_slices_and_chunks_are_seen_as_they_are():
    array = pa.array([FAULTY, CLEAN, FAULTY, None, FAULTY])
    for start in range(5):
        repaired = fitted().truecase_batch(array.slice(start, 2))
        assert repaired.to_pylist() == fitted().truecase_batch(array.slice(start, 2).to_pylist())
    assert array.to_pylist()[0] == FAULTY  # the original is never written to
    chunked = pa.chunked_array([array.slice(1, 3), array.slice(4), array.slice(5)])
    assert fitted().truecase_batch(chunked).to_pylist() == [CLEAN, REPAIRED, None, REPAIRED]
    assert fitted().truecase_batch(pa.chunked_array([], pa.string())).to_pylist() == []


def test_zero_rows_nulls_and_clean_arrays_come_back_as_they_are():
    for array in (
        pa.array([], pa.string()),
        pa.nulls(3),
        pa.nulls(3, pa.string()),
        pa.array([CLEAN] * 3),
    ):
        assert fitted().truecase_batch(array) is array
    assert fitted().truecase_batch([]) == []
    assert fitted().truecase_batch([None, FAULTY]) == [None, REPAIRED]


@pytest.mark.parametrize("wrong", [[1], [b"bytes"], pa.array([1]), pa.array([b"x"])])
def test_what_is_not_text_is_refused(wrong):
    with pytest.raises(HandbookError, match="expected"):
        fitted().truecase_batch(wrong)


def test_a_message_of_fifty_megabytes_is_repaired_like_a_short_one():
    sentence = FAULTY[FAULTY.index("however") :] + " "
    text = "I " + sentence * (50_000_000 // len(sentence))
    repaired = fitted().truecase(text)
    assert len(repaired) == len(text)
    part = REPAIRED[REPAIRED.index("However") :] + " "
    assert repaired[2 + len(part) * 3 :].startswith(part)
    assert repaired.count("However") == text.count("however")


# --- columns of messages --------------------------------------------------------------------------


def conversations() -> pa.Table:
    rows = [
        [{"role": "user", "content": FAULTY}, {"role": "assistant", "content": FAULTY}],
        None,
        [],
        [{"role": "assistant", "content": None}, {"role": None, "content": FAULTY}, None],
        [{"role": "assistant", "content": CLEAN}],
    ]
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    return pa.table({"number": range(5), "messages": pa.array(rows, kind)})


def test_only_the_assistants_messages_are_repaired():
    report = ColumnReport()
    table = truecase_messages(conversations(), truecaser=fitted(), report=report)
    expected = conversations().to_pylist()
    expected[0]["messages"][1]["content"] = REPAIRED
    assert table.to_pylist() == expected and table.schema == conversations().schema
    assert (report.messages, report.altered, report.labels["capitalized"]) == (2, 1, 1)
    assert report.edits == sum(a != b for a, b in zip(FAULTY, REPAIRED, strict=True))


def test_other_roles_can_be_chosen():
    table = truecase_messages(conversations(), roles=("user",), truecaser=fitted())
    first = table["messages"][0].as_py()
    assert [message["content"] for message in first] == [REPAIRED, FAULTY]


def test_slices_chunks_and_batches_of_conversations_agree_with_the_whole():
    whole = truecase_messages(conversations(), truecaser=fitted()).to_pylist()
    for start in range(6):
        part = truecase_messages(conversations().slice(start, 3), truecaser=fitted())
        assert part.to_pylist() == whole[start : start + 3]
        part.validate(full=True)
    chunked = pa.concat_tables([conversations().slice(0, 2), conversations().slice(2)])
    assert truecase_messages(chunked, truecaser=fitted()).to_pylist() == whole
    (batch,) = conversations().to_batches()
    assert truecase_messages(batch, truecaser=fitted()).to_pylist() == whole


def test_in_raw_ultrachat_every_second_string_is_the_assistants():
    table = pa.table({"data": [[FAULTY, FAULTY, FAULTY], [FAULTY], [], None]})
    repaired = truecase_messages(table, "data", truecaser=fitted())["data"].to_pylist()
    assert repaired == [[FAULTY, REPAIRED, FAULTY], [FAULTY], [], None]
    sliced = truecase_messages(table.slice(1), "data", roles=("user",), truecaser=fitted())
    assert sliced["data"].to_pylist() == [[REPAIRED], [], None]


def test_columns_without_any_content_come_back_as_they_are():
    for rows in ([[{"role": "assistant", "content": None}]], [[], None], [None]):
        table = pa.table({"messages": pa.array(rows)})
        assert truecase_messages(table, truecaser=fitted()).equals(table)


def test_a_missing_or_foreign_column_is_named():
    with pytest.raises(HandbookError, match="no column 'messages'"):
        truecase_messages(pa.table({"text": [FAULTY]}), truecaser=fitted())
    with pytest.raises(HandbookError, match="holds int64"):
        truecase_messages(pa.table({"messages": [1]}), truecaser=fitted())
    with pytest.raises(HandbookError, match="not role and content"):
        truecase_messages(
            pa.table({"messages": [[{"by": "gpt", "value": FAULTY}]]}), truecaser=fitted()
        )
