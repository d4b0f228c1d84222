"""The texts of one message's content: itself, its parts, or parts that are written into a text."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.structure import parse
from zephyr_utils.data.turns import OTHER_PARTS, TEXT_PARTS
from zephyr_utils.truecasing.literals import ENCODED, Path

NOT_MESSAGES, BROKEN_STRUCTURE = "not messages", "broken structure"


class LocatedText(NamedTuple):
    """A text to repair, and the path to it from the value that was looked at."""

    path: Path
    text: str


class RowError(ValueError):
    """A row whose messages cannot be identified.

    Args:
        reason: one of the constants of this module and of `dialogue`, for counting.
        detail: what is wrong, in a sentence.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(detail)


def parsed_structure(text: str) -> Any | None:
    """What a text holds as structure; None for any other, and for structure of two readings."""
    try:
        return parse(text, "")
    except RecordError:
        return None


def messages_in_content(content: Any, path: Path) -> Iterator[LocatedText]:
    """The texts of a message's content: itself, or its parts that are text."""
    if content is None:
        return
    if isinstance(content, str):
        if content.lstrip()[:1] == "[" and is_parts(parts := parsed_structure(content)):
            yield from messages_in_content(parts, (*path, ENCODED))
        else:
            yield LocatedText(path, content)
    elif isinstance(content, list):
        for at, part in enumerate(content):
            yield from _in_part(part, (*path, at))
    else:
        yield from _in_part(content, path)


def _in_part(part: Any, path: Path) -> Iterator[LocatedText]:
    if isinstance(part, str):
        yield LocatedText(path, part)
    elif not isinstance(part, dict):
        raise RowError(NOT_MESSAGES, "a content is neither text nor parts of text")
    elif part.get("type", "text") in TEXT_PARTS and isinstance(part.get("text"), str):
        yield LocatedText((*path, "text"), part["text"])


def is_parts(value: Any) -> bool:
    """Whether a list is a content in parts, as its types say."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(part, dict) and part.get("type") in (*TEXT_PARTS, *OTHER_PARTS)
            for part in value
        )
    )
