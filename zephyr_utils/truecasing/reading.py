"""The fitted statistics, and the words of messages as they see them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zephyr_utils.truecasing.arrays import TextBuffer
from zephyr_utils.truecasing.features import feature_columns, shifted
from zephyr_utils.truecasing.learn import CHUNK_BYTES, protected_words
from zephyr_utils.truecasing.lexicon import Lexicon
from zephyr_utils.truecasing.protect import join_messages, protected_bytes, protected_ranges
from zephyr_utils.truecasing.words import Words, split_words

Piece = tuple[int, int, int]  # a row, and where in the buffer the piece of it starts and ends


@dataclass
class Model:
    """What a fit leaves behind.

    Args:
        lexicon: word statistics.
        weights: int8 array, one weight per feature index. Eight bits keep the table in the
            processor's cache, where its 25 look-ups a word cost a third, and sums of integers come
            out alike on every machine.
        step: what a weight of 1 stands for, in log-odds.
    """

    lexicon: Lexicon
    weights: np.ndarray
    step: float

    def scores(
        self, words: Words, entry: np.ndarray, chosen: np.ndarray | None = None
    ) -> np.ndarray:
        """Log-odds of a capital (float32) for every word, or for the chosen ones."""
        score = np.zeros(len(words) if chosen is None else len(chosen), np.int16)
        for column in feature_columns(words, self.lexicon.bucket.take(entry), chosen):
            score += self.weights.take(column)
        return score * np.float32(self.step)


def in_eight_bits(weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights as int8 and the step between them; the largest of a hundred thousand may lose its
    tip.
    """
    used = np.abs(weights[weights != 0])
    step = float(np.quantile(used, 0.99999)) / 127 if len(used) else 1.0
    return np.clip(np.rint(weights / step), -127, 127).astype(np.int8), step


def batches(
    text: TextBuffer, rows: np.ndarray
) -> Iterator[tuple[list[Piece], list[tuple[int, int]] | None]]:
    """Batches of rows of about a chunk's size; longer rows are cut into pieces, each a batch of its
    own.

    Yields:
        The pieces of a batch as (row, start, end) in the buffer, and what is protected in it, in
            bytes from the piece's start; None for whole rows, in which it is still to be found.
    """
    batch: list[Piece] = []
    held = 0
    for row in rows.tolist():
        start, end = int(text.starts[row]), int(text.ends[row])
        if end - start > CHUNK_BYTES:
            spans = np.array(protected_bytes(text.row(row)), np.int64).reshape(-1, 2) + start
            for begin, finish in _pieces(text.data, start, end):
                first = np.searchsorted(spans[:, 1], begin, side="right")
                last = np.searchsorted(spans[:, 0], finish)
                inside = np.clip(spans[first:last], begin, finish) - begin
                yield [(row, begin, finish)], inside.tolist()
            continue
        batch.append((row, start, end))
        held += end - start
        if held >= CHUNK_BYTES:
            yield batch, None
            batch, held = [], 0
    if batch:
        yield batch, None


def _pieces(data: np.ndarray, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A long row cut at line ends, or at spaces, or between characters."""
    while end - start > CHUNK_BYTES:
        window = data[start : start + CHUNK_BYTES].tobytes()
        cut = max(window.rfind(b"\n"), 0) or max(window.rfind(b" "), 0) or CHUNK_BYTES - 4
        while (window[cut] & 0xC0) == 0x80 and cut < CHUNK_BYTES - 1:
            cut += 1
        yield start, start + cut
        start += cut
    yield start, end


@dataclass
class Reading:
    """The words of some pieces, with their scores and where they are in the buffer.

    Args:
        model: what read them.
        words, entry, free: the words, their lexicon entries, and which of them may be touched.
        row: the row of each word; rows: that of each piece.
        starts, ends: the bounds of each piece in the buffer; ``words.row`` is a word's piece.
        shift: from a word's place to its place in the buffer.
    """

    model: Model
    words: Words
    entry: np.ndarray
    free: np.ndarray
    row: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    shift: np.ndarray

    @cached_property
    def score(self) -> np.ndarray:
        """Log-odds of a capital (float32) of every word."""
        return self.model.scores(self.words, self.entry)

    @cached_property
    def lower(self) -> np.ndarray:
        """Whether a word has no capital at all."""
        capitals = np.concatenate([[0], np.cumsum(self.words.upper)])
        return capitals[self.words.end] == capitals[self.words.start]

    @cached_property
    def listed(self) -> np.ndarray:
        """Words that open a line behind no sentence's end, or follow an item's number: lower case
        there may be style.
        """
        words, before = self.words, self._mark_before
        numbered = shifted(words.digits & words.breaks, -1, words.row, False)
        numbered &= (before != 33) & (before != 63)
        return words.breaks & ~np.isin(before, (33, 46, 63)) | numbered

    @cached_property
    def behind_abbreviation(self) -> np.ndarray:
        """Words behind one that the corpus writes with a full stop in mid-sentence."""
        abbreviated = self.model.lexicon.stops[self.entry]
        return shifted(abbreviated, -1, self.words.row, False) & (self._mark_before == 46)

    @cached_property
    def _mark_before(self) -> np.ndarray:
        """The byte right behind the word before."""
        words = self.words
        behind = shifted(words.end, -1, words.row, 0)
        return words.lower[np.minimum(behind, len(words.lower) - 1)]


def read_pieces(
    model: Model,
    text: TextBuffer,
    pieces: list[Piece],
    spans: list[tuple[int, int]] | None,
) -> Reading:
    joined = join_messages([text.data[start:end].tobytes() for _, start, end in pieces])
    words = split_words(joined)
    rows, starts, ends = np.array(pieces, np.int64).T
    joined_start = np.concatenate([[0], np.cumsum((ends - starts)[:-1] + 1)]) + 1
    if spans is None:
        protected = protected_words(words, protected_ranges(joined))
    else:  # of a single piece, behind one zero byte
        protected = protected_words(words, [(start + 1, end + 1) for start, end in spans])
    return Reading(
        model,
        words,
        model.lexicon.lookup(words.word),
        ~(protected | words.digits),
        rows[words.row],
        rows,
        starts,
        ends,
        (starts - joined_start)[words.row],
    )
