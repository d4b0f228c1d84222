"""From the body of a response to a reply: the answer, what came beside it, or the fault that it is.

Servers send content as text or as a list of parts, thoughts inside it or apart, an error with
status 200, or what keeps to another protocol.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from zephyr_utils.data.thoughts import split_thoughts
from zephyr_utils.feedback.bodies import first_choice, other_protocol
from zephyr_utils.feedback.calls import Call
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.faults import Fault, status_fault
from zephyr_utils.feedback.reply import Problem, Reply, token_count

_TEXT_PARTS = {"text", "output_text", "input_text"}
_THOUGHT_PARTS = {"thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text"}
_OTHER_PARTS = {"reference", "citation", "citations"}  # they point at sources and say nothing
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
# Other servers' words -> OpenAI's, compared in lower case.
_FINISH_REASONS = {
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_output_tokens",
                     "max_output_reached", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(("content_filter", "safety", "recitation", "blocklist", "prohibited_content",
                     "refusal", "sensitive", "spii"), "content_filter"),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call", "malformed_function_call"),
                    "tool_calls"),
    # The server gave up, or was told to: what came is a part, whatever it is.
    **dict.fromkeys(("error", "server_error", "network_error", "insufficient_system_resource",
                     "abort", "aborted", "cancelled", "canceled", "timeout", "time_limit"),
                    "error"),
}  # fmt: skip
_STATUS = re.compile("[45][0-9][0-9]")


def reply_of(call: Call, body: Any, endpoint: Endpoint) -> Reply:
    """The reply in a body that came with status 200, which does not make it one.

    Args:
        body: as :func:`~zephyr_utils.feedback.bodies.parsed_body` returns it.
        endpoint: to leave what is secret out of a fault's message.

    Returns:
        The reply; its ``problem`` is set where the model said something that is not an answer.

    Raises:
        Fault: there is no reply in it.
    """
    choice = _answered_choice(body)
    if choice is None:
        raise _fault_in(body, endpoint)
    message = choice["message"]
    finish_reason = _finish_reason(choice)
    content = _content_of(message.get("content"))
    split = split_thoughts("".join(content.texts))
    apart = (_text_of(message.get(name)) for name in _THOUGHT_FIELDS)
    aside = [*content.thoughts, *dict.fromkeys(apart)]  # some send them under two names
    aside.append(split.thoughts)
    called = message.get("tool_calls") or message.get("function_call")
    refusal = _text_of([message.get("refusal"), *content.refusals])
    problem: Problem = ""
    if finish_reason == "content_filter":
        problem = "content_filter"
    elif called or finish_reason == "tool_calls":
        problem = "tool_call"
    elif content.others:
        problem = "not_text"
    elif split.is_open:
        problem = "cut_off_in_thought"
    elif not split.answer.strip():
        if refusal.strip():
            problem = "refused"
        elif finish_reason == "length":  # some servers keep the thoughts to themselves
            problem = "cut_off_in_thought"
        else:
            problem = "only_thoughts" if any(part.strip() for part in aside) else "empty"
    if problem:
        aside += [split.answer, refusal, *content.others, json.dumps(called) if called else ""]
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Reply(
        key=call.key,
        purpose=call.purpose,
        model=call.model,
        text="" if problem else split.answer,
        finish_reason=finish_reason,
        prompt_tokens=token_count(usage.get("prompt_tokens")),
        completion_tokens=token_count(usage.get("completion_tokens")),
        served_by=str(body.get("model") or ""),
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        aside="\n".join(part for part in aside if part),
        problem=problem,
    )


def _answered_choice(body: Any) -> dict[str, Any] | None:
    """The choice with a message in it that was not broken off by an error, or None."""
    if not isinstance(body, dict) or body.get("error"):
        return None
    choice = first_choice(body)
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return None
    return None if choice.get("error") or _finish_reason(choice) == "error" else choice


def _finish_reason(choice: dict[str, Any]) -> str:
    """Why it ended, in OpenAI's word where there is one."""
    said = str(choice.get("finish_reason") or "")
    return _FINISH_REASONS.get(said.lower(), said)


@dataclass
class _Content:
    """A message's content by kind; ``others`` is what is neither text nor thought, as JSON."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def _content_of(value: Any) -> _Content:
    content = _Content()
    if value is None:
        return content
    for part in value if isinstance(value, list) else [value]:
        kind = str(part.get("type", "text")) if isinstance(part, dict) else "text"
        if kind in _THOUGHT_PARTS:
            thought = part.get("thinking") or part.get("text") or part.get(kind)
            content.thoughts.append(_text_of(thought))
        elif kind == "refusal":
            content.refusals.append(_text_of(part.get("refusal")))
        elif kind in _TEXT_PARTS and (isinstance(part, str) or _holds_text(part)):
            content.texts.append(_text_of(part))
        elif kind not in _OTHER_PARTS:
            content.others.append(json.dumps(part))
    return content


def _holds_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str | dict)


def _text_of(value: Any) -> str:
    """The text in a string, in a part, or in a list of such."""
    parts: Iterable[Any] = value if isinstance(value, list) else [value]
    texts = []
    for part in parts:
        for name in ("text", "value"):  # {"text": {"value": ...}}
            part = part.get(name, part) if isinstance(part, dict) else part
        texts.append(part if isinstance(part, str) else "")
    return "".join(texts)


def _fault_in(body: Any, endpoint: Endpoint) -> Fault:
    """The fault that a body without a reply tells of."""
    if isinstance(body, str):
        what = "an HTML page" if body.lstrip()[:1] == "<" else "text"
        said = f"{what}: {endpoint.redact(body)}" if body.strip() else "an empty body"
        return Fault("unreadable_reply", f"status 200, but {said}", again=True, paid=True)
    if protocol := other_protocol(body):
        what = f"the server answers in another protocol than chat completions: {protocol}"
        fatal = "give the address of its OpenAI-compatible chat completions (--base-url)"
        return Fault("other_protocol", what, fatal=fatal, paid=True)
    error: Any = None
    if isinstance(body, dict):
        choice = first_choice(body)
        error = body.get("error") or (choice.get("error") if isinstance(choice, dict) else None)
        if error is None and ("message" in body or "detail" in body):
            error = body
    code = str(error.get("code")) if isinstance(error, dict) else ""
    fault = status_fault(int(code) if _STATUS.fullmatch(code) else 500, error, endpoint)
    if fault.fatal:
        return fault
    is_error = error is not None or (isinstance(body, dict) and "choices" in body)
    reason = "error_in_reply" if is_error else "unreadable_reply"
    said = endpoint.redact(json.dumps(error if error is not None else body, ensure_ascii=False))
    return Fault(reason, f"status 200, but no answer in it: {said}", again=fault.again, paid=True)
