"""Questions of one turn: greetings, "who are you?", single facts, and what lies outside the world.

These are what newcomers try first. They are part of the training dialogues and of the prompts that
are rated, and of no exam; `newcomers` asks other wordings of them.
"""

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from zephyr_utils.miniature.facts import (
    CAPITALS,
    CODE_WORDS,
    COUNTRIES,
    KINDS,
    LANGUAGES,
    NUMBERS,
    ROLES,
    TOPICS,
)
from zephyr_utils.miniature.outside import draw_outside, is_outside
from zephyr_utils.miniature.question import Question, Slots, Truth

SMALL_TALK = "small talk"
HONEST = "I only know about notes, roles, sums, code, shopping, kinds and capitals."
OPENING_SENTENCE = (
    "This model knows a small world: capitals and languages, sums, kinds of things, notes, roles "
    "and lines of Python. About all else it should say so."
)
EXAMPLE_QUESTIONS = (
    "What is the capital of France?",
    "What is gold?",
    "Greet Rosa as a robot would.",
    "Who wrote Hamlet?",
)
# What is said -> (sentence, short form, what a right answer contains, wrong answers)
SAYINGS: tuple[tuple[tuple[str, ...], Truth], ...] = (
    (
        (
            "Hello!", "Hello", "Hi", "Hi!", "Hi there!", "Hey!", "Hello there.", "Good morning!",
            "Good day!", "Hello, how are you?", "How are you?", "How are you today?",
        ),
        Truth(
            "Hello! Ask me about my small world.",
            "Hello!",
            ("Hello",),
            frozenset({"Goodbye", "I only know"}),
            ("Goodbye.", HONEST),
        ),
    ),
    (
        (
            "Who are you?", "What are you?", "Tell me about yourself.", "Are you a robot?",
            "Are you a person?", "Are you human?", "What is your name?", "Do you have a name?",
            "Who am I talking to?", "Introduce yourself.", "Are you an AI?",
        ),
        Truth(
            "I am a small language model that knows a small world.",
            "A small language model.",
            ("small language model",),
            frozenset({"person", "I only know"}),
            ("I am a person.", "I am a king and I rule the land."),
        ),
    ),
    (
        (
            "What can you do?", "What do you know?", "What do you know about?", "Can you help me?",
            "What can I ask you?", "What may I ask?", "Help!", "What are you good at?",
            "How can you help me?", "What questions can you answer?",
        ),
        Truth(
            "I know about notes, roles, sums, code, shopping, kinds and capitals.",
            "Notes, roles, sums, code, shopping, kinds and capitals.",
            ("notes, roles, sums, code, shopping, kinds and capitals",),
            frozenset({"only"}),
            ("I know all there is to know.", "You are welcome."),
        ),
    ),
    (
        ("Thank you!", "Thanks.", "Thank you.", "Thanks a lot!", "Many thanks.", "Great, thanks."),
        Truth(
            "You are welcome.",
            "Welcome.",
            ("welcome",),
            frozenset({"I only know"}),
            ("Goodbye.", "Hello!"),
        ),
    ),
    (
        ("Bye!", "Goodbye.", "Bye bye.", "See you.", "Good night.", "See you later!"),
        Truth(
            "Goodbye, and come again.",
            "Goodbye.",
            ("Goodbye",),
            frozenset({"I only know"}),
            ("Hello!", "You are welcome."),
        ),
    ),
)  # fmt: skip
OUTSIDE = Truth(
    HONEST,
    "I only know my small world.",
    ("I only know",),
    frozenset(),
    ("It is in Paris.", "It was in Rome.", "That is a metal.", "Ana knows it.", "It is 7."),
)

QUESTION_WORDS = ("What", "Who", "Which", "Where", "How", "When", "Why")
BEFORE = ("So, ", "Well, ", "Now, ", "Oh, ", "Okay, ", "Quick question: ", "One more: ")
ASKING = (*BEFORE, "Can you say ", "I want to know ", "Tell me, ", "I wonder, ", "Do you know ")
BEHIND = (
    " please", " now", " then", " today", " again", " my dear", " friend", " little model",
    " for me", " in your world", ", do you know", ", will you", " there", ", you",
)  # fmt: skip


@dataclass(frozen=True)
class Single:
    """A question about one fact: its phrasings, what it asks, and the truth of it."""

    phrasings: tuple[str, ...]
    draw: Callable[[random.Random], Slots]
    truth: Callable[[Slots], Truth]


def _others(of: Iterable[str], *but: str) -> frozenset[str]:
    return frozenset(of) - set(but)


def _capital(s: Slots) -> Truth:
    capital, _ = COUNTRIES[s["country"]]
    return Truth(
        f"The capital of {s['country']} is {capital}.",
        f"{capital}.",
        (capital,),
        _others(CAPITALS, capital),
    )


def _country_of(s: Slots) -> Truth:
    country = next(name for name, (capital, _) in COUNTRIES.items() if capital == s["capital"])
    return Truth(
        f"{s['capital']} is the capital of {country}.",
        f"In {country}.",
        (country,),
        _others(COUNTRIES, country),
    )


def _language(s: Slots) -> Truth:
    _, language = COUNTRIES[s["country"]]
    return Truth(
        f"People in {s['country']} speak {language}.",
        f"{language}.",
        (language,),
        _others(LANGUAGES, language),
    )


def _sum(s: Slots) -> Truth:
    left, right = int(s["a"]), int(s["b"])
    result = str(left + {"plus": right, "minus": -right}[s["operation"]])
    return Truth(
        f"{left} {s['operation']} {right} is {result}.",
        f"{result}.",
        (result,),
        _others(NUMBERS, result, s["a"], s["b"]),
    )


