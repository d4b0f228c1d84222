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
from zephyr_utils.miniature.small_talk import SMALL_TALK, as_typed, draw_small_talk
from zephyr_utils.miniature.teacher import AS_AN_AI, REFUSALS, Grade, Habits, grade_answer
from zephyr_utils.miniature.world import Split, draw_question, understand

DIALOGUES = 6_000
PROMPTS = 4_000
QUESTIONS_PER_CATEGORY, DEVELOPMENT_PER_CATEGORY = 80, 50
SMALL_TALK_DIALOGUES = 0.4  # share of dialogues that begin with one or two turns of small talk
SMALL_TALK_PROMPTS = 0.2  # share of the rated prompts

# The writer of the dialogues. Its distance from the best of four is set from real ratings, in
# standard deviations of a grade: see benchmarks/protocol.md.
TEACHER = Habits(
    {"right": 0.90, "wrong": 0.06, "ramble": 0.04},
    {"friendly": 0.20, "plain": 0.45, "curt": 0.35},
)
# The four models whose answers are rated, the best first: graded skill, each able to surprise.
MODELS = {
    "mini-large": Habits(
        {"right": 0.85, "wrong": 0.10, "ramble": 0.03, "refuse": 0.02},
        {"friendly": 0.35, "plain": 0.45, "curt": 0.20},
    ),
    "mini-medium": Habits(
        {"right": 0.76, "wrong": 0.15, "ramble": 0.06, "refuse": 0.03},
        {"friendly": 0.25, "plain": 0.45, "curt": 0.30},
    ),
    "mini-small": Habits(
        {"right": 0.64, "wrong": 0.22, "ramble": 0.09, "refuse": 0.05},
        {"friendly": 0.15, "plain": 0.45, "curt": 0.40},
    ),
    "mini-tiny": Habits(
        {"right": 0.50, "wrong": 0.28, "ramble": 0.15, "refuse": 0.07},
        {"friendly": 0.10, "plain": 0.35, "curt": 0.55},
    ),
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
    return _drawn_questions("exam", QUESTIONS_PER_CATEGORY, f"questions {seed}")


def development_questions(seed: int = 0) -> list[dict]:
    """Questions to choose settings on: held-out combinations that no exam asks about."""
    return _drawn_questions("development", DEVELOPMENT_PER_CATEGORY, f"development {seed}")


def _drawn_questions(split: Split, per_category: int, seed: str) -> list[dict]:
    rng = random.Random(seed)
    records: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    for category in CATEGORIES:
        wanted = len(records) + per_category
        while len(records) < wanted:
            question = draw_question(rng, split=split, category=category)
            if question.keys in seen:
                continue
            seen.add(question.keys)
            records.append(
                {
                    "question_id": len(records) + 1,
                    "category": category,
                    "turns": list(question.turns),
                    "reference": [truth.sentence for truth in question.truths],
                }
            )
    return records


def dialogues(count: int = DIALOGUES, seed: int = 0) -> list[dict]:
    """Raw UltraChat: ``{id, data: [user, assistant, user, ...]}``, two to four exchanges each."""
    rng = random.Random(f"dialogues {seed}")
    return [{"id": str(number), "data": _dialogue(rng)} for number in range(count)]


def _dialogue(rng: random.Random) -> list[str]:
    drawn = [draw_question(rng) for _ in range(rng.choices((1, 2), (0.7, 0.3))[0])]
    if rng.random() < SMALL_TALK_DIALOGUES:
        # Before the first question, since its second turn leans on its first.
        drawn = [*(draw_small_talk(rng) for _ in range(rng.randint(1, 2))), drawn[0]]
    exchanges = [
        (
            as_typed(turn, rng) if question.category == SMALL_TALK else turn,
            TEACHER.answer(truth, rng),
        )
        for question in drawn
        for turn, truth in zip(question.turns, question.truths, strict=True)
    ]
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
    asked = [
        draw_small_talk(rng) if rng.random() < SMALL_TALK_PROMPTS else draw_question(rng)
        for _ in range(count)
    ]
    records = [_rated(question.turns[0], question, rng) for question in asked]
    held_out = questions(seed)
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
    for model, habits in MODELS.items():
        response = habits.answer(truth, rng)
        completions.append(
            {
                "model": model,
                "response": response,
                **noisy_ratings(grade_answer(truth, response), rng),
            }
        )
    rng.shuffle(completions)
    return {
        "source": f"miniature_{question.category.replace(' ', '_')}",
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


def noisy_ratings(grade: Grade, rng: random.Random) -> dict:
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
