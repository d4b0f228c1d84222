"""Lower case on purpose: places that look like the start of a sentence and are none.

A key with its value, the term of a list item, a chat line behind its handle, a by-line, a fragment
in quotation marks, a shortened word in brackets. All are recognised by the line that a place stands
in and, for chats, by the other lines of the message. Nothing that a repair may change bears on it,
so that a second pass decides alike."""

import re
from functools import cached_property

from zephyr_utils.truecasing.arrays import merged

LINE_BYTES = 400  # of a line, looked at before and behind a place
LONGEST_FRAGMENT = 8  # words of a line that has no end mark and is taken for no sentence
LONGEST_BY_LINE = 10  # words

# What may occur before the first word of a line or of a numbered item.
LINE_OPENING = re.compile(rb"[ \t*#>_\"'-]{0,12}(?P<number>\d{1,3}[.)][ \t]+)?[*_\"']{0,3}\Z")
# "courage: ...", "courage (noun): ...", "courage - Courage means", "old age: Old age is": no
# sentence begins with a term of one word, or with one that what follows takes up again.
TERM = re.compile(
    rb"""(?!(?:the|an?|here|there|in|for|to|this|these|that|it|my|your|our|we|you|i|some|so|but|and
           |or|if|when|as|on|at|one|another|remember|note|finally|overall|however)\b)
    (?: [a-z][\w'/&-]{0,30} (?:[ ]\([^()\n]{1,40}\))? [*_"']{0,3}
        (?: :[*_]{0,3}[ \t]+\S | [ ]?(?:--?|=|\xe2\x80[\x93\x94])[ ][*"']{0,2}[A-Z0-9] )
    | (?P<word>[a-z][\w'/&-]{0,30}) (?:[ ][\w'/&-]{1,30}){1,2} [*_"']{0,3}
        (?: :[*_]{0,3}[ \t]+ | [ ]?(?:--?|=|\xe2\x80[\x93\x94])[ ]) (?=[A-Z])(?i:(?P=word))\b )""",
    re.X,
)
# "boyd, d. M." and "boyd, danah. "Social ...": an author who writes himself so.
AUTHOR = re.compile(rb"[a-z]{2,20}, (?:[a-z]\.|[a-z]{2,20}\. ?[\"(])")
# Who speaks in a line of a chat: "mia_77: ", "<kai> ", "[12:03] @kai: ".
_TIME = rb"(?:[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?:[ ]?[ap]m)?[\])]?[ ]?(?:- )?)?"
HANDLE = re.compile(
    rb"[ \t*>-]{0,8}" + _TIME + rb"[*_]{0,2}(?:<[@~+]?[\w.-]{1,30}>:?|@[\w.-]{1,30}:"
    rb"|(?=[\w.-]*[0-9_])[A-Za-z_][\w.-]{1,30}[:>])[*_]{0,2}[ \t]+(?=[a-z])"
)
HANDLE_BYTES = 80  # more than a handle with all that may occur before it
# The same with a plain name, which makes a chat only where several lines are like it.
NAME = re.compile(
    rb"^[ \t*>-]{0,8}" + _TIME + rb"[*_]{0,2}[A-Za-z][\w.-]{0,20}[:>][*_]{0,2}[ \t]+(?=[a-z])",
    re.M,
)
BY_LINE = re.compile(
    rb"[(*_-]{0,3}(?:[a-z]{3,14}[ ])?"
    rb"(?:by|via|from|feat\.?|featuring|starring):?[ ](?:the[ ])?[A-Z]"
)
END_MARK = re.compile(rb"(?:[.!?:,;]|\xe2\x80\xa6)[\"')*_\]]{0,3}[ \t\r]*\Z")
# "(lit. ", "[from Lat. ", "Anna feat. ", "5! " (a factorial)
SHORTENED = re.compile(
    rb"(?:[(\[][\"']?(?:[A-Za-z-]{1,12}[ ])?[A-Za-z]{1,6}\.|[A-Z0-9][\w'\")]*,?[ ][Ff](?:ea)?t\."
    rb"|(?<![A-Za-z0-9])\d{1,4}!)\s+\"?\Z"
)
# "Roar! is a collection": a title that ends in a mark; "great! is there" asks instead.
TITLE_BEFORE = re.compile(rb"[A-Za-z\"*_)][!?][\"*_]{0,3} \Z")
STATED = re.compile(
    rb"(?:is|was|are|were|has been) (?:an?|the|one|my|his|her|their|known|also|set)\b"
)
QUOTED_SENTENCE = re.compile(rb"[^\"\n]{1,400}[.!?,][)*_]{0,2}\"")
QUOTED_FRAGMENT = re.compile(
    rb"\"(?<=[A-Za-z)][.!?][ ]\")[a-z](?![^\"\n]{0,400}[.!?,][)*_]{0,2}\")[^\"\n]*"
)
# Each begins with a literal, which is searched for many times faster than a choice.
BEHIND_SHORTENED = [
    re.compile(bracket + rb"[\"']?(?:[A-Za-z-]{1,12}[ ])?[A-Za-z]{1,6}\.\s{1,4}\"?[a-z]")
    for bracket in (rb"\(", rb"\[")
]
FACTORIAL = re.compile(rb"!(?<=[0-9]!)[ ][a-z]")
HANDLE_ENDS = [re.compile(mark + rb"[*_]{0,2}[ \t]+[a-z]") for mark in (b":", b">")]


