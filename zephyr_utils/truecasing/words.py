"""Messages as arrays of words: bounds, hashes, gaps and line structure, blind to case.

Words are runs of letters and digits; the gap before a word is everything between it and the word
before. All hashes are polynomial ones read off one running sum, so that a word, a gap or a suffix
costs one subtraction (Karp and Rabin 1987, "Efficient randomized pattern-matching algorithms").
Nothing here depends on which messages share a buffer: each message is between two zero bytes and
every hash stops there.
"""

from dataclasses import dataclass

import numpy as np

_RANDOM = np.random.default_rng(20231025)
_VALUES = _RANDOM.integers(1, 2**63, 256).astype(np.uint64)
_VALUES[0] = 0
BASE = np.uint64(int(_RANDOM.integers(2**62, 2**63)) | 1)
BASE_INVERSE = np.uint64(pow(int(BASE), -1, 2**64))
BOUNDARY = np.uint64(0x9E3779B97F4A7C15)  # stands for the word before the first and after the last
MIX = np.uint64(0xD6E8FEB86659FD93)
# the hash of the pronoun: a word of one letter hashes to that letter's value
LONE_I = _VALUES[ord("i")]

_OTHER, _WORD = 0, 1
_CLASS = np.zeros(256, np.uint8)
_CLASS[list(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")] = _WORD
_CLASS[0xC3:] = _WORD
_CLASS[0x80:0xC0] = _WORD
_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_IS_UPPER = np.zeros(256, np.bool_)
_IS_UPPER[65:91] = True
_SYMBOL_LEADS = (
    0xC2,
    0xE2,
    0xE3,
    0xEF,
    0xF0,
)  # punctuation, signs, wide forms, emoji: no letters of an alphabet


@dataclass
class Words:
    """The words of a run of messages; one entry per word unless said otherwise.

    Args:
        lower: the messages' bytes in lower case, with zero bytes around each message.
        hashed: the same with typographic quotation marks made plain; what the hashes are taken of.
        upper: per byte, whether the case bit had to be set to get there.
        start, end: bounds in bytes.
        row: index of the message.
        first: whether the word is its message's first.
        digits: whether the word holds nothing but digits.
        word: hash of the word; numbers share one hash per length.
        gap: hash of what is between this word and the one before.
        breaks: whether the gap holds a line break (a message's start counts).
        ends_sentence: whether the gap holds one of .!? or a line break.
    """

    lower: np.ndarray
    hashed: np.ndarray
    upper: np.ndarray
    start: np.ndarray
    end: np.ndarray
    row: np.ndarray
    first: np.ndarray
    digits: np.ndarray
    word: np.ndarray
    gap: np.ndarray
    breaks: np.ndarray
    ends_sentence: np.ndarray
    sums: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def hash_range(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Hash of the bytes from start up to end, wherever they occur."""
        return (self.sums[end] - self.sums[start]) * _inverse_powers(len(self.sums))[start]


_POWERS: dict[str, np.ndarray] = {}


def _powers(count: int) -> np.ndarray:
    if len(_POWERS.get("powers", ())) < count:
        size = 1 << max(18, (count - 1).bit_length())
        for name, base in (("powers", BASE), ("inverse", BASE_INVERSE)):
            table = np.full(size, base, np.uint64)
            table[0] = 1
            _POWERS[name] = np.cumprod(table)
    return _POWERS["powers"]


def _inverse_powers(count: int) -> np.ndarray:
    _powers(count)
    return _POWERS["inverse"]


def split_words(joined: np.ndarray) -> Words:
    """The words of messages that are joined, and surrounded, by zero bytes.

    Args:
        joined: uint8 array ``0 message 0 message 0``; messages hold no zero byte themselves.
    """
    lower = _LOWER.take(joined)
    upper = _IS_UPPER.take(joined)
    kind = _CLASS.take(joined)
    hashed = lower
    high = np.flatnonzero(joined >= 0xC2)
    if len(high):
        hashed = lower.copy()
        _read_beyond_ascii(joined, high, lower, upper, kind, hashed)
    edges = np.flatnonzero(kind[1:] != kind[:-1]) + 1  # the zero bytes at both ends are not words
    start, end = edges[0::2], edges[1::2]

    sums = np.empty(len(joined) + 1, np.uint64)
    sums[0] = 0
    np.cumsum(_VALUES[hashed] * _powers(len(joined))[: len(joined)], out=sums[1:])
    inverse = _inverse_powers(len(joined))

    zeros = np.flatnonzero(joined == 0)
    row = np.searchsorted(zeros, start) - 1
    first = np.empty(len(start), np.bool_)
    first[:1] = True
    first[1:] = row[1:] != row[:-1]
    gap_start = np.empty(len(start), np.int64)
    gap_start[:1] = 0
    gap_start[1:] = end[:-1]
    gap_start[first] = zeros[row[first]]
    word = (sums[end] - sums[start]) * inverse[start]
    gap = (sums[start] - sums[gap_start]) * inverse[gap_start]
    gap[first] ^= BOUNDARY

    marks = np.zeros(len(joined) + 1, np.uint8)
    marks[1:] = (joined == 10) | (joined == 0)
    breaks_before = np.cumsum(marks, dtype=np.int32)
    breaks = breaks_before[start] > breaks_before[gap_start]
    marks[1:] |= (joined == 46) | (joined == 33) | (joined == 63)
    ends_before = np.cumsum(marks, dtype=np.int32)
    ends_sentence = ends_before[start] > ends_before[gap_start]

    digits = (lower[start] < 58) & (lower[end - 1] < 58)
    if digits.any():
        number = np.flatnonzero(digits)
        alphabetic = np.zeros(len(joined) + 1, np.int32)
        alphabetic[1:] = np.cumsum(lower > 58, dtype=np.int32)
        digits[number] = alphabetic[end[number]] == alphabetic[start[number]]
        number = np.flatnonzero(digits)
        word[number] = (
            np.minimum(end[number] - start[number], 5).astype(np.uint64) + np.uint64(1)
        ) * MIX
    return Words(
        lower, hashed, upper, start, end, row, first, digits, word, gap, breaks, ends_sentence, sums
    )


def _read_beyond_ascii(joined, high, lower, upper, kind, hashed) -> None:
    """Latin-1 capitals, typographic quotation marks and symbols, in place."""
    size = len(joined)
    lead = joined[high]
    for symbol in _SYMBOL_LEADS:
        at = high[lead == symbol]
        kind[at] = _OTHER
        for _ in range(3 if symbol == 0xF0 else 1 if symbol == 0xC2 else 2):
            at = np.minimum(at + 1, size - 1)
            # a cut-off character must not reach into its neighbour
            at = at[(joined[at] & 0xC0) == 0x80]
            kind[at] = _OTHER
    latin = (
        high[lead == 0xC3] + 1
    )  # U+00C0 to U+00DE: the second byte carries the case in the same bit as ASCII does
    latin = latin[latin < size]
    second = joined[latin]
    capital = latin[(second >= 0x80) & (second <= 0x9E) & (second != 0x97)]
    lower[capital] += 32
    hashed[capital] += 32
    upper[capital] = True
    sign = latin[(second == 0x97) | (second == 0xB7)]  # multiplication and division signs
    kind[sign] = kind[sign - 1] = _OTHER
    marks = high[(lead == 0xE2)]
    marks = marks[marks + 2 < size]
    marks = marks[joined[marks + 1] == 0x80]
    for third, plain in ((0x98, 39), (0x99, 39), (0x9C, 34), (0x9D, 34)):
        at = marks[joined[marks + 2] == third]
        hashed[at] = plain
        hashed[at + 1] = hashed[at + 2] = 0
