"""What the truecaser sees in each word, as the chapter and readers look at it."""

import numpy as np
import pytest
from truecasing_corpus import fitted

from zephyr_utils.truecasing import read_words

TEXTS = ["Émile knows Paris. the “river” is 12 `Code`", "", "😀 Maria", "i"]


def test_words_stand_where_they_are_said_to_in_characters():
    words = read_words(fitted(), TEXTS)
    shown = [
        TEXTS[text][start:end]
        for text, start, end in zip(words.text, words.start, words.end, strict=True)
    ]
    assert shown == ["Émile", "knows", "Paris", "the", "river", "is", "12", "Code", "Maria", "i"]
    assert len(words) == 10


def test_what_is_said_of_a_word_is_what_stands_there():
    words = read_words(fitted(), TEXTS)
    assert np.flatnonzero(words.first).tolist() == [0, 8, 9]
    assert np.flatnonzero(words.opens_sentence).tolist() == [0, 3, 8, 9]
    assert np.flatnonzero(words.digits).tolist() == [6]
    assert np.flatnonzero(words.protected).tolist() == [7]
    assert np.flatnonzero(words.capital).tolist() == [0, 2, 7, 8]
    paris, the = 2, 3
    assert words.known[paris] and words.inside[paris] == words.inside_capital[paris] > 100
    assert words.inside[the] > words.inside_capital[the]


def test_the_log_odds_are_the_sum_of_the_features_weights_and_blind_to_case():
    words = read_words(fitted(), TEXTS)
    model = fitted().model
    assert words.features.shape == (10, 25)
    by_hand = model.weights[words.features].sum(axis=1, dtype=int) * model.step
    assert np.allclose(words.log_odds, by_hand, atol=1e-3)
    shouted = read_words(fitted(), [text.upper() for text in TEXTS])
    assert np.array_equal(shouted.log_odds, words.log_odds)


@pytest.mark.parametrize("texts", [[], [""], ["", "  "], ["..."]])
def test_texts_without_words_have_none(texts):
    assert len(read_words(fitted(), texts)) == 0
