"""What a feedback run will cost: the estimate counts the very calls, prices come from a table."""

import pytest
import yaml
from feedback_server import chat_server, completion
from feedback_world import WORLD_PROMPTS

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import Endpoint, Prices, Usage, collect_answers, estimate, rate_answers
from zephyr_utils.miniature.data import MODELS


def test_the_estimate_counts_the_very_calls_that_are_made_and_sends_none(world, tmp_path):
    models = list(MODELS)
    plan = estimate(
        WORLD_PROMPTS, models, "stand-in-teacher", endpoint=world, journal=tmp_path / "none.jsonl"
    )
    assert plan.calls == len(WORLD_PROMPTS) * (4 + 4 + 4) and not (tmp_path / "none.jsonl").exists()
    journal = tmp_path / "j.jsonl"
    answers = collect_answers(WORLD_PROMPTS, models, endpoint=world, journal=journal)
    plan = estimate(WORLD_PROMPTS, models, "stand-in-teacher", endpoint=world, journal=journal)
    rated = rate_answers(answers, "stand-in-teacher", endpoint=world, journal=journal)
    assert plan.calls == rated.calls.made and plan.from_journal == answers.calls.made
    usage = rated.calls.usage["stand-in-teacher"]
    most = sum((most for _, most in plan.rows.values()), Usage())
    assert usage.completion_tokens < most.completion_tokens
    assert abs(sum(e.prompt_tokens for e, _ in plan.rows.values()) / usage.prompt_tokens - 1) < 0.25
    assert (
        estimate(WORLD_PROMPTS, models, "stand-in-teacher", endpoint=world, journal=journal).calls
        == 0
    )


def test_a_first_small_run_makes_the_estimate_of_the_whole_a_good_one(world, tmp_path):
    journal, judge = tmp_path / "j.jsonl", "stand-in-teacher"
    small = collect_answers(
        WORLD_PROMPTS[:10], ["mini-large", "mini-tiny"], endpoint=world, journal=journal
    )
    rate_answers(small, judge, endpoint=world, journal=journal)
    plan = estimate(
        WORLD_PROMPTS, ["mini-large", "mini-tiny"], judge, endpoint=world, journal=journal
    )
    prices = Prices(dict.fromkeys(["mini-large", "mini-tiny", judge], (2.0, 8.0)))
    expected, most = plan.cost(prices)
    whole = collect_answers(
        WORLD_PROMPTS, ["mini-large", "mini-tiny"], endpoint=world, journal=journal
    )
    rated = rate_answers(whole, judge, endpoint=world, journal=journal)
    paid = sum(prices.cost(m, u) for part in (whole, rated) for m, u in part.calls.usage.items())
    assert abs(expected / paid - 1) < 0.15 and paid < most
    assert "measured so far" in str(plan)


def test_costs_come_from_reported_tokens_and_the_users_table(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(
        yaml.safe_dump(
            {"currency": "EUR", "per": 1000, "models": {"m": {"prompt": 2, "completion": 10}}}
        )
    )
    prices = Prices.load(path)
    assert prices.cost("m", Usage(1, 500, 200)) == pytest.approx(1.0 + 2.0)
    assert prices.cost("unknown", Usage(1, 500, 200)) is None
    with chat_server(lambda body, n: completion("Hello.")) as chat:
        got = collect_answers(["a", "b"], ["m", "other"], endpoint=Endpoint(chat.url))
    assert "0.1000 EUR" in got.report(prices) and "no price given" in got.report(
        prices
    )  # 2 x (10 x 2 + 3 x 10) / 1000
    plan = estimate(["a"], ["other"])
    with pytest.raises(HandbookError, match="no price for 'other'"):
        plan.cost(prices)


@pytest.mark.parametrize(
    "text",
    ["", "models: 3", "models: {m: 3}", "models: {m: {prompt: 1}}", "models: {m: {prompt: -1, "
                                                                    "completion: 1}}",
     "models: {m: {prompt: 1, completion: "
     "cheap}}", "{", "models: {m: {prompt: 1, completion: 1}}\nper: 0"],
)  # fmt: skip
def test_what_is_not_a_price_table_is_said_with_the_form_it_should_have(text, tmp_path):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(HandbookError, match="not a price table") as caught:
        Prices.load(tmp_path / "p.yaml")
    assert "completion" in caught.value.remedy
