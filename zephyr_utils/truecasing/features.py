"""The features of a word in context, as indices into one table of weights (the hashing trick,
Weinberger et al. 2009).

Every feature is blind to case. They tell of the word, its neighbours, its affixes, the gaps around
it, how often the corpus writes it and its neighbours with a capital, and the line that it is in
(its length, its ending, whether the word is inside bold, quotes, or a label before a colon):
headings are often in title case, and lists have their style.
"""

from collections.abc import Iterator

import numpy as np

from zephyr_utils.truecasing.words import Words

TABLE_BITS = 22
EDGE = np.uint32(0x9E3779B9)  # stands for what is beyond a message's ends
EDGE_BUCKET = np.uint32(30)
_KEYS = np.random.default_rng(7).integers(2**31, 2**32, 64).astype(np.uint32) | np.uint32(1)
_MIX = np.uint32(0x85EBCA6B)  # the multiplier of MurmurHash3's finaliser
_SHIFTS = np.uint32(15), np.uint32(16), np.uint32(32 - TABLE_BITS)


class Neighbours:
    """Looks up what stands one or two words before or after, within each message.

    Args:
        row: index of the message of each word, ascending.
    """

    def __init__(self, row: np.ndarray) -> None:
        inner = np.flatnonzero(row[1:] != row[:-1])
        self.count = len(row)
        self.firsts = np.append(0, inner + 1)
        self.lasts = np.append(inner, len(row) - 1)

    def shifted(self, values: np.ndarray, by: int, fill) -> np.ndarray:
        """The values of the words ``by`` places further on (1, 2, -1 or -2), with a filling beyond
        the ends.
        """
        result = np.empty_like(values)
        if not len(values):
            return result
        if by > 0:
            result[:-by], edges = values[by:], self.lasts
        else:
            result[-by:], edges = values[:by], self.firsts
        for distance in range(abs(by)):
            at = edges - distance if by > 0 else edges + distance
            # The edge's neighbour may belong to the next message, if this one has a single word:
            # then it is an edge too.
            result[at[(at >= 0) & (at < self.count)]] = fill
        return result


def shifted(values: np.ndarray, by: int, row: np.ndarray, fill) -> np.ndarray:
    """``Neighbours(row).shifted(values, by, fill)``, for a single look."""
    return Neighbours(row).shifted(values, by, fill)


def line_kinds(words: Words) -> tuple[np.ndarray, np.ndarray]:
    """Two small numbers per word: the kind of its line, and its state within the line."""
    if not len(words):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    line = np.cumsum(words.breaks, dtype=np.int64) - 1
    opens = np.flatnonzero(words.breaks)
    length = np.bincount(line, minlength=len(opens))
    closes = np.append(opens[1:], len(words)) - 1
    limit = len(words.lower) - 1
    # the byte right behind the line's last word
    mark = words.lower[np.minimum(words.end[closes], limit)]
    ending = np.searchsorted([1, 2, 3, 4, 5], _ENDING.take(mark))
    before = words.lower[words.start[opens] - 1]
    # One byte further back there may be another message, unless this one has begun.
    further = np.where(before == 0, 0, words.lower[np.maximum(words.start[opens] - 2, 0)])
    opening = _OPENING.take(before) * 4 + _OPENING.take(further)
    size = np.searchsorted([2, 3, 4, 6, 9, 14], length, side="right")
    kind = (size * 6 + ending) * 16 + opening

    state = np.zeros(len(words), np.int64)
    for bit, byte in enumerate(
        (42, 34)
    ):  # an odd number of ** or " so far in the line: inside bold or quotes
        seen = np.zeros(len(words.lower) + 1, np.int32)
        here = (
            words.hashed == byte
            if byte == 34
            else (words.lower[1:] == 42) & (words.lower[:-1] == 42)
        )
        seen[-len(here) :] = np.cumsum(here, dtype=np.int32)
        before = seen[words.start]
        state += ((before - before[opens][line]) & 1) << bit
    colon = np.zeros(len(words.lower) + 1, np.int32)
    colon[1:] = np.cumsum(words.lower == 58, dtype=np.int32)
    count = colon[words.start]
    second = np.minimum(words.end[closes] + (mark != 0), limit)
    last = colon[second + 1]
    state += 4 * ((count == count[opens][line]) & (last[line] > count))
    place = np.arange(len(words)) - opens[line]
    state += 8 * np.minimum(place, 3)
    return kind[line], state


