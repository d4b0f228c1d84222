"""Let a judge grade a model's answers to two-turn questions, in FastChat's record shapes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from zephyr_utils.data.thoughts import split_thoughts
from zephyr_utils.evaluation.common import (
    FASTCHAT_ERROR,
    EvaluationError,
    as_identifier,
    checked_rows,
    display_name,
    name_some,
    warn_all,
)
from zephyr_utils.evaluation.judges import GradeRequest, Judge, judge_grades
from zephyr_utils.evaluation.types import (
    MTBenchAnswer,
    MTBenchJudgment,
    MTBenchQuestion,
    QuestionId,
)
from zephyr_utils.evaluation.verdicts import FAILED


def first_choice_turns(record: Mapping[str, Any]) -> list[str]:
    """The answers of one record ``{question_id, model_id, choices: [{turns: [a1, a2]}]}``, first
    choice.

    Raises:
        EvaluationError: the record has no such list of texts.
    """
    where = f"answer to question {display_name(record.get('question_id'))}"
    try:
        turns = record["choices"][0]["turns"]
    except (KeyError, IndexError, TypeError) as error:
        raise EvaluationError(
            "has no choices[0].turns",
            where=where,
            remedy="write answers as {question_id, model_id, choices: [{turns: [first, second]}]}.",
        ) from error
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise EvaluationError(
            "choices[0].turns is not a list of texts",
            where=where,
            remedy="write one text per turn.",
        )
    return turns


def answered_turns(turns: list[str]) -> list[str]:
    """The turns up to the first that was never answered: FastChat writes ``$ERROR$`` there."""
    for n, turn in enumerate(turns):
        if turn.strip() == FASTCHAT_ERROR:
            return turns[:n]
    return turns


def _thinks(turn: str) -> bool:
    """Whether an answer holds its model's thoughts, ended or not."""
    split = split_thoughts(turn)
    return split.is_open or bool(split.thoughts.strip())


def checked_questions(questions: Iterable[MTBenchQuestion]) -> list[MTBenchQuestion]:
    """The questions as a list, each with an identifier of its own and texts as turns.

    Raises:
        EvaluationError: none, a malformed one, or one identifier for two.
    """
    asked = checked_rows(questions, "question")
    for position, question in enumerate(asked, start=1):
        turns, references = question.get("turns"), question.get("reference") or []
        if (
            as_identifier(question.get("question_id")) is None
            or not isinstance(turns, list)
            or not turns
            or not all(isinstance(turn, str) and turn.strip() for turn in turns)
        ):
            raise EvaluationError(
                "needs question_id and a list of turns, none of them empty",
                where=f"question {position}",
                remedy="write questions as {question_id, category, turns: [first, second]}.",
            )
        if not isinstance(references, list) or not all(isinstance(r, str) for r in references):
            raise EvaluationError(
                "its reference is not a list of texts",
                where=f"question {position}",
                remedy="write one right answer per turn, or leave the field out.",
            )
    counts = Counter(question["question_id"] for question in asked)
    if repeated := [key for key, count in counts.items() if count > 1]:
        raise EvaluationError(
            f"question_id is used twice: {name_some(repeated)}",
            where="questions",
            remedy="give every question a number of its own.",
        )
    return asked


