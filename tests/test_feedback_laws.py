"""Laws of what is read from servers, whatever they send: a reply, a fault or a reason, no crash.

A longer run: make fuzz
"""

import json

from hypothesis import strategies as st
from laws import law

from zephyr_utils.data.records import RecordError
from zephyr_utils.data.thoughts import split_thoughts
from zephyr_utils.feedback import Call, Endpoint, Sampling, Unreadable, read_critique, read_ratings
from zephyr_utils.feedback.bodies import parsed_body
from zephyr_utils.feedback.faults import Fault, retry_after, status_fault
from zephyr_utils.feedback.prompt_files import _prompt_of
from zephyr_utils.feedback.replies import reply_of
from zephyr_utils.feedback.reply import recorded_reply

ENDPOINT = Endpoint("http://127.0.0.1:1/v1")
CALL = Call("answer", "m", (("user", "Q?"),), Sampling(), ENDPOINT.url)
NAMES = ["choices", "message", "content", "type", "text", "thinking", "refusal", "tool_calls"]
NAMES += ["error", "code", "param", "finish_reason", "usage", "prompt_tokens", "detail", "delta"]
WORDS = ["text", "thinking", "length", "stop", "<think>", "</think>", "401", "402", "temperature"]
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.integers(10**20, 10**400), st.floats()),
    *(st.text(), st.sampled_from(WORDS)),
)


def values(names):
    """Anything that JSON can hold, with names that mean something."""
    return st.recursive(
        LEAVES,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(names), inner, max_size=4),
        ),
        max_leaves=12,
    )


JSON = values(NAMES)
MESSAGES = st.fixed_dictionaries(
    {"content": JSON}, optional={"reasoning_content": JSON, "refusal": JSON, "tool_calls": JSON}
)
CHOICES = st.lists(
    st.fixed_dictionaries({"message": MESSAGES | JSON}, optional={"finish_reason": JSON}),
    min_size=1,
    max_size=2,
)
BODIES = JSON | st.fixed_dictionaries(
    {"choices": CHOICES | JSON}, optional={"usage": JSON, "error": JSON, "model": JSON}
)


@law(BODIES | BODIES.map(json.dumps) | BODIES.map(lambda b: f"data: {json.dumps(b)}\n\n"))
def test_a_body_is_a_reply_that_the_journal_takes_or_a_fault_that_can_be_printed(body):
    try:
        raw = body if isinstance(body, str) else json.dumps(body)
        reply = reply_of(CALL, parsed_body(raw.encode(errors="replace")), ENDPOINT)
    except Fault as fault:
        assert fault.reason and str(fault).encode()
        return
    assert bool(reply.problem) == (not reply.text.strip())
    line = json.dumps(vars(reply), ensure_ascii=False).encode(errors="replace")
    assert recorded_reply(json.loads(line)).problem == reply.problem


MARKS = ["<think>", "</think>", "</thinking>", "<thought>", "[THINK]", "[/THINK]", "`", "```\n"]
MARKS += ["\n", "a", " ", '"', "<|channel|>", "analysis", "<|message|>", "final", "assistantfinal"]


@law(st.lists(st.sampled_from(MARKS), max_size=14).map("".join))
def test_splitting_invents_nothing_and_finds_nothing_more_in_an_answer_twice(text):
    split = split_thoughts(text)
    assert len(split.answer) + len(split.thoughts) <= len(text)
    if not any(mark in text for mark in MARKS[:6]) and "analysis" not in text:
        assert split.answer == text or text.lstrip().startswith("<|channel|>")


PIECES = ["Answer 1", "Answer 2", "Rating: 4", "Rating:", "4", "\n", "\r", "**", "Rationale: x"]
PIECES += ["9/10", "N/A", "Overall grade: 7", "/10", "٤", "４", " ", "Antwort 1", "1" * 5000]


@law(st.lists(st.sampled_from(PIECES), max_size=20).map("".join) | st.text())
def test_a_judges_words_are_ratings_on_the_scale_or_a_reason(text):
    for read in (lambda: read_ratings(text, 2), lambda: read_critique(text)):
        try:
            result = read()
        except Unreadable as problem:
            assert problem.reason
        else:
            ratings = [row["Rating"] for row in result] if isinstance(result, list) else []
            assert set(ratings) <= {"1", "2", "3", "4", "5", "N/A"}
            assert ratings or 1 <= result[1] <= 10


@law(st.integers(300, 599), JSON, st.text(), st.text())
def test_any_status_with_any_body_is_a_fault(status, body, words, wait):
    fault = status_fault(status, body, ENDPOINT, words, {"retry-after": wait})
    assert str(fault).encode() and 0 <= fault.wait <= 600 and len(str(fault)) < 500
    assert retry_after({"retry-after": wait}) >= 0


ROW_NAMES = ["prompt", "instruction", "messages", "data", "role", "content", "from", "value"]


@law(st.dictionaries(st.sampled_from(ROW_NAMES), values(ROW_NAMES), max_size=4))
def test_a_row_has_a_prompt_to_send_or_is_set_aside(row):
    try:
        prompt, read = _prompt_of(row, "row 1")
        assert prompt.strip().encode() and isinstance(read, dict)
    except RecordError as error:
        assert error.reason


@law(JSON | st.fixed_dictionaries({"key": JSON, "text": JSON, "problem": JSON}))
def test_a_line_of_a_journal_is_a_reply_or_refused(fields):
    try:
        recorded_reply(fields)
    except (ValueError, TypeError):
        return
    raise AssertionError("a reply needs more fields")
