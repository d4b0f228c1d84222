"""MT-Bench: the published averages to the last digit, and all ways in which judgments are bad."""

import json
import warnings

import pytest
from real_records import REAL, needs

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import (
    CATEGORIES,
    EvaluationError,
    EvaluationWarning,
    load_rows,
    mt_bench_difference,
    mt_bench_score,
    mt_bench_table,
    wrong_model_judgments,
)

RECORDS = REAL / "mt_bench"
HYBRIDS = "mambainllama_gpt-4_single.shared.jsonl"


def judgment(question=81, turn=1, score=5, model="zephyr", **fields):
    return {
        "question_id": question,
        "model": model,
        "judge": ["rules", "single"],
        "score": score,
        "turn": turn,
        **fields,
    }


def judgments(*scores, model="zephyr"):
    """Both turns of questions 81, 82, ... with the given (first, second) scores."""
    return [
        judgment(81 + i, turn, score, model)
        for i, pair in enumerate(scores)
        for turn, score in enumerate(pair, start=1)
    ]


def quietly(*args, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvaluationWarning)
        return mt_bench_score(*args, **keywords)


@needs("mt_bench")
def test_the_published_averages_come_out_exactly():
    table = mt_bench_table(load_rows(RECORDS / "model_judgment" / HYBRIDS))
    found = {model: (s.turn_1, s.turn_2, s.overall) for model, s in table.items()}
    assert found == {
        "mamba_0_5_dpo_ep3": (7.7375, 6.8875, 7.3125),
        "mamba_0_75_dpo_ep1": (7.41875, 6.65, 7.034375),
        "mamba_0_875_dpo_ep3": (6.93125, 5.80625, 6.36875),
    }


@needs("mt_bench")
def test_failed_judgments_of_a_real_run_are_left_out_and_counted():
    rows = load_rows(RECORDS / "model_judgment" / "selfeval_llama2-7b-chat_gpt-4_single.jsonl")
    with pytest.warns(EvaluationWarning, match="2 of 160 failed"):
        found = mt_bench_score(rows)
    assert (round(found.overall, 6), found.n_failed, found.n_judgments) == (4.860759, 2, 160)


@needs("mt_bench")
def test_the_public_numbering_gives_the_same_categories_as_the_question_file():
    rows = load_rows(RECORDS / "model_judgment" / "medusa_vicuna-7b-v1.3_gpt-4_single.jsonl")
    by_number, by_file = (
        mt_bench_score(rows),
        mt_bench_score(rows, load_rows(RECORDS / "question.jsonl")),
    )
    assert by_number.by_category == by_file.by_category
    assert tuple(by_number.by_category) == CATEGORIES
    assert by_number.overall == 6.103125


@needs("mt_bench")
def test_judgments_of_another_models_answers_are_found():
    rows = load_rows(RECORDS / "model_judgment" / HYBRIDS)
    answers = [
        row for path in (RECORDS / "model_answer").glob("mamba*.jsonl") for row in load_rows(path)
    ]
    assert wrong_model_judgments(rows, answers) == []
    renamed = [
        row | {"model": "mamba_0_75_dpo_ep1"} for row in rows if row["model"] == "mamba_0_5_dpo_ep3"
    ]
    with pytest.warns(EvaluationWarning, match="not of the model's own answer"):
        # Two empty or equal answers cannot be told apart; nearly all others can.
        assert len(wrong_model_judgments(renamed, answers)) > 150


def test_averages_are_over_judgments_turns_and_categories():
    found = mt_bench_score([*judgments((10, 8), (6, 4)), judgment(121, 1, 2), judgment(121, 2, 3)])
    assert (found.overall, found.turn_1, found.turn_2) == (33 / 6, 6, 5)
    assert found.by_category == {"writing": 7, "coding": 2.5}
    assert found.interval.low <= found.overall <= found.interval.high


def test_failures_leave_every_average():
    rows = [*judgments(*[(8, 6)] * 9), judgment(90, 1, -1), judgment(90, 2, 10)]
    with pytest.warns(EvaluationWarning, match="1 of 20 failed"):
        found = mt_bench_score(rows)
    assert (found.n_failed, found.turn_1, found.turn_2) == (1, 8, 6.4)
    assert found.overall == (9 * 14 + 10) / 19


