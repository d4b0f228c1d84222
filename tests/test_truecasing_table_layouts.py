"""Conversations in the columns of tables: only letters of the assistant's messages change, and
every type stays.
"""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty_dialogues import ASKED, FAULTY, GOOD, RIGHT, SHAREGPT, TURNS, dumps
from truecasing_corpus import fitted

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import truecase_files, truecase_messages

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
CODED = pa.dictionary(pa.int8(), pa.string())
TEXT_PART = pa.struct([("type", pa.string()), ("text", pa.string())])


def columns() -> dict[str, tuple[str, pa.Array]]:
    """A name for each form, the column that has it and one row of it, with null rows around."""
    turns = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": FAULTY}]
    parts = [
        {
            "role": "assistant",
            "content": [{"type": "image", "text": None}, {"type": "text", "text": FAULTY}],
        }
    ]
    both = [
        {"from": "human", "value": ASKED},
        {"from": "gpt", "value": FAULTY},
        {"role": "assistant", "content": FAULTY},
    ]
    lists = pa.struct([("role", pa.list_(pa.string())), ("content", pa.list_(pa.string()))])

    def messages(role: pa.DataType, content: pa.DataType, kind=pa.list_) -> pa.Array:
        inner = pa.struct([("role", role), ("content", content)])
        plain = pa.array([None, turns, []], pa.list_(MESSAGE))
        fields = [plain.values.field(0).cast(role), plain.values.field(1).cast(content)]
        items = pa.StructArray.from_arrays(fields, fields=list(inner))
        maker = pa.LargeListArray if kind is pa.large_list else pa.ListArray
        offsets = plain.offsets.cast(pa.int64() if kind is pa.large_list else pa.int32())
        return maker.from_arrays(offsets, items, mask=plain.is_null())

    return {
        "strings": ("messages", messages(pa.string(), pa.string())),
        "large strings in large lists": (
            "messages",
            messages(pa.large_string(), pa.large_string(), pa.large_list),
        ),
        "string views": ("messages", messages(pa.string(), pa.string_view())),
        "coded roles": ("messages", messages(CODED, pa.string())),
        "coded contents": ("messages", messages(pa.string(), CODED)),
        "coded roles and large contents": ("messages", messages(CODED, pa.large_string())),
        "parts": (
            "messages",
            pa.array(
                [None, parts, []],
                pa.list_(pa.struct([("role", pa.string()), ("content", pa.list_(TEXT_PART))])),
            ),
        ),
        "parts that are text": (
            "messages",
            pa.array([None, [{"role": "assistant", "content": [FAULTY]}]]),
        ),
        "one part": (
            "messages",
            pa.array([[{"role": "assistant", "content": {"type": "text", "text": FAULTY}}], None]),
        ),
        "ShareGPT": ("conversations", pa.array([None, SHAREGPT, []])),
        "both pairs of keys": ("conversations", pa.array([both, None])),
        "lists of fixed size": (
            "data",
            pa.array([[ASKED, FAULTY], None], pa.list_(pa.string(), 2)),
        ),
        "coded raw UltraChat": (
            "data",
            pa.ListArray.from_arrays([0, 2], pa.array([ASKED, FAULTY]).dictionary_encode()),
        ),
        "a list of roles beside one of contents": (
            "messages",
            pa.array(
                [
                    None,
                    {"role": ["user", "assistant"], "content": [ASKED, FAULTY]},
                    {"role": [], "content": []},
                ],
                lists,
            ),
        ),
        "a column in a struct": ("messages", pa.array([{"conversations": SHAREGPT, "n": 1}, None])),
        "a single message": (
            "messages",
            pa.array([None, {"role": "assistant", "content": FAULTY}]),
        ),
        "JSON text": ("messages", pa.array([None, dumps(TURNS), dumps(TURNS, indent=1)])),
        "Python text": ("conversations", pa.array([repr(SHAREGPT), None, ""], pa.large_string())),
        "JSON text of raw UltraChat, coded": (
            "data",
            pa.array([dumps([ASKED, FAULTY]), None]).dictionary_encode(),
        ),
        "messages each as JSON text": (
            "messages",
            pa.array([[dumps(turn) for turn in TURNS], None]),
        ),
        "parts as JSON text": (
            "messages",
            pa.array([[{"role": "assistant", "content": dumps(parts[0]["content"])}]]),
        ),
        "whole rows as JSON text": ("text", pa.array([dumps(GOOD), None], pa.string_view())),
        "a template": (
            "text",
            pa.array([f"<|user|>\n{ASKED}</s>\n<|assistant|>\n{FAULTY}</s>\n", None]),
        ),
        "coded text": ("text", pa.array([FAULTY, None, FAULTY]).dictionary_encode()),
    }


