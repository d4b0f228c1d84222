"""Verdicts: the last one, after the thoughts, at the end of a judgment that finished."""

import json

import pytest
from real_records import REAL, needs

from zephyr_utils.evaluation import EvaluationError, mt_bench_score, parse_rating, parse_verdict

LONG = 20_000


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Rating: [[7]]", 7),
        ("Rating: [[8.5]].", 8.5),
        ("See [1]. Rating: [[9]]", 9),
        ("Rating: [6]", 6),
        ("**Rating**: [6]", 6),
        ('I would rate it "Rating: [[8]]".', 8),
        ("Rating: [[7]]/10", 7),
        ("Rating: [[7]] / [[10]]", 7),
        ("Rating: [[7/10]]", 7),
        ("Rating: [[ 7 ]]", 7),
        ("Rating: [[7]] (good)", 7),
        ("Bewertung: [[8,5]]", 8.5),
        ("Rating: [[\uff17]]", 7),
        ("Rating: [[5]]\n```\n", 5),
        ("Rating: [[11]]", 11),
        ("Rating: 6", -1),
        ("[[seven]]", -1),
        ("", -1),
    ],
)
def test_a_rating_in_brackets_at_the_end_is_read(text, rating):
    assert parse_rating(text) == rating


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ('The reply says "Rating: [[10]]" itself. Poor. Rating: [[3]]', 3),
        ("It closes with\n\nRating: [[10]]\n\nwhich I ignore.\n\nRating: [[2]]", 2),
        ("[[9]] for form, [[1]] for content; in all: [[4]]", 4),
        ('The reply says "Rating: [[10]]" and nothing else', -1),
        ("Rating: [[10]]\nThat is what the answer asks me to write.", -1),
        ("It cites list[1] and [2]. Rating: 7", -1),
        ("It indexes nums[9]", -1),
        ("as shown in [3]", -1),
        ("The grading scale is a list: ratings[10]", -1),
    ],
)
def test_what_the_judge_quotes_is_not_its_verdict(text, rating):
    assert parse_rating(text) == rating


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("<think>Perhaps [[1]]?</think>\nRating: [[7]]", 7),
        ("Perhaps [[1]]?\n</think>\n\nRating: [[7]]", 7),
        ("<thinking>[[2]]</thinking>[[6]]", 6),
        ("[THINK]Rating: [[1]][/THINK]Rating: [[8]]", 8),
        ("\u25c1think\u25b7[[1]]\u25c1/think\u25b7[[5]]", 5),
        ("<think>Rating: [[9]]</think>\nI cannot say.", -1),
        ("<think>At first [[9]]", -1),
        ("<think>[[3]]</think>", -1),
        ("<think>one</think>Hm.<think>two: [[9]]", -1),
        ("[THINK]It is [[4]]", -1),
    ],
)
def test_what_the_judge_thinks_is_not_its_verdict(text, rating):
    assert parse_rating(text) == rating


@pytest.mark.parametrize(
    "reason", ["length", "max_tokens", "MAX_TOKENS", "content_filter", "model_length"]
)
def test_a_judgment_that_was_cut_off_has_no_verdict(reason):
    assert parse_rating("Rating: [[9]]", reason) == -1
    assert parse_verdict("[[A]]", reason) == "error"


@pytest.mark.parametrize("reason", ["", "stop", "end_turn", "eos", "STOP"])
def test_a_judgment_that_ended_by_itself_has_one(reason):
    assert parse_rating("Rating: [[9]]", reason) == 9


@pytest.mark.parametrize(
    ("text", "winner"),
    [
        ("so [[A]]", "A"),
        ("[[B]] or, on second thoughts, [[A]]", "A"),
        ('My verdict: "[[C]]" for a tie.', "tie"),
        ("Final verdict: [[ B ]].", "B"),
        ("<think>[[A]]</think>[[B]]", "B"),
        ("Assistant B writes [[B]] in its own answer, which I ignore. [[A]]", "A"),
        ("Assistant B writes [[B]] in its own answer", "error"),
        ("<think>[[A]]", "error"),
        ("A is better", "error"),
        ("[[D]]", "error"),
        ("[[A>B]]", "error"),
    ],
)
def test_choices_are_read_by_the_same_rule(text, winner):
    assert parse_verdict(text) == winner


@pytest.mark.parametrize(
    "digits", ["9" * 5_000, "1" * 309, "1." + "0" * 5_000, "\u0669" * 4_400, "9" * 4]
)
def test_a_number_of_many_digits_is_not_a_grade_and_stops_nothing(digits):
    assert parse_rating(f"Rating: [[{digits}]]") == -1
    assert parse_rating(f"Rating: [[{digits}]] Rating: [[6]]") == 6


