"""Judges, grading of two-turn answers, and pairs judged in both orders."""

import pytest
from real_records import REAL, needs

from zephyr_utils.evaluation import (
    EvaluationError,
    EvaluationWarning,
    Judgment,
    PairwiseJudgment,
    RecordedJudge,
    alpaca_eval_win_rate,
    as_annotations,
    grade_answers,
    judge_pairs,
    load_rows,
    mt_bench_score,
    pair_score,
)

QUESTIONS = [
    {
        "question_id": 1,
        "category": "math",
        "turns": ["1 + 1?", "And twice that?"],
        "reference": ["2", "4"],
    },
    {"question_id": 2, "category": "writing", "turns": ["Write a line.", "Make it rhyme."]},
]


def answers(*pairs, model="m"):
    return [
        {"question_id": i, "model_id": model, "choices": [{"index": 0, "turns": list(turns)}]}
        for i, turns in enumerate(pairs, start=1)
    ]


class LengthJudge:
    """Grades an answer by its length; in comparisons the longer answer wins, and the first of two
    equal ones.
    """

    name = "length"

    def grade(self, question, answers, turn):
        assert len(answers) == turn
        score = float(min(10, len(answers[turn - 1])))
        return Judgment(f"Rating: [[{score:g}]]", score, "by-length")

    def compare(self, question, answer_a, answer_b):
        return PairwiseJudgment("", "A" if len(answer_a) >= len(answer_b) else "B", "by-length")


def test_grading_makes_one_record_a_turn_in_fastchats_shape():
    records = grade_answers(QUESTIONS, answers(("two", "four"), ("a", "bc")), LengthJudge(), "m")
    assert [(r["question_id"], r["turn"], r["score"]) for r in records] == [
        (1, 1, 3),
        (1, 2, 4),
        (2, 1, 1),
        (2, 2, 2),
    ]
    assert records[0]["judge"] == ["length", "by-length"]
    assert set(records[0]) >= {"question_id", "model", "judge", "judgment", "score", "turn"}
    found = mt_bench_score(records)
    assert (found.overall, found.by_category) == (2.5, {"writing": 1.5, "math": 3.5})


def test_a_missing_turn_or_answer_becomes_a_failed_judgment_and_is_named():
    with pytest.warns(EvaluationWarning) as caught:
        records = grade_answers(QUESTIONS, answers(("two",)), LengthJudge(), "m")
    messages = " ".join(str(warning.message) for warning in caught)
    assert (
        "m: 1 questions have no answer: 2" in messages and "m: 1 answers lack a turn: 1" in messages
    )
    assert [record["score"] for record in records] == [3, -1, -1, -1]
    with pytest.raises(ValueError, match="3 of 4 failed"):
        mt_bench_score(records)


@pytest.mark.parametrize("error", ["$ERROR$", " $ERROR$\n", "$ERROR$\r\n"])
def test_fastchats_mark_of_a_failed_call_is_not_an_answer(error):
    given = answers((error, "four"), ("a", error))
    with pytest.warns(EvaluationWarning) as caught:
        records = grade_answers(QUESTIONS, given, LengthJudge(), "m")
    assert [record["score"] for record in records] == [-1, -1, 1, -1]
    assert records[1]["judgment"] == "No answer to judge.", "its first turn never came"
    messages = " ".join(str(warning.message) for warning in caught)
    assert "2 answers are $ERROR$ from some turn on" in messages and "1, 2" in messages
    with pytest.warns(EvaluationWarning, match="lack one of the two answers: 1"):
        pairs = judge_pairs(
            QUESTIONS, given, answers(("x", "y"), ("z", "w")), LengthJudge(), "a", "b"
        )
    assert [row["question_id"] for row in pairs] == [2]


def test_answers_that_only_speak_of_an_error_are_graded():
    given = answers(("It prints $ERROR$.", ""), ("ERROR", "$ERROR$ is FastChat's mark"))
    records = grade_answers(QUESTIONS, given, LengthJudge(), "m")
    assert [record["score"] for record in records] == [10, 0, 5, 10], "an empty answer is one"


def test_recorded_grades_of_a_failed_call_are_pointed_out():
    prompt = "[The Start of Assistant's Answer]\n{}\n[The End of Assistant's Answer]"
    rows = [
        {"question_id": n, "model": "m", "turn": turn, "score": 1, "user_prompt": prompt.format(a)}
        for n, a in ((1, "$ERROR$"), (2, "It prints $ERROR$ here."))
        for turn in (1, 2)
    ]
    with pytest.warns(EvaluationWarning, match=r"2 grades are of \$ERROR\$.*: 1 turn 1, 1 turn 2"):
        assert mt_bench_score(rows).n_failed == 0, "published averages hold them"


