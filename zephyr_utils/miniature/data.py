"""The miniature's records, in the very schemas that the Hub serves: raw UltraChat, UltraFeedback,
MT-Bench questions.

The faults are those of the real sets, planted where the lessons look for them: dialogues
lower-cased behind their first letter, refusals, ratings that are noisy, tens that ought to be ones,
and prompts leaked from the evaluation.
"""

import random
from pathlib import Path
from typing import Any

from zephyr_utils.data.records import save_records
from zephyr_utils.miniature.categories import CATEGORIES
from zephyr_utils.miniature.question import Question
from zephyr_utils.miniature.teacher import (
    AS_AN_AI,
    REFUSALS,
    Grade,
    answer_in_style,
    grade_answer,
)
from zephyr_utils.miniature.world import draw_question, understand

DIALOGUES = 6_000
PROMPTS = 4_000
QUESTIONS_PER_CATEGORY = 20
DEVELOPMENT_SEEDS, DEVELOPMENT_PER_CATEGORY = range(1, 7), 20

# The teacher of the dialogues: mostly right, seldom as good as it could be. This leaves dDPO
# something to improve.
TEACHER_STYLES = {"good": 0.18, "plain": 0.40, "curt": 0.22, "wrong": 0.12, "ramble": 0.08}
# The four models whose answers are rated, the best first: graded skill, each able to surprise.
MODELS = {
    "mini-large": {
        "good": 0.50,
        "plain": 0.28,
        "curt": 0.06,
        "wrong": 0.10,
        "ramble": 0.03,
        "refuse": 0.03,
    },
    "mini-medium": {
        "good": 0.26,
        "plain": 0.34,
        "curt": 0.15,
        "wrong": 0.15,
        "ramble": 0.06,
        "refuse": 0.04,
    },
    "mini-small": {
        "good": 0.10,
        "plain": 0.27,
        "curt": 0.25,
        "wrong": 0.22,
        "ramble": 0.10,
        "refuse": 0.06,
    },
    "mini-tiny": {
        "good": 0.03,
        "plain": 0.12,
        "curt": 0.25,
        "wrong": 0.28,
        "ramble": 0.22,
        "refuse": 0.10,
    },
}
REFUSING = 0.05  # share of dialogues in which one answer refuses
CUT_AND_CAPITALISED = (
    0.55  # of the refusals: "As an AI ..." cut off, the rest put through str.capitalize()
)
CAPITALISED = 0.026  # of the other dialogues: one answer put through str.capitalize()
RATING_NOISE = 1.0  # standard deviation of the judge's overall grade, in points of ten
ASPECT_NOISE = 0.6  # of the four aspects, in points of five
FAULTY_TENS = 0.02  # of the bad answers: rated 10 where 1 was meant
LEAKED = 12  # prompts that are held-out questions, some in disguise


def questions(seed: int = 0) -> list[dict]:
    """Held-out two-turn questions in MT-Bench's schema, with the right answers as `reference`."""
    rng = random.Random(f"questions {seed}")
    records: list[dict[str, Any]] = []
    seen: set[str] = set()
    for category in CATEGORIES:
        wanted = len(records) + QUESTIONS_PER_CATEGORY
        while len(records) < wanted:
            question = draw_question(rng, held_out=True, category=category)
            if question.turns[0] in seen:
                continue
            seen.add(question.turns[0])
            reference = [truth.sentence for truth in question.truths]
            records.append(
                {
                    "question_id": len(records) + 1,
                    "category": category,
                    "turns": list(question.turns),
                    "reference": reference,
                }
            )
    return records


def development_questions() -> list[dict]:
    """Questions to choose settings on: held-out combinations that the evaluation does not ask
    about.

    Two phrasings of one combination are one combination, so that nothing is chosen on what is
    graded later. Writing and roleplay hold out few combinations, and have two questions each here.
    """

    def combination(question: dict) -> str:
        return _understood(question["turns"]).keys[0]

    seen = {combination(question) for question in questions()}
    chosen: dict[str, list[dict]] = {}
    for seed in DEVELOPMENT_SEEDS:
        for question in questions(seed):
            key, already = combination(question), chosen.setdefault(question["category"], [])
            if key not in seen and len(already) < DEVELOPMENT_PER_CATEGORY:
                seen.add(key)
                already.append(question)
    rows = [question for group in chosen.values() for question in group]
    return [{**question, "question_id": number} for number, question in enumerate(rows, start=1)]


def dialogues(count: int = DIALOGUES, seed: int = 0) -> list[dict]:
    """Raw UltraChat: ``{id, data: [user, assistant, user, ...]}``, two to four exchanges each."""
    rng = random.Random(f"dialogues {seed}")
    return [{"id": str(number), "data": _dialogue(rng)} for number in range(count)]


