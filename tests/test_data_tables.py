"""Tables and folders: CSV, Parquet, Arrow, what `datasets` saves, and values that Python cannot
hold.
"""

import csv
import datetime
import gzip
import io
import json
import time
from decimal import Decimal

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_records import ASSISTANT, DIALOGUE, FEEDBACK, PAIR, USER

from zephyr_utils.data import tables
from zephyr_utils.data.records import (
    RecordError,
    check_dialogue,
    check_preference,
    load_records,
    save_records,
)
from zephyr_utils.data.tables import repeated_names
from zephyr_utils.errors import HandbookError

PLAIN = {"prompt": "Name a river.", "chosen": "The Rhine.", "rejected": "The moon."}


def csv_text(rows, **options):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), **options)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(content, name="rows.csv"):
        path = tmp_path / name
        content = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


# --- CSV -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [("rows.csv", {}), ("rows.csv", {"delimiter": ";"}), ("rows.tsv", {"delimiter": "\t"}),
     ("rows.csv.gz", {}),
     ("ROWS.CSV", {"lineterminator": "\n"}), ("rows.csv", {"quoting": csv.QUOTE_ALL})],
)  # fmt: skip
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_pairs_are_read_from_csv_however_it_is_written(write, name, options, mark):
    hard = PLAIN | {"chosen": 'It said: "no";\nthen\u2028, or so,\ta line', "rejected": "ü"}
    read = load_records(write(mark + csv_text([PLAIN, hard], **options), name), "preference")
    assert read.records == [check_preference(PLAIN), check_preference(hard)]


def test_numbers_and_labels_are_text_in_csv_and_an_empty_cell_is_a_missing_one(write):
    scored = [PLAIN | {"score_chosen": 8, "score_rejected": 3.5, "chosen_model": ""}]
    read = load_records(write(csv_text(scored)), "preference").records
    assert read == [check_preference(PLAIN) | {"score_chosen": 8.0, "score_rejected": 3.5}]
    unscored = [PLAIN | {"score_chosen": "", "score_rejected": ""}]
    assert "score_chosen" not in load_records(write(csv_text(unscored)), "preference").records[0]
    rows = [{"prompt": "Hi", "completion": str(label), "label": label} for label in (True, False)]
    assert len(load_records(write(csv_text(rows)), "preference")) == 1
    with pytest.raises(RecordError, match="field rejected"):
        load_records(write(csv_text([PLAIN | {"rejected": ""}])), "preference")


def test_feedback_and_dialogues_are_read_from_csv_with_their_lists_in_cells(write):
    row = FEEDBACK | {"models": "", "completions": json.dumps(FEEDBACK["completions"])}
    read = load_records(write(csv_text([row])), "feedback")
    assert read.records[0]["completions"][0]["overall_score"] == 9.0
    row = {"messages": repr(DIALOGUE["messages"])}
    assert load_records(write(csv_text([row])), "dialogue").records == [check_dialogue(DIALOGUE)]


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        ("prompt,chosen,rejected\na,b,c\nd,e\n", "broken_csv", "2 cells under 3 columns"),
        ("prompt,chosen,rejected\na,b,c\nd,e,f,g\n", "broken_csv", "4 cells under 3 columns"),
        ('prompt,chosen,rejected\na,b,c\nd,"e,f\ng,h,i\n', "broken_csv", "not read"),
        ('prompt,chosen,rejected\na,b,c\nd,"e"x,f\n', "broken_csv", "not read"),
        (b"prompt,chosen,rejected\na,b,c\nd,\xfc,f\n", "invalid_utf8", "invalid UTF-8"),
        (b"prompt,chosen,rejected\na,b,c\nd,e,gr\xc3", "invalid_utf8", "invalid UTF-8"),
    ],
)
def test_a_broken_row_of_csv_is_named_and_those_before_it_are_kept(write, content, reason, words):
    path = write(content)
    loaded = load_records(path, "preference", set_aside=True)
    assert len(loaded) == 1 and loaded.reasons() == {reason: 1}
    with pytest.raises(RecordError, match=words) as error:
        load_records(path, "preference")
    assert error.value.where.endswith("row 3")


