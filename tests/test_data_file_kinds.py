"""Files that are not what their name says, are not files, or are one set twice: refused for the
true reason, before any of their rows is blamed.
"""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_records import DIALOGUE

from zephyr_utils.data.records import load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing.files import truecase_files

LINE = json.dumps(DIALOGUE).encode() + b"\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123456\n"
PAGE = b"\n<!DOCTYPE html>\n<html><body>404</body></html>\n"


def parquet_bytes():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([DIALOGUE]), sink)
    return sink.getvalue().to_pybytes()


CONTENTS = [
    ("UTF-16", LINE.decode().encode("utf-16")),
    ("UTF-16", LINE.decode().encode("utf-16-le")),
    ("UTF-16", LINE.decode().encode("utf-16-be")),
    ("UTF-32", LINE.decode().encode("utf-32")),
    ("gzip", gzip.compress(LINE, mtime=0)),  # without the time, which is part of the test's name
    ("Zstandard", b"\x28\xb5\x2f\xfd\x04\x00"),
    ("zip archive", b"PK\x03\x04\x14\x00\x06\x00"),
    ("Parquet file", parquet_bytes()),
    ("Arrow file", b"ARROW1\x00\x00"),
    ("Git LFS", POINTER),
    ("web page", PAGE),
]


def refusal(call, *arguments, **options):
    with pytest.raises(HandbookError) as error:
        call(*arguments, **options)
    assert error.value.where and error.value.remedy
    return error.value


@pytest.mark.parametrize(("what", "content"), CONTENTS)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv"])
def test_a_text_file_that_is_something_else_is_called_what_it_is(tmp_path, what, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    for set_aside in (False, True):
        assert what in refusal(load_records, path, "dialogue", set_aside=set_aside).what


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
@pytest.mark.parametrize("content", [POINTER, PAGE, gzip.compress(LINE)], ids=["LFS", "page", "gz"])
def test_a_table_that_is_something_else_is_called_what_it_is(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    said = refusal(load_records, path, "dialogue", set_aside=True)
    assert any(word in said.what for word in ("Git LFS", "web page", "gzip"))
    assert refusal(truecase_files, path, tmp_path / "out").what == said.what


@pytest.mark.parametrize(("what", "content"), CONTENTS)
def test_truecasing_calls_a_file_what_it_is_before_it_fits_on_it(tmp_path, what, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert what in refusal(truecase_files, path, tmp_path / "out").what


@pytest.mark.parametrize("text", ["PAR1,PAR2\n1,2\n", "PKW,LKW\n1,2\n", "version,prompt\n1,2\n"])
def test_a_table_whose_header_only_begins_like_another_kind_of_file_is_a_table(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    assert "field is missing" in refusal(load_records, path, "dialogue").what


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    path = tmp_path / "rows.jsonl"
    os.mkfifo(path)
    assert "pipe" in refusal(load_records, path, "dialogue").what


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json", "dataset_dict.json"])
def test_a_file_that_describes_a_saved_dataset_points_to_its_folder(tmp_path, name):
    path = tmp_path / name
    path.write_text("{}")
    assert str(tmp_path) in refusal(load_records, path, "dialogue").remedy


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("https://huggingface.co/datasets/a/b/resolve/main/c.jsonl", "download"),
        ("s3://bucket/rows.jsonl", "download"),
        ("~/nowhere/rows.jsonl", "~"),
        ("nowhere/rows.jsonl", "as seen from here"),
    ],
)
def test_a_path_that_leads_nowhere_is_answered_by_what_it_looks_like(written, advice):
    assert advice in refusal(load_records, written, "dialogue").remedy


@pytest.mark.parametrize(
    "names",
    [
        ("rows.jsonl", "rows.jsonl.gz"),
        ("rows.csv", "rows.jsonl"),
        ("a.jsonl", "rows.jsonl", "Rows.JSONL.gz"),
    ],
)
def test_one_set_in_two_formats_is_not_read_twice(tmp_path, names):
    for name in names:
        (tmp_path / name).write_bytes(gzip.compress(LINE) if name.endswith("gz") else LINE)
    assert "two formats" in refusal(load_records, tmp_path, "dialogue").what


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("my_train.jsonl", "my_test.jsonl"), "test, train"),
        (("train_sft-00000-of-00001.jsonl", "train_gen-00000-of-00001.jsonl"), "train_gen, train"),
        (("pairs.train.jsonl", "pairs.eval.jsonl"), "eval, train"),
        (("training.jsonl", "val.jsonl"), "train, validation"),
        (("train1.jsonl", "dev1.jsonl"), "dev, train"),
    ],
)
def test_splits_in_one_folder_are_not_mixed_whatever_stands_around_their_names(
    tmp_path, names, splits
):
    for name in names:
        (tmp_path / name).write_bytes(LINE)
    assert f"several splits: {splits}" in refusal(load_records, tmp_path, "dialogue").what


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"),
        ("trainer.jsonl", "latest.jsonl", "contest.jsonl"),
        ("train.jsonl", "training_2.jsonl", "more.jsonl"),
    ],
)
def test_files_of_one_split_are_read_together(tmp_path, names):
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(LINE + b"\n" * number)
    assert len(load_records(tmp_path, "dialogue")) == len(names)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("sep=;\nprompt;chosen;rejected\nq;a;b\n", "note for Excel"),
        ("prompt,chosen,rejected\rq,a,b\rq,a,b\r", "carriage return"),
    ],
)
def test_a_table_with_habits_of_a_spreadsheet_is_refused_for_the_true_reason(
    tmp_path, content, what
):
    path = tmp_path / "rows.csv"
    path.write_bytes(content.encode())
    assert what in refusal(load_records, path, "preference").what
