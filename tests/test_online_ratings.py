"""Ratings without a judge: by the model itself, and by demonstrations; rounds that use them."""

import json
import math
from dataclasses import replace

import pytest
import torch
from round_fixtures import record, run_of, start_directory
from tiny import tiny_model
from typer.testing import CliRunner

from zephyr_utils import chat, training
from zephyr_utils.cli import app
from zephyr_utils.data.records import load_records, save_records
from zephyr_utils.online.pairs import SamplingSettings
from zephyr_utils.online.ratings import ASK, AgainstDemonstrations, SelfReward, self_rating
from zephyr_utils.online.round_training import OnlineObjective, round_pairs
from zephyr_utils.online.rounds import OnlineSettings, first_exchanges, run_rounds
from zephyr_utils.preferences import mean_rating

UNRATED = [record(f"question {n}", None, None, None) for n in range(3)]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return start_directory(tmp_path_factory.mktemp("start"))


@pytest.fixture
def pipeline(start, tmp_path, monkeypatch):
    rows = [
        {"id": str(n), "data": [f"What is {n} plus 1?", f"{n} plus 1 is {n + 1}.", "Sure?", "Yes."]}
        for n in range(40)
    ]
    dialogues = save_records(rows, tmp_path / "dialogues.jsonl")
    fast = {"per_device_train_batch_size": 4, "learning_rate": 5e-2, "warmup_steps": 0}
    return replace(
        run_of(start, tmp_path, monkeypatch),
        dialogues=str(dialogues),
        base_model=str(start),
        changes={"ddpo": fast},
    )


def ratings(records):
    return [[mean_rating(one) for one in row["completions"]] for row in records]


# --- by the model itself --------------------------------------------------------------------------


def test_a_self_reward_is_the_log_ratio_with_and_without_what_is_asked_for(start):
    [rated, *_] = SelfReward(start, "Be kind.")(UNRATED)
    model, tokenizer = chat.load_model(start, "float32")
    for one in rated["completions"]:
        turns = [
            {"role": "user", "content": rated["instruction"]},
            {"role": "assistant", "content": one["response"]},
        ]
        asked = [{"role": "system", "content": "Be kind."}, *turns]
        after, before = training.answer_log_probs(model, tokenizer, [asked, turns])
        ratio = float(after - before)
        assert abs(ratio) > 0.01
        assert mean_rating(one) == pytest.approx(3 + 2 * ratio / (1 + abs(ratio)), abs=2e-3)
        rationale = one["annotations"]["helpfulness"]["Rationale"]
        assert float(rationale.split()[1]) == pytest.approx(ratio, abs=1e-3)


def test_a_self_rating_keeps_the_order_of_log_ratios_however_large_they_are():
    ratios = [-500.0, -40.0, -1.0, 0.0, 0.01, 3.0, 41.0, 600.0]
    rated = [self_rating(ratio) for ratio in ratios]
    assert rated == sorted(set(rated)) and rated[3] == 3
    assert rated[0] > 1 and rated[-1] < 5


def test_answers_of_one_text_are_rated_alike(start):
    doubled = [{**row, "completions": row["completions"][:1] * 2} for row in UNRATED]
    assert all(first == second for first, second in ratings(SelfReward(start)(doubled)))


def test_an_answer_whose_self_reward_is_nan_stays_unrated_and_makes_no_pair(tmp_path, start):
    model, tokenizer = tiny_model(), chat.load_tokenizer(start)
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    rated = SelfReward(tmp_path)(UNRATED)
    assert ratings(rated) == [[None] * 3] * 3
    with pytest.raises(Exception, match="3 x fewer_than_two_scores"):
        round_pairs(rated, 1.0)


def test_an_answer_that_does_not_fit_with_what_is_asked_for_stays_unrated(start):
    rated = ratings(SelfReward(start, "word " * 990)(UNRATED[:1]))
    assert rated == [[None] * 3]


# --- by demonstrations ----------------------------------------------------------------------------


