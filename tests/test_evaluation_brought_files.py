"""Files of judgments and annotations as people bring them: tables of text, other scales, other
files. Read rightly, or refused with what to do, which is never to pay for judgments again.
"""

import json
import warnings

import pytest

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import EvaluationWarning, alpaca_eval_win_rate, mt_bench_score
from zephyr_utils.evaluation.common import load_rows
from zephyr_utils.evaluation.grading import answers_by_question
from zephyr_utils.evaluation.pairs import pair_score
from zephyr_utils.evaluation.recorded import read_judgments

QUESTIONS = range(81, 91)


def written(path, rows):
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return load_rows(path)


def judgments(score, **more):
    return [
        {"question_id": q, "model": "me", "turn": t, "score": score, **more}
        for q in QUESTIONS
        for t in (1, 2)
    ]


def annotations(preference):
    return [
        {
            "instruction": f"?{n}",
            "output_1": "a",
            "output_2": "b",
            "generator_1": "base",
            "generator_2": "me",
            "preference": preference,
        }
        for n in range(12)
    ]


def test_judgments_in_a_table_are_scored_as_those_in_json(tmp_path):
    header = ("question_id", "model", "turn", "score")
    table = [header, *((q, "007", t, 7.5 if t == 1 else 6) for q in QUESTIONS for t in (1, 2))]
    rows = written(tmp_path / "judgments.csv", table)
    assert rows[0] == {"question_id": 81, "model": "007", "turn": 1, "score": 7.5}
    score = mt_bench_score(rows)
    assert (score.turn_1, score.turn_2) == (7.5, 6.0)
    assert set(score.by_category) == {"writing"}  # which the number of a question says, not a text


def test_annotations_in_a_table_are_scored_as_those_in_json(tmp_path):
    header = ("instruction", "output_1", "output_2", "generator_1", "generator_2", "preference")
    table = [header, *((f"?{n}", "a", "b", "base", "me", 2 if n < 3 else 1) for n in range(12))]
    rows = written(tmp_path / "annotations.csv", table)
    assert alpaca_eval_win_rate(rows).win_rate == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("rows", "advice"),
    [
        (judgments(70), "another one"),
        (judgments(0.7), "another one"),
        (judgments("7"), "as numbers"),
        ([{"question_id": 81, "model_id": "me", "choices": []}], "give judgments"),
        ([{"question_id": 81, "model_a": "x", "winner": "model_a", "turn": 1}], "give judgments"),
        ([row | {"turn": "first"} for row in judgments(7)], "numbers 1 and 2"),
    ],
)
def test_a_file_that_is_at_fault_is_not_to_be_judged_again(rows, advice):
    with pytest.raises(HandbookError) as error:
        mt_bench_score(json.loads(json.dumps(rows)))
    assert advice in error.value.remedy and "again" not in error.value.remedy


@pytest.mark.parametrize(
    ("rows", "advice"),
    [
        (annotations("2"), "as numbers"),
        ([{"instruction": "?", "output": "a", "generator": "me"}], "give annotations"),
        ([*annotations(2), *annotations(4), *annotations(5)], "another one"),
    ],
)
def test_annotations_that_are_at_fault_are_not_to_be_made_again(rows, advice):
    with pytest.raises(HandbookError) as error:
        alpaca_eval_win_rate(rows)
    assert advice in error.value.remedy and "again" not in error.value.remedy


def test_a_judge_that_failed_is_asked_again():
    rows = judgments(-1)
    with pytest.raises(HandbookError) as error:
        mt_bench_score(rows)
    assert "--retry-unreadable" in error.value.remedy


def said(function, *args):
    """What it returns, and its warnings in one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EvaluationWarning)
        result = function(*args)
    return result, " | ".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize("name", ["model_id", "model_name", "generator"])
def test_models_under_another_name_are_not_averaged_under_the_files(tmp_path, name):
    rows = [{name: model, **row} for row in judgments(7) for model in "ab" if row.pop("model", 1)]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(HandbookError, match=f"in `{name}`, not in `model`"):
        read_judgments([path])


def test_a_question_numbered_in_two_ways_is_said():
    rows = judgments(7) + [row | {"question_id": str(row["question_id"])} for row in judgments(3)]
    assert (
        "10 questions are numbered both as a number and as a text" in said(mt_bench_score, rows)[1]
    )
    alone = [row | {"question_id": str(row["question_id"])} for row in judgments(7)]
    assert said(mt_bench_score, alone)[1] == ""


def pairs(first, second, **more):
    both = {"model_1": "x", "model_2": "y", "g1_winner": first, "g2_winner": second, "turn": 1}
    return [{"question_id": q, **both, **more} for q in QUESTIONS]


@pytest.mark.parametrize("winner", ["A", "x", "Model_1", "[[A]]", 1, ["model_1"]])
def test_winners_in_other_words_are_the_files_fault_and_not_the_judges(winner):
    with pytest.raises(HandbookError, match="is not one of") as error:
        pair_score(pairs(winner, "tie"))
    assert "model_1, model_2, tie or error" in error.value.remedy
    assert "again" not in error.value.remedy


def test_a_winner_of_one_order_alone_is_the_files_fault():
    rows = [{k: v for k, v in row.items() if k != "g2_winner"} for row in pairs("tie", "tie")]
    with pytest.raises(HandbookError, match="both orders are missing") as error:
        pair_score(rows)
    assert "g2_winner" in error.value.remedy and "again" not in error.value.remedy


@pytest.mark.parametrize("winner", ["error", None, ""])
def test_a_judge_that_failed_to_choose_is_asked_again(winner):
    with pytest.raises(HandbookError, match="no choice could be read") as error:
        pair_score(pairs("tie", winner))
    assert "--retry-unreadable" in error.value.remedy


def test_a_model_against_itself_is_refused_and_two_judges_are_said():
    with pytest.raises(HandbookError, match="with itself"):
        pair_score(pairs("tie", "tie", model_2="x"))
    mixed = pairs("tie", "tie", judge=["a", "p"]) + pairs("model_1", "model_1", judge=["b", "p"])
    assert "several judges are mixed: a, b" in said(pair_score, mixed)[1]
    assert said(pair_score, pairs("tie", "tie", judge=["a", "p"]))[1] == ""


def answered(*turns):
    asked = [{"question_id": q, "turns": ["a", "b"]} for q in QUESTIONS]
    given = [{"question_id": q, "choices": [{"turns": list(turns)}]} for q in QUESTIONS]
    return said(answers_by_question, asked, given, "m")[1]


def test_answers_with_thoughts_or_with_too_many_turns_are_counted():
    assert answered("x", "y") == "" and answered("x", "Write `<think>` there.") == ""
    assert "10 answers hold thoughts" in answered("<think>hm</think>x", "y")
    assert "10 answers hold thoughts" in answered("x", "<think>hm")
    assert "10 answers have more turns than their question" in answered("x", "y", "z")


def test_a_question_with_an_empty_turn_is_refused():
    with pytest.raises(HandbookError, match="none of them empty"):
        answers_by_question([{"question_id": 81, "turns": ["a", " "]}], [], "m")
