"""How many answers of a model are right, for the website's sliders."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.evaluation.common import EvaluationWarning
from zephyr_utils.evaluation.exam import ask_questions
from zephyr_utils.evaluation.grading import grade_answers
from zephyr_utils.evaluation.intervals import bootstrap_interval, wilson_interval
from zephyr_utils.evaluation.judges import Judge
from zephyr_utils.evaluation.types import MTBenchQuestion


def right_share(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[MTBenchQuestion],
    judge: Judge,
    max_new_tokens: int,
) -> dict[str, float]:
    """The share of right answers to the turns of the questions, decoded greedily, with its 95 %
    interval over questions (bootstrap; Wilson's where all are alike): ``right``, ``right_low``,
    ``right_high``.

    Args:
        judge: one with a ``right_from``.
        max_new_tokens: of the longest answer.
    """
    answers = ask_questions(
        model, tokenizer, "checkpoint", questions, temperature=0.0, max_new_tokens=max_new_tokens
    )
    with warnings.catch_warnings():
        # of empty answers, which an early checkpoint gives: they are not right, and count as that
        warnings.simplefilter("ignore", EvaluationWarning)
        judged = grade_answers(questions, answers, judge, "checkpoint")
    right_from: float = getattr(judge, "right_from")  # noqa: B009 - no judge must have one
    scores: dict[Any, list[float]] = defaultdict(list)
    for row in judged:
        scores[row["question_id"]].append(row["score"])
    shares = [float(np.mean(np.array(of_one) >= right_from)) for of_one in scores.values()]
    share = bootstrap_interval(shares)
    if share.low == share.high:  # all questions alike, which a bootstrap takes for certainty
        share = wilson_interval(round(sum(shares)), len(shares))
    return {"right": share.estimate, "right_low": share.low, "right_high": share.high}


def count_answers(questions: Sequence[MTBenchQuestion]) -> int:
    """To how many turns a model answers."""
    return sum(len(question["turns"]) for question in questions)
