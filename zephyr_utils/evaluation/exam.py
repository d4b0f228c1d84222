"""An examination: put two-turn questions to a model, let a judge grade the answers, keep both as
records.
"""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from zephyr_utils.chat import Answer, chat_turns
from zephyr_utils.data.records import save_records
from zephyr_utils.evaluation import (
    FASTCHAT_TEMPERATURES,
    CachingJudge,
    Judge,
    grade_answers,
    mt_bench_score,
    public_category,
)

ANSWERS, JUDGMENTS = "answers.jsonl", "judgments.jsonl"


def run_exam(
    model,
    tokenizer,
    name: str,
    questions: list[dict],
    folder: Path,
    judge: Judge,
    *,
    temperature: float | None = 0.7,
    allow_failures: bool = False,
    **sampling: Any,
) -> dict[str, Any]:
    """Ask both turns of every question, grade, and write ``answers.jsonl`` and ``judgments.jsonl``
    into `folder`.

    Args:
        name: of the model, for the records.
        questions: ``{question_id, category, turns}`` records.
        judge: who grades. What it says is kept as it comes, in ``judged.jsonl``, so that a run that
            is killed and started again pays for no judgment twice; a judge by rule, which has a
            ``right_from``, is asked again instead.
        temperature: one for all questions; None takes FastChat's by category (0.7 for writing, 0
            for mathematics).
        allow_failures: as for :func:`~zephyr_utils.evaluation.mt_bench_score`.
        sampling: `seed`, `max_new_tokens`, passed to `chat.generate`.

    Returns:
        ``score``, ``turn_1``, ``turn_2`` (means, 1 to 10), ``by_category``, ``n_failed`` (grades
            left out), ``ended``
        (share of answers that end by themselves), ``tokens`` (mean length of an answer), and with
            the rule-based
        teacher ``right``, ``right_turn_1`` and ``right_turn_2`` (shares).
    """
    answers = [
        {
            "question_id": question["question_id"],
            "model_id": name,
            "choices": [{"index": 0, "turns": [a.text for a in turns]}],
            "ended": [a.ended for a in turns],
            "tokens": [a.n_tokens for a in turns],
        }
        for question, turns in zip(
            questions, _asked(model, tokenizer, questions, temperature, sampling), strict=True
        )
    ]
    save_records(answers, folder / ANSWERS)
    return _graded(answers, questions, folder, judge, name, allow_failures)


def grade_kept_answers(
    questions: list[dict],
    folder: Path,
    judge: Judge,
    name: str,
    allow_failures: bool = False,
) -> dict[str, Any]:
    """Grade the answers in `folder`, as :func:`run_exam` left them before it was stopped; returns
    what it returns.

    Answers that were recorded elsewhere will do; then ``ended`` and ``tokens`` are missing from
    what is returned.
    """
    lines = (Path(folder) / ANSWERS).read_text(encoding="utf-8").splitlines()
    return _graded(
        [json.loads(line) for line in lines],
        questions,
        folder,
        judge,
        name,
        allow_failures,
    )


def _asked(
    model, tokenizer, questions: list[dict], temperature: float | None, sampling: dict
) -> list[list[Answer]]:
    """The answers in the questions' order, those of one temperature asked together."""
    if temperature is not None:
        return chat_turns(
            model, tokenizer, [q["turns"] for q in questions], temperature=temperature, **sampling
        )
    said: dict[int, list[Answer]] = {}

    def temperature_of(place: int) -> float:
        question = questions[place]
        category = question.get("category") or public_category(question["question_id"])
        # as FastChat does for a category it does not know
        return FASTCHAT_TEMPERATURES.get(category, 0.7)

    for degree, places in groupby(
        sorted(range(len(questions)), key=temperature_of), key=temperature_of
    ):
        together = list(places)
        turns = [questions[place]["turns"] for place in together]
        said |= zip(
            together,
            chat_turns(model, tokenizer, turns, temperature=degree, **sampling),
            strict=True,
        )
    return [said[place] for place in range(len(questions))]


def _graded(
    answers: list[dict],
    questions: list[dict],
    folder: Path,
    judge: Judge,
    name: str,
    allow_failures: bool,
) -> dict[str, Any]:
    right_from: float | None = getattr(judge, "right_from", None)
    by_rule = right_from is not None
    judgments = grade_answers(
        questions, answers, judge if by_rule else CachingJudge(judge, folder / "judged.jsonl"), name
    )
    save_records(judgments, folder / JUDGMENTS)
    score = mt_bench_score(judgments, questions=questions, allow_failures=allow_failures)
    results: dict[str, Any] = {
        "score": score.overall,
        "turn_1": score.turn_1,
        "turn_2": score.turn_2,
        "by_category": score.by_category,
        "n_failed": score.n_failed,
    }
    for field in ("ended", "tokens"):  # answers that were recorded elsewhere do not tell
        if values := [value for row in answers for value in row.get(field, ())]:
            results[field] = sum(values) / len(values)
    if right_from is not None:
        results |= {
            "right": _right(judgments, right_from),
            "right_turn_1": _right(judgments, right_from, 1),
            "right_turn_2": _right(judgments, right_from, 2),
        }
    return results


def _right(judgments: list[dict], right_from: float, turn: int | None = None) -> float:
    scores = [row["score"] for row in judgments if turn in (None, row["turn"])]
    return sum(score >= right_from for score in scores) / len(scores)
