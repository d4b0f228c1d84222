"""Bodies beyond the limit: given up while they come, counted, and not asked for again."""

import gzip
import json
import socket
import threading

import pytest
from feedback_server import SHORT_WAITS, balance, by_turns, chat_server, collect, completion

from zephyr_utils.evaluation import OpenAIJudge
from zephyr_utils.evaluation.common import EvaluationWarning
from zephyr_utils.evaluation.verdicts import FAILED
from zephyr_utils.feedback import Endpoint, RetryPolicy, RunStopped, bounded, collect_answers

QUESTION = {"question_id": 81, "category": "writing", "turns": ["Q?"]}
POLICY = RetryPolicy(**SHORT_WAITS)


@pytest.fixture
def megabyte(monkeypatch):
    """A limit of 1 MB, of which tests send more in no time."""
    monkeypatch.setattr(bounded, "LARGEST_BODY", 1 << 20)


def body_of(size):
    """A completion of exactly so many bytes."""
    empty = len(json.dumps(completion("")))
    return json.dumps(completion("x" * (size - empty))).encode()


LARGE = body_of((1 << 20) + 1)
ACTS = {
    "JSON": (200, LARGE),
    "packed": (200, gzip.compress(LARGE), {"content-encoding": "gzip"}),
    "text": (200, b"x" * len(LARGE)),
    "an error": (500, LARGE),
}


@pytest.mark.parametrize("which", ACTS)
def test_a_body_beyond_the_limit_is_a_failure_that_is_not_asked_for_again(megabyte, which):
    with chat_server(by_turns(ACTS[which])) as chat:
        got = collect(chat, prompts=["Q?"])
    report = balance(got.calls)
    assert report.failed == {"reply_too_large": 1} and not report.retries
    assert report.examples["reply_too_large"].startswith(
        "the reply is larger than 1 MB, and was not read to its end"
    )
    assert sum(chat.asked.values()) == 1


@pytest.mark.parametrize("pack", [False, True])
def test_a_body_of_the_limit_is_read(megabyte, pack):
    data = body_of(1 << 20)
    act = (200, gzip.compress(data), {"content-encoding": "gzip"}) if pack else (200, data)
    with chat_server(by_turns(act)) as chat:
        got = collect(chat, prompts=["Q?"])
    [answer] = [c["response"] for record in got.records for c in record["completions"]]
    assert answer == json.loads(data)["choices"][0]["message"]["content"]


def test_answers_of_a_usual_size_beside_a_large_one_are_kept(megabyte):
    def behave(body, _):
        return (200, LARGE) if "Question 3" in json.dumps(body["messages"]) else "Hello."

    with chat_server(behave) as chat:
        got = collect(chat)
    assert balance(got.calls).failed == {"reply_too_large": 1} and len(got.records) == 5


def test_replies_that_are_all_too_large_stop_the_run(megabyte):
    with chat_server(by_turns(ACTS["JSON"])) as chat, pytest.raises(RunStopped) as caught:
        collect(chat, [f"Q{n}?" for n in range(40)], concurrency=1)
    assert "larger than 1 MB" in str(caught.value)
    assert sum(chat.asked.values()) == POLICY.give_up_after


def test_a_server_that_never_stops_sending_is_given_up_at_the_limit(megabyte):
    listener = socket.create_server(("127.0.0.1", 0))
    sent = []

    def flood():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
            try:
                while sum(sent) < 1 << 28:  # a client without a limit would take all of it
                    connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                    sent.append(65536)
            except OSError:
                return

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    try:
        got = collect_answers(["Q?"], ["m"], endpoint=Endpoint(url), retry_policy=POLICY)
    finally:
        listener.close()
    thread.join(10)
    assert balance(got.calls).failed == {"reply_too_large": 1}
    assert sum(sent) < 1 << 25  # what the sockets' buffers hold, beside the limit


def test_a_judge_whose_reply_is_too_large_gives_a_failed_judgment(megabyte):
    with chat_server(by_turns(ACTS["JSON"])) as chat:
        judge = OpenAIJudge("m", Endpoint(chat.url), retry_policy=POLICY)
        with pytest.warns(EvaluationWarning, match="1 failed: reply_too_large"):
            judgment = judge.grade(QUESTION, ["A."], 1)
    assert judgment.score == FAILED and sum(chat.asked.values()) == 1