def answers_by_question(
    questions: Iterable[MTBenchQuestion], answers: Iterable[MTBenchAnswer], who: str
) -> tuple[list[MTBenchQuestion], dict[QuestionId | None, list[str]]]:
    """Check questions and answers against each other; returns the questions and the turns that were
    answered by question_id.

    Warns:
        EvaluationWarning: questions without an answer, answers to no question, repeated answers
            (the first counts), answers that are FastChat's mark of a failed call, answers with
            several choices (the first counts), with an empty turn, with more turns than their
            question, or with thoughts.

    Raises:
        EvaluationError: no questions, no answers, a malformed record, or nothing in common.
    """
    asked, who = checked_questions(questions), display_name(who)
    given: dict[QuestionId | None, list[str]] = {}
    repeated: list[QuestionId | None] = []
    errors: list[QuestionId | None] = []
    several: list[QuestionId | None] = []
    for record in checked_rows(answers, "answer"):
        key = as_identifier(record.get("question_id"))
        if key in given:
            repeated.append(key)
            continue
        turns = first_choice_turns(record)
        given[key] = answered_turns(turns)
        if len(given[key]) < len(turns):
            errors.append(key)
        if len(record["choices"]) > 1:
            several.append(key)
    n_turns: dict[QuestionId | None, int] = {
        question["question_id"]: len(question["turns"]) for question in asked
    }
    ids = n_turns.keys()
    without = [
        question["question_id"] for question in asked if not given.get(question["question_id"])
    ]
    if len(without) == len(ids):
        why, remedy = "", "check that answers and questions belong to one question set."
        if errors:
            why, remedy = f": {len(errors)} are {FASTCHAT_ERROR}", "ask the model again."
        elif first := next(iter(given), None):
            question = asked[0]["question_id"]
            why = f": its answers are to {first!r:.60} and so on, not to {question!r:.60}"
        raise EvaluationError(
            f"{who} answers none of the {len(ids)} questions{why}", where="answers", remedy=remedy
        )
    messages = []
    if without:
        messages.append(f"{who}: {len(without)} questions have no answer: {name_some(without)}")
    if errors:
        messages.append(
            f"{who}: {len(errors)} answers are {FASTCHAT_ERROR} from some turn on, where no answer "
            f"came, and are not judged from there: {name_some(errors)}"
        )
    if several:
        messages.append(
            f"{who}: {len(several)} answers have several choices, of which the first counts: "
            f"{name_some(several)}"
        )
    if empty := [key for key, turns in given.items() if not all(turn.strip() for turn in turns)]:
        messages.append(
            f"{who}: {len(empty)} answers have an empty turn, which is graded as it is: "
            f"{name_some(empty)}"
        )
    if longer := [key for key, turns in given.items() if len(turns) > n_turns.get(key, len(turns))]:
        messages.append(
            f"{who}: {len(longer)} answers have more turns than their question, which are left "
            f"out: {name_some(longer)}"
        )
    if thinking := [key for key, turns in given.items() if any(map(_thinks, turns))]:
        messages.append(
            f"{who}: {len(thinking)} answers hold thoughts, which the judge reads as a part of "
            f"them: {name_some(thinking)}"
        )
    if alien := [key for key in given if key not in ids]:
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
    questions: Iterable[MTBenchQuestion],
    answers: Iterable[MTBenchAnswer],
    judge: Judge,
    model_name: str,
) -> list[MTBenchJudgment]:
    """Judgment records of one model: one for every turn of every question, in order.

    Args:
        questions: records ``{question_id, category, turns: [t1, t2], reference?: [r1, r2]}``.
        answers: records ``{question_id, model_id, choices: [{turns: [a1, a2]}]}``.
        judge: grades each turn, having seen the turns before it.
        model_name: goes into the field ``model`` of every record.

    Returns:
        Records ``{question_id, model, judge: [name, prompt name], category, judgment, score,
        turn}``. A turn without an answer is not shown to the judge; its record has the score -1 and
        says so, and thus counts as failed.

    Warns:
        EvaluationWarning: unanswered questions, missing turns, answers to no question, repeated
            answers.

    Raises:
        EvaluationError: malformed questions or answers, or no answer to any question.
    """
    asked, given = answers_by_question(questions, answers, model_name)
    requests = [
        GradeRequest(question, given[question["question_id"]][:turn], turn)
        for question in asked
        for turn in _judged_turns(question, given)
    ]
    said = iter(judge_grades(judge, requests, f"judging {display_name(model_name)}"))
    records: list[MTBenchJudgment] = []
    cut_short = []
    for question in asked:
        key, judged = question["question_id"], _judged_turns(question, given)
        if judged and len(judged) < len(question["turns"]):
            cut_short.append(key)
        for turn in range(1, len(question["turns"]) + 1):
            text, score, prompt_name = "No answer to judge.", FAILED, ""
            if turn in judged:
                judgment = next(said)
                text, score, prompt_name = judgment.text, judgment.score, judgment.prompt_name
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
    who, named = display_name(model_name), name_some(cut_short)
    warn_all([f"{who}: {len(cut_short)} answers lack a turn: {named}"] if cut_short else [])
    return records


def _judged_turns(question: MTBenchQuestion, given: Mapping[QuestionId | None, list[str]]) -> range:
    """The turns of a question that were answered, from 1."""
    answered = len(given.get(question["question_id"], ()))
    return range(1, min(answered, len(question["turns"])) + 1)
