"""Text that holds structure: messages written into one cell are parsed or refused, never trained on
as the text that they are.
"""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_records import ASSISTANT, DIALOGUE, FEEDBACK, PAIR, USER

from zephyr_utils.data.fields import VISIBLE
from zephyr_utils.data.records import (
    RecordError,
    check_dialogue,
    check_feedback,
    check_preference,
    load_records,
)
from zephyr_utils.data.structure import NOTE

GOOD, BAD = PAIR["chosen"][1:], PAIR["rejected"][1:]
SPELLINGS = {"JSON": json.dumps, "Python": repr, "spread out": lambda v: json.dumps(v, indent=2)}


def in_cells(row, spelling, *fields):
    return row | {field: spelling(row[field]) for field in fields or row}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize(
    ("check", "row", "fields"),
    [
        (check_dialogue, DIALOGUE, ["messages"]),
        (check_dialogue, {"data": ["Hi", "Hello."]}, ["data"]),
        (check_dialogue, {"text": DIALOGUE["messages"]}, ["text"]),
        (check_dialogue, {"conversations": [{"from": "human", "value": "Hi"},
                                            {"from": "gpt", "value": "Hello."}]},
         ["conversations"]),
        (check_dialogue, {"prompt": [USER], "completion": [ASSISTANT]}, ["prompt", "completion"]),
        (check_preference, PAIR, ["chosen", "rejected"]),
        (check_preference, PAIR, ["rejected"]),
        (check_preference, {"prompt": [USER], "chosen": GOOD, "rejected": BAD},
         ["prompt", "chosen", "rejected"]),
        (check_preference, {"prompt": USER, "chosen": GOOD[0], "rejected": BAD[0]},
         ["prompt", "chosen", "rejected"]),
        (check_preference, {"prompt": "Hi", "chosen": GOOD, "rejected": BAD,
                            "metadata": {"score_chosen": 8, "score_rejected": 3}},
         ["chosen", "rejected", "metadata"]),
        (check_preference, {"messages": PAIR["chosen"], "rejected_response": BAD},
         ["messages", "rejected_response"]),
        (check_preference, {"conversations": [USER], "chosen": GOOD[0], "rejected": BAD[0]},
         ["conversations", "chosen", "rejected"]),
        (check_feedback, FEEDBACK, ["completions"]),
    ],
)  # fmt: skip
def test_a_column_of_messages_as_text_is_read_as_the_messages(spelling, check, row, fields):
    assert check(in_cells(row, spelling, *fields)) == check(row)


def test_annotations_as_text_messages_as_texts_in_a_list_and_a_row_encoded_twice_are_read():
    answers = [
        answer | {"annotations": json.dumps(answer.get("annotations", {}))}
        for answer in FEEDBACK["completions"]
    ]
    assert check_feedback(FEEDBACK | {"completions": answers}) == check_feedback(FEEDBACK)
    texts = [json.dumps(message) for message in DIALOGUE["messages"]]
    assert check_dialogue({"messages": texts}) == check_dialogue(DIALOGUE)
    assert check_dialogue(json.dumps(DIALOGUE)) == check_dialogue(DIALOGUE)
    parts = [{"type": "text", "text": "Hello."}]
    spelt = {"messages": [USER, ASSISTANT | {"content": json.dumps(parts)}]}
    assert check_dialogue(spelt) == check_dialogue(DIALOGUE)


def test_a_csv_export_is_read_as_the_records_that_were_exported(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [PAIR, PAIR | {"score_chosen": 7.5}]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*PAIR])
        writer.writeheader()
        for row in rows:  # as pandas writes lists into cells
            writer.writerow(in_cells(row, repr, "chosen", "rejected"))
    read = load_records(path, "preference")
    assert read.records == [check_preference(row) for row in rows]
    assert f"{NOTE} (2 rows)" in read.report()


CUT = json.dumps(PAIR["chosen"] * 4000)[:32_767]  # as a spreadsheet ends a cell
PRINTED = "[{'role': 'user', 'content': 'Hi'}\n {'role': 'assistant', 'content': 'Hello.'}]"
ARRAY = "array([{'role': 'user', 'content': 'Hi'}], dtype=object)"


@pytest.mark.parametrize(
    ("check", "row", "reason", "advice"),
    [
        (check_dialogue, {"messages": CUT}, "text_not_structure", "32,767"),
        (check_dialogue, {"messages": PRINTED}, "text_not_structure", "NumPy"),
        (check_dialogue, {"messages": ARRAY}, "text_not_structure", "NumPy"),
        (check_dialogue, {"messages": "[object Object]"}, "text_not_structure", "JSONL"),
        (check_dialogue, {"data": "Hi"}, "text_not_structure", "JSONL"),
        (check_dialogue, {"messages": "[" * 100_000}, "text_not_structure", "JSONL"),
        (check_preference, PAIR | {"chosen": CUT}, "broken_structure", "32,767"),
        (check_preference, {"prompt": "Hi", "chosen": PRINTED, "rejected": "b"}, "broken_structure",
         "NumPy"),
        (check_preference, {"prompt": CUT, "chosen": "a", "rejected": "b"}, "broken_structure",
         "32,767"),
        (check_preference, {"prompt": "Hi", "completion": CUT, "label": True}, "broken_structure",
         "32,767"),
        (check_feedback, FEEDBACK | {"completions": str(FEEDBACK["completions"])[:-9]},
         "text_not_structure", "cut off"),
    ],
)  # fmt: skip
def test_text_that_should_be_messages_and_cannot_be_parsed_is_refused_by_that_name(
    check, row, reason, advice
):
    with pytest.raises(RecordError) as error:
        check(row)
    assert error.value.reason == reason and advice in error.value.remedy


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "Rhine", "role": "river"}',
        '[{"city": "Basel"}, {"city": "Bonn"}]',
        '[{"role": "user", "content": "Hi"}]\n\nThis is how OpenAI writes a conversation.',
        "[1, 2, 3]",
        "{not json}",
        "[Hello](https://example.org)",
        'Use {"role": "user", "content": "Hi"}.',
        "{{ user }}",
        '[{"type": "river"}]',
    ],
)
def test_an_answer_that_is_or_explains_json_stays_the_text_that_it_is(answer):
    made = check_preference({"prompt": "How?", "chosen": answer, "rejected": "?"})
    assert made["chosen"][-1]["content"] == answer
    dialogue = {"messages": [USER, ASSISTANT | {"content": answer}]}
    assert check_dialogue(dialogue)["messages"][-1]["content"] == answer


CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.text(CHARACTERS, min_size=1, max_size=30).filter(VISIBLE.search)


@given(st.lists(TEXT, min_size=2, max_size=6), st.sampled_from(list(SPELLINGS.values())))
def test_whatever_messages_hold_their_cell_holds_too(turns, spelling):
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
    try:
        expected = check_dialogue({"messages": messages})
    except RecordError as error:
        with pytest.raises(RecordError) as again:
            check_dialogue({"messages": spelling(messages)})
        assert again.value.reason == error.reason
    else:
        assert check_dialogue({"messages": spelling(messages)}) == expected
