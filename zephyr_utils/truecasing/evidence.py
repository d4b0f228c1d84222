"""What speaks against the case that a message has, gathered over all its words."""

import numpy as np

from zephyr_utils.truecasing.reading import Reading
from zephyr_utils.truecasing.words import LONE_I

# log-odds, summed over the message, that a lower-case message should not be in lower case
EVIDENCE = 5.5
# how much the log-odds of a word inside a sentence count towards it, at most
NAME_WEIGHT, NAME_LIMIT = 0.4, 4.0
SHOUT_EVIDENCE = 20.0
# share of known words below which a message is in a language that the corpus does not speak
KNOWN = 0.5


class CaseEvidence:
    """What is gathered about the rows, piece by piece, until all of a row has been read and it can
    be judged.
    """

    def __init__(self, rows: int) -> None:
        self.known, self.total, self.evidence, self.shout = np.zeros((4, rows))
        self.positions: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []

    def count(self, reading: Reading) -> None:
        """Add up the words that the corpus knows, and all words."""
        alphabetic = ~reading.words.digits
        self._add(self.known, reading, alphabetic & (reading.entry > 0))
        self._add(self.total, reading, alphabetic)

    def _add(self, sums: np.ndarray, reading: Reading, amount: np.ndarray) -> None:
        np.add.at(
            sums, reading.rows, np.bincount(reading.words.row, amount, minlength=len(reading.rows))
        )

    def weigh(self, reading: Reading, deliberate: np.ndarray) -> None:
        """Add up what speaks against the case that a row has, were it read without its case.

        Args:
            reading: the words.
            deliberate: spans of the buffer (n x 2, ascending, disjoint) where lower case is on
                purpose.
        """
        words, score = reading.words, reading.score
        pronoun = words.word == LONE_I
        # The first word says nothing, and what has its capital does not ask for one.
        counts = reading.free & ~words.first & (~reading.listed | pronoun)
        counts &= reading.lower & (score > 1)
        if len(deliberate):
            position = words.start + reading.shift
            before = np.searchsorted(deliberate[:, 0], position, side="right") - 1
            counts &= (before < 0) | (position >= deliberate[before, 1])
        # A sentence start or the pronoun shows on the surface. What looks like a name may be a
        # common word after all ("an apple"), and a single sentence that names nobody is well cased
        # without a capital: unless the corpus is certain of the name, it takes several to outweigh
        # that.
        ended = words.ends_sentence & ~reading.behind_abbreviation
        plain = ended | pronoun | reading.model.lexicon.certain[reading.entry]
        weight = np.where(plain, score, NAME_WEIGHT * np.minimum(score, NAME_LIMIT))
        uncertain = np.flatnonzero(counts & ~plain)
        pairs = np.stack([words.row[uncertain].astype(np.uint64), words.word[uncertain]], axis=1)
        repeated = np.ones(len(uncertain), np.bool_)
        repeated[np.unique(pairs, axis=0, return_index=True)[1]] = False
        counts[uncertain[repeated]] = False  # a repetition is no further evidence
        self._add(self.evidence, reading, np.where(counts, weight, 0))
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
