"""Laws that hold for whatever is read: no error but a RecordError, every row accounted for,
checking twice changes nothing, and a file's format changes nothing.

A longer run: make fuzz
"""

import json

import pytest
from hypothesis import strategies as st
from laws import law
from sample_records import FEEDBACK, FLAT, PAIR

from zephyr_utils.data import layout_table
from zephyr_utils.data.records import (
    KINDS,
    RecordError,
    iter_records,
    load_records,
    save_records,
    save_set_aside,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences import audit, binarize

LAYOUTS = (*layout_table.ACCEPTED, *layout_table.REFUSED)
EXAMPLES = [*(layout.example for layout in LAYOUTS), PAIR, FLAT, FEEDBACK]
NAMES = sorted({name for row in EXAMPLES for name in row})
PIECES = [
    "", " ", "Hi", "N/A", "5", "7", "nan", "\ud83d", "\u2028", "\x00", "<|user|>\n", "</s>", "<s>",
    "[INST]", "[/INST]",
    "<|im_start|>user\n", "<|im_end|>", "\n\nHuman:", "\n\nAssistant:", "[{", "}]",
    '{"role": "user", "content": "Hi"}',
    "[{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': "
    "'Ho'}]", "<<SYS>>", "### Human:", "### Assistant:",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
ROLES = st.sampled_from(["user", "assistant", "system", "human", "gpt", "tool", "Robot", "", None,
                         5])  # fmt: skip
MESSAGES = st.fixed_dictionaries(
    {},
    optional={"role": ROLES, "content": TEXTS, "from": ROLES, "value": TEXTS,
              "tool_calls": st.just([1])},
)  # fmt: skip
LEAVES = st.one_of(
    TEXTS, st.none(), st.booleans(), st.integers(), st.just(10**400),
    st.floats(allow_nan=True, allow_infinity=True), MESSAGES,
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def rows(draw):
    """A row of some layout, with a few of its values put in another place or by another."""
    row = json.loads(json.dumps(draw(st.sampled_from(EXAMPLES))))
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=3)):
        how = draw(st.sampled_from(["other", "drop", "text", "literal", "null", "again", "inside"]))
        if how == "other":
            row[name] = draw(VALUES)
        elif how == "drop":
            row.pop(name, None)
        elif how in ("text", "literal") and name in row:
            row[name] = json.dumps(row[name]) if how == "text" else repr(row[name])
        elif how == "null":
            row[name] = None
        elif how == "again" and row:
            row[name] = row[draw(st.sampled_from(sorted(row)))]
        elif isinstance(row.get(name), list) and row[name]:
            row[name][draw(st.integers(0, len(row[name]) - 1))] = draw(VALUES)
    return row


@law(st.one_of(rows(), VALUES), st.sampled_from(list(KINDS)))
def test_a_row_becomes_a_record_or_a_sentence_and_a_record_stays_itself(row, kind):
    check = KINDS[kind]
    try:
        record = check(row, "row 1")
    except RecordError as error:
        assert error.reason and error.what and error.remedy and error.where.startswith("row 1")
        return
    assert check(record, "") == record
    json.dumps(record, allow_nan=False).encode()


def rows_held(values):
    """The rows of a file that holds these values, one a line: a single list of objects is read as
    the rows that it lists, whatever the file is called.
    """
    only = values[0] if len(values) == 1 else None
    is_list = isinstance(only, list) and all(isinstance(item, dict) for item in only)
    return only if is_list else values


@law(
    st.lists(st.one_of(rows(), VALUES), min_size=1, max_size=8),
    st.sampled_from(list(KINDS)),
    share=0.2,
    folder=True,
)
def test_every_row_of_a_file_is_a_record_or_set_aside_in_any_format(folder, values, kind):
    path = folder / "rows.jsonl"
    path.write_bytes(b"".join(json.dumps(v).encode() + b"\n" for v in values))
    set_aside = []
    try:
        records = list(iter_records(path, kind, set_aside=set_aside))
    except HandbookError as error:
        assert "no rows" in error.what
        return
    save_set_aside(folder / "aside.jsonl", set_aside)
    try:
        loaded = load_records(path, kind, set_aside=True)
    except HandbookError:
        assert not records and set_aside
        return
    assert loaded.records == records and loaded.n_read == len(rows_held(values))
    assert loaded.n_read == len(records) + sum(loaded.reasons().values())
    assert sum(loaded.layouts.values()) >= len(records) and loaded.report()
    for name in ("again.jsonl", "again.parquet"):
        assert load_records(save_records(records, folder / name), kind).records == records
    if kind == "preference":
        assert str(audit(records)) == str(audit(records[::-1]))


@pytest.mark.parametrize(
    ("values", "n_rows", "n_records"),
    [
        ([[{}, FLAT]], 2, 1),  # a list of objects alone is a list of rows
        ([[PAIR, PAIR, FLAT]], 3, 3),
        ([[FLAT, 5]], 1, 0),  # of anything else it is one row
    ],
)
def test_a_list_that_stands_alone_in_a_file_is_its_rows(tmp_path, values, n_rows, n_records):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    set_aside = []
    records = list(iter_records(path, "preference", set_aside=set_aside))
    assert (len(records), len(records) + len(set_aside)) == (n_records, n_rows)


LINES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([json.dumps(PAIR).encode(), json.dumps(FLAT).encode(), b"[", b"]",
                         b"\xef\xbb\xbf", b"\r", b'"', b"prompt,chosen,rejected", b"a,b,c",
                         b'a,"b']),
    ),
    max_size=8,
).map(b"\n".join)  # fmt: skip


