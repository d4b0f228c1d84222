"""Rated answers to make pairs of, built from the grades that a test is about."""

import random

from zephyr_utils.data.records import ASPECTS


def completion(mean=None, overall=None, model="a", response=None):
    """An answer with the same rating in all four aspects."""
    annotations = (
        {} if mean is None else {a: {"Rating": str(mean), "Rationale": ""} for a in ASPECTS}
    )
    response = f"{model} says {mean}, {overall}" if response is None else response
    return {
        "model": model,
        "response": response,
        "annotations": annotations,
        "overall_score": overall,
        "critique": "",
    }


def row(prompt, *means, overall=None):
    """A row of feedback, an answer for each mean rating; the overall grades are the same numbers if
    none are given.
    """
    overall = overall or means
    answers = [
        completion(m, o, "abcdefgh"[i]) for i, (m, o) in enumerate(zip(means, overall, strict=True))
    ]
    return {
        "source": "",
        "instruction": prompt,
        "models": [a["model"] for a in answers],
        "completions": answers,
    }


def four_answers(count):
    """Rows of four answers with the same ratings and overall grades at random."""
    rng = random.Random(5)
    return [
        row(f"question {n}", *[3] * 4, overall=[rng.randint(1, 10) for _ in range(4)])
        for n in range(count)
    ]
