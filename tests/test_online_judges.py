"""Judges in place of a scale's: a reward model, and a model behind an endpoint."""

import copy
import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from feedback_server import chat_server
from round_fixtures import record, refused, run_of, start_directory
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import Endpoint
from zephyr_utils.online import rounds
from zephyr_utils.online.judges import EndpointJudge, RewardModelJudge
from zephyr_utils.online.pairs import SamplingSettings
from zephyr_utils.online.round_training import OnlineObjective, round_pairs
from zephyr_utils.online.rounds import OnlineSettings, run_rounds
from zephyr_utils.rewards import load_reward_model, score_answers

SILENT = "question 1"
UNRATED = [record(f"question {n}", None, None, None) for n in range(3)]
ONE_ROUND = OnlineSettings(rounds=1, sampling=SamplingSettings(samples=3), prompts=6)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return start_directory(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def reward_model(start, tmp_path_factory):
    """A reward model whose head was drawn and not trained."""
    folder = tmp_path_factory.mktemp("reward")
    model, tokenizer = load_reward_model(start, new_head=True)
    with torch.no_grad():
        model.score.weight.normal_(generator=torch.Generator().manual_seed(0))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ratings(records):
    return [
        [float(one["annotations"]["helpfulness"]["Rating"]) for one in row["completions"]]
        for row in records
    ]


def test_a_reward_model_ranks_the_answers_to_a_prompt_as_its_rewards_do(reward_model):
    model, tokenizer = load_reward_model(reward_model)
    rated = RewardModelJudge(reward_model, "k")(UNRATED)
    for row, given in zip(rated, ratings(rated), strict=True):
        rewards = score_answers(
            model,
            tokenizer,
            [
                [{"role": "user", "content": row["instruction"]},
                 {"role": "assistant", "content": one["response"]}]
                for one in row["completions"]
            ],
        )  # fmt: skip
        assert len(set(given)) == 3
        assert sorted(range(3), key=given.__getitem__) == rewards.argsort().tolist()
        assert all(1 < one < 5 for one in given)
    rows, _ = round_pairs(rated, 1.0)
    assert len(rows) == 3


def test_what_is_equal_in_all_answers_to_a_prompt_changes_no_rating(reward_model, monkeypatch):
    from zephyr_utils.online import judges

    plain = ratings(RewardModelJudge(reward_model, "k")(UNRATED))
    true = judges.score_answers
    monkeypatch.setattr(judges, "score_answers", lambda *given: true(*given) + 40.0)
    raised = ratings(RewardModelJudge(reward_model, "k")(UNRATED))
    for before, after in zip(plain, raised, strict=True):
        assert after == pytest.approx(before, abs=1e-2)


def test_a_reward_that_is_nan_stops_the_round_and_is_not_a_low_rating(reward_model, tmp_path):
    model, tokenizer = load_reward_model(reward_model)
    with torch.no_grad():
        model.score.weight.fill_(math.nan)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(HandbookError, match="9 of 9 rewards are NaN or infinite"):
        RewardModelJudge(tmp_path, "k")(UNRATED)


def test_an_answer_beyond_the_reward_models_context_stays_without_a_rating(reward_model, capfd):
    judge = RewardModelJudge(reward_model, "k")
    whole, cut = copy.deepcopy(UNRATED[:2])
    cut["completions"][1]["response"] = "far too long " * 1024
    rated = judge([whole, cut])
    assert ratings(rated[:1])[0] == pytest.approx(ratings(judge([whole]))[0], abs=1e-2)
    first, second, third = (one["annotations"] for one in rated[1]["completions"])
    assert first and third and not second
    below, above = sorted(float(one["helpfulness"]["Rating"]) for one in (first, third))
    assert below + above == pytest.approx(6.0), "as far from the mean of the answers that are rated"
    assert "1 of 6 answers are beyond the reward model's context of 1,024" in capfd.readouterr().err


def by_number(body, before):
    """Rates each answer by the number in it, and says nothing about `SILENT`."""
    shown = body["messages"][1]["content"]
    if SILENT in shown:
        return (400, '{"error": {"message": "no"}}')
    lines = [line for line in shown.splitlines() if line.startswith("answer ")]
    return "\n".join(
        f"Answer {n}\nRating: {line.split()[1]}\nRationale: r"
        for n, line in enumerate(lines, start=1)
    )


def test_an_endpoint_rates_the_answers_and_what_fails_is_said_and_makes_no_pair(tmp_path, capfd):
    answered = [record(f"another {n}", None, None, None) for n in range(9)]
    failing = record(SILENT, None, None, None)
    with chat_server(by_number) as chat:
        judge = EndpointJudge("j", Endpoint(chat.url), tmp_path / "new" / "journal.jsonl")
        rated = judge([*answered, failing])
        asked = chat.asked.total()
        rows, counts = round_pairs(rated, 1.0)
        assert [row["score_chosen"] for row in rows] == [3.0] * 9
        assert [row["chosen"] for row in rows] == [f"answer 3 to another {n}" for n in range(9)]
        assert counts["set_aside"] == {"fewer_than_two_scores": 1}
        said = capfd.readouterr().err
        assert "12 left out: ratings whose call failed" in said
        assert "40 calls = 0 from the journal + 36 made + 4 failed" in said
        judge(answered)
        assert chat.asked.total() == asked  # paid once
    assert "password" not in repr(EndpointJudge("j", Endpoint("http://u:password@localhost/v1")))


@pytest.mark.parametrize(
    "reply", [(400, '{"error": {"message": "no"}}'), "I would rather not say."]
)
def test_too_many_missing_ratings_stop_the_round_and_the_next_start_asks_for_these_alone(
    reply, tmp_path, capfd
):
    healthy = False
    records = [record(f"another {n}", None, None, None) for n in range(3)]

    def act(body, before):
        shown = body["messages"][1]["content"]
        return by_number(body, before) if healthy or "another 2" not in shown else reply

    with chat_server(act) as chat:
        judge = EndpointJudge("j", Endpoint(chat.url), tmp_path / "journal.jsonl")
        with pytest.raises(HandbookError, match="12 of 36 ratings are missing") as caught:
            judge(records)
        assert "start the same command again" in caught.value.remedy
        assert "--retry-unreadable" not in capfd.readouterr().err, "the command has no such option"
        asked, healthy = chat.asked.total(), True
        rated = judge(records)
        assert chat.asked.total() == asked + 4
    assert all(len(one["annotations"]) == 4 for row in rated for one in row["completions"])


@pytest.fixture
def pipeline(start, tmp_path, monkeypatch):
    return run_of(start, tmp_path, monkeypatch)


def test_rounds_take_a_given_judge_and_are_reused_with_it(pipeline, reward_model, monkeypatch):
    def no_judge(pipeline):
        raise AssertionError("the scale's judge is not asked")

    monkeypatch.setattr(rounds, "scale_judge", no_judge)
    judge = RewardModelJudge(reward_model, "k")
    made = next(run_rounds(pipeline, ONE_ROUND, judge))
    assert "RewardModelJudge(key='k')" in json.dumps(made.answers.recipe)
    again = next(run_rounds(pipeline, ONE_ROUND, judge))
    assert again.answers.reused and again.training.reused


def test_a_method_without_a_judge_refuses_one(pipeline):
    settings = OnlineSettings(OnlineObjective("self-rewarding"), rounds=1)
    with pytest.raises(HandbookError, match="self-rewarding uses no judge"):
        next(run_rounds(pipeline, settings, lambda records: records))


def test_a_scale_without_a_judge_is_told_of_those_that_can_be_named(pipeline):
    other = replace(pipeline, scale="zephyr-7b-lora")
    with pytest.raises(HandbookError, match="has no judge of its own, and none is named") as caught:
        next(run_rounds(other, ONE_ROUND))
    assert "--reward-model" in caught.value.remedy and "--feedback" not in caught.value.remedy


def test_the_command_hands_the_judge_that_was_named_to_the_rounds(
    pipeline, reward_model, monkeypatch
):
    given = []
    monkeypatch.setattr(rounds, "run_rounds", lambda run, wanted, judge: given.append(judge) or [])
    options = ["--sft-model", pipeline.sft_model, "--feedback", pipeline.feedback,
               "--runs", pipeline.runs]  # fmt: skip
    endpoint = ["--judge", "j", "--base-url", "http://localhost:1/v1"]
    for more in ([], ["--reward-model", str(reward_model)], endpoint):
        done = CliRunner().invoke(app, ["online", *options, *more])
        assert done.exit_code == 0, done.output
    none, by_model, by_endpoint = given
    assert none is None
    assert by_model.directory == reward_model and len(by_model.key) == 64
    assert (by_endpoint.judge, by_endpoint.endpoint.url) == ("j", "http://localhost:1/v1")
    assert by_endpoint.journal.parent.parent == pipeline.folder


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--reward-model", "here", "--judge", "j"], "two judges are named"),
        (["--base-url", "http://localhost:1/v1"], "no model at an endpoint is named"),
        (["--api-key-env", "A_KEY"], "no model at an endpoint is named"),
        (["--judge", "j", "--api-key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (["--judge", "j", "--base-url", "localhost"], "not the address of a server"),
        (["--judge", "j", "--method", "irft"], "irft uses no judge"),
        (["--judge", "j", "--method", "self-rewarding"], "self-rewarding uses no judge"),
        (["--reward-model", ".", "--method", "irft"], "irft uses no judge"),
        (["--reward-model", "nowhere"], "--reward-model nowhere: there is no such directory"),
        (["--reward-model", __file__], "there is no such directory"),
        (["--reward-model", str(Path(__file__).parent)], "it has no config.json"),
    ],
)
def test_judges_that_cannot_be_asked_are_refused_before_anything_is_sampled(
    pipeline, options, words, monkeypatch
):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert words in refused(pipeline, *options)


def test_a_model_without_a_reward_head_is_refused_before_anything_is_sampled(pipeline):
    message = refused(pipeline, "--reward-model", pipeline.sft_model)
    assert "this model has no reward head" in message


def test_without_the_client_a_judge_is_refused_before_its_key_is_asked_for(pipeline, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "openai" else found(name, *a)
    )
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "openai, is not installed" in refused(pipeline, "--judge", "j")
