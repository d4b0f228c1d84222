"""Which texts of a row are messages to repair, in whatever form its conversation comes.

Lists of messages (role and content, or ShareGPT's from and value), contents in parts, the strings
of raw UltraChat, columns of lists, a conversation rendered in a chat template, and any of these as
JSON or Python text inside a text. Each message comes with the path to it, so that nothing else of
the row need be written again.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from zephyr_utils.data.fields import RecordError, has
from zephyr_utils.data.structure import holds_yaml_turns, turns_in_text
from zephyr_utils.data.templates import Template, template_of, turns_of
from zephyr_utils.data.types import ROLES, SPEAKERS, TOOL_ROLES
from zephyr_utils.truecasing.content import (
    BROKEN_STRUCTURE,
    NOT_MESSAGES,
    LocatedText,
    RowError,
    messages_in_content,
    parsed_structure,
)
from zephyr_utils.truecasing.literals import ENCODED, Path, Slice, can_change

COLUMNS = ("messages", "data", "conversations", "text")  # tried in this order where none is named
# What a text holds, at least one of them, if it is rendered in a chat template; each behind a
# character of the template, which is searched for many times faster.
TEMPLATE_WORDS = (
    ("<", "ssistant"),
    ("<", "<start_of_turn>"),
    ("<", "_TOKEN|>"),
    ("[", "[/INST]"),
    ("#", "### Response"),
    (":", "ssistant:"),
    (":", "SSISTANT:"),
)
NO_COLUMN, TEMPLATED = "no such column", "in a chat template"

# Marks of roles that no known template begins with, or that are behind other words.
_ROLE_MARK = re.compile(
    r"^[ \t]*(?:<\|(?:user|assistant|im_start|start_header_id|START_OF_TURN_TOKEN)\|>"
    r"|<start_of_turn>|<｜(?:User|Assistant)｜>|\[INST\]|###\s{0,3}(?:Response|Assistant):"
    r"|<(?:assistant|message role=[\"']assistant[\"'])>|ASSISTANT:)|\sASSISTANT: "
    r"|</(?:user|human|message)>\s{0,9}<(?:assistant|message role=)|<\|start\|>assistant",
    re.M,
)
_TURN = re.compile(r"""['"](?:role|from)['"]\s*:""")
_TRANSCRIPT = re.compile(r"^(?:User|Human|USER|HUMAN):.*?^(?:Assistant|ASSISTANT):", re.M | re.S)


def role_name(role: str) -> str:
    """The role that a name stands for: human is user, gpt is assistant; others in lower case."""
    name = role.strip().lower()
    return SPEAKERS.get(name, name)


