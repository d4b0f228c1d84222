"""Rounds of sampling and training: prompts of their own, the objectives' values, resumed to the
same weights.
"""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from round_fixtures import record, run_of, start_directory
from safetensors.torch import load_file
from tiny import tiny_model
from typer.testing import CliRunner

from zephyr_utils import chat
from zephyr_utils.cli import app
from zephyr_utils.data.records import load_records, save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.online import round_training
from zephyr_utils.online.pairs import SamplingSettings
from zephyr_utils.online.round_training import OnlineObjective, round_pairs
from zephyr_utils.online.rounds import (
    METHODS,
    OnlineSettings,
    round_recipe,
    run_rounds,
    split_prompts,
)
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.recipes import recipe_path
from zephyr_utils.scales import get_scale

train_round = partial(round_training.train_round, max_new_tokens=96)
RECIPE = get_scale("miniature").recipe("ddpo", per_device_train_batch_size=4, learning_rate=5e-3)
RATED = [record(f"question {n}", 3, 5, 1, 3) for n in range(10)]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return start_directory(tmp_path_factory.mktemp("start"))


@pytest.fixture
def feedback(tmp_path):
    return save_records(RATED, tmp_path / "feedback.jsonl")


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


# --- prompts --------------------------------------------------------------------------------------


def test_rounds_share_no_prompt_and_every_prompt_is_accounted_for():
    prompts = [f"How old is number {n % 20}, and why is that so?" for n in range(25)]
    shares = split_prompts(prompts, 3, seed=0, asked=[prompts[4]])
    given = [prompt for share in shares.rounds for prompt in share]
    assert len(given) == len(set(given)) == 19
    assert sorted(map(len, shares.rounds)) == [6, 6, 7]
    assert shares.set_aside == {"repeated_prompt": 5, "leaked_question": 1}
    assert split_prompts(prompts, 3, seed=0, asked=[prompts[4]]) == shares
    assert split_prompts(prompts, 3, seed=1).rounds != shares.rounds


def test_fewer_prompts_than_rounds_are_refused():
    with pytest.raises(HandbookError, match="2 prompts are too few for 3 rounds"):
        split_prompts(["one", "two", "two"], 3, seed=0)
    with pytest.raises(HandbookError, match="20 prompts are too few for 3 rounds of 7"):
        split_prompts([f"What is {n} plus {n}?" for n in range(20)], 3, seed=0, each=7)
    for name in ("rounds", "prompts"):
        with pytest.raises(HandbookError, match=f"0 {name}"):
            OnlineSettings(**{name: 0})


def test_a_round_takes_as_many_prompts_as_it_is_given_and_the_others_are_counted():
    prompts = [f"What is {n} plus {n}?" for n in range(20)]
    shares = split_prompts(prompts, 3, seed=0, each=4)
    assert [len(share) for share in shares.rounds] == [4, 4, 4]
    assert len({prompt for share in shares.rounds for prompt in share}) == 12
    assert shares.set_aside == {"not_asked_for": 8}


# --- pairs ----------------------------------------------------------------------------------------


def test_the_best_answer_is_set_against_the_worst_with_win_rates_over_all():
    rows, counts = round_pairs([RATED[0], record("tied", 3, 3), record("shy", None, 4)], 1.0)
    assert counts["set_aside"] == {"all_tied": 1, "fewer_than_two_scores": 1}
    [row] = rows
    assert (row["chosen"], row["rejected"]) == ("answer 2 to question 0", "answer 3 to question 0")
    assert row["sampled"] == "answer 1 to question 0"

    def wins(difference):
        return 1 / (1 + math.exp(-difference))

    # against 3, itself, 1 and 3 again
    assert row["win_rate_chosen"] == pytest.approx((wins(2) + 0.5 + wins(4) + wins(2)) / 4)
    assert row["win_rate_rejected"] == pytest.approx((wins(-2) + wins(-4) + 0.5 + wins(-2)) / 4)


def test_an_unrated_answer_takes_no_part_in_the_win_rates():
    [row] = round_pairs([record("q", None, 5, 1)], 1.0)[0]
    assert row["win_rate_chosen"] + row["win_rate_rejected"] == pytest.approx(1)


