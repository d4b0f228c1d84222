"""Lines of text files: what separates them and what does not, what cannot be decoded, and how long
one may be.
"""

import gzip
import json
import sys

import pytest
from sample_records import DIALOGUE

from zephyr_utils.data import lines as line_reading
from zephyr_utils.data.records import (
    RecordError,
    iter_records,
    load_records,
    save_records,
    save_set_aside,
)
from zephyr_utils.errors import HandbookError

LINE = json.dumps(DIALOGUE).encode() + b"\n"
SEPARATORS = ["\u2028", "\u2029", "\u0085", "\u000b", "\u000c", "\u001c", "\u001d", "\u001e", "\r"]


def said(text):
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]}


@pytest.fixture
def write(tmp_path):
    def write(content, name="rows.jsonl"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.parquet"])
@pytest.mark.parametrize("separator", SEPARATORS, ids=lambda s: f"U+{ord(s):04X}")
def test_a_separator_of_lines_inside_a_text_separates_no_rows(tmp_path, write, name, separator):
    text = f"one{separator}two"
    made = load_records(write(json.dumps(said(text)).encode() + b"\n"), "dialogue").records
    if name == "rows.parquet":
        path = save_records(made, tmp_path / name)
    else:
        raw = ord(separator) > 0x1F  # JSON wants control characters as escapes
        path = write(json.dumps(said(text), ensure_ascii=not raw).encode() + b"\n", name)
    read = load_records(path, "dialogue").records
    assert read == made and read[0]["messages"][0]["content"] == text
    again = save_records(read, tmp_path / "again.jsonl")
    assert again.read_bytes().count(b"\n") == 1 and load_records(again, "dialogue").records == made


@pytest.mark.parametrize(
    "broken",
    ['{"messages": [{"role": "user", "content": '
     '"Gr\u00fc'.encode()[:-1], b"\xff\xfe{}\n", b"\x80\n", "{'ü'}".encode("latin-1") + b"\n"],
    ids=["cut in mid-character", "UTF-16 in the middle", "a stray byte", "Latin-1"],
)  # fmt: skip
def test_a_line_that_cannot_be_decoded_costs_itself_alone_and_is_counted(write, broken):
    loaded = load_records(write(LINE + broken), "dialogue", set_aside=True)
    assert len(loaded) == 1 and loaded.reasons() == {"invalid_utf8": 1}
    with pytest.raises(RecordError, match="row 2: invalid UTF-8 at byte"):
        load_records(write(LINE + broken), "dialogue")
    if broken.endswith(b"\n"):
        assert len(load_records(write(LINE + broken + LINE), "dialogue", set_aside=True)) == 2


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n", b"  \n"])
@pytest.mark.parametrize("mark", [b"", line_reading.MARK])
def test_endings_of_lines_blank_lines_and_marks_of_joined_files_change_nothing(write, ending, mark):
    content = b"".join(mark + LINE.strip() + ending for _ in range(3))
    assert len(load_records(write(content), "dialogue")) == 3
    assert len(load_records(write(content.rstrip()), "dialogue")) == 3


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv"])
def test_a_file_in_utf_16_is_refused_by_that_name(write, encoding, name):
    mark = {"utf-16-be": "\ufeff", "utf-16-le": "\ufeff"}.get(encoding, "")
    with pytest.raises(HandbookError, match="UTF-16"):
        load_records(write((mark + LINE.decode()).encode(encoding), name), "dialogue")


def test_a_json_list_in_a_file_called_jsonl_is_read(write):
    both = [DIALOGUE, DIALOGUE]
    for content in (json.dumps(both), json.dumps(both, indent=1), "\ufeff \n" + json.dumps(both)):
        for name in ("rows.jsonl", "rows.jsonl.gz"):
            assert len(load_records(write(content.encode(), name), "dialogue")) == 2
    mixed = write(b'["a", "b"]\n' + LINE)
    assert load_records(mixed, "dialogue", set_aside=True).reasons() == {"not_an_object": 1}


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (LINE.strip() + b",\n", "without a comma after it"),
        (LINE.strip() + b"\r" + LINE.strip() + b"\r", "carriage return"),
        (b'{\n"messages": []\n}\n', "spread over several lines"),
        (LINE[:-9], "cut short"),
    ],
)
def test_what_is_wrong_with_a_line_of_json_is_said(write, content, advice):
    with pytest.raises(RecordError) as error:
        load_records(write(content), "dialogue")
    assert error.value.reason == "broken_json" and advice in error.value.remedy


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_line_beyond_the_limit_is_set_aside_without_being_kept(write, monkeypatch, name):
    monkeypatch.setattr(line_reading, "MAX_ROW_BYTES", 1 << 16)
    long = b'{"a": "' + b"x" * (5 << 16) + b'"}\n'
    loaded = load_records(write(LINE + long + LINE + long[:-1], name), "dialogue", set_aside=True)
    assert len(loaded) == 2 and loaded.reasons() == {"row_too_long": 2}
    assert [row.where.rpartition(" ")[2] for row in loaded.set_aside] == ["2", "4"]
    assert all(len(row.record) == line_reading.KEPT_OF_A_LONG_ROW for row in loaded.set_aside)
    just = said("x" * ((1 << 15) - 200))
    assert len(load_records(write(json.dumps(just).encode() + b"\n"), "dialogue")) == 1


