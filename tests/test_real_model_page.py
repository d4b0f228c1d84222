"""The page of the real model says what the committed run says, in figures and in words."""

import copy
import math

import pytest
import real_model
from markdown_it import MarkdownIt

from zephyr_utils.files import read_json

SMALL = {
    "02_dsft": {"metrics": {"held_out_loss": 0.345}},
    "05_ddpo": {"metrics": {"first_step_loss": 0.6931}},
    "06_reward_margins": {"metrics": {"accuracy": 0.786}},
}


@pytest.fixture
def run(monkeypatch):
    """The committed results, in a copy that may be changed."""
    found = copy.deepcopy(real_model.results())
    monkeypatch.setattr(real_model, "results", lambda: found)
    return found


def test_every_part_of_the_page_can_be_made_from_the_committed_run(run):
    for name, part in real_model.PARTS.items():
        assert part(SMALL, []).strip(), name


def test_the_verdict_follows_the_intervals(run):
    first = run["seeds"][0]
    first["held_out_loss"]["change"] = {"estimate": -0.5, "low": -0.6, "high": -0.4}
    first["steps"]["margins"] |= {"accuracy": 0.6, "accuracy_low": 0.52, "accuracy_high": 0.68}
    words = real_model.outcomes(SMALL, [])
    assert "lowers the loss" in words and "better than chance" in words
    first["held_out_loss"]["change"]["high"] = 0.1
    first["steps"]["margins"]["accuracy_low"] = 0.49
    words = real_model.outcomes(SMALL, [])
    assert "cannot be told from none" in words and "cannot be told from one half" in words


def test_the_committed_rates_bear_out_the_words_about_a_second_epoch():
    [row] = [row for row in read_json(real_model.RATES)["rows"] if row["after_epoch"] == 2]
    assert row["last_steps"]["rewards/accuracies"] == 1 and row["loss"] > math.log(2)
    table = real_model.rates(SMALL, [])
    assert f"{row['loss']:.3f}" in table and "2 of 2" in table


def test_changed_words_alone_are_marked_and_text_is_escaped():
    before, after = real_model.marked_changes("not <b> much", "Not <b> much")
    assert before == "<mark>not</mark> &lt;b&gt; much" and after.startswith("<mark>Not</mark>")


def test_answers_and_prompts_are_shown_as_text(run):
    run["shown"]["prompts"][0] = "<img src=x onerror=alert(1)>"
    run["shown"]["answers"]["ddpo"][0]["text"] = "</td><script>"
    shown = real_model.answers(SMALL, [])
    assert "<img" not in shown and "<script" not in shown and "&lt;/td&gt;" in shown


def test_code_in_an_answer_or_a_dialogue_does_not_close_the_block_of_html(run):
    code = "Try:\n````\nprint(1)\n````\n# Not a heading"
    run["shown"]["answers"]["ddpo"][0]["text"] = code
    run["shown"]["dialogue"] = {part: [{"role": "user", "content": code}] for part in
                                ("before", "after")}  # fmt: skip
    for part in (real_model.answers, real_model.dialogue):
        [block] = MarkdownIt().parse(part(SMALL, []))
        assert block.type == "fence" and "# Not a heading" in block.content
