"""Servers and judges that misbehave, keys that are wrong: what came is kept, every fault is
counted.
"""

import logging
import time

import pytest
from feedback_server import (
    PROMPTS,
    SHORT_WAITS,
    balance,
    by_turns,
    chat_server,
    collect,
    completion,
)

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import (
    Endpoint,
    RetryPolicy,
    RunStopped,
    collect_answers,
    rate_answers,
)

TRANSIENT = {
    "rate_limited": (429, {"error": {"message": "slow down"}}),
    "status_500": (500, {"error": {"message": "oops"}}),
    "status_503": (503, "down for a moment"),
    "cut_connection": "<cut>",
    "error_in_reply": {"error": {"message": "upstream is busy", "code": 502}},
    "unreadable_reply": (200, "<html>Welcome to our proxy"),
}


@pytest.mark.parametrize("reason", TRANSIENT)
def test_a_passing_fault_is_tried_again_and_each_call_is_paid_for_once(reason, tmp_path):
    with chat_server(by_turns(TRANSIENT[reason], "Hello.")) as chat:
        got = collect(chat, journal=tmp_path / "j.jsonl")
    report = balance(got.calls)
    assert (report.made, sum(report.failed.values())) == (6, 0)
    assert sum(report.retries.values()) == 6
    assert set(report.retries) == {reason}
    assert set(chat.paid.values()) == {1} and len(chat.paid) == 6
    assert len((tmp_path / "j.jsonl").read_text().splitlines()) == 6
    assert [r["completions"][0]["response"] for r in got.records] == ["Hello."] * 6


@pytest.mark.parametrize("reason", [*TRANSIENT, "status_400", "timed_out"])
def test_a_fault_that_stays_is_counted_and_the_next_run_makes_those_calls_alone(reason, tmp_path):
    fault = {
        "status_400": (400, {"error": {"message": "too long"}}),
        "timed_out": "<hang>",
    } | TRANSIENT

    def stays(body, n):
        return fault[reason] if "Question 3" in str(body["messages"]) else "Hello."

    retry_policy = RetryPolicy(
        **SHORT_WAITS | {"timeout": 0.3 if reason == "timed_out" else 5.0, "retries": 1}
    )
    with chat_server(stays) as chat:
        got = collect(chat, journal=tmp_path / "j.jsonl", retry_policy=retry_policy)
    report = balance(got.calls)
    assert (report.made, sum(report.failed.values())) == (5, 1)
    assert [row.reason for row in got.set_aside] == ["no_answers"]
    assert len(got.records) + len(got.set_aside) == len(PROMPTS)
    assert got.left_out == {"answers: the call failed": 1}
    assert chat.asked[next(k for k in chat.asked if "Question 3" in k)] == (
        1 if reason == "status_400" else 2
    )
    assert "1 failed: " in got.report()


def test_the_run_after_a_failure_pays_only_for_what_failed(tmp_path):
    broken = {"on": True}

    def behave(body, n):
        return (500, "no") if broken["on"] and "3" in str(body["messages"]) else "Hello."

    with chat_server(behave) as chat:
        collect(chat, journal=tmp_path / "j.jsonl")
        broken["on"] = False
        again = collect(chat, journal=tmp_path / "j.jsonl")
    assert (again.calls.from_journal, again.calls.made) == (5, 1)
    assert len(again.records) == 6 and set(chat.paid.values()) == {1}


def test_a_hanging_server_is_given_up_after_the_time_out(tmp_path):
    started = time.monotonic()
    with chat_server(by_turns("<hang>", "Hello.")) as chat:
        got = collect(chat, retry_policy=RetryPolicy(timeout=0.3, retries=2, first_wait=0.01))
    assert got.calls.retries == {"timed_out": 6} and got.calls.made == 6
    assert time.monotonic() - started < 5


def test_a_server_that_is_not_there_is_said_soon_and_once():
    with chat_server() as chat:
        pass
    started = time.monotonic()
    with pytest.raises(RunStopped, match="nobody answers") as caught:
        collect(chat, prompts=[f"Q{n}?" for n in range(500)])
    assert time.monotonic() - started < 5
    report = balance(caught.value.report)
    assert report.made == 0 and report.not_made > 400
    assert "start the server" in caught.value.remedy


