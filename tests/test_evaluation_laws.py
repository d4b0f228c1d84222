"""Laws of reading and scoring records of evaluation: a figure or a sentence, every row counted, and
no figure that depends on the order of the rows or on the format of the file.

A longer run: make fuzz
"""

import json
import math
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from laws import law

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import (
    Report,
    alpaca_eval_win_rate,
    load_rows,
    mt_bench_difference,
    mt_bench_score,
    mt_bench_table,
    pair_score,
    parse_rating,
    parse_verdict,
    read_annotations,
    read_judgments,
    shared_annotations,
    win_rate_by_length,
    win_rate_difference,
)
from zephyr_utils.evaluation.grading import answers_by_question, checked_questions
from zephyr_utils.evaluation.recorded import load_answers, load_questions
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.pipeline.evaluate import folder_name, model_name

pytestmark = pytest.mark.filterwarnings("ignore")

PIECES = ["", " ", "7", "[[7]]", "[[10]]", "[[1]]", "[[A]]", "[[C]]", "[[", "]]", "Rating: [8]",
          "<think>", "</think>", "\n", "\ud83d", "\u2028", "<script>", "$ERROR$", "list[1]",
          "9" * 5000, "１０", "-1", "7,5"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=8)
NUMBERS = st.one_of(
    st.sampled_from([1, 2, 5, 7.5, 10, 0, -1, 1.5, 1.0000001, 11, 81, 160]), st.integers(),
    st.just(10**400),
    st.floats(allow_nan=True, allow_infinity=True),
)  # fmt: skip
VALUES = st.one_of(
    TEXTS, NUMBERS, st.none(), st.booleans(), st.lists(TEXTS, max_size=3),
    st.dictionaries(st.sampled_from(["turns", "index", ""]), st.lists(TEXTS, max_size=2),
                    max_size=2),
)  # fmt: skip


def rows_like(fields, **good):
    """Rows of which most fields are good and some are anything."""
    one = st.fixed_dictionaries(
        {}, optional={name: st.one_of(good.get(name, VALUES), good.get(name, VALUES),
                                      VALUES) for name in fields}
    )  # fmt: skip
    whole = st.fixed_dictionaries(good)
    return st.lists(st.one_of(whole, whole, whole, one), max_size=8)


IDS, TURN = st.integers(81, 84), st.sampled_from([1, 2])
WINNERS = st.sampled_from(["model_1", "model_2", "tie", "error"])
JUDGMENTS = rows_like(
    ["question_id", "turn", "score", "judgment", "model", "judge", "category", "finish_reason",
     "tstamp"],
    question_id=IDS, turn=TURN, score=st.sampled_from([1, 4.5, 7, 10]), model=st.just("m"),
)  # fmt: skip
PAIRS = rows_like(
    ["question_id", "turn", "g1_winner", "g2_winner", "model_1", "model_2", "judge"],
    question_id=IDS, turn=TURN, g1_winner=WINNERS, g2_winner=WINNERS, model_1=st.just("a"),
    model_2=st.just("b"),
)  # fmt: skip
ANNOTATIONS = rows_like(
    ["index", "instruction", "preference", "generator_1", "generator_2", "annotator", "output_1",
     "output_2", "len_output_2", "token", "raw_completion"],
    index=IDS, preference=st.sampled_from([1, 2, 1.5, 1.25, 0]), generator_1=st.just("a"),
    generator_2=st.just("m"), output_2=TEXTS,
)  # fmt: skip
QUESTIONS = rows_like(
    ["question_id", "turns", "category", "reference"],
    question_id=IDS, turns=st.lists(TEXTS, min_size=1, max_size=2),
)  # fmt: skip
CHOICES = st.lists(
    st.fixed_dictionaries({"turns": st.lists(TEXTS, max_size=3)}), min_size=1, max_size=2
)
ANSWERS = rows_like(
    ["question_id", "model_id", "choices", "tstamp"],
    question_id=IDS, model_id=st.just("m"), choices=CHOICES,
)  # fmt: skip
KINDS = st.one_of(JUDGMENTS, PAIRS, ANNOTATIONS, QUESTIONS, ANSWERS)


def figure(score, *arguments, **options):
    """What a function returns, or the error in words; the words can be printed."""
    try:
        return score(*arguments, **options)
    except HandbookError as error:
        assert error.what and error.remedy
        str(error).encode()
        return None


def text_of(value):
    """A figure in words, without the examples that its warnings name in the order of the rows."""
    return repr(value).partition("warnings=")[0]


@law(JUDGMENTS, st.booleans(), st.none() | QUESTIONS, share=0.3)
def test_grades_are_a_mean_on_the_scale_with_every_judgment_counted(rows, allow, questions):
    score = figure(mt_bench_score, rows, questions, allow_failures=allow)
    turned = figure(mt_bench_score, rows[::-1], questions, allow_failures=allow)
    assert (score is None) == (turned is None)
    if score is not None:
        assert score.interval.low <= score.overall <= score.interval.high
        assert 1 <= score.overall <= 10
        assert score.n_judgments == len(rows) and sum(score.failures.values()) == score.n_failed
        assert allow or score.n_failed <= len(rows) / 10
        assert text_of(score) == text_of(turned)


