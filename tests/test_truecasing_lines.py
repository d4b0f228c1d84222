"""Line ends of Windows, text behind a fence, and YAML front matter."""

import random

import numpy as np
import pyarrow as pa
import pytest
from truecasing_corpus import FAULTY, REPAIRED, corpus, fitted

from zephyr_utils.truecasing import (
    Truecaser,
    corrupt_case,
    detect_case_noise,
    protected_spans,
    truecase_messages,
)

KINDS = ("capitalize", "lower", "upper", "sentence")


def windows(text: str) -> str:
    return text.replace("\n", "\r\n")


def faulty_messages() -> list[str]:
    return [corrupt_case(text, KINDS[n % 4]) for n, text in enumerate(corpus(400, seed=3))]


def test_a_message_with_line_ends_of_windows_is_repaired_as_the_same_with_line_feeds():
    texts = [text for text in faulty_messages() if "\n" in text]
    repaired = fitted().truecase_batch(texts)
    assert sum(a != b for a, b in zip(texts, repaired, strict=True)) > 50
    assert fitted().truecase_batch([windows(text) for text in texts]) == [
        windows(text) for text in repaired
    ]


def test_labels_are_the_same_with_either_line_end():
    texts = faulty_messages()
    for truecaser in (None, fitted()):
        same = detect_case_noise(pa.array(texts), truecaser)
        assert detect_case_noise(pa.array([windows(t) for t in texts]), truecaser) == same


def test_rows_of_a_slice_of_an_arrow_array_keep_their_neighbours():
    texts = [windows(FAULTY), None, "Ends in a return\r", "\nBegins with a feed", windows(FAULTY)]
    array = pa.array(texts * 3)[1:14]
    repaired = fitted().truecase_batch(array)
    expected = [
        windows(REPAIRED) if text == windows(FAULTY) else text for text in array.to_pylist()
    ]
    assert repaired.to_pylist() == expected
    table = truecase_messages(pa.table({"text": array}), column="text", truecaser=fitted())
    assert table["text"].to_pylist() == expected


@pytest.mark.parametrize("text", ["\r", "\r\n", "\r\r\n", "a\r", "\n\r", "\r\n" * 50, "", "é\r\nÉ"])
def test_lone_and_repeated_carriage_returns_survive(text):
    texts = [text, windows(FAULTY), text]
    assert fitted().truecase_batch(texts) == [text, windows(REPAIRED), text]


def test_a_fit_on_texts_of_windows_is_the_fit_on_the_same_with_line_feeds():
    texts = corpus(200)
    windows_texts = [windows(text) for text in texts]
    assert Truecaser.fit(windows_texts).fingerprint() == Truecaser.fit(texts).fingerprint()


# --- behind a fence -------------------------------------------------------------------------------

FENCE = "```python\nx = one\n```"
START = "the garden in Paris is quiet, and I like it."


@pytest.mark.parametrize("between", ["\n", "\n\n", " \n", "\r\n", "\r\n\r\n"])
@pytest.mark.parametrize("fence", [FENCE, "```\n" + FENCE[10:]])
def test_a_lower_case_sentence_behind_a_fence_gets_its_capital(fence, between):
    text = f"Here are some ideas for the garden:\n\n{fence}{between}{START}"
    assert fitted().truecase(text) == text.replace("the garden in Paris", "The garden in Paris")


@pytest.mark.parametrize(
    "text",
    [
        f"Look at it:\n\n```\n{START}\n```\n",  # inside the fence
        "```python\nx = one\n```\nthe output, e.g.",  # no sentence
        "```\na = b\n```\nthe garden is quiet\nAnd so on.",  # a line without an end mark
        "Use ``` to open it and\nthe garden in Paris is quiet, and I like it.",
    ],
)
def test_what_only_looks_like_a_start_behind_a_fence_is_left_alone(text):
    assert fitted().truecase(text) == text


# --- front matter ---------------------------------------------------------------------------------

FRONT = "---\nname: anna\ntitle: a bridge in paris\ntags:\n  - river\n# note\n\nid: x_1\n---"


def covered(text: str, part: str) -> bool:
    start = text.index(part)
    return any(a <= start and start + len(part) <= b for a, b in protected_spans(text))


@pytest.mark.parametrize(
    "front",
    [
        FRONT,
        "---\nmaria: x\n...",
        '---\n"title": hello. how are you?\ndescription: >\n  the garden. it is quiet.\n---',
        "---\r\nname: anna\r\nlayout: post\r\n---",
    ],
)
def test_front_matter_is_not_touched_and_the_text_behind_it_is(front):
    text = f"{front}\n\n{FAULTY.lower()}"
    assert covered(text, front)
    assert fitted().truecase(text) == f"{front}\n\n{REPAIRED}"


def test_a_block_of_yaml_between_rules_further_down_is_not_touched():
    text = f"Here are some ideas for the garden:\n\n{FRONT}\n\nMaria visited it. {START}"
    assert covered(text, FRONT)
    assert fitted().truecase(text) == text.replace("the garden in", "The garden in")


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nThe garden in Paris. it is quiet.\n\n---\n",  # prose between rules
        "One.\n\n---\nanna: how are you? i am well.\nmaria: fine.\n---\n",  # a dialogue
        "---\nname: anna\nThe garden is quiet\n---",
        "---\nname: anna\n\nthere is no second line of hyphens",
        "---\n---\n",
        "- --\nname: anna\n---\n",
        "----\nname: anna\n----\n",
    ],
)
def test_rules_around_anything_else_protect_nothing(text):
    assert not any(text[a:b].startswith("---") for a, b in protected_spans(text))


def test_a_line_of_hyphens_may_close_one_block_and_no_other_is_lost():
    text = "---\n---\na: b\n---\nText.\n---\nc: d\n---\n---\ne: f\n---"
    parts = [text[a:b] for a, b in protected_spans(text)]
    assert parts == ["---\na: b\n---", "---\nc: d\n---", "---\ne: f\n---"]


def test_case_and_neighbours_do_not_change_what_front_matter_is():
    rng = random.Random(7)
    lines = ["---", "Name: X", "  - y", "# z", "", "a b", "KEY: the end.", "...", "k:"]
    for _ in range(500):
        text = "\n".join(rng.choices(lines, k=rng.randint(1, 12)))
        assert protected_spans(text) == protected_spans(text.upper())
        spans = np.array(protected_spans(text), np.int64).reshape(-1, 2)
        assert (spans[:, 0] < spans[:, 1]).all() and (spans[1:, 0] >= spans[:-1, 1]).all()
