"""The miniature world's questions: drawn, some of them held out, and understood again from their
text.

`draw_question` makes a question of one of the `categories`; `understand` goes the other way, from
the text of the turns back to the question, so that the rule-based teacher can judge any text over
any protocol.

A quarter of all combinations of slots is *held out*: three in twenty are asked in exams alone, two
in twenty on development questions alone, and neither occurs in any training text (base text,
dialogues, feedback apart from a few leaks that are planted on purpose, see `data.py`). That holds
for every turn that makes a combination of its own. Single facts (the capital of France) cannot be
held out, so a question about one is held out by the pair that it asks for.
"""

import hashlib
import random
import re
from functools import cache
from typing import Literal

from zephyr_utils.miniature.categories import CATEGORIES
from zephyr_utils.miniature.question import Question, Slots
from zephyr_utils.miniature.small_talk import understand_small_talk

Split = Literal["training", "exam", "development"]
EXAM, DEVELOPMENT = 0.15, 0.10  # shares of the combinations that are held out for each


@cache
def split_of(key: str) -> Split:
    """What a combination (``"category: slots"``) is for, by a hash of its text."""
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    if place < EXAM:
        return "exam"
    return "development" if place < EXAM + DEVELOPMENT else "training"


def make_question(category: str, slots: Slots, phrasing: tuple[str, str]) -> Question:
    """The question that `slots` make in the given phrasings of the two turns."""
    kind = CATEGORIES[category]
    keys = tuple(f"{category}: {key}" for key in kind.keys(slots))
    first, second = (text.format(**slots) for text in phrasing)
    return Question(category, (first, second), kind.truths(slots), keys)


def draw_question(
    rng: random.Random, *, split: Split = "training", category: str | None = None
) -> Question:
    """Draw a two-turn question all of whose combinations belong to one split."""
    name = category or rng.choice(list(CATEGORIES))
    kind = CATEGORIES[name]
    while True:
        slots = kind.draw(rng)
        question = make_question(name, slots, (rng.choice(kind.turn_1), rng.choice(kind.turn_2)))
        if all(split_of(key) == split for key in question.keys):
            return question


def understand(turns: list[str]) -> Question | None:
    """The question that one or two user turns ask, or None when it is not one of this world.

    Args:
        turns: the user's first turn, or both. With one turn, the second of the returned question is
            an arbitrary one; small talk has one turn only.
    """
    if len(turns) == 1 and (small_talk := understand_small_talk(turns[0])):
        return small_talk
    for name, kind in CATEGORIES.items():
        for text_1, pattern_1 in zip(kind.turn_1, _patterns(name, 1), strict=True):
            match = pattern_1.fullmatch(turns[0].strip())
            if not match:
                continue
            slots = match.groupdict()
            if len(turns) == 1:
                return _first_that_fits(name, slots, (text_1, kind.turn_2[0]))
            for text_2, pattern_2 in zip(kind.turn_2, _patterns(name, 2), strict=True):
                if second := pattern_2.fullmatch(turns[1].strip()):
                    return _first_that_fits(name, slots | second.groupdict(), (text_1, text_2))
    return None


def _first_that_fits(name: str, known: Slots, phrasing: tuple[str, str]) -> Question | None:
    """Complete the slots that the text left open (those of the second turn) with any that go
    together.
    """
    rng = random.Random(0)
    for _ in range(200):
        try:
            return make_question(name, CATEGORIES[name].draw(rng) | known, phrasing)
        except (KeyError, ValueError):
            continue  # strangers to this world, or a kind that is not among the three things
    return None


@cache
def _patterns(category: str, turn: int) -> list[re.Pattern[str]]:
    kind, patterns = CATEGORIES[category], []
    for text in kind.turn_1 if turn == 1 else kind.turn_2:
        seen: set[str] = set()
        pattern = ""
        for literal, slot in re.findall(r"([^{]*)(?:\{(\w+)\})?", text):
            pattern += re.escape(literal)
            if slot:
                pattern += f"(?P={slot})" if slot in seen else rf"(?P<{slot}>\w+)"
                seen.add(slot)
        patterns.append(re.compile(pattern))
    return patterns
