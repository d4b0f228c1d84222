"""An exam: put two-turn questions to a model, let a judge grade the answers, keep the records."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from zephyr_utils.chat import Answer, chat_turns
from zephyr_utils.data.records import save_records
from zephyr_utils.evaluation.grading import checked_questions, grade_answers
from zephyr_utils.evaluation.judges import Judge, SummarisingJudge
from zephyr_utils.evaluation.judgments import FASTCHAT_TEMPERATURES, category_of
from zephyr_utils.evaluation.mt_bench import mt_bench_score
from zephyr_utils.evaluation.types import MTBenchAnswer, MTBenchJudgment, MTBenchQuestion

ANSWERS, JUDGMENTS = "answers.jsonl", "judgments.jsonl"


def run_exam(
    model: Any,
    tokenizer: Any,
    name: str,
    questions: Sequence[MTBenchQuestion],
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
        judge: who grades.
        temperature, sampling: as for :func:`ask_questions`.
        allow_failures: as for :func:`~zephyr_utils.evaluation.mt_bench_score`.

    Returns:
        ``score``, ``turn_1``, ``turn_2`` (means, 1 to 10), ``by_category``, ``n_failed`` (grades
        left out), and what :func:`exam_shares` returns.
    """
    answers = ask_questions(model, tokenizer, name, questions, temperature=temperature, **sampling)
    return grade_exam(name, questions, answers, folder, judge, allow_failures=allow_failures)


def grade_exam(
    name: str,
    questions: Sequence[MTBenchQuestion],
    answers: Sequence[MTBenchAnswer],
    folder: Path,
    judge: Judge,
    *,
    allow_failures: bool = False,
) -> dict[str, Any]:
    """Grade answers to both turns of every question; writes and returns what `run_exam` does."""
    save_records(answers, folder / ANSWERS)
    judgments = grade_answers(questions, answers, judge, name)
    save_records(judgments, folder / JUDGMENTS)
    score = mt_bench_score(judgments, questions=questions, allow_failures=allow_failures)
    return {
        "score": score.overall,
        "turn_1": score.turn_1,
        "turn_2": score.turn_2,
        "by_category": score.by_category,
        "n_failed": score.n_failed,
        **exam_shares(answers, judgments, judge, questions),
    }


def ask_questions(
    model: Any,
    tokenizer: Any,
    name: str,
    questions: Sequence[MTBenchQuestion],
    *,
    temperature: float | None = 0.7,
    **sampling: Any,
) -> list[MTBenchAnswer]:
    """A model's answers to both turns of every question, in order.

    Args:
        name: of the model, for the records.
        temperature: one for all questions; None takes FastChat's by category (0.7 for writing, 0
            for mathematics).
        sampling: `seed`, `max_new_tokens`, passed to `chat.generate`.

    Raises:
        EvaluationError: a malformed question.
    """
    asked = checked_questions(questions)
    said = _asked(model, tokenizer, asked, temperature, sampling)
    return [
        answer_record(question, name, turns) for question, turns in zip(asked, said, strict=True)
    ]


def answer_record(question: MTBenchQuestion, name: str, turns: Sequence[Answer]) -> MTBenchAnswer:
    """A model's answers to the turns of one question, as files of answers hold them."""
    return {
        "question_id": question["question_id"],
        "model_id": name,
        "choices": [{"index": 0, "turns": [one.text for one in turns]}],
        "ended": [one.ended for one in turns],
        "tokens": [one.n_tokens for one in turns],
    }


def exam_shares(
    answers: Sequence[MTBenchAnswer],
    judgments: Sequence[MTBenchJudgment],
    judge: Judge,
    questions: Sequence[MTBenchQuestion],
) -> dict[str, float]:
    """What an exam says beside its grades.

    Args:
        judge: one that knows the answers has a ``right_from``, the lowest grade of a right answer.
        questions: that were asked.

    Returns:
        ``ended`` (share of answers that end by themselves) and ``tokens`` (mean length of an
        answer) where the answers tell, from a judge that knows the answers ``right``,
        ``right_turn_1`` and ``right_turn_2`` (shares), and the figures of a
        :class:`~zephyr_utils.evaluation.judges.SummarisingJudge`.
    """
    shares: dict[str, float] = {}
    ended = [value for row in answers for value in row.get("ended", ())]
    tokens = [value for row in answers for value in row.get("tokens", ())]
    for field, values in (("ended", ended), ("tokens", tokens)):
        if values:
            shares[field] = sum(values) / len(values)
    right_from: float | None = getattr(judge, "right_from", None)
    if right_from is not None:
        for field, turns in (("right", (1, 2)), ("right_turn_1", (1,)), ("right_turn_2", (2,))):
            scores = [row["score"] for row in judgments if row["turn"] in turns]
            if scores:
                shares[field] = sum(score >= right_from for score in scores) / len(scores)
    if isinstance(judge, SummarisingJudge):
        shares |= judge.summary(questions, answers)
    return shares


def _asked(
    model: Any,
    tokenizer: Any,
    questions: list[MTBenchQuestion],
    temperature: float | None,
    sampling: dict[str, Any],
) -> list[list[Answer]]:
    """The answers in the questions' order, those of one temperature asked together."""
    if temperature is not None:
        turns = [question["turns"] for question in questions]
        return chat_turns(model, tokenizer, turns, temperature=temperature, **sampling)
    said: dict[int, list[Answer]] = {}

    def temperature_of(place: int) -> float:
        # as FastChat does for a category it does not know
        return FASTCHAT_TEMPERATURES.get(category_of(questions[place]), 0.7)

    places_by_temperature = groupby(
        sorted(range(len(questions)), key=temperature_of), key=temperature_of
    )
    for degree, places in places_by_temperature:
        together = list(places)
        turns = [questions[place]["turns"] for place in together]
        replies = chat_turns(model, tokenizer, turns, temperature=degree, **sampling)
        said |= zip(together, replies, strict=True)
    return [said[place] for place in range(len(questions))]