def test_a_round_whose_answers_are_all_judged_alike_is_refused_by_name():
    with pytest.raises(HandbookError, match="2 x all_tied"):
        round_pairs([record("a", 3, 3), record("b", 1, 1, 1)], 1.0)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_first_loss_is_the_objectives_at_its_reference_and_training_lowers_it(
    start, feedback, tmp_path, method
):
    recipe = RECIPE | {"num_train_epochs": 5}
    objective = OnlineObjective(method, eta=40.0, win_temperature=1.0)
    results = train_round(tmp_path / "round", start, feedback, objective, recipe)
    row = round_pairs(RATED[:1], 1.0)[0][0]
    halves = [(row[f"win_rate_{side}"] - 0.5) ** 2 for side in ("chosen", "rejected")]
    expected = 40**2 / 2 * sum(halves) if method == "sppo" else math.log(2)
    assert results["first_loss"] == pytest.approx(expected, rel=1e-3)
    assert results["last_loss"] < 0.9 * results["first_loss"]
    assert results["rows_in"] == results["rows_out"] == len(RATED)
    assert results["updates"] == 5 * 3
    log = json.loads((tmp_path / "round" / "log.json").read_text())
    assert log[-1]["logratio_chosen"] > log[-1]["logratio_rejected"]
    assert results["kl"] > 0
    model, _ = chat.load_model(tmp_path / "round" / "model")  # merged, whole, loads by itself
    before = tiny_model().state_dict()
    assert any((weight != before[name]).any() for name, weight in model.state_dict().items())


def test_selm_with_alpha_0_trains_the_same_weights_as_dpo_and_otherwise_others(
    start, feedback, tmp_path
):
    trained = {}
    for name, objective in {
        "dpo": OnlineObjective("dpo"),
        "selm 0": OnlineObjective("selm", alpha=0.0),
        "selm": OnlineObjective("selm", alpha=1.0),
    }.items():
        train_round(tmp_path / name, start, feedback, objective, RECIPE)
        trained[name] = weights(tmp_path / name)
    for key, weight in trained["dpo"].items():
        assert torch.allclose(weight, trained["selm 0"][key], atol=1e-5), key
    assert any(
        not torch.allclose(weight, trained["selm"][key], atol=1e-4)
        for key, weight in trained["dpo"].items()
    )


def test_the_divergence_is_measured_on_answers_as_long_as_the_rounds(start, feedback, tmp_path):
    tokenizer = chat.load_tokenizer(start)
    answers = [[{"role": "user", "content": RATED[0]["instruction"]},
                {"role": "assistant", "content": one["response"]}]
               for one in RATED[0]["completions"]]  # fmt: skip
    context = max(len(chat.encode(tokenizer, messages)[0]) for messages in answers)
    tiny_model(max_position_embeddings=context).save_pretrained(tmp_path / "short")
    tokenizer.save_pretrained(tmp_path / "short")
    arguments = (tmp_path / "short", feedback, OnlineObjective(), RECIPE)
    assert math.isfinite(train_round(tmp_path / "round", *arguments, max_new_tokens=4)["kl"])
    with pytest.raises(HandbookError, match="96 new ones exceed"):
        train_round(tmp_path / "too_long", *arguments)


def test_all_weights_can_be_trained_instead_of_an_adapter(start, feedback, tmp_path):
    recipe = RECIPE | {"use_peft": False, "learning_rate": 1e-3}
    results = train_round(tmp_path / "round", start, feedback, OnlineObjective(), recipe)
    assert results["first_loss"] == pytest.approx(math.log(2), abs=1e-4) and results["kl"] > 0


def test_a_loss_that_is_nan_is_refused_with_its_step(start, feedback, tmp_path, monkeypatch):
    true, calls = round_training.dpo_loss, []

    def breaks(*arguments):
        calls.append(1)
        return true(*arguments) * (math.nan if len(calls) == 2 else 1)

    monkeypatch.setattr(round_training, "dpo_loss", breaks)
    with pytest.raises(HandbookError, match="NaN or infinite after 1 steps"):
        train_round(tmp_path / "round", start, feedback, OnlineObjective(), RECIPE)


def test_a_policy_that_does_not_begin_as_its_reference_is_refused(
    start, feedback, tmp_path, monkeypatch
):
    true = round_training.row_log_probs
    monkeypatch.setattr(round_training, "row_log_probs", lambda *given: true(*given) - 1)
    with pytest.raises(HandbookError, match="does not begin as its reference"):
        train_round(tmp_path / "round", start, feedback, OnlineObjective(), RECIPE)


@pytest.mark.parametrize(("method", "remedy"), [("dpo", "raise beta"), ("sppo", "lower eta")])
def test_a_model_far_from_its_reference_is_reported_with_what_its_method_can_do(
    start, feedback, tmp_path, monkeypatch, capsys, method, remedy
):
    monkeypatch.setattr(round_training, "FAR", 0.0)
    train_round(tmp_path / "round", start, feedback, OnlineObjective(method), RECIPE)
    told = capsys.readouterr().err
    assert "nats per token from its reference" in told and f"or {remedy}." in told


# --- the loop -------------------------------------------------------------------------------------


@pytest.fixture
def pipeline(start, tmp_path, monkeypatch):
    return run_of(start, tmp_path, monkeypatch)


SETTINGS = OnlineSettings(rounds=2, sampling=SamplingSettings(samples=3))


