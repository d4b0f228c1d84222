"""Repairing: from a buffer of messages to the positions of the bytes whose case bit must be
flipped.

Wholly faulty messages are recased as if they had no case. In otherwise well-cased messages only
lower-case sentence starts are touched, and only where the model is all but sure. Every decision
looks at one message and at its text without case, so the result depends neither on the batch nor on
how often it is applied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zephyr_utils.truecasing import detect
from zephyr_utils.truecasing.arrays import TextBuffer, distinct
from zephyr_utils.truecasing.features import feature_columns, shifted
from zephyr_utils.truecasing.learn import CHUNK_BYTES, protected_words
from zephyr_utils.truecasing.lexicon import Lexicon
from zephyr_utils.truecasing.protect import join_messages, protected_bytes, protected_ranges
from zephyr_utils.truecasing.starts import sentence_candidates
from zephyr_utils.truecasing.words import LONE_I, Words, split_words

# log-odds, summed over the message, that a lower-case message should not be in lower case
EVIDENCE = 5.5
NAME_WEIGHT, NAME_LIMIT = (
    0.4,
    4.0,
)  # how much the log-odds of a word inside a sentence count towards it, at most
SHOUT_EVIDENCE = 20.0
# share of known words below which a message is in a language that the corpus does not speak
KNOWN = 0.5
# Log-odds at which a sentence start is repaired in an otherwise well-cased message: behind a
# sentence, and at the start of a line or an item, which may be in lower case by style.
SURE, SURE_LISTED = 3.5, 5.5


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


def repair(model: Model, text: TextBuffer, force: bool = False) -> Repair:
    """Find the faults of every row and the edits that mend them.

    Args:
        model: the fitted statistics.
        text: the messages, in the buffer's order.
        force: recase every row as if it were wholly faulty, whatever its case (for measuring the
            recaser alone).
    """
    labels = np.zeros(len(text), np.int8)
    if force:
        findings = CaseEvidence(len(text))
        for pieces, spans in _runs(text, np.arange(len(text))):
            _recase(_read(model, text, pieces, spans), findings, None)
        return Repair(labels, findings.of(np.ones(len(text), np.bool_)))

    rows = np.flatnonzero(detect.whole_candidates(text))
    labels[rows] = [detect.whole_label(text.row(row)) for row in rows]
    rows = rows[labels[rows] != detect.OK]
    upper = labels == detect.UPPER
    whole = CaseEvidence(len(text))
    for pieces, spans in _runs(text, rows):
        _recase(_read(model, text, pieces, spans), whole, upper)
    believed = whole.believed(upper)
    labels[rows[~believed[rows]]] = detect.OK

    places, owners = sentence_candidates(text, labels != detect.OK)
    starts = CaseEvidence(len(text))
    for pieces, spans in _runs(text, distinct(owners)):
        low, high = np.searchsorted(places, (pieces[0][1], pieces[-1][2]))
        _mend_starts(_read(model, text, pieces, spans), places[low:high], starts)
    spoken = starts.spoken()
    mended = np.unique(np.concatenate([*starts.rows, np.zeros(0, np.int64)]))
    labels[mended[spoken[mended]]] = detect.SENTENCE
    return Repair(
        labels, np.sort(np.concatenate([whole.of(believed), starts.of(spoken)]), kind="stable")
    )


class CaseEvidence:
    """What is gathered about the rows, piece by piece, until all of a row has been read and it can
    be judged.
    """

    def __init__(self, rows: int) -> None:
        self.known, self.total, self.evidence, self.shout = np.zeros((4, rows))
        self.positions: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []

    def count(self, reading: "_Reading") -> None:
        """Add up the words that the corpus knows, and all words."""
        alphabetic = ~reading.words.digits
        self._add(self.known, reading, alphabetic & (reading.entry > 0))
        self._add(self.total, reading, alphabetic)

    def _add(self, sums: np.ndarray, reading: "_Reading", amount: np.ndarray) -> None:
        np.add.at(
            sums, reading.rows, np.bincount(reading.words.row, amount, minlength=len(reading.rows))
        )

    def weigh(self, reading: "_Reading") -> None:
        """Add up what speaks against the case that a row has, were it read without its case."""
        words, score = reading.words, reading.score
        capitals = np.concatenate([[0], np.cumsum(words.upper)])
        # what has its capital does not ask for one
        stray = capitals[words.end] > capitals[words.start]
        pronoun = words.word == LONE_I
        # The first word tells nothing.
        telling = reading.free & ~words.first & (~_listed(words) | pronoun) & ~stray & (score > 1)
        # A sentence start or the pronoun shows on the surface. What looks like a name may be a
        # common word after all ("an apple"), and a single sentence that names nobody is well cased
        # without a capital: unless the corpus is certain of the name, it takes several to outweigh
        # that.
        ended = words.ends_sentence & ~_behind_abbreviation(reading)
        plain = ended | pronoun | reading.model.lexicon.certain[reading.entry]
        weight = np.where(plain, score, NAME_WEIGHT * np.minimum(score, NAME_LIMIT))
        uncertain = np.flatnonzero(telling & ~plain)
        pairs = np.stack([words.row[uncertain].astype(np.uint64), words.word[uncertain]], axis=1)
        told_before = np.ones(len(uncertain), np.bool_)
        told_before[np.unique(pairs, axis=0, return_index=True)[1]] = False
        telling[uncertain[told_before]] = False  # saying it twice does not make it truer
        self._add(self.evidence, reading, np.where(telling, weight, 0))
        self._add(self.shout, reading, np.where(reading.free & (score < -1), -score, 0))

    def spoken(self) -> np.ndarray:
        """Rows in a language that the corpus speaks."""
        return self.known >= KNOWN * np.maximum(self.total, 1)

    def believed(self, upper: np.ndarray) -> np.ndarray:
        """Rows whose text speaks against the case it has."""
        return self.spoken() & np.where(
            upper, self.shout >= SHOUT_EVIDENCE, self.evidence >= EVIDENCE
        )

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The edits of these rows (a mask), ascending."""
        if not self.positions:
            return np.zeros(0, np.int64)
        positions = np.concatenate(self.positions)
        return np.sort(positions[rows[np.concatenate(self.rows)]], kind="stable")  # nearly sorted