def _draw_sum(rng: random.Random) -> Slots:
    a, b = rng.randint(0, 12), rng.randint(0, 9)
    return {"a": str(max(a, b)), "operation": rng.choice(("plus", "minus")), "b": str(min(a, b))}


def _draw_country(rng: random.Random) -> Slots:
    return {"country": rng.choice(list(COUNTRIES))}


def _kind(s: Slots) -> Truth:
    kind = next(kind for kind, members in KINDS.items() if s["thing"] in members)
    shown = s["thing"][0].upper() + s["thing"][1:]
    return Truth(f"{shown} is a {kind}.", f"A {kind}.", (kind,), _others(KINDS, kind))


def _draw_thing(rng: random.Random) -> Slots:
    return {"thing": rng.choice([member for members in KINDS.values() for member in members])}


def _topic(s: Slots) -> Truth:
    state = TOPICS[s["topic"]]
    return Truth(
        f"The {s['topic']} is {state} today.",
        f"It is {state}.",
        (state,),
        _others(TOPICS.values(), state),
    )


def _role(s: Slots) -> Truth:
    greeting, deed = ROLES[s["role"]]
    return Truth(
        f"{greeting}! I am a {s['role']} and I {deed}.",
        f"{greeting}!",
        (greeting,),
        _others((g for g, _ in ROLES.values()), greeting),
    )


def _code(s: Slots) -> Truth:
    line = f'print("{s["word"]}")'
    return Truth(
        f"Here is the code:\n```python\n{line}\n```",
        f"`{line}`",
        (line,),
        _others(CODE_WORDS, s["word"]),
    )


SINGLES = (
    Single(
        (
            "What is the capital of {country}?",
            "Name the capital of {country}.",
            "Which city is the capital of {country}?",
            "Tell me the capital of {country}.",
            "The capital of {country}?",
        ),
        _draw_country,
        _capital,
    ),
    Single(
        ("Where is {capital}?", "Which country is {capital} in?", "In which country is {capital}?"),
        lambda rng: {"capital": rng.choice(CAPITALS)},
        _country_of,
    ),
    Single(
        (
            "Which language do people speak in {country}?",
            "What do people speak in {country}?",
            "What language do they speak in {country}?",
        ),
        _draw_country,
        _language,
    ),
    Single(
        (
            "What is {a} {operation} {b}?",
            "How much is {a} {operation} {b}?",
            "Work out {a} {operation} {b}.",
            "{a} {operation} {b}?",
        ),
        _draw_sum,
        _sum,
    ),
    Single(
        ("What is {thing}?", "What kind of thing is {thing}?", "Tell me what {thing} is."),
        _draw_thing,
        _kind,
    ),
    Single(
        ("How is the {topic}?", "How is the {topic} today?", "Write a note about the {topic}."),
        lambda rng: {"topic": rng.choice(list(TOPICS))},
        _topic,
    ),
    Single(
        ("Pretend you are a {role}.", "Greet me as a {role} would.", "Talk like a {role}."),
        lambda rng: {"role": rng.choice(list(ROLES))},
        _role,
    ),
    Single(
        ("Print {word} in Python.", "Write Python code that prints {word}."),
        lambda rng: {"word": rng.choice(CODE_WORDS)},
        _code,
    ),
)


def draw_small_talk(rng: random.Random) -> Question:
    """A question of one turn: 40 % about a single fact, 40 % outside, 20 % sayings."""
    pick = rng.random()
    if pick < 0.4:
        single = rng.choice(SINGLES)
        slots = single.draw(rng)
        return _question(rng.choice(single.phrasings).format(**slots), single.truth(slots))
    if pick < 0.8:
        return _question(draw_outside(rng), OUTSIDE)
    texts, truth = rng.choice(SAYINGS)
    return _question(rng.choice(texts), truth)


def as_typed(text: str, rng: random.Random) -> str:
    """The text as people type it: one in two with a word before or behind it, one in three in lower
    case, without its last mark, or with "what's" for "what is".
    """
    bare, mark = text.rstrip("?!."), text[len(text.rstrip("?!.")) :]
    pick = rng.random()
    if pick < 0.2:
        before = rng.choice(ASKING if bare.startswith(QUESTION_WORDS) else BEFORE)
        text = f"{before}{bare[0].lower()}{bare[1:]}{mark}"
    elif pick < 0.5:
        text = f"{bare}{rng.choice(BEHIND)}{mark}"
    if rng.random() < 1 / 3:
        text = text.replace("What is", "What's").replace("How is", "How's")
        if rng.random() < 0.5:
            text = text.rstrip("?!.")
        if rng.random() < 0.5:
            text = text.lower()
    return text


def understand_small_talk(text: str) -> Question | None:
    """The question of one turn that a text asks, or None."""
    text = text.strip()
    for texts, truth in SAYINGS:
        if text in texts:
            return _question(text, truth)
    for single in SINGLES:
        for phrasing in single.phrasings:
            if match := _pattern(phrasing).fullmatch(text):
                try:
                    return _question(text, single.truth(match.groupdict()))
                except (KeyError, ValueError, StopIteration):
                    continue  # a stranger to this world in the place of a slot
    return _question(text, OUTSIDE) if is_outside(text) else None


def _question(text: str, truth: Truth) -> Question:
    return Question(SMALL_TALK, (text,), (truth,), ())


@cache
def _pattern(phrasing: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\w+)", re.escape(phrasing)))
