"""A key that appears twice in one object has two readings: refused by its name and its line, in
whatever form the object comes.
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sample_records import DIALOGUE, FEEDBACK, PAIR

from zephyr_utils.data.records import RecordError, check_feedback, check_preference, load_records
from zephyr_utils.data.strict_yaml import load_yaml
from zephyr_utils.diagnostics import TrainingLogError, read_training_log
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import load_rows
from zephyr_utils.feedback import Prices, load_prompts
from zephyr_utils.truecasing import Truecaser, truecase_files

GOOD = json.dumps(PAIR)
TWICE = '{"prompt": "Hi", "chosen": "Hello.", "chosen": "Go away.", "rejected": "No."}'
ROLE_TWICE = '{"messages": [{"role": "user", "role": "assistant", "content": "Hi"}]}'
TURNS = (
    '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "content": "Hu"}]'
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", f"{GOOD}\n{TWICE}\n{GOOD}\n"),
        ("rows.json", f"[{GOOD},\n{TWICE},\n{GOOD}]"),
        ("list.jsonl", f"[{GOOD},\n{TWICE},\n{GOOD}]"),
        ("lines.json", f"{GOOD}\n{TWICE}\n{GOOD}\n"),
        ("first.json", f"{TWICE}\n{GOOD}\n{GOOD}\n"),
        ("deep.jsonl", f'{GOOD}\n{{"x": [{TWICE}]}}\n{GOOD}\n'),
    ],
)
def test_the_row_alone_is_set_aside_with_key_and_place(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    loaded = load_records(path, "preference", set_aside=True)
    assert len(loaded) == 2 and loaded.reasons() == {"repeated_key": 1}
    [row] = loaded.set_aside
    assert "'chosen'" in row.detail
    assert row.where == f"{path}, row {1 if name == 'first.json' else 2}"
    with pytest.raises(RecordError, match="'chosen' twice"):
        load_records(path, "preference")


def test_a_row_whose_repeated_key_lies_below_any_depth_of_python_is_still_a_row(tmp_path):
    path = tmp_path / "rows.json"
    deep = "[" * 400 + '{"a": 1, "a": 2}' + "]" * 400
    path.write_text(f'[{GOOD}, {{"x": {deep}}}]')
    assert load_records(path, "preference", set_aside=True).reasons() == {"repeated_key": 1}


@pytest.mark.parametrize("text", [TURNS, TURNS.replace('"', "'")], ids=["json", "python"])
@pytest.mark.parametrize("field", ["chosen", "messages"])
def test_messages_written_as_text_are_held_to_the_same(text, field):
    row = {"chosen": text, "rejected": TURNS.replace(', "content": "Hu"', "")}
    if field == "messages":
        row = {"messages": text, "rejected_response": "No."}
    with pytest.raises(RecordError) as caught:
        check_preference(row, "row 7")
    assert caught.value.reason == "repeated_key" and caught.value.where == f"row 7, field {field}"


def test_a_row_encoded_twice_and_ratings_written_as_text_are_held_to_the_same():
    with pytest.raises(RecordError, match="'chosen' twice"):
        check_preference(TWICE, "row 1")
    row = json.loads(json.dumps(FEEDBACK))
    row["completions"][0]["annotations"] = '{"honesty": {"Rating": "1", "Rating": "5"}}'
    with pytest.raises(RecordError, match="'Rating' twice"):
        check_feedback(row, "row 1")


def test_an_answer_that_explains_repeated_keys_is_an_answer():
    answer = '{"a": 1, "a": 2}'
    record = check_preference({"prompt": "Show me.", "chosen": answer, "rejected": "No."})
    assert record["chosen"][-1]["content"] == answer


@pytest.mark.parametrize("read", [load_rows, load_prompts,
                                  lambda path: load_records(path, "dialogue")])  # fmt: skip
def test_every_reader_of_lines_names_the_line(tmp_path, read):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(DIALOGUE)}\n{ROLE_TWICE}\n")
    with pytest.raises(RecordError, match="'role' twice") as caught:
        read(path)
    assert caught.value.where == f"{path}, row 2"


def test_a_training_log_counts_such_a_row_and_a_state_that_is_one_object_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 0.6}\n{"step": 2, "loss": 0.5, "loss": 9.0}\n' * 2)
    with pytest.raises(TrainingLogError, match="'loss' twice"):
        read_training_log(path)
    state = tmp_path / "trainer_state.json"
    state.write_text('{"log_history": [], "log_history": [{"step": 1, "loss": 0.6}]}')
    with pytest.raises(TrainingLogError, match="'log_history' twice"):
        read_training_log(state)


def test_truecasing_sets_such_a_line_aside_and_writes_the_others(tmp_path):
    caser = Truecaser.fit(["The house in London is red. He sees it. " * 3] * 30)
    source = tmp_path / "rows.jsonl"
    source.write_text(f"{json.dumps(DIALOGUE)}\n{ROLE_TWICE}\n{json.dumps({'messages': TURNS})}\n")
    report = truecase_files(source, tmp_path / "out", truecaser=caser)
    assert (report.rows, report.rows_written) == (3, 1)
    assert report.set_aside == {"a key twice": 1, "broken structure": 1}


def test_a_table_and_a_csv_with_a_column_twice_are_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("prompt,chosen,chosen,rejected\na,b,c,d\n")
    column = pa.array(["a"])
    twice = pa.Table.from_arrays([column] * 3, names=["chosen", "rejected", "chosen"])
    pq.write_table(twice, tmp_path / "rows.parquet")
    for name in ("rows.csv", "rows.parquet"):
        with pytest.raises(HandbookError, match="'chosen'"):
            load_records(tmp_path / name, "preference", set_aside=True)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: 1\nb: 2\na: 3\n", 3), ("m:\n  x: {p: 1, p: 2}\n", 2),
     ("? [1]\n: 1\n? b\n: 2\n? b\n: 3\n", 5)],
)  # fmt: skip
def test_yaml_names_the_line_of_a_key_that_stands_twice(text, line):
    with pytest.raises(yaml.YAMLError) as caught:
        load_yaml(text)
    assert caught.value.problem_mark.line + 1 == line and "twice" in str(caught.value)


def test_yaml_that_repeats_no_key_in_one_mapping_is_read():
    text = "base: &b {x: 1}\nnext:\n  <<: *b\n  x: 2\nlist: [{x: 1}, {x: 2}]\n1: a\n'1': b\n"
    assert load_yaml(text) == yaml.safe_load(text)


def test_a_model_that_is_priced_twice_is_refused(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text("models:\n  m: {prompt: 1, completion: 2}\n  m: {prompt: 10, completion: 20}\n")
    with pytest.raises(HandbookError, match="in line 3: `m` appears twice"):
        Prices.load(path)
