"""Finding wrongly cased messages, cheaply: most messages are fine and must cost next to nothing.

Four faults are told apart. ``capitalized``: everything after the first character is lower case, as
Python's ``str.capitalize`` leaves it. ``lower`` and ``upper``: the whole message. ``sentence``:
cased otherwise, yet a sentence starts in lower case in mid-message. A message without evidence (a
one-liner, a list of words, code) is ``ok``.
"""

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from zephyr_utils.truecasing.arrays import (
    TextBuffer,
    check_text_array,
    distinct,
    from_arrow,
    with_line_feeds,
)
from zephyr_utils.truecasing.protect import protected_bytes
from zephyr_utils.truecasing.starts import SHORTENED_WORDS, sentence_candidates
from zephyr_utils.truecasing.styles import MessageStyle

if TYPE_CHECKING:
    from zephyr_utils.truecasing.model import Truecaser

LABELS = ("ok", "capitalized", "lower", "upper", "sentence")
OK, CAPITALIZED, LOWER, UPPER, SENTENCE = range(5)
HEAD = 256  # bytes looked at in every message before any is read whole
# share of letters that may have the other case in a message that counts as wholly faulty
STRAY = 0.004
MIN_SHOUTED = 40  # letters; shorter shouting is left alone,
MIN_FUNCTION_WORDS = 3  # and so is what holds fewer of these: acronyms, grids, codes
# of these to a letter, outside protected spans, make a message code rather than prose
CODE_SIGNS = 0.08

_UPPER, _LOWER = np.zeros(256, np.bool_), np.zeros(256, np.bool_)
_UPPER[65:91] = True
_LOWER[97:123] = True
_CODE_SIGN = np.zeros(256, np.bool_)
_CODE_SIGN[list(b"={}[]<>;\\_")] = True

STARTS = re.compile(
    rb"(?<![.\s][a-z])(?<=[a-z)\"'])[.!?]+[\"')*]{0,2}\s{1,3}[a-z][a-z']*(?= "
    rb"|,|\n)|(?<![\w'.])i(?:'(?:m|ve|ll|d)\b| (?:am|do|have|can|was|will|would|think)\b)"
)
SHORTENED = re.compile(
    rb"(?:\b(?:" + SHORTENED_WORDS + rb"|[a-z]|(?:[a-z]\.)+[a-z])|\.\.)[.!?]", re.I
)
FUNCTION_WORDS = re.compile(rb"\b(?:THE|OF|AND|TO|IN|IS|IT|YOU|THAT|FOR|ARE|WITH|THIS)\b")
HIDING = re.compile(
    rb"[`<$\\@_{]|://|\A---"
)  # what may protect all the capitals of a message that is otherwise without


def detect_case_noise(
    array: pa.Array | pa.ChunkedArray, truecaser: "Truecaser | None" = None
) -> pa.Array | pa.ChunkedArray:
    """Label the case of each message: ok, capitalized, lower, upper or sentence.

    Args:
        array: strings; large strings, slices, chunks and nulls are fine.
        truecaser: with a fitted ``Truecaser`` the labels are those that it acts on, which finds
            faults that have no surface evidence (names in lower case) and spares more of what only
            looks like a fault. Without one the evidence is on the surface: sentence starts and the
            pronoun `i`.

    Returns:
        A string array of the same length and chunks; null where the message is null.

    Raises:
        HandbookError: the array holds no strings.
    """
    check_text_array(array)
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array(
            [detect_case_noise(chunk, truecaser) for chunk in array.chunks], pa.string()
        )
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), pa.string())
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    text = from_arrow(array)
    codes = truecaser.repair(text).labels if truecaser is not None else surface_labels(text)
    labels = pa.array(
        np.array(LABELS, dtype=object)[codes], pa.string(), mask=np.asarray(array.is_null())
    )
    return labels