def deliberate_spans(raw: bytes) -> list[tuple[int, int]]:
    """Of a message in lower case, the spans in bytes where that is not evidence of a fault: lines
    of a chat, fragments in quotation marks, and what follows a shortened word in brackets.
    """
    spans = [
        match.span()
        for pattern in (QUOTED_FRAGMENT, *BEHIND_SHORTENED, FACTORIAL)
        for match in pattern.finditer(raw)
    ]
    for mark in (mark for pattern in HANDLE_ENDS for mark in pattern.finditer(raw)):
        start = raw.rfind(b"\n", max(0, mark.start() - HANDLE_BYTES), mark.start()) + 1
        opening = HANDLE.match(raw, start) if start or mark.start() < HANDLE_BYTES else None
        if opening is not None and opening.end() == mark.end() - 1:
            end = raw.find(b"\n", start)
            spans.append((start, len(raw) if end < 0 else end))
    return merged(spans) if spans else spans


class MessageStyle:
    """How one message writes its lists and its dialogue.

    Args:
        raw: the message in UTF-8.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @cached_property
    def is_chat(self) -> bool:
        """Whether several lines are a name, a colon and lower case."""
        return len(NAME.findall(self.raw)) >= 2

    def lower_on_purpose(self, place: int) -> bool:
        """Whether the lower-case letter at this byte is style rather than a fault."""
        before = self.raw[max(0, place - LINE_BYTES) : place]
        line = self.raw[place : place + LINE_BYTES].partition(b"\n")[0]
        break_before = before.rfind(b"\n")
        head = before[break_before + 1 :]
        if SHORTENED.search(head[-40:]):
            return True
        if TITLE_BEFORE.search(head[-8:]) and STATED.match(line):
            return True
        if head.endswith(b'"') and not QUOTED_SENTENCE.match(line):
            return True
        if break_before < 0 and place > LINE_BYTES:
            return False  # the line begins too far back to tell
        if HANDLE.match(head + line) or (self.is_chat and NAME.match(head + line)):
            return True
        opening = LINE_OPENING.match(head)
        return opening is not None and _is_no_sentence(line, numbered=bool(opening["number"]))


def _is_no_sentence(line: bytes, *, numbered: bool) -> bool:
    """Whether what opens a line, or an item behind its number, is not a sentence."""
    if AUTHOR.match(line) or TERM.match(line):
        return True
    words = len(line.split())
    if BY_LINE.match(line) and words <= LONGEST_BY_LINE:
        return True
    return not numbered and words <= LONGEST_FRAGMENT and not END_MARK.search(line[-12:])
