"""Lower-case sentence starts in messages that are well cased otherwise: where one might be.

Found by array arithmetic over the whole buffer, since nearly all text has none; the few places
found are then read one by one, and what is plainly no start is dropped. Whether a place is repaired
is for the model to say.
"""

import re

import numpy as np

from zephyr_utils.truecasing.arrays import TextBuffer, distinct

BLOCK = 1 << 17
# Shortened words that take a full stop within a sentence, as lists of non-breaking prefixes have
# them; what else the corpus shortens is learned from it (``lexicon.stops``).
SHORTENED_WORDS = (
    rb"e\.g|i\.e|etc|vs|cf|no|nos|viz|al|ca|approx|avg|max|min|est|fig|figs|vol|ed|eds|pp?|ch|sec|eq|ref"
    rb"|mr|mrs|ms|dr|st|jr|sr|prof|hon|gen|rev|capt|lt|sgt|col|gov|sen|rep"
    rb"|inc|ltd|co|corp|bros|dept|univ|assn|ave|blvd|rd|hwy|mt|ft|apt|ste"
    rb"|oz|tsp|tbsp|tbs|lbs?|pt|qt|gal|pkg|ctn|doz|hrs?|mins?|secs?|yrs?|mo|wk|sq|deg|subsp|var|spp"
    rb"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|thurs?|fri"
)
# Behind these no sentence starts: an ellipsis, a single letter, a Roman numeral, a shortened word,
# a name that ends in "!".
NOT_A_START = re.compile(
    rb"""(?:\.\. | (?<![A-Za-z])(?:[A-Za-z]|[ivxIVX]{2,4})\. | [A-Za-z]\.[A-Za-z]{1,4}\.
    | \([A-Za-z]\)\. | \b(?:(?i:"""
    + SHORTENED_WORDS
    + rb"""))\. | (?<=[a-z,"'(][ "])[A-Z][A-Za-z]*! | ["(][A-Z][A-Za-z]*!)\s+"?\Z""",
    re.X,
)
LIST_LETTER = re.compile(
    rb"[a-z]{1,4}[.):]|[b-hj-z](?![a-z'])|i(?:,| and| or) [a-z]\b"
)  # "b) ", "ii. ", and variables: "x is", "i and j"
ITEM = re.compile(rb"(?:\n|\A)[ \t*#>]*\d{1,3}[.)][ \t]+[\"']?\Z")
PARAGRAPH = re.compile(
    rb"(?:[:*`\"-][ \t]*\n|\n[ \t]{0,3}```)[ \t]*\n[ \t]*\Z"
)  # not behind a formula, which a paragraph may continue
MIN_WORDS = 5  # of a line that opens in lower case after no sentence's end, to be taken for prose

_LOWER, _SPACE, _ENDABLE = (np.zeros(256, np.bool_) for _ in range(3))
_LOWER[97:123] = True
_SPACE[list(b" \n\r\t")] = True
_ENDABLE[list(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")] = True
_ENDABLE[list(b")]")] = True
_ENDABLE[128:] = True
_BEFORE_BLANK = _SPACE.copy()
_BEFORE_BLANK[list(b'.!?:*`"-')] = True


def sentence_candidates(
    text: TextBuffer, passed_over: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Lower-case letters that may open a sentence in mid-message.

    They are behind one of .!? and white space, behind a blank line or a fence, or behind an
    item's number; in the latter cases only if the line reads like prose.

    Args:
        text: the messages; their order must be the buffer's.
        passed_over: rows not to look at, as a mask.

    Returns:
        Positions in the buffer, ascending, and the row of each.
    """
    nothing = np.zeros(0, np.int64)
    if not len(text) or not len(text.data):
        return nothing, nothing
    low, high = int(text.starts[0]), int(text.ends.max())
    if low >= high:
        return nothing, nothing
    places = _places(text.data, low, high)
    rows = np.searchsorted(text.ends, places, side="right")
    inside = rows < len(text)
    places, rows = places[inside], rows[inside]
    later = places > text.starts[rows]
    if passed_over is not None:
        later &= ~passed_over[rows]
    places, rows = places[later], rows[later]
    kept = [
        _plausible(text.data, begin, place, end)
        for begin, place, end in zip(
            text.starts[rows].tolist(), places.tolist(), text.ends[rows].tolist(), strict=True
        )
    ]
    return places[kept], rows[kept]


def _places(data: np.ndarray, low: int, high: int) -> np.ndarray:
    """Lower-case letters at most four white spaces behind one of .!?, a blank line or a fence.

    The first three bytes from a mark on are compared by whole blocks, since nearly every mark is
    followed by a capital and is out at that; the few that are left are then followed one by one.
    """
    marks = np.concatenate(
        [_marks(data, begin, min(begin + BLOCK, high)) for begin in range(low, high, BLOCK)]
    )
    last = len(data) - 1
    breaks = data.take(marks) == 10
    before = data.take(np.maximum(marks - 1, 0))
    # Behind a line break the letter may follow at once, if the line before is blank; else white
    # space must come first.
    further = data.take(np.maximum(marks - 2, 0))
    blank = breaks & _SPACE.take(before) & _BEFORE_BLANK.take(further)
    blank |= breaks & (before == 96) & (further == 96)  # or if it closes a fence
    ended = ~breaks & _ENDABLE.take(before)
    after = marks[blank | ended] + 1
    for _ in range(4):
        after = after + _SPACE.take(data.take(np.minimum(after, last)))
    after = after + (data.take(np.minimum(after, last)) == 34)
    after = after[after <= last]
    return distinct(np.sort(after[_LOWER.take(data[after])], kind="stable"))


def _marks(data: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Marks that a lower-case sentence start may follow, in a block; a superset."""
    block = data[begin : min(end + 2, len(data))]
    here, one = block[: end - begin], block[1:]
    if len(block) < end - begin + 2:  # the buffer ends here, where nothing can follow
        here, one = here[: len(block) - 2], one[: len(block) - 2]
    two = block[2 : 2 + len(here)]
    one = one[: len(here)]
    open_one, open_two = _may_go_on(one), _may_go_on(two)
    space = (one == 32) | (one - 9 < 5)
    mark = (here == 46) | (here == 33) | (here == 63)
    mark &= space
    mark &= open_two
    lone = here == 10
    lone &= open_one
    mark |= lone
    return np.flatnonzero(mark) + begin


def _may_go_on(byte: np.ndarray) -> np.ndarray:
    """Whether a byte is a lower-case letter, white space or a quotation mark (uint8 wraps below
    zero).
    """
    return (byte - 97 < 26) | (byte - 9 < 5) | (byte == 32) | (byte == 34)


def _plausible(data: np.ndarray, begin: int, place: int, end: int) -> bool:
    before = data[max(begin, place - 24) : place].tobytes()
    if LIST_LETTER.match(data[place : min(place + 8, end)].tobytes()):
        return False
    stripped = before.rstrip(b' \t\r\n"')
    if stripped[-1:] in (b".", b"!", b"?") and not ITEM.search(before):
        return NOT_A_START.search(before) is None
    if before.endswith(b'"') or not (PARAGRAPH.search(before) or ITEM.search(before)):
        return False
    line = data[place : min(place + 4000, end)].tobytes().split(b"\n", 1)[0].split()
    return len(line) >= MIN_WORDS and line[-1][-1:] in b".!?"
