"""What truecasing must never touch, and the places where a truecaser is known to stumble."""

import random

import pytest
from truecasing_corpus import UNTOUCHABLE, fitted, planted_message

from zephyr_utils.truecasing import corrupt_case, protected_spans

GENERATED = 50_000


def test_not_a_byte_changes_in_the_untouchable_parts_of_fifty_thousand_messages():
    rng = random.Random(20231025)
    altered = 0
    for first in range(0, GENERATED, 5000):
        planted = [planted_message(rng) for _ in range(5000)]
        kind = ("capitalize", "lower", "upper", "sentence")[first // 5000 % 4]
        faulty = [corrupt_case(text, kind) for text, _ in planted]
        for (text, spans), before, after in zip(
            planted, faulty, fitted().truecase_batch(faulty), strict=True
        ):
            assert len(before) == len(after)
            altered += before != after
            for start, end in spans:
                assert before[start:end] == after[start:end], text[start:end]
    assert altered > 0.8 * GENERATED  # the rest of the messages was repaired


@pytest.mark.parametrize("part", UNTOUCHABLE)
def test_every_untouchable_part_lies_in_protected_spans(part):
    text = f"The river is here.\n\n{part}\n\nThen we met."
    start = text.index(part)
    covered = {place for begin, end in protected_spans(text) for place in range(begin, end)}
    letters = {start + offset for offset, character in enumerate(part) if character.isalpha()}
    assert letters <= covered


def test_spans_are_sorted_disjoint_and_counted_in_characters():
    text = "Ünïcödé “quotes” `code` and https://example.com/ü then `more`."
    spans = protected_spans(text)
    assert [text[start:end] for start, end in spans] == [
        "`code`",
        "https://example.com/ü",
        "`more`",
    ]
    assert protected_spans("") == [] and protected_spans("Plain words, nothing else.") == []


def test_case_does_not_change_what_is_protected():
    rng = random.Random(4)
    for text, _ in (planted_message(rng) for _ in range(500)):
        assert (
            protected_spans(text.lower()) == protected_spans(text) == protected_spans(text.upper())
        )


def test_an_unclosed_fence_ends_with_its_message():
    faulty = "I don't know paris. however, maria visited it in may."
    fence = "Here is the letter:\n```python\nx = y. z\nhello. world"
    assert fitted().truecase_batch([fence, faulty, fence])[1] == fitted().truecase(faulty) != faulty
    assert fitted().truecase(fence) == fence
    assert protected_spans(fence)[-1][1] == len(fence)


def test_a_fence_in_a_message_longer_than_a_batch_stays_protected_to_its_end():
    code = "```\n" + "maria. visited paris\n" * 40_000 + "```\n"
    text = (
        "I like the river. however, maria visited it in may.\n\n"
        + code
        + "however, she and i remembered paris."
    )
    repaired = fitted().truecase(text)
    start = text.index("```")
    assert repaired[start : start + len(code)] == code
    assert repaired.startswith("I like the river. However, Maria visited it in May.")
    assert repaired.endswith("However, she and I remembered Paris.")


# Each text is cased as it should be; its str.capitalize() must come back as it.
RECOVERED = [
    "The river is quiet. I like it, and I think that Maria visited it.",
    "The river is quiet, e.g. the garden of Paris. I like it.",
    "Bring a letter, a picture, etc. and call Mr. Chen. I like it.",
    "The river vs. the ocean is a question! I like it.",
    "It costs approx. 5 dollars. I like it.",
    "In Paris, people met at about 5 a.m. on most days. I like it.",
    "The river in the U.S. is quiet. I like it.",
    "McDonald and O'Neil visited the river. I like it.",
    "Maria visited Paris in May. You may visit it. I like it.",
    "Does Maria use an iPhone at the river? I like it.",
    "We remembered it on eBay. I like it.",
    "Paris's river is as quiet as Maria’s garden. I like it.",
    "It was NASA that visited the river. I like it.",
    "Please help us. I like it in New York.",
    "1. In Paris, people met.\n2. I like it.\n3. Maria visited the river.",
    "The river is quiet...\n\nHowever, Maria likes it. I do too.",
    "The river is quiet.\r\n\r\nHowever, Maria likes it. I do too.",
]


@pytest.mark.parametrize("text", RECOVERED)
def test_known_stumbling_blocks_of_a_wholly_faulty_message(text):
    assert fitted().truecase(corrupt_case(text, "capitalize")) == text


# Messages that are well cased, although a lower-case letter stands where a sentence might begin.
LEFT_ALONE = [
    "Bring the letter, e.g. this one, to Maria. I like it.",
    "Bring letters, etc. and pictures to Maria.",
    "The Letter vs. the picture is the question of Maria.",
    "See No. 5 and fig. two of Maria's letter.",
    "He said it ... and then Maria left the river.",
    'Does it work?" she said to Maria, and left the river.',
    "The Yahoo! is a word of Maria, and Wham! on the river is too.",
    "The village (see p. ii. the river) is quiet. Maria likes it.",
    "It grew by 3.5 percent. Maria likes it.",
    "The answers:\na. river\nb. garden\nii. village\nMaria likes them.",
    "The U.S. is large, and the U.K. is small. Maria likes both.",
    "Add 2 oz. water, 1 lb. flour and 3 tbsp. sugar, Maria.",
    "As J. K. Rowling said: i.e. not the river.",
    "For the variable x. y and z are given by Maria.",
    "We have i and j. i and j are numbers, said Maria.",
    "iPhone letters are quiet. Maria likes eBay and macOS.",
    "POEM of Maria\n\nthe river is quiet\nthe garden is bright\nwe met",
    "Maria's words:\n\n1. anticipated\n2. expected\n3. foreseen",
    'Fragments of Maria:\n\n1. "couches were too large"\n2. "books were too small."',
    "Maria gave a formula:\n\n$$x = y$$\n\nwhere x is the river and y is the garden of the "
    "village.",
    "(sighs) Maria likes it. The river is quiet.",
    "Spanish-American letters are quiet. Maria likes Paris.",
]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_well_cased_text_that_looks_faulty_is_left_alone(text):
    assert fitted().truecase(text) == text
