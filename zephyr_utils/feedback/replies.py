"""From the body of a response to a reply: the answer, what came beside it, or the fault that it is.

Servers send content as text or as a list of parts, thoughts inside it or apart, an error with
status 200, or a stream that nobody asked for.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from zephyr_utils.data.thoughts import split_thoughts
from zephyr_utils.feedback.calls import Call
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.faults import Fault, status_fault
from zephyr_utils.feedback.journal import Problem, Reply, token_count

_TEXT_PARTS = {"text", "output_text", "input_text"}
_THOUGHT_PARTS = {"thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text"}
_OTHER_PARTS = {"reference", "citation", "citations"}  # they point at sources and say nothing
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking")
# Other servers' words -> OpenAI's, compared in lower case.
_FINISH_REASONS = {
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_output_tokens"), "length"),
    **dict.fromkeys(
        ("content_filter", "safety", "recitation", "blocklist", "prohibited_content", "refusal"),
        "content_filter",
    ),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call", "malformed_function_call"),
                    "tool_calls"),
}  # fmt: skip


_STATUS = re.compile("[45][0-9][0-9]")


def reply_of(call: Call, body: Any, endpoint: Endpoint) -> Reply:
    """The reply in a body that came with status 200, which does not make it one.

    Args:
        body: the parsed JSON; text, where the server did not call it JSON.
        endpoint: to leave what is secret out of a fault's message.

    Returns:
        The reply; its ``problem`` is set where the model said something that is no answer.

    Raises:
        Fault: there is no reply in it.
    """
    if isinstance(body, str):
        body = _parsed(body)
    choice = _first_choice(body)
    if choice is None:
        raise _fault_in(body, endpoint)
    message = choice["message"]
    finish_reason = str(choice.get("finish_reason") or "")
    finish_reason = _FINISH_REASONS.get(finish_reason.lower(), finish_reason)
    content = _content_of(message.get("content"))
    split = split_thoughts("".join(content.texts))
    aside = [*content.thoughts, *(_text_of(message.get(name)) for name in _THOUGHT_FIELDS)]
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


def _first_choice(body: Any) -> dict[str, Any] | None:
    """The choice with a message in it, or None."""
    if not isinstance(body, dict) or body.get("error"):
        return None
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return None
    return None if choice.get("error") or choice.get("finish_reason") == "error" else choice


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
        said = f"status 200, but {what}: {endpoint.redact(body)}"
        return Fault("unreadable_reply", said, again=True, paid=True)
    error: Any = None
    if isinstance(body, dict):
        choices = body.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
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


def _parsed(text: str) -> Any:
    """JSON or a stream of events in a body that its server calls text; otherwise the text."""
    if text.lstrip().startswith(("data:", "event:", ":")):
        return _merged(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _merged(stream: str) -> Any:
    """The completion that a stream of events amounts to; the text itself where it is not one."""
    whole: dict[str, Any] = {"choices": []}
    texts: dict[str, list[str]] = {}
    lists: dict[str, list[Any]] = {}
    finish_reason, ended = None, False
    for line in stream.split("\n"):
        name, _, data = line.strip().partition(":")
        if name != "data" or not data.strip():
            continue
        if data.strip() == "[DONE]":
            ended = True
            continue
        try:
            event = json.loads(data)
            for key in ("error", "model", "usage"):
                whole[key] = event.get(key) or whole.get(key)
            choice = event["choices"][0] if event.get("choices") else {}
            finish_reason = choice.get("finish_reason") or finish_reason
            for key, value in (choice.get("delta") or choice.get("message") or {}).items():
                if isinstance(value, str):
                    texts.setdefault(key, []).append(value)
                elif isinstance(value, list):
                    lists.setdefault(key, []).extend(value)
        except (ValueError, RecursionError, TypeError, AttributeError, LookupError):
            return stream
    if not ended and finish_reason is None and not whole.get("error"):
        return stream  # it breaks off
    message = {**lists, **{key: "".join(parts) for key, parts in texts.items()}}
    if message:
        whole["choices"] = [{"message": message, "finish_reason": finish_reason}]
    return whole
