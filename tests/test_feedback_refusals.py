"""What a server refuses, what it says then, and how long it asks to wait."""

import datetime
import time

import pytest
from feedback_server import balance, by_turns, chat_server, collect

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import Endpoint, RetryPolicy, RunStopped, Sampling, rate_answers
from zephyr_utils.feedback.faults import retry_after

REFUSED_PARAMETERS = {
    "OpenAI": {
        "message": "Unsupported value: 'temperature' does not support 0 with this model. Only the "
        "default (1) value is supported.",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "unsupported_value",
    },
    "by its words": {"message": "`temperature` is deprecated for this model."},
    "two at once": {"message": "`temperature` and `top_p` cannot both be specified."},
    "by a colon": {"message": "invalid temperature: only 1 is allowed for this model"},
    "at the end": {"message": "Argument not supported on this model: temperature"},
    "at the beginning": {"message": "temperature must be 1 for this model"},
    "by its param alone": {"message": "not allowed", "param": "seed"},
    "any unsupported one": {
        "message": "no",
        "param": "response_format",
        "code": "unsupported_parameter",
    },
}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("server", REFUSED_PARAMETERS)
def test_a_model_that_refuses_a_parameter_is_quoted_at_once_with_what_to_leave_out(server, status):
    error = REFUSED_PARAMETERS[server]
    with (
        chat_server(by_turns((status, {"error": error}))) as chat,
        pytest.raises(RunStopped) as caught,
    ):
        collect(chat, prompts=[f"Q{n}?" for n in range(50)], concurrency=3)
    assert error["message"] in str(caught.value) and "--judge-temperature none" in str(caught.value)
    assert len(chat.bodies) <= 3, "the first refusal ends it"
    balance(caught.value.report)


@pytest.mark.parametrize(
    "message",
    [
        "What is the temperature in Rome? violates the policy",
        "the request says: temperature is falling",
        "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context "
        "length is 4096 tokens and your request has 3900 input tokens",
    ],
)
def test_a_refusal_of_one_prompt_does_not_stop_the_others_and_is_quoted(message, capfd):
    def behave(body, before):
        refuses = "Question 2" in str(body["messages"])
        return (400, {"error": {"message": message}}) if refuses else "Hello."

    with chat_server(behave) as chat:
        report = balance(collect(chat).calls)
    assert report.made == 5 and report.failed == {"status_400": 1}
    assert message in report.text() and message in capfd.readouterr().err
    assert "max_completion_tokens" not in chat.bodies[-1]


def test_detail_of_a_validating_server_is_quoted():
    detail = [{"loc": ["body", "temperature"], "msg": "Input should be at least 1"}]
    with (
        chat_server(by_turns((422, {"detail": detail}))) as chat,
        pytest.raises(RunStopped, match="Input should be at least 1"),
    ):
        collect(chat, concurrency=1)


def test_what_is_left_out_is_not_sent_and_is_another_call():
    with chat_server() as chat:
        got = collect(chat, sampling=Sampling(temperature=None, max_tokens=None))
        assert got.calls.made == 6
        assert all(body.keys() == {"model", "messages"} for body in chat.bodies)
        row = {"instruction": "Q?", "completions": [{"model": m, "response": m} for m in "ab"]}
        rate_answers([row], "j", endpoint=Endpoint(chat.url), sampling=Sampling(None, 5))
    assert all(body["max_tokens"] == 5 and "temperature" not in body for body in chat.bodies[6:])


def test_a_model_that_wants_a_newer_limit_and_no_temperature_is_served_without_both():
    def behave(body, before):
        if "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return (400, {"error": {"message": message, "code": "unsupported_parameter"}})
        if "temperature" in body:
            message = "'temperature' does not support 0.7 with this model."
            return (400, {"error": {"message": message, "code": "unsupported_value"}})
        return "Hello."

    policy = RetryPolicy(timeout=5, retries=0)
    with chat_server(behave) as chat:
        with pytest.raises(RunStopped, match=r"does not support 0\.7"):
            collect(chat, retry_policy=policy)
        got = collect(chat, sampling=Sampling(temperature=None), retry_policy=policy)
    assert got.calls.made == 6 and not got.calls.failed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", -1.0),
        ("max_tokens", 0),
        ("max_tokens", -5),
        ("top_p", 0.0),
        ("top_p", 1.5),
    ],
)
def test_sampling_that_no_server_takes_is_refused(field, value):
    with pytest.raises(HandbookError, match=field):
        Sampling(**{field: value})


