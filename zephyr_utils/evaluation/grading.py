"""Let a judge grade a model's answers to two-turn questions, in FastChat's record shapes."""

from collections import Counter
from collections.abc import Iterable

from zephyr_utils.evaluation.common import EvaluationError, checked_rows, name_some, warn_all
from zephyr_utils.evaluation.judges import FAILED, Judge
from zephyr_utils.progress import track


def answer_turns(record: dict) -> list[str]:
    """The answers of one record ``{question_id, model_id, choices: [{turns: [a1, a2]}]}``, first
    choice.
    """
    try:
        turns = record["choices"][0]["turns"]
    except (KeyError, IndexError, TypeError) as error:
        raise EvaluationError(
            "has no choices[0].turns",
            where=f"answer to question {record.get('question_id')!r}",
            remedy="write answers as {question_id, model_id, choices: [{turns: [first, second]}]}.",
        ) from error
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise EvaluationError(
            "choices[0].turns is not a list of texts",
            where=f"answer to question {record.get('question_id')!r}",
            remedy="write one text per turn.",
        )
    return turns


def answers_by_question(
    questions: Iterable[dict], answers: Iterable[dict], who: str
) -> tuple[list[dict], dict]:
    """Check questions and answers against each other; returns the questions and the answer turns by
    question_id.

    Warns:
        EvaluationWarning: questions without an answer, answers to no question, repeated answers
        (the first counts).

    Raises:
        EvaluationError: no questions, no answers, a malformed record, or nothing in common.
    """
    asked = checked_rows(questions, "question")
    for position, question in enumerate(asked, start=1):
        if (
            "question_id" not in question
            or not isinstance(question.get("turns"), list)
            or not question["turns"]
        ):
            raise EvaluationError(
                "needs question_id and a list of turns",
                where=f"question {position}",
                remedy="write questions as {question_id, category, turns: [first, second]}.",
            )
    repeated_questions = [
        key for key, count in Counter(q["question_id"] for q in asked).items() if count > 1
    ]
    if repeated_questions:
        raise EvaluationError(
            f"question_id is used twice: {name_some(repeated_questions)}",
            where="questions",
            remedy="give every question a number of its own.",
        )
    given: dict = {}
    repeated = []
    for record in checked_rows(answers, "answer"):
        key = record.get("question_id")
        if key in given:
            repeated.append(key)
        else:
            given[key] = answer_turns(record)
    ids = [question["question_id"] for question in asked]
    without = [key for key in ids if key not in given]
    if len(without) == len(ids):
        raise EvaluationError(
            f"{who} answers none of the {len(ids)} questions",
            where="answers",
            remedy="check that answers and questions belong to one question set.",
        )
    messages = []
    if without:
        messages.append(f"{who}: {len(without)} questions have no answer: {name_some(without)}")
    if alien := [key for key in given if key not in set(ids)]:
        messages.append(
            f"{who}: {len(alien)} answers belong to no question and are left out: "
            f"{name_some(alien)}"
        )
    if repeated:
        messages.append(
            f"{who}: {len(repeated)} answers repeat a question, the first counts: "
            f"{name_some(repeated)}"
        )
    warn_all(messages)
    return asked, given


def grade_answers(
    questions: Iterable[dict], answers: Iterable[dict], judge: Judge, model_name: str
) -> list[dict]:
    """Judgment records of one model: one for every turn of every question, in order.

    Args:
        questions: records ``{question_id, category, turns: [t1, t2], reference?: [r1, r2]}``.
        answers: records ``{question_id, model_id, choices: [{turns: [a1, a2]}]}``.
        judge: grades each turn, having seen the turns before it.
        model_name: goes into the field ``model`` of every record.

    Returns:
        Records ``{question_id, model, judge: [name, prompt name], category, judgment, score,
            turn}``. A turn without
        an answer is not shown to the judge; its record has the score -1 and says so, and thus
            counts as failed.

    Warns:
        EvaluationWarning: unanswered questions, missing turns, answers to no question, repeated
        answers.

    Raises:
        EvaluationError: malformed questions or answers, or no answer to any question.
    """
    asked, given = answers_by_question(questions, answers, model_name)
    records, cut_short = [], []
    for question in track(asked, f"judging {model_name}"):
        key = question["question_id"]
        turns = given.get(key, [])
        if key in given and len(turns) < len(question["turns"]):
            cut_short.append(key)
        for turn in range(1, len(question["turns"]) + 1):
            if turn <= len(turns):
                judgment = judge.grade(question, turns[:turn], turn)
                text, score, prompt_name = judgment.text, judgment.score, judgment.prompt_name
            else:
                text, score, prompt_name = "No answer to judge.", FAILED, ""
            records.append(
                {
                    "question_id": key,
                    "model": model_name,
                    "judge": [judge.name, prompt_name],
                    "category": question.get("category", ""),
                    "judgment": text,
                    "score": score,
                    "turn": turn,
                }
            )
    warn_all(
        [f"{model_name}: {len(cut_short)} answers lack a turn: {name_some(cut_short)}"]
        if cut_short
        else []
    )
    return records
