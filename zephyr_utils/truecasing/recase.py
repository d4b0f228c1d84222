"""Repairing: from a buffer of messages to the positions of the bytes whose case bit must be
flipped.

Wholly faulty messages are recased as if they had no case. In otherwise well-cased messages only
lower-case sentence starts are touched, and only where the model is all but sure. Every decision
looks at one message and at its text without case, so the result depends neither on the batch nor on
how often it is applied.
"""

from dataclasses import dataclass

import numpy as np

from zephyr_utils.truecasing import detect
from zephyr_utils.truecasing.arrays import (
    TextBuffer,
    distinct,
    with_line_feeds,
)
from zephyr_utils.truecasing.evidence import CaseEvidence
from zephyr_utils.truecasing.reading import Model, Piece, Reading, batches, read_pieces
from zephyr_utils.truecasing.starts import sentence_candidates
from zephyr_utils.truecasing.styles import MessageStyle, deliberate_spans

# Log-odds at which a sentence start is repaired in an otherwise well-cased message: behind a
# sentence, and at the start of a line or an item, which may be in lower case by style.
SURE, SURE_LISTED = 3.5, 5.5
# Share of the words of such a sentence that the corpus must know well, so that the sentence is in a
# language of it; and where its first word is not known.
KNOWN_SENTENCE, KNOWN_BEHIND_UNKNOWN = 0.6, 0.75
_NOWHERE = np.zeros((0, 2), np.int64)


@dataclass
class Repair:
    """The faults of each row and the edits that repair them.

    Args:
        labels: a code of ``detect.LABELS`` per row (int8).
        positions: bytes of the buffer whose case bit must be flipped, ascending.
    """

    labels: np.ndarray
    positions: np.ndarray


def repair(model: Model, text: TextBuffer, force: bool = False) -> Repair:
    """Find the faults of every row and the edits that repair them.

    Args:
        model: the fitted statistics.
        text: the messages, in the buffer's order.
        force: recase every row as if it were wholly faulty, whatever its case (for measuring the
            recaser alone).
    """
    lines = with_line_feeds(text)
    text = lines.text
    labels = np.zeros(len(text), np.int8)
    if force:
        evidence = CaseEvidence(len(text))
        for pieces, spans in batches(text, np.arange(len(text))):
            _recase(read_pieces(model, text, pieces, spans), evidence, None, _NOWHERE)
        everywhere = evidence.of(np.ones(len(text), np.bool_))
        return Repair(labels, lines.original(everywhere))

    rows = np.flatnonzero(detect.whole_candidates(text))
    labels[rows] = [detect.whole_label(text.row(row)) for row in rows.tolist()]
    rows = rows[labels[rows] != detect.OK]
    upper = labels == detect.UPPER
    whole = CaseEvidence(len(text))
    for pieces, spans in batches(text, rows):
        reading = read_pieces(model, text, pieces, spans)
        _recase(reading, whole, upper, _deliberate(text, pieces))
    believed = whole.believed(upper)
    labels[rows[~believed[rows]]] = detect.OK

    places, owners = sentence_candidates(text, labels != detect.OK)
    starts = CaseEvidence(len(text))
    for pieces, spans in batches(text, distinct(owners)):
        low, high = np.searchsorted(places, (pieces[0][1], pieces[-1][2]))
        _repair_starts(read_pieces(model, text, pieces, spans), text, places[low:high], starts)
    spoken = starts.spoken()
    repaired = np.unique(np.concatenate([*starts.rows, np.zeros(0, np.int64)]))
    labels[repaired[spoken[repaired]]] = detect.SENTENCE
    edits = np.sort(np.concatenate([whole.of(believed), starts.of(spoken)]), kind="stable")
    return Repair(labels, lines.original(edits))


def _deliberate(text: TextBuffer, pieces: list[Piece]) -> np.ndarray:
    """Where in the buffer these pieces are in lower case on purpose, as spans."""
    spans = [
        (start + begin, start + finish)
        for _, start, end in pieces
        for begin, finish in deliberate_spans(text.data[start:end].tobytes())
    ]
    return np.array(spans, np.int64).reshape(-1, 2)


def _recase(
    reading: Reading, evidence: CaseEvidence, upper: np.ndarray | None, deliberate: np.ndarray
) -> None:
    """Gather evidence and edits of wholly faulty rows; ``upper`` marks the shouted ones, None
    recases all of it, and in the ``deliberate`` spans lower case is not evidence.
    """
    words = reading.words
    if not len(words):
        return
    evidence.count(reading)
    evidence.weigh(reading, deliberate)
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
    evidence.positions.append(place + reading.shift[owner])
    evidence.rows.append(reading.row[owner])


def _repair_starts(
    reading: Reading, text: TextBuffer, places: np.ndarray, evidence: CaseEvidence
) -> None:
    """Gather the lower-case sentence starts that the model is sure of and that are not so on
    purpose, among these places of the buffer.
    """
    words, model = reading.words, reading.model
    if not len(words):
        return
    evidence.count(reading)
    position = words.start + reading.shift
    order = np.minimum(np.searchsorted(position, places), len(position) - 1)
    hit = order[position[order] == places]
    hit = hit[(reading.free & reading.lower & ~reading.behind_abbreviation)[hit]]
    hit = hit[_in_known_language(reading, hit)]
    sure = np.zeros(len(words), np.bool_)
    least = np.where(reading.listed[hit], SURE_LISTED, SURE)
    sure[hit] = model.scores(words, reading.entry, hit) >= least
    _spare_deliberate(reading, text, sure)
    place, owner = _capital_places(reading, sure)
    evidence.positions.append(place + reading.shift[owner])
    evidence.rows.append(reading.row[owner])


def _spare_deliberate(reading: Reading, text: TextBuffer, sure: np.ndarray) -> None:
    """Take the words out of a mask that are in lower case on purpose."""
    read, style = -1, MessageStyle(b"")
    for word in np.flatnonzero(sure).tolist():
        piece = int(reading.words.row[word])
        start, end = int(reading.starts[piece]), int(reading.ends[piece])
        if piece != read:
            read, style = piece, MessageStyle(text.data[start:end].tobytes())
        place = int(reading.words.start[word] + reading.shift[word])
        sure[word] = not style.lower_on_purpose(place - start)


def _in_known_language(reading: Reading, chosen: np.ndarray) -> np.ndarray:
    """Which of the chosen words open a sentence that the corpus could hold: foreign and invented
    languages have rules of their own.
    """
    sentence = np.cumsum(reading.words.ends_sentence)
    alphabetic = ~reading.words.digits
    known = np.bincount(sentence, alphabetic & reading.model.lexicon.common[reading.entry])
    share = (known / np.maximum(np.bincount(sentence, alphabetic), 1))[sentence[chosen]]
    first_known = reading.entry[chosen] > 0
    return share >= np.where(first_known, KNOWN_SENTENCE, KNOWN_BEHIND_UNKNOWN)


def _capital_places(reading: Reading, capital: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