_ENDING = np.zeros(256, np.int64)
_ENDING[list(b".!?")] = 1
_ENDING[list(b":")] = 2
_ENDING[list(b",;")] = 3
_ENDING[list(b"*_")] = 4
_ENDING[list(b"\"')")] = 5
_OPENING = np.zeros(256, np.int64)
_OPENING[list(b"*-#")] = 1
_OPENING[list(b"\"'(")] = 2
_OPENING[list(b" .)")] = 3


def feature_columns(
    words: Words, bucket: np.ndarray, chosen: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield the index of each feature in the table of weights, one array (int64) a feature.

    Args:
        words: the words.
        bucket: capitalisation rate of each, see ``lexicon.buckets``.
        chosen: positions of the words wanted; all by default.
    """
    neighbours = Neighbours(words.row)

    def pick(column: np.ndarray) -> np.ndarray:
        return column if chosen is None else column[chosen]

    def look(column: np.ndarray, by: int, fill: np.uint32) -> np.ndarray:
        return pick(neighbours.shifted(column, by, fill))

    w, gap, b = _folded(words.word), _folded(words.gap), bucket.astype(np.uint32)
    before, after = look(w, -1, EDGE), look(w, 1, EDGE)
    before2, after2 = look(w, -2, EDGE), look(w, 2, EDGE)
    gap_before, gap_after = look(gap, -1, EDGE), look(gap, 1, EDGE)
    b_before, b_after = look(b, -1, EDGE_BUCKET), look(b, 1, EDGE_BUCKET)
    b_before2, b_after2 = look(b, -2, EDGE_BUCKET), look(b, 2, EDGE_BUCKET)
    w, gap, b = pick(w), pick(gap), pick(b)
    kind, state = (pick(part.astype(np.uint32)) for part in line_kinds(words))
    start, end, starts = (
        pick(words.start),
        pick(words.end),
        pick(words.ends_sentence).astype(np.uint32),
    )
    length = end - start
    three, two = np.minimum(length, 3), np.minimum(length, 2)
    suffix3 = _folded(words.hash_range(end - three, end))
    suffix2 = _folded(words.hash_range(end - two, end))
    prefix3 = _folded(words.hash_range(start, start + three))
    size = np.minimum(length, 12).astype(np.uint32)
    near = b_before * np.uint32(32) + b
    parts = (
        (gap,),
        (w,),
        (w, gap),
        (before, w),
        (w, after),
        (before, gap),
        (after, gap_after),
        (before2, before),
        (after, after2),
        (gap, gap_before, before),
        (suffix3, starts),
        (prefix3, size),
        (suffix2, b, starts),
        (b, gap),
        (near, b_after, starts),
        (gap, gap_after, b),
        (kind, b),
        (kind, state, starts),
        (state, near),
        (before, after),
        (b_before2, near),
        (near, b_after, b_after2),
        (before, b),
        (after, b),
        (suffix3, before),
    )
    mixed, scratch = np.empty(len(w), np.uint32), np.empty(len(w), np.uint32)
    first, last, top = _SHIFTS
    for number, columns in enumerate(parts):
        np.multiply(columns[0], _KEYS[number], out=mixed)
        for place, column in enumerate(columns[1:]):
            np.right_shift(mixed, first, out=scratch)
            np.bitwise_xor(mixed, scratch, out=mixed)
            np.multiply(column, _KEYS[40 + place], out=scratch)
            np.add(mixed, scratch, out=mixed)
            np.multiply(mixed, _MIX, out=mixed)
        np.right_shift(mixed, last, out=scratch)
        np.bitwise_xor(mixed, scratch, out=mixed)
        np.multiply(mixed, _MIX, out=mixed)
        np.right_shift(mixed, top, out=mixed)
        yield mixed.astype(np.int64)


def _folded(hashes: np.ndarray) -> np.ndarray:
    """The upper half of each hash: the lower bits of a polynomial hash are poor ones."""
    return (hashes >> np.uint64(32)).astype(np.uint32)
