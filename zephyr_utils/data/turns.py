"""Turns of a conversation in whatever form they come, checked and brought into one.

A `Turn` is a message with the name of the place it is at, so that an error names the field that
the file has, whatever is made of it.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from zephyr_utils.data.fields import (
    Fields,
    RecordError,
    at,
    check_text,
    has,
    kind_of,
    present,
    required,
    wrong_type,
)
from zephyr_utils.data.structure import NOTE as PARSED
from zephyr_utils.data.structure import not_structure, parse
from zephyr_utils.data.templates import refuse_rendered, template_of, turns_of
from zephyr_utils.data.types import ROLES, SPEAKERS, TOOL_ROLES, Message, Role

RENAMED = "roles renamed (human, gpt and the like)"
JOINED = "contents given in parts joined"
THOUGHTS_LEFT_OUT = "thoughts beside an answer left out (reasoning_content)"
TOOLS_LEFT_OUT = "descriptions of tools left out"
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
TEXT_PARTS = ("text", "input_text", "output_text")
OTHER_PARTS = ("image", "image_url", "audio", "input_audio", "video", "file", "thinking")
_PARTS = re.compile(r"""\s*+\[\s*+\{[^{}]{0,200}?['"]type['"]\s*:""")


class Turn(NamedTuple):
    """A message as it was read.

    Attributes:
        place: where it is, in words.
        message: the message, not checked yet.
        whole: whether the place is the text's own (``prompt``), not the message's (``chosen[0]``).
    """

    place: str
    message: Any
    whole: bool = False


def spoken(role: Role, value: Any, place: str) -> Turn:
    """A turn that is in a field as plain text."""
    return Turn(place, {"role": role, "content": value}, whole=True)


def listed(record: Fields, field: str, where: str, *, hint: str = "") -> list[Turn]:
    """The turns of a field that holds a list of messages, or one message.

    Raises:
        RecordError: ``missing_field``, ``wrong_type`` or ``text_not_structure``.
    """
    value = required(record, field, where, hint=hint)
    place = at(where, field)
    if isinstance(value, str):
        raise not_structure(value, place)
    value = rows_of_columns(value)
    if isinstance(value, dict):
        return [Turn(place, value)]
    if not isinstance(value, list):
        raise wrong_type("a list", value, place)
    return [Turn(f"{place}[{i}]", message) for i, message in enumerate(value)]


def rows_of_columns(value: Any) -> Any:
    """The objects that an object of lists stands for: ``datasets`` kept lists of objects so; any
    other value as it is.
    """
    if not isinstance(value, dict) or not value:
        return value
    columns = list(value.values())
    if not all(isinstance(column, list) for column in columns):
        return value
    if len({len(column) for column in columns}) != 1:
        return value
    return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]


def rendered(value: str, place: str) -> list[Turn]:
    """The turns of a conversation that is rendered in a chat template.

    Raises:
        RecordError: ``templated_text``: it cannot be taken apart.
    """
    turns = turns_of(value)
    if turns is None:
        template = template_of(value)
        raise RecordError(
            "templated_text",
            "the text is rendered in a chat template "
            + (f"({template.name}) " if template else "")
            + "and cannot be taken apart into its turns: there are words outside of them",
            where=place,
            remedy="give a list of messages, each with 'role' and 'content'",
        )
    return [Turn(place, turn, whole=True) for turn in turns]


def check_turns(
    turns: Iterable[Turn], place: str, notes: set[str], *, empty_answer: bool = False
) -> list[Message]:
    """The turns as messages of the three roles, in an order that a chat template takes.

    A system turn may come first; after it user and assistant alternate, beginning with the user.
    An empty system turn is allowed: Zephyr's own formatting puts one before every dialogue.

    Args:
        turns: what was read.
        place: what to name if there is none, or if a side never speaks.
        notes: what was converted is added to it.
        empty_answer: allow an empty last turn, as a preference may have it.

    Raises:
        RecordError: ``empty_dialogue``, ``one_sided``, ``unknown_role``, ``tool_turn``,
            ``misplaced_system``, ``assistant_first``, ``two_user_turns``, ``two_assistant_turns``,
            ``templated_text``, ``not_text``, ``missing_field``, ``wrong_type``, ``empty_content``
            or ``bad_unicode``.
    """
    turns = list(turns)
    if not turns:
        raise RecordError(
            "empty_dialogue",
            "there are no turns; expected at least one of the user and one of the assistant",
            where=place,
            remedy="remove the row, or set it aside",
        )
    messages: list[Message] = []
    for number, turn in enumerate(turns):
        message, role_key, content_key = _keys(turn, notes)
        role = _role(message, role_key, turn, notes)
        _check_order(role, messages, turn.place if turn.whole else f"{turn.place}.{role_key}")
        here = turn.place if turn.whole else f"{turn.place}.{content_key}"
        may_be_empty = role == "system" or (empty_answer and number == len(turns) - 1)
        content = check_text(_content(message, content_key, here, notes), here)
        if not may_be_empty:
            check_text(content, here, filled=True)
        refuse_rendered(content, here)
        messages.append({"role": role, "content": content})
    missing = {"user", "assistant"} - {m["role"] for m in messages}
    if missing:
        raise RecordError(
            "one_sided",
            f"there is no {' and no '.join(sorted(missing))} turn; expected both sides to speak",
            where=place,
            remedy="remove the row, or set it aside",
        )
    return messages


def speaker(message: Any) -> str:
    """The role of a message in lower case, under whichever key; empty if it has none."""
    if not isinstance(message, dict):
        return ""
    role = message.get("role") if has(message, "role") else message.get("from")
    return SPEAKERS.get(role.strip().lower(), "") if isinstance(role, str) else ""


def same_message(one: Any, other: Any) -> bool:
    """Whether two messages have one speaker and one content, whatever their keys are called."""

    def content(message: Any) -> Any:
        value = message.get("content", message.get("value")) if isinstance(message, dict) else None
        return value.strip() if isinstance(value, str) else value

    return speaker(one) == speaker(other) and content(one) == content(other)


def _keys(turn: Turn, notes: set[str]) -> tuple[Fields, str, str]:
    """A message, and the keys of its role and its content."""
    message = turn.message
    if isinstance(message, str):  # a list of JSON texts
        message = parse(message, turn.place)
        if isinstance(message, dict):
            notes.add(PARSED)
    if not isinstance(message, dict):
        raise wrong_type("an object with 'role' and 'content'", turn.message, turn.place)
    if has(message, "from") and not has(message, "role"):
        return message, "from", "value"
    return message, "role", "content"


def _value(message: Fields, key: str, here: str) -> Any:
    if key in message:
        return message[key]
    raise RecordError(
        "missing_field",
        f"the field is missing (the message has: {present(message)})",
        where=here,
        remedy="a message has 'role' and 'content', or 'from' and 'value'",
    )


def _role(message: Fields, key: str, turn: Turn, notes: set[str]) -> Role:
    here = f"{turn.place}.{key}"
    written = check_text(_value(message, key, here), here)
    role = SPEAKERS.get(written.strip().lower())
    if role is not None:
        if role != written:
            notes.add(RENAMED)
        return role
    if written.strip().lower() in TOOL_ROLES:
        raise RecordError(
            "tool_turn",
            f"a turn of a program ({written[:40]!r}); expected one of {', '.join(ROLES)}",
            where=here,
            remedy="tool calls are not trained on here: remove the row, or set it aside",
        )
    raise RecordError(
        "unknown_role",
        f"unknown role {written[:40]!r}; expected one of {', '.join(ROLES)}",
        where=here,
        remedy="rename the role (human and gpt are taken for user and assistant)",
    )


def _content(message: Fields, key: str, here: str, notes: set[str]) -> Any:
    if message.get("tool_calls") or message.get("function_call"):
        raise RecordError(
            "tool_turn",
            "the turn calls a tool",
            where=here,
            remedy="tool calls are not trained on here: remove the row, or set it aside",
        )
    if any(message.get(name) for name in _THOUGHTS):
        notes.add(THOUGHTS_LEFT_OUT)
    value = _value(message, key, here)
    parts = _parts(value, here)
    if parts is None:
        return value
    notes.add(JOINED)
    texts = [part if isinstance(part, str) else _text_of(part, here) for part in parts]
    return "".join(texts)


def _parts(value: Any, place: str) -> list | None:
    """The parts of a content that is given in parts, or as text that holds such a list."""
    if isinstance(value, dict):
        return [value]
    if isinstance(value, str) and _PARTS.match(value):
        parsed = parse(value, place)
        return parsed if isinstance(parsed, list) and all(map(_is_part, parsed)) else None
    return value if isinstance(value, list) else None


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in (*TEXT_PARTS, *OTHER_PARTS)


def _text_of(part: Any, here: str) -> str:
    kind = part.get("type", "text") if isinstance(part, dict) else kind_of(part)
    if isinstance(part, dict) and kind in TEXT_PARTS and isinstance(part.get("text"), str):
        return part["text"]
    raise RecordError(
        "not_text",
        f"a part of the content is not text ({str(kind)[:40]})",
        where=here,
        remedy="only text is trained on here: remove the row, or set it aside",
    )


def _check_order(role: Role, messages: list[Message], here: str) -> None:
    before = messages[-1]["role"] if messages else None
    if role == "system" and messages:
        raise RecordError(
            "misplaced_system",
            "a system turn in the middle; expected it first or not at all",
            where=here,
            remedy="move it to the front",
        )
    if role == before:
        raise RecordError(
            f"two_{role}_turns",
            f"two {role} turns in a row; expected user and assistant in turn",
            where=here,
            remedy="join the two turns, or remove the row",
        )
    if role == "assistant" and before in (None, "system"):
        raise RecordError(
            "assistant_first",
            "the assistant speaks first; expected the user to begin",
            where=here,
            remedy="remove the first turn, or the row",
        )
