"""An examination: put two-turn questions to a model, let a judge grade the answers, keep both as records."""

from pathlib import Path
from typing import Any

from zephyr_utils.chat import chat_turns
from zephyr_utils.evaluation import Judge, grade_answers, mt_bench_score
from zephyr_utils.miniature.judge import RIGHT_FROM, TeacherJudge
from zephyr_utils.records import save_records


def examine(
    model, tokenizer, name: str, questions: list[dict], folder: Path, judge: Judge | None = None, **sampling: Any
) -> dict[str, Any]:
    """Ask both turns of every question, grade, and write ``answers.jsonl`` and ``judgments.jsonl`` into `folder`.

    Args:
        name: of the model, for the records.
        questions: ``{question_id, category, turns}`` records.
        judge: the miniature's rule-based teacher unless another is given.
        sampling: `temperature`, `seed`, `max_new_tokens`, passed to `chat.generate`.

    Returns:
        ``score``, ``turn_1``, ``turn_2`` (means, 1 to 10), ``by_category``, ``ended`` (share of answers that end by
        themselves), ``tokens`` (mean length of an answer), and with the rule-based teacher ``right``, ``right_turn_1``
        and ``right_turn_2`` (shares).
    """
    judge = judge or TeacherJudge()
    said = chat_turns(model, tokenizer, [question["turns"] for question in questions], **sampling)
    answers = [
        {"question_id": q["question_id"], "model_id": name, "choices": [{"index": 0, "turns": [a.text for a in turns]}]}
        for q, turns in zip(questions, said, strict=True)
    ]
    judgments = grade_answers(questions, answers, judge, name)
    save_records(answers, folder / "answers.jsonl")
    save_records(judgments, folder / "judgments.jsonl")
    score = mt_bench_score(judgments, questions=questions)
    every = [answer for turns in said for answer in turns]
    results = {
        "score": score.overall,
        "turn_1": score.turn_1,
        "turn_2": score.turn_2,
        "by_category": score.by_category,
        "ended": sum(answer.ended for answer in every) / len(every),
        "tokens": sum(answer.n_tokens for answer in every) / len(every),
    }
    if isinstance(judge, TeacherJudge):
        results |= {"right": _right(judgments), "right_turn_1": _right(judgments, 1), "right_turn_2": _right(judgments, 2)}
    return results


def _right(judgments: list[dict], turn: int | None = None) -> float:
    scores = [row["score"] for row in judgments if turn in (None, row["turn"])]
    return sum(score >= RIGHT_FROM for score in scores) / len(scores)
