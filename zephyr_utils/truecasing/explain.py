"""What a truecaser sees in each word of a text: for learning about it and for showing it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zephyr_utils.truecasing.features import feature_columns
from zephyr_utils.truecasing.learn import read_example
from zephyr_utils.truecasing.model import Truecaser


@dataclass(frozen=True)
class WordReadings:
    """The words of some texts; arrays with one entry a word.

    Args:
        text: which of the texts the word is in, from 0.
        start, end: its bounds in characters.
        first: whether it is its text's first word.
        opens_line, opens_sentence: whether a line break, or one of .!? as well, is before it.
        digits: whether it holds nothing but digits.
        protected: whether it must not be touched (code, addresses, maths).
        capital: whether it is written with a capital.
        known: whether the corpus has the word; inside, inside_capital: how often inside sentences,
            and how often with a capital there.
        features: an index into the truecaser's weights for each of its features (words x 25).
        log_odds: of a capital, the sum of these weights (float32).
    """

    text: np.ndarray
    start: np.ndarray
    end: np.ndarray
    first: np.ndarray
    opens_line: np.ndarray
    opens_sentence: np.ndarray
    digits: np.ndarray
    protected: np.ndarray
    capital: np.ndarray
    known: np.ndarray
    inside: np.ndarray
    inside_capital: np.ndarray
    features: np.ndarray
    log_odds: np.ndarray

    def __len__(self) -> int:
        return len(self.start)


def read_words(truecaser: Truecaser, texts: Sequence[str]) -> WordReadings:
    """The words of texts as the truecaser reads them, whatever case they have now.

    Args:
        truecaser: a fitted one.
        texts: texts of any language; few enough to hold 25 features a word.
    """
    example = read_example([text.encode("utf-8", "surrogatepass") for text in texts])
    words, lexicon = example.words, truecaser.model.lexicon
    entry = lexicon.lookup(words.word)
    features = list(feature_columns(words, lexicon.bucket[entry]))
    # Every character has one byte that is not a continuation byte, and a zero byte precedes each
    # text: what was counted at its end is where the text's own characters begin.
    characters = np.cumsum((words.lower & 0xC0) != 0x80)
    begins = characters[np.flatnonzero(words.lower == 0)][words.row]
    return WordReadings(
        text=words.row,
        start=characters[words.start] - begins - 1,
        end=characters[words.end - 1] - begins,
        first=words.first,
        opens_line=words.breaks,
        opens_sentence=words.ends_sentence,
        digits=words.digits,
        protected=example.protected,
        capital=example.masks > 0,
        known=entry > 0,
        inside=lexicon.inside[entry],
        inside_capital=lexicon.capital[entry],
        features=np.stack(features, axis=1),
        log_odds=truecaser.model.scores(words, entry),
    )