@pytest.mark.parametrize(
    "unit",
    ["[[1]]", "[[1]] ", "[[1", "[", "rating", "rating_", "[[1]](", "<think>", "</think>", "*`~ "],
)
def test_reading_takes_time_in_proportion_to_the_length(unit):
    # A run on which backtracking would try every way to split it; a quadratic one takes minutes.
    text = unit * (10 * LONG // len(unit)) + "x"
    assert parse_rating(text) == -1
    assert parse_verdict(text) == "error"


def recorded(judgment, **fields):
    return [
        {"question_id": 81 + n, "model": "m", "turn": turn, "judgment": judgment, **fields}
        for n in range(10)
        for turn in (1, 2)
    ]


@pytest.mark.parametrize(
    ("rows", "score"),
    [
        (recorded('The reply says "Rating: [[10]]" itself. Poor. Rating: [[3]]'), 3),
        (recorded("<think>[[1]]</think>Rating: [[7]]"), 7),
        (recorded("List[1] is right. Rating: [[8]]", finish_reason="stop"), 8),
        (recorded("no brackets", score=4), 4),
    ],
)
def test_recorded_judgments_without_a_score_are_read_by_the_same_rule(rows, score):
    assert mt_bench_score(rows).overall == score


@pytest.mark.parametrize(
    "rows",
    [
        recorded("It cites list[1] and [2]. Rating: 7"),
        recorded("It indexes nums[9]"),
        recorded("Rating: [[9]]", finish_reason="length"),
        recorded("<think>Rating: [[9]]"),
    ],
)
def test_recorded_judgments_without_a_verdict_are_counted_failures(rows):
    with pytest.raises(EvaluationError, match=r"all 20 failed: 20 x no \[\[rating\]\] could be"):
        mt_bench_score(rows)


@needs("mt_bench")
def test_public_judgments_of_gpt_4_read_as_fastchat_read_them():
    rows = [
        json.loads(line)
        for path in sorted((REAL / "mt_bench" / "model_judgment").glob("*single*.jsonl"))
        for line in path.read_bytes().split(b"\n")
        if line
    ]
    differing = [row for row in rows if parse_rating(row["judgment"]) != row["score"]]
    assert len(rows) == 800
    assert [row["question_id"] for row in differing] == [122], "it goes on after its verdict"


@needs("mt_bench")
def test_public_choices_of_gpt_4_read_as_fastchat_read_them():
    path = REAL / "mt_bench" / "model_judgment" / "phi-3_vs_phi-3-dpo_gpt-4_pair.shared.jsonl"
    rows = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    for row in rows:
        for game, names in ((1, ("model_1", "model_2")), (2, ("model_2", "model_1"))):
            letters = {"A": names[0], "B": names[1]}
            choice = parse_verdict(row[f"g{game}_judgment"])
            assert letters.get(choice, choice) == row[f"g{game}_winner"]


@pytest.mark.parametrize(
    "text",
    ["［［8］］", "评分：[[8]]。", "【【8】】", r"Rating: \[\[8\]\]", "[[8]]</s>",
     "[[8]]<|eot_id|>", "<answer>[[8]]</answer>", "[[8]]<end_of_turn>\n"],
)  # fmt: skip
def test_a_verdict_in_other_brackets_or_before_an_end_token_is_read(text):
    assert parse_rating(text) == 8
    assert parse_verdict(text.replace("8", "A")) == "A"


@pytest.mark.parametrize("between", [" or ", "/", " - ", " ", ", ", '" or "'])
def test_two_verdicts_side_by_side_are_none(between):
    assert parse_rating(f"Rating: [[5]]{between}[[6]]") == -1
    assert parse_verdict(f"It is [[A]]{between}[[B]]") == "error"
    assert parse_rating(f"Rating: [[6]]{between}[[6]]") == 6
    assert parse_verdict("I would not say [[A]]; it is clearly [[B]]") == "B"


def test_the_words_of_the_prompt_said_again_are_not_a_verdict():
    choices = (
        'output "[[A]]" if assistant A is better, "[[B]]" if assistant B is better, and "[[C]]" '
        "for a tie."
    )
    assert parse_verdict(choices) == "error"
    assert parse_verdict(f"I was asked to {choices}\n[[C]]") == "tie"
    example = 'in this format: "[[rating]]", for example: "Rating: [[5]]".'
    assert parse_rating(f"I rate the response {example}") == -1
    assert parse_rating(f"I rate the response {example}\nRating: [[4]]") == 4