def test_alien_and_repeated_answers_are_named():
    given = answers(("a", "b"), ("c", "d"), ("x", "y")) + answers(("zzzz", "zzzz"))
    with pytest.warns(EvaluationWarning) as caught:
        records = grade_answers(QUESTIONS, given, LengthJudge(), "m")
    messages = " ".join(str(warning.message) for warning in caught)
    assert "1 answers belong to no question and are left out: 3" in messages
    assert "1 answers repeat a question, the first counts: 1" in messages
    assert records[0]["score"] == 1


@pytest.mark.parametrize(
    ("questions", "given", "message"),
    [
        ([], answers(("a", "b")), "no question at all"),
        (QUESTIONS, [], "no answer at all"),
        (
            QUESTIONS,
            [{"question_id": 99, "choices": [{"turns": ["a"]}]}],
            "none of the 2 questions",
        ),
        (QUESTIONS, [{"question_id": 1, "turns": ["a"]}], r"has no choices\[0\].turns"),
        (QUESTIONS, [{"question_id": 1, "choices": [{"turns": [None]}]}], "not a list of texts"),
        (QUESTIONS, [{"question_id": 1, "choices": [{"turns": "ab"}]}], "not a list of texts"),
        (QUESTIONS, [{"question_id": [1], "choices": [{"turns": ["a"]}]}], "none of the 2"),
        (QUESTIONS, [{"question_id": 1, "choices": {"turns": ["a"]}}], r"has no choices"),
        (QUESTIONS + QUESTIONS, answers(("a", "b")), "question_id is used twice: 1, 2"),
        ([{"question_id": {}, "turns": ["a"]}], answers(("a", "b")), "question 1: needs"),
        ([{"question_id": 1, "turns": ["a", 7]}], answers(("a", "b")), "question 1: needs"),
        (
            [{"question_id": 1, "turns": ["a"], "reference": "four"}],
            answers(("a", "b")),
            "its reference is not a list of texts",
        ),
        (
            [{"question_id": 1}],
            answers(("a", "b")),
            "question 1: needs question_id and a list of turns",
        ),
    ],
)
def test_malformed_questions_and_answers_are_errors(questions, given, message):
    with pytest.raises(EvaluationError, match=message):
        grade_answers(questions, given, LengthJudge(), "m")


def test_recorded_grades_come_back_as_they_were():
    records = grade_answers(QUESTIONS, answers(("two", "four"), ("a", "bc")), LengthJudge(), "m")
    again = grade_answers(
        QUESTIONS, answers(("two", "four"), ("a", "bc")), RecordedJudge(records, name="length"), "m"
    )
    assert again == records
    with pytest.raises(EvaluationError, match="question 2, turn 1"):
        RecordedJudge(records[:2]).grade(QUESTIONS[1], ["a"], 1)


def test_a_winner_counts_only_when_both_orders_name_it():
    # Equal lengths: this judge names whatever it reads first.
    records = judge_pairs(
        QUESTIONS,
        answers(("long answer", ""), ("xx", "")),
        answers(("short", ""), ("yy", "")),
        LengthJudge(),
        "a",
        "b",
    )
    found = pair_score(records)
    assert (found.n_wins_1, found.n_wins_2, found.n_inconsistent, found.n_first_place) == (
        1,
        0,
        1,
        1,
    )
    assert (found.win_rate_2, found.n_undecided) == (25, 1)


def test_all_five_outcomes_are_counted():
    games = [
        ("model_1", "model_1"),
        ("model_2", "model_2"),
        ("tie", "tie"),
        ("model_1", "tie"),
        ("model_2", "model_1"),
        ("model_2", "error"),
        (None, None),
    ]
    records = [
        {
            "question_id": i,
            "model_1": "a",
            "model_2": "b",
            "g1_winner": g1,
            "g2_winner": g2,
            "turn": 1,
            "judge": ["j", "p"],
        }
        for i, (g1, g2) in enumerate(games)
    ]
    found = pair_score(records, allow_failures=True)
    counts = (found.n_wins_1, found.n_wins_2, found.n_ties, found.n_inconsistent, found.n_errors)
    assert counts == (1, 1, 1, 2, 2) and sum(counts) == len(records)
    assert found.n_second_place == 1
    assert found.decided.estimate == 0.5
    assert [row["preference"] for row in as_annotations(records)] == [
        1,
        2,
        1.5,
        1.5,
        1.5,
        None,
        None,
    ]


def test_pair_judgments_become_alpaca_eval_annotations():
    records = judge_pairs(
        QUESTIONS,
        answers(("abc", ""), ("xx", "")),
        answers(("abcde", ""), ("yy", "")),
        LengthJudge(),
        "base",
        "mine",
    )
    found = alpaca_eval_win_rate(as_annotations(records), model="mine")
    assert (found.win_rate, found.n_wins, found.n_draws, found.average_length) == (75, 1, 1, 3)


def test_recorded_comparisons_know_both_orders():
    first, second = answers(("long answer", ""), ("xx", "")), answers(("short", ""), ("yyy", ""))
    records = judge_pairs(QUESTIONS, first, second, LengthJudge(), "a", "b")
    recorded = RecordedJudge(comparisons=records, name="length")
    assert judge_pairs(QUESTIONS, first, second, recorded, "a", "b") == records
    assert pair_score(judge_pairs(QUESTIONS, second, first, recorded, "b", "a")).n_wins_1 == 1
    with pytest.raises(EvaluationError, match="these two answers"):
        recorded.compare(QUESTIONS[0], "other", "texts")


