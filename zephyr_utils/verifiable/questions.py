"""The exam's questions: two turns each, in MT-Bench's schema, with checks for every turn."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.common import display_name
from zephyr_utils.evaluation.judgments import CATEGORIES
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.verifiable.checks import AnswerCheck, parse_check

EXAM_FOLDER = Path(__file__).parent / "exam"  # one file for each category
# libyaml is ten times as fast, and not in every build of PyYAML
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class VerifiableQuestion(MTBenchQuestion, total=False):
    """A question whose answers a program checks: for each turn a list of checks ``{kind,
    ...parameters}``, and a reference answer that passes them.
    """

    checks: list[list[dict[str, Any]]]


def exam_questions(folder: Path = EXAM_FOLDER) -> list[VerifiableQuestion]:
    """The questions of all categories in MT-Bench's order; a file's name is its category.

    Returns:
        Records ``{question_id, category, turns: [t1, t2], reference: [r1, r2], checks}``.

    Raises:
        HandbookError: a file that is missing or no list, or a question with a malformed check.
    """
    questions = []
    for category in CATEGORIES:
        path = folder / f"{category}.yaml"
        try:
            rows = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise HandbookError(
                f"the questions cannot be read: {error}",
                where=str(path),
                remedy="restore the file from the package",
            ) from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise HandbookError("it holds no list of questions", where=str(path))
        for row in rows:
            ordered = {"question_id": row.get("question_id"), "category": category, **row}
            questions.append(cast(VerifiableQuestion, ordered))
    check_questions(questions)
    return questions


def check_questions(questions: Iterable[MTBenchQuestion]) -> list[list[list[AnswerCheck]]]:
    """The checks of every question, by turn.

    Raises:
        HandbookError: a question without checks for each of its turns, or with a malformed one.
    """
    return [checks_by_turn(question) for question in questions]


def checks_by_turn(question: MTBenchQuestion) -> list[list[AnswerCheck]]:
    """The checks of a question's turns.

    Raises:
        HandbookError: it has none for some turn, or a malformed one; the message names the
            question.
    """
    fields: Mapping[str, Any] = question
    name = f"question {display_name(fields.get('question_id'))}"
    turns, checks = fields.get("turns"), fields.get("checks")
    if not isinstance(turns, list) or not isinstance(checks, list) or len(checks) != len(turns):
        raise HandbookError(
            "it has no list of checks for each of its turns, so no program can judge it",
            where=name,
            remedy="write `checks: [[...], [...]]`, or name a judge behind an endpoint",
        )
    parsed = []
    for turn, data in enumerate(checks, start=1):
        if not isinstance(data, list) or not data:
            raise HandbookError(
                f"turn {turn} has no check", where=name, remedy="give every turn at least one"
            )
        parsed.append([parse_check(one, f"{name}, turn {turn}") for one in data])
    return parsed
