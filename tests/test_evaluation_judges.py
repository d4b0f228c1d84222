"""Judges, grading of two-turn answers, and pairs judged in both orders."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from real_records import REAL, needs

from zephyr_utils.evaluation import (
    EvaluationError,
    EvaluationWarning,
    Judgment,
    OpenAIJudge,
    PairwiseJudgment,
    RecordedJudge,
    alpaca_eval_win_rate,
    as_annotations,
    grade_answers,
    judge_pairs,
    mt_bench_score,
    pair_score,
    parse_rating,
    parse_verdict,
    load_rows,
)
from zephyr_utils.evaluation.judges import comparison_prompt, grading_prompt

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


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Rating: [[7]]", 7),
        ("Rating: [[8.5]] and later [[2]]", 8.5),
        ("See [1]. Rating: [[9]]", 9),
        ("Rating: [6]", 6),
        ("Rating: 6", -1),
        ("[[seven]]", -1),
        ("", -1),
        ("Rating: [[11]]", 11),
    ],
)
def test_ratings_are_read_by_fastchats_rule(text, rating):
    assert parse_rating(text) == rating


@pytest.mark.parametrize(
    ("text", "winner"),
    [("so [[A]]", "A"), ("[[B]] or [[A]]", "B"), ("[[C]]", "tie"), ("A is better", "error")],
)
def test_verdicts_are_read_from_double_brackets(text, winner):
    assert parse_verdict(text) == winner


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
        (QUESTIONS + QUESTIONS, answers(("a", "b")), "question_id is used twice: 1, 2"),
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
    found = pair_score(records)
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


@needs("mt_bench")
def test_real_pairs_give_thirteen_ten_and_twenty_seven():
    rows = load_rows(
        REAL / "mt_bench" / "model_judgment" / "phi-3_vs_phi-3-dpo_gpt-4_pair.shared.jsonl"
    )
    found = pair_score(rows)
    assert (found.model_1, found.model_2) == ("phi-3", "phi-3-dpo")
    assert (found.n_wins_2, found.n_wins_1, found.n_undecided) == (13, 10, 27)
    # The judge's liking for the first place: 12 contradictions against 2.
    assert (found.n_ties, found.n_inconsistent, found.n_errors) == (7, 18, 2)
    assert (found.n_first_place, found.n_second_place) == (12, 2)


def test_prompts_show_the_conversation_up_to_the_turn_and_the_reference():
    prompt, name = grading_prompt(QUESTIONS[0], ["two"], 1)
    assert (
        "1 + 1?" in prompt
        and "And twice that?" not in prompt
        and name == "handbook-single-reference"
    )
    prompt, name = grading_prompt(QUESTIONS[1], ["a line", "a rhyme"], 2)
    assert all(text in prompt for text in ("Write a line.", "a line", "Make it rhyme.", "a rhyme"))
    assert name == "handbook-single-multi-turn"
    prompt, name = comparison_prompt(QUESTIONS[0], "first", "second")
    assert prompt.index("first") < prompt.index("second") and name == "handbook-pair-reference"


class Endpoint(BaseHTTPRequestHandler):
    """Answers each request with the next of ``server.replies``: a text, or the number of an HTTP
    status.
    """

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        reply = self.server.replies[min(len(self.server.requests), len(self.server.replies)) - 1]
        status = reply if isinstance(reply, int) else 200
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": reply},
        }
        content = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
        }
        payload = json.dumps(
            {"error": {"message": "no"}} if isinstance(reply, int) else content
        ).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    server.requests, server.replies = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    yield server
    server.shutdown()
    server.server_close()


def test_an_endpoint_grades_and_compares_at_temperature_zero(endpoint):
    endpoint.replies = ["Right. Rating: [[9]]", "Better: [[B]]"]
    judge = OpenAIJudge("some-model")
    assert judge.grade(QUESTIONS[0], ["two"], 1).score == 9
    assert judge.compare(QUESTIONS[0], "2", "two").winner == "B"
    assert [request["temperature"] for request in endpoint.requests] == [0, 0]
    assert endpoint.requests[0]["model"] == "some-model"


def test_a_busy_endpoint_is_asked_again_and_a_broken_one_gives_a_failed_judgment(endpoint):
    endpoint.replies = [429, "Rating: [[4]]"]
    assert OpenAIJudge("some-model").grade(QUESTIONS[0], ["two"], 1).score == 4
    endpoint.requests.clear()
    endpoint.replies = [500]
    judgment = OpenAIJudge("some-model").grade(QUESTIONS[0], ["two"], 1)
    assert (judgment.score, judgment.text) == (-1, "No judgment: InternalServerError")
    assert len(endpoint.requests) == 4


def test_an_empty_reply_is_a_failed_judgment(endpoint):
    endpoint.replies = [""]
    assert OpenAIJudge("some-model").grade(QUESTIONS[0], ["two"], 1).score == -1
    assert OpenAIJudge("some-model").compare(QUESTIONS[0], "a", "b").winner == "error"


def test_a_refused_key_stops_the_run(endpoint):
    endpoint.replies = [401]
    with pytest.raises(EvaluationError, match="OPENAI_API_KEY"):
        OpenAIJudge("some-model").grade(QUESTIONS[0], ["two"], 1)
    assert len(endpoint.requests) == 1


def test_a_missing_key_is_named(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(EvaluationError, match="set OPENAI_API_KEY"):
        OpenAIJudge("some-model")
