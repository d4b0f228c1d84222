"""From a judge's words to its verdict: the last one, after the thoughts, at the end of a judgment
that finished.

FastChat takes the first ``[[x]]`` of a judgment, wherever it stands. There an answer that is quoted
sets its own grade, a grade that the judge weighed in its thoughts beats the one it gave, and a
judgment that was cut off is graded by whatever it was quoting. On 800 public judgments of GPT-4 the
two rules read the same in 799; the one that differs goes on after its verdict.
"""

import re

from zephyr_utils.data.thoughts import after_thoughts

FAILED = -1.0
# Reasons to stop before the end, as servers name them.
UNFINISHED = {
    "content_filter",
    "error",
    "insufficient_system_resource",
    "length",
    "max_output_tokens",
    "max_tokens",
    "model_length",
    "recitation",
    "safety",
}
# At most so many digits: more is no grade, and a thousand of them is an attack on the reader.
_NUMBER = r"\s*(\d{1,3}(?:[.,]\d{0,3})?)\s*(?:/\s*10\s*)?"
_MARKS = r"[\s.,;:!\"'”’»*_`~)}]*+"
_REMARK = r"(?:(?:/|out of)\s*(?:\[\[)?10(?:\]\])?|for a tie|\([^()\[\]]{0,40}\))?+"
_END = rf"{_MARKS}{_REMARK}{_MARKS}\Z"
_RATING = re.compile(rf"\[\[{_NUMBER}\]\]{_END}")
# FastChat's other form, only where it is called a rating: a list's index looks the same.
_LABELLED_RATING = re.compile(rf"rating[\W_]{{0,6}}\[{_NUMBER}\]{_END}", re.IGNORECASE)
_VERDICT = re.compile(rf"\[\[\s*([ABC])\s*\]\]{_END}")


def parse_rating(text: str, finish_reason: str = "") -> float:
    """The grade that a judgment ends with, ``[[x]]`` or ``Rating: [x]``, else -1.

    The grade is not checked against 1 to 10 here, so that a score out of range can be named as what
    it is.

    Args:
        text: the judge's words, with or without its thoughts.
        finish_reason: why the server stopped, where that is known.
    """
    words = _finished_words(text, finish_reason)
    match = _RATING.search(words) or _LABELLED_RATING.search(words)
    return float(match[1].replace(",", ".")) if match else FAILED


def parse_verdict(text: str, finish_reason: str = "") -> str:
    """The choice that a judgment ends with: "A", "B" or "tie" for ``[[A]]``, ``[[B]]`` or
    ``[[C]]``, else "error". Arguments as for :func:`parse_rating`.
    """
    match = _VERDICT.search(_finished_words(text, finish_reason))
    if match is None:
        return "error"
    return "tie" if match[1] == "C" else match[1]


def _finished_words(text: str, finish_reason: str) -> str:
    """What the judge said after its thoughts; nothing where it was stopped before its end."""
    if finish_reason.lower() in UNFINISHED:
        return ""
    return after_thoughts(text) or ""