@pytest.mark.parametrize("form", columns())
def test_every_form_of_a_column_is_repaired_and_keeps_its_type(form):
    name, array = columns()[form]
    for chunked in (
        pa.chunked_array([array]),
        pa.chunked_array([array.slice(0, 1), array.slice(1)]),
        pa.chunked_array([array.slice(0, 0), array, pa.nulls(2, array.type)]),
    ):
        table = pa.table({"n": range(len(chunked)), name: chunked})
        repaired = truecase_messages(table, name, truecaser=fitted())
        assert repaired.schema == table.schema and repaired.num_rows == table.num_rows
        faulty, right = (dumps(text)[1:-1] for text in (FAULTY, RIGHT))
        assert dumps(repaired.to_pylist()) == dumps(table.to_pylist()).replace(faulty, right)
        repaired.validate(full=True)


@pytest.mark.parametrize(
    ("form", "ending"),
    [
        (form, ending)
        for form, (_, array) in columns().items()
        for ending in ("parquet", "arrow stream", "arrow file")
        if "view" not in str(array.type) or ending != "parquet"  # which has no views
    ],
)
def test_a_file_of_any_form_is_repaired_and_fitted_on(tmp_path, form, ending):
    name, array = columns()[form]
    table = pa.table({"n": range(len(array)), name: array})
    path = tmp_path / f"a.{ending.split()[0]}"
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        new = pa.ipc.new_stream if "stream" in ending else pa.ipc.new_file
        with new(str(path), table.schema) as sink:
            sink.write_table(table)
    report = truecase_files(path, tmp_path / "out", truecaser=fitted())
    assert report.rows == report.rows_written == len(array) and report.altered > 0
    if ending == "parquet":
        written = pq.read_table(tmp_path / "out" / "a.parquet")
    else:
        opened = pa.ipc.open_stream if "stream" in ending else pa.ipc.open_file
        with pa.OSFile(str(tmp_path / "out" / "a.arrow")) as source:
            written = opened(source).read_all()
    assert written.equals(truecase_messages(table, name, truecaser=fitted()))
    # It would be fitted on what it repairs: faulty messages, of which nothing is learned.
    with pytest.raises(HandbookError, match="can be learned from"):
        truecase_files(path, tmp_path / "fitted")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (pa.array([[("role", "user")]], pa.map_(pa.string(), pa.string())), "holds map"),
        (pa.array([b"bytes"]), "holds binary"),
        (pa.array([[b"bytes"]]), "lists of binary"),
        (pa.array([[{"role": 1, "content": "a"}]]), "roles are int64"),
        (pa.array([[{"role": "assistant", "content": 1}]]), "contents are int64"),
        (pa.array([[[1]]]), "lists of list"),
        (pa.array([{"a": 1}]), "hold a, not role"),
    ],
)
def test_a_column_of_another_kind_is_refused_by_its_type(tmp_path, array, reason):
    table = pa.table({"messages": array})
    with pytest.raises(HandbookError, match=reason):
        truecase_messages(table, truecaser=fitted())
    pq.write_table(table, tmp_path / "a.parquet")
    for options in ({"truecaser": fitted()}, {}):
        with pytest.raises(HandbookError, match=reason):
            truecase_files(tmp_path / "a.parquet", tmp_path / "out", **options)


def test_null_columns_and_a_later_one_that_is_filled_are_told_apart(tmp_path):
    table = pa.table(
        {"messages": pa.nulls(2), "data": [None, [ASKED, FAULTY]], "text": ["It is.", "a. b"]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    report = truecase_files(tmp_path / "a.parquet", tmp_path / "out", truecaser=fitted())
    written = pq.read_table(tmp_path / "out" / "a.parquet").to_pylist()
    assert [row["data"] for row in written] == [None, [ASKED, RIGHT]]
    assert (report.messages, report.altered, [row["text"] for row in written]) == (
        2,
        1,
        ["It is.", "a. b"],
    )
