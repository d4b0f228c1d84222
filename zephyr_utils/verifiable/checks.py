"""The kinds of checks by the names that a question's data gives them, and their validation.

A kind is a function of an answer's text; its keyword arguments, with their types, are what a check
of that kind must and may hold: ``{"kind": "words", "maximum": 30}``.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from zephyr_utils.data.thoughts import after_thoughts
from zephyr_utils.errors import HandbookError
from zephyr_utils.verifiable import code_checks, content_checks, format_checks

KINDS: dict[str, Callable[..., bool]] = {
    "answer": content_checks.equals_answer,
    "mentions": content_checks.mentions_any,
    "mentions_all": content_checks.mentions_all,
    "list": content_checks.lists_exactly,
    "items": content_checks.has_list_of,
    "number": content_checks.last_number_is,
    "numbers": content_checks.numbers_are,
    "no_refusal": content_checks.is_no_refusal,
    "words": format_checks.word_count_within,
    "sentences": format_checks.sentence_count_within,
    "paragraphs": format_checks.has_paragraphs,
    "lines": format_checks.has_lines,
    "bullets": format_checks.has_bullets,
    "numbered": format_checks.has_numbered_items,
    "uses": format_checks.uses_word,
    "avoids": format_checks.avoids_words,
    "avoids_characters": format_checks.avoids_characters,
    "starts_with": format_checks.starts_with,
    "ends_with": format_checks.ends_with,
    "case": format_checks.in_case,
    "title": format_checks.has_title,
    "placeholders": format_checks.has_placeholders,
    "highlights": format_checks.has_highlights,
    "quoted": format_checks.is_quoted,
    "postscript": format_checks.has_postscript,
    "acrostic": format_checks.lines_begin_with,
    "code_block": code_checks.has_code_block,
    "function": code_checks.defines_function,
    "class": code_checks.defines_class,
    "json": code_checks.parses_as_json,
}
_NEED_A_BOUND = ("words", "sentences")


@dataclass(frozen=True)
class AnswerCheck:
    """One instruction that a program can verify."""

    kind: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        named = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{self.kind}({named})"

    def is_followed(self, answer: str) -> bool:
        """Strictly: by the answer as it stands, without a reasoning model's thoughts. An empty
        answer follows nothing, nor does one that breaks off in mid-thought.
        """
        return self._holds(after_thoughts(answer) or "")

    def is_followed_loosely(self, answer: str) -> bool:
        """By the answer or one of its variants (:func:`loose_variants`)."""
        return any(map(self._holds, loose_variants(after_thoughts(answer) or "")))

    def _holds(self, answer: str) -> bool:
        return bool(answer.strip()) and KINDS[self.kind](answer, **self.parameters)


def loose_variants(answer: str) -> list[str]:
    """The eight texts that IFEval's loose accuracy tries: the answer, without its first line,
    without its last, without both, and each of these without asterisks.

    Source: Zhou et al. 2023, arXiv 2311.07911, section 2.2; the lines are cut and stripped as in
    its ``evaluation_lib.test_instruction_following_loose``.
    """
    lines = answer.split("\n")
    kept = [answer] + ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return [*kept, *(text.replace("*", "") for text in kept)]


def parse_check(data: object, where: str) -> AnswerCheck:
    """A check from a question's data.

    Args:
        data: ``{"kind": ..., parameter: value, ...}``.
        where: what an error names: the question and the turn.

    Raises:
        HandbookError: an unknown kind or parameter, one that is missing or of another type, or
            bounds that nothing or everything satisfies.
    """
    if not isinstance(data, Mapping):
        raise _bad(f"a check is {type(data).__name__}, not a mapping with a kind", where)
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        near = get_close_matches(str(kind), KINDS, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"choose one of {', '.join(KINDS)}"
        raise _bad(f"there is no kind of check `{kind}`", where, hint)
    given = {str(name): value for name, value in data.items() if name != "kind"}
    function = KINDS[kind]
    known = dict(list(inspect.signature(function).parameters.items())[1:])
    hints = typing.get_type_hints(function)
    if unknown := sorted(set(given) - set(known)):
        takes = ", ".join(known) or "none"
        raise _bad(f"`{kind}` has no parameter `{unknown[0]}`", where, f"it takes {takes}")
    needed = [name for name, value in known.items() if value.default is value.empty]
    if missing := [name for name in needed if name not in given]:
        raise _bad(f"`{kind}` needs the parameter `{missing[0]}`", where)
    for name, value in given.items():
        if not _is_of_type(value, hints[name]):
            raise _bad(f"`{name}` of `{kind}` cannot be {value!r}", where)
    minimum, maximum = given.get("minimum"), given.get("maximum")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise _bad(f"`{kind}` has a minimum above its maximum", where)
    if kind in _NEED_A_BOUND and not given:
        raise _bad(f"`{kind}` needs a bound", where, "set minimum, maximum or exactly")
    return AnswerCheck(kind, given)


def _is_of_type(value: object, hint: Any) -> bool:
    """Whether a value from YAML or JSON is of the annotated type; an empty text or list and a
    negative count are of none.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_is_of_type(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is list:
        return (
            isinstance(value, list) and bool(value) and all(_is_of_type(v, inner[0]) for v in value)
        )
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if hint is str:
        return isinstance(value, str) and bool(value.strip())
    return isinstance(value, hint)


def _bad(what: str, where: str, remedy: str = "") -> HandbookError:
    return HandbookError(
        what, where=where, remedy=remedy or "see zephyr_utils/verifiable/checks.py for the kinds"
    )