def _runs(
    text: TextBuffer, rows: np.ndarray
) -> Iterator[tuple[list[tuple[int, int, int]], list[tuple[int, int]] | None]]:
    """Batches of rows of about a chunk's size; longer rows are cut into pieces, each a batch of its
    own.

    Yields:
        The pieces of a batch as (row, start, end) in the buffer, and what is protected in it, in
            bytes from the piece's
        start; None for whole rows, which speak for themselves.
    """
    batch: list[tuple[int, int, int]] = []
    held = 0
    for row in rows.tolist():
        start, end = int(text.starts[row]), int(text.ends[row])
        if end - start > CHUNK_BYTES:
            spans = np.array(protected_bytes(text.row(row)), np.int64).reshape(-1, 2) + start
            for begin, finish in _pieces(text.data, start, end):
                inside = spans[(spans[:, 1] > begin) & (spans[:, 0] < finish)]
                yield [(row, begin, finish)], (np.clip(inside, begin, finish) - begin).tolist()
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
class _Reading:
    """The words of some pieces, with their scores and where they stand in the buffer.

    Args:
        model: what read them.
        words, entry, free: the words, their lexicon entries, and which of them may be touched.
        row: the row of each word; rows: that of each piece.
        shift: from a word's place to its place in the buffer.
    """

    model: Model
    words: Words
    entry: np.ndarray
    free: np.ndarray
    row: np.ndarray
    rows: np.ndarray
    shift: np.ndarray

    @cached_property
    def score(self) -> np.ndarray:
        return self.model.scores(self.words, self.entry)