FATAL = {
    "402": ((402, {"error": {"message": "Insufficient Balance"}}), "Insufficient Balance"),
    "a code": ((400, {"error": {"message": "pay", "code": "billing_not_active"}}), "credit"),
    "403": ((403, {"error": {"message": "your country is not supported"}}), "your country is not"),
    "405": ((405, "<html>Not Allowed"), "base-url"),
    "410": ((410, {"error": {"message": "m was retired"}}), "m was retired"),
    "400, no model": ((400, {"error": {"message": "who?", "code": "model_not_found"}}), "who?"),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_every_call_would_meet_stops_the_run_at_the_first(name):
    act, words = FATAL[name]
    with chat_server(by_turns(act)) as chat, pytest.raises(RunStopped) as caught:
        collect(chat, concurrency=1)
    assert len(chat.bodies) == 1 and words in str(caught.value)


@pytest.mark.parametrize("status", [413, 415, 421, 431, 451, 501, 505])
def test_a_prompt_that_a_server_will_not_have_is_given_up_alone_and_at_once(status):
    def behave(body, before):
        refuses = "Question 2" in str(body["messages"])
        return (status, {"error": {"message": "no such thing"}}) if refuses else "Hello."

    with chat_server(behave) as chat:
        report = balance(collect(chat).calls)
    assert report.made == 5 and report.failed == {f"status_{status}": 1} and not report.retries


@pytest.mark.parametrize("status", [408, 425, 500, 502, 504, 520, 522, 524, 529])
def test_a_server_in_trouble_is_asked_again(status):
    with chat_server(by_turns((status, {"error": {"message": "overloaded"}}), "Hello.")) as chat:
        report = balance(collect(chat).calls)
    assert report.made == 6 and report.retries == {f"status_{status}": 6}


NOW = datetime.datetime(2026, 11, 28, 18, 0, 0, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "0.4"}, 0.4),
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "400"}, 0.4),
        ({"retry-after-ms": "nan", "retry-after": "7"}, 7),
        *[
            ({"retry-after": f"Sat, 28 Nov 2026 18:00:30 {z}"}, 30)
            for z in ("GMT", "+0000", "-0000")
        ],
        ({"retry-after": "Sat, 28 Nov 2026 20:00:30 +0200"}, 30),
        ({"retry-after": "Saturday, 28-Nov-26 18:00:30 GMT"}, 30),
        *[({"retry-after": v}, 0) for v in ("nan", "inf", "-inf", "1e999", "-5", "0", "", "soon")],
        ({"retry-after": "Sat, 28 Nov 2026 17:59:30 GMT"}, 0),
        ({"retry-after": "Wed, 99 Oct 2099 07:28:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, 0),
        ({}, 0),
    ],
)
def test_a_wait_is_read_in_seconds_or_from_a_date_and_nothing_else_is_one(
    headers, wait, monkeypatch
):
    monkeypatch.setattr(time, "time", lambda: NOW)
    assert retry_after(headers) == pytest.approx(wait)


def http_date(seconds):
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    "value",
    ["nan", "inf", "-7", "soon", http_date(-60), http_date(0)],
    ids=["nan", "inf", "-7", "soon", "a minute ago", "now"],  # each process has its own clock
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_is_none_leaves_the_runs_own(value, status):
    act = (status, {"error": {"message": "wait"}}, {"retry-after": value})
    with chat_server(by_turns(act, "Hello.")) as chat:
        report = balance(collect(chat).calls)
    assert report.made == 6 and report.retries.total() == 6


@pytest.mark.parametrize(
    "value", ["86400", "1e300", http_date(7200)], ids=["86400", "1e300", "in two hours"]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_of_hours_stops_the_run_and_is_said(value, status):
    act = (status, {"error": {"message": "wait"}}, {"retry-after": value})
    with chat_server(by_turns(act)) as chat, pytest.raises(RunStopped, match="minutes") as caught:
        collect(chat, concurrency=1)
    assert len(chat.bodies) == 1 and len(str(caught.value)) < 400


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_prompts_are_not_sent_on_to_an_address_that_nobody_named(status):
    with chat_server() as other:
        place = f"{other.url}/chat/completions"
        with (
            chat_server(lambda body, n: (status, {}, {"Location": place})) as chat,
            pytest.raises(RunStopped, match="the server sends calls elsewhere") as stopped,
        ):
            collect(chat, concurrency=1)
        assert not other.bodies and sum(chat.asked.values()) == 1
        assert other.url in str(stopped.value) and "--base-url" in stopped.value.remedy


def test_a_server_that_sends_calls_in_a_circle_is_asked_once():
    with (
        chat_server(lambda body, n: (307, {}, {"Location": "/v1/chat/completions"})) as chat,
        pytest.raises(RunStopped, match="elsewhere"),
    ):
        collect(chat, concurrency=1)
    assert sum(chat.asked.values()) == 1
