"""AI feedback from served real models: the judge's template and its figures."""

import json
from pathlib import Path

import pytest
import smol_feedback
from jinja2 import Environment
from smol_judge import EXAMPLE, TEMPLATE, as_in_the_example, comparisons

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.prompts import rating_messages
from zephyr_utils.feedback.reading import read_ratings


def shown_to_the_judge(count: int) -> str:
    messages = rating_messages("honesty", "Why?", [f"Because {n}." for n in range(count)])
    turns = [{"role": role, "content": text} for role, text in messages]
    template = Environment(trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE)
    return template.render(messages=turns, add_generation_prompt=True)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_worked_example_keeps_the_form_that_is_read_for_as_many_answers_as_asked(count):
    example = shown_to_the_judge(count).split("<|im_start|>assistant\n")[1].split("<|im_end|>")[0]
    assert example.startswith("Ratings:")
    assert [one["Rating"] for one in read_ratings(example, count)] == EXAMPLE[:count]


def test_ratings_that_repeat_the_example_are_counted_among_the_judges_readable_ones(tmp_path):
    def reply(ratings, judge="judge", purpose="rate honesty"):
        lines = "".join(f"Answer {n}\nRating: {one}\n\n" for n, one in enumerate(ratings, 1))
        return json.dumps({"model": judge, "purpose": purpose, "text": lines}) + "\n"

    journal = tmp_path / "journal.jsonl"
    replies = [reply(EXAMPLE), reply("2511"), reply("51"), reply(EXAMPLE, judge="start")]
    journal.write_text("".join([*replies, reply(EXAMPLE, purpose="compare"), reply("4152")]))
    found = as_in_the_example(journal, Path("judge"))
    assert (found["n"], found["estimate"]) == (3, 1 / 3)


def test_comparisons_count_choices_by_place_by_answer_and_by_the_checks():
    right = [(True, False), (True, False), (False, True), (True, True)]
    found = comparisons(["A", "A", "B", "error"], ["A", "B", "tie", "A"], right)
    assert found["readable"]["estimate"] == 7 / 8
    assert found["first_chosen"]["estimate"] == 4 / 6
    assert found["same_in_both_orders"]["estimate"] == 1 / 3  # shown first twice: two answers
    assert found["cold_chosen"]["estimate"] == 3 / 6
    assert found["right_chosen"]["estimate"] == 4 / 5
    assert comparisons(["error"], ["error"], right[:1])["first_chosen"] == {"n": 0}


def test_a_served_folder_samples_as_its_name_says_and_copies_no_weights(tmp_path):
    source = tmp_path / "model"
    source.mkdir()
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (source / name).write_text("{}")
    hot = smol_feedback.served_folder("hot", source, tmp_path)
    assert (hot / "model.safetensors").is_symlink()
    assert smol_feedback.read_json(hot / "generation_config.json")["temperature"] == 1.5
    judge = smol_feedback.served_folder("judge", source, tmp_path)
    assert smol_feedback.read_json(judge / "generation_config.json") == {"do_sample": False}
    assert (judge / "chat_template.jinja").read_text() == TEMPLATE
    assert (source / "generation_config.json").read_text() == "{}"
    with pytest.raises(HandbookError, match="there is no model"):
        smol_feedback.served_folder("dsft", tmp_path / "nowhere", tmp_path)


def test_the_port_stays_the_same_and_one_in_use_is_refused(tmp_path):
    port = smol_feedback.port_of(tmp_path)
    assert smol_feedback.port_of(tmp_path) == port
    with smol_feedback.socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(HandbookError, match="is in use"):
            smol_feedback.port_of(tmp_path)


def test_prompts_are_the_shortest_that_are_long_enough(tmp_path):
    path = tmp_path / "prompts.jsonl"
    texts = ["Hello", "b" * 31, "a" * 30, "a" * 30, "c" * 400]
    path.write_text("".join(f'{{"prompt": "{text}"}}\n' for text in texts))
    assert smol_feedback.chosen_prompts(path, 2) == ["a" * 30, "b" * 31]
