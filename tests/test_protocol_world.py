"""The distance of the dialogues' writer from the best of four, as benchmarks/protocol.md states it.

Both distances are in standard deviations of a grade over the answers of all four models.
"""

import json
import random

import numpy as np
import pytest
from real_records import REAL, needs

from zephyr_utils.miniature import data
from zephyr_utils.miniature.teacher import grade_answer
from zephyr_utils.miniature.world import draw_question, understand
from zephyr_utils.preferences import mean_rating

STATED = 0.69  # best of four minus an average answer, UltraFeedback


def test_the_writer_lies_0_55_standard_deviations_below_the_best_rated_of_four():
    best, grades = [], []
    for row in data.feedback(4_000):
        if question := understand([row["instruction"]]):  # a few leaks are in disguise
            exact = [
                grade_answer(question.truths[0], one["response"]).score
                for one in row["completions"]
            ]
            best.append(exact[int(np.argmax([mean_rating(one) for one in row["completions"]]))])
            grades += exact
    rng = random.Random(1)
    truths = [draw_question(rng).truths[0] for _ in range(4_000)]
    writer = [grade_answer(truth, data.TEACHER.answer(truth, rng)).score for truth in truths]
    distance = (np.mean(best) - np.mean(writer)) / np.std(grades)
    assert distance == pytest.approx(0.55, abs=0.03)
    assert 0 < distance < STATED, "one of the better of the models that were rated"


@needs("ultrafeedback_binarized_sample")
def test_the_protocols_figures_are_those_of_the_published_ratings():
    path = REAL / "ultrafeedback_binarized_sample" / "train_clean.shared.jsonl"
    rows = [json.loads(line)["metadata"] for line in path.read_text("utf-8").splitlines()]
    best, other = (
        np.array([row[f"score_{side}"] for row in rows]) for side in ("chosen", "rejected")
    )
    average = best.mean() / 4 + 3 * other.mean() / 4  # one of four answers is the best
    deviation = np.sqrt((best**2).mean() / 4 + 3 * (other**2).mean() / 4 - average**2)
    assert len(rows) == 800
    assert [best.mean(), other.mean(), average, deviation] == pytest.approx(
        [7.77, 5.89, 6.36, 2.05], abs=0.01
    )
    assert (best.mean() - average) / deviation == pytest.approx(STATED, abs=0.005)
