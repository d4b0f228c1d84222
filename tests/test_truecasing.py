"""The truecaser: what it repairs, what it leaves alone, and that it never changes a length."""

import random
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from truecasing_corpus import corpus, message

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import (
    LABELS,
    Truecaser,
    corrupt_case,
    detect_case_noise,
    truecase_messages,
    truecasing_scores,
)
from zephyr_utils.truecasing.tables import ColumnReport

FAULTY = "I don't know paris well. however, maria visited it in may.\n\nshe and i remembered the bridge."
MENDED = "I don't know Paris well. However, Maria visited it in May.\n\nShe and I remembered the bridge."
CLEAN = "The garden in Paris is quiet. I like it, and Maria does too."


@cache
def fitted() -> Truecaser:
    return Truecaser.fit(corpus(1500))


def fresh(count: int = 300) -> list[str]:
    """Messages that the fit did not see."""
    return corpus(count, seed=1)


# --- repair --------------------------------------------------------------------------------------------------------


def test_sentence_starts_names_and_the_pronoun_are_restored():
    assert fitted().truecase(FAULTY) == MENDED


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
    faulty = [corrupt_case(text, "mixed", np.random.default_rng(n)) for n, text in enumerate(fresh())]
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
    assert mixed.truecase(FAULTY) == MENDED


def test_fitting_keeps_out_what_only_the_names_betray():
    hidden = ["Maria lives in paris", "The bridge in london is old"] * 50
    mixed = Truecaser.fit(corpus(600) + hidden)
    assert mixed.set_aside >= 100


