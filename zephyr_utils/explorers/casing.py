"""A fitted truecaser as a browser fetches it: one file with the statistics, the weights, and the
rules of the package, which ``casing.js`` follows.

Patterns, numbers and tables of bytes are taken from the modules themselves, so that page and
package cannot drift apart in them; nothing of the model is left out or rounded.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.truecasing import (
    Truecaser,
    blocks,
    code_lines,
    detect,
    evidence,
    features,
    front_matter,
    protect,
    reading,
    recase,
    starts,
    styles,
    words,
)
from zephyr_utils.truecasing.learn import FORMAT

MODULES = (
    blocks,
    code_lines,
    detect,
    evidence,
    features,
    front_matter,
    protect,
    reading,
    recase,
    starts,
    styles,
    words,
)
MOST_BYTES = 400_000  # that a reader who presses the button waits for
BLANKS = r" \t\n\r\f\v"  # \s in patterns of bytes; in JavaScript it has more of them
# Of a pattern's source: an escape, what opens a class or a group, a back reference, a character.
TOKEN = re.compile(
    r"\\x..|\\.|\[\^?|\(\?P<\w+>|\(\?P=\w+\)|\(\?[a-z]+:|\(\?[:=!]|\(\?<[=!]|[^\\]", re.S
)
DIGIT = 16  # tables of bytes hold less, so that a hexadecimal digit does for an entry


@dataclass(frozen=True)
class PackedTruecaser:
    """What a browser fetches.

    Attributes:
        payload: the length of a JSON header (uint32, little-endian), the header, and the arrays
            whose places the header lists.
        sha256: of the payload, in hexadecimal digits.
    """

    payload: bytes
    sha256: str


def pack_truecaser(truecaser: Truecaser) -> PackedTruecaser:
    """The model and the rules of a truecaser in one file.

    Raises:
        ValueError: a pattern of the package has something that JavaScript lacks.
    """
    model = truecaser.model
    lexicon = model.lexicon
    used = np.flatnonzero(model.weights)
    flags = lexicon.certain + 2 * lexicon.common + 4 * lexicon.stops
    counts = (lexicon.form, lexicon.opening_form, lexicon.inside, lexicon.capital)
    arrays = {
        "values": vars(words)["_VALUES"].astype("<u8").tobytes(),
        "mixers": vars(features)["_KEYS"].astype("<u4").tobytes(),
        "keys": lexicon.keys.astype("<u8").tobytes(),
        "buckets": lexicon.bucket.astype(np.uint8).tobytes(),
        "flags": flags.astype(np.uint8).tobytes(),
        "counts": _short(np.stack(counts, axis=1).ravel()),
        "gaps": _short(np.diff(used, prepend=0)),
        "weights": model.weights[used].tobytes(),
    }
    header = {
        "format": FORMAT,
        "step": model.step,
        "sizes": {name: len(content) for name, content in arrays.items()},
        "rules": {module.__name__.rpartition(".")[2]: _rules(module) for module in MODULES},
    }
    text = json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    payload = len(text).to_bytes(4, "little") + text + b"".join(arrays.values())
    return PackedTruecaser(payload, hashlib.sha256(payload).hexdigest())


def _short(values: NDArray[Any]) -> bytes:
    """Whole numbers in groups of seven bits, the lowest first; a set eighth bit says that more
    follow (LEB128).
    """
    left = values.astype(np.uint64)
    groups: list[NDArray[np.uint8]] = []
    while left.any() or not groups:
        groups.append((left & np.uint64(127)).astype(np.uint8))
        left >>= np.uint64(7)
    table = np.stack(groups, axis=1)
    lasts = table.shape[1] - 1 - np.argmax(table[:, ::-1] != 0, axis=1)
    lasts[~table.any(axis=1)] = 0
    place = np.arange(table.shape[1])
    table[place < lasts[:, None]] |= 128
    return table[place <= lasts[:, None]].tobytes()


# --- rules ----------------------------------------------------------------------------------------


def _rules(module: ModuleType) -> dict[str, Any]:
    """The constants of a module that a browser can use."""
    named = {name: _rule(value) for name, value in vars(module).items() if name.isupper()}
    return {name: value for name, value in named.items() if value is not None}


def _rule(value: Any) -> Any:
    """A constant as JSON has it: a pattern as ``[source, flags]``, a number of 64 bits as its upper
    and lower half, a table of bytes as hexadecimal digits; None for anything else.
    """
    if isinstance(value, re.Pattern):
        return list(javascript_pattern(value))
    if isinstance(value, np.uint64):
        return [int(value) >> 32, int(value) & 0xFFFFFFFF]
    if isinstance(value, str | float):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, np.ndarray):
        small = value.shape == (256,) and int(value.max()) < DIGIT
        return "".join(f"{int(entry):x}" for entry in value) if small else None
    if isinstance(value, frozenset):
        return sorted(_rule(item) for item in value)
    if isinstance(value, list | tuple):
        return [_rule(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _rule(item) for name, item in value.items()}
    return None


def javascript_pattern(pattern: re.Pattern[bytes]) -> tuple[str, str]:
    """A pattern of bytes for texts whose characters stand for a byte each: source and flags.

    A back reference that ignores case, which JavaScript lacks, comes as one that does not;
    ``casing.js`` puts the word that it refers to in its place.

    Raises:
        ValueError: the pattern has something else that JavaScript lacks.
    """
    translated = "".join(_translated(pattern))
    return translated, "i" if pattern.flags & re.I else ""


def _translated(pattern: re.Pattern[bytes]) -> Iterator[str]:
    source = pattern.pattern.decode("latin-1")
    verbose, many = pattern.flags & re.X, pattern.flags & re.M
    tokens = TOKEN.finditer(source)
    either_case: list[bool] = []  # of each group that is open, whether its letters have any case
    in_class = comment = False
    for token in (match[0] for match in tokens):
        if comment:
            comment = token != "\n"
        elif in_class:
            in_class = token != "]"
            if token == r"\S" or (any(either_case) and token.isalpha()):
                raise ValueError(f"{token} in a class has no counterpart in JavaScript: {source}")
            yield BLANKS if token == r"\s" else token
        elif verbose and token.isspace():
            continue
        elif verbose and token == "#":
            comment = True
        elif token.startswith("["):
            in_class = True
            yield token
        elif token.startswith("(?P="):
            yield rf"\k<{token[4:-1]}>"
        elif token.startswith("("):
            either_case.append(token == "(?i:" or any(either_case))
            yield "(?:" if token == "(?i:" else token.replace("?P", "?")
        elif token == ")":
            either_case.pop()
            yield token
        elif any(either_case) and token.isalpha():
            yield f"[{token.lower()}{token.upper()}]"
        else:
            yield {
                r"\s": f"[{BLANKS}]",
                r"\S": f"[^{BLANKS}]",
                r"\A": "^",
                r"\Z": "$",
                ".": r"[^\n]",
                "^": r"(?:^|(?<=\n))" if many else "^",
                "$": r"(?=\n?$)",
            }.get(token, token)
