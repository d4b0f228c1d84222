"""The miniature's noisy judge: it rates answers as those of its feedback are rated."""

import random
from dataclasses import dataclass
from typing import Any

from zephyr_utils.data.types import Feedback
from zephyr_utils.miniature import data
from zephyr_utils.miniature.teacher import grade_answer
from zephyr_utils.miniature.world import understand


@dataclass(frozen=True)
class NoisyTeacher:
    """Rates answers to prompts of the miniature world in four aspects and overall, with the noise
    of its feedback.

    The noise is drawn by the seed, the prompt and the answer, so that the same answer to a prompt
    always gets the same ratings.
    """

    seed: int = 0
    name = "noisy rule-based teacher"

    def __call__(self, records: list[Feedback]) -> list[Feedback]:
        """The records with ratings; answers to prompts of no such world stay without."""
        return [self._rated(record) for record in records]

    def _rated(self, record: Feedback) -> Feedback:
        prompt = record["instruction"]
        question = understand([prompt])
        if question is None:
            return record
        completions: list[Any] = []
        for completion in record["completions"]:
            answer = completion["response"]
            rng = random.Random(f"rating {self.seed}\n{prompt}\n{answer}")
            ratings = data.noisy_ratings(grade_answer(question.truths[0], answer), rng)
            completions.append({**completion, **ratings})
        return {**record, "completions": completions}