def test_a_demonstration_is_chosen_over_an_own_answer_and_ties_with_its_own_text():
    shown = {"question 0": "The right one.", "question 1": "answer 1 to question 1"}
    records = [record("question 0", None), record("question 1", None)]
    rows, counts = round_pairs(AgainstDemonstrations(shown, "k")(records), 1.0)
    [row] = rows
    assert (row["chosen"], row["rejected"]) == ("The right one.", "answer 1 to question 0")
    assert row["sampled"] == "answer 1 to question 0"
    assert counts["set_aside"] == {"all_tied": 1}


def test_first_exchanges_are_counted_with_those_that_give_none():
    def said(*turns):
        return {"messages": [{"role": role, "content": text} for role, text in turns]}

    shown, without = first_exchanges(
        [
            said(("user", "a"), ("assistant", "1"), ("user", "b"), ("assistant", "2")),
            said(("user", "a"), ("assistant", "3")),
            said(("system", "s"), ("user", "c"), ("assistant", "4")),
            said(("user", "d")),
        ]
    )
    assert shown == {"a": "1"}
    assert without == {"repeated_prompt": 1, "no_first_exchange": 2}


# --- rounds ---------------------------------------------------------------------------------------


def settings(method, **options):
    samples = 1 if method == "irft" else 3
    return OnlineSettings(
        OnlineObjective(method, **options), 2, SamplingSettings(samples), prompts=8
    )


def test_self_rewarding_rounds_are_rated_by_the_model_of_the_round(pipeline, monkeypatch):
    from zephyr_utils.online import rounds

    def no_judge(pipeline):
        raise AssertionError("no judge is asked")

    monkeypatch.setattr(rounds, "scale_judge", no_judge)
    first, second = run_rounds(pipeline, settings("self-rewarding"))
    assert first.training.results["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert second.answers.inputs["model"] == first.training.key
    directory = first.training.folder / "model"
    rated = load_records(second.answers.folder / "feedback.jsonl", "feedback").records
    assert SelfReward(directory)(rated) == rated
    assert ratings(SelfReward(pipeline.start()[0])(rated)) != ratings(rated)
    again = list(run_rounds(pipeline, settings("self-rewarding")))
    assert all(made.answers.reused and made.training.reused for made in again)
    other = next(run_rounds(pipeline, settings("self-rewarding", ask="Be curt.")))
    assert not other.answers.reused


def test_self_rewarding_begins_with_the_answers_that_a_judge_rates_for_the_others(pipeline):
    def texts(made):
        rows = load_records(made.answers.folder / "feedback.jsonl", "feedback").records
        return [[one["response"] for one in row["completions"]] for row in rows]

    [own, judged] = [next(run_rounds(pipeline, settings(m))) for m in ("self-rewarding", "dpo")]
    assert texts(own) == texts(judged)
    assert own.answers.folder != judged.answers.folder


def test_irft_sets_demonstrations_against_one_own_answer_round_after_round(pipeline):
    first, second = run_rounds(pipeline, settings("irft"))
    assert second.training.inputs["start"] == first.training.key
    shown, _ = first_exchanges(pipeline.split_dialogues()[0])
    seen = set()
    for made in (first, second):
        lines = (made.training.folder / "pairs.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        assert rows and all(row["chosen"] == shown[row["prompt"]] for row in rows)
        assert all(row["rejected"] == row["sampled"] != row["chosen"] for row in rows)
        assert made.answers.rows["rows_in"] == 8
        assert not seen & {row["prompt"] for row in rows}
        seen |= {row["prompt"] for row in rows}


def test_the_command_takes_both_methods_with_their_own_options(pipeline):
    options = ["--sft-model", pipeline.sft_model, "--runs", pipeline.runs,
               "--rounds", "1", "--prompts", "6"]  # fmt: skip
    for method, own in (
        ("self-rewarding", ["--ask", "Be kind.", "--feedback", pipeline.feedback]),
        ("irft", ["--dialogues", pipeline.dialogues]),
    ):
        done = CliRunner().invoke(app, ["online", "--method", method, *own, *options])
        assert done.exit_code == 0, done.output
        made = json.loads(
            (pipeline.folder / f"11_online/{method}/round_1/training/manifest.json").read_text()
        )
        assert made["recipe"].get("ask") == ("Be kind." if "--ask" in own else None)
    assert ASK != "Be kind."
