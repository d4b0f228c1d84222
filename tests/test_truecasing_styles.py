"""Lower case on purpose is left alone, and the same words are repaired where it is a fault."""

import pytest
from truecasing_corpus import fitted

from zephyr_utils.truecasing import corrupt_case

OTHERS = "Maria visited Paris in May, and I like Paris.\n\n"  # of a message that is cased well

ON_PURPOSE = {
    "terms of list items": (
        "1. river: River and ocean are the words of Maria.\n2. garden: The garden is small.",
        "1. window (noun): The window is bright.\n2. bridge (noun): The bridge is ancient.",
        "1. **letter** - The letter of Maria is careful.\n2. **story** – The story is quiet.",
        "- recipe: A recipe is useful.\n- dinner: The dinner is local.",
        "1. small garden: Small garden or not, I like it.\n2. large river: Large river it is.",
        "1) method = The method is simple.\n2) result = The result is useful.",
    ),
    "keys with values": (
        "The story is quiet.\nanswer: 4\nproblem: none\nreason: careful",
        "I like the picture.\n\nresult: 7\nmethod: The simple one.\nnumber: three",
        "We enjoyed the dinner!\nmusic = quiet\nrecipe = Local and simple",
        "The question is this.\nteacher: Olga\nstudent: Bob",
    ),
    "lines of a chat": (
        "We met.\n\nolga_77: however you like. i may visit you. the river is quiet.",
        "We met.\n\n<kofi> however, it is quiet. the garden is.\n<bob> i like it. this is it.",
        "We met.\n\n[12:03] @chen: in the garden. however, we met. the river is quiet.",
        "We met.\n\n@rajesh: this is it. the river is quiet. i like it.",
        "We met.\n\nbob: is it quiet? the river is.\nolga: it is. i like it. the garden is small.",
        "We met.\n\nuser12> however, we met. the garden is bright.",
        "We met.\n\nOlga: it is. the river is quiet.\nBob: so it is. the garden is small.",
    ),
    "fragments behind a shortened word": (
        'The village of Old (lit. "the garden") is quiet.',
        'The Letter (lat. "the small story") is ancient.',
        "The picture of Maria feat. the village teacher is bright.",
        "The story (feat. the students of Paris) is useful.",
        "The garden [orig. the kitchen of a doctor] is small.",
        "Bring the letters (incl. the small one) to Maria.",
        "The word (from Gk. the mountain) is ancient.",
    ),
    "fragments in quotation marks": (
        'There are two words on the letter. "the garden" is one of them, said Maria.',
        'It was the picture. "the bridge of Paris" is the answer.',
        'Maria described it. "in the garden" (the words of Olga) is the reason.',
    ),
    "other and invented languages": (
        "The song of Olga is this. Tolan veb kesh! in miru dal the solen. This is it.",
        "Maria said it so. Das ist gut. ich habe heute keine Zeit for dich. We met.",
        "The words of Olga: Ka mor ete! the vani ke sol tuma. We met.",
        "Olga said it so. Hola. in casa de juan hay un gato. It is quiet.",
    ),
    "by-lines": (
        "Is the River Quiet?\nby Maria Chen\n\nThe river is quiet.",
        "We Met in Paris!\nfrom The Story of Olga\n\nWe met in Paris.",
        "Do We Like It?\n\npicture by Olga Chen\n\nI like it.",
        "The river is quiet.\nvia the Paris Letter\n\nWe met.",
        "The Garden of Olga.\n\nthe village teacher, in May\n\nWe met.",
    ),
    "titles that end in a mark": (
        "River! is a story of Maria. I like it.",
        "The Garden? was the question of Olga.",
        "We remembered Ocean! is the picture. It is also bright in 5! the numbers are large.",
    ),
    "messages that are JSON": (
        '{"story": "We met. however, the river is quiet.", "reason": "the garden is small"}',
        '["We met. the river is quiet.", "This is it. i like the garden."]',
        '{"maria": {"paris": "the story of maria. however, she and i remembered paris."}}',
    ),
}


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in ON_PURPOSE.items() for text in texts]
)
def test_what_is_in_lower_case_on_purpose_is_left_alone(kind, text):
    message = text if kind == "messages that are JSON" else OTHERS + text
    assert fitted().truecase(message) == message


@pytest.mark.parametrize(
    ("faulty", "right"),
    [
        ("The garden is small. however, I like it.", "However"),
        ("We met in the garden! however, I like the river.", "However"),
        ("1. The river is quiet.\n2. the garden of Maria is small and bright.", "2. The garden"),
        ("Maria: I like it. however, it is small.", "However"),
        ('Maria said so. "however, the river is quiet."', '"However'),
        ("The river is quiet.\n\nhere are some ideas for the garden:", "Here are"),
        ("The river is quiet.\n\nthe garden of Maria, visited in May, is small.", "The garden"),
        ("Here is the answer: 4! the reason is simple. however, I like it.", "However"),
    ],
)
def test_the_same_words_are_repaired_where_they_open_a_sentence(faulty, right):
    assert right in fitted().truecase(OTHERS + faulty)


def test_a_chat_in_lower_case_is_not_a_faulty_message_and_a_faulty_message_may_hold_a_handle():
    chat = "Here it is.\n\nolga_7: i like paris. however, i may go.\n<bob> this is it. i think so."
    assert fitted().truecase(chat) == chat
    prose = "I like Paris. However, Maria visited it in May.\n\nShe and I remembered Olga_7. I do."
    assert fitted().truecase(corrupt_case(prose, "capitalize")).startswith(prose[:60])


@pytest.mark.parametrize("texts", ON_PURPOSE.values(), ids=ON_PURPOSE)
def test_a_second_pass_decides_alike_on_faulty_forms_too(texts):
    faulty = [corrupt_case(OTHERS + text, kind) for text in texts for kind in ("sentence", "lower")]
    once = fitted().truecase_batch(faulty)
    assert fitted().truecase_batch(once) == once
