"""Blocks of code, maths and markup that may cross lines, and messages that are JSON as a whole.

An opening mark is found by one pattern, its closing mark by a search that never reads a byte twice
for the same mark, so the time is linear even where a text is nothing but opening marks.
"""

import json
import re

OPENING = re.compile(
    rb"""
      (?P<fence>```)
    | (?:(?<=\n)|\A)[ \t]{0,3}(?P<tilde>~~~)
    | (?P<display>\$\$) | (?P<square>\\\[) | (?P<round>\\\()
    | \\begin\{(?P<environment>[a-z*]{1,30})\}
    | (?P<comment><!--)
    | <(?P<element>pre|code|script|style|kbd|math|svg)\b[^<>]{0,200}>
    """,
    re.X | re.I,
)
TILDE_END = re.compile(rb"\n[ \t]{0,3}~~~")
# What closes a block, and how many bytes may lie between, at least and at most.
CLOSING = {
    "display": (b"$$", 1, 2000),
    "square": (rb"\]", 1, 2000),
    "round": (rb"\)", 1, 1000),
    "environment": (rb"\end{%b}", 0, 5000),
    "comment": (b"-->", 0, 5000),
    "element": (b"</%b>", 0, 20_000),
}


class _ClosingMarks:
    """Finds closing marks from ascending places on."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.read: dict[bytes, int] = {}  # no such mark begins before here, as far as was asked

    def first(self, mark: bytes, start: int, stop: int) -> int:
        """Where the first such mark within these bounds begins; -1 if there is none."""
        begin = max(start, self.read.get(mark, 0))
        place = self.text.find(mark, begin, stop) if begin < stop else -1
        self.read[mark] = place if place >= 0 else max(begin, stop - len(mark) + 1)
        return place


def block_spans(message: bytes) -> list[tuple[int, int]]:
    """The blocks of one message, as bytes from its start; ascending and disjoint."""
    lowered = message.lower()  # of ASCII alone: no length changes
    marks = _ClosingMarks(lowered)
    spans = []
    at = 0
    while (opening := OPENING.search(message, at)) is not None:
        end = _block_end(opening, lowered, marks)
        if end is None:
            at = opening.start() + 1
        else:
            spans.append((opening.start(), end))
            at = end
    return spans


def _block_end(opening: re.Match[bytes], text: bytes, marks: _ClosingMarks) -> int | None:
    kind = opening.lastgroup
    assert kind is not None  # every alternative is named
    start = opening.end()
    if kind == "fence":  # left unclosed it runs to the end of the message
        place = text.find(b"```", start)
        return len(text) if place < 0 else place + 3
    if kind == "tilde":
        closing = TILDE_END.search(text, start)
        return len(text) if closing is None else closing.end()
    pattern, least, most = CLOSING[kind]
    mark = pattern % opening[kind].lower() if b"%b" in pattern else pattern
    place = marks.first(mark, start + least, start + most + len(mark))
    return None if place < 0 else place + len(mark)


def is_json(message: bytes) -> bool:
    """Whether a message is a JSON object or list as a whole, whatever its case."""
    if message[:1] not in (b"{", b"[") or message.rstrip()[-1:] not in (b"}", b"]"):
        return False
    try:
        json.loads(message.lower())
    except (ValueError, RecursionError):
        return False
    return True