def _read(
    model: Model,
    text: TextBuffer,
    pieces: list[tuple[int, int, int]],
    spans: list[tuple[int, int]] | None,
) -> _Reading:
    joined = join_messages([text.data[start:end].tobytes() for _, start, end in pieces])
    words = split_words(joined)
    rows, starts, ends = np.array(pieces, np.int64).T
    joined_start = np.concatenate([[0], np.cumsum((ends - starts)[:-1] + 1)]) + 1
    if spans is None:
        protected = protected_words(words, protected_ranges(joined))
    else:  # of a single piece, behind one zero byte
        protected = protected_words(words, [(start + 1, end + 1) for start, end in spans])
    return _Reading(
        model,
        words,
        model.lexicon.lookup(words.word),
        ~(protected | words.digits),
        rows[words.row],
        rows,
        (starts - joined_start)[words.row],
    )


def _recase(reading: _Reading, findings: CaseEvidence, upper: np.ndarray | None) -> None:
    """Gather evidence and edits of wholly faulty rows; ``upper`` tells the shouted ones, None
    recases all anew.
    """
    words = reading.words
    if not len(words):
        return
    findings.count(reading)
    findings.weigh(reading)
    wanted, wanted_owner = _capital_places(reading, reading.free & (reading.score > 0))
    # A byte flips if its case is not what is wanted; only shouted messages ever lose a capital.
    has = np.zeros(len(words.upper), np.bool_)
    has[wanted] = True
    rising = ~words.upper[wanted]
    fallible = reading.free if upper is None else reading.free & upper[reading.row]
    capital = np.flatnonzero(words.upper & ~has)
    owner = np.maximum(np.searchsorted(words.start, capital, side="right") - 1, 0)
    falling = (capital >= words.start[owner]) & (capital < words.end[owner]) & fallible[owner]
    place = np.concatenate([wanted[rising], capital[falling]])
    owner = np.concatenate([wanted_owner[rising], owner[falling]])
    findings.positions.append(place + reading.shift[owner])
    findings.rows.append(reading.row[owner])


def _mend_starts(reading: _Reading, places: np.ndarray, findings: CaseEvidence) -> None:
    """Gather the lower-case sentence starts that the model is sure of, among these places of the
    buffer.
    """
    words, model = reading.words, reading.model
    if not len(words):
        return
    findings.count(reading)
    position = words.start + reading.shift
    order = np.minimum(np.searchsorted(position, places), len(position) - 1)
    hit = order[position[order] == places]
    capitals = np.concatenate([[0], np.cumsum(words.upper)])
    lower_case = capitals[words.end] == capitals[words.start]
    hit = hit[(reading.free & lower_case & ~_behind_abbreviation(reading))[hit]]
    sure = np.zeros(len(words), np.bool_)
    sure[hit] = model.scores(words, reading.entry, hit) >= np.where(
        _listed(words)[hit], SURE_LISTED, SURE
    )
    place, owner = _capital_places(reading, sure)
    findings.positions.append(place + reading.shift[owner])
    findings.rows.append(reading.row[owner])


def _capital_places(reading: _Reading, capital: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes that carry the case bit of the capital letters of these words, and the words they
    belong to.
    """
    words, model = reading.words, reading.model
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
    # a Latin-1 letter carries its case in the second byte
    place = place + (words.lower[place] == 0xC3)
    letter = words.lower[place]
    casable = ((letter >= 97) & (letter <= 122)) | (
        (words.lower[place - 1] == 0xC3) & (letter >= 0xA0) & (letter <= 0xBE) & (letter != 0xB7)
    )
    good = casable & (place < words.end[owner])
    return place[good], owner[good]


def _listed(words: Words) -> np.ndarray:
    """Words that open a line behind no sentence's end, or follow an item's number: lower case there
    may be style.
    """
    before = _mark_before(words)
    numbered = (
        shifted(words.digits & words.breaks, -1, words.row, False) & (before != 33) & (before != 63)
    )
    return words.breaks & ~np.isin(before, (33, 46, 63)) | numbered


def _behind_abbreviation(reading: _Reading) -> np.ndarray:
    """Words behind one that the corpus writes with a full stop in mid-sentence."""
    words = reading.words
    abbreviated = reading.model.lexicon.stops[reading.entry]
    return shifted(abbreviated, -1, words.row, False) & (_mark_before(words) == 46)


def _mark_before(words: Words) -> np.ndarray:
    """The byte right behind the word before."""
    return words.lower[np.minimum(shifted(words.end, -1, words.row, 0), len(words.lower) - 1)]