def test_a_server_that_dies_on_the_way_stops_the_run_and_keeps_what_came(tmp_path):
    def alive(body, n):
        return (503, "gone") if int(body["messages"][0]["content"][1:-1]) >= 10 else "Hello."

    retry_policy = RetryPolicy(timeout=5, retries=1, first_wait=0.01, give_up_after=8)
    prompts = [f"Q{n}?" for n in range(100)]
    with (
        chat_server(alive) as chat,
        pytest.raises(RunStopped, match="calls in a row brought no answer") as caught,
    ):
        collect(
            chat,
            prompts=prompts,
            journal=tmp_path / "j.jsonl",
            retry_policy=retry_policy,
            concurrency=4,
        )
    report = balance(caught.value.report)
    assert report.planned == 100 and report.made == 10 and report.not_made > 70
    assert len((tmp_path / "j.jsonl").read_text().splitlines()) == 10
    assert "10 of 100 calls are in the journal" in str(caught.value)


def test_429_holds_all_back_as_long_as_the_server_asks():
    asked = []

    def behave(body, before):
        asked.append(time.monotonic())
        return (
            (429, {"error": {"message": "wait"}}, {"retry-after": "0.4"})
            if len(asked) == 1
            else "Hello."
        )

    with chat_server(behave) as chat:
        got = collect(chat, concurrency=1)
    assert asked[1] - asked[0] >= 0.4
    assert got.calls.retries == {"rate_limited": 1} and got.calls.made == 6


def test_credit_that_is_used_up_stops_the_run_though_its_status_is_429():
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
    with (
        chat_server(by_turns((429, body))) as chat,
        pytest.raises(RunStopped, match="credit is used up"),
    ):
        collect(chat)
    assert max(chat.asked.values()) == 1


