"""The miniature world's questions: drawn, some of them held out, and understood again from their
text.

`draw_question` makes a question of one of the `categories`; `understand` goes the other way, from
the text of the turns back to the question, so that the rule-based teacher can judge any text over
any protocol.

One combination of slots in ten is *held out*: it occurs in no training text (base text, dialogues,
feedback apart from a few leaks that are planted on purpose, see `data.py`) and only held-out
combinations are asked in the evaluation.
"""

import hashlib
import random
import re
from functools import cache

from zephyr_utils.miniature.categories import CATEGORIES
from zephyr_utils.miniature.question import Question, Slots


@cache
def is_held_out(key: str) -> bool:
    """Whether a combination (``"category: slots"``) is kept for the evaluation: one in ten, by a
    hash.
    """
    return hashlib.sha256(key.encode()).digest()[0] % 10 == 0


def make_question(category: str, slots: Slots, phrasing: tuple[str, str]) -> Question:
    """The question that `slots` make in the given phrasings of the two turns."""
    kind = CATEGORIES[category]
    keys = tuple(f"{category}: {key}" for key in kind.keys(slots))
    first, second = (text.format(**slots) for text in phrasing)
    return Question(category, (first, second), kind.truths(slots), keys)


def draw_question(
    rng: random.Random, *, held_out: bool = False, category: str | None = None
) -> Question:
    """Draw a question whose combinations are all for training, or whose first turn's combination is
    held out.
    """
    name = category or rng.choice(list(CATEGORIES))
    kind = CATEGORIES[name]
    while True:
        slots = kind.draw(rng)
        question = make_question(name, slots, (rng.choice(kind.turn_1), rng.choice(kind.turn_2)))
        flags = [is_held_out(key) for key in question.keys]
        if flags[0] if held_out else not any(flags):
            return question


def understand(turns: list[str]) -> Question | None:
    """The question that one or two user turns ask, or None when they are no question of this world.

    Args:
        turns: the user's first turn, or both. With one turn, the second of the returned question is
            an arbitrary one.
    """
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
