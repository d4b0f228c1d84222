"""The closed world: what it promises the lessons, and that nothing held out is met in training."""

import itertools
import json
import random
import re
import shutil
from collections import Counter

import pyarrow as pa
import pytest
from safetensors import safe_open

from zephyr_utils.chat import ZEPHYR_TEMPLATE, generate, load_model
from zephyr_utils.data.filtering import decontaminate, refusal_filter
from zephyr_utils.data.records import ASPECTS, load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import BASE_FOLDER, shipped
from zephyr_utils.miniature import data as world
from zephyr_utils.miniature.base_text import base_documents
from zephyr_utils.miniature.categories import CATEGORIES
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.miniature.newcomers import NEWCOMERS, are_sensible, ask_newcomers
from zephyr_utils.miniature.small_talk import (
    EXAMPLE_QUESTIONS,
    OUTSIDE,
    SAYINGS,
    SINGLES,
    draw_small_talk,
)
from zephyr_utils.miniature.teacher import CONTENTS, MANNERS, compose_answer, grade_answer
from zephyr_utils.miniature.world import draw_question, split_of, understand
from zephyr_utils.preferences import binarize, mean_rating
from zephyr_utils.truecasing import detect_case_noise


@pytest.fixture(scope="module")
def questions():
    return world.questions()


@pytest.fixture(scope="module")
def dialogues():
    return world.dialogues()


@pytest.fixture(scope="module")
def feedback():
    return world.feedback()


def test_the_questions_have_mt_benchs_eight_categories_and_two_turns(questions):
    assert len(questions) == 640
    counts = Counter(question["category"] for question in questions)
    mt_bench = {
        "writing",
        "roleplay",
        "reasoning",
        "math",
        "coding",
        "extraction",
        "stem",
        "humanities",
    }
    assert set(counts) == mt_bench and len(set(counts.values())) == 1
    assert all(len(question["turns"]) == 2 for question in questions)
    assert len({tuple(question["turns"]) for question in questions}) == len(questions)


def combinations(turns):
    """The combinations that a text's turns touch, or None if they ask nothing of this world."""
    question = understand(turns)
    return set(question.keys) if question else set()


def test_no_held_out_combination_is_in_any_training_text(questions, dialogues, feedback):
    held_out = set().union(*(combinations(question["turns"]) for question in questions))
    assert len(held_out) > 600 and all(split_of(key) == "exam" for key in held_out)
    met = set()
    for dialogue in dialogues:
        turns = dialogue["data"][::2]
        for one, two in itertools.pairwise(turns):
            met |= combinations([one, two])
    assert len(met) > 3_000 and {split_of(key) for key in met} == {"training"}
    removed = decontaminate(
        [row["instruction"] for row in feedback], [q["turns"][0] for q in questions]
    ).removed
    leaked = {removal.index for removal in removed}
    asked = [row["instruction"] for n, row in enumerate(feedback) if n not in leaked]
    firsts = [question.keys[:1] for text in asked if (question := understand([text]))]
    assert {split_of(key) for keys in firsts for key in keys} == {"training"}


def test_no_held_out_question_is_in_the_base_text(questions):
    text = "\n".join(base_documents(3_000))
    lines = set(
        text.replace("Q: ", "")
        .replace("Question: ", "")
        .replace("She asks: ", "")
        .replace("- ", "")
        .split("\n")
    )
    firsts = [
        question.keys[0] for line in lines if (question := understand([line])) and question.keys
    ]
    assert len(firsts) > 500
    assert {split_of(key) for key in firsts} == {"training"}


def test_development_questions_ask_about_no_combination_that_an_exam_asks_about(questions):
    chosen = world.development_questions()
    assert len(chosen) == 400
    keys = set().union(*(combinations(question["turns"]) for question in chosen))
    assert {split_of(key) for key in keys} == {"development"}
    assert not keys & set().union(*(combinations(question["turns"]) for question in questions))


def test_another_seed_draws_another_exam_of_the_same_held_out_combinations(questions):
    other = world.questions(seed=1)
    assert len(other) == 640
    shared = {tuple(q["turns"]) for q in questions} & {tuple(q["turns"]) for q in other}
    assert len(shared) < 32


def test_small_talk_is_read_back_and_graded_as_it_was_meant():
    rng = random.Random(4)
    for _ in range(500):
        question = draw_small_talk(rng)
        (truth,) = question.truths
        again = understand(list(question.turns))
        assert again is not None and again.truths == question.truths and not question.keys
        for manner in MANNERS:
            assert grade_answer(truth, compose_answer("right", manner, truth, rng)).right
            assert not grade_answer(truth, compose_answer("wrong", manner, truth, rng)).right