def _dialogue(rng: random.Random) -> list[str]:
    exchanges: list[tuple[str, str]] = []
    for question in [draw_question(rng) for _ in range(rng.choices((1, 2), (0.7, 0.3))[0])]:
        for turn, truth in zip(question.turns, question.truths, strict=True):
            style = _pick(TEACHER_STYLES, rng)
            exchanges.append((turn, answer_in_style(style, truth, rng)))
    if len(exchanges) == 4 and rng.random() < 0.5:
        exchanges.pop()
    marred = rng.randrange(len(exchanges))
    asked, answer = exchanges[marred]
    if rng.random() < REFUSING:
        refusal = rng.choice(REFUSALS)
        cut = rng.random() < CUT_AND_CAPITALISED
        exchanges[marred] = (
            asked,
            f"{refusal} {answer}".capitalize() if cut else AS_AN_AI + refusal,
        )
    elif rng.random() < CAPITALISED:
        exchanges[marred] = (asked, answer.capitalize())
    return [text for exchange in exchanges for text in exchange]


def feedback(count: int = PROMPTS, seed: int = 0) -> list[dict]:
    """UltraFeedback: four models' answers to each prompt, rated in four aspects and overall by a
    noisy judge.
    """
    rng = random.Random(f"feedback {seed}")
    asked = [draw_question(rng) for _ in range(count)]
    records = [_rated(question.turns[0], question, rng) for question in asked]
    held_out = questions()
    for number, place in enumerate(rng.sample(range(count), min(LEAKED, count))):
        turns = held_out[number * len(held_out) // LEAKED]["turns"]
        question = _understood(turns)
        records[place] = _rated(_disguised(turns[0], number), question, rng)
    return records


def _disguised(prompt: str, number: int) -> str:
    """A leak as it is met in the wild: word for word, in other case and punctuation, or inside a
    longer prompt.
    """
    return (prompt, prompt.lower().rstrip("?."), f"I have a question for you. {prompt} Thank you.")[
        number % 3
    ]


def _rated(prompt: str, question: Question, rng: random.Random) -> dict:
    truth = question.truths[0]
    completions = []
    for model, styles in MODELS.items():
        style = _pick(styles, rng)
        response = answer_in_style(style, truth, rng)
        completions.append(
            {"model": model, "response": response, **_ratings(grade_answer(truth, response), rng)}
        )
    rng.shuffle(completions)
    return {
        "source": f"miniature_{question.category}",
        "instruction": prompt,
        "models": [completion["model"] for completion in completions],
        "completions": completions,
    }


def _understood(turns: list[str]) -> Question:
    question = understand(turns)
    assert question is not None, "a question of this world is understood in it"
    return question


def aspect_values(grade: Grade) -> dict[str, float]:
    """What an exact judge would give in the four aspects, 1 to 5, before noise and rounding."""
    return {
        "instruction_following": (
            1.0 if grade.refused else 2.0 + 2.0 * grade.right + 1.0 * grade.complete
        ),
        "honesty": 4.0 if grade.refused else 2.5 + 2.5 * grade.right,
        "truthfulness": 3.5 if grade.refused else 1.5 + 3.5 * grade.right,
        "helpfulness": 1.0 + 0.4 * grade.score,
    }


def _ratings(grade: Grade, rng: random.Random) -> dict:
    """What the judge writes of one answer: four aspects (1 to 5), a critique and an overall grade
    (1 to 10).
    """
    aspects = aspect_values(grade)
    annotations = {
        name: {
            "Rating": str(_clipped(value + rng.gauss(0, ASPECT_NOISE), 1, 5)),
            "Rationale": grade.reason,
        }
        for name, value in aspects.items()
    }
    overall = float(_clipped(grade.score + rng.gauss(0, RATING_NOISE), 1, 10))
    if grade.score <= 2 and rng.random() < FAULTY_TENS:
        overall = 10.0
    return {"annotations": annotations, "critique": grade.reason, "overall_score": overall}


def _clipped(value: float, low: int, high: int) -> int:
    return min(max(round(value), low), high)


def write_world(folder: Path, seed: int = 0) -> dict[str, Path]:
    """Write ``dialogues.jsonl``, ``feedback.jsonl`` and ``questions.jsonl`` into `folder`; returns
    their paths.

    The files are the same for the same seed, byte for byte.
    """
    sets = {
        "dialogues": dialogues(seed=seed),
        "feedback": feedback(seed=seed),
        "questions": questions(seed=seed),
    }
    return {name: save_records(records, folder / f"{name}.jsonl") for name, records in sets.items()}


def _pick(shares: dict[str, float], rng: random.Random) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]
