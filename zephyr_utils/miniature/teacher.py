"""The miniature's teacher: it answers in six styles and grades any answer from 1 to 10 by rule.

As a *teacher of answers* it stands in for GPT-3.5-turbo, which wrote UltraChat: good, plain, curt,
wrong, refusing and rambling answers in a stated mix. As a *judge* it stands in for GPT-4: it reads
the question back from its text, checks the answer against the truth, and rewards what a reader
wants: right first, then complete, then friendly. It is a rule-based stand-in, and is called so
wherever its grades are shown.
"""

import random
import re
from dataclasses import dataclass

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
STYLES = ("good", "plain", "curt", "wrong", "refuse", "ramble")
POOLS = (
    facts.NAMES,
    facts.CAPITALS,
    facts.LANGUAGES,
    facts.NUMBERS,
    facts.CODE_WORDS,
    facts.COLOURS,
    facts.THINGS,
    tuple(facts.TOPICS),
    *facts.KINDS.values(),
)


def answer_in_style(style: str, truth: Truth, rng: random.Random) -> str:
    """One answer to the turn whose truth is given, in one of `STYLES`."""
    if style == "refuse":
        return AS_AN_AI + rng.choice(REFUSALS)
    if style == "ramble":
        strays = [rng.choice(draw_question(rng).truths).sentence for _ in range(rng.randint(1, 2))]
        return (
            " ".join(stray for stray in strays if "```" not in stray)
            or "It depends on the weather."
        )
    if style == "curt":
        return truth.short
    if style == "plain":
        return truth.sentence
    body = truth.sentence if style == "good" else _falsified(truth, rng)
    gap = "\n" if body.endswith("```") else " "
    opening = rng.choice(OPENINGS)
    return f"{opening} {body}{gap}{rng.choice(CLOSINGS)}"


def _falsified(truth: Truth, rng: random.Random) -> str:
    """The sentence with its last decisive word exchanged for a rival of the same kind."""
    for word in reversed(re.findall(r"\w+", " ".join(truth.required))):
        shown = word if re.search(rf"\b{word}\b", truth.sentence) else word.capitalize()
        for pool in POOLS:
            rivals = sorted(truth.rivals & set(pool)) if word in pool else []
            if rivals:
                rival = rng.choice(_nearest(word, rivals))
                rival = rival if shown == word else rival.capitalize()
                head, _, tail = truth.sentence.rpartition(shown)
                return f"{head}{rival}{tail}"
    # Among three things of different kinds the rivals are of other kinds than the right one.
    right, wrong = truth.sentence.split()[0], rng.choice(sorted(truth.rivals))
    return truth.sentence.replace(right, wrong.capitalize(), 1)


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
    """Grade the answer to turn 1 or 2 from the texts alone; None when the question is none of this
    world.
    """
    question: Question | None = understand(turns[:turn])
    return None if question is None else grade_answer(question.truths[turn - 1], answers[turn - 1])