def surface_labels(text: TextBuffer) -> np.ndarray:
    """Label codes of the rows by their surface alone (int8)."""
    text = with_line_feeds(text).text
    labels = np.zeros(len(text), np.int8)
    for row in np.flatnonzero(whole_candidates(text)).tolist():
        labels[row] = surface_label(text.row(row))
    positions, rows = sentence_candidates(text)
    for row in distinct(rows).tolist():
        if labels[row] != OK:
            continue
        raw = text.row(row)
        spans = Spans(protected_bytes(raw))
        first, last = np.searchsorted(rows, (row, row + 1))
        places = positions[first:last] - text.starts[row]
        style = MessageStyle(raw)
        if any(
            place not in spans and not _shortened(raw, place) and not style.lower_on_purpose(place)
            for place in places.tolist()
        ):
            labels[row] = SENTENCE
    return labels


def surface_label(raw: bytes) -> int:
    """The code of one message that may be wholly faulty."""
    label = whole_label(raw)
    if label in (OK, UPPER):
        return label
    spans = Spans(protected_bytes(raw))
    for match in STARTS.finditer(raw):
        if match.start() not in spans and not _shortened(raw, match.end()):
            return label
    return OK


class Spans:
    """Sorted, disjoint spans that can be asked whether a place is in one of them."""

    def __init__(self, spans: list[tuple[int, int]]) -> None:
        self.starts = [start for start, _ in spans]
        self.ends = [end for _, end in spans]

    def __contains__(self, place: int) -> bool:
        before = bisect_right(self.starts, place) - 1
        return before >= 0 and place < self.ends[before]


def _shortened(raw: bytes, place: int) -> bool:
    """Whether the last full stop before a place belongs to an abbreviation rather than to a
    sentence.
    """
    before = raw[max(0, place - 24) : place]
    stop = max(before.rfind(b"."), before.rfind(b"!"), before.rfind(b"?"))
    return any(match.end() == stop + 1 for match in SHORTENED.finditer(before, 0, stop + 1))


def whole_candidates(text: TextBuffer) -> np.ndarray:
    """Rows whose first bytes leave it open that the whole message is in one case."""
    if not len(text) or not len(text.data):
        return np.zeros(len(text), np.bool_)
    last = len(text.data) - 1
    candidates = text.ends > text.starts
    # nearly all rows are out after the first few bytes
    for begin, end in ((1, 25), (25, 81), (81, HEAD)):
        rows = np.flatnonzero(candidates)
        for low in range(0, len(rows), 4096):
            part = rows[low : low + 4096]
            places = text.starts[part, None] + np.arange(begin, end)
            within = places < text.ends[part, None]
            head = text.data.take(np.minimum(places, last))
            any_upper = (_UPPER.take(head) & within).any(axis=1)
            any_lower = (_LOWER.take(head) & within).any(axis=1)
            candidates[part] = ~(any_upper & any_lower)
    return candidates


def whole_label(raw: bytes) -> int:
    """CAPITALIZED, LOWER or UPPER if the message is in one case but for a stray letter and no code,
    else OK.
    """
    array = np.frombuffer(raw, np.uint8)
    label, code = _one_case(array)
    hidden = label == OK and len(array) > HEAD and HIDING.search(raw) is not None
    if (code or hidden) and (spans := protected_bytes(raw)):
        array = array.copy()
        for start, end in spans:
            array[start:end] = 32
        label, code = _one_case(array)
    if code or (label == UPPER and len(FUNCTION_WORDS.findall(raw)) < MIN_FUNCTION_WORDS):
        return OK
    return label


def _one_case(array: np.ndarray) -> tuple[int, bool]:
    """The label by counting letters alone, and whether the signs of programming languages are too
    many for prose.
    """
    upper, lower = (
        int(np.count_nonzero(_UPPER.take(array))),
        int(np.count_nonzero(_LOWER.take(array))),
    )
    first = int(len(array) > 0 and _UPPER[array[0]])
    label = OK
    if lower and upper - first <= STRAY * (upper + lower):
        stripped = array[:64].tobytes().lstrip()
        label = LOWER if stripped[:1].islower() else CAPITALIZED
    elif upper >= MIN_SHOUTED and lower <= STRAY * (upper + lower):
        label = UPPER
    code = label != OK and np.count_nonzero(_CODE_SIGN.take(array)) > CODE_SIGNS * (upper + lower)
    return label, bool(code)