def test_a_json_file_beyond_the_limit_is_refused_before_it_is_read(write, monkeypatch):
    monkeypatch.setattr(line_reading, "MAX_JSON_BYTES", 100)
    with pytest.raises(HandbookError, match=r"read whole") as error:
        load_records(write(json.dumps([DIALOGUE] * 3).encode(), "rows.json"), "dialogue")
    assert ".jsonl" in error.value.remedy
    # A list called JSONL of that size is read line by line, as what it is called.
    with pytest.raises(RecordError, match="row 1"):
        load_records(write(json.dumps([DIALOGUE] * 3).encode()), "dialogue")


@pytest.mark.parametrize(
    "line",
    [b"[" * 100_000, b'{"a":' * 50_000, b'{"messages": ' + b"9" * 5000 + b"}",
     b'{"n": -' + b"1" * 4400 + b"}", b'"' + b"\\ud83d" * 3 + b'"'],
    ids=["lists", "objects", "digits", "negative", "surrogates"],
)  # fmt: skip
def test_what_no_parser_takes_is_a_row_set_aside(write, tmp_path, line):
    loaded = load_records(write(LINE + line + b"\n" + LINE), "dialogue", set_aside=True)
    assert len(loaded) == 2 and sum(loaded.reasons().values()) == 1
    save_set_aside(tmp_path / "aside.jsonl", loaded.set_aside)


def test_a_row_nested_just_less_deeply_than_the_parser_allows_can_be_set_aside(write, tmp_path):
    set_aside = []
    for depth in range(sys.getrecursionlimit() - 300, sys.getrecursionlimit() + 100, 7):
        line = b'{"messages": ' + b"[" * depth + b"]" * depth + b"}\n"
        assert len(list(iter_records(write(line + LINE), "dialogue", set_aside=set_aside))) == 1
    path = save_set_aside(tmp_path / "aside.jsonl", set_aside)
    kept = [json.loads(line)["reason"] for line in path.read_text().splitlines()]
    assert kept == [row.reason for row in set_aside] and {"wrong_type", "broken_json"} <= set(kept)


@pytest.mark.parametrize("value", [10**400, "1" * 400, float("inf"), "NaN"])
def test_numbers_beyond_every_float_are_not_scores(write, value):
    row = {"prompt": "Hi", "chosen": "a", "rejected": "b", "score_chosen": value,
           "score_rejected": 1}  # fmt: skip
    good = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    content = "".join(json.dumps(r) + "\n" for r in (row, good)).encode()
    assert load_records(write(content), "preference", set_aside=True).reasons() == {
        "not_a_number": 1
    }


def test_rows_are_separated_as_they_come_and_none_is_held_back(write):
    rows = iter_records(write(LINE * 2 + b"{"), "dialogue")
    assert next(rows)["prompt"] == next(rows)["prompt"] == "Hi"
    with pytest.raises(RecordError, match="row 3"):
        next(rows)
