"""The truecaser: what it repairs, what it leaves alone, and that it never changes a length."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from truecasing_corpus import CLEAN, FAULTY, REPAIRED, corpus, fitted, message

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import (
    LABELS,
    Truecaser,
    corrupt_case,
    detect_case_noise,
    truecasing_scores,
)


def fresh(count: int = 300) -> list[str]:
    """Messages that the fit did not see."""
    return corpus(count, seed=1)


# --- repair ---------------------------------------------------------------------------------------


def test_sentence_starts_names_and_the_pronoun_are_restored():
    assert fitted().truecase(FAULTY) == REPAIRED


@pytest.mark.parametrize("kind", ["capitalize", "lower", "upper"])
def test_most_of_a_wholly_faulty_message_comes_back(kind):
    faulty = [corrupt_case(text, kind) for text in fresh()]
    scores = truecasing_scores(fresh(), faulty, fitted().truecase_batch(faulty))
    assert scores.f1 > 0.98 and scores.sentence_initial_accuracy > 0.99


def test_a_lowered_sentence_start_in_a_message_cased_otherwise_is_repaired_and_nothing_else():
    faulty = [corrupt_case(text, "sentence") for text in fresh()]
    scores = truecasing_scores(fresh(), faulty, fitted().truecase_batch(faulty))
    assert scores.precision > 0.999 and scores.recall > 0.9


def test_clean_messages_are_the_very_same_objects_afterwards():
    clean = fresh()
    assert all(a is b for a, b in zip(clean, fitted().truecase_batch(clean), strict=True))


def test_a_second_pass_changes_nothing():
    faulty = [
        corrupt_case(text, "mixed", np.random.default_rng(n)) for n, text in enumerate(fresh())
    ]
    once = fitted().truecase_batch(faulty)
    assert once != faulty and fitted().truecase_batch(once) == once


def test_the_result_does_not_depend_on_the_batch():
    texts = [
        corrupt_case(text, "mixed", np.random.default_rng(n)) if n % 2 else text
        for n, text in enumerate(fresh())
    ]
    whole = fitted().truecase_batch(texts)
    assert [fitted().truecase(text) for text in texts] == whole
    shuffled = random.Random(0).sample(range(len(texts)), len(texts))
    assert fitted().truecase_batch([texts[n] for n in shuffled]) == [whole[n] for n in shuffled]


def test_two_fits_on_the_same_texts_are_alike_bit_for_bit():
    texts = corpus(300)
    assert Truecaser.fit(texts).fingerprint() == Truecaser.fit(texts).fingerprint()


def test_a_fit_takes_an_arrow_array_as_well_as_a_list():
    texts = [*corpus(300), None, ""]
    assert Truecaser.fit(pa.array(texts)).fingerprint() == Truecaser.fit(texts).fingerprint()


def test_fitting_keeps_faulty_messages_out():
    clean = corpus(600)
    faulty = [corrupt_case(text, "capitalize") for text in corpus(400, seed=2)]
    mixed = Truecaser.fit(clean + faulty)
    assert mixed.set_aside >= 395 and mixed.kept <= 605
    assert mixed.truecase(FAULTY) == REPAIRED


def test_fitting_keeps_out_what_only_the_names_betray():
    hidden = ["Maria lives in paris", "The bridge in london is old"] * 50
    mixed = Truecaser.fit(corpus(600) + hidden)
    assert mixed.set_aside >= 100


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([], "no text to fit on"),
        (["", None], "no text to fit on"),
        ([corrupt_case(text, "capitalize") for text in corpus(50)], "wrongly cased"),
        (["lower case only", "no capital here"], "can be learned from"),
        ("one string", "many texts"),
        ([1, 2], "expected text"),
    ],
)
def test_a_fit_without_well_cased_text_says_so(texts, reason):
    with pytest.raises(HandbookError, match=reason):
        Truecaser.fit(texts)


TEXTS = st.text(
    st.one_of(st.characters(), st.sampled_from("aAiI.!?\n `$/\\@#<&({[=^-:~*_\"'’ßŉİıǅﬁé\0\r")),
    max_size=200,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_no_text_whatever_changes_its_length_or_anything_but_case(texts):
    for repaired in (fitted().truecase_batch(texts), fitted().recase(texts)):
        assert [len(text) for text in repaired] == [len(text) for text in texts]
        for old, new in zip(texts, repaired, strict=True):
            assert len(old.encode("utf-8", "surrogatepass")) == len(
                new.encode("utf-8", "surrogatepass")
            )
            assert all(a == b or a.lower() == b.lower() for a, b in zip(old, new, strict=True))
    assert fitted().truecase_batch(fitted().truecase_batch(texts)) == fitted().truecase_batch(texts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\0",
        "\ud800 lone. surrogates\udfff",
        "straße. ŉ ﬁ İstanbul. ıi",
        "مرحبا. كيف حالك؟ hello. world",
        "你好。 hello. 世界",
    ],
)
def test_odd_characters_survive(text):
    repaired = fitted().truecase(text)
    assert len(repaired) == len(text) and repaired.lower() == text.lower()


def test_a_message_of_another_language_is_left_alone():
    for text in (
        "El gato duerme en la casa. mañana iremos al mercado, y después comeremos con la familia "
        "de juan.",
        "Coi do mi tavla. ni'o lo gerku cu bajra vi lo dargu. do klama lo zarci je mi citka.",
    ):
        assert fitted().truecase(text) == text


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("truecaser", [None, "fitted"])
def test_each_fault_gets_its_label(truecaser):
    texts = [
        CLEAN,
        FAULTY,
        FAULTY.lower(),
        (FAULTY + " she and i remembered the bridge of the city, and that is it for you.").upper(),
        "The garden in Paris is quiet. however, Maria likes it.",
    ]
    labels = detect_case_noise(pa.array(texts), fitted() if truecaser else None)
    assert labels.to_pylist() == list(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "WHY NOT?",
        "NASA, UNESCO, IBM, BBC",
        "X X | X X | X X\nX 1 | X X | 2 X\n" * 8,
        "SELECT NAME FROM USERS WHERE ID = 5 AND CITY = 'X' ORDER BY NAME;",
        "1. anticipated\n2. expected\n3. foreseen",
        "yes",
        "bell hooks and danah boyd wrote about it.",
        "def main():\n    return x.y\n",
        "for i in range(3):\n    print(i)\n",
    ],
)
def test_short_shouting_code_and_word_lists_count_as_fine(text):
    for truecaser in (None, fitted()):
        assert detect_case_noise(pa.array([text]), truecaser).to_pylist() == ["ok"]


def test_labels_keep_nulls_chunks_and_length():
    chunked = pa.chunked_array([[CLEAN, None], [], [FAULTY]], pa.large_string())
    labels = detect_case_noise(chunked)
    assert labels.to_pylist() == ["ok", None, "capitalized"] and labels.num_chunks == 3
    assert detect_case_noise(pa.nulls(2)).to_pylist() == [None, None]


# --- faults on purpose, and scores ----------------------------------------------------------------


def test_a_fault_keeps_every_length_and_capitalize_is_pythons():
    text = "Straße in İstanbul. ŉ ﬁ É\nWhy not? J. K. Rowling, e.g. Paris. Then I left."
    for kind in ("capitalize", "lower", "upper", "sentence"):
        assert len(corrupt_case(text, kind)) == len(text)
    assert corrupt_case(REPAIRED, "capitalize") == REPAIRED.capitalize()
    assert corrupt_case(text, "sentence") == text.replace("Why", "why").replace("Then", "then")
    kinds = {corrupt_case(REPAIRED, "mixed", np.random.default_rng(n)) for n in range(40)}
    assert kinds == {
        corrupt_case(REPAIRED, kind) for kind in ("capitalize", "lower", "upper", "sentence")
    }


@pytest.mark.parametrize(("kind", "reason"), [("wrong", "no fault called"), ("mixed", "at random")])
def test_an_unknown_fault_or_a_missing_generator_is_refused(kind, reason):
    with pytest.raises(HandbookError, match=reason):
        corrupt_case("x", kind)


def test_scores_of_a_case_counted_by_hand():
    gold = "Hello Ana. The NASA man ran to `Code. X` at noon."
    faulty = "Hello ana. the nasa man ran to `code. x` at noon."
    repaired = "Hello Ana. The Nasa Man ran to `code. X` at noon."
    scores = truecasing_scores(gold, faulty, repaired)
    # Edits: Ana, The, Nasa, Man, of which two are right; to repair: ana, the, nasa. What is in code
    # does not count.
    assert (scores.edits, scores.faults, scores.words) == (4, 3, 9)
    assert (scores.precision, scores.recall) == (2 / 4, 2 / 3)
    # Words with a capital: Hello, Ana, The, NASA; claimed: Hello, Ana, The, Nasa, Man; right:
    # three.
    assert scores.f1_capitalized == pytest.approx(2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4))
    assert scores.sentence_initial_accuracy == 1.0 and scores.exact_match == 0.0
    assert truecasing_scores(["A b.", gold], ["A b.", faulty], ["A B.", gold]).clean_altered == 1.0
    assert truecasing_scores([], [], []).f1 == 1.0


def test_scores_over_prose_leave_headings_and_labels_out():
    gold = (
        "# The Best Cities Of All\nHere are five of the Paris sights.\n"
        "- Eiffel Tower: this is what Gustave built.\nShort One."
    )
    scores = truecasing_scores(gold, gold.lower(), gold, prose_only=True)
    assert scores.faults == 3  # Here, Paris, Gustave
    assert truecasing_scores(gold, gold.lower(), gold).faults == 12


def test_scores_of_unlike_texts_are_refused():
    with pytest.raises(HandbookError, match="2 references"):
        truecasing_scores(["a", "b"], ["a"], ["a"])
    with pytest.raises(HandbookError, match="message 0"):
        truecasing_scores("abc", "abc", "ab")


def test_the_corpus_of_these_tests_is_well_cased():
    assert set(detect_case_noise(pa.array(corpus(500))).to_pylist()) == {"ok"}
    assert message(random.Random(3)) == message(random.Random(3))
