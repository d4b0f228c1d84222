"""The exam's questions, and the grades and accuracies that their checks give."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from real_records import REAL, needs

from zephyr_utils.data import decontaminate
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import CATEGORIES, grade_answers, mt_bench_score
from zephyr_utils.evaluation.exam import exam_shares
from zephyr_utils.evaluation.judges import Judge
from zephyr_utils.scales import SCALES
from zephyr_utils.verifiable import (
    KINDS,
    ChecksJudge,
    accuracy,
    accuracy_difference,
    checks_by_turn,
    exam_questions,
)

MT_BENCH = REAL / "mt_bench" / "question.jsonl"


FOREIGN = (
    "Of Course, that\n\nit depends. on\n\nmany things, does it",
    "?!",
    "bot bot bot bot bot bot bot bot bot bot",
)


@pytest.fixture(scope="module")
def questions():
    return exam_questions()


def answers_of(questions, name="right", change=lambda text: text):
    return [
        {
            "question_id": question["question_id"],
            "model_id": name,
            "choices": [{"index": 0, "turns": [change(text) for text in question["reference"]]}],
        }
        for question in questions
    ]


def test_there_are_twenty_questions_of_two_turns_in_each_category(questions):
    assert Counter(question["category"] for question in questions) == dict.fromkeys(CATEGORIES, 20)
    assert len({question["question_id"] for question in questions}) == len(questions) == 160
    assert len({tuple(question["turns"]) for question in questions}) == 160
    for question in questions:
        assert len(question["turns"]) == len(question["reference"]) == 2
        assert not 81 <= question["question_id"] <= 160, "a number of MT-Bench's own"
    used = {check["kind"] for q in questions for turn in q["checks"] for check in turn}
    assert used == set(KINDS)


def test_each_reference_answer_is_right_and_an_empty_or_foreign_one_is_wrong(questions):
    wrong = []
    for question in questions:
        for checks, reference in zip(checks_by_turn(question), question["reference"], strict=True):
            wrong += [
                (question["question_id"], str(c)) for c in checks if not c.is_followed(reference)
            ]
            assert not any(check.is_followed("") for check in checks)
            for text in FOREIGN:
                assert not all(check.is_followed(text) for check in checks), question["question_id"]
    assert not wrong


def test_an_unquoted_word_of_the_data_is_a_text_and_not_a_truth_value(questions):
    for question in questions:
        assert all(isinstance(text, str) for text in (*question["turns"], *question["reference"]))


@needs("mt_bench")
def test_no_question_is_one_of_mt_bench(questions):
    public = [json.loads(line)["turns"] for line in MT_BENCH.read_text().splitlines()]
    turns = [turn for question in questions for turn in question["turns"]]
    assert len(public) == 80
    assert not decontaminate(turns, [turn for pair in public for turn in pair]).removed


def test_references_score_ten_and_nothing_scores_one(questions):
    judge: Judge = ChecksJudge()
    graded = grade_answers(questions, answers_of(questions), judge, "right")
    assert {row["score"] for row in graded} == {10}
    graded = grade_answers(questions, answers_of(questions, change=lambda _: " "), judge, "wrong")
    assert {row["score"] for row in graded} == {1}
    assert mt_bench_score(graded, questions=questions).overall == 1


def test_a_grade_is_the_share_of_checks_followed():
    checks = [
        {"kind": "uses", "word": "sea"},
        {"kind": "sentences", "exactly": 2},
        {"kind": "title"},
    ]
    question = {"question_id": 1, "category": "writing", "turns": ["a"], "checks": [checks]}
    judgment = ChecksJudge().grade(question, ["The sea. The [[3]] sky."], 1)
    assert judgment.score == 7 and judgment.text.endswith("title(): not followed [[7]]")
    assert ChecksJudge().compare(question, "The sea.", "sky").winner == "A"
    assert ChecksJudge().compare(question, "sky", "The sea.").winner == "B"
    assert ChecksJudge().compare(question, "The sea.", "sea").winner == "tie"
    with pytest.raises(HandbookError, match="no turn 2"):
        ChecksJudge().grade(question, ["a", "b"], 2)


def mixed(questions):
    """Every third answer is wrong, and every second right one is introduced with a line."""
    rows = answers_of(questions)
    for n, row in enumerate(rows):
        first, second = row["choices"][0]["turns"]
        row["choices"][0]["turns"] = ["?!" if n % 3 == 0 else first, f"Certainly, here.\n{second}"]
    return rows


def test_judge_and_accuracy_agree_and_loose_is_never_below_strict(questions):
    rows, judge = mixed(questions), ChecksJudge()
    graded = grade_answers(questions, rows, judge, "right")
    found = accuracy(rows, questions)
    shares = exam_shares(rows, graded, judge, questions)
    assert shares["right"] == pytest.approx(found.measures["prompt_strict"].estimate)
    assert shares["prompt_loose"] == found.measures["prompt_loose"].estimate
    assert 0 < shares["prompt_strict"] < shares["prompt_loose"] < 1
    assert list(found.by_category) == list(CATEGORIES)
    for one in (found, *found.by_category.values()):
        measures = one.measures
        for level in ("prompt", "instruction"):
            strict, loose = measures[f"{level}_strict"], measures[f"{level}_loose"]
            assert strict.low <= strict.estimate <= strict.high
            assert loose.estimate >= strict.estimate
    assert sum(one.n_prompts for one in found.by_category.values()) == found.n_prompts == 320


def test_instructions_are_counted_one_by_one():
    checks = [
        [{"kind": "title"}],
        [{"kind": "title"}, {"kind": "uses", "word": "a"}, {"kind": "quoted"}],
    ]
    question = {"question_id": 1, "category": "writing", "turns": ["a", "b"], "checks": checks}
    row = {"question_id": 1, "model_id": "m", "choices": [{"turns": ["<<a>>", "a"]}]}
    found = accuracy([row], [question])
    assert found.measures["prompt_strict"].estimate == 0.5
    assert found.measures["instruction_strict"].estimate == 0.5
    assert (found.n_prompts, found.n_instructions, found.n_missing) == (2, 4, 0)


def test_a_missing_turn_follows_nothing_and_is_counted(questions):
    rows = answers_of(questions)
    del rows[0]
    rows[0]["choices"][0]["turns"] = rows[0]["choices"][0]["turns"][:1]
    with pytest.warns(match="1 questions have no answer"):
        found = accuracy(rows, questions)
    assert found.n_missing == 3
    assert found.measures["prompt_strict"].estimate == pytest.approx(317 / 320)


def test_the_difference_of_two_models_is_paired_and_antisymmetric(questions):
    questions = questions[::4]
    right, other = answers_of(questions), mixed(questions)
    forth = accuracy_difference(right, other, questions)
    back = accuracy_difference(other, right, questions)
    for name, one in forth.items():
        assert one.mean == pytest.approx(-back[name].mean) and one.mean > 0
        assert one.low == pytest.approx(-back[name].high, abs=0.02)
        a, b = (accuracy(rows, questions).measures[name].estimate for rows in (right, other))
        assert one.mean == pytest.approx(a - b) and one.n == 40
    assert accuracy_difference(right, right, questions)["prompt_strict"].p_value == 1


def test_every_scale_but_the_miniature_asks_these_questions(questions):
    for name, scale in SCALES.items():
        ours = scale.exam.questions() == questions
        assert ours == (name != "miniature")
        if ours:
            assert isinstance(scale.exam.judge(), ChecksJudge) and scale.exam.temperature == 0


def test_the_package_ships_the_questions():
    patterns = re.findall(r"verifiable/exam/\*\.yaml", Path("pyproject.toml").read_text())
    folder = Path(exam_questions.__code__.co_filename).parent / "exam"
    assert patterns and {path.stem for path in folder.glob("*.yaml")} == set(CATEGORIES)
    assert all(isinstance(yaml.safe_load(path.read_text()), list) for path in folder.glob("*.yaml"))
