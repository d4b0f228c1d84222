"""What servers really send: the answer alone is kept as the answer, and what is none is named."""

import json

import pytest
from feedback_server import balance, by_turns, chat_server, collect, completion

from zephyr_utils.feedback import Journal, RetryPolicy, RunStopped, distil_dialogues
from zephyr_utils.feedback.endpoint import Endpoint


def answers(behave, **options):
    """What one question brings: (the answer, the counts, the journal's reply)."""
    with chat_server(behave) as chat:
        got = collect(chat, prompts=["Q?"], **options)
    responses = [c["response"] for record in got.records for c in record["completions"]]
    return (responses[0] if responses else None), balance(got.calls)


TEXT = {"type": "text", "text": "Paris."}
CONTENT = {
    "one part": [TEXT],
    "two parts": [{"type": "text", "text": "Pa"}, {"type": "text", "text": "ris."}],
    "a part by itself": TEXT,
    "output_text": [{"type": "output_text", "text": "Paris."}],
    "plain strings": ["Pa", "ris."],
    "text as an object": [{"type": "text", "text": {"value": "Paris.", "annotations": []}}],
    "without a type": [{"text": "Paris."}],
    "thinking before it": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm, Rome?"}]},
        TEXT,
    ],
    "thinking as text": [{"type": "thinking", "thinking": "Hm, Rome?", "signature": "x"}, TEXT],
    "a summary of thoughts": [{"type": "reasoning", "text": "Hm, Rome?"}, TEXT],
    "redacted thoughts": [{"type": "redacted_thinking", "data": "AAAA"}, TEXT],
    "a reference after it": [TEXT, {"type": "reference", "reference_ids": [1]}],
}


@pytest.mark.parametrize("form", CONTENT)
def test_content_in_parts_is_the_text_of_its_text_parts_in_one_call(form):
    answer, report = answers(by_turns(completion(CONTENT[form])))
    assert answer == "Paris." and report.made == 1 and not report.retries


THOUGHTS = {
    "DeepSeek": "<think>\nHm, Rome?\n</think>\n\nParis.",
    "opened in the template": "Hm, Rome?\n</think>\n\nParis.",
    "nothing thought": "<think>\n\n</think>\n\nParis.",
    "another name": "<thinking>Hm, Rome?</thinking>Paris.",
    "capitals": "<THOUGHT>Hm, Rome?</THOUGHT> Paris.",
    "closed by a longer name": "<think>Hm, Rome?</thinking> Paris.",
    "Magistral": "[THINK]Hm, Rome?[/THINK]Paris.",
    "Kimi": "◁think▷Hm, Rome?◁/think▷Paris.",
    "Seed": "<seed:think>Hm, Rome?</seed:think>Paris.",
    "Sky-T1": "<|begin_of_thought|>Hm, Rome?<|end_of_thought|>Paris.",
    "channels": "<|channel|>analysis<|message|>Hm, Rome?<|end|><|start|>assistant<|channel|>final"
    "<|message|>Paris.<|return|>",
    "channels without their tokens": "analysisHm, Rome?assistantfinalParis.",
    "a thought in a thought": "<think>Hm, <think>Rome?</think> no</think>Paris.",
    "the mark in the thought": "<think>I end it with `</think>`. Rome?</think>Paris.",
    "code in the thought": "<think>```\nRome?\n</think>Paris.",
    "one mark too many": "<think>Rome?</think>Paris.</think>",
    "after a greeting": "<think>Rome?</think>Pa<think>or Lyon?</think>ris.",
}


@pytest.mark.parametrize("form", THOUGHTS)
def test_what_was_thought_is_kept_in_the_journal_and_never_as_the_answer(form, tmp_path):
    answer, report = answers(by_turns(THOUGHTS[form]), journal=tmp_path / "j.jsonl")
    assert answer == "Paris." and not report.without_answer
    line = json.loads((tmp_path / "j.jsonl").read_text())
    assert line["text"].strip() == "Paris." and line["problem"] == ""
    assert ("Rome?" in line["aside"]) == ("Rome" in THOUGHTS[form])


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_sent_apart_are_not_an_answer_either(name):
    with_thoughts = completion("Paris.", **{name: "Hm, Rome?"})
    assert answers(by_turns(with_thoughts))[0] == "Paris."
    answer, report = answers(by_turns(completion("", **{name: "Hm, Rome?"})))
    assert answer is None and report.without_answer == {"only_thoughts": 1}


