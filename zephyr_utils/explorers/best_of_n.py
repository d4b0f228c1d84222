"""The best of n answers: which one a reward model prefers, beside the teacher's grade."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.common import Explorer, script, shortened

LONGEST_TEXT = 300  # characters of a question or an answer
SHOWN = 12  # questions to choose from


class BestOfN(Explorer):
    """Answers that were drawn and scored beforehand, under a slider for n.

    The curves are means over all subsets of n of each question's answers
    (`rewards.best_of_n_curve`) and over all questions; the table shows the first n answers to one.

    Args:
        questions: ``[{prompt, answers: [{text, reward, grade}]}]``, as many answers to each.

    Attributes:
        questions: those to choose from, evenly spaced, texts shortened.
        curves: ``byReward``, ``byGrade`` and ``byChance``, the mean grade of the chosen answer for
            each n from 1.
        measured: how many questions the curves are of.

    Raises:
        HandbookError: no questions, fewer than two answers, or not as many to each.
    """

    _esm = script("best_of_n")

    questions: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    curves: "traitlets.Dict[str, list[float]]" = traitlets.Dict().tag(sync=True)
    measured = traitlets.Int().tag(sync=True)

    def __init__(self, questions: Sequence[dict[str, Any]]) -> None:
        from zephyr_utils.rewards import best_of_n_curve

        counts = {len(question["answers"]) for question in questions}
        if len(counts) != 1 or min(counts) < 2:
            raise HandbookError(
                f"{len(questions)} questions with {sorted(counts)} answers to each",
                where="BestOfN explorer",
                remedy="give questions with the same number of answers, two or more",
            )
        rewards, grades = (
            np.array([[answer[key] for answer in question["answers"]] for question in questions])
            for key in ("reward", "grade")
        )
        curves = {
            "byReward": best_of_n_curve(rewards, grades).mean(axis=0).tolist(),
            "byGrade": best_of_n_curve(grades, grades).mean(axis=0).tolist(),
            "byChance": [float(grades.mean())] * counts.pop(),
        }
        shown = questions[:: -(-len(questions) // SHOWN)]
        super().__init__(
            questions=[_short(question) for question in shown],
            curves=curves,
            measured=len(questions),
        )


def _short(question: dict[str, Any]) -> dict[str, Any]:
    answers = [
        {**answer, "text": shortened(answer["text"], LONGEST_TEXT)}
        for answer in question["answers"]
    ]
    return {"prompt": shortened(question["prompt"], LONGEST_TEXT), "answers": answers}
