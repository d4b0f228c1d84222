"""Files of judgments and annotations as people bring them: tables of text, other scales, other
files. Read rightly, or refused with what to do, which is never to pay for judgments again.
"""

import json

import pytest

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import alpaca_eval_win_rate, mt_bench_score
from zephyr_utils.evaluation.common import load_rows

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