def test_each_round_answers_with_the_last_rounds_model_and_is_reused(pipeline):
    first, second = run_rounds(pipeline, SETTINGS)
    assert second.answers.inputs["model"] == first.training.key
    assert second.training.inputs["start"] == first.training.key
    records = [
        load_records(made.answers.folder / "feedback.jsonl", "feedback").records
        for made in (first, second)
    ]
    asked = [{row["instruction"] for row in rows} for rows in records]
    assert all(asked) and not asked[0] & asked[1]
    for made in (first, second):
        rows = made.answers.rows
        assert rows["rows_in"] == rows["rows_out"] + rows["rows_set_aside"]
        assert made.training.rows["rows_in"] == rows["rows_out"]
    again = list(run_rounds(pipeline, SETTINGS))
    assert all(
        artefact.reused for made in again for artefact in (made.answers, made.training, made.exam)
    )


def test_methods_train_on_the_same_first_answers_and_then_on_their_own(pipeline):
    settings = replace(SETTINGS, prompts=8)
    dpo = list(run_rounds(pipeline, settings))
    sppo = list(run_rounds(pipeline, replace(settings, objective=OnlineObjective("sppo"))))
    assert dpo[0].answers.rows["rows_in"] == 8
    assert sppo[0].answers.reused and sppo[0].answers.key == dpo[0].answers.key
    assert sppo[0].training.key != dpo[0].training.key
    assert sppo[1].answers.key != dpo[1].answers.key


def test_rounds_have_a_rate_of_their_own_unless_one_is_given(pipeline, tmp_path):
    plain = Pipeline(runs=str(tmp_path))
    of_rounds = round_recipe(plain)
    assert of_rounds["learning_rate"] > 2 * plain.recipe("ddpo")["learning_rate"]
    changed = {name for name in of_rounds if of_rounds[name] != plain.recipe("ddpo")[name]}
    assert changed == {"learning_rate", "per_device_train_batch_size"}
    assert round_recipe(pipeline)["learning_rate"] == 1e-3
    own = recipe_path("miniature", "ddpo")
    given = Pipeline(runs=str(tmp_path), recipes={"ddpo": str(own)})
    assert round_recipe(given) == given.recipe("ddpo")


def test_a_round_that_was_killed_in_training_ends_with_the_same_weights(
    pipeline, tmp_path, monkeypatch
):
    one = replace(SETTINGS, rounds=1)
    [made] = run_rounds(pipeline, one)
    expected = weights(made.training.folder)

    other, calls = replace(pipeline, runs=str(tmp_path / "killed")), []
    optimiser_step = torch.optim.AdamW.step

    def dies(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return optimiser_step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        list(run_rounds(other, one))
    monkeypatch.setattr(torch.optim.AdamW, "step", optimiser_step)
    [resumed] = run_rounds(other, one)
    assert resumed.answers.reused and resumed.training.resumed
    ended = weights(resumed.training.folder)
    assert all(torch.equal(weight, ended[name]) for name, weight in expected.items())


# --- the command ----------------------------------------------------------------------------------


def test_the_command_says_what_each_round_left(pipeline):
    options = ["--sft-model", pipeline.sft_model, "--feedback", pipeline.feedback,
               "--runs", pipeline.runs, "--rounds", "1", "--samples", "3"]  # fmt: skip
    done = CliRunner().invoke(app, ["online", "--method", "sppo", "--eta", "5", *options])
    assert done.exit_code == 0, done.output
    for word in ("Round 1 of 1, sppo", "answers: ", "first loss: ", "kl: ", "score: ", "right: "):
        assert word in done.output
    made = json.loads(
        (pipeline.folder / "11_online/sppo/round_1/training/manifest.json").read_text()
    )
    assert made["recipe"]["eta"] == 5 and "alpha" not in made["recipe"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "dpo", "--eta", "5"], "dpo has no eta"),
        (["--method", "sppo", "--alpha", "1"], "sppo has no alpha"),
        (["--rounds", "0"], "0 rounds"),
        (["--prompts", "0"], "0 prompts"),
        (["--samples", "1"], "no pair can be made"),
        (["--samples", "1", "--method", "self-rewarding"], "no pair can be made"),
        (["--samples", "0", "--method", "irft"], "no pair can be made"),
        (["--method", "irft", "--ask", "Be kind."], "irft has no ask"),
        (["--temperature", "-1"], "temperature is -1"),
        (["--scale", "smol"], "has no judge"),
    ],
)
def test_what_the_command_cannot_do_is_refused_before_anything_is_made(pipeline, options, words):
    given = ["--sft-model", pipeline.sft_model]
    if "irft" not in options:
        given += ["--feedback", pipeline.feedback]
    done = CliRunner().invoke(app, ["online", *given, "--runs", pipeline.runs, *options])
    assert words in str(done.exception)
    assert not pipeline.folder.exists()