def test_the_interval_is_over_questions_and_lies_around_the_mean_of_grades():
    # Every question's two grades agree, so there are two independent figures, not four: the
    # resamples are 4, 6 and 8.
    found = mt_bench_score(judgments((4, 4), (8, 8)))
    assert (found.interval.low, found.interval.estimate, found.interval.high) == (4, 6, 8)
    # One grade of the second question failed: the mean over grades is 16 / 3, not the mean over
    # questions.
    found = quietly([*judgments((4, 4), (8, -1))], allow_failures=True)
    assert found.interval.estimate == found.overall == 16 / 3
    assert (found.interval.low + found.interval.high) / 2 == pytest.approx(16 / 3)


def test_exactly_a_tenth_may_fail_but_no_more():
    rows = judgments(*[(8, 6)] * 10)
    for row in rows[:2]:
        row["score"] = -1
    assert quietly(rows).n_failed == 2
    rows[2]["score"] = -1
    with pytest.raises(ValueError, match=r"3 of 20 failed, more than a tenth"):
        mt_bench_score(rows)
    assert quietly(rows, allow_failures=True).n_failed == 3


def test_the_error_is_one_that_readers_can_fix():
    with pytest.raises(HandbookError, match="What to do") as caught:
        mt_bench_score([judgment(score=-1), judgment(turn=2)])
    assert "no rating could be read from the judgment" in str(caught.value)


def test_nan_and_scores_out_of_range_are_named_and_counted():
    bad = [float("nan"), 0, 11, None, "7", float("inf"), True]
    rows = judgments(*[(8, 6)] * 40) + [judgment(130, 1, score) for score in bad]
    rows += [
        judgment(131, 3, 5),
        judgment(None, 1, 5),
        {"question_id": 132, "model": "zephyr", "turn": 1},
    ]
    with pytest.warns(EvaluationWarning):
        found = mt_bench_score(rows, allow_failures=True)
    assert (found.overall, found.n_failed, found.n_judgments) == (7, 10, 90)
    assert found.failures == {
        "score is NaN": 1,
        "score 0 is outside 1 to 10": 1,
        "score 11 is outside 1 to 10": 1,
        "score is null": 1,
        "score is not a finite number": 3,
        "turn 3 is neither 1 nor 2": 1,
        "no question_id": 1,
        "neither a score nor a judgment text": 1,
    }


def test_a_score_that_is_not_stored_is_read_from_the_text():
    rows = [
        {"question_id": 81, "model": "m", "turn": 1, "judgment": "Good. Rating: [[8.5]]"},
        {"question_id": 81, "model": "m", "turn": 2, "judgment": "Rating: [[6]]"},
    ]
    assert mt_bench_score(rows).overall == 7.25


def test_a_score_that_contradicts_its_own_text_is_found():
    rows = [
        judgment(judgment="Rating: [[3]]", score=9),
        judgment(turn=2, judgment="no bracket at all", score=9),
    ]
    with pytest.warns(
        EvaluationWarning, match="1 scores differ from the rating in their own text: 81 turn 1"
    ):
        mt_bench_score(rows)


def test_all_failed_is_an_error_even_when_failures_are_allowed():
    with pytest.raises(EvaluationError, match="all 2 failed"):
        mt_bench_score([judgment(score=-1), judgment(turn=2, score=-1)], allow_failures=True)


def test_no_judgments_and_several_models_are_errors():
    with pytest.raises(ValueError, match="no judgment at all"):
        mt_bench_score([])
    with pytest.raises(ValueError, match=r"2 models \(a, b\)"):
        mt_bench_score(judgments((5, 5), model="a") + judgments((5, 5), model="b"))


def test_missing_turns_are_named_and_a_turn_without_grades_is_none():
    with pytest.warns(EvaluationWarning, match="2 turns were never judged: 81 turn 2, 82 turn 2"):
        found = mt_bench_score([judgment(81, 1, 4), judgment(82, 1, 6)])
    assert (found.turn_1, found.turn_2, found.n_missing) == (5, None, 2)


