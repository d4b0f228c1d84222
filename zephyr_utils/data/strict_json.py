"""JSON in which no object names a key twice: Python's reader keeps the last value and says nothing.

Of two answers called ``chosen`` nobody can tell which was meant.
"""

import ast
import json
import re
import sys
from collections import Counter
from typing import Any

REPEATED_KEY = "repeated_key"  # the reason of a row that is set aside
LONG_NUMBER_REMEDY = "write it as text in quotation marks, or leave its field out"


class RepeatedKey(ValueError):
    """An object names a key twice.

    Attributes:
        key: the first such key.
    """

    def __init__(self, key: object) -> None:
        self.key = str(key)
        super().__init__(f"an object names the key {self.key[:60]!r} twice")


class _Marked(dict[str, Any]):
    """An object that named `key` twice."""

    key = ""


def strict_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        RepeatedKey: an object names a key twice.
        ValueError, RecursionError: as `json.loads`.
    """
    return _STRICT.decode(text)


def marked_json(text: str) -> Any:
    """The same, in which `repeated_key` finds the objects that name a key twice."""
    return _MARKING.decode(text)


def repeated_key(value: Any) -> str | None:
    """A key that an object somewhere in a value from `marked_json` names twice; None if none."""
    waiting = [value]  # not by recursion, for a value may be nested as deeply as Python allows
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, _Marked):
            return inner.key
        waiting.extend(inner.values() if isinstance(inner, dict) else ())
        waiting.extend(inner if isinstance(inner, list) else ())
    return None


def strict_literal(text: str) -> Any:
    """The value of a literal as Python writes it.

    Raises:
        RepeatedKey: a dictionary names a key twice.
        ValueError, SyntaxError, TypeError, RecursionError, MemoryError: as `ast.literal_eval`.
    """
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            _unique([(key, None) for key in keys])
    return ast.literal_eval(tree)


def long_number(text: str) -> str:
    """The first number in a text that has more digits than Python reads, in words; "" without."""
    limit = sys.get_int_max_str_digits()
    for digits in re.finditer(r"[0-9]++", text):
        if (length := digits.end() - digits.start()) > limit > 0:
            return (
                f"a number of {length:,} digits, at character {digits.start() + 1}; Python reads "
                f"at most {limit:,}"
            )
    return ""


def _first_repeated(pairs: list[tuple[Any, Any]]) -> Any:
    counts = Counter(key for key, _ in pairs)
    return next(key for key, n in counts.items() if n > 1)


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RepeatedKey(_first_repeated(pairs))
    return found


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    marked = _Marked(found)
    marked.key = _first_repeated(pairs)
    return marked


_STRICT = json.JSONDecoder(object_pairs_hook=_unique)
_MARKING = json.JSONDecoder(object_pairs_hook=_marked)
