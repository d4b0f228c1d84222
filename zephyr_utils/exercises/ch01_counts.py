"""The check of chapter 01's truecaser that counts."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from zephyr_utils.exercises.core import Wrong, attempt, exercise

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_OPENS = re.compile(r"(?:\A|[.!?][\"')]*\s+|\n)[\s\"'(*#\d.)-]*\Z")
Repair = Callable[[str], str]


def _words(text: str) -> Iterator[tuple[str, bool, int, int]]:
    for match in _WORD.finditer(text):
        start, end = match.span()
        yield match[0], bool(_OPENS.search(text, max(0, start - 12), start)), start, end


def _counts(texts: Sequence[str], openers: bool = False) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for text in texts:
        for word, opens, *_ in _words(text):
            if openers or not opens:
                counts[word.lower()][word] += 1
    return counts


def _repair(forms: dict[str, str], opening: bool = True) -> Repair:
    def repair(text: str) -> str:
        pieces, done = [], 0
        for word, opens, start, end in _words(text):
            form = forms.get(word.lower(), word)
            pieces += [text[done:start], form[:1].upper() + form[1:] if opens and opening else form]
            done = end
        return "".join(pieces) + text[done:]

    return repair


def _fit(texts: Sequence[str]) -> Repair:
    return _repair({w: c.most_common(1)[0][0] for w, c in _counts(texts).items()})


def _ever_capital(texts: Sequence[str]) -> Repair:
    return _repair({w: min(c) for w, c in _counts(texts).items()})  # capitals sort first


def _splitting(texts: Sequence[str]) -> Repair:
    repair = _fit(texts)
    return lambda text: " ".join(repair(text).split())


def _unknown_small(texts: Sequence[str]) -> Repair:
    known = {w: c.most_common(1)[0][0] for w, c in _counts(texts).items()}

    def repair(text: str) -> str:
        return _repair({w: known.get(w, w) for w in map(str.lower, _WORD.findall(text))})(text)

    return repair


@exercise(
    "01_truecasing",
    right="A truecaser in a dozen lines. It knows the words of its text, and nothing of context, "
    "of abbreviations, or of when to stop.",
    solution=_fit,
    wrong={
        "return a function": lambda texts: _fit(texts)("We met pia."),
        "stays small": lambda texts: lambda text: text,
        "opens a sentence": lambda texts: _repair(
            {w: c.most_common(1)[0][0] for w, c in _counts(texts, openers=True).items()}
        ),
        "not only its first letter": lambda texts: _repair(
            {w: c.most_common(1)[0][0].capitalize() if c.most_common(1)[0][0] != w else w
             for w, c in _counts(texts).items()}
        ),
        "more often": _ever_capital,
        "KeyError": lambda texts: lambda text: [
            dict(_counts(texts))[word.lower()] for word in _WORD.findall(text)
        ],
        "never seen": _unknown_small,
        "white space": _splitting,
        "begin with a capital": lambda texts: _repair(
            {w: c.most_common(1)[0][0] for w, c in _counts(texts).items()}, opening=False
        ),
    },
)  # fmt: skip
def check_fit_truecaser(fn: Callable[[list[str]], Repair]) -> None:
    """``fn(texts) -> repair``: learn from well-cased texts how words are written inside sentences,
    and return a function that gives each word of a text its most frequent form.
    """
    texts = [
        "We met Pia in Rome.", "Ask Pia. She may know the way.", "They may go to NASA in May.",
        "The team of NASA met Otto, and Otto left. The team may stay.", "The end. The rest.",
    ]  # fmt: skip
    cases = [
        ("We met pia.", "We met Pia.", "A name that the texts hold stays small."),
        ("They asked nasa.", "They asked NASA.", "The whole form counts, not only its first "
                                                 "letter."),
        ("We know the way.", "We know the way.", "A word that opens a sentence teaches nothing "
                                                 "of its case: count inside sentences alone."),
        ("We may go.", "We may go.", "Take the form that occurs more often, not any that occurs."),
        ("We met Wladimir and zoe.", "We met Wladimir and zoe.", "A word that was never seen stays "
                                                                 "as it is."),
        ("They left. wladimir stayed.", "They left. Wladimir stayed.", "Words that open a sentence "
                                                                       "begin with a capital."),
        ("- pia,  then\n- otto!", "- Pia,  then\n- Otto!", "Only letters may change, no white "
                                                           "space and no mark."),
    ]  # fmt: skip
    repair = attempt(fn, texts)
    if not callable(repair):
        raise Wrong(f"Learn from the texts and return a function, not {type(repair).__name__}.")
    for text, expected, hint in cases:
        got = attempt(repair, text)
        if got != expected:
            raise Wrong(f"{hint} {text!r} should become {expected!r}, not {got!r}.")