TEXTS = st.text(
    st.one_of(st.characters(), st.sampled_from("aAiI.!?\n `$/\\@#<&({[=^-:~*_\"'’ßŉİıǅﬁé\0\r")), max_size=200
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_no_text_whatever_changes_its_length_or_anything_but_case(texts):
    for repaired in (fitted().truecase_batch(texts), fitted().recase(texts)):
        assert [len(text) for text in repaired] == [len(text) for text in texts]
        for old, new in zip(texts, repaired, strict=True):
            assert len(old.encode("utf-8", "surrogatepass")) == len(new.encode("utf-8", "surrogatepass"))
            assert all(a == b or a.lower() == b.lower() for a, b in zip(old, new, strict=True))
    assert fitted().truecase_batch(fitted().truecase_batch(texts)) == fitted().truecase_batch(texts)


@pytest.mark.parametrize(
    "text",
    ["", " ", "\0", "\ud800 lone. surrogates\udfff", "straße. ŉ ﬁ İstanbul. ıi", "مرحبا. كيف حالك؟ hello. world", "你好。 hello. 世界"],
)  # fmt: skip
def test_odd_characters_survive(text):
    repaired = fitted().truecase(text)
    assert len(repaired) == len(text) and repaired.lower() == text.lower()


def test_a_message_of_another_language_is_left_alone():
    for text in (
        "El gato duerme en la casa. mañana iremos al mercado, y después comeremos con la familia de juan.",
        "Coi do mi tavla. ni'o lo gerku cu bajra vi lo dargu. do klama lo zarci je mi citka.",
    ):
        assert fitted().truecase(text) == text


# --- labels --------------------------------------------------------------------------------------------------------


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


# --- Arrow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_kind_of_string_array_keeps_its_type_nulls_and_length(kind):
    array = pa.array([CLEAN, None, FAULTY, ""], kind)
    repaired = fitted().truecase_batch(array)
    assert repaired.type == kind and repaired.to_pylist() == [CLEAN, None, MENDED, ""]
    repaired.validate(full=True)


def test_slices_and_chunks_are_seen_as_they_are():
    array = pa.array([FAULTY, CLEAN, FAULTY, None, FAULTY])
    for start in range(5):
        repaired = fitted().truecase_batch(array.slice(start, 2))
        assert repaired.to_pylist() == fitted().truecase_batch(array.slice(start, 2).to_pylist())
    assert array.to_pylist()[0] == FAULTY  # the original is never written to
    chunked = pa.chunked_array([array.slice(1, 3), array.slice(4), array.slice(5)])
    assert fitted().truecase_batch(chunked).to_pylist() == [CLEAN, MENDED, None, MENDED]
    assert fitted().truecase_batch(pa.chunked_array([], pa.string())).to_pylist() == []


def test_zero_rows_nulls_and_clean_arrays_come_back_as_they_are():
    for array in (pa.array([], pa.string()), pa.nulls(3), pa.nulls(3, pa.string()), pa.array([CLEAN] * 3)):
        assert fitted().truecase_batch(array) is array
    assert fitted().truecase_batch([]) == []
    assert fitted().truecase_batch([None, FAULTY]) == [None, MENDED]


@pytest.mark.parametrize("wrong", [[1], [b"bytes"], pa.array([1]), pa.array([b"x"])])
def test_what_is_not_text_is_refused(wrong):
    with pytest.raises(HandbookError, match="expected"):
        fitted().truecase_batch(wrong)


def test_a_message_of_fifty_megabytes_is_repaired_like_a_short_one():
    sentence = FAULTY[FAULTY.index("however") :] + " "
    text = "I " + sentence * (50_000_000 // len(sentence))
    repaired = fitted().truecase(text)
    assert len(repaired) == len(text)
    part = MENDED[MENDED.index("However") :] + " "
    assert repaired[2 + len(part) * 3 :].startswith(part)
    assert repaired.count("However") == text.count("however")


# --- columns of messages -------------------------------------------------------------------------------------------


def conversations() -> pa.Table:
    rows = [
        [{"role": "user", "content": FAULTY}, {"role": "assistant", "content": FAULTY}],
        None,
        [],
        [{"role": "assistant", "content": None}, {"role": None, "content": FAULTY}, None],
        [{"role": "assistant", "content": CLEAN}],
    ]
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    return pa.table({"number": range(5), "messages": pa.array(rows, kind)})


def test_only_the_assistants_messages_are_repaired():
    report = ColumnReport()
    table = truecase_messages(conversations(), truecaser=fitted(), report=report)
    expected = conversations().to_pylist()
    expected[0]["messages"][1]["content"] = MENDED
    assert table.to_pylist() == expected and table.schema == conversations().schema
    assert (report.messages, report.altered, report.labels["capitalized"]) == (2, 1, 1)
    assert report.edits == sum(a != b for a, b in zip(FAULTY, MENDED, strict=True))


def test_other_roles_can_be_chosen():
    table = truecase_messages(conversations(), roles=("user",), truecaser=fitted())
    first = table["messages"][0].as_py()
    assert [message["content"] for message in first] == [MENDED, FAULTY]


def test_slices_chunks_and_batches_of_conversations_agree_with_the_whole():
    whole = truecase_messages(conversations(), truecaser=fitted()).to_pylist()
    for start in range(6):
        part = truecase_messages(conversations().slice(start, 3), truecaser=fitted())
        assert part.to_pylist() == whole[start : start + 3]
        part.validate(full=True)
    chunked = pa.concat_tables([conversations().slice(0, 2), conversations().slice(2)])
    assert truecase_messages(chunked, truecaser=fitted()).to_pylist() == whole
    (batch,) = conversations().to_batches()
    assert truecase_messages(batch, truecaser=fitted()).to_pylist() == whole


def test_in_raw_ultrachat_every_second_string_is_the_assistants():
    table = pa.table({"data": [[FAULTY, FAULTY, FAULTY], [FAULTY], [], None]})
    repaired = truecase_messages(table, "data", truecaser=fitted())["data"].to_pylist()
    assert repaired == [[FAULTY, MENDED, FAULTY], [FAULTY], [], None]
    sliced = truecase_messages(table.slice(1), "data", roles=("user",), truecaser=fitted())
    assert sliced["data"].to_pylist() == [[MENDED], [], None]


def test_columns_without_any_content_come_back_as_they_are():
    for rows in ([[{"role": "assistant", "content": None}]], [[], None], [None]):
        table = pa.table({"messages": pa.array(rows)})
        assert truecase_messages(table, truecaser=fitted()).equals(table)


def test_a_missing_or_foreign_column_is_named():
    with pytest.raises(HandbookError, match="no column 'messages'"):
        truecase_messages(pa.table({"text": [FAULTY]}), truecaser=fitted())
    with pytest.raises(HandbookError, match="holds int64"):
        truecase_messages(pa.table({"messages": [1]}), truecaser=fitted())
    parts = [[{"role": "assistant", "content": [{"type": "text", "text": FAULTY}]}]]
    with pytest.raises(HandbookError, match="expected a string column"):
        truecase_messages(pa.table({"messages": parts}), truecaser=fitted())
    with pytest.raises(HandbookError, match="not role and content"):
        truecase_messages(pa.table({"messages": [[{"from": "gpt", "value": FAULTY}]]}), truecaser=fitted())


# --- models kept in files ------------------------------------------------------------------------------------------


def test_a_saved_model_repairs_alike_and_holds_no_pickle(tmp_path):
    fitted().save(tmp_path / "model.npz")
    loaded = Truecaser.load(tmp_path / "model.npz")
    assert loaded.fingerprint() == fitted().fingerprint()
    assert (loaded.kept, loaded.truecase(FAULTY)) == (fitted().kept, MENDED)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


def test_a_model_that_is_missing_foreign_cut_off_or_spoilt_is_refused(tmp_path):
    whole = tmp_path / "whole.npz"
    fitted().save(whole)
    raw = whole.read_bytes()
    bad = {
        "missing.npz": None,
        "empty.npz": b"",
        "text.npz": b"not a model",
        "cut.npz": raw[: len(raw) // 2],
        "flipped.npz": raw[:2000] + bytes([raw[2000] ^ 255]) + raw[2001:],
    }
    for name, content in bad.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(HandbookError, match=name):
            Truecaser.load(tmp_path / name)
    np.savez(tmp_path / "foreign.npz", weights=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", format=np.array([{"a": 1}], dtype=object))
    for name in ("foreign.npz", "pickled.npz"):
        with pytest.raises(HandbookError, match="no model of a truecaser"):
            Truecaser.load(tmp_path / name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight_index", np.array([2**31], np.uint32)),
        ("weight_step", np.array(float("nan"))),
        ("keys", np.zeros(3, np.int64)),
        ("form", np.zeros(1, np.uint32)),
        ("inside", None),
        ("documents", np.array(["x"])),
    ],
)
def test_a_model_with_a_field_that_cannot_be_is_refused(tmp_path, field, value):
    fitted().save(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as stored:
        fields = dict(stored)
    if value is None:
        del fields[field]
    else:
        fields[field] = value
    np.savez(tmp_path / "bad.npz", **fields)
    with pytest.raises(HandbookError, match="no model of a truecaser"):
        Truecaser.load(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([], "no text to fit on"),
        (["", None], "no text to fit on"),
        ([corrupt_case(text, "capitalize") for text in corpus(50)], "wrongly cased"),
        (["lower case only", "no capital here"], "can be learnt from"),
        ("one string", "many texts"),
        ([1, 2], "expected text"),
    ],
)
def test_a_fit_without_well_cased_text_says_so(texts, reason):
    with pytest.raises(HandbookError, match=reason):
        Truecaser.fit(texts)


# --- faults on purpose, and scores ---------------------------------------------------------------------------------


def test_a_fault_keeps_every_length_and_capitalize_is_pythons():
    text = "Straße in İstanbul. ŉ ﬁ É\nWhy not? J. K. Rowling, e.g. Paris. Then I left."
    for kind in ("capitalize", "lower", "upper", "sentence"):
        assert len(corrupt_case(text, kind)) == len(text)
    assert corrupt_case(MENDED, "capitalize") == MENDED.capitalize()
    assert corrupt_case(text, "sentence") == text.replace("Why", "why").replace("Then", "then")
    kinds = {corrupt_case(MENDED, "mixed", np.random.default_rng(n)) for n in range(40)}
    assert kinds == {corrupt_case(MENDED, kind) for kind in ("capitalize", "lower", "upper", "sentence")}


@pytest.mark.parametrize(("kind", "reason"), [("wrong", "no fault called"), ("mixed", "at random")])
def test_an_unknown_fault_or_a_missing_generator_is_refused(kind, reason):
    with pytest.raises(HandbookError, match=reason):
        corrupt_case("x", kind)


def test_scores_of_a_case_counted_by_hand():
    gold = "Hello Ana. The NASA man ran to `Code. X` at noon."
    faulty = "Hello ana. the nasa man ran to `code. x` at noon."
    mended = "Hello Ana. The Nasa Man ran to `code. X` at noon."
    scores = truecasing_scores(gold, faulty, mended)
    # Edits: Ana, The, Nasa, Man, of which two are right; to mend: ana, the, nasa. What is in code does not count.
    assert (scores.edits, scores.faults, scores.words) == (4, 3, 9)
    assert (scores.precision, scores.recall) == (2 / 4, 2 / 3)
    # Words with a capital: Hello, Ana, The, NASA; claimed: Hello, Ana, The, Nasa, Man; right: three.
    assert scores.f1_capitalized == pytest.approx(2 * (3 / 5) * (3 / 4) / (3 / 5 + 3 / 4))
    assert scores.sentence_initial_accuracy == 1.0 and scores.exact_match == 0.0
    assert truecasing_scores(["A b.", gold], ["A b.", faulty], ["A B.", gold]).clean_altered == 1.0
    assert truecasing_scores([], [], []).f1 == 1.0


def test_scores_over_prose_leave_headings_and_labels_out():
    gold = "# The Best Cities Of All\nHere are five of the Paris sights.\n- Eiffel Tower: this is what Gustave built.\nShort One."
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
