"""The page of the real model says what the committed run says, in figures and in words."""

import copy
import math

import pytest
import real_costs
import real_model
import smol_losses
from markdown_it import MarkdownIt

from zephyr_utils.files import read_json
from zephyr_utils.scales import get_scale

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
    for name, part in {**real_model.PARTS, **real_costs.PARTS}.items():
        assert part(SMALL, []).strip(), name


def test_the_verdict_follows_the_intervals_of_all_seeds(run):
    run["seeds"] = [copy.deepcopy(run["seeds"][0]) for _ in range(2)]

    def outcome(number: int, high: float, low: float) -> None:
        seed = run["seeds"][number]
        seed["held_out_loss"]["change"] = {"estimate": high - 0.15, "low": -0.6, "high": high}
        seed["steps"]["margins"] |= {"accuracy": 0.6, "accuracy_low": low, "accuracy_high": 0.68}

    outcome(0, -0.4, 0.52)
    outcome(1, -0.4, 0.52)
    words = real_model.outcomes(SMALL, [])
    assert "lowers the loss of" in words and "better than chance" in words
    assert "same held-out ones" in words
    outcome(1, 0.1, 0.49)
    words = real_model.outcomes(SMALL, [])
    assert "loss in 1 of 2 seeds" in words and "above one half in 1 of 2 seeds" in words
    outcome(0, 0.1, 0.49)
    words = real_model.outcomes(SMALL, [])
    assert "cannot be told from none" in words and "cannot be told from one half" in words
    run["seeds"] = run["seeds"][:1]
    assert "seeds" not in real_model.outcomes(SMALL, [])


def test_the_page_says_how_much_of_the_fall_lies_in_the_template(run):
    run["seeds"] = run["seeds"][:1]
    loss = run["seeds"][0]["held_out_loss"]
    loss["change"] = {"estimate": -0.5, "low": -0.6, "high": -0.4}
    loss["words"] = 0.8
    loss["of_words"] = {"base": 2.5, "dsft": 2.4,
                        "change": {"estimate": -0.1, "low": -0.2, "high": -0.05}}  # fmt: skip
    words = real_model.outcomes(SMALL, [])
    assert "84\u00a0% of the fall" in words and "own words fell, too" in words
    assert "| 2.500 → 2.400 |" in words and "| -0.100 [-0.200, -0.050] |" in words
    loss["of_words"]["change"] |= {"high": 0.05}
    assert "cannot be told from none" in real_model.outcomes(SMALL, [])
    del loss["of_words"]
    assert "of the fall" not in real_model.outcomes(SMALL, [])


def test_words_are_the_tokens_of_contents_whatever_the_template_puts_around_them():
    texts = ["<s>", "system", "\n", "Hi", " you", "</s>", "\n", "\u00e9", "", "</s>"]
    messages = [{"role": "user", "content": "Hi you"}, {"role": "assistant", "content": "\u00e9"}]
    counted = smol_losses.is_word(texts, messages).tolist()
    assert counted == [False] * 3 + [True] * 2 + [False] * 2 + [True] * 2 + [False]


def test_a_seed_that_ran_beside_other_work_shows_no_times_and_its_own_figures(run, monkeypatch):
    for name in ("TQDM_DISABLE", "HF_HUB_OFFLINE"):  # which the benchmark would set for all tests
        monkeypatch.setenv(name, "1")
    import smol

    run["seeds"][0]["pairs_at_once"] = 2
    clean = copy.deepcopy(run["seeds"][0]) | {"seed": 7, "pairs_at_once": 1}
    clean["curves"]["ddpo"][0] |= {"eval_runtime": 9.0, "eval_steps_per_second": 2.0, "loss": 0.5}
    clean["steps"]["exam_ddpo"]["score"] = 9.87
    run["seeds"] = [run["seeds"][0], smol.without_times(clean)]
    kept = run["seeds"][1]
    assert "seconds" not in str(kept["steps"]) and "minutes" not in kept
    assert not {"eval_runtime", "eval_steps_per_second"} & set(kept["curves"]["ddpo"][0])
    assert kept["curves"]["ddpo"][0]["loss"] == 0.5
    said = real_model.machine(SMALL, [])
    assert "Seed 7 ran beside other work" in said and "took 1 pair at once" in said
    assert "| dDPO, seed 7 | 9.87 |" in real_model.exam(SMALL, [])


def test_the_sentence_about_the_second_epoch_matches_the_committed_rates():
    [row] = [row for row in read_json(real_model.RATES)["rows"] if row["after_epoch"] == 2]
    assert row["last_steps"]["rewards/accuracies"] == 1 and row["loss"] > math.log(2)
    table = real_model.rates(SMALL, [])
    assert f"{row['loss']:.3f}" in table and "2 of 2" in table


def test_one_pair_at_once_takes_less_memory_than_two_as_the_page_says():
    one, two = read_json(real_costs.MEMORY)["arms"]
    assert (one["pairs_at_once"], two["pairs_at_once"]) == (1, 2)
    assert one["tokens"] == two["tokens"] and one["peak_mb"] < 0.75 * two["peak_mb"]
    assert f"take {one['peak_mb'] / 1024:.1f} GB" in real_costs.memory(SMALL, [])
    assert get_scale("smol/cpu").recipe("ddpo")["per_device_train_batch_size"] == 1


def test_changed_words_alone_are_marked_and_text_is_escaped():
    before, after = real_model.marked_changes("not <b> much", "Not <b> much")
    assert before == "<mark>not</mark> &lt;b&gt; much" and after.startswith("<mark>Not</mark>")
    before, _ = real_model.marked_changes("so:\n\nnot much", "so:\n\nNot much")
    assert before == "so:\n\n<mark>not</mark> much"


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