def test_questions_that_were_never_judged_and_judgments_of_no_question_are_named():
    questions = [
        {"question_id": 81, "category": "a", "turns": ["", ""]},
        {"question_id": 7, "category": "b", "turns": ["", ""]},
    ]
    with pytest.warns(EvaluationWarning) as caught:
        found = mt_bench_score(judgments((4, 6), (8, 8)), questions)
    messages = " ".join(str(warning.message) for warning in caught)
    assert "2 turns were never judged: 7 turn 1, 7 turn 2" in messages
    assert "1 judged questions are not in the question set: 82" in messages
    assert found.by_category == {"a": 5, "uncategorised": 8}


def test_duplicates_are_averaged_as_fastchat_does_and_warned_about():
    with pytest.warns(EvaluationWarning, match="1 repeat a question and turn"):
        found = mt_bench_score([*judgments((4, 4)), judgment(81, 1, 10)])
    assert (found.n_duplicates, found.overall) == (1, 6)


def test_several_judges_are_warned_about():
    with pytest.warns(EvaluationWarning, match="several judges are mixed: other, rules"):
        mt_bench_score([judgment(), judgment(turn=2, judge=["other", "single"])])


def test_questions_without_sense_do_not_end_in_a_traceback():
    rows = [*judgments(*([(8, 6)] * 10)), judgment([81], 1, 5), judgment(81, {"turn": 1}, 5)]
    found = quietly(rows)
    assert (found.n_failed, found.overall) == (2, 7)


def test_models_with_other_questions_other_counts_or_the_same_judgments_are_found():
    a = judgments((5, 6), (7, 8), model="a")
    with pytest.warns(EvaluationWarning, match="a and b differ in 1 questions: 82"):
        mt_bench_table(a + judgments((5, 5), model="b"))
    with pytest.warns(EvaluationWarning, match="a has 4 judgments, c 5, on the same questions"):
        mt_bench_table(a + judgments((5, 5), (1, 1), model="c") + [judgment(81, 1, 5, "c")])
    with pytest.warns(EvaluationWarning, match="a and d have one and the same set of judgments"):
        mt_bench_table(a + [row | {"model": "d"} for row in a])


def test_a_warning_points_to_the_callers_line_however_deep_it_was_raised():
    with pytest.warns(EvaluationWarning) as caught:
        mt_bench_score(judgments((5, 5), (5, -1)), allow_failures=True)
        mt_bench_table(judgments((5, 5), (5, -1)), allow_failures=True)
    assert len(caught) >= 2
    assert {warning.filename for warning in caught} == {__file__}


def test_two_models_are_compared_on_the_grades_both_have():
    a, b = judgments((5, 6), (7, 8), model="a"), judgments((4, 5), (7, -1), model="b")
    with pytest.warns(
        EvaluationWarning,
        match="1 turns are graded for one of the two models only and left out: 82",
    ):
        found = mt_bench_difference(a, b)
    assert (found.mean, found.n) == (0.5, 2)
    with pytest.raises(EvaluationError, match="no graded question in common"):
        mt_bench_difference(a, [judgment(160, 1, 3)])


def test_a_truncated_line_names_its_file_and_row(tmp_path):
    path = tmp_path / "judgments.jsonl"
    path.write_text(
        json.dumps(judgment()) + "\n" + json.dumps(judgment(turn=2))[:30], encoding="utf-8"
    )
    with pytest.raises(HandbookError, match=r"judgments\.jsonl, row 2"):
        load_rows(path)


@pytest.mark.parametrize("content", ["", "\n \n", "[]"])
def test_an_empty_file_is_an_error(tmp_path, content):
    path = tmp_path / ("judgments.json" if content == "[]" else "judgments.jsonl")
    path.write_text(content, encoding="utf-8")
    with pytest.raises(EvaluationError, match="empty"):
        load_rows(path)


def test_a_row_of_a_file_that_is_not_an_object_is_named(tmp_path):
    path = tmp_path / "judgments.jsonl"
    path.write_text('{"score": 1}\n[1, 2]\n', encoding="utf-8")
    with pytest.raises(EvaluationError, match="row 2: is list"):
        load_rows(path)
