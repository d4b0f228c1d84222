"""Strict and loose accuracy as IFEval defines them, with intervals over questions.

A *prompt* is one turn of a question and is followed if all its checks are; an *instruction* is one
check. Strict accuracy takes the answer as it stands; loose accuracy also takes it without its first
line, its last line or both, and without asterisks, so that an introduction or Markdown is forgiven.
Loose accuracy has fewer false negatives and more false positives.

Source: Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", arXiv
2311.07911, section 2.2. As in its program, an instruction counts as followed loosely if any of the
eight variants follows it, and a prompt if each of its instructions does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.evaluation.common import display_name
from zephyr_utils.evaluation.grading import answers_by_question
from zephyr_utils.evaluation.intervals import (
    Interval,
    PairedDifference,
    bootstrap_interval,
    paired_difference,
)
from zephyr_utils.evaluation.judgments import category_of
from zephyr_utils.evaluation.types import MTBenchAnswer, MTBenchQuestion
from zephyr_utils.verifiable.questions import checks_by_turn

MEASURES = ("prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose")


@dataclass(frozen=True)
class VerifiedAccuracy:
    """Shares of what a model follows, each with its 95 % bootstrap interval over questions (the
    turns of a question stay together, because they are not independent).

    Attributes:
        measures: ``prompt_strict``, ``prompt_loose``, ``instruction_strict``,
            ``instruction_loose``.
        n_questions, n_prompts, n_instructions: what was asked.
        n_missing: turns without an answer; they follow nothing.
        by_category: the same for the questions of each category.
    """

    measures: dict[str, Interval]
    n_questions: int
    n_prompts: int
    n_instructions: int
    n_missing: int
    by_category: dict[str, "VerifiedAccuracy"] = field(default_factory=dict)

    def __str__(self) -> str:
        strict, loose = self.measures["prompt_strict"], self.measures["prompt_loose"]
        return f"strict {strict}, loose {loose} of {self.n_prompts} prompts"


@dataclass(frozen=True)
class _Followed:
    """What the answers to one question follow: numbers of prompts and instructions."""

    category: str
    n_prompts: int
    n_instructions: int
    n_missing: int
    counts: tuple[int, int, int, int]  # in the order of MEASURES


def accuracy(
    answers: Iterable[MTBenchAnswer], questions: Iterable[MTBenchQuestion]
) -> VerifiedAccuracy:
    """Strict and loose accuracy of one model.

    Args:
        answers: records ``{question_id, model_id, choices: [{turns: [a1, a2]}]}``.
        questions: records with ``checks`` for each turn.

    Warns:
        EvaluationWarning: unanswered questions and others that
            :func:`~zephyr_utils.evaluation.grading.answers_by_question` names.

    Raises:
        HandbookError: a question without checks, or malformed answers.
    """
    rows = _followed(answers, questions)
    categories = dict.fromkeys(row.category for row in rows)
    return _summary(
        rows, {name: _summary([row for row in rows if row.category == name]) for name in categories}
    )


def accuracy_difference(
    a: Iterable[MTBenchAnswer],
    b: Iterable[MTBenchAnswer],
    questions: Iterable[MTBenchQuestion],
) -> dict[str, PairedDifference]:
    """Two models on the same questions: for each of the four measures the accuracy of `a` less that
    of `b`, with an interval and a p-value over questions.

    Args:
        a, b: answers as for :func:`accuracy`.
        questions: records with ``checks`` for each turn.

    Raises:
        HandbookError: as :func:`accuracy`.
    """
    asked = list(questions)
    rows_a, rows_b = _followed(a, asked), _followed(b, asked)
    return {
        name: paired_difference(_values(rows_a, name), _values(rows_b, name)) for name in MEASURES
    }


def _followed(
    answers: Iterable[MTBenchAnswer], questions: Iterable[MTBenchQuestion]
) -> list[_Followed]:
    given = list(answers)
    who = next((str(row["model_id"]) for row in given if row.get("model_id")), "the model")
    asked, turns_by_id = answers_by_question(questions, given, display_name(who))
    rows = []
    for question in asked:
        checks = checks_by_turn(question)
        turns = turns_by_id.get(question["question_id"], [])[: len(checks)]
        said = turns + [""] * (len(checks) - len(turns))
        strict = [
            [check.is_followed(text) for check in turn]
            for turn, text in zip(checks, said, strict=True)
        ]
        loose = [
            [check.is_followed_loosely(text) for check in turn]
            for turn, text in zip(checks, said, strict=True)
        ]
        rows.append(
            _Followed(
                category_of(question),
                len(checks),
                sum(map(len, checks)),
                len(checks) - len(turns),
                (
                    sum(map(all, strict)),
                    sum(map(all, loose)),
                    sum(map(sum, strict)),
                    sum(map(sum, loose)),
                ),
            )
        )
    return rows


def _summary(
    rows: Sequence[_Followed], by_category: dict[str, VerifiedAccuracy] | None = None
) -> VerifiedAccuracy:
    return VerifiedAccuracy(
        {name: bootstrap_interval(_values(rows, name)) for name in MEASURES},
        len(rows),
        sum(row.n_prompts for row in rows),
        sum(row.n_instructions for row in rows),
        sum(row.n_missing for row in rows),
        by_category or {},
    )


def _values(rows: Sequence[_Followed], measure: str) -> NDArray[np.float64]:
    """One figure per question whose mean is the accuracy, a ratio of two sums.

    Questions have different numbers of instructions, so the ratio is linearised (the delta method):
    resampling these figures is resampling the ratio to first order. With equal numbers they are the
    questions' own shares.
    """
    of_prompts = measure.startswith("prompt")
    followed = np.array([row.counts[MEASURES.index(measure)] for row in rows], dtype=np.float64)
    asked = np.array(
        [row.n_prompts if of_prompts else row.n_instructions for row in rows], dtype=np.float64
    )
    ratio = followed.sum() / asked.sum()
    return ratio + (followed - ratio * asked) / asked.mean()
