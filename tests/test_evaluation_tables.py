"""Records of evaluation in tables: columns that JSON cannot hold, dates that Python cannot."""

import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_command import few_questions, lines, right_answers, run

from zephyr_utils.data.records import RecordError
from zephyr_utils.evaluation import read_annotations, read_judgments
from zephyr_utils.evaluation.recorded import load_answers, load_questions
from zephyr_utils.pipeline.artefacts import fingerprint

QUESTIONS = few_questions()
ROWS = {
    "questions": QUESTIONS,
    "answers": right_answers(QUESTIONS, "m"),
    "judgments": [
        {"question_id": n, "model": "m", "judge": ["j", "x"], "score": 7, "turn": turn}
        for n in range(10)
        for turn in (1, 2)
    ],
    "annotations": [
        {"index": n, "generator_1": "a", "generator_2": "m", "preference": 2.0 - n % 2}
        for n in range(20)
    ],
}
READERS = {
    "questions": load_questions,
    "answers": load_answers,
    "judgments": lambda path: read_judgments([path])[0],
    "annotations": lambda path: next(iter(read_annotations([path]).values())),
}
BEYOND = 2**60  # milliseconds: the year 36 million
COLUMNS = {
    "a date beyond Python's": lambda n: pa.array([BEYOND] * n, pa.timestamp("ms")),
    "a duration beyond Python's": lambda n: pa.array([2**62] * n, pa.duration("s")),
    "a date": lambda n: pa.array([0] * n, pa.timestamp("ms")),
    "a decimal": lambda n: pa.array([decimal.Decimal("1.5")] * n),
    "bytes": lambda n: pa.array([b"\xff"] * n),
}


def table(path, kind, column, name="tstamp"):
    rows = pa.Table.from_pylist(ROWS[kind])
    pq.write_table(rows.append_column(name, column(len(rows))), path)
    return path


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_beside_the_schema_costs_no_row_and_no_figure(tmp_path, kind, column):
    read = READERS[kind](table(tmp_path / f"{kind}.parquet", kind, COLUMNS[column]))
    assert len(read) == len(ROWS[kind])
    for row, expected in zip(read, ROWS[kind], strict=True):
        assert {name: row[name] for name in expected} == expected
    if kind in ("questions", "answers"):
        assert len(fingerprint(read)) == 64


@pytest.mark.parametrize("kind", ROWS)
def test_a_value_that_cannot_be_read_inside_a_field_stops_with_row_and_field(tmp_path, kind):
    def inside(n):
        date = pa.array([BEYOND] * n, pa.timestamp("ms"))
        return pa.StructArray.from_arrays([date], names=["at"])

    path = table(tmp_path / f"{kind}.parquet", kind, inside, "info")
    with pytest.raises(RecordError, match="the field info") as caught:
        READERS[kind](path)
    assert caught.value.where == f"{path}, row 1"


def test_dates_are_kept_as_text_and_no_surrogate_is_reported_for_them(tmp_path, recwarn):
    path = table(tmp_path / "answers.parquet", "answers", COLUMNS["a date"])
    assert {row["tstamp"] for row in load_answers(path)} == {str(datetime.datetime(1970, 1, 1))}
    assert not list(recwarn)


def test_the_command_reads_all_four_from_tables_with_dates_beyond_pythons(tmp_path):
    paths = {
        kind: table(tmp_path / f"{kind}.parquet", kind, COLUMNS["a date beyond Python's"])
        for kind in ROWS
    }
    common = ["--runs", tmp_path / "runs", "--report", tmp_path / "report"]
    said = run(paths["answers"], "--questions", paths["questions"], *common)
    assert "m: 7.00" in said or "m: 10.00" in said
    plain = lines(tmp_path / "answers.jsonl", ROWS["answers"])
    questions = lines(tmp_path / "questions.jsonl", QUESTIONS)
    again = run(plain, "--questions", questions, *common)
    assert [row for row in said.splitlines() if row.startswith("m:")] == [
        row for row in again.splitlines() if row.startswith("m:")
    ]
    assert "7.00 (turns 7.00 / 7.00; 0 of 20 failed)" in run("--judgments", paths["judgments"],
                                                             *common)  # fmt: skip
    assert "50.00 %" in run("--annotations", paths["annotations"], *common)


def test_annotations_in_a_table_are_named_by_their_file(tmp_path):
    path = table(tmp_path / "zephyr-7b.v2.parquet", "annotations", COLUMNS["bytes"])
    assert list(read_annotations([path])) == ["zephyr-7b"]