def test_cells_longer_than_pythons_limit_are_read_and_those_beyond_ours_are_not(write, monkeypatch):
    long = PLAIN | {"chosen": "x" * 200_000}  # csv.field_size_limit() is 131,072
    assert load_records(write(csv_text([long])), "preference").records == [check_preference(long)]
    previous = csv.field_size_limit(1000)
    monkeypatch.setattr(tables, "MAX_ROW_BYTES", 1000)
    try:
        with pytest.raises(RecordError, match="the most that a row may have"):
            load_records(write(csv_text([long])), "preference")
        unclosed = 'prompt,chosen,rejected\na,"b' + "x\n" * 2000
        with pytest.raises(RecordError, match="the most that a row may have"):
            load_records(write(unclosed), "preference")
    finally:
        csv.field_size_limit(previous)


@pytest.mark.parametrize(
    ("content", "words"),
    [("prompt,chosen,chosen\na,b,c\n", "'chosen' twice"), ("\n\n", "no header"), ("", "no header")],
)
def test_a_header_that_is_none_is_refused(write, content, words):
    with pytest.raises(HandbookError, match=words):
        load_records(write(content), "preference")


def test_a_damaged_archive_of_csv_is_reported(write, tmp_path):
    whole = write(csv_text([PLAIN] * 5000), "rows.csv.gz").read_bytes()
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    loaded = load_records(path, "preference", set_aside=True)
    assert loaded.reasons() == {"broken_file": 1} and 0 < len(loaded) < 5000


# --- Parquet -------------------------------------------------------------------------------------


def parquet(tmp_path, **columns):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_a_date_that_python_cannot_hold_costs_no_row_where_nobody_reads_it(tmp_path):
    far = pa.array([0, 9 * 10**15, -(9 * 10**15)], pa.timestamp("ms"))
    nanoseconds = pa.array([1, 2, 3], pa.timestamp("ns"))
    path = parquet(tmp_path, messages=[DIALOGUE["messages"]] * 3, created=far, updated=nanoseconds)
    assert load_records(path, "dialogue").records == [check_dialogue(DIALOGUE)] * 3


def test_a_value_that_cannot_be_read_inside_of_a_message_costs_its_row_alone(tmp_path):
    when = [datetime.datetime(2026, 1, 1)] * 2
    messages = pa.array([[m | {"at": t} for m in DIALOGUE["messages"]] for t in when])
    bad = messages.values.field("at").cast(pa.int64()).to_pylist()
    bad[2] = 9 * 10**18
    struct = pa.StructArray.from_arrays(
        [messages.values.field("role"), messages.values.field("content"),
         pa.array(bad, pa.int64()).cast(pa.timestamp("us"))],
        ["role", "content", "at"],
    )  # fmt: skip
    path = parquet(tmp_path, messages=pa.ListArray.from_arrays(messages.offsets, struct))
    loaded = load_records(path, "dialogue", set_aside=True)
    assert len(loaded) == 1 and loaded.reasons() == {"unreadable_value": 1}
    assert loaded.set_aside[0].where.endswith("row 2")


def test_bytes_that_are_not_text_cost_their_row_alone(tmp_path):
    raw = pa.array([b"Hi", b"\xff\xfe", b"Ho"]).view(pa.string())
    path = parquet(tmp_path, prompt=raw, chosen=["a"] * 3, rejected=["b"] * 3)
    loaded = load_records(path, "preference", set_aside=True)
    assert [pair["prompt"] for pair in loaded] == ["Hi", "Ho"]
    assert loaded.reasons() == {"unreadable_value": 1}


