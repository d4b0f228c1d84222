"""Repairing: from a buffer of messages to the positions of the bytes whose case bit must be flipped.

Wholly faulty messages are recased as if they had no case. In otherwise well-cased messages only lower-case sentence
starts are touched, and only where the model is all but sure. Every decision looks at one message and at its text
without case, so the result depends neither on the batch nor on how often it is applied.
"""

from dataclasses import dataclass

import numpy as np

from zephyr_utils.truecasing import detect
from zephyr_utils.truecasing.arrays import TextBuffer
from zephyr_utils.truecasing.features import feature_columns, shifted
from zephyr_utils.truecasing.learn import CHUNK_BYTES, protected_words
from zephyr_utils.truecasing.lexicon import Lexicon
from zephyr_utils.truecasing.protect import join_messages
from zephyr_utils.truecasing.starts import sentence_candidates
from zephyr_utils.truecasing.words import Words, split_words

EVIDENCE = 5.5  # log-odds, summed over the message, that a lower-case message should not be in lower case
SHOUT_EVIDENCE = 20.0
KNOWN = 0.5  # share of known words below which a message is in a language that the corpus does not speak
SURE = 4.0  # log-odds at which a sentence start is repaired in an otherwise well-cased message
PIECE = 1 << 20  # longer messages are worked on in pieces, cut at line ends


@dataclass
class Repair:
    """What was found, and what to do about it.

    Args:
        labels: a code of ``detect.LABELS`` per row (int8).
        positions: bytes of the buffer whose case bit must be flipped, ascending.
    """

    labels: np.ndarray
    positions: np.ndarray