@pytest.mark.parametrize(
    "text",
    [
        "The tag `</think>` ends a thought.",
        "Write `<think>a</think>` around it.",
        "```xml\n<think>\na\n</think>\n```\nis how it looks.",
        'Say "<think>" and "</think>".',
        "analysis of Paris",
        "He thinks < 3 > 2.",
    ],
)
def test_an_answer_that_talks_about_such_marks_stays_as_it_is(text):
    assert answers(by_turns(text))[0] == text


NO_ANSWER = {
    "cut off in a thought": (completion("<think>Hm, Rome", finish_reason="length"),
                             "cut_off_in_thought"),
    "cut off, said to have stopped": (completion("<think>Hm"), "cut_off_in_thought"),
    "cut off in a channel": (completion("<|channel|>analysis<|message|>Hm"), "cut_off_in_thought"),
    "cut off in thoughts sent "
    "apart": (completion(None, finish_reason="length", reasoning_content="Hm"),
              "cut_off_in_thought"),
    "cut off in hidden thoughts": (completion("", finish_reason="max_tokens"),
                                   "cut_off_in_thought"),
    "thoughts alone": (completion("<think>Hm, Rome?</think>\n"), "only_thoughts"),
    "a refusal": (completion(None, refusal="I can't."), "refused"),
    "a refusal as a part": (completion([{"type": "refusal", "refusal": "I can't."}]), "refused"),
    "a tool": (completion(None, finish_reason="tool_calls", tool_calls=[{"id": "1"}]), "tool_call"),
    "a tool after words": (completion("Let me see.", tool_calls=[{"id": "1"}]), "tool_call"),
    "an old tool": (completion(None, finish_reason="function_call", function_call={"name": "f"}),
                    "tool_call"),
    "a filter": (completion("Paris is", finish_reason="content_filter"), "content_filter"),
    "another server's filter": (completion("", finish_reason="SAFETY"), "content_filter"),
    "a picture": (completion([{"type": "image_url", "image_url": {"url": "x"}}]), "not_text"),
    "a number": (completion(4), "not_text"),
    "a part of an unknown kind": (completion([TEXT, {"type": ["odd"]}]), "not_text"),
    "a text part without text": (completion([{"type": "text"}]), "not_text"),
}  # fmt: skip


@pytest.mark.parametrize("form", NO_ANSWER)
def test_a_reply_that_holds_no_answer_is_named_kept_and_asked_again_on_request_alone(
    form, tmp_path
):
    body, problem = NO_ANSWER[form]
    with chat_server(by_turns(body, "Paris.")) as chat:
        first = collect(chat, prompts=["Q?"], journal=tmp_path / "j.jsonl")
        second = collect(chat, prompts=["Q?"], journal=tmp_path / "j.jsonl")
        assert len(chat.bodies) == 1, "it is paid for, and kept"
        third = collect(chat, prompts=["Q?"], journal=tmp_path / "j.jsonl", retry_unreadable=True)
        fourth = collect(chat, prompts=["Q?"], journal=tmp_path / "j.jsonl", retry_unreadable=True)
    for got in (first, second):
        assert not got.records and balance(got.calls).without_answer == {problem: 1}
        assert (
            got.left_out == {f"answers: the reply holds no text: {problem}": 1}
            and not got.is_complete
        )
        assert f"1 replies hold no answer: {problem} (asked again with --retry" in got.report()
    assert [c["response"] for c in third.records[0]["completions"]] == ["Paris."]
    assert (third.calls.made, fourth.calls.made) == (1, 0) and third.calls.made_again == 0


def test_a_model_that_only_thinks_stops_the_run_with_what_to_change():
    body = completion("<think>Hm, Rome", finish_reason="length")
    with chat_server(by_turns(body)) as chat, pytest.raises(RunStopped) as caught:
        collect(chat, [f"Q{n}?" for n in range(60)], concurrency=2)
    assert len(chat.bodies) < 25 and "20 calls in a row brought no answer" in str(caught.value)
    assert "token limit 512" in str(caught.value) and "--max-tokens" in caught.value.remedy
    assert 20 <= balance(caught.value.report).made <= 21  # two are under way at once


