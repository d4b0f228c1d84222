"""Folders from which something is missing, or in which something appears twice, are not one set."""

import json

import pytest

from zephyr_utils.data.records import load_records
from zephyr_utils.errors import HandbookError


def rows(first):
    return "".join(
        json.dumps({"prompt": f"Name river {n}.", "completion": "The Rhine."}) + "\n"
        for n in range(first, first + 3)
    )


def folder_of(tmp_path, *names):
    for number, name in enumerate(names):
        (tmp_path / name).write_text(rows(10 * number))
    return tmp_path


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["data-00000-of-00003.jsonl", "data-00002-of-00003.jsonl"], 1),
        (["train-00001-of-00003.jsonl"], 0),
        (["part_1-of-3.jsonl", "part_3-of-3.jsonl"], 2),
    ],
)
def test_a_part_that_is_missing_is_named(names, missing, tmp_path):
    with pytest.raises(HandbookError, match=f"the first of them number {missing}"):
        load_records(folder_of(tmp_path, *names), "dialogue")


def test_a_folder_with_all_its_parts_is_read(tmp_path):
    names = [f"data-0000{n}-of-00003.jsonl" for n in range(3)]
    assert len(load_records(folder_of(tmp_path, *names), "dialogue")) == 9
    names = [f"other-{n}-of-2.jsonl" for n in (1, 2)]
    (tmp_path / "other").mkdir()
    assert len(load_records(folder_of(tmp_path / "other", *names), "dialogue")) == 6


@pytest.mark.parametrize("name", ["b.jsonl.incomplete", "b.jsonl.part", "b.parquet.crdownload"])
def test_a_download_that_did_not_end_is_named(name, tmp_path):
    with pytest.raises(HandbookError, match="a download that did not finish"):
        load_records(folder_of(tmp_path, "a.jsonl", name), "dialogue")


@pytest.mark.parametrize("kind", ["copy", "link", "hard link"])
def test_a_file_that_stands_there_twice_is_not_read_twice(kind, tmp_path):
    folder_of(tmp_path, "a.jsonl")
    second = tmp_path / "a copy.jsonl"
    if kind == "copy":
        second.write_text(rows(0))
    elif kind == "link":
        second.symlink_to(tmp_path / "a.jsonl")
    else:
        second.hardlink_to(tmp_path / "a.jsonl")
    with pytest.raises(HandbookError, match="hold the same bytes"):
        load_records(tmp_path, "dialogue")
    second.unlink()
    assert len(load_records(folder_of(tmp_path, "a.jsonl", "b.jsonl"), "dialogue")) == 6
