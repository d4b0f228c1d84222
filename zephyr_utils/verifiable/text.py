"""Texts as the checks read them: words, sentences, lists, numbers and code blocks.

Everything here takes time in proportion to the text, whatever the text is, and no expression is
made from data: a model's answer cannot make a check slow.
"""

import re
import unicodedata
from collections.abc import Iterator

# Inner apostrophes and hyphens belong to a word: "don't" and "two-thirds" are one word each, where
# IFEval's tokenizer (nltk's \w+) counts two.
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|[A-Z])$")
# From the beginning of a run of marks only, and without backtracking into it.
_SENTENCE_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s|$)")
_BULLET = re.compile(r"[ \t]*[-*•+–][ \t]+(?=\S)")
_ITEM_NUMBER = re.compile(r"[ \t]*\(?\d{1,3}[.):][ \t]+(?=\S)")
_NUMBER = re.compile(
    r"(?<![\w^.])(?P<sign>(?<![\d)\]][ ])(?<![\d)\]])[-−])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?!\d)|\d{1,18}(?!\d))(?P<decimals>\.\d{1,18})?"
    r"(?:[ ]?/[ ]?(?P<divisor>[1-9]\d{0,8})(?![\w/]))?(?!st\b|nd\b|rd\b|th\b)"
    r"|(?P<word>[A-Za-z]+)"
)
_FRACTION = re.compile(r"\\[dt]?frac\{(\d{1,9})\}\{(\d{1,9})\}")
_UNITS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_LONGEST_NUMBER = 16  # words
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}


def plain_words(text: str) -> list[str]:
    """The words of a text for comparing answers: compatibility forms and accents resolved, case
    folded, punctuation and Markdown left out.
    """
    # Accents that stand apart go first: putting a long run of them in order takes quadratic time.
    decomposed = unicodedata.normalize("NFKD", _without_accents(text.casefold()))
    return re.findall(r"[^\W_]+", _without_accents(decomposed))


def _without_accents(text: str) -> str:
    return text if text.isascii() else "".join(c for c in text if not unicodedata.combining(c))


def phrase_count(text: str, phrase: str) -> int:
    """How often the phrase occurs in the text, as whole words of :func:`plain_words`."""
    # A space on either side of every word, so that neighbouring occurrences do not share one.
    words = "  ".join(plain_words(phrase))
    return f" {'  '.join(plain_words(text))} ".count(f" {words} ") if words else 0


def word_count(text: str) -> int:
    """Number of words."""
    return len(_WORD.findall(text))


def sentence_count(text: str) -> int:
    """Number of sentences: pieces that end with ``.``, ``!``, ``?`` or ``…`` before a space, a few
    abbreviations and initials apart; words after the last end are one sentence more.
    """
    count, start = 0, 0
    for end in _SENTENCE_END.finditer(text):
        if end.group().startswith(".") and _ABBREVIATION.search(
            text[max(0, end.start() - 6) : end.start()]
        ):
            continue
        count += _WORD.search(text, start, end.start()) is not None
        start = end.end()
    return count + (_WORD.search(text, start) is not None)


def paragraphs_of(text: str) -> list[str]:
    """The paragraphs: what blank lines separate."""
    return [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


def lines_of(text: str) -> list[str]:
    """The lines that are not blank."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def bullets_of(text: str) -> list[str]:
    """What is behind the bullets (``-``, ``*``, ``•``, ``+``) at the beginning of lines."""
    return [line[m.end() :].strip() for line in text.split("\n") if (m := _BULLET.match(line))]


def numbered_items_of(text: str) -> list[tuple[int, str]]:
    """Number and text of each line that begins with a number, as ``1.`` or ``1)``."""
    items = []
    for line in text.split("\n"):
        if mark := _ITEM_NUMBER.match(line):
            items.append((int(re.sub(r"\D", "", mark.group())), line[mark.end() :].strip()))
    return items


def list_items(text: str) -> list[list[str]]:
    """The items of an answer that is a list, each as its :func:`plain_words`: one a line, or
    separated by commas, semicolons or a final "and".
    """
    lines = []
    for line in lines_of(text):
        mark = _BULLET.match(line) or _ITEM_NUMBER.match(line)
        lines.append(line[mark.end() :] if mark else line)
    parts = re.split(r",[ ]and[ ]|[,;]|[ ]and[ ]", lines[0]) if len(lines) == 1 else lines
    return [words for part in parts if (words := plain_words(part))]


def numbers_of(text: str) -> list[float]:
    """The numbers of a text in order, in digits or in English words.

    Thousands may have commas, ``3/4`` is 0.75, and a percent sign changes nothing. Ordinals in
    digits, exponents and the digits within a word (``m^2``, ``H2O``) are not numbers; neither are
    those that number the items of a list.
    """
    lines = []
    for line in text.split("\n"):
        mark = _ITEM_NUMBER.match(line)
        lines.append(line[mark.end() :] if mark else line)
    return list(_numbers(_FRACTION.sub(r" \1/\2 ", "\n".join(lines))))


def _numbers(text: str) -> Iterator[float]:
    words: list[str] = []
    end = 0
    for match in _NUMBER.finditer(text):
        word = (match["word"] or "").lower()
        known = word in _UNITS or word in _TENS or word in _SCALES
        joined = text[end : match.start()].strip() in ("", "-") or not words
        if words and not (joined and (known or word == "and") and len(words) < _LONGEST_NUMBER):
            yield _spoken(words)
            words = []
        end = match.end()
        if known or (word == "and" and words and words[-1] in _SCALES):
            words.append(word)
        elif not word:
            number = float(match["digits"].replace(",", "") + (match["decimals"] or ""))
            number = -number if match["sign"] else number
            yield number / int(match["divisor"]) if match["divisor"] else number
    if words:
        yield _spoken(words)


def _spoken(words: list[str]) -> float:
    """The value of number words, such as ``two hundred and six thousand``."""
    total, group = 0, 0
    for word in words:
        if word in _SCALES:
            scale = _SCALES[word]
            if scale == 100:
                group = max(group, 1) * scale
            else:
                total, group = total + max(group, 1) * scale, 0
        elif word != "and":
            group += _UNITS.get(word, 0) + _TENS.get(word, 0)
    return float(total + group)


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Language (lower case, maybe empty) and content of each closed block between lines of three
    backticks.
    """
    blocks: list[tuple[str, str]] = []
    language = ""
    kept: list[str] | None = None
    for line in text.split("\n"):
        stripped = line.strip()
        if not stripped.startswith("```"):
            if kept is not None:
                kept.append(line)
        elif kept is None:
            language, kept = stripped.strip("`").strip().lower(), []
        else:
            blocks.append((language, "\n".join(kept)))
            kept = None
    return blocks