def test_a_model_that_often_says_nothing_does_not_stop_the_run():
    with chat_server(by_turns("")) as chat:
        got = collect(chat, [f"Q{n}?" for n in range(60)])
    assert balance(got.calls).without_answer == {"empty": 60}


def test_a_teacher_that_only_thinks_ends_its_dialogue_and_its_thoughts_are_not_a_turn():
    with chat_server(by_turns("<think>Hm.</think>Paris.")) as chat:
        got = distil_dialogues(["Q?"], "t", 2, endpoint=Endpoint(chat.url))
    assert [m["content"] for m in got.records[0]["messages"]] == ["Q?", *["Paris."] * 3]
    with chat_server(by_turns("<think>Hm.")) as chat:
        got = distil_dialogues(["Q?"], "t", 2, endpoint=Endpoint(chat.url))
    assert got.left_out == {
        "dialogues that ended early: the reply holds no text: cut_off_in_thought": 1
    }


@pytest.mark.parametrize(
    "text",
    ["<|assistant|>\nParis.", "<|im_start|>assistant\nParis.", "Paris.</s>", "Paris.<|im_end|>"],
)
def test_an_answer_with_markers_of_a_template_around_it_is_left_out_and_counted(text):
    with chat_server(by_turns(text)) as chat:
        got = collect(chat, prompts=["Q?"])
    why = "answers: the text begins or ends with markers of a chat template"
    assert not got.records and got.left_out == {why: 1} and len(got.set_aside) == 1
    with chat_server(by_turns("Write <s>red</s> or <|x|> there.")) as chat:
        assert len(collect(chat, prompts=["Q?"])) == 1


