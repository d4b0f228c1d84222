"""The page of the real model says what the committed run of served feedback says."""

import copy
from pathlib import Path

import pytest
import real_feedback
from smol_judge import EXAMPLE

from zephyr_utils.errors import HandbookError

ROOT = Path(__file__).resolve().parents[1]
SMALL: dict = {}


@pytest.fixture
def run(monkeypatch):
    """The committed results, in a copy that may be changed."""
    found = copy.deepcopy(real_feedback.results())
    monkeypatch.setattr(real_feedback, "results", lambda: found)
    return found


def test_every_part_can_be_made_from_the_committed_run_and_has_its_numbers(run):
    shown = {name: part(SMALL, []) for name, part in real_feedback.PARTS.items()}
    assert all(text.strip() for text in shown.values())
    counts, made = run["answers"], run["pairs"]
    assert f"{counts['collected']} of {counts['asked']}" in shown["real feedback answers"]
    assert shown["real feedback pairs"].startswith(f"{made['made']} pairs from {made['rows']}")
    for found in run["judges"].values():
        assert real_feedback.share(found["readable"]) in shown["real feedback judges"]
    for name in real_feedback.MEASURES:
        assert real_feedback.share(run["worth"][name]) in shown["real feedback worth"]


def test_the_committed_run_asked_four_answerers_and_kept_the_counts(run):
    assert set(run["mean_rating"]) == set(real_feedback.ANSWERERS)
    assert run["answers"]["asked"] == 4 * 40
    assert run["pairs"]["made"] + sum(run["pairs"]["set_aside"].values()) == run["pairs"]["rows"]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.6, 0.9, "right answers more often"), (0.1, 0.4, "wrong answers more often"),
     (0.4, 0.6, "cannot be told from a coin's")],
)  # fmt: skip
def test_the_words_about_the_judge_follow_its_intervals(run, low, high, said):
    run["worth"]["right_chosen"] = {"n": 20, "estimate": (low + high) / 2, "low": low, "high": high}
    run["worth"]["first_chosen"] = {"n": 80, "estimate": 0.9, "low": 0.8, "high": 0.95}
    words = real_feedback.worth(SMALL, [])
    assert said in words and "shown first more often" in words
    run["worth"]["first_chosen"] |= {"low": 0.4}
    assert "shown first more" not in real_feedback.worth(SMALL, [])
    run["worth"]["right_chosen"] = {"n": 0}
    assert "never had a right and a wrong answer" in real_feedback.worth(SMALL, [])


def test_the_page_names_the_prompts_and_the_ratings_of_the_worked_example(run):
    text = " ".join((ROOT / "book/real-model.md").read_text(encoding="utf-8").split())
    assert f"the {run['answers']['asked'] // 4} shortest of a sample" in text
    assert f"whose ratings are {', '.join(EXAMPLE[:-1])} and {EXAMPLE[-1]}," in text


def test_ratings_that_repeat_the_example_are_said_and_explained(run):
    run["as_in_the_example"] = {"n": 4, "estimate": 1.0, "low": 0.51, "high": 1.0}
    said = real_feedback.judges(SMALL, [])
    assert "4 of its 4 readable replies" in said and "rates places, not answers" in said
    run["as_in_the_example"] = {"n": 4, "estimate": 0.25, "low": 0.05, "high": 0.7}
    said = real_feedback.judges(SMALL, [])
    assert "1 of its 4 readable replies" in said and "rates places" not in said


def test_answers_and_prompts_are_shown_as_text(run):
    run["shown"]["record"]["instruction"] = "<img src=x onerror=alert(1)>"
    run["shown"]["record"]["completions"][0]["response"] = "</td><script>"
    shown = real_feedback.shown(SMALL, [])
    assert "<img" not in shown and "<script" not in shown and "&lt;/td&gt;" in shown


def test_a_run_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(real_feedback, "FEEDBACK", tmp_path / "none.json")
    with pytest.raises(HandbookError, match="no run of a real model"):
        real_feedback.results.__wrapped__()
