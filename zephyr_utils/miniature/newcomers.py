"""Eighty questions as newcomers put them, written before any training and in other words than any
training text has.

The third outcome beside grade and right answers: the share that is answered *sensibly*. Forty-eight
lie inside the world (greetings, single facts, plain paraphrases), thirty-two outside, where an
honest "I only know about ..." is the sensible answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zephyr_utils.chat import generate
from zephyr_utils.miniature.question import Truth
from zephyr_utils.miniature.small_talk import OUTSIDE, SAYINGS
from zephyr_utils.miniature.teacher import is_right

GREETING, IDENTITY, ABILITIES, THANKS, FAREWELL = (truth for _, truth in SAYINGS)


@dataclass(frozen=True)
class Newcomer:
    """A question and what a sensible answer to it holds."""

    text: str
    truth: Truth

    @property
    def inside(self) -> bool:
        """Whether this world holds the answer."""
        return self.truth is not OUTSIDE


def _holding(*required: str) -> Truth:
    """A truth that asks for these words alone and refuses an honest "I only know"."""
    return Truth(required[0], required[0], required, frozenset({"I only know"}))


_INSIDE: tuple[tuple[str, Truth], ...] = (
    ("hello there, model", GREETING),
    ("hi, anyone there?", GREETING),
    ("Hey, how's it going?", GREETING),
    ("Good evening!", GREETING),
    ("Hello my friend", GREETING),
    ("who are you exactly", IDENTITY),
    ("What exactly are you?", IDENTITY),
    ("Are you a real person?", IDENTITY),
    ("Your name, please?", IDENTITY),
    ("So who are you, then?", IDENTITY),
    ("What do you do?", ABILITIES),
    ("What can you tell me?", ABILITIES),
    ("How can you help?", ABILITIES),
    ("What kinds of questions can I ask you?", ABILITIES),
    ("Thank you very much!", THANKS),
    ("thanks a bunch", THANKS),
    ("Goodbye, robot!", FAREWELL),
    ("bye for now", FAREWELL),
    ("and the capital of france is", _holding("Paris")),
    ("Hey, what's the capital of Japan?", _holding("Tokyo")),
    ("Do you know the capital of Italy?", _holding("Rome")),
    ("Can you tell me the capital of Spain?", _holding("Madrid")),
    ("Capital of Germany", _holding("Berlin")),
    ("Please tell me what the capital of Norway is.", _holding("Oslo")),
    ("Where would I find Athens?", _holding("Greece")),
    ("Tokyo is in which country?", _holding("Japan")),
    ("What language is spoken in China?", _holding("Chinese")),
    ("Which language do they speak in Kenya?", _holding("Swahili")),
    ("Hey, what's 2 plus 2?", _holding("4")),
    ("2 plus 3 is what", _holding("5")),
    ("Can you work out 7 plus 8?", _holding("15")),
    ("Tell me what 9 minus 4 is.", _holding("5")),
    ("What do I get from 6 plus 1?", _holding("7")),
    ("is iron a metal?", _holding("metal")),
    ("Gold is what?", _holding("metal")),
    ("What is a robin?", _holding("bird")),
    ("Do you know what oak is?", _holding("tree")),
    ("What sort of thing is tuna?", _holding("fish")),
    ("Write me a note about the garden.", _holding("green")),
    ("How is the lake doing?", _holding("calm")),
    ("Could you talk like a pirate?", _holding("Ahoy")),
    ("Say hello as a chef would.", _holding("Welcome")),
    ("Can you pretend to be a robot?", _holding("Beep")),
    ("Could you print moon in Python?", _holding('print("moon")')),
    ("Python code to print rain, please", _holding('print("rain")')),
    ("Oak, gold, tuna: which of them is a tree?", _holding("Oak")),
    ("France and Spain: what are their capitals?", _holding("Paris", "Madrid")),
    ("Ana is taller than Ben. Ben is taller than Carl. Who's the tallest?", _holding("Ana")),
)
_OUTSIDE = (
    "Who is the president of the United States?",
    "What's the weather like today?",
    "Can you write a poem about the sea for me?",
    "Who painted the Mona Lisa?",
    "What is the tallest mountain in the world?",
    "How do I bake bread at home?",
    "Tell me a funny joke",
    "What is your favourite film?",
    "Who wrote Romeo and Juliet?",
    "How old is the universe?",
    "What happened in 1969?",
    "Explain how an engine works.",
    "What is the best restaurant in town?",
    "How many planets are there in other galaxies?",
    "What's the meaning of life?",
    "Should I invest in shares?",
    "Give me a summary of the Bible",
    "Who won the football match yesterday?",
    "How do aeroplanes fly?",
    "Translate good morning into Klingon.",
    "What is a transformer model?",
    "How does distillation of language models work?",
    "What is direct preference optimisation?",
    "Can you recommend a good book?",
    "What should I eat tonight?",
    "Is there a god?",
    "Why do people fall in love?",
    "Who was the first person on the moon?",
    "How do I get to the airport?",
    "What is the square root of 144?",
    "Fix the bug in my JavaScript.",
    "Write an essay about climate change",
)
NEWCOMERS = (
    *(Newcomer(text, truth) for text, truth in _INSIDE),
    *(Newcomer(text, OUTSIDE) for text in _OUTSIDE),
)


def are_sensible(answers: Sequence[str]) -> list[bool]:
    """Whether each answer to `NEWCOMERS`, in their order, is sensible.

    Raises:
        ValueError: there is not one answer for each question.
    """
    pairs = zip(NEWCOMERS, answers, strict=True)
    return [is_right(asked.truth, answer) for asked, answer in pairs]


def ask_newcomers(model: Any, tokenizer: Any) -> list[str]:
    """What a model answers to each of `NEWCOMERS`, in their order, greedily as `zephyr chat` does
    by default.
    """
    conversations = [[{"role": "user", "content": asked.text}] for asked in NEWCOMERS]
    return [answer.text for answer in generate(model, tokenizer, conversations, temperature=0.0)]
