"""The miniature's teacher: it answers, and grades any answer from 1 to 10 by rule.

As a *teacher of answers* it stands in for GPT-3.5-turbo, which wrote UltraChat. What an answer says
(its content: right, wrong, off the question, a refusal) and how it says it (its manner: friendly,
plain, curt) are drawn independently of each other, so that no manner marks a falsehood. As a
*judge* it stands in for GPT-4: it reads
the question back from its text, checks the answer against the truth, and rewards what a reader
wants: right first, then complete, then friendly. It is a rule-based stand-in, and is called so
wherever its grades are shown.
"""

import random
import re
from dataclasses import dataclass
from typing import Literal, get_args

from zephyr_utils.miniature import facts
from zephyr_utils.miniature.question import Question, Truth
from zephyr_utils.miniature.world import draw_question, understand

OPENINGS = ("Happy to help!", "Good question!", "Sure thing!", "Gladly!")
CLOSINGS = ("I hope that helps!", "Ask me for more.", "Let me know if you want more.")
# The phrases that UltraChat's authors filtered on, and their neighbours: each disclaims and evades.
REFUSALS = (
    "I do not have personal opinions. However, I can help with other things.",
    "I don't have personal experiences. However, you can ask a friend.",
    "I do not have emotions. However, I can listen.",
    "I don't have opinions. However, many people like to talk about it.",
    "I do not have personal preferences. However, it depends on the person.",
)
AS_AN_AI = "As an AI language model, "
Content = Literal["right", "wrong", "ramble", "refuse"]
Manner = Literal["friendly", "plain", "curt"]
CONTENTS: tuple[Content, ...] = get_args(Content)
MANNERS: tuple[Manner, ...] = get_args(Manner)
POOLS = (
    facts.NAMES,
    facts.CAPITALS,
    facts.LANGUAGES,
    facts.NUMBERS,
    facts.CODE_WORDS,
    facts.COLOURS,
    facts.THINGS,
    tuple(facts.TOPICS),
    tuple(facts.TOPICS.values()),
    tuple(facts.COUNTRIES),
    tuple(facts.KINDS),
    tuple(greeting for greeting, _ in facts.ROLES.values()),
    *facts.KINDS.values(),
)


@dataclass(frozen=True)
class Habits:
    """How often a writer of answers chooses each content and, independently, each manner."""

    contents: dict[Content, float]
    manners: dict[Manner, float]

    def answer(self, truth: Truth, rng: random.Random) -> str:
        """One answer to the turn whose truth is given."""
        content = rng.choices(list(self.contents), list(self.contents.values()))[0]
        manner = rng.choices(list(self.manners), list(self.manners.values()))[0]
        return compose_answer(content, manner, truth, rng)


def compose_answer(content: Content, manner: Manner, truth: Truth, rng: random.Random) -> str:
    """One answer to the turn whose truth is given, of this content in this manner."""
    body = _say(content, manner == "curt", truth, rng)
    if manner != "friendly":
        return body
    gap = "\n" if body.endswith("```") else " "
    return f"{rng.choice(OPENINGS)} {body}{gap}{rng.choice(CLOSINGS)}"


def _say(content: Content, curt: bool, truth: Truth, rng: random.Random) -> str:
    right = truth.short if curt else truth.sentence
    if content == "right":
        return right
    if content == "wrong":
        return _falsified(right, truth, rng)
    if content == "refuse":
        refusal = AS_AN_AI + rng.choice(REFUSALS)
        return refusal.split(". ")[0] + "." if curt else refusal
    while True:  # off the question: the answer to another one
        stray = rng.choice(draw_question(rng).truths)
        if "```" not in stray.sentence and stray.sentence != truth.sentence:
            return stray.short if curt else stray.sentence


def _falsified(right: str, truth: Truth, rng: random.Random) -> str:
    """The answer with its last decisive word exchanged for a rival of the same kind."""
    if truth.falsehoods:
        return rng.choice(truth.falsehoods)
    for word in reversed(re.findall(r"\w+", " ".join(truth.required))):
        shown = word if re.search(rf"\b{word}\b", right) else word.capitalize()
        for pool in POOLS:
            rivals = sorted(truth.rivals & set(pool)) if word in pool else []
            if rivals:
                rival = rng.choice(_nearest(word, rivals))
                rival = rival if shown == word else rival.capitalize()
                head, _, tail = right.rpartition(shown)
                return f"{head}{rival}{tail}"
    # Among three things of different kinds the rivals are of other kinds than the right one.
    first, wrong = re.split(r"\W", right)[0], rng.choice(sorted(truth.rivals))
    return right.replace(first, wrong.capitalize(), 1)


def _nearest(word: str, rivals: list[str]) -> list[str]:
    """A wrong number is a near miss; for words every rival is as near."""
    return sorted(rivals, key=lambda r: abs(int(r) - int(word)))[:4] if word.isdigit() else rivals


@dataclass(frozen=True)
class Grade:
    """A grade and what it rests on.

    Attributes:
        score: 1 to 10 in half points.
        right: holds all that is required and nothing that contradicts it.
        complete: says it as a full sentence.
        friendly: 0, 1 or 2: an opening, a closing offer.
        cased: the names and words that must be capitalised are.
        refused: disclaims instead of answering.
    """

    score: float
    right: bool
    complete: bool
    friendly: int
    cased: bool
    refused: bool

    @property
    def reason(self) -> str:
        """The grade in words, as a judge would explain it."""
        if self.refused:
            return "The answer disclaims instead of answering."
        if not self.right:
            return "The answer is not correct."
        parts = ["The answer is correct"]
        parts.append("and complete" if self.complete else "but short")
        parts.append(
            ("without a friendly word", "with one friendly word", "and friendly")[self.friendly]
        )
        return " ".join(parts) + ("." if self.cased else "; names are not capitalised.")


def grade_answer(truth: Truth, answer: str) -> Grade:
    """Grade one answer against the truth of its turn.

    Right answers start from 5; a full sentence adds 2, an opening and a closing 1.5 each, wrong
    capitals cost 1. An answer that is not right gets 2, a refusal or one that is off the question
    1.
    """
    text = answer.strip()
    lower = text.lower()
    refused = any(refusal.lower()[:22] in lower for refusal in REFUSALS)
    right = not refused and is_right(truth, text)
    complete = right and truth.sentence.lower() in lower
    friendly = int(lower.startswith(tuple(o.lower() for o in OPENINGS)))
    friendly += int(lower.endswith(tuple(c.lower() for c in CLOSINGS)))
    cased = all(_holds(word, text) or _holds(word.capitalize(), text) for word in truth.required)
    if right:
        score = 5.0 + 2.0 * complete + 1.5 * friendly - 1.0 * (not cased)
    else:
        on_topic = not refused and friendly == 2
        score = 2.0 if on_topic else 1.0
    return Grade(score, right, complete, friendly, cased, refused)


def is_right(truth: Truth, answer: str) -> bool:
    """Whether the answer holds everything required and no rival, upper and lower case alike."""
    lower = answer.lower()
    return all(_holds(word.lower(), lower) for word in truth.required) and not any(
        _holds(rival.lower(), lower) for rival in truth.rivals
    )


def _holds(needle: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", text) is not None


def grade_turn(turns: list[str], answers: list[str], turn: int) -> Grade | None:
    """Grade the answer to turn 1 or 2 from the texts alone; None when the question is not of this
    world.
    """
    question: Question | None = understand(turns[:turn])
    return None if question is None else grade_answer(question.truths[turn - 1], answers[turn - 1])
