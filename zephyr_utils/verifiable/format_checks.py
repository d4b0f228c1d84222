"""Checks of an answer's form, in the manner of IFEval (Zhou et al. 2023, arXiv 2311.07911).

Each is a function of the answer's text; what is in a question's data is its keyword arguments.
A bound that is left out does not bind; ``exactly`` is both bounds at once.
"""

import re
from typing import Literal

from zephyr_utils.verifiable.text import (
    bullets_of,
    lines_of,
    numbered_items_of,
    paragraphs_of,
    phrase_count,
    sentence_count,
    word_count,
)

_TITLE = re.compile(r"<<([^<>\n]++)>>")
_PLACEHOLDER = re.compile(r"\[([^\[\]\n]++)\]")
_QUOTATION_MARKS = "\"'“”‘’ "
_HIGHLIGHT = re.compile(r"(?<!\*)\*{1,2}[^*\s][^*\n]*\*{1,2}(?!\*)")


def word_count_within(
    answer: str,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    exactly: int | None = None,
) -> bool:
    """Whether the number of words is within the bounds."""
    return _within(word_count(answer), minimum, maximum, exactly)


def sentence_count_within(
    answer: str,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    exactly: int | None = None,
) -> bool:
    """Whether the number of sentences is within the bounds."""
    return _within(sentence_count(answer), minimum, maximum, exactly)


def has_paragraphs(answer: str, *, exactly: int) -> bool:
    """Whether blank lines separate this many paragraphs."""
    return len(paragraphs_of(answer)) == exactly


def has_lines(answer: str, *, exactly: int) -> bool:
    """Whether there are this many lines that are not blank."""
    return len(lines_of(answer)) == exactly


def has_bullets(answer: str, *, exactly: int) -> bool:
    """Whether this many lines are bullet points."""
    return len(bullets_of(answer)) == exactly


def has_numbered_items(answer: str, *, exactly: int) -> bool:
    """Whether there are this many numbered items, numbered from 1."""
    return [number for number, _ in numbered_items_of(answer)] == list(range(1, exactly + 1))


def uses_word(
    answer: str,
    *,
    word: str,
    minimum: int | None = None,
    maximum: int | None = None,
    exactly: int | None = None,
) -> bool:
    """Whether the word or phrase occurs as often as the bounds ask; without bounds, at all."""
    if (minimum, maximum, exactly) == (None, None, None):
        minimum = 1
    return _within(phrase_count(answer, word), minimum, maximum, exactly)


def avoids_words(answer: str, *, words: list[str]) -> bool:
    """Whether none of the words occurs."""
    return not any(phrase_count(answer, word) for word in words)


def avoids_characters(answer: str, *, characters: str) -> bool:
    """Whether none of the characters occurs, in either case."""
    return not set(characters.lower()) & set(answer.lower())


def starts_with(answer: str, *, text: str | list[str]) -> bool:
    """Whether the answer begins with the text, or with one of several; case and the width of spaces
    do not matter.
    """
    texts = [text] if isinstance(text, str) else text
    return _spaced(answer).startswith(tuple(map(_spaced, texts)))


def ends_with(answer: str, *, text: str) -> bool:
    """Whether the answer ends with the text; case and quotation marks around do not matter."""
    end = _spaced(text)
    # A text of nothing but quotation marks is itself what is asked for.
    bare = end.strip(_QUOTATION_MARKS)
    answered = _spaced(answer)
    return answered.rstrip(_QUOTATION_MARKS).endswith(bare) if bare else answered.endswith(end)


def in_case(answer: str, *, case: Literal["lower", "upper"]) -> bool:
    """Whether every letter is of that case, and there is one."""
    return answer.islower() if case == "lower" else answer.isupper()


def has_title(answer: str) -> bool:
    """Whether there is a title in double angular brackets, ``<<such as this>>``."""
    return any(title.strip() for title in _TITLE.findall(answer))


def has_placeholders(answer: str, *, minimum: int) -> bool:
    """Whether there are at least so many placeholders in square brackets, ``[name]``."""
    return sum(bool(name.strip()) for name in _PLACEHOLDER.findall(answer)) >= minimum


def has_highlights(answer: str, *, minimum: int) -> bool:
    """Whether at least so many passages are between asterisks, ``*one*`` or ``**two**``."""
    return len(_HIGHLIGHT.findall(answer)) >= minimum


def is_quoted(answer: str) -> bool:
    """Whether the whole answer is between double quotation marks."""
    text = answer.strip()
    return len(text) > 2 and (text[0], text[-1]) in (('"', '"'), ("“", "”"))


def has_postscript(answer: str) -> bool:
    """Whether a line begins with ``P.S.`` or ``PS:``."""
    return any(re.match(r"p\.?s[.:]", line.lower()) for line in lines_of(answer))


def lines_begin_with(answer: str, *, letters: str) -> bool:
    """Whether the first letters of the lines spell the letters, as in an acrostic."""
    first = [next((c for c in line if c.isalpha()), "") for line in lines_of(answer)]
    return "".join(first).lower() == letters.lower()


def _within(count: int, minimum: int | None, maximum: int | None, exactly: int | None) -> bool:
    return (
        (minimum is None or count >= minimum)
        and (maximum is None or count <= maximum)
        and (exactly is None or count == exactly)
    )


def _spaced(text: str) -> str:
    return " ".join(text.split()).casefold()