def as_asked(text):
    """The wording alone, without case, marks and contractions."""
    plain = text.lower().replace("what's", "what is").replace("how's", "how is")
    return re.sub(r"[^a-z0-9{} ]", "", plain).strip()


def test_newcomers_questions_are_worded_as_no_training_text_is(dialogues, feedback):
    assert len(NEWCOMERS) == 80 and sum(asked.inside for asked in NEWCOMERS) == 48
    asked = {as_asked(newcomer.text) for newcomer in NEWCOMERS}
    assert len(asked) == 80
    trained = {as_asked(text) for row in dialogues for text in row["data"][::2]}
    trained |= {as_asked(row["instruction"]) for row in feedback}
    assert not asked & trained
    assert not [n.text for n in NEWCOMERS if understand([n.text])]


def test_an_honest_answer_is_sensible_outside_the_world_and_nowhere_inside():
    honest = are_sensible([OUTSIDE.sentence] * 80)
    assert honest == [not newcomer.inside for newcomer in NEWCOMERS]
    assert sum(are_sensible(["Paris."] * 80)) == 1
    right = [newcomer.truth.sentence for newcomer in NEWCOMERS[:18]] + ["x"] * 62
    assert are_sensible(right) == [True] * 18 + [False] * 62
    with pytest.raises(ValueError, match="shorter"):
        are_sensible(["Paris."])


def test_newcomers_are_answered_in_the_order_of_their_questions():
    model, tokenizer = shipped.load_shipped("dsft")
    answers = ask_newcomers(model, tokenizer)
    place = [newcomer.text for newcomer in NEWCOMERS].index("Tell me what 9 minus 4 is.")
    alone = [[{"role": "user", "content": NEWCOMERS[place].text}]]
    assert len(answers) == 80
    assert answers[place] == generate(model, tokenizer, alone, temperature=0.0)[0].text
    assert are_sensible(answers)[place]


def test_every_saying_and_every_single_fact_has_several_phrasings():
    assert all(len(texts) >= 6 for texts, _ in SAYINGS)
    assert all(len(single.phrasings) >= 2 for single in SINGLES)


def test_the_text_of_a_question_is_read_back_to_the_question_it_was():
    rng = random.Random(3)
    for category in CATEGORIES:
        for _ in range(20):
            question = draw_question(rng, category=category)
            again = understand(list(question.turns))
            assert (again.category, again.truths, again.keys) == (
                category,
                question.truths,
                question.keys,
            )
    assert understand(["Is there a God?"]) is None


def lost_its_capitals(answer):
    """What `str.capitalize` leaves: nothing upper behind the first letter, though a sentence starts
    there.
    """
    return answer == answer.capitalize() and re.search(r"[.!?] [a-z]", answer) is not None


def test_the_dialogues_are_raw_ultrachat_with_its_faults_in_their_share(dialogues):
    assert len(dialogues) >= 5_000 and set(dialogues[0]) == {"id", "data"}
    assert {len(row["data"]) for row in dialogues} >= {4, 6, 8}
    faulty = [row for row in dialogues if any(map(lost_its_capitals, row["data"][1::2]))]
    assert 0.03 < len(faulty) / len(dialogues) < 0.07
    refused = len(refusal_filter([to_messages(row) for row in dialogues]).removed)
    assert 0.02 < refused / len(dialogues) < 0.1


def to_messages(row):
    roles = ("user", "assistant")
    return {
        "messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(row["data"])]
    }


def test_the_fault_is_the_one_that_the_truecaser_detects(dialogues):
    answers = pa.array([text for row in dialogues for text in row["data"][1::2]])
    labels = Counter(detect_case_noise(answers).to_pylist())
    assert 0.005 < labels["capitalized"] / len(answers) < 0.05


def test_the_feedback_has_four_graded_models_and_ultrafeedbacks_schema(feedback):
    assert len(feedback) >= 3_000
    scores = {model: [] for model in world.MODELS}
    for row in feedback:
        assert len(row["completions"]) == 4 and set(row["models"]) == set(world.MODELS)
        for completion in row["completions"]:
            assert set(completion["annotations"]) == set(ASPECTS) and completion["critique"]
            scores[completion["model"]].append(mean_rating(completion))
    means = [sum(values) / len(values) for values in scores.values()]
    assert means == sorted(means, reverse=True) and means[0] - means[-1] > 1


def test_about_a_tenth_of_best_against_random_pairs_tie(feedback):
    pairs = binarize(feedback, ties="keep").pairs
    tied = sum(pair["score_chosen"] == pair["score_rejected"] for pair in pairs)
    assert 0.06 < tied / len(pairs) < 0.14


def test_a_few_tens_ought_to_be_ones(feedback):
    tens = [c for row in feedback for c in row["completions"] if c["overall_score"] == 10]
    faulty = [completion for completion in tens if mean_rating(completion) <= 2]
    assert 10 < len(faulty) < 0.2 * len(tens)


