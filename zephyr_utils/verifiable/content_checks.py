"""Checks of what an answer says: a word, a set, a number, a list, and that it is given at all.

Each is a function of the answer's text; what is in a question's data is its keyword arguments.
"""

from zephyr_utils.data.filtering import refusal_filter
from zephyr_utils.verifiable.text import (
    list_items,
    numbers_of,
    phrase_count,
    plain_words,
)

_ARTICLES = ("a", "an", "the")
# Ways to decline a task, as words of `plain_words`, near the beginning of an answer. Phrases about
# being a language model are in `data.filtering`.
_DECLINING = (
    "i cannot help", "i can t help", "i cannot assist", "i can t assist", "i cannot provide",
    "i can t provide", "i cannot answer", "i can t answer", "i cannot fulfill", "i can t fulfill",
    "i cannot fulfil", "i can t fulfil", "i cannot do that", "i can t do that", "i won t",
    "i will not", "i am unable to", "i m unable to", "i am not able to", "i m not able to",
    "i must decline", "i refuse", "i m sorry but", "i am sorry but", "i apologize but",
    "i apologise but",
)  # fmt: skip
_OPENING_WORDS = 30


def equals_answer(answer: str, *, accepted: list[str]) -> bool:
    """Whether the whole answer is one of those accepted; case, accents, punctuation, Markdown and
    an article at the beginning do not matter.
    """
    return _bare(answer) in [_bare(variant) for variant in accepted]


def mentions_any(answer: str, *, any_of: list[str], none_of: list[str] | None = None) -> bool:
    """Whether one of the phrases occurs, and none of those in `none_of`."""
    return any(phrase_count(answer, phrase) for phrase in any_of) and not any(
        phrase_count(answer, phrase) for phrase in none_of or ()
    )


def mentions_all(answer: str, *, items: list[str | list[str]]) -> bool:
    """Whether every item occurs, in any order; any variant does for an item that is a list."""
    return all(
        any(phrase_count(answer, phrase) for phrase in ([item] if isinstance(item, str) else item))
        for item in items
    )


def lists_exactly(answer: str, *, items: list[str], ordered: bool = False) -> bool:
    """Whether the answer is a list of these items and nothing else."""
    given = [" ".join(item) for item in list_items(answer)]
    wanted = [" ".join(plain_words(item)) for item in items]
    return given == wanted if ordered else sorted(given) == sorted(wanted)


def has_list_of(answer: str, *, exactly: int) -> bool:
    """Whether the answer is a list of this many items, all different."""
    items = [tuple(item) for item in list_items(answer)]
    return len(items) == len(set(items)) == exactly


def last_number_is(answer: str, *, value: float, tolerance: float = 0.0) -> bool:
    """Whether the last number of the answer is the value, as GSM8K's answers are read."""
    numbers = numbers_of(answer)
    return bool(numbers) and abs(numbers[-1] - value) <= tolerance + 1e-9


def numbers_are(answer: str, *, values: list[float]) -> bool:
    """Whether these are all the numbers of the answer, in order."""
    numbers = numbers_of(answer)
    return len(numbers) == len(values) and all(
        abs(given - wanted) <= 1e-9 for given, wanted in zip(numbers, values, strict=True)
    )


def is_no_refusal(answer: str) -> bool:
    """Whether the answer does what was asked, where there is no reason to decline."""
    opening = " ".join(plain_words(answer)[:_OPENING_WORDS])
    return not any(phrase_count(opening, phrase) for phrase in _DECLINING) and bool(
        refusal_filter([answer]).kept
    )


def _bare(text: str) -> list[str]:
    words = plain_words(text)
    return words[1:] if len(words) > 1 and words[0] in _ARTICLES else words