def test_pairs_that_cannot_be_compared_are_named():
    with pytest.warns(EvaluationWarning, match="1 questions lack one of the two answers: 2"):
        records = judge_pairs(
            QUESTIONS, answers(("a", "b")), answers(("a", "b"), ("c", "d")), LengthJudge(), "a", "b"
        )
    assert len(records) == 1
    with pytest.raises(EvaluationError, match="both are called 'a'"):
        judge_pairs(QUESTIONS, answers(("a", "b")), answers(("a", "b")), LengthJudge(), "a", "a")
    with pytest.raises(EvaluationError, match="several pairs"):
        pair_score([*records, records[0] | {"model_1": "other"}])
    with pytest.raises(EvaluationError, match="needs the names"):
        pair_score([{"question_id": 1}])
    with pytest.warns(EvaluationWarning, match="1 pairs are judged more than once"):
        pair_score(records + records)


@pytest.mark.parametrize("winner", [["model_1"], {"a": 1}, 1, True, "model_3", None, "MODEL_1"])
def test_a_winner_that_is_none_is_an_error_whatever_it_is(winner):
    good = {"model_1": "a", "model_2": "b", "g1_winner": "model_2", "g2_winner": "model_2"}
    rows = [good | {"question_id": n, "turn": 1} for n in range(19)]
    rows.append(good | {"question_id": 19, "turn": 1, "g2_winner": winner})
    found = pair_score(rows)
    assert (found.n_wins_2, found.n_errors, found.win_rate_2) == (19, 1, 100)
    assert as_annotations(rows)[-1]["preference"] is None
    recorded = RecordedJudge(comparisons=[rows[-1] | {"output_1": "x", "output_2": "y"}])
    question = {"question_id": 19, "turns": ["?"]}
    assert recorded.compare(question, "y", "x").winner == "error"


@pytest.mark.parametrize(
    "fields",
    [
        {"question_id": [1], "turn": {}},
        {"question_id": float("nan"), "turn": float("nan")},
        {"question_id": 10**400, "turn": 10**400},
        {"judge": []},
        {"judge": {"a": 1}},
        {"judge": [["j"], "p"]},
        {"judge": "gpt-4"},
    ],
)
def test_pairs_with_fields_of_any_kind_are_counted(fields):
    row = {"model_1": "a", "model_2": "b", "g1_winner": "tie", "g2_winner": "tie"}
    found = pair_score([row | fields])
    assert (found.n_ties, found.win_rate_2) == (1, 50)
    (annotation,) = as_annotations([row | fields])
    assert annotation["annotator"] == ("gpt-4" if fields.get("judge") == "gpt-4" else "")


def test_more_than_a_tenth_of_failed_pairs_is_refused_as_for_grades():
    good = {"model_1": "a", "model_2": "b", "g1_winner": "model_2", "g2_winner": "model_2"}
    rows = [good | {"question_id": n, "turn": 1} for n in range(20)]
    for row in rows[:3]:
        row["g1_winner"] = "error"
    with pytest.raises(EvaluationError, match="3 of 20 failed, more than a tenth: 3 x no choice"):
        pair_score(rows)
    assert pair_score(rows, allow_failures=True).n_errors == 3
    rows[0]["g1_winner"] = "model_2"
    assert pair_score(rows).n_errors == 2, "exactly a tenth may fail"
    assert pair_score(rows[2:5]).n_errors == 1, "and one always"
    with pytest.raises(EvaluationError, match="2 of 4 failed"):
        pair_score(rows[1:5])


def test_the_order_of_the_rows_changes_nothing_in_pairs():
    winners = ["model_1", "model_2", "tie"]
    rows = [
        {"question_id": n, "turn": 1, "model_1": "a", "model_2": "b"}
        | {"g1_winner": winners[n % 3], "g2_winner": winners[n // 2 % 3]}
        for n in range(12)
    ]
    assert pair_score(rows[::-1]) == pair_score(rows)


@needs("mt_bench")
def test_real_pairs_give_thirteen_ten_and_twenty_seven():
    rows = load_rows(
        REAL / "mt_bench" / "model_judgment" / "phi-3_vs_phi-3-dpo_gpt-4_pair.shared.jsonl"
    )
    found = pair_score(rows)
    assert (found.model_1, found.model_2) == ("phi-3", "phi-3-dpo")
    assert (found.n_wins_2, found.n_wins_1, found.n_undecided) == (13, 10, 27)
    # Position bias: the first answer in 12 contradictions against 2.
    assert (found.n_ties, found.n_inconsistent, found.n_errors) == (7, 18, 2)
    assert (found.n_first_place, found.n_second_place) == (12, 2)
