"""The body of a response as JSON, whatever its server calls it, and which protocol it keeps to."""

import json
from typing import Any


def parsed_body(raw: bytes) -> Any:
    """The JSON in a body, or the completion that a stream of events in it amounts to; the text
    itself where it is neither.

    JSON and events are UTF-8 by their standards (JSON may be UTF-16 or UTF-32), so what the server
    calls the encoding is not looked at: it is often the default of a proxy.

    Args:
        raw: without content encoding, such as gzip.

    Raises:
        ValueError: it is in another encoding.
    """
    text = raw.decode(json.detect_encoding(raw)).lstrip("\ufeff")
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
    # Lines end with CR, LF or both; other separators may occur within an event.
    for line in stream.replace("\r", "\n").split("\n"):
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
            choice = first_choice(event) or {}
            if choice.get("index") not in (0, None):
                continue  # one choice is asked for, and several would be mixed
            finish_reason = choice.get("finish_reason") or finish_reason
            for key, value in (choice.get("delta") or choice.get("message") or {}).items():
                if isinstance(value, str):
                    texts.setdefault(key, []).append(value)
                elif isinstance(value, list):
                    lists.setdefault(key, []).extend(value)
        except (ValueError, RecursionError, TypeError, AttributeError):
            return stream
    if not ended and finish_reason is None and not whole.get("error"):
        return stream  # it breaks off
    message = {**lists, **{key: "".join(parts) for key, parts in texts.items()}}
    if message:
        whole["choices"] = [{"message": message, "finish_reason": finish_reason}]
    return whole


def first_choice(body: dict[str, Any]) -> Any:
    """The choice with the index 0, else the first in the list; None without any."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        return None
    numbered = [c for c in choices if isinstance(c, dict) and c.get("index") in (0, None)]
    return numbered[0] if numbered else choices[0]


def other_protocol(body: Any) -> str:
    """The protocol that a body keeps to in place of chat completions; "" where it is unknown."""
    if isinstance(body, list):
        is_tgi = bool(body) and isinstance(body[0], dict) and "generated_text" in body[0]
        return "text generation (`generated_text`)" if is_tgi else ""
    if not isinstance(body, dict) or body.get("error"):
        return ""
    choice = first_choice(body)
    if isinstance(choice, dict) and isinstance(choice.get("text"), str):
        return "text completions (`text`), which apply no chat template"
    if body.get("object") == "response" or isinstance(body.get("output_text"), str):
        return "OpenAI's Responses (`output`)"
    if body.get("type") == "message" and "content" in body:
        return "Anthropic's Messages (`content`)"
    if isinstance(body.get("candidates"), list):
        return "Gemini's generateContent (`candidates`)"
    if isinstance(body.get("message"), dict) and "content" in body["message"]:
        return "another chat API (`message` without `choices`), such as Ollama's own or Cohere's"
    return "text generation (`generated_text`)" if "generated_text" in body else ""