SECRET = "sk-secret-0123456789abcdef"


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_said_once_and_never_printed(status, monkeypatch, capfd, caplog, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    echo = (
        status,
        {"error": {"message": f"Incorrect API key provided: {SECRET}", "code": "invalid_api_key"}},
    )
    caplog.set_level(logging.DEBUG)
    with chat_server(by_turns(echo)) as chat, pytest.raises(RunStopped) as caught:
        collect(
            chat, prompts=[f"Q{n}?" for n in range(50)], concurrency=8, journal=tmp_path / "j.jsonl"
        )
    assert chat.keys.keys() == {f"bearer {SECRET}".lower()}  # it was sent, in its header alone
    assert len(chat.bodies) <= 8, "no worker goes on after the refusal"
    said = str(caught.value) + repr(caught.value.report) + "".join(capfd.readouterr()) + caplog.text
    said += (tmp_path / "j.jsonl").read_text()
    assert SECRET not in said and "OPENAI_API_KEY" in str(caught.value)
    assert str(caught.value).count("refuses the key") == 1
    balance(caught.value.report)


def test_an_error_text_that_repeats_the_key_is_printed_without_it(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    repeats = by_turns((404, {"error": {"message": f"no model m for {SECRET}"}}))
    with chat_server(repeats) as chat, pytest.raises(RunStopped, match=r"no model m for \[key\]"):
        collect(chat)


def test_no_key_for_an_endpoint_elsewhere_is_said_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(HandbookError, match="environment variable MY_KEY"):
        collect_answers(
            ["Hi"], ["m"], endpoint=Endpoint("https://example.invalid/v1", api_key_env="MY_KEY")
        )


def test_an_unknown_model_stops_the_run_at_once():
    unknown = by_turns((404, {"error": {"message": "no such model"}}))
    with chat_server(unknown) as chat, pytest.raises(RunStopped, match="no such model") as caught:
        collect(chat, concurrency=2)
    assert len(chat.bodies) <= 2 and "model 'm'" in str(caught.value)


def test_a_model_that_wants_the_limit_by_its_newer_name_gets_it():
    def behave(body, before):
        message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        return (
            "Hello." if "max_completion_tokens" in body else (400, {"error": {"message": message}})
        )

    with chat_server(behave) as chat:
        got = collect(chat)
    assert got.calls.made == 6 and not got.calls.failed
    assert chat.bodies[-1]["max_completion_tokens"] == 512 and "max_tokens" not in chat.bodies[-1]


def test_an_empty_answer_is_left_out_counted_and_asked_again_by_the_next_run_alone(tmp_path):
    silent = {"on": True}

    def behave(body, n):
        return " \n" if silent["on"] and "Question 2" in str(body["messages"]) else "Hello."

    with chat_server(behave) as chat:
        first = collect(chat, models=("a", "b"), journal=tmp_path / "j.jsonl")
        second = collect(chat, models=("a", "b"), journal=tmp_path / "j.jsonl")
        silent["on"] = False
        third = collect(chat, models=("a", "b"), journal=tmp_path / "j.jsonl")
        fourth = collect(chat, models=("a", "b"), journal=tmp_path / "j.jsonl")
    for got in (first, second):
        assert got.left_out == {"answers: the reply holds no text: empty": 2}
        assert [row.where for row in got.set_aside] == ["prompt 3"]
        assert balance(got.calls).without_answer == {"empty": 2} and not got.is_complete
        assert "2 replies hold no answer: empty (asked again by the next run)" in got.report()
    assert (first.calls.made, second.calls.made, third.calls.made, fourth.calls.made) == (
        12,
        2,
        2,
        0,
    )
    assert len(third) == 6 and third.is_complete and third.calls.made_again == 0
    assert third.records == fourth.records


def test_a_reply_cut_at_max_tokens_is_counted():
    with chat_server(lambda body, n: completion("Cut here", finish_reason="length")) as chat:
        got = collect(chat)
    assert got.calls.cut_off == 6 and "cut off at the token limit" in got.report()


def test_a_server_that_counts_no_tokens_is_said_to_count_none():
    with chat_server(lambda body, n: completion("Hello.") | {"usage": None}) as chat:
        got = collect(chat)
    assert got.calls.usage["m"].uncounted == 6 and "not counted by the server" in got.report()


def test_the_concurrency_is_never_exceeded_and_is_used():
    with chat_server(delay=0.02) as chat:
        collect(chat, prompts=[f"Q{n}?" for n in range(60)], concurrency=7)
    assert chat.most_at_once == 7


def test_one_in_ten_of_everything_at_once_loses_nothing(tmp_path):
    acts = ["<cut>", (429, "slow"), (500, "oops"), {"error": "busy"}, "<drop>"]

    def behave(body, before):
        number = int(body["messages"][0]["content"][1:-1])
        return acts[number // 10 % 5] if number % 10 == 0 and before < 2 else f"Answer {number}."

    prompts = [f"Q{n}?" for n in range(200)]
    with chat_server(behave) as chat:
        got = collect(chat, prompts=prompts, journal=tmp_path / "j.jsonl", concurrency=16)
    report = balance(got.calls)
    assert report.made == 200 and sum(report.retries.values()) == 40
    assert [r["completions"][0]["response"] for r in got.records] == [
        f"Answer {n}." for n in range(200)
    ]
    assert set(chat.paid.values()) == {1}


# --- judges that misbehave ------------------------------------------------------------------------

ROWS = [
    {"instruction": p, "completions": [{"model": m, "response": f"{p} {m}"} for m in "abcd"]}
    for p in PROMPTS
]
GOOD = "\n\n".join(f"Answer {n}\nRating: {n}\nRationale: it is so" for n in range(1, 5))
JUDGES = {
    "no_rating": "All four answers are lovely, and I would not like to choose.",
    "out_of_range": GOOD.replace("Rating: 2", "Rating: 9"),
    "answers_missing": GOOD.partition("Answer 4")[0],
    "answers_repeated": GOOD.replace("Answer 4", "Answer 3"),
    "answers_unknown": GOOD.replace("Answer 4", "Answer 5"),
    "several_ratings": GOOD.replace("Rating: 4", "Rating: 4\nRating: 1"),
    "no_whole_number": GOOD.replace("Rating: 2", "Rating: two"),
    "empty": "",
}


@pytest.mark.parametrize("reason", JUDGES)
def test_a_judge_that_does_not_keep_the_form_is_kept_as_it_spoke_and_counted(reason, tmp_path):
    def bad(body, n):
        return JUDGES[reason] if "Question 1" in str(body["messages"]) else GOOD

    with chat_server(bad) as chat:
        got = rate_answers(
            ROWS, "j", endpoint=Endpoint(chat.url), critiques=False, journal=tmp_path / "j.jsonl"
        )
        again = rate_answers(
            ROWS, "j", endpoint=Endpoint(chat.url), critiques=False, journal=tmp_path / "j.jsonl"
        )
    assert {u.reason for u in got.unreadable} == {reason} and len(got.unreadable) == 4
    assert got.unreadable[0].text == JUDGES[reason]
    assert got.n_replies == 24 and got.left_out == {"ratings that could not be read": 16}
    assert [bool(r["completions"][0]["annotations"]) for r in got.records] == [
        True,
        False,
        *[True] * 4,
    ]
    # An empty reply is asked for again, as after any other fault; all others are paid for.
    assert again.calls.made == (4 if reason == "empty" else 0)
    assert again.unreadable == got.unreadable
    assert chat.paid.total() == 24 + again.calls.made


def test_ratings_cut_off_by_the_limit_are_named_so():
    cut = completion(GOOD.partition("Answer 3")[0], finish_reason="length")
    with chat_server(lambda body, n: cut) as chat:
        got = rate_answers(ROWS, "j", endpoint=Endpoint(chat.url), critiques=False)
    assert {u.reason for u in got.unreadable} == {"cut_off"}
