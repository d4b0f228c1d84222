"""Tables whose first line is not a header, or is separated by another sign, and JSON that is whole
but beyond what Python reads: each is named by what it is.
"""

import csv
import json

import pytest
from sample_records import DIALOGUE

from zephyr_utils.data.read import read_rows
from zephyr_utils.data.records import RecordError, load_records
from zephyr_utils.diagnostics import read_training_log
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.recorded import read_judgments
from zephyr_utils.truecasing import truecase_files

PAIR_ROWS = [["prompt", "chosen", "rejected"], ["Name a river.", "The Rhine.", "The moon."]]
GRADE_ROWS = [
    ["question_id", "model", "turn", "score"],
    ["81", "a", "1", "7"],
    ["82", "a", "1", "8"],
]
LOG_ROWS = [["step", "loss", "rewards/chosen"], ["1", "0.69", "0.1"], ["2", "0.60", "0.2"]]
READERS = {
    "preference": lambda path: load_records(path, "preference"),
    "judgments": lambda path: read_judgments([path]),
    "log": read_training_log,
}
ROWS = {"preference": PAIR_ROWS, "judgments": GRADE_ROWS, "log": LOG_ROWS}


def table(path, rows, sign=","):
    with open(path, "w", newline="") as stream:
        if len(sign) > 1:
            stream.writelines(sign.join(cells) + "\n" for cells in rows)
        else:
            csv.writer(stream, delimiter=sign).writerows(rows)
    return path


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(("sign", "shown"), [("|", r"\|"), ("^", r"\^"), ("  ", "blanks")])
def test_a_table_separated_by_another_sign_is_told_which(tmp_path, kind, sign, shown):
    path = table(tmp_path / "rows.csv", ROWS[kind], sign)
    with pytest.raises(HandbookError, match=f"separated by {shown}; only commas") as error:
        READERS[kind](path)
    assert "sep=SIGN" in error.value.remedy and "rows.csv" in error.value.where


@pytest.mark.parametrize("kind", ["judgments", "log"])
def test_a_table_whose_first_line_holds_numbers_has_no_header(tmp_path, kind):
    path = table(tmp_path / "rows.csv", ROWS[kind][1:])
    with pytest.raises(HandbookError, match=r"header, it holds numbers: .*1") as error:
        READERS[kind](path)
    assert "names the columns" in error.value.remedy


def test_a_table_whose_first_line_is_a_sentence_is_told_that_it_lacks_a_header(tmp_path):
    path = table(tmp_path / "rows.csv", PAIR_ROWS[1:] * 2)
    with pytest.raises(RecordError, match="row 2") as error:
        load_records(path, "preference")
    assert "the names are values" in error.value.remedy and "prompt,chosen" in error.value.remedy


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        (["text"], ["USER | and more"]),
        (["prompt", "chosen", "rejected", "2"], ["q", "a", "b", "c"]),
        (["", "prompt", "chosen", "rejected"], ["0", "q|r", "a", "b"]),
    ],
)
def test_a_header_with_other_names_or_signs_in_the_cells_is_one(tmp_path, header, cells):
    [row] = read_rows(table(tmp_path / "rows.csv", [header, cells]))
    assert row.error is None and row.value == dict(zip(header, cells, strict=True))


TOO_MUCH = {
    "digits": ("9" * 5000, "a number of 5,000 digits, at character", "as text in quotation marks"),
    "depth": ("[" * 99_999 + "]" * 99_999, "nested too deeply", "as text (json.dumps)"),
}


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "list.json"])
@pytest.mark.parametrize("which", TOO_MUCH)
def test_json_beyond_what_python_reads_is_not_said_to_be_cut_short(tmp_path, name, which):
    value, what, remedy = TOO_MUCH[which]
    line = json.dumps({**DIALOGUE, "n": None}).replace("null", value)
    path = tmp_path / name
    path.write_text(f"[{line}]" if name == "list.json" else line + "\n")
    with pytest.raises(RecordError, match=what) as error:
        load_records(path, "dialogue")
    assert "cut short" not in str(error.value)
    assert remedy in error.value.remedy


@pytest.mark.parametrize("which", TOO_MUCH)
def test_truecasing_sets_aside_a_line_beyond_what_python_reads_and_says_why(tmp_path, which):
    value, what, remedy = TOO_MUCH[which]
    good = json.dumps(DIALOGUE)
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{good}\n{good[:-1]}, "n": {value}}}\n{good}\n')
    report = truecase_files(path, tmp_path / "out")
    assert (report.rows, dict(report.set_aside)) == (3, {"not JSON": 1})
    [aside] = (tmp_path / "out" / "rows.jsonl.set_aside.jsonl").read_text().splitlines()
    detail = json.loads(aside)["detail"]
    assert what in detail and remedy in detail and "cut short" not in detail


def test_a_long_number_in_a_cell_of_json_is_named(tmp_path):
    cell = json.dumps(DIALOGUE["messages"])[:-1] + ', {"n": ' + "9" * 5000 + "}]"
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": cell}) + "\n")
    with pytest.raises(RecordError, match="field messages") as error:
        load_records(path, "dialogue")
    assert "a number of 5,000 digits" in error.value.remedy


def test_invalid_utf8_in_a_whole_json_file_is_not_said_to_be_cut_short(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(b"[" + json.dumps(DIALOGUE).encode()[:-1] + b', "n": "\xff"}]')
    with pytest.raises(RecordError, match=r"invalid UTF-8 at byte .* of the file") as error:
        load_records(path, "dialogue")
    assert "UTF-8" in error.value.remedy and "cut short" not in error.value.remedy
