"""A strict reading of what a judge says: what cannot be read for sure is named, never guessed at.

Everything goes line by line, in time linear in the length of the reply.
"""

import re
from dataclasses import dataclass

NOT_APPLICABLE = "N/A"
# Reasons that say that the judge may use another scale in all that it says of this prompt.
OFF_SCALE = ("out_of_range", "other_scale")
_LONGEST_NUMBER = 6  # digits; Python refuses to turn more than 4,300 into a number


class Unreadable(ValueError):
    """A reply that does not keep the form; ``reason`` says in a word how.

    Reasons: ``empty``, ``no_rating`` (prose), ``answers_missing``, ``answers_repeated``,
    ``answers_unknown``, ``several_ratings``, ``no_whole_number``, ``out_of_range``,
    ``other_scale`` ("8/10" where 5 is the most), ``no_grade``, ``several_grades``.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


# Judges like bold type, headings, bullets and full-width forms, and answer a German question in
# German: that much is forgiven.
_EMPHASIS = re.compile("[*_`\ufeff\u200b]+")
_FULL_WIDTH = {0xFF01 + n: 0x21 + n for n in range(94)} | {0x3000: 0x20}
_BULLETS = " #>+-•–·"
_HEADING = re.compile(r"(?:answer|antwort) ?#? ?([0-9]+) ?[:.)]?", re.IGNORECASE)
_RATING = re.compile(r"(?:rating|bewertung) ?(?:\([^()]{0,40}\) ?)?[:=] ?(.*)", re.IGNORECASE)
_RATIONALE = re.compile(r"(?:rationale|begründung) ?[:=]", re.IGNORECASE)
_GRADE = re.compile(
    r"(?:overall grade|gesamtnote|gesamtbewertung) ?(?:\([^()]{0,40}\) ?)?[:=] ?(.*)", re.IGNORECASE
)
_NUMBER = re.compile(
    r"[\[(\"']{0,2}(?P<whole>[0-9]+)(?:[.,](?P<part>[0-9]+))?[\])\"']{0,2}"
    r"(?P<scale> ?\(?(?:/|out of|of|von) ?(?P<top>[0-9]+)(?:[.,]0+)?\)?)?"
    r"(?: (?:stars?|points?|sterne?n?|punkte?n?)\b)?",
    re.IGNORECASE,
)
_NONE = re.compile(r"n ?/ ?a\b|n\.a\.|not applicable\b|nicht (?:anwendbar|zutreffend)\b", re.I)
# What may follow a number: a stop, or a remark without digits that something sets off.
_STOP = re.compile(r"[.,;:!]?")
_REMARK = re.compile(r"(?: ?[.,;:(\[=—–]| -)(?=[^0-9]*[^\W\d_])[^0-9]*")


@dataclass(frozen=True)
class _Scale:
    """What numbers a judge may give; ``reason`` names what is not a number on any scale."""

    top: int
    whole: bool
    reason: str

    def read(self, value: str) -> float:
        """The number at the beginning of a line's value.

        Raises:
            Unreadable: there is none, or not one alone, or it is off the scale.
        """
        number = _NUMBER.match(value)
        rest = value[number.end() :] if number else value
        if number is None or not (_STOP.fullmatch(rest) or _REMARK.fullmatch(rest)):
            raise Unreadable(self.reason, value[:40])
        whole, part = number["whole"].lstrip("0"), (number["part"] or "").rstrip("0")
        if number["top"] and number["top"].lstrip("0") != str(self.top):
            raise Unreadable("other_scale", value[:40])
        if len(whole) > _LONGEST_NUMBER:
            raise Unreadable("out_of_range", f"a number of {len(whole):,} digits")
        if part and self.whole:
            raise Unreadable(self.reason, value[:40])
        result = float(f"{whole or 0}.{part[:_LONGEST_NUMBER] or 0}")
        if not 1 <= result <= self.top:
            raise Unreadable("out_of_range", value[:40])
        return result


_RATINGS = _Scale(5, whole=True, reason="no_whole_number")
_GRADES = _Scale(10, whole=False, reason="no_grade")


def read_ratings(text: str, count: int) -> list[dict[str, str]]:
    """The ratings of ``count`` answers, in the order they were shown: ``{"Rating": "1" to "5" or
    "N/A", "Rationale"}``.

    All or nothing: a reply with one rating out of range may be on another scale altogether, and one
    with an answer too few may have them in the wrong places.

    Raises:
        Unreadable: the reply does not keep the form.
    """
    if not text.strip():
        raise Unreadable("empty")
    blocks: list[tuple[str, list[str]]] = []
    for line in _lines(text):
        if heading := _HEADING.fullmatch(_plain(line)):
            blocks.append((heading[1].lstrip("0"), []))
        elif blocks:
            blocks[-1][1].append(line)
    if not blocks:
        raise Unreadable("no_rating", "there is no line 'Answer 1'")
    names = [name[:_LONGEST_NUMBER] for name, _ in blocks]
    listed = ", ".join(names[:10])
    wanted = [str(number) for number in range(1, count + 1)]
    if len(set(names)) < len(names):
        raise Unreadable("answers_repeated", listed)
    if set(names) - set(wanted):
        raise Unreadable("answers_unknown", f"{listed} of {count}")
    if len(names) < count:
        raise Unreadable("answers_missing", f"{listed} of {count}")
    ratings = {name: _rating(lines) for name, (_, lines) in zip(names, blocks, strict=True)}
    return [ratings[name] for name in wanted]


def _rating(lines: list[str]) -> dict[str, str]:
    """The rating and its reason in the lines about one answer."""
    values, rationale = [], []
    reasons_begin = False
    for line in lines:
        plain = _plain(line)
        if rating := _RATING.match(plain):
            values.append(rating[1])
        elif reasons_begin:
            rationale.append(line)
        elif _RATIONALE.match(plain):
            reasons_begin = True
            rationale.append(re.split("[:=：＝]", line, maxsplit=1)[1].lstrip("*_` \t"))
    if len(values) != 1:
        reason = "several_ratings" if values else "no_rating"
        raise Unreadable(reason, f"{len(values)} in one answer")
    return {"Rating": _whole_rating(values[0]), "Rationale": "\n".join(rationale).strip()}


def _whole_rating(value: str) -> str:
    none = _NONE.match(value)
    rest = value[none.end() :] if none else value
    if none and (_STOP.fullmatch(rest) or _REMARK.fullmatch(rest)):
        return NOT_APPLICABLE
    return str(int(_RATINGS.read(value)))


def read_critique(text: str) -> tuple[str, float]:
    """The critique and its overall grade from 1 to 10, taken as it stands: never rescaled.

    (UltraFeedback's first code took grades that were not above 1 for fractions and multiplied them
    by ten. So every answer graded 1 got a 10.)

    Raises:
        Unreadable: the reply does not keep the form.
    """
    if not text.strip():
        raise Unreadable("empty")
    critique, values = [], []
    for line in _lines(text):
        if grade := _GRADE.match(_plain(line)):
            values.append(grade[1])
        else:
            critique.append(line)
    if len(values) != 1:
        reason = "several_grades" if values else "no_grade"
        raise Unreadable(reason, f"{len(values)} lines with a grade")
    return "\n".join(critique).strip(), _GRADES.read(values[0])


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _plain(line: str) -> str:
    """A line without markup and repeated blanks, in half-width forms."""
    plain = _EMPHASIS.sub("", line.translate(_FULL_WIDTH))
    return " ".join(plain.split()).lstrip(_BULLETS).rstrip()