@law(LINES, st.sampled_from(["rows.jsonl", "rows.json", "rows.csv", "rows.parquet",
                               "rows.jsonl.gz", "rows.arrow"]), share=0.3, folder=True)  # fmt: skip
def test_bytes_that_are_not_records_are_counted_or_refused(folder, content, name):
    path = folder / name
    path.write_bytes(content)
    set_aside = []
    try:
        records = list(iter_records(path, "preference", set_aside=set_aside))
    except HandbookError as error:
        assert str(folder) in error.where and error.remedy
    else:
        assert records or set_aside


RATINGS = st.sampled_from(["1", "2", "3", "4", "5", "N/A", "", "9", "x", 4, 4.5, None])


@law(st.lists(st.lists(st.tuples(RATINGS, RATINGS, st.sampled_from([1, 5.5, 10, None, 11])),
                         max_size=4), max_size=6), st.sampled_from(["mean", "overall"]),
       st.randoms(use_true_random=True))  # fmt: skip
def test_pairs_of_feedback_are_counted_and_do_not_depend_on_its_order(ratings, score, rng):
    feedback = [
        KINDS["feedback"](
            {
                "instruction": f"q{n}",
                "completions": [
                    {
                        "model": f"m{i}",
                        "response": f"a{i}",
                        "annotations": {"honesty": {"Rating": one}, "helpfulness": {"Rating": two}},
                        "overall_score": grade,
                    }
                    for i, (one, two, grade) in enumerate(answers)
                ],
            },
            "",
        )
        for n, answers in enumerate(ratings)
    ]
    shuffled = rng.sample(feedback, len(feedback))
    try:
        made = binarize(feedback, score=score)
    except HandbookError:
        with pytest.raises(HandbookError):
            binarize(shuffled, score=score)
        return
    made.row_counts().check()
    assert made.n_rows == len(feedback) == made.n_used + len(made.set_aside)
    again = binarize(shuffled, score=score)
    assert sorted(map(str, again.pairs)) == sorted(map(str, made.pairs))
    assert again.report() == made.report()
    assert str(audit(made, feedback=feedback)) == str(audit(again, feedback=shuffled))
    assert all(pair["score_chosen"] > pair["score_rejected"] for pair in made)
