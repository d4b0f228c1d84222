"""Bodies of responses in other encodings, orders and protocols; connections that are not made."""

import gzip
import json
import socket
import threading

import pytest
from feedback_server import SHORT_WAITS, balance, by_turns, chat_server, collect, completion

from zephyr_utils.feedback import Endpoint, RetryPolicy, RunStopped, collect_answers

CAFE = json.dumps(completion("Café.", reasoning_content="où?"), ensure_ascii=False)
LATIN = {"content-type": "text/plain; charset=iso-8859-1"}
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}
CAFE_EVENT = {"choices": [{"delta": {"content": "Café."}, "finish_reason": "stop"}]}
CAFE_STREAM = f"data: {json.dumps(CAFE_EVENT, ensure_ascii=False)}\n\ndata: [DONE]\n\n"


def answers(body):
    """(the answers to one question, the counts of its calls)."""
    with chat_server(by_turns(body)) as chat:
        got = collect(chat, prompts=["Q?"])
    texts = [c["response"] for record in got.records for c in record["completions"]]
    return texts, balance(got.calls)


@pytest.mark.parametrize("text", [CAFE, CAFE_STREAM], ids=["JSON", "events"])
@pytest.mark.parametrize("headers", [LATIN, JSON, EVENTS, {"content-type": ""}], ids=str)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_a_body_is_read_as_utf_8_whatever_its_server_calls_it(text, headers, mark):
    texts, report = answers((200, mark + text.encode(), headers))
    assert texts == ["Café."] and not report.retries


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_json_in_the_other_encodings_that_it_may_have_is_read(encoding):
    assert answers((200, CAFE.encode(encoding)))[0] == ["Café."]


@pytest.mark.parametrize("text", [CAFE, CAFE_STREAM], ids=["JSON", "events"])
@pytest.mark.parametrize("headers", [LATIN, JSON, EVENTS], ids=str)
def test_a_body_in_latin_1_is_refused_instead_of_read_with_replaced_letters(text, headers):
    texts, report = answers((200, text.encode("latin-1"), headers))
    assert not texts and report.failed == {"unreadable_reply": 1}


def test_a_compressed_body_is_read_where_its_header_says_so():
    packed = gzip.compress(CAFE.encode())
    assert answers((200, packed, {"content-encoding": "gzip"}))[0] == ["Café."]
    assert answers((200, packed))[1].failed == {"unreadable_reply": 1}


@pytest.mark.parametrize("ending", ["\r", "\r\n", "\n"])
def test_events_end_with_any_line_break_that_their_standard_allows(ending):
    assert answers((200, CAFE_STREAM.replace("\n", ending), EVENTS))[0] == ["Café."]


def choice(index, text, name="message", end="stop"):
    return {"index": index, name: {"content": text}, "finish_reason": end}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_several_choices_the_one_with_index_0_is_the_answer(order):
    texts = {0: "Paris.", 1: "Rome."}
    whole = {"choices": [choice(index, texts[index]) for index in order]}
    assert answers(whole)[0] == ["Paris."]
    pieces = [(n, texts[n][:3], None) for n in order] + [(n, texts[n][3:], "stop") for n in order]
    events = [{"choices": [choice(n, text, "delta", end)]} for n, text, end in pieces]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    assert answers((200, f"{stream}data: [DONE]\n\n", EVENTS))[0] == ["Paris."]


def test_a_single_choice_may_have_any_index():
    assert answers({"choices": [choice(1, "Paris.")]})[0] == ["Paris."]


@pytest.mark.parametrize(
    "reason", ["error", "abort", "CANCELLED", "timeout", "network_error", "server_error"]
)
def test_an_answer_that_the_server_broke_off_is_not_an_answer(reason):
    texts, report = answers(completion("Par", finish_reason=reason))
    assert not texts and report.failed == {"error_in_reply": 1}


@pytest.mark.parametrize("reason", ["length", "MAX_TOKENS", "model_context_window_exceeded"])
def test_an_answer_at_any_limit_of_length_is_counted_as_cut_off(reason):
    texts, report = answers(completion("Par", finish_reason=reason))
    assert texts == ["Par"] and report.cut_off == 1


@pytest.mark.parametrize("reason", ["sensitive", "content_filter", "SPII"])
def test_an_answer_that_any_filter_cut_is_none(reason):
    texts, report = answers(completion("Par", finish_reason=reason))
    assert not texts and report.without_answer == {"content_filter": 1}


def test_thoughts_in_details_are_named_and_kept_once(tmp_path):
    details = [{"type": "reasoning.text", "text": "Hm, Rome?"}]
    with chat_server(
        by_turns(completion("", reasoning="Hm, Rome?", reasoning_details=details))
    ) as chat:
        got = collect(chat, prompts=["Q?"], journal=tmp_path / "j.jsonl")
    assert got.calls.without_answer == {"only_thoughts": 1}
    assert json.loads((tmp_path / "j.jsonl").read_text())["aside"] == "Hm, Rome?"
    with chat_server(by_turns(completion("", reasoning_details=details))) as chat:
        assert collect(chat, prompts=["Q?"]).calls.without_answer == {"only_thoughts": 1}


TEXT = [{"type": "text", "text": "Paris."}]
OTHER_PROTOCOLS = {
    "text completions": {"choices": [{"text": "Paris.", "finish_reason": "stop", "index": 0}]},
    "Responses": {"object": "response", "error": None, "output": [{"content": TEXT}]},
    "Messages": {"type": "message", "role": "assistant", "content": TEXT},
    "generateContent": {"candidates": [{"content": {"parts": [{"text": "Paris."}]}}]},
    "Ollama": {"model": "m", "message": {"role": "assistant", "content": "Paris."}, "done": True},
    "Cohere": {"message": {"role": "assistant", "content": TEXT}, "finish_reason": "COMPLETE"},
    "text generation": [{"generated_text": "Paris."}],
}


@pytest.mark.parametrize("name", OTHER_PROTOCOLS)
def test_a_server_with_another_protocol_is_named_after_one_paid_call(name):
    act = (200, json.dumps(OTHER_PROTOCOLS[name]))
    with chat_server(by_turns(act)) as chat, pytest.raises(RunStopped, match=name) as caught:
        collect(chat, concurrency=1)
    assert len(chat.bodies) == 1 and "--base-url" in caught.value.remedy


@pytest.mark.parametrize(
    "body",
    [
        {"message": "busy", "code": 50301, "object": "error"},
        {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
        {"message": {"detail": "busy"}},
    ],
)
def test_an_error_that_resembles_another_protocol_is_still_an_error(body):
    texts, report = answers(body)
    assert not texts and report.failed == {"error_in_reply": 1}
    assert "busy" in report.examples["error_in_reply"]


def test_a_server_without_tls_is_said_to_have_none():
    """One that answers a greeting of TLS as web servers do, with words."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
    try:
        with pytest.raises(RunStopped, match="no secure connection") as caught:
            collect_answers(
                ["Q?"],
                ["m"],
                endpoint=Endpoint(url),
                retry_policy=RetryPolicy(**SHORT_WAITS),
            )
    finally:
        listener.close()
    assert "http:// if the server has no TLS" in caught.value.remedy