@pytest.mark.parametrize(
    "messages",
    [
        pa.array([DIALOGUE["messages"]]).cast(pa.large_list(
            pa.struct([("role", pa.large_string()), ("content", pa.large_string())]))),
        pa.array([[tuple(m.items()) for m in DIALOGUE["messages"]]],
                 pa.list_(pa.map_(pa.string(), pa.string()))),
        pa.array([[m | {"tool_calls": None, "weight": None} for m in DIALOGUE["messages"]]]),
        pa.array([[m | {"content": [{"type": "text", "text": m["content"],
                                     "image": None}]} for m in DIALOGUE["messages"]]]),
        pa.array([json.dumps(DIALOGUE["messages"])]),
        pa.array([json.dumps(DIALOGUE["messages"])]).dictionary_encode(),
    ],
    ids=["large", "maps", "padded", "parts", "JSON text", "dictionary"],
)  # fmt: skip
def test_messages_are_read_from_every_type_that_tables_have_for_them(tmp_path, messages):
    path = parquet(tmp_path, messages=messages)
    assert load_records(path, "dialogue").records == [check_dialogue(DIALOGUE)]


def test_scores_are_read_from_every_type_of_number(tmp_path):
    texts = {field: [value] for field, value in PLAIN.items()}
    for eight in (pa.array([8], pa.int8()), pa.array([8.0], pa.float16()),
                  pa.array([Decimal("8.00")])):  # fmt: skip
        path = parquet(tmp_path, **texts, score_chosen=eight, score_rejected=[3.5])
        made = load_records(path, "preference").records[0]
        assert made["score_chosen"] == 8.0 and type(made["score_chosen"]) is float
    nothing = pa.array([float("nan")])
    path = parquet(tmp_path, **texts, score_chosen=nothing, score_rejected=[3.5])
    with pytest.raises(RecordError, match="field score_chosen: expected a number"):
        load_records(path, "preference")
    path = parquet(tmp_path, **texts, score_chosen=nothing, score_rejected=nothing)
    (made,) = load_records(path, "preference").records
    assert "score_chosen" not in made and "score_rejected" not in made


def test_a_table_with_one_name_for_two_columns_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table([pa.array(["a"])] * 2, names=["prompt", "prompt"]), path)
    with pytest.raises(HandbookError, match="two columns called 'prompt'"):
        load_records(path, "preference")


def test_rows_of_many_megabytes_are_taken_a_few_at_a_time(tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(tables, "BATCH_BYTES", 1 << 20)
    batch_rows = tables.batch_rows
    monkeypatch.setattr(
        tables, "batch_rows", lambda b, *rest: sizes.append(len(b)) or batch_rows(b, *rest)
    )
    texts = [[USER, ASSISTANT | {"content": str(i) * (1 << 18)}] for i in range(10)]
    assert len(load_records(parquet(tmp_path, messages=texts), "dialogue")) == 10
    assert max(sizes) <= 4 and sum(sizes) == 10


# --- saving --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
@pytest.mark.parametrize(
    "value",
    ["half \ud83d of a pair", 10**400, object(), {"half \ud83d": 1}],
    ids=["surrogate", "large", "object", "name"],
)
def test_a_record_that_cannot_be_written_is_a_sentence_and_leaves_no_file(tmp_path, name, value):
    if value == 10**400 and name == "rows.jsonl":
        value = 10**5000  # JSON holds any number of digits that Python writes out
    with pytest.raises(RecordError, match=r"written|fit one table") as error:
        save_records([{"a": "b"}, {"a": value}], tmp_path / name)
    assert error.value.reason == "not_writable" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["file/deeper", "n" * 300, "a\0b"])
def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path, folder):
    (tmp_path / "file").write_text("x")
    for name in ("rows.jsonl", "rows.parquet"):
        with pytest.raises(HandbookError, match="cannot be written"):
            save_records([DIALOGUE], tmp_path / folder / name)


# --- folders -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset():
    return datasets.Dataset.from_list([DIALOGUE | {"prompt": str(i)} for i in range(5)])


