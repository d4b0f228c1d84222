"""Judges: what a judge is, and one that plays back what was judged before.

Anything with a ``name``, a ``grade`` and a ``compare`` is a judge; the miniature's rule-based
teacher is one too. A judge writes a judgment in words that ends with its rating in double brackets,
``[[7]]``, or with its choice, ``[[A]]``, ``[[B]]`` or ``[[C]]`` for a tie.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from zephyr_utils.evaluation.common import (
    EvaluationError,
    as_identifier,
    display_name,
    finite_number,
)
from zephyr_utils.evaluation.judgments import Turn, finish_reason_of, question_and_turn
from zephyr_utils.evaluation.types import (
    MTBenchAnswer,
    MTBenchJudgment,
    MTBenchPairJudgment,
    MTBenchQuestion,
    QuestionId,
)
from zephyr_utils.evaluation.verdicts import FAILED, parse_rating
from zephyr_utils.progress import track


@dataclass(frozen=True)
class Judgment:
    """A judge's grade of one turn: its words, the grade from 1 to 10 (-1: none could be read), the
    prompt's name.
    """

    text: str
    score: float
    prompt_name: str = ""


@dataclass(frozen=True)
class PairwiseJudgment:
    """A judge's choice between two answers: "A", "B", "tie", or "error" when none could be read."""

    text: str
    winner: str
    prompt_name: str = ""


class GradeRequest(NamedTuple):
    """A turn to be graded; ``answers`` are the model's up to and including that turn."""

    question: MTBenchQuestion
    answers: list[str]
    turn: int


class ComparisonRequest(NamedTuple):
    """Two answers to the first turn of a question, in the order in which they are shown."""

    question: MTBenchQuestion
    answer_a: str
    answer_b: str


class Judge(Protocol):
    """What every judge offers. ``name`` goes into the records beside each judgment."""

    name: str

    def grade(self, question: MTBenchQuestion, answers: list[str], turn: int) -> Judgment:
        """Grade the answer to turn 1 or 2 of ``question`` (``{question_id, turns, reference?}``).

        ``answers`` holds the model's answers up to and including that turn.
        """
        ...

    def compare(self, question: MTBenchQuestion, answer_a: str, answer_b: str) -> PairwiseJudgment:
        """Choose between two answers to the first turn of ``question``; the order is the order they
        are shown in.
        """
        ...


@runtime_checkable
class BatchJudge(Protocol):
    """A judge that is asked for many judgments at once, as an endpoint is."""

    def grade_all(self, requests: Sequence[GradeRequest], what: str) -> list[Judgment]:
        """One judgment a request, in order; ``what`` is shown before the progress."""
        ...

    def compare_all(
        self, requests: Sequence[ComparisonRequest], what: str
    ) -> list[PairwiseJudgment]:
        """One judgment a request, in order; ``what`` is shown before the progress."""
        ...


@runtime_checkable
class SummarisingJudge(Protocol):
    """A judge with figures of its own about a whole exam."""

    def summary(
        self, questions: Sequence[MTBenchQuestion], answers: Sequence[MTBenchAnswer]
    ) -> dict[str, float]:
        """Figures by name."""
        ...


def judge_grades(judge: Judge, requests: Sequence[GradeRequest], what: str) -> list[Judgment]:
    """The judgments of all requests, in order."""
    if isinstance(judge, BatchJudge):
        return judge.grade_all(requests, what)
    return [judge.grade(*request) for request in track(requests, what)]


def judge_comparisons(
    judge: Judge, requests: Sequence[ComparisonRequest], what: str
) -> list[PairwiseJudgment]:
    """The choices of all requests, in order."""
    if isinstance(judge, BatchJudge):
        return judge.compare_all(requests, what)
    return [judge.compare(*request) for request in track(requests, what)]


def better_graded(grade_a: float, grade_b: float, prompt_name: str) -> PairwiseJudgment:
    """The choice of a judge that compares two answers by its own grades; equal grades are a tie."""
    winner, letter = (
        ("tie", "C") if grade_a == grade_b else ("A", "A") if grade_a > grade_b else ("B", "B")
    )
    return PairwiseJudgment(
        f"Grades {grade_a:g} and {grade_b:g}. [[{letter}]]", winner, prompt_name
    )


class RecordedJudge:
    """Plays back judgments that were made before, so that a lesson or a test needs no endpoint.

    Args:
        judgments: records ``{question_id, judge, judgment, score, turn}`` of one model; the first
            of each question and turn counts.
        comparisons: records of both orders as :func:`~zephyr_utils.evaluation.pairs.judge_pairs`
            writes them, with ``output_1`` and ``output_2``, by which the order that is asked for is
            recognised.
        name: the judge's name in new records.

    Both methods raise :class:`EvaluationError` for a question that was not recorded.
    """

    def __init__(
        self,
        judgments: Iterable[MTBenchJudgment] = (),
        comparisons: Iterable[MTBenchPairJudgment] = (),
        name: str = "recorded",
    ) -> None:
        self.name = name
        self._grades: dict[Turn, MTBenchJudgment] = {}
        for row in judgments:
            self._grades.setdefault(question_and_turn(row), row)
        # By what was asked, with the number of the game that asked it.
        self._comparisons: dict[
            tuple[QuestionId | None, str, str], tuple[MTBenchPairJudgment, int]
        ] = {}
        for pair in comparisons:
            key = as_identifier(pair.get("question_id"))
            one, two = str(pair.get("output_1")), str(pair.get("output_2"))
            self._comparisons.setdefault((key, one, two), (pair, 1))
            self._comparisons.setdefault((key, two, one), (pair, 2))

    def grade(self, question: MTBenchQuestion, answers: list[str], turn: int) -> Judgment:
        """See :class:`Judge`."""
        row = self._grades.get((question["question_id"], turn))
        if row is None:
            raise _not_recorded(f"question {display_name(question['question_id'])}, turn {turn}")
        text = str(row.get("judgment", ""))
        if "score" not in row:
            return Judgment(text, parse_rating(text, finish_reason_of(row)), _prompt_name(row))
        score = finite_number(row["score"])
        return Judgment(text, FAILED if score is None else score, _prompt_name(row))

    def compare(self, question: MTBenchQuestion, answer_a: str, answer_b: str) -> PairwiseJudgment:
        """See :class:`Judge`."""
        recorded = self._comparisons.get((question["question_id"], answer_a, answer_b))
        if recorded is None:
            name = display_name(question["question_id"])
            raise _not_recorded(f"question {name} with these two answers")
        row, game = recorded
        fields: Mapping[str, Any] = row
        letters = {"model_1": "AB"[game - 1], "model_2": "BA"[game - 1], "tie": "tie"}
        return PairwiseJudgment(
            str(fields.get(f"g{game}_judgment", "")),
            letters.get(str(fields.get(f"g{game}_winner")), "error"),
            _prompt_name(row),
        )


def _prompt_name(row: Mapping[str, Any]) -> str:
    judge = row.get("judge")
    return str(judge[1]) if isinstance(judge, list | tuple) and len(judge) > 1 else ""


def _not_recorded(what: str) -> EvaluationError:
    return EvaluationError(
        "no judgment was recorded for it",
        where=what,
        remedy="record it with a live judge, or leave the question out.",
    )
