"""From a judge's words to its verdict: the last one, after the thoughts, at the end of a judgment
that finished.

FastChat takes the first ``[[x]]`` of a judgment, wherever it occurs. There an answer that is quoted
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
# At most so many digits: more is not a grade, and a thousand of them is an attack on the reader.
_NUMBER = r"\s*(\d{1,3}(?:[.,]\d{0,3})?)\s*(?:/\s*10\s*)?"
_MARKS = r"[\s.,;:!\"'”’»*_`~)}]*+"
_REMARK = r"(?:(?:/|out of)\s*(?:\[\[)?10(?:\]\])?|for a tie|\([^()\[\]]{0,40}\))?+"
_END = rf"{_MARKS}{_REMARK}{_MARKS}\Z"
_RATING = re.compile(rf"\[\[{_NUMBER}\]\]{_END}")
# FastChat's other form, only where it is called a rating: a list's index looks the same.
_LABELLED_RATING = re.compile(rf"rating[\W_]{{0,6}}\[{_NUMBER}\]{_END}", re.IGNORECASE)
_VERDICT = re.compile(rf"\[\[\s*([ABC])\s*\]\]{_END}")


# Full-width forms, Chinese brackets and stops, as judges of other languages write them.
_HALF_WIDTH = {0xFF01 + n: 0x21 + n for n in range(94)} | str.maketrans("【】。、", "[].,")
_ESCAPED_BRACKET = re.compile(r"\\([\[\]])")
_END_TOKENS = re.compile(
    r"(?:\s*+(?:</?(?:s|answer|verdict|rating|judg(?:e)?ment|score|end_of_turn)>|<end_of_turn>"
    r"|<\|[a-z_]{1,20}\|>))++\s*+\Z",
    re.IGNORECASE,
)
# What is right before a bracket that is not a verdict: another one, or the prompt's own example.
_OTHER_BEFORE = re.compile(
    r"\[\[\s*([^\[\]]{1,12}?)\s*\]\][\s\"'*_`]{0,6}(?:or|and|to|oder|ou|[/,–-])?[\s\"'*_`]{0,6}\Z",
    re.IGNORECASE,
)
_EXAMPLE_BEFORE = re.compile(
    r"(?:for example|e\.g\.|format)[\s:,\"'*_`]{0,8}(?:rating[\s:\"'*_`]{0,6})?\Z", re.IGNORECASE
)
_LOOK = 80  # characters before a verdict
_LONGEST_END = 200  # characters in which a judgment may end with tokens


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
    if match is None or _is_ambiguous(words, match):
        return FAILED
    return float(match[1].replace(",", "."))


def parse_verdict(text: str, finish_reason: str = "") -> str:
    """The choice that a judgment ends with: "A", "B" or "tie" for ``[[A]]``, ``[[B]]`` or
    ``[[C]]``, else "error". Arguments as for :func:`parse_rating`.
    """
    words = _finished_words(text, finish_reason)
    match = _VERDICT.search(words)
    if match is None or _is_ambiguous(words, match):
        return "error"
    return "tie" if match[1] == "C" else match[1]


def _is_ambiguous(words: str, match: re.Match[str]) -> bool:
    """Whether another verdict is beside the last one, or the prompt's own words were repeated:
    its example, or the line in which it names all three choices.
    """
    before = words[max(match.start() - _LOOK, 0) : match.start()]
    other = _OTHER_BEFORE.search(before)
    if (other and other[1] != match[1]) or _EXAMPLE_BEFORE.search(before):
        return True
    line = words[words.rfind("\n", 0, match.start()) + 1 :]
    return all(f"[[{choice}]]" in line for choice in "ABC")


def _finished_words(text: str, finish_reason: str) -> str:
    """What the judge said after its thoughts; nothing where it was stopped before its end."""
    if finish_reason.lower() in UNFINISHED:
        return ""
    words = after_thoughts(text) or ""
    words = words[:-_LONGEST_END] + _END_TOKENS.sub("", words[-_LONGEST_END:])
    return _ESCAPED_BRACKET.sub(r"\1", words.translate(_HALF_WIDTH))