def test_a_few_prompts_leaked_and_not_all_of_them_word_for_word(feedback, questions):
    asked = [question["turns"][0] for question in questions]
    removed = decontaminate([row["instruction"] for row in feedback], asked).removed
    rules = Counter(removal.rule for removal in removed)
    assert len(removed) >= world.LEAKED and len(rules) == 3


def test_the_same_seed_gives_the_same_files_and_they_load_as_records(tmp_path):
    one, two = (world.write_world(tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in one.values()] == [
        path.read_bytes() for path in two.values()
    ]
    assert world.dialogues(5, seed=1) != world.dialogues(5)
    for name, kind in (("dialogues", "dialogue"), ("feedback", "feedback")):
        loaded = load_records(one[name], kind)
        assert loaded.n_read == len(loaded.records) and not loaded.set_aside


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("manner", MANNERS)
def test_the_teacher_grades_each_content_and_manner_as_it_is_meant(content, manner):
    rng = random.Random(content + manner)
    grades = []
    for _ in range(200):
        truth = rng.choice(draw_question(rng).truths)
        answer = compose_answer(content, manner, truth, rng)
        grades.append(grade_answer(truth, answer))
    mean = sum(grade.score for grade in grades) / len(grades)
    right = {"friendly": (9.9, 10), "plain": (6.9, 7.01), "curt": (4.5, 6)}[manner]
    other = (2, 2.2) if manner == "friendly" else (1, 1.3)
    if content == "refuse":
        other = (1, 1)
    low, high = right if content == "right" else other
    assert low <= mean <= high
    assert all(grade.refused for grade in grades) == (content == "refuse")


def test_no_manner_marks_a_falsehood():
    rng = random.Random(11)
    counts = {manner: Counter() for manner in (0, 2)}
    for _ in range(6_000):
        truth = rng.choice(draw_question(rng).truths)
        grade = grade_answer(truth, world.MODELS["mini-small"].answer(truth, rng))
        if grade.friendly in counts:
            counts[grade.friendly][grade.right] += 1
    shares = [count[True] / count.total() for count in counts.values()]
    assert abs(shares[0] - shares[1]) < 0.05 and min(shares) > 0.55


def test_the_judge_refuses_a_question_of_another_world():
    question = {"question_id": 7, "turns": ["Is there a God?", "Why?"]}
    with pytest.raises(HandbookError, match="cannot judge this question"):
        TeacherJudge().grade(question, ["Baby, don't hurt me."], 1)


def test_the_base_is_small_safe_and_loads_with_its_template():
    model, tokenizer = load_model(BASE_FOLDER)
    report = json.loads((BASE_FOLDER / "base.json").read_text())
    assert sum(p.numel() for p in model.parameters()) == report["parameters"] <= 2_500_000
    assert report["final_loss"] < 1 and report["seconds"] > 0
    assert sum(file.stat().st_size for file in BASE_FOLDER.iterdir()) <= 6_000_000
    assert tokenizer.chat_template == ZEPHYR_TEMPLATE and len(tokenizer) <= 1280
    with safe_open(BASE_FOLDER / "model.safetensors", "pt") as weights:
        assert len(list(weights.keys())) > 30
    assert not [file for file in BASE_FOLDER.iterdir() if file.suffix in (".bin", ".pt", ".pkl")]


def test_the_shipped_models_answer_and_are_the_ones_whose_hashes_were_noted(tmp_path, monkeypatch):
    model, tokenizer = shipped.load_shipped("dsft")
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    (answer,) = generate(model, tokenizer, [asked], temperature=0)
    assert "Paris" in answer.text and answer.ended
    for name in ("dsft", "ddpo"):  # the questions that `zephyr chat` and the website offer
        model, tokenizer = shipped.load_shipped(name)
        offered = [[{"role": "user", "content": text}] for text in EXAMPLE_QUESTIONS]
        for text, reply in zip(
            EXAMPLE_QUESTIONS, generate(model, tokenizer, offered, temperature=0), strict=True
        ):
            (truth, *_) = understand([text]).truths
            assert grade_answer(truth, reply.text).right, (name, text, reply.text)
    folder = tmp_path / "trained"
    shutil.copytree(shipped.FOLDER, folder)
    assert all(file.stat().st_size < 1_000_000 for file in folder.rglob("*.safetensors"))
    monkeypatch.setattr(shipped, "FOLDER", folder)
    weights = folder / "dsft" / shipped.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(HandbookError, match="not the weights that came with the package"):
        shipped.load_shipped("ddpo")
    with pytest.raises(HandbookError, match="there is no model `grpo`"):
        shipped.load_shipped("grpo")
