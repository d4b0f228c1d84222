"""Recorded grades under another name or on another scale, and records of other kinds beside them:
refused by name, or said; never averaged without a word.
"""

import json
import warnings

import pytest
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.evaluation import (
    EvaluationError,
    EvaluationWarning,
    alpaca_eval_win_rate,
    mt_bench_score,
)
from zephyr_utils.evaluation.recorded import read_judgments

QUESTIONS = range(81, 91)


def judgments(name, grade, **more):
    """Of two turns of ten questions; `grade` is a value or a function of question and turn."""
    return [
        {"question_id": q, "model": "me", "turn": t}
        | {name: grade(q, t) if callable(grade) else grade}
        | more
        for q in QUESTIONS
        for t in (1, 2)
    ]


def to_five(question, turn):
    return (question + turn) % 5 + 1


def written(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["rating", "grade", "points", "Score", "overall_score"])
@pytest.mark.parametrize("more", [{}, {"judgment": "Fine. [[3]]"}, {"judgment": "Fine."}])
@pytest.mark.parametrize("grade", [7, "7", 4.5])
def test_a_grade_under_another_name_is_refused_by_that_name(name, more, grade):
    with pytest.raises(EvaluationError) as error:
        mt_bench_score(judgments(name, grade, **more))
    assert f"20 x the grade is in {name}, not in score" in error.value.what
    assert "call that field score" in error.value.remedy


def test_a_column_of_another_name_beside_a_score_changes_nothing():
    assert mt_bench_score(judgments("score", 7, rating=3)).overall == 7


def test_some_grades_under_another_name_are_counted():
    rows = judgments("score", 7)[:19] + judgments("rating", 7)[19:]
    with pytest.warns(EvaluationWarning, match="1 of 20 failed .* is in rating, not in score"):
        score = mt_bench_score(rows)
    assert (score.n_judgments, score.n_failed, score.overall) == (20, 1, 7)


def scale_warnings(rows):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mt_bench_score(rows)
    return [str(w.message) for w in caught if "no grade of" in str(w.message)]


@pytest.mark.parametrize("judge", [{}, {"judge": "prometheus"}, {"judge": ["mine", "likert"]}])
def test_grades_that_seem_to_be_from_1_to_5_are_said(judge):
    [said] = scale_warnings(judgments("score", to_five, **judge))
    assert "no grade of 20 is above 5" in said and "averaged as grades from 1 to 10" in said


@pytest.mark.parametrize("prompt", ["single-v1", "single-math-v1-multi-turn", "handbook-single",
                                    "rules", "checks"])  # fmt: skip
def test_low_grades_of_a_prompt_that_asks_for_1_to_10_are_grades(prompt):
    assert scale_warnings(judgments("score", to_five, judge=["gpt-4", prompt])) == []


def test_low_grades_beside_high_ones_are_grades_and_few_say_nothing():
    assert scale_warnings(judgments("score", lambda q, t: 9 if q == 85 else to_five(q, t))) == []
    assert scale_warnings(judgments("score", to_five)[:9]) == []


def test_a_rating_in_another_form_is_told_the_form():
    with pytest.raises(EvaluationError, match=r"20 x no \[\[rating\]\] could be read from") as e:
        mt_bench_score(judgments("judgment", "Feedback: good. [RESULT] 4"))
    assert "[[7]]" in e.value.remedy and "again" not in e.value.remedy


OTHERS = {
    "answers": {"model_id": "me", "choices": [{"turns": ["a", "b"]}]},
    "questions": {"category": "writing", "turns": ["a", "b"]},
    "Arena-Hard's judgments": {"model": "me", "games": [{"score": "A>B"}]},
    "comparisons in one order": {"model_a": "x", "model_b": "y", "winner": "model_a", "turn": 1},
}


@pytest.mark.parametrize("what", OTHERS)
def test_records_of_another_kind_are_named(tmp_path, what):
    path = written(tmp_path / "x.jsonl", [{"question_id": q, **OTHERS[what]} for q in QUESTIONS])
    with pytest.raises(EvaluationError, match=f"the records are {what} .*not judgments") as error:
        read_judgments([path])
    assert error.value.where.endswith("x.jsonl, record 1") and "rename" not in error.value.remedy


def test_fastchats_whole_folder_is_refused_for_its_answers_and_its_judgments_are_read(tmp_path):
    written(tmp_path / "model_answer/me.jsonl", [{"question_id": 81, **OTHERS["answers"]}])
    made = judgments("score", 7, judge=["gpt-4", "single-v1"], judgment="Rating: [[7]]")
    written(tmp_path / "model_judgment/gpt-4_single.jsonl", made)
    with pytest.raises(EvaluationError, match="the records are answers"):
        read_judgments([tmp_path])
    assert read_judgments([tmp_path / "model_judgment"]) == (made, [])


def test_the_command_prints_the_doubt_about_the_scale(tmp_path):
    path = written(tmp_path / "mine.jsonl", judgments("score", to_five))
    run = CliRunner().invoke(
        app, ["evaluate", "--judgments", str(path), "--report", str(tmp_path / "report")]
    )
    assert run.exit_code == 0 and "me: 3.00" in run.output
    assert "no grade of 20 is above 5" in run.output


def test_preferences_from_minus_1_to_1_are_refused_with_the_right_sum():
    rows = [
        {"instruction": f"?{n}", "output_1": "a", "output_2": "b", "preference": n % 3 - 1}
        for n in range(12)
    ]
    with pytest.raises(EvaluationError, match="4 of 12 preferences are below 0") as error:
        alpaca_eval_win_rate(rows)
    assert "(preference + 3) / 2" in error.value.remedy
    moved = [row | {"preference": (row["preference"] + 3) / 2} for row in rows]
    assert alpaca_eval_win_rate(moved).win_rate == pytest.approx(50)
