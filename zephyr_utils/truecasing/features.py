"""The features of a word in context, as indices into one table of weights (the hashing trick, Weinberger et al. 2009).

Every feature is blind to case. They tell of the word, its neighbours, its affixes, the gaps around it, how often the
corpus writes it and its neighbours with a capital, and the line that it stands in (its length, its ending, whether the
word is inside bold, quotes, or a label before a colon): headings are often in title case, and lists have their style.
"""

import numpy as np

from zephyr_utils.truecasing.words import BOUNDARY, MIX, Words

TABLE_BITS = 22
_KEYS = np.random.default_rng(7).integers(2**62, 2**63, 64).astype(np.uint64) | np.uint64(1)


def shifted(values: np.ndarray, by: int, row: np.ndarray, fill) -> np.ndarray:
    """The values of the words ``by`` places further on, with a filling beyond the message's ends."""
    result = np.full_like(values, fill)
    if by > 0 and len(values) > by:
        result[:-by] = np.where(row[by:] == row[:-by], values[by:], fill)
    elif by < 0 and len(values) > -by:
        result[-by:] = np.where(row[-by:] == row[:by], values[:by], fill)
    return result


def line_kinds(words: Words) -> tuple[np.ndarray, np.ndarray]:
    """Two small numbers per word: the kind of its line, and its state within the line."""
    line = np.cumsum(words.breaks, dtype=np.int64) - 1
    opens = np.flatnonzero(words.breaks)
    length = np.bincount(line, minlength=len(opens))
    closes = np.append(opens[1:], len(words)) - 1
    limit = len(words.lower) - 1
    mark = words.lower[np.minimum(words.end[closes], limit)]  # the byte right behind the line's last word
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
        here = words.hashed == byte if byte == 34 else (words.lower[1:] == 42) & (words.lower[:-1] == 42)
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


def feature_columns(words: Words, bucket: np.ndarray):
    """Yield the index of each feature for every word, one array (int64) a feature."""
    row = words.row
    w, gap = words.word, words.gap
    before, after = shifted(w, -1, row, BOUNDARY), shifted(w, 1, row, BOUNDARY)
    before2, after2 = shifted(w, -2, row, BOUNDARY), shifted(w, 2, row, BOUNDARY)
    gap_before, gap_after = shifted(gap, -1, row, BOUNDARY), shifted(gap, 1, row, BOUNDARY)
    b = bucket.astype(np.uint64)
    b_before, b_after = shifted(b, -1, row, np.uint64(30)), shifted(b, 1, row, np.uint64(30))
    b_before2, b_after2 = shifted(b, -2, row, np.uint64(30)), shifted(b, 2, row, np.uint64(30))
    kind, state = (part.astype(np.uint64) for part in line_kinds(words))
    length = words.end - words.start
    suffix3 = words.hash_range(words.end - np.minimum(length, 3), words.end)
    suffix2 = words.hash_range(words.end - np.minimum(length, 2), words.end)
    prefix3 = words.hash_range(words.start, words.start + np.minimum(length, 3))
    size = np.minimum(length, 12).astype(np.uint64)
    starts = words.ends_sentence.astype(np.uint64)
    near = b_before * np.uint64(32) + b
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
    shift = np.uint64(64 - TABLE_BITS)
    for number, columns in enumerate(parts):
        mixed = columns[0] * _KEYS[number]
        for place, column in enumerate(columns[1:]):
            mixed ^= mixed >> np.uint64(29)
            mixed += column * _KEYS[40 + place]
            mixed *= MIX
        mixed ^= mixed >> np.uint64(32)
        mixed *= MIX
        yield (mixed >> shift).astype(np.int64)
