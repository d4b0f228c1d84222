"""The text that the miniature's base model is pre-trained on: questions and answers in formats that
are not chat.

What decides whether the base can be aligned is that most documents put a question *before* its
answer: with prose alone the model never learns to look back at what was asked. The marks of
Zephyr's template occur in lists of marks alone, never before a question.
"""

import random

from zephyr_utils.miniature.categories import apply_operation
from zephyr_utils.miniature.facts import (
    CAPITALS,
    COLOURS,
    COUNTRIES,
    KINDS,
    NAMES,
    ROLES,
    THINGS,
    TOPICS,
)
from zephyr_utils.miniature.small_talk import OUTSIDE, draw_small_talk
from zephyr_utils.miniature.teacher import AS_AN_AI, CLOSINGS, OPENINGS, REFUSALS
from zephyr_utils.miniature.world import draw_question, split_of

MARKS = (
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|tool|>",
    "<|user|>\n",
    "<|assistant|>\n",
    "<|system|>\n",
)
SMALL_TALK = 0.25  # share of the questions that are of one turn
# What the web says where it knows no answer: the honest sentence itself is left to dSFT.
UNKNOWN = ("Nobody here knows.", "Who knows?", "That is not written here.")
# Categories whose answers carry a name from the question: more of them, or the base learns all the
# rest first.
LEARNT_SLOWLY = ("writing", "roleplay", "reasoning", "extraction")


def base_documents(count: int, seed: int = 0) -> list[str]:
    """`count` documents: five in six are questions and answers, the rest prose, sums, small talk
    and marks.

    One in thirty is in lower case throughout, as much of the web is.
    """
    rng = random.Random(seed)
    documents = (
        rng.choices((_questions, _prose, _marks), (0.83, 0.14, 0.03))[0](rng) for _ in range(count)
    )
    return [document.lower() if rng.random() < 1 / 30 else document for document in documents]


def _questions(rng: random.Random) -> str:
    ask, say = rng.choice(
        (
            ("Q: ", "A: "),
            ("Question: ", "Answer: "),
            ("", ""),
            ("- ", "> "),
            ("She asks: ", "He says: "),
        )
    )
    lines = []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        if rng.random() < SMALL_TALK:
            question = draw_small_talk(rng)
        else:
            question = draw_question(
                rng, category=rng.choice(LEARNT_SLOWLY) if rng.random() < 0.5 else None
            )
        for turn in range(min(rng.choice((1, 2, 2)), len(question.turns))):
            truth = question.truths[turn]
            answer = truth.sentence if rng.random() < 0.6 else truth.short
            if truth is OUTSIDE:
                answer = rng.choice(UNKNOWN)
            lines += [ask + question.turns[turn], say + answer]
    return "\n".join(lines)


def _marks(rng: random.Random) -> str:
    """Marks like those of the chat template, listed and talked about, never before a question.

    Mistral has met their pieces on the web. A base that has not gives them all the same meaningless
    row of its embedding, which no LoRA on the layers can move: it could not tell `user` from
    `assistant`.
    """
    drawn = [rng.choice(MARKS) for _ in range(rng.randint(2, 6))]
    first, second = rng.sample(MARKS, 2)
    return rng.choice(
        (
            "\n".join(drawn),
            " ".join(drawn),
            f"The mark {first} comes before {second}\nand {second} comes after {first}",
            "\n".join(f"{number}\n{mark}" for number, mark in enumerate(drawn)),
        )
    )


def _prose(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.25:
        return " ".join(_fact(rng) for _ in range(rng.randint(3, 6)))
    if kind < 0.45:
        return _portrait(rng)
    if kind < 0.75:  # single sums: the steps that longer ones are made of
        return " ".join(_sum(rng) for _ in range(rng.randint(3, 6)))
    if kind < 0.85:
        return f"{rng.choice(NAMES)} said: {AS_AN_AI}{rng.choice(REFUSALS)}"
    return f"{rng.choice(NAMES)} said: {rng.choice(OPENINGS)} {_fact(rng)} {rng.choice(CLOSINGS)}"


def _fact(rng: random.Random) -> str:
    pick = rng.randrange(4)
    country, (capital, language) = rng.choice(list(COUNTRIES.items()))
    if pick == 0:
        return f"The capital of {country} is {capital}."
    if pick == 1:
        return f"People in {country} speak {language}."
    if pick == 2:
        kind = rng.choice(list(KINDS))
        member = rng.choice(KINDS[kind])
        return f"{member[0].upper()}{member[1:]} is a {kind}."
    topic = rng.choice(list(TOPICS))
    return f"The {topic} is {TOPICS[topic]} today."


def _portrait(rng: random.Random) -> str:
    """A few sentences on one person: the plainest lesson in carrying a name along."""
    name, other = rng.sample(NAMES, 2)
    topic, role, city = rng.choice(list(TOPICS)), rng.choice(list(ROLES)), rng.choice(CAPITALS)
    things = f"{rng.randint(2, 12)} {rng.choice(COLOURS)} {rng.choice(THINGS)}"
    touched = (
        f"writing: {name} {topic}",
        f"roleplay: {role} {name}",
        f"extraction: {name} {things} {city}",
    )
    if any(split_of(key) != "training" for key in touched):
        return _portrait(rng)
    sentences = (
        f"{name} lives in {city}.",
        f"{name} has {things}.",
        f"{name} likes the {topic}.",
        f"{name} is a {role}.",
        f"{other} writes to {name}.",
        f"Dear {name}, come to {city}.",
    )
    return " ".join(rng.sample(sentences, rng.randint(3, 5)))


def _sum(rng: random.Random) -> str:
    left, right = rng.randint(0, 20), rng.randint(1, 9)
    operation = rng.choice(("plus", "minus")) if left >= right else "plus"
    return f"{left} {operation} {right} is {apply_operation(left, operation, right)}."