@dataclass
class Model:
    """What a fit leaves behind.

    Args:
        lexicon: word statistics.
        weights: int8 array, one weight per feature index. Eight bits keep the table in the processor's cache, where
            its 25 look-ups a word cost a third, and sums of integers come out alike on every machine.
        step: what a weight of 1 stands for, in log-odds.
    """

    lexicon: Lexicon
    weights: np.ndarray
    step: float

    def scores(self, words: Words, entry: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """Log-odds of a capital (float32) for every word, or for the chosen ones."""
        score = np.zeros(len(words) if chosen is None else len(chosen), np.int16)
        for column in feature_columns(words, self.lexicon.bucket.take(entry), chosen):
            score += self.weights.take(column)
        return score * np.float32(self.step)


def in_eight_bits(weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights as int8 and the step between them; the largest of a hundred thousand may lose its tip."""
    used = np.abs(weights[weights != 0])
    step = float(np.quantile(used, 0.99999)) / 127 if len(used) else 1.0
    return np.clip(np.rint(weights / step), -127, 127).astype(np.int8), step


def repair(model: Model, text: TextBuffer, force: bool = False) -> Repair:
    """Find the faults of every row and the edits that mend them.

    Args:
        model: the fitted statistics.
        text: the messages.
        force: recase every row as if it were wholly faulty, whatever its case (for measuring the recaser alone).
    """
    labels = np.zeros(len(text), np.int8)
    edits: list[np.ndarray] = []
    rows = np.arange(len(text)) if force else np.flatnonzero(detect.whole_candidates(text))
    if not force:
        codes = np.array([detect.whole_label(text.row(row)) for row in rows], np.int8)
        rows, codes = rows[codes != detect.OK], codes[codes != detect.OK]
        labels[rows] = codes
    for run, pieces in _runs(text, rows):
        _recase_run(model, text, run, pieces, labels, edits, force)
    if not force:
        places, owners = sentence_candidates(text, labels != detect.OK)
        for run, pieces in _runs(text, np.unique(owners)):
            _mend_starts(model, text, run, pieces, places[np.isin(owners, run)], labels, edits)
    positions = np.sort(np.concatenate(edits)) if edits else np.zeros(0, np.int64)
    return Repair(labels, positions)


def _runs(text: TextBuffer, rows: np.ndarray):
    """Batches of rows of about a chunk's size, each row cut into pieces of at most PIECE bytes.

    Yields:
        The rows of the batch, and its pieces as (row, start, end) in the buffer.
    """
    batch: list[int] = []
    pieces: list[tuple[int, int, int]] = []
    held = 0
    for row in rows.tolist():
        start, end = int(text.starts[row]), int(text.ends[row])
        batch.append(row)
        held += end - start
        while end - start > PIECE:
            window = text.data[start : start + PIECE].tobytes()
            cut = max(window.rfind(b"\n"), 0) or max(window.rfind(b" "), 0) or PIECE - 4
            while cut < PIECE - 1 and (window[cut] & 0xC0) == 0x80:  # never inside a character
                cut += 1
            pieces.append((row, start, start + cut))
            start += cut
        pieces.append((row, start, end))
        if held >= CHUNK_BYTES:
            yield np.array(batch), pieces
            batch, pieces, held = [], [], 0
    if batch:
        yield np.array(batch), pieces


@dataclass
class _Reading:
    """The words of some pieces, with their scores and where they stand in the buffer."""

    words: Words
    entry: np.ndarray
    score: np.ndarray
    free: np.ndarray
    row: np.ndarray
    shift: np.ndarray


def _read(
    model: Model, text: TextBuffer, pieces: list[tuple[int, int, int]], scored: bool = True
) -> _Reading:
    raws = [text.data[start:end].tobytes() for _, start, end in pieces]
    joined = join_messages(raws)
    words = split_words(joined)
    entry = model.lexicon.lookup(words.word)
    bounds = np.array(pieces, np.int64)
    lengths = bounds[:, 2] - bounds[:, 1]
    joined_start = np.concatenate([[0], np.cumsum(lengths[:-1] + 1)]) + 1
    free = ~(protected_words(words, joined) | words.digits)
    row = bounds[:, 0][words.row]
    score = model.scores(words, entry) if scored else np.zeros(len(words), np.float32)
    return _Reading(words, entry, score, free, row, (bounds[:, 1] - joined_start)[words.row])


def _recase_run(model, text, run, pieces, labels, edits, force) -> None:
    reading = _read(model, text, pieces)
    words = reading.words
    if force:
        accepted = np.ones(len(text), np.bool_)
    else:
        accepted = _believed(reading, labels, len(text))
        labels[run[~accepted[run]]] = detect.OK
    chosen = reading.free & accepted[reading.row]
    capital = chosen & (reading.score > 0)
    shouted = chosen & (labels[reading.row] == detect.UPPER) if not force else chosen
    lowered = np.flatnonzero(words.upper)
    owner = np.searchsorted(words.start, lowered, side="right") - 1
    inside = (
        (owner >= 0) & (lowered < words.end[np.maximum(owner, 0)])
        if len(words)
        else np.zeros(len(lowered), np.bool_)
    )
    lowered, owner = lowered[inside], owner[inside]
    keep = shouted[owner]
    wanted, wanted_owner = _capital_places(model, reading, capital)
    # A byte flips if its case is not what is wanted; only shouted messages ever lose a capital.
    has = np.zeros(len(words.upper), np.bool_)
    has[wanted] = True
    falling = lowered[keep & ~has[lowered]]
    rising = wanted[~words.upper[wanted]]
    shift_of = np.concatenate(
        [reading.shift[owner[keep & ~has[lowered]]], reading.shift[wanted_owner[~words.upper[wanted]]]]
    )
    edits.append(np.concatenate([falling, rising]) + shift_of)


def _capital_places(model: Model, reading: _Reading, capital: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes that carry the case bit of the capital letters of these words, and the words they belong to."""
    words = reading.words
    index = np.flatnonzero(capital)
    entry = reading.entry[index]
    opening = words.ends_sentence[index]
    form = np.where(opening, model.lexicon.opening_form.take(entry), model.lexicon.form.take(entry))
    start = words.start[index]
    plain = form == 1
    places, owners = [start[plain]], [index[plain]]
    special, special_start, special_form = index[~plain], start[~plain], form[~plain]
    for bit in range(32):
        chosen = (special_form >> np.uint32(bit)) & np.uint32(1) == 1
        if chosen.any():
            places.append(special_start[chosen] + bit)
            owners.append(special[chosen])
    place, owner = np.concatenate(places), np.concatenate(owners)
    place = place + (words.lower[place] == 0xC3)  # a Latin-1 letter carries its case in the second byte
    letter = words.lower[place]
    casable = ((letter >= 97) & (letter <= 122)) | (
        (words.lower[place - 1] == 0xC3) & (letter >= 0xA0) & (letter <= 0xBE) & (letter != 0xB7)
    )
    good = casable & (place < words.end[owner])
    return place[good], owner[good]


def _believed(reading: _Reading, labels: np.ndarray, rows: int) -> np.ndarray:
    """Rows whose text, read without its case, speaks against the case it has."""
    words, score = reading.words, reading.score
    row = reading.row
    alphabetic = ~words.digits
    known = np.bincount(row, alphabetic & (reading.entry > 0), minlength=rows)
    total = np.bincount(row, alphabetic, minlength=rows)
    first = np.zeros(len(words), np.bool_)
    first[:1] = True
    first[1:] = row[1:] != row[:-1]
    # The first word tells nothing. Lines that open in lower case may be a list's style, unless a sentence ended before.
    listed = words.breaks & ~np.isin(_mark_before(words), (33, 46, 63))
    capitals = np.concatenate([[0], np.cumsum(words.upper)])
    stray = capitals[words.end] > capitals[words.start]  # what has its capital does not ask for one
    telling = reading.free & ~first & ~listed & ~stray
    against = np.where(telling & (score > 1), score, 0).astype(np.float64)
    evidence = np.bincount(row, against, minlength=rows)
    shout = np.bincount(
        row, np.where(reading.free & (score < -1), -score, 0).astype(np.float64), minlength=rows
    )
    upper = labels == detect.UPPER
    return (known >= KNOWN * np.maximum(total, 1)) & np.where(
        upper, shout >= SHOUT_EVIDENCE, evidence >= EVIDENCE
    )


def _mark_before(words: Words) -> np.ndarray:
    """The byte right behind the word before."""
    return words.lower[np.minimum(shifted(words.end, -1, words.row, 0), len(words.lower) - 1)]


def _mend_starts(model, text, run, pieces, places, labels, edits) -> None:
    reading = _read(model, text, pieces, scored=False)
    words = reading.words
    if not len(words):
        return
    position = words.start + reading.shift  # ascending, since rows come in the buffer's order
    order = np.minimum(np.searchsorted(position, places), len(position) - 1)
    hit = order[position[order] == places]
    capitals = np.concatenate([[0], np.cumsum(words.upper)])
    lower_case = capitals[words.end] == capitals[words.start]
    shortened = shifted(model.lexicon.stops[reading.entry], -1, words.row, False) & (
        _mark_before(words) == 46
    )
    hit = hit[(reading.free & lower_case & ~shortened)[hit]]
    sure = np.zeros(len(words), np.bool_)
    sure[hit] = model.scores(words, reading.entry, hit) >= SURE
    known = np.bincount(reading.row, ~words.digits & (reading.entry > 0), minlength=len(text))
    total = np.bincount(reading.row, ~words.digits, minlength=len(text))
    sure &= (known >= KNOWN * np.maximum(total, 1))[reading.row]
    if sure.any():
        place, owner = _capital_places(model, reading, sure)
        labels[np.unique(reading.row[owner])] = detect.SENTENCE
        edits.append(place + reading.shift[owner])
