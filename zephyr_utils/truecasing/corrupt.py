"""Making the faults on purpose, so that a repair can be scored against the text it came from."""

import re
from collections.abc import Callable

import numpy as np

from zephyr_utils.errors import HandbookError

KINDS = ("capitalize", "lower", "upper", "sentence", "mixed")
# A letter that opens a sentence in mid-message; the look-behinds spare the usual abbreviations.
SENTENCE_START = re.compile(
    r"(?<=[.!?] )(?<!\b[A-Za-z]\. )(?<!\b(?:Mr|Ms|Dr|St|vs|No)\. "
    r")(?<!\b(?:Mrs|etc|e\.g|i\.e|Inc|Ltd)\. )[A-Z](?=[a-z]*[ ,'])|(?<=\n)[A-Z](?=[a-z]*[ ,'])"
)


def corrupt_case(text: str, kind: str, rng: np.random.Generator | None = None) -> str:
    """The text with a fault of case; its length never changes.

    Args:
        text: well-cased text.
        kind: ``capitalize`` (what ``str.capitalize`` leaves: the fault of UltraChat), ``lower``,
            ``upper``, ``sentence`` (sentence starts in mid-message lowered, all else kept), or
            ``mixed`` (one of the four).
        rng: draws the kind where it is ``mixed``; not needed otherwise.

    Raises:
        HandbookError: no such kind, or ``mixed`` without a generator.
    """
    if kind == "mixed":
        if rng is None:
            raise HandbookError(
                "mixed faults are drawn at random",
                where="corrupt_case",
                remedy="pass a numpy Generator",
            )
        kind = KINDS[int(rng.integers(4))]
    if kind == "capitalize":
        return _each(text[:1], str.upper) + _each(text[1:], str.lower)
    if kind == "lower":
        return _each(text, str.lower)
    if kind == "upper":
        return _each(text, str.upper)
    if kind == "sentence":
        return SENTENCE_START.sub(lambda match: match[0].lower(), text)
    raise HandbookError(
        f"there is no fault called {kind!r}",
        where="corrupt_case",
        remedy=f"use one of {', '.join(KINDS)}",
    )


def _each(text: str, change: Callable[[str], str]) -> str:
    """Change the case of every character whose length survives it (not of ß, which becomes SS)."""
    changed = change(text)
    if len(changed) == len(text) and len(changed.encode("utf-8", "surrogatepass")) == len(
        text.encode("utf-8", "surrogatepass")
    ):
        return changed
    pairs = ((character, change(character)) for character in text)
    return "".join(
        new
        if len(new) == 1
        and len(new.encode("utf-8", "surrogatepass")) == len(old.encode("utf-8", "surrogatepass"))
        else old
        for old, new in pairs
    )