class MessageFinder:
    """Finds the messages of the chosen roles.

    Args:
        roles: whose messages; other names of a role are known, such as gpt for assistant.
        column: the column that holds them; by default the first of `COLUMNS` that a row fills.

    Attributes:
        unknown_roles: how often each role was met whose meaning is not known.
    """

    def __init__(self, roles: Iterable[str], column: str | None = None) -> None:
        self.wanted = frozenset(map(role_name, roles))
        self.column = column
        self._columns = (column,) if column else COLUMNS
        self.unknown_roles: Counter[str] = Counter()
        self._is_known_as: dict[str, bool] = {}  # whether a role, as it is written, is wanted

    def in_row(self, row: Any) -> list[LocatedText]:
        """The messages of a row, an object or the text of one.

        Raises:
            RowError: there is no such column, or it holds no messages.
        """
        if isinstance(row, dict):
            for name in self._columns:
                if (value := row.get(name)) is not None:
                    return self.in_column(value, name)
            if any(name in row for name in self._columns):
                return []
            columns = ", ".join(map(repr, row)) or "none"
            wanted = " or ".join(map(repr, self._columns))
            raise RowError(NO_COLUMN, f"there is no column {wanted} (the row has: {columns})")
        if isinstance(row, str) and isinstance(
            decoded := parsed_structure(row), dict
        ):  # encoded twice
            return [LocatedText((ENCODED, *path), text) for path, text in self.in_row(decoded)]
        raise RowError(NOT_MESSAGES, "the row is not an object with named columns")

    def in_column(self, value: Any, name: str) -> list[LocatedText]:
        """The messages of a column's value; the paths begin with the column's name.

        Raises:
            RowError: it holds no messages.
        """
        if isinstance(value, list):
            return self._in_list(value, (name,))
        messages = self.in_text(value, name) if isinstance(value, str) else self._in_value(value)
        return [LocatedText((name, *path), text) for path, text in messages]

    def in_text(self, text: str, name: str) -> list[LocatedText]:
        """The messages of a text: those that it holds as JSON, as a Python literal or in a chat
        template, or else itself.

        Args:
            text: the text.
            name: its column; in all but ``text`` what opens like a list must be one of messages.

        Raises:
            RowError: it is structure that cannot be read or holds no messages, or it is rendered
                and cannot be taken apart.
        """
        opening = text.lstrip()[:1]
        if opening == '"':
            return self._in_quoted(text, name)
        if opening in ("[", "{"):
            return self._in_structure(text, parsed_structure(text), name)
        if opening == "(" and _TURN.search(text) is not None:  # a tuple of Python
            return self._in_structure(text, parsed_structure(f"[{text.strip()[1:-1]}]"), name)
        if opening == "-" and holds_yaml_turns(text):
            raise RowError(BROKEN_STRUCTURE, "the text is a list of messages in YAML; give a list")
        for sign, word in TEMPLATE_WORDS:
            if sign in text and word in text:
                break
        else:
            return [LocatedText((), text)]
        if (template := template_of(text)) is not None:
            return self._in_template(text, template)
        if _ROLE_MARK.search(text) or _TRANSCRIPT.search(text):
            raise RowError(
                TEMPLATED,
                "the text holds several speakers, in a form that is not known; give messages",
            )
        return [LocatedText((), text)]

    def _in_quoted(self, text: str, name: str) -> list[LocatedText]:
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            inner = None
        if isinstance(inner, str) and inner.lstrip()[:1] in ("[", "{", '"') and inner != text:
            messages = self.in_text(inner, name)
            if any(path for path, _ in messages) or not messages:
                return [LocatedText((ENCODED, *path), text) for path, text in messages]
        return [LocatedText((), text)]  # a sentence in quotation marks

    def _in_structure(self, text: str, value: Any, name: str) -> list[LocatedText]:
        if value is None:
            self._check_not_broken(text, name)
            return [LocatedText((), text)]
        if not _is_conversation(value, name):
            if name in COLUMNS and name != "text":
                raise RowError(
                    NOT_MESSAGES, f"the text is JSON or Python, but not messages: {text[:60]!r}"
                )
            return [LocatedText((), text)]
        if not can_change(text):
            raise RowError(BROKEN_STRUCTURE, "the text is a Python literal of an unknown form")
        try:
            return [LocatedText((ENCODED, *path), inner) for path, inner in self._in_value(value)]
        except RowError:
            if name == "text":  # JSON that only looks like a conversation
                return [LocatedText((), text)]
            raise

    def _check_not_broken(self, text: str, name: str) -> None:
        try:
            turns_in_text(text, f"column {name}")
        except RecordError as error:
            raise RowError(BROKEN_STRUCTURE, f"{error.what}; {error.remedy}") from error

    def _in_template(self, text: str, template: Template) -> list[LocatedText]:
        marks = list(template.mark.finditer(text))
        names = dict(template.speakers)
        roles = [role_name(names.get(mark[1], mark[1])) for mark in marks]
        if not template.special and "assistant" not in roles:
            return [LocatedText((), text)]  # it only begins like one
        if turns_of(text) is None:
            raise RowError(
                TEMPLATED, f"the text is in the template of {template.name}, but not only turns"
            )
        messages = []
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        for mark, role, end in zip(marks, roles, ends, strict=True):
            closing = template.end.search(text, mark.end(), end) if template.end else None
            content = text[mark.end() : closing.start() if closing else end]
            start = mark.end() + len(content) - len(content.lstrip())
            if role in self.wanted and (content := content.strip()):
                messages.append(LocatedText((Slice(start, start + len(content)),), content))
        return messages

    def _in_value(self, value: Any) -> list[LocatedText]:
        if value is None:
            return []
        if isinstance(value, list):
            return self._in_list(value, ())
        if isinstance(value, dict):
            return list(self._in_object(value))
        raise RowError(NOT_MESSAGES, f"the column holds {type(value).__name__}")

    def _in_list(self, value: list[Any], path: Path) -> list[LocatedText]:
        messages: list[LocatedText] = []
        for at, item in enumerate(value):
            if isinstance(item, dict) and isinstance(role := item.get("role"), str):
                # Nearly every message of nearly every file, so it is read without a detour.
                if self._is_wanted(role):
                    content = item.get("content")
                    if isinstance(content, str) and content[:1].isalnum():
                        messages.append(LocatedText((*path, at, "content"), content))
                    else:
                        messages.extend(messages_in_content(content, (*path, at, "content")))
            else:
                inner = self.in_item(item, at)
                messages.extend(LocatedText((*path, *rest), text) for rest, text in inner)
        return messages

    def _in_object(self, value: dict[str, Any]) -> Iterator[LocatedText]:
        """One message, a list of roles beside one of contents, or an object around a column."""
        roles, contents = value.get("role"), value.get("content")
        if isinstance(roles, list) and isinstance(contents, list):
            if len(roles) != len(contents):
                raise RowError(
                    NOT_MESSAGES, f"there are {len(roles)} roles and {len(contents)} contents"
                )
            for at, (role, content) in enumerate(zip(roles, contents, strict=True)):
                if isinstance(role, str) and self._is_wanted(role):
                    yield from messages_in_content(content, ("content", at))
        elif name := next((name for name in COLUMNS if has(value, name)), None):
            yield from self.in_column(value[name], name)
        else:
            yield from self._in_turn(value, ())

    def in_item(self, item: Any, at: int) -> Iterator[LocatedText]:
        """The messages of an item of a conversation; the paths begin with its place.

        Raises:
            RowError: it is neither a message nor text, or text that cannot be read.
        """
        if isinstance(item, dict):
            yield from self._in_turn(item, (at,))
        elif isinstance(item, str):
            if item.lstrip()[:1] == "{":
                self._check_not_broken(item, f"item {at}")
                if isinstance(turn := turns_in_text(item, f"item {at}"), dict):
                    yield from self._in_turn(turn, (at, ENCODED))
                    return
            if ("user", "assistant")[at % 2] in self.wanted:  # raw UltraChat: the user begins
                yield LocatedText((at,), item)
        else:
            raise RowError(NOT_MESSAGES, f"message {at} has no role and content")

    def _in_turn(self, turn: dict[str, Any], path: Path) -> Iterator[LocatedText]:
        role_key, key = "role", "content"
        if has(turn, "from") and not has(turn, "role"):
            role_key, key = "from", "value"
        role = turn.get(role_key)
        if not isinstance(role, str) or (key == "value" and key not in turn):
            place = path[0] if path else 0
            raise RowError(NOT_MESSAGES, f"message {place} has no role and content")
        if self._is_wanted(role):
            yield from messages_in_content(turn.get(key), (*path, key))

    def _is_wanted(self, role: str) -> bool:
        wanted = self._is_known_as.get(role)
        if wanted is None:
            name = role_name(role)
            wanted = name in self.wanted
            if wanted or name in ROLES or name in TOOL_ROLES:
                self._is_known_as[role] = wanted
            else:
                self.unknown_roles[role[:40]] += 1
        return wanted


def _is_conversation(value: Any, name: str) -> bool:
    """Whether parsed text of a column is a conversation rather than JSON of its own."""
    if isinstance(value, dict):
        if any(column in value for column in COLUMNS if column != "text"):
            return True
        if isinstance(value.get("role"), list) and isinstance(value.get("content"), list):
            return True
    elif name != "text" and value and all(isinstance(item, str) for item in value):
        return True
    turns = value if isinstance(value, list) else [value]
    return bool(turns) and all(isinstance(turn, dict) and _is_turn(turn) for turn in turns)


def _is_turn(turn: dict[str, Any]) -> bool:
    role = turn.get("role", turn.get("from"))
    has_content = "content" in turn or "tool_calls" in turn or "value" in turn
    return has_content and isinstance(role, str) and role_name(role) in (*ROLES, *TOOL_ROLES)
