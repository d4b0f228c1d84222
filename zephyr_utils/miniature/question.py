"""What a question of the miniature world is, what a right answer to it says, and what a category of
questions knows.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

Slots = dict[str, str]


@dataclass(frozen=True)
class Truth:
    """What a right answer to one turn says.

    Attributes:
        sentence: the answer as a full sentence (or code with its lead-in).
        short: the bare answer.
        required: strings that a right answer contains.
        rivals: words that would make it wrong: the other members of the class that was asked for.
        falsehoods: whole wrong answers, where none is made by exchanging a word of the right one.
    """

    sentence: str
    short: str
    required: tuple[str, ...]
    rivals: frozenset[str]
    falsehoods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question of one or two turns: the user's turns and the truth of each.

    Attributes:
        keys: the combinations it touches, one of each turn that makes one; `split_of` decides on
            each. Small talk, of one turn, has none.
    """

    category: str
    turns: tuple[str, ...]
    truths: tuple[Truth, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Category:
    """How one category draws, phrases and answers.

    Attributes:
        turn_1, turn_2: phrasings with ``{slot}`` marks.
        draw: a random choice of slots.
        truths: slots -> the truth of both turns.
        keys: slots -> the combinations, the first turn's first.
    """

    name: str
    turn_1: tuple[str, ...]
    turn_2: tuple[str, ...]
    draw: Callable[[random.Random], Slots]
    truths: Callable[[Slots], tuple[Truth, Truth]]
    keys: Callable[[Slots], tuple[str, ...]]
