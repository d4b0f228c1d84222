"""Judges in place of a scale's: a reward model, and a model behind an endpoint."""

import json
import math

import pytest
import torch
from feedback_server import chat_server
from round_fixtures import record, run_of, start_directory
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


def test_a_reward_that_is_nan_stops_the_round_and_is_no_low_rating(reward_model, tmp_path):
    model, tokenizer = load_reward_model(reward_model)
    with torch.no_grad():
        model.score.weight.fill_(math.nan)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(HandbookError, match="9 of 9 rewards are NaN or infinite"):
        RewardModelJudge(tmp_path, "k")(UNRATED)


def by_number(body, before):
    """Rates each answer by the number in it, and says nothing about question 1."""
    shown = body["messages"][1]["content"]
    if "question 1" in shown:
        return (400, '{"error": {"message": "no"}}')
    lines = [line for line in shown.splitlines() if line.startswith("answer ")]
    return "\n".join(
        f"Answer {n}\nRating: {line.split()[1]}\nRationale: r"
        for n, line in enumerate(lines, start=1)
    )


def test_an_endpoint_rates_the_answers_and_a_prompt_where_it_fails_makes_no_pair(tmp_path):
    with chat_server(by_number) as chat:
        judge = EndpointJudge("j", Endpoint(chat.url), tmp_path / "new" / "journal.jsonl")
        rated = judge(UNRATED)
        asked = chat.asked.total()
        rows, counts = round_pairs(rated, 1.0)
        assert [row["score_chosen"] for row in rows] == [3.0, 3.0]
        assert [row["chosen"] for row in rows] == [
            "answer 3 to question 0",
            "answer 3 to question 2",
        ]
        assert counts["set_aside"] == {"fewer_than_two_scores": 1}
        judge([UNRATED[0], UNRATED[2]])
        assert chat.asked.total() == asked  # paid once
    assert "password" not in repr(EndpointJudge("j", Endpoint("http://u:password@localhost/v1")))


@pytest.fixture
def pipeline(start, tmp_path, monkeypatch):
    return run_of(start, tmp_path, monkeypatch)


def test_rounds_take_a_given_judge_and_are_reused_with_it(pipeline, reward_model, monkeypatch):
    def no_judge(pipeline):
        raise AssertionError("the scale's judge is not asked")

    monkeypatch.setattr(rounds, "scale_rater", no_judge)
    judge = RewardModelJudge(reward_model, "k")
    made = next(run_rounds(pipeline, ONE_ROUND, judge))
    assert "RewardModelJudge(key='k')" in json.dumps(made.answers.recipe)
    again = next(run_rounds(pipeline, ONE_ROUND, judge))
    assert again.answers.reused and again.training.reused


def test_a_method_without_a_judge_refuses_one(pipeline):
    settings = OnlineSettings(OnlineObjective("self-rewarding"), rounds=1)
    with pytest.raises(HandbookError, match="self-rewarding asks no judge"):
        next(run_rounds(pipeline, settings, lambda records: records))


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
        (["--base-url", "http://localhost:1/v1"], "an endpoint without a judge"),
        (["--judge", "j", "--api-key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY"),
        (["--reward-model", "nowhere"], "there is no such file or folder"),
    ],
)
def test_judges_that_cannot_be_asked_are_refused_before_anything_is_sampled(
    pipeline, options, words, monkeypatch
):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    given = ["--sft-model", pipeline.sft_model, "--feedback", pipeline.feedback]
    done = CliRunner().invoke(app, ["online", *given, "--runs", pipeline.runs, *options])
    assert words in str(done.exception)
    assert not (pipeline.folder / "11_online").exists()
