"""What the corpus knows of each word: how often it was inside a sentence, how often with a
capital, in which form.
"""

from dataclasses import dataclass

import numpy as np

from zephyr_utils.truecasing.words import MIX

STOP_RATE = 0.15
CERTAIN_COUNT, CERTAIN_RATE = 15, 0.99
COMMON_SHARE = 0.0005  # of the messages that hold the most frequent word


@dataclass
class Lexicon:
    """Word statistics, looked up by word hash. Entry 0 stands for every word that is not known.

    Args:
        keys: hash per entry; key 0 belongs to entry 0.
        inside, capital: occurrences inside sentences, and those with a capital among them.
        opening, opening_capital: the same at starts of sentences and lines.
        documents: messages that hold the word.
        stop, stop_lower: occurrences with a full stop and a word behind, and those where that word
            is in lower case.
        form: which letters are capital when the word is, as bits from the first byte (1: the first
            alone).
        opening_form: the same at a start.
    """

    keys: np.ndarray
    inside: np.ndarray
    capital: np.ndarray
    opening: np.ndarray
    opening_capital: np.ndarray
    documents: np.ndarray
    stop: np.ndarray
    stop_lower: np.ndarray
    form: np.ndarray
    opening_form: np.ndarray

    def __post_init__(self) -> None:
        self._build_table()
        self.bucket = buckets(self.inside, self.capital, self.opening, self.opening_capital)

        # Names beyond doubt: written with a capital every time, and that often enough.
        self.certain = (self.inside >= CERTAIN_COUNT) & (self.capital >= CERTAIN_RATE * self.inside)

        # Words of the language rather than of single messages.
        least = max(2.0, COMMON_SHARE * float(self.documents.max(initial=0)))
        self.common = self.documents >= least

        # An abbreviation is what takes a full stop without ending the sentence (after Kiss and
        # Strunk 2006).
        self.stops = (self.stop_lower >= 2) & (self.stop_lower >= STOP_RATE * self.stop)

    def __len__(self) -> int:
        return len(self.keys)

    def _build_table(self) -> None:
        """Open addressing with linear probing, filled for all entries at once, round by round."""
        bits = max(10, (4 * len(self.keys)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1
        self._slots = np.zeros(1 << bits, np.int32)
        waiting = np.arange(1, len(self.keys))
        slot = ((self.keys[1:] * MIX) >> self._shift).astype(np.int64)
        while len(waiting):
            free = self._slots[slot] == 0
            self._slots[slot[free]] = waiting[free]  # of several for one slot the last stays
            placed = self._slots[slot] == waiting
            waiting, slot = waiting[~placed], (slot[~placed] + 1) & self._mask

    def lookup(self, words: np.ndarray) -> np.ndarray:
        """Entry of each word hash; 0 where it is not known."""
        slot = ((words * MIX) >> self._shift).astype(np.int64)
        entry = self._slots.take(slot)
        wrong = np.flatnonzero((entry != 0) & (self.keys.take(entry) != words))
        while len(wrong):
            slot[wrong] = (slot[wrong] + 1) & self._mask
            entry[wrong] = self._slots[slot[wrong]]
            wrong = wrong[(entry[wrong] != 0) & (self.keys[entry[wrong]] != words[wrong])]
        return entry


def buckets(
    inside: np.ndarray, capital: np.ndarray, opening: np.ndarray, opening_capital: np.ndarray
) -> np.ndarray:
    """Capitalisation rate of a word, coarse, and finer the more often it was seen inside a
    sentence.

    Bucket 0: never seen. 1 to 3: seen at starts alone (rarely, often, or also in lower case there).
    The rest: seven steps of the rate for words seen once or twice, up to nine times, and more.
    """
    rate = (capital + 0.02) / (inside + 0.04)
    step = np.searchsorted([0.02, 0.15, 0.4, 0.7, 0.93, 0.993], rate)
    confidence = (inside > 2).astype(np.int64) + (inside > 9)
    bucket = 3 + confidence * 7 + np.clip(step, 0, 6)
    alone = np.where(
        opening_capital < opening, 3, np.where(opening > 2, 2, np.where(opening > 0, 1, 0))
    )
    return np.where(inside > 0, bucket, alone).astype(np.uint8)
