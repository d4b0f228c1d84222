"""Scoring a repair against the text as it was before the fault.

An *edit* is a word whose case differs from the source's; it is right if the word then equals the
reference. The second F1 is the one of the truecasing literature (over words that carry a capital).
Words in protected spans are left out.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing.protect import protected_spans

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
OPENING = re.compile(r"(?:^|[.!?][\"')\]*]*\s|\n)[\s\"'(*#>-]*\Z")
PROSE_END = re.compile(r"[.!?][\"')*]*\s*\Z")
# Possessive, so that a line of nothing but blanks is read once.
LABEL = re.compile(r"[ \t]*+(?:[-*#>]++|\d++[.)])?+[ \t]*+[^.!?:]{1,60}:[*]*+[ \t]")


@dataclass(frozen=True)
class TruecasingScores:
    """All figures are shares from 0 to 1; one without any case to count is 1.

    Args:
        precision, recall, f1: over edits.
        f1_capitalized: over words that carry a capital in the reference or the hypothesis.
        sentence_initial_accuracy: capital words at starts of sentences and lines that come out
            right.
        exact_match: messages that equal their reference.
        clean_altered: share of the messages without a fault that were altered.
        words, edits, faults, messages: counts of words scored, words edited, words to repair and
            messages.
    """

    precision: float
    recall: float
    f1: float
    f1_capitalized: float
    sentence_initial_accuracy: float
    exact_match: float
    clean_altered: float
    words: int
    edits: int
    faults: int
    messages: int

    def as_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def truecasing_scores(
    reference: str | Sequence[str],
    source: str | Sequence[str],
    hypothesis: str | Sequence[str],
    prose_only: bool = False,
) -> TruecasingScores:
    """Score a repair.

    Args:
        reference: the texts as they should be.
        source: the same with faults.
        hypothesis: what became of the source.
        prose_only: score only lines of at least five words that end in one of .!? and are not in
            title case, and of labelled lines only what follows the label; headings and labels are
            matters of style.

    Raises:
        HandbookError: the three do not hold the same texts, case aside.
    """
    texts = [
        [item] if isinstance(item, str) else list(item) for item in (reference, source, hypothesis)
    ]
    if len({len(item) for item in texts}) != 1:
        raise HandbookError(
            f"{len(texts[0])} references, {len(texts[1])} sources, {len(texts[2])} hypotheses",
            where="truecasing_scores",
            remedy="pass one of each for every message",
        )
    tally = dict.fromkeys(
        (
            "words",
            "edits",
            "right",
            "faults",
            "capital",
            "claimed",
            "both",
            "starts",
            "starts_right",
        ),
        0,
    )
    exact = clean = altered = 0
    for row, (gold, faulty, repaired) in enumerate(zip(*texts, strict=True)):
        if not len(gold) == len(faulty) == len(repaired):
            raise HandbookError(
                "the texts differ in length",
                where=f"message {row}",
                remedy="a repair may change nothing but case",
            )
        exact += gold == repaired
        clean += gold == faulty
        altered += gold == faulty != repaired
        for start, end in scored_words(gold, prose_only):
            _count(tally, gold, faulty, repaired, start, end)
    precision = _share(tally["right"], tally["edits"])
    recall = _share(tally["right"], tally["faults"])
    return TruecasingScores(
        precision,
        recall,
        _harmonic(precision, recall),
        _harmonic(_share(tally["both"], tally["claimed"]), _share(tally["both"], tally["capital"])),
        _share(tally["starts_right"], tally["starts"]),
        _share(exact, len(texts[0])),
        altered / clean if clean else 0.0,
        tally["words"],
        tally["edits"],
        tally["faults"],
        len(texts[0]),
    )


def scored_words(text: str, prose_only: bool) -> list[tuple[int, int]]:
    """Bounds of the words that count."""
    spans = protected_spans(text)
    lines = _prose_lines(text) if prose_only else [(0, len(text))]
    words, at = [], 0
    for begin, finish in lines:
        for match in WORD.finditer(text, begin, finish):
            start, end = match.span()
            while at < len(spans) and spans[at][1] <= start:
                at += 1
            if at == len(spans) or spans[at][0] >= end:
                words.append((start, end))
    return words


def _prose_lines(text: str) -> list[tuple[int, int]]:
    lines, start = [], 0
    for line in text.splitlines(keepends=True):
        end = start + len(line)
        label = LABEL.match(line)
        begin = start + (label.end() if label else 0)
        words = [match[0] for match in WORD.finditer(text, begin, end)]
        long = [word for word in words[1:] if len(word) > 3]
        titled = len(long) > 0 and sum(word[0].isupper() for word in long) > 0.6 * len(long)
        if len(words) >= 5 and PROSE_END.search(line) and not titled:
            lines.append((begin, end))
        start = end
    return lines


def _count(
    tally: dict[str, int], gold: str, faulty: str, repaired: str, start: int, end: int
) -> None:
    want, had, got = gold[start:end], faulty[start:end], repaired[start:end]
    tally["words"] += 1
    tally["edits"] += got != had
    tally["faults"] += want != had
    tally["right"] += got != had and got == want
    capital = want != want.lower()
    tally["capital"] += capital
    tally["claimed"] += got != got.lower()
    tally["both"] += capital and got == want
    if capital and OPENING.search(gold, max(0, start - 12), start):
        tally["starts"] += 1
        tally["starts_right"] += got == want


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
