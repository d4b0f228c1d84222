"""Records that do not say which model they are of, and files that wrap their records: read rightly,
or refused with the rows.
"""

import json
import math

import pytest
from evaluation_command import few_questions, lines, right_answers, run

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import mt_bench_score, mt_bench_table
from zephyr_utils.evaluation.common import load_rows
from zephyr_utils.evaluation.recorded import load_answers, read_judgments

ROWS = [
    {"question_id": q, "model": "me", "turn": t, "score": 4 + q % 2 * 3}
    for q in range(81, 91)
    for t in (1, 2)
]


def with_names(field, *names, rows=ROWS):
    """The records with these in place of the first rows' names; ... leaves the field out."""
    made = [dict(row) for row in rows]
    for row, name in zip(made, names, strict=False):
        row.pop(field, None)
        if name is not ...:
            row[field] = name
    return made


@pytest.mark.parametrize(
    "nobody", [None, "", "  ", math.nan, True, ["me"], {"name": "me"}, 0.5, ...]
)
def test_a_judgment_of_nobody_is_refused_with_its_row(nobody, tmp_path):
    rows = with_names("model", "me", nobody, "me", nobody)
    words = r"2 of 20 records have no model's name in `model`: rows 2, 4"
    for read in (mt_bench_score, mt_bench_table):
        with pytest.raises(HandbookError, match=words):
            read(rows)
    if nobody is not ... and nobody == nobody:
        file = tmp_path / "j.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(HandbookError, match=words) as refused:
            run("--judgments", file, "--report", tmp_path / "report")
        assert refused.value.where == str(file) and "which model" in refused.value.remedy
        assert not (tmp_path / "report" / "report.html").exists()


def test_judgments_of_which_none_says_a_model_are_one_models_and_null_is_not_a_name():
    rows = with_names("model", *[...] * len(ROWS))
    assert mt_bench_score(rows).overall == mt_bench_score(ROWS).overall == 5.5
    with pytest.raises(HandbookError, match=r"20 of 20 .*: rows 1, 2, 3, 4, 5 and 15 more"):
        mt_bench_score(with_names("model", *[None] * len(ROWS)))


def test_a_comparison_with_nobody_is_refused_with_its_row_in_the_file(tmp_path):
    pair = {"question_id": 81, "turn": 1, "g1_winner": "model_1", "g2_winner": "model_1"}
    rows = [pair | {"model_1": "a", "model_2": "b"}, pair | {"model_1": "a", "model_2": None}]
    file = lines(tmp_path / "pairs.jsonl", [*ROWS, *rows])
    with pytest.raises(HandbookError, match=r"1 of 2 .* in `model_2`: row 22"):
        read_judgments([file])


@pytest.mark.parametrize("nobody", [None, "", "  ", True, ["me"], {"name": "me"}, 0.5, ...])
def test_answers_of_which_some_name_their_model_are_not_all_taken_for_its_own(nobody, tmp_path):
    few = few_questions()
    answers = right_answers(few, "me")
    rows = with_names("model_id", "me", nobody, rows=answers)
    file = lines(tmp_path / "answers.jsonl", rows)
    with pytest.raises(
        HandbookError, match=rf"1 of {len(rows)} .* in `model_id`: row 2"
    ) as refused:
        load_answers(file)
    assert "which model answered" in refused.value.remedy


@pytest.mark.parametrize("nobody", [None, "", ...])
def test_answers_of_which_none_names_a_model_are_of_one_model(nobody, tmp_path):
    answers = right_answers(few_questions(), "me")
    of_none = with_names("model_id", *[nobody] * len(answers), rows=answers)
    assert len(load_answers(lines(tmp_path / "mine.jsonl", of_none))) == len(answers)


# --- files that wrap their records ----------------------------------------------------------------


@pytest.mark.parametrize(("name", "indent"), [("j.json", 1), ("j.jsonl", None)])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda rows: rows,
        lambda rows: {"judgments": rows},
        lambda rows: {"data": rows},
        lambda rows: {"Results": rows},
        lambda rows: {"model": "me", "judgments": with_names("model", *[...] * len(rows))},
        lambda rows: {"model": "you", "model_id": 1, "judgments": rows},
        lambda rows: {"version": 1, "made_with": {"judge": "gpt-4"}, "records": rows, "notes": []},
    ],
)
def test_records_in_a_list_are_read_as_those_on_lines(wrap, name, indent, tmp_path):
    (tmp_path / name).write_text(json.dumps(wrap(ROWS), indent=indent))
    read = load_rows(tmp_path / name)
    assert [{field: row[field] for field in ROWS[0]} for row in read] == ROWS
    output = run("--judgments", tmp_path / name, "--report", tmp_path / "report")
    assert "me: 5.50 (turns 5.50 / 5.50; 0 of 20 failed)" in output


def test_answers_below_their_models_name_have_it_unless_they_have_their_own(tmp_path):
    answers = right_answers(few_questions(), "me")
    content = {"model_id": "me", "answers": with_names("model_id", ..., "you", rows=answers)}
    (tmp_path / "a.json").write_text(json.dumps(content))
    names = [row["model_id"] for row in load_answers(tmp_path / "a.json")]
    assert names == ["me", "you", *["me"] * (len(answers) - 2)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"me": ROWS, "you": ROWS}, "the file holds 2 lists of records: me, you"),
        ({"judgments": ROWS, "answers": [{"a": 1}]}, "2 lists of records: judgments, answers"),
        ({"model": "me", "judgments": ROWS, "notes": [{"a": 1}]}, "2 lists of records: judgments"),
        ({name: [row[name] for row in ROWS] for name in ROWS[0]},
         "columns and not rows: model, question_id, score, turn are lists"),
        ({name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]},
         "columns and not rows"),
    ],
)  # fmt: skip
def test_another_layout_is_named_as_what_it_is(content, words, tmp_path):
    (tmp_path / "j.json").write_text(json.dumps(content))
    with pytest.raises(HandbookError, match=words) as refused:
        read_judgments([tmp_path / "j.json"])
    assert refused.value.where.endswith("j.json") and refused.value.remedy


def test_a_single_record_that_holds_a_list_of_its_own_is_one_record(tmp_path):
    answer = {"question_id": 1, "model_id": "me", "choices": [{"turns": ["a", "b"]}]}
    (tmp_path / "a.json").write_text(json.dumps(answer))
    assert load_answers(tmp_path / "a.json") == [answer]
    judgment = ROWS[0] | {"items": [{"criterion": "honesty"}]}
    (tmp_path / "j.json").write_text(json.dumps(judgment))
    assert load_rows(tmp_path / "j.json") == [judgment]