@law(JUDGMENTS, JUDGMENTS, share=0.2)
def test_tables_and_differences_of_models_are_finite_or_refused(first, second):
    rows = first + [row | {"model": "n"} for row in second]
    table = figure(mt_bench_table, rows)
    for name, score in table.items() if table else ():
        assert score.model == name and math.isfinite(score.overall)
    difference = figure(mt_bench_difference, first, second)
    if difference is not None:
        assert difference.low <= difference.high and str(difference).encode()


@law(PAIRS, st.booleans())
def test_the_outcomes_of_pairs_add_up_to_the_rows(rows, allow):
    score = figure(pair_score, rows, allow)
    if score is not None:
        assert score.n_wins_1 + score.n_wins_2 + score.n_undecided == len(rows)
        assert score.win_rate_2 is None or 0 <= score.win_rate_2 <= 100
        assert repr(figure(pair_score, rows[::-1], allow)) == repr(score)


@law(ANNOTATIONS, st.booleans(), share=0.3)
def test_the_rows_of_annotations_are_won_lost_drawn_or_missing(rows, allow):
    rate = figure(alpaca_eval_win_rate, rows, "m", allow)
    if rate is not None:
        assert rate.n_scored + rate.n_missing == len(rows) and 0 <= rate.win_rate <= 100
        assert text_of(figure(alpaca_eval_win_rate, rows[::-1], "m", allow)) == text_of(rate)
    difference = figure(win_rate_difference, rows, rows)
    assert difference is None or difference.low == difference.high == 0
    figure(win_rate_by_length, rows)
    figure(shared_annotations, {"a": rows, "b": rows})


@law(QUESTIONS, ANSWERS)
def test_answers_belong_to_checked_questions_or_are_refused(questions, answers):
    asked = figure(checked_questions, questions)
    if asked is not None:
        assert asked == questions
    given = figure(answers_by_question, questions, answers, "m")
    if given is not None:
        assert all(isinstance(turn, str) for turns in given[1].values() for turn in turns)
        assert len(given[1]) <= len(answers)


@law(TEXTS, st.sampled_from(["", "stop", "length", "content_filter"]))
def test_a_judgment_is_a_number_or_a_failure_and_a_choice_of_three_or_an_error(text, reason):
    assert math.isfinite(parse_rating(text, reason))
    assert parse_verdict(text, reason) in ("A", "B", "tie", "error")
    if reason == "length":
        assert parse_rating(text, reason) == -1 and parse_verdict(text, reason) == "error"


READERS = [
    load_rows, load_questions, load_answers, lambda path: read_judgments([path]),
    lambda path: read_annotations([path]), lambda path: model_name(str(path)),
]  # fmt: skip


@law(KINDS, st.sampled_from(["rows.jsonl", "rows.json"]), share=0.3, folder=True)
def test_every_reader_hands_on_every_row_of_a_file_in_any_format(folder, rows, name):
    path = folder / name
    if name.endswith("l"):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    for read in READERS:
        figure(read, path)
    loaded = figure(load_rows, path)
    if loaded is None and rows:  # one object that may be a table of columns
        assert len(rows) == 1 and any(isinstance(value, list | dict) for value in rows[0].values())
        return
    assert repr(loaded or []) == repr(json.loads(json.dumps(rows)))
    answers = figure(load_answers, path)
    assert answers is None or (len(answers) == len(rows) and len(fingerprint(answers)) == 64)
    try:
        pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return  # values of two types in one column
    table = figure(load_rows, folder / "rows.parquet")
    if table is not None:
        filled = [
            {name: value for name, value in row.items() if value is not None} for row in table
        ]
        assert len(filled) == len(rows)


LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [
                b'{"score": 7, "turn": 1}',
                b"[",
                b"{}",
                b'{"a": 1, "a": 2}',
                b'"\xed\xa0\x80"',
                b"null",
            ]
        ),
    ),
    max_size=5,
)


@law(
    LINES.map(b"\n".join),
    st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.parquet", "a.jsonl.gz", "a.arrow"]),
    share=0.3,
    folder=True,
)
def test_any_bytes_are_rows_or_a_sentence_for_every_reader(folder, data, name):
    path = folder / name
    path.write_bytes(data)
    for read in READERS:
        figure(read, path)


@law(TEXTS)
def test_any_name_of_a_model_is_a_name_of_a_folder(name):
    folder = folder_name(name, name)
    assert folder.encode("ascii") and "/" not in folder and len(folder) < 80


@law(JUDGMENTS, PAIRS, ANNOTATIONS, ANSWERS, share=0.05, folder=True)
def test_a_report_of_any_records_is_a_page_without_their_markup(
    folder, judgments, pairs, annotations, answers
):
    report = Report("<script>title", {"about": "<script>"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure(report.add_judgments, judgments, None, answers, allow_failures=True)
        figure(report.add_pairs, pairs, True)
        figure(report.add_annotations, {"<script>": annotations}, allow_failures=True)
    page = report.write(folder / "report").read_text(encoding="utf-8")
    assert "<script>title" not in page and page.count("<script>") == page.count("</script>") <= 2
    json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
