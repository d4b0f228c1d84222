"""Changing letters inside JSON and Python literals without touching anything else of the text.

A file of records is not rewritten from what was parsed: spacing, escapes, numbers and repeated keys
stay as they came, byte for byte. A letter that is written as an escape (``\\u00e9``) stays one.
"""

import ast
import json
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

MARK = "\ufeff"  # of the byte order, before the first line of some files


class Encoded:
    """The step of a path that leads into a text which is itself JSON or a Python literal."""


class Slice(NamedTuple):
    """The step of a path that leads to a part of a text (start and end in characters)."""

    start: int
    end: int


ENCODED: Final = Encoded()
Path = tuple[str | int | Encoded | Slice, ...]


class Change(NamedTuple):
    """A text inside a value, what it is and what it is to be; both have the same length."""

    path: Path
    old: str
    new: str


class _Literal(NamedTuple):
    """Where a string literal is in a text, quotation marks included."""

    start: int
    end: int


_Tree = dict[str, "_Tree"] | list["_Tree"] | _Literal | None

_TOKEN = re.compile(
    r"""\s*+(?: (?P<text>"[^"\\]*+(?:\\.[^"\\]*+)*+" | '[^'\\]*+(?:\\.[^'\\]*+)*+')
    | (?P<open>[\[({]) | (?P<close>[\])}]) | (?P<mark>[,:]) | (?P<word>[\w.+-]++) )""",
    re.X | re.S,
)
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|"  # one character in JSON
_ESCAPE = r"\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\x[0-9a-fA-F]{2}|\\[0-7]{1,3}|\\."
_JSON_ESCAPE, _PYTHON_ESCAPE = re.compile(_PAIR + _ESCAPE, re.S), re.compile(_ESCAPE, re.S)


def changed_text(text: str, changes: Iterable[Change]) -> str:
    """The text with the changes made; every other character stays.

    A path begins with `ENCODED` where the text is a literal, is a single `Slice` where a part of it
    is meant, and is empty for the whole.

    Raises:
        ValueError: the text is not a literal, or does not hold what a change calls old.
    """
    inner: list[Change] = []
    slices: list[tuple[Slice, str]] = []
    for path, old, new in changes:
        if not path:
            if text != old:
                raise ValueError("the text is not the one that was read")
            return new
        first, rest = path[0], path[1:]
        if isinstance(first, Slice):
            slices.append((first, new))
        else:
            inner.append(Change(rest, old, new))
    for (start, end), new in slices:
        text = text[:start] + new + text[end:]  # of the same length, so other slices stay
    return changed_literal(text, inner) if inner else text


def changed_literal(text: str, changes: Iterable[Change], *, is_json: bool | None = None) -> str:
    """The JSON or Python literal with the changes made; paths lead from its outermost value on.

    Args:
        text: the literal.
        changes: what to change.
        is_json: whether it is JSON, if that is known already.

    Raises:
        ValueError: as `changed_text`.
    """
    is_json = _is_json(text) if is_json is None else is_json
    tree = _tree(text, is_json)
    inside: dict[_Literal, list[Change]] = defaultdict(list)
    for path, old, new in changes:
        node, taken = tree, 0
        for step in path:
            if isinstance(node, _Literal):
                break
            node = _child(node, step)
            taken += 1
        if not isinstance(node, _Literal):
            raise ValueError("there is no text at the end of the path")
        inside[node].append(Change(path[taken:], old, new))
    pieces, done = [], 0
    for literal in sorted(inside):
        written = text[literal.start : literal.end]
        value = _value(written, is_json)
        pieces.append(text[done : literal.start])
        pieces.append(_rewritten(written, value, changed_text(value, inside[literal]), is_json))
        done = literal.end
    return "".join([*pieces, text[done:]])


def can_change(text: str) -> bool:
    """Whether `changed_literal` finds its way in a text that was parsed."""
    try:
        _tree(text, _is_json(text))
    except ValueError:
        return False
    return True


def _is_json(text: str) -> bool:
    try:
        json.loads(text.removeprefix(MARK))
    except (ValueError, RecursionError):
        return False
    return True


def _child(node: _Tree, step: str | int | Encoded | Slice) -> _Tree:
    try:
        if isinstance(node, dict) and isinstance(step, str):
            return node[step]
        if isinstance(node, list) and isinstance(step, int):
            return node[step]
    except (KeyError, IndexError):
        pass
    raise ValueError(f"there is no {step!r}")


def _tree(text: str, is_json: bool) -> _Tree:
    """The lists and objects of a literal with the places of their strings; other values are None.

    The text is known to be a literal, so that only what matters here is checked.
    """
    at = len(MARK) if text.startswith(MARK) else 0
    root: list[_Tree] = []
    stack: list[tuple[dict[str, _Tree] | list[_Tree], list[str]]] = [(root, [])]
    while (token := _TOKEN.match(text, at)) is not None:
        at = token.end()
        kind = token.lastgroup
        if kind == "close":
            if len(stack) == 1:
                raise ValueError("a bracket is closed that was not opened")
            stack.pop()
            continue
        if kind == "mark":
            continue
        value: _Tree = None
        if kind == "text":
            value = _Literal(*token.span("text"))
        elif kind == "open":
            value = {} if token["open"] == "{" else []
        container, keys = stack[-1]
        if isinstance(container, list):
            container.append(value)
        elif keys:
            container[keys.pop()] = value
        else:
            keys.append(_value(token["text"], is_json) if kind == "text" else token[0].strip())
        if isinstance(value, dict | list):
            stack.append((value, []))
    if text[at:].strip() or len(stack) != 1 or len(root) != 1:
        raise ValueError("the text is not a literal")
    return root[0]


def _value(written: str, is_json: bool) -> str:
    """What a string literal stands for."""
    if "\\" not in written:
        return written[1:-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes
            value = json.loads(written) if is_json else ast.literal_eval(written)
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"the string cannot be read: {error}") from error
    if not isinstance(value, str):
        raise ValueError("the literal is not a string")
    return value


def _rewritten(written: str, old: str, new: str, is_json: bool) -> str:
    """The string literal for the new value, in the old one's way of writing it."""
    body = written[1:-1]
    pieces: list[str] = []
    read, place = 0, 0  # of the literal, and of the value
    for escape in (_JSON_ESCAPE if is_json else _PYTHON_ESCAPE).finditer(body):
        plain = new[place : place + escape.start() - read]
        place += len(plain) + 1
        if place > len(new):
            break
        before, after = old[place - 1], new[place - 1]
        pieces += (plain, escape[0] if before == after else _letter(escape[0], after))
        read = escape.end()
    rest = new[place:]
    if len(rest) != len(body) - read or len(old) != len(new):
        raise ValueError("the string is written in a way that is not known")
    return "".join([written[0], *pieces, rest, written[-1]])


def _letter(unit: str, letter: str) -> str:
    """A letter written as the one was whose place it takes."""
    kind, digits = unit[1], unit[2:]
    if kind not in "uUx":
        raise ValueError("the letter is written in a way that is not known")
    code = f"{ord(letter):0{len(digits)}x}"
    return unit[:2] + (code.upper() if digits != digits.lower() else code)