def chunk(delta, finish_reason=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return "data: " + json.dumps({"model": "m-1", "choices": [choice]}) + "\n\n"


USAGE = 'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}\n\n'
EVENTS = {"content-type": "text/event-stream"}
STREAM = chunk({"role": "assistant", "content": ""}) + chunk({"content": "Pa"})
STREAM += chunk({"content": "ris."}) + chunk({}, "stop") + USAGE + "data: [DONE]\n\n"
BODIES_READ = {
    "a stream": (200, STREAM, EVENTS),
    "a stream with comments and CRLF": (200, ": hi\r\n\r\n" + STREAM.replace("\n", "\r\n"), EVENTS),
    "a stream with thoughts": (200, chunk({"reasoning_content": "Rome?"}) + STREAM, EVENTS),
    "a stream of parts": (200, chunk({"content": [TEXT]}, "stop"), EVENTS),
    "a stream that is not called one": (200, STREAM, {"content-type": "text/plain"}),
    "JSON that is called text": (200, json.dumps(completion("Paris.")),
                                 {"content-type": "text/plain"}),
    "JSON behind a byte order mark": (200, "\ufeff" + json.dumps(completion("Paris.")),
                                      {"content-type": "application/json; charset=utf-8-sig"}),
    "no finish reason": (200, completion("Paris.", finish_reason=None)),
    "error: null": (200, completion("Paris.") | {"error": None}),
}  # fmt: skip


@pytest.mark.parametrize("form", BODIES_READ)
def test_a_body_in_another_form_is_read_and_paid_for_once(form):
    answer, report = answers(by_turns(BODIES_READ[form]))
    assert answer == "Paris." and report.made == 1 and not report.retries


UNREADABLE = {
    "HTML": ((200, "<html><body>Welcome", {"content-type": "text/html"}), "unreadable_reply",
             "HTML page"),
    "HTML called JSON": ((200, "<html>"), "unreadable_reply", "HTML page"),
    "words": ((200, "Ollama is running", {"content-type": "text/plain"}), "unreadable_reply",
              "Ollama is running"),
    "nothing": ((200, b" "), "unreadable_reply", "an empty body"),
    "another encoding": ((200, b'{"a": "\xff"}'), "unreadable_reply", "not a chat completion"),
    "a number of 5,000 digits": ((200, '{"a": ' + "1" * 5000 + "}"), "unreadable_reply",
                                 "text: {"),
    "nested deeply": ((200, "[" * 100_000), "unreadable_reply", "text: [["),
    "two bodies": ((200, json.dumps(completion("Pa")) * 2), "unreadable_reply", "text: {"),
    "gzip that is none": ((200, completion("Paris."), {"content-encoding": "gzip"}),
                          "unreadable_reply", "not in the encoding"),
    "a list": ((200, "[1, 2]"), "unreadable_reply", "[1, 2]"),
    "null": ((200, "null"), "unreadable_reply", "null"),
    "a stream that breaks off": ((200, STREAM.partition("ris.")[0], EVENTS), "unreadable_reply",
                                 "text: data:"),
    "a stream with an error": ((200, chunk({"content": "Pa"}) +
                                'data: {"error": {"message": "busy"}}\n\n', EVENTS),
                               "error_in_reply", "busy"),
    "no choices": ((200, {"choices": []}), "error_in_reply", "choices"),
    "no message": ((200, {"choices": [{"finish_reason": "stop"}]}), "error_in_reply", "choices"),
    "a choice that is none": ((200, {"choices": ["Paris."]}), "error_in_reply", "choices"),
    "choices as an object": ((200, {"choices": {"0": 1}}), "error_in_reply", "choices"),
    "an error object": ((200, {"error": {"message": "busy", "code": 502}}), "error_in_reply",
                        "busy"),
    "an error in words": ((200, {"error": "busy"}), "error_in_reply", "busy"),
    "an error beside choices": ((200, completion("Pa") | {"error": {"message": "busy"}}),
                                "error_in_reply", "busy"),
    "an error in the choice": ((200, {"choices": [{"error": {"message": "busy"}, "message": {}}]}),
                               "error_in_reply", "busy"),
    "a detail": ((200, {"detail": "busy"}), "error_in_reply", "busy"),
    "finished with an error": ((200, completion("Pa", finish_reason="error")), "error_in_reply",
                               "choices"),
}  # fmt: skip


@pytest.mark.parametrize("form", UNREADABLE)
def test_a_body_without_a_reply_is_a_fault_tried_three_times_at_most(form):
    act, reason, words = UNREADABLE[form]
    answer, report = answers(by_turns(act))
    assert answer is None and report.failed == {reason: 1}
    assert report.retries == {reason: 2}, "each try with status 200 may be paid for"
    assert words in report.examples[reason] and words in report.text()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"message": "Insufficient credits", "code": 402}, "credit is used up"),
        ({"message": "No auth", "code": "401"}, "refuses the key"),
        ({"message": "no endpoints for m", "code": 404}, "no endpoints for m"),
        ({"message": "quota", "code": "insufficient_quota"}, "credit is used up"),
    ],
)
def test_an_error_with_status_200_that_every_call_would_meet_stops_the_run(error, words):
    with chat_server(by_turns({"error": error})) as chat, pytest.raises(RunStopped, match=words):
        collect(chat, concurrency=1)
    assert len(chat.bodies) == 1


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        *[(12, 12), (12.0, 12), (0, 0), (None, None), ("12", None), (-3, None), (True, None)],
        *[(10**400, None), (1.5, None), ([12], None), ({}, None)],
    ],
)
def test_token_counts_that_cannot_be_are_not_counted(count, kept, tmp_path):
    body = completion("Paris.") | {"usage": {"prompt_tokens": count, "completion_tokens": 3}}
    answer, report = answers(by_turns(body), journal=tmp_path / "j.jsonl")
    assert answer == "Paris." and report.usage["m"].uncounted == (kept is None)
    with Journal(tmp_path / "j.jsonl") as journal:
        assert journal.get(next(iter(journal._places))).prompt_tokens == kept
    report.text()


@pytest.mark.parametrize("usage", ["12", [12], {"prompt_tokens": {"a": 1}}])
def test_usage_in_another_form_is_not_a_fault(usage):
    answer, report = answers(by_turns(completion("Paris.") | {"usage": usage}))
    assert answer == "Paris." and report.usage["m"].uncounted == 1


def test_retries_of_a_short_policy_are_kept_for_replies_that_may_be_paid():
    policy = RetryPolicy(timeout=5, retries=1, first_wait=0.01)
    _, report = answers(by_turns((200, "null")), retry_policy=policy)
    assert report.retries == {"unreadable_reply": 1}