def test_a_folder_that_datasets_saved_is_read_in_its_order(dataset, tmp_path):
    dataset.save_to_disk(tmp_path / "saved", num_shards=3)
    read = load_records(tmp_path / "saved", "dialogue")
    assert [row["prompt"] for row in read] == list("01234")
    shuffled = dataset.select([3, 1])  # keeps an index over the same file
    shuffled.save_to_disk(tmp_path / "chosen")
    assert [row["prompt"] for row in load_records(tmp_path / "chosen", "dialogue")] == ["3", "1"]
    file = tmp_path / "saved" / "data-00000-of-00003.arrow"
    assert [row["prompt"] for row in load_records(file, "dialogue")] == ["0", "1"]


def test_of_several_splits_one_must_be_named_and_of_one_it_is_taken(dataset, tmp_path):
    datasets.DatasetDict(train=dataset, test=dataset).save_to_disk(tmp_path / "both")
    with pytest.raises(HandbookError, match="the splits train, test") as error:
        load_records(tmp_path / "both", "dialogue")
    assert str(tmp_path / "both" / "test") in error.value.remedy
    assert len(load_records(tmp_path / "both" / "test", "dialogue")) == 5
    datasets.DatasetDict(train=dataset).save_to_disk(tmp_path / "one")
    assert len(load_records(tmp_path / "one", "dialogue")) == 5


def test_the_list_of_files_of_a_saved_dataset_leads_nowhere_else(dataset, tmp_path):
    dataset.save_to_disk(tmp_path / "secret")
    dataset.save_to_disk(tmp_path / "saved")
    state = tmp_path / "saved" / "state.json"
    listed = json.loads(state.read_text())
    listed["_data_files"] = [{"filename": "../secret/data-00000-of-00001.arrow"}]
    state.write_text(json.dumps(listed))
    (tmp_path / "saved" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(HandbookError, match="No such file"):
        load_records(tmp_path / "saved", "dialogue")
    for content in ("{", "{}", '{"_data_files": 5}', "[" * 100_000):
        state.write_text(content)
        with pytest.raises(HandbookError, match=r"state\.json cannot be read"):
            load_records(tmp_path / "saved", "dialogue")


def test_a_damaged_arrow_file_is_reported(dataset, tmp_path):
    dataset.save_to_disk(tmp_path / "saved")
    file = tmp_path / "saved" / "data-00000-of-00001.arrow"
    for content in (file.read_bytes()[:-300], b"", b"not Arrow"):
        file.write_bytes(content)
        with pytest.raises(RecordError, match="damaged"):
            load_records(tmp_path / "saved", "dialogue")


def test_a_folder_with_files_of_several_splits_is_refused_and_one_of_shards_is_read(tmp_path):
    for name in ("train-00000-of-00002", "train-00001-of-00002", "trainer"):
        save_records([check_dialogue(DIALOGUE)], tmp_path / f"{name}.parquet")
    assert len(load_records(tmp_path, "dialogue")) == 3
    save_records([check_dialogue(DIALOGUE)], tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(HandbookError, match="several splits: test, train"):
        load_records(tmp_path, "dialogue")


def test_what_truecasing_leaves_beside_its_output_is_not_a_record(tmp_path):
    save_records([DIALOGUE], tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl.set_aside.jsonl").write_text("{}\n")
    (tmp_path / "rows.jsonl.report.json").write_text("{}")
    assert len(load_records(tmp_path, "dialogue")) == 1


def test_a_folder_without_records_names_the_one_inside_that_has_them(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(HandbookError, match="no file of records") as error:
        load_records(tmp_path, "dialogue")
    assert ".jsonl" in error.value.remedy
    save_records([PAIR], tmp_path / "data" / "rows.jsonl")
    with pytest.raises(HandbookError) as error:
        load_records(tmp_path, "preference")
    assert error.value.remedy == f"give {tmp_path / 'data'}, which does"


def test_repeated_names_of_columns_are_found_in_time_with_their_number():
    def seconds(n):
        names = [*(f"column {i}" for i in range(n)), "column 0"]
        start = time.process_time()
        assert repeated_names(names) == ["column 0"]
        return time.process_time() - start

    assert min(seconds(64_000) for _ in range(3)) < 40 * min(seconds(4_000) for _ in range(3))
