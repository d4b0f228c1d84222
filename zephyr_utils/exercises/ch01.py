"""Checks of chapter 01: sentence starts, the signature of the fault, scores of edits, the order of
the steps.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

_BOUNDARY = re.compile(r"[a-z][.!?]\s+[a-z]")
_PRONOUN = re.compile(r"\bi\b")


def _capitalised_fault(text: str) -> bool:
    text = text.strip()
    return text == text.capitalize() and bool(_BOUNDARY.search(text) or _PRONOUN.search(text))


@exercise(
    "01_truecasing",
    right="Equality with capitalize() finds the fault; evidence inside keeps one-liners that were "
    "never faulty out.",
    solution=_capitalised_fault,
    wrong={
        "one-liner": lambda text: text.strip() == text.strip().capitalize(),
        "other capitals": lambda text: bool(_BOUNDARY.search(text)),
        "white space": lambda text: (
            text == text.capitalize() and bool(_BOUNDARY.search(text) or _PRONOUN.search(text))
        ),
        "pronoun": lambda text: (
            text.strip() == text.strip().capitalize() and bool(_BOUNDARY.search(text))
        ),
        "inside a word": lambda text: (
            text.strip() == text.strip().capitalize()
            and bool(_BOUNDARY.search(text) or "i" in text)
        ),
        "never finds": lambda text: False,
        "blanks on both sides": lambda text: (
            text.strip() == text.strip().capitalize()
            and bool(_BOUNDARY.search(text) or " i " in text)
        ),
        "line break": lambda text: (
            text.strip() == text.strip().capitalize()
            and bool(re.search(r"[a-z][.!?] +[a-z]", text) or _PRONOUN.search(text))
        ),
        "raises the first letter": lambda text: (
            text.strip()[1:] == text.strip()[1:].lower()
            and bool(_BOUNDARY.search(text) or _PRONOUN.search(text))
        ),
        "not a Match": lambda text: (
            text.strip() == text.strip().capitalize()
            and (_BOUNDARY.search(text) or _PRONOUN.search(text) or False)
        ),
    },
)
def check_capitalised_fault(fn: Callable[[str], bool]) -> None:
    """``fn(text) -> bool``: whether a message equals its own ``str.capitalize()`` and shows a
    sentence start or ``i``.
    """
    cases = [
        (
            "Hello. how are you?",
            True,
            "It never finds even the example that the data set's card quotes.",
        ),
        (
            "Oaks are trees.",
            False,
            "A well-cased one-liner equals its capitalize() as well: ask for evidence inside.",
        ),
        (
            "Ask Rosa. she knows.",
            False,
            "It holds other capitals, so str.capitalize() has not been here.",
        ),
        ("\n I agree. so do they.", True, "Leading white space hides the fault: strip first."),
        ("Yes, i can help.", True, "The pronoun i in lower case is evidence too."),
        ("It is a fish.", False, "An i inside a word is not a pronoun: match whole words."),
        ("Sorry, i'm late.", True, "The pronoun need not have blanks on both sides: i'm, i, i."),
        ("Oaks are trees.\nask me.", True, "A sentence may end at a line break as well."),
        (
            "hello. how are you?",
            False,
            "capitalize() raises the first letter, and here it is small.",
        ),
    ]
    for text, expected, hint in cases:
        got = attempt(fn, text)
        if not isinstance(got, bool | np.bool_):
            raise Wrong(f"Return True or False, not a {type(got).__name__}: bool(...) makes one.")
        if got != expected:
            raise Wrong(f"{hint} For {text!r} the answer should be {expected}, not {got}.")


def _edit_scores(
    reference: Sequence[str], source: Sequence[str], hypothesis: Sequence[str]
) -> tuple[float, float, float]:
    rows = list(zip(reference, source, hypothesis, strict=True))
    right = sum(want != had and got == want for want, had, got in rows)
    edits, faults = (
        sum(had != got for _, had, got in rows),
        sum(want != had for want, had, _ in rows),
    )
    precision, recall = right / edits, right / faults
    return precision, recall, 2 * precision * recall / (precision + recall)


def _swapped(*texts: Sequence[str]) -> tuple[float, float, float]:
    precision, recall, f1 = _edit_scores(*texts)
    return recall, precision, f1


def _mean(*texts: Sequence[str]) -> tuple[float, float, float]:
    precision, recall, _ = _edit_scores(*texts)
    return precision, recall, (precision + recall) / 2


def _accuracy(
    reference: Sequence[str], source: Sequence[str], hypothesis: Sequence[str]
) -> tuple[float, ...]:
    return (
        sum(want == got for want, got in zip(reference, hypothesis, strict=True)) / len(reference),
    ) * 3


def _all_words(
    reference: Sequence[str], source: Sequence[str], hypothesis: Sequence[str]
) -> tuple[float, ...]:
    right = sum(want == got for want, got in zip(reference, hypothesis, strict=True))
    edits = sum(had != got for had, got in zip(source, hypothesis, strict=True))
    faults = sum(want != had for want, had in zip(reference, source, strict=True))
    precision, recall = right / edits, right / faults
    return precision, recall, 2 * precision * recall / (precision + recall)


@exercise(
    "01_truecasing",
    right="These are the scores of an editor: what it touched and got right, out of what it "
    "touched and out of what was wrong.",
    solution=_edit_scores,
    wrong={
        "other way round": _swapped,
        "harmonic mean": _mean,
        "share of words": _accuracy,
        "never touched": _all_words,
    },
)
def check_edit_scores(
    fn: Callable[[list[str], list[str], list[str]], tuple[float, float, float]],
) -> None:
    """``fn(reference, source, hypothesis) -> (precision, recall, f1)`` over edits; three equally
    long lists of words.
    """
    reference = ["Dear", "Pia", ",", "the", "train", "to", "Rome", "is", "late", "."]
    reference += ["Ask", "the", "clerk", "."]
    source = [word.lower() for word in reference]
    for line in (
        "Dear Pia , the Train to Rome is Late . Ask the Clerk .",
        "Dear pia , the train to rome is Late . Ask the clerk .",
    ):
        hypothesis = line.split()
        texts = reference, source, hypothesis
        mistakes = {
            "Precision and recall are the other way round: precision divides by the edits, recall "
            "by the faults.": _swapped(*texts),
            "F1 is the harmonic mean of the two, 2pr / (p + r), not their half-sum.": _mean(*texts),
            "That is accuracy, the share of words that end up right; most were right before, so it "
            "is high for doing nothing.": _accuracy(*texts),
            "Words that were never touched and needed nothing count as right here; count edited "
            "words alone.": _all_words(*texts),
        }
        compare(
            attempt(fn, *texts),
            _edit_scores(*texts),
            mistakes,
            "Count edits, faults and right edits once more.",
        )


def _order_counts(refuses: Sequence[bool], faulty: Sequence[bool]) -> tuple[int, int, int]:
    rows = list(zip(refuses, faulty, strict=True))
    return (
        sum(not refused for refused, _ in rows),
        sum(fault and not refused for refused, fault in rows),
        sum(fault and refused for refused, fault in rows),
    )


@exercise(
    "01_truecasing",
    right="Both orders end with the same rows. What differs is the work done in vain, and what the "
    "report says of the fault.",
    solution=_order_counts,
    wrong={
        "rows kept": lambda refuses, faulty: (sum(refuses), *_order_counts(refuses, faulty)[1:]),
        "all faulty rows": lambda refuses, faulty: (
            _order_counts(refuses, faulty)[0],
            sum(faulty),
            _order_counts(refuses, faulty)[2],
        ),
        "removed anyway": lambda refuses, faulty: (*_order_counts(refuses, faulty)[:2], 0),
        "counted as a share": lambda refuses, faulty: tuple(
            n / len(refuses) for n in _order_counts(refuses, faulty)
        ),
    },
)
def check_order_counts(fn: Callable[[list[bool], list[bool]], tuple[int, int, int]]) -> None:
    """``fn(refuses, faulty) -> (kept, repaired, in_vain)``: rows kept, repaired among them,
    repaired and then removed.
    """
    for refuses, faulty in (
        (
            [True, True, True, False, False, False, False],
            [True, True, False, True, False, False, True],
        ),
        ([False, True, False, False], [True, True, True, False]),
    ):
        kept, repaired, in_vain = _order_counts(refuses, faulty)
        mistakes = {
            "The first number is of the rows kept, those that do not refuse.": (
                sum(refuses),
                repaired,
                in_vain,
            ),
            "The second number counts all faulty rows; with the filter first, those that refuse "
            "are gone by then.": (
                kept,
                sum(faulty),
                in_vain,
            ),
            "With truecasing first, faulty rows that refuse are repaired and removed anyway; they "
            "are the third number.": (
                kept,
                repaired,
                0,
            ),
            "Rows are wanted, and not counted as a share.": (
                kept / len(refuses),
                repaired / len(refuses),
                in_vain / len(refuses),
            ),
        }
        compare(
            attempt(fn, refuses, faulty),
            (kept, repaired, in_vain),
            mistakes,
            f"Here refuses={refuses}, faulty={faulty}.",
        )


def _capitalise(pattern: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, lambda match: match.group().upper(), text)


@exercise(
    "01_truecasing",
    right="This rule repairs the visible part of UltraChat's fault, and shows its limits: names, "
    "'i' and new lines stay as they are.",
    solution=_capitalise(r"[.!?] +[a-z]"),
    wrong={
        "stays small": lambda text: text,
        "question marks": _capitalise(r"\. +[a-z]"),
        "NASA": lambda text: ". ".join(part.capitalize() for part in text.split(". ")),
        "inside a number": _capitalise(r"[.!?] *[a-z]"),
        "more than one space": _capitalise(r"[.!?] [a-z]"),
        "same line": _capitalise(r"[.!?]\s+[a-z]"),
        "changed": lambda text: re.sub(
            r"([.!?]) +([a-z])", lambda m: f"{m[1]} {m[2].upper()}", text
        ),
        "text's own first letter": _capitalise(r"(?:^|[.!?] +)[a-z]"),
        "pronoun": _capitalise(r"[.!?] +[a-z]|\bi\b"),
        "colons and semicolons": _capitalise(r"[.!?:;,] +[a-z]"),
    },
)
def check_sentence_starts(fn: Callable[[str], str]) -> None:
    """``fn(text) -> text``: make the first letter after ``.``, ``!`` or ``?`` and spaces on the
    same line a capital.
    """
    cases = [
        (
            "It works. try it.",
            "It works. Try it.",
            "The letter after a full stop and a space stays small.",
        ),
        (
            "Ask NASA. they know Paris. or rome.",
            "Ask NASA. They know Paris. Or rome.",
            "Only first letters may change: 'NASA' and 'Paris' must stay, but str.capitalize() and "
            "str.title() "
            "make every other letter small.",
        ),
        (
            "Really? yes! good.",
            "Really? Yes! Good.",
            "Exclamation and question marks end sentences too.",
        ),
        (
            "Take 2.5b or v1.x. it is free.",
            "Take 2.5b or v1.x. It is free.",
            "A full stop inside a number or a name ends no sentence: ask for a space after it.",
        ),
        (
            "One.  two.",
            "One.  Two.",
            "There may be more than one space between sentences, and none may get lost.",
        ),
        (
            "A list.\nitem one",
            "A list.\nitem one",
            "Stay on the same line: \\s matches line breaks as well.",
        ),
        (
            "so it goes. on and on.",
            "so it goes. On and on.",
            "The text's own first letter follows no mark: leave it.",
        ),
        ("Then i left. she stayed.", "Then i left. She stayed.", "The pronoun is another fault."),
        (
            "Two things: one, and two; no more. yes.",
            "Two things: one, and two; no more. Yes.",
            "Commas, colons and semicolons end no sentence.",
        ),
    ]
    for text, expected, hint in cases:
        got = attempt(fn, text)
        if got != expected:
            kept = (
                ""
                if str(got).lower() == text.lower()
                else " More than the case of letters was changed."
            )
            raise Wrong(f"{hint}{kept} {text!r} should become {expected!r}, not {got!r}.")
