"""What is taken out before training: refusals, and questions of the tests.

UltraChat was filtered by phrases in which the assistant disclaims emotions, opinions and
experiences, and UltraFeedback was cleaned of TruthfulQA by exact match (paper, section 4.1, and the
cards of the two sets). Neither list nor code was published; the phrases here are our own.

Both functions return the indices kept, what was removed and why, and their sum is always the rows
given.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from zephyr_utils.data.counts import RowCounts
from zephyr_utils.data.fields import RecordError, present
from zephyr_utils.data.read import read_rows
from zephyr_utils.data.types import Dialogue
from zephyr_utils.errors import HandbookError

T = TypeVar("T")
Removed = TypeVar("Removed")

_HAVE = ("have", "possess", "hold", "experience")


def _denials(nouns: str, verbs: Iterable[str] = _HAVE) -> list[str]:
    return [f"i do not {verb} {noun.strip()}" for verb in verbs for noun in nouns.split(",")]


# Phrases are written as `_plain` leaves a text: lower case, straight, contractions opened. A final
# "s" is optional.
REFUSAL_PHRASES: dict[str, tuple[str, ...]] = {
    "emotions": (
        *_denials(
            "emotion, feeling, human emotion, human feeling, personal emotion, personal feeling"
        ),
        *_denials("emotion, feeling", ["feel"]),
        *("i am not capable of feeling", "i am not capable of experiencing"),
        *("i am incapable of feeling", "i do not have the ability to feel"),
        *("i do not have the ability to experience", "i cannot feel", "i cannot experience"),
        *("i have no emotion", "i have no feeling", "i lack emotion"),
        "i do not have consciousness",
    ),
    "opinions": (
        *_denials(
            "opinion, belief, preference, personal opinion, personal belief, personal preference",
            _HAVE[:3],
        ),
        *_denials(
            "personal view, personal bias, personal biases, personal thought, personal value",
            _HAVE[:3],
        ),
        *_denials("a personal opinion, an opinion, a personal preference, a preference", _HAVE[:3]),
        *_denials("a personal favorite, a personal favourite, a favorite, a favourite", _HAVE[:1]),
        *_denials("opinion, personal opinion, a personal opinion", ["form", "express", "offer"]),
        *("i cannot have opinion", "i cannot have a personal", "i cannot express personal"),
        *("i cannot form personal", "i have no opinion", "i have no personal opinion"),
        *("i have no personal preference", "i have no preference"),
    ),
    "personal experience": (
        *_denials(
            "personal experience, a personal experience, personal or emotional, "
            "personal information"
        ),
        *_denials(
            "personal life, a personal life, personal interest, personal memories, "
            "personal relationship"
        ),
        *_denials(
            "a physical body, a physical form, a physical presence, a body, physical sense, "
            "sense, friend"
        ),
        *("i have no personal experience", "i have no physical"),
        *("i have not personally experienced", "i have never experienced"),
        *("i do not have firsthand", "i do not have first-hand"),
    ),
    "as an AI": (
        *("as an ai", "as an artificial intelligence", "as a language model"),
        *("as a large language model", "i am an ai", "i am just an ai", "i am only an ai"),
        *("i am a language model", "i am a large language model", "i am just a language model"),
        *("i am a computer program", "i am just a computer program", "as a chatbot"),
        *("i am not a human", "i am not human", "i am a machine"),
        "as a machine learning model",
    ),
}

_CONTRACTIONS = (
    ("i'm", "i am"),
    ("i've", "i have"),
    ("don't", "do not"),
    ("haven't", "have not"),
    ("can't", "cannot"),
    ("can not", "cannot"),
    ("i am unable to", "i cannot"),
)


@dataclass(frozen=True)
class Refusal:
    """``phrase`` of ``family`` was the first found in item ``index``."""

    index: int
    phrase: str
    family: str


@dataclass(frozen=True)
class Contaminated:
    """Prompt ``index`` matched the reference text ``matched`` by ``rule``: exact, normalized or
    ngram.
    """

    index: int
    rule: str
    matched: str


@dataclass
class Filtered(Generic[Removed]):
    """What a filter did.

    Attributes:
        kept: indices of the items kept, in order.
        removed: one entry for each item removed.
        counts: how many were removed, by phrase or rule.
    """

    kept: list[int] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def select(self, items: Sequence[T]) -> list[T]:
        """The items kept."""
        return [items[i] for i in self.kept]

    def row_counts(self) -> RowCounts:
        """Rows in = rows kept + rows removed, by phrase or rule."""
        return RowCounts(len(self.kept) + len(self.removed), len(self.kept), self.counts)

    def report(self) -> str:
        """The same in words."""
        return self.row_counts().report()


def refusal_filter(
    items: Iterable[str | Dialogue], phrases: Mapping[str, Sequence[str]] = REFUSAL_PHRASES
) -> Filtered[Refusal]:
    """Remove dialogues in which the assistant disclaims emotions, opinions, experience or being
    more than an AI.

    Case, curly apostrophes, line breaks and contractions make no difference. A text that quotes
    such a phrase goes too: the filter reads words, not intentions.

    Args:
        items: dialogue records (every assistant turn is read, no other) or plain texts.
        phrases: families of phrases in lower case, with contractions opened ("i do not have
            emotion").

    Returns:
        `Filtered` with ``removed`` a list of `Refusal` (the first phrase in the text) and
        ``counts`` by phrase.
    """
    family_of = {phrase: family for family, members in phrases.items() for phrase in members}
    # The longest phrase first, because a regular expression takes the first alternative that fits;
    # the look ahead to the first word spares trying 190 alternatives at every word (seven times
    # faster).
    alternatives = "|".join(re.escape(p) for p in sorted(family_of, key=len, reverse=True))
    first_words = "|".join(sorted({re.escape(p.split()[0]) for p in family_of}))
    pattern = re.compile(rf"\b(?=(?:{first_words})\b)({alternatives})s?\b") if family_of else None
    result: Filtered[Refusal] = Filtered()
    for index, item in enumerate(items):
        matches = (pattern.search(_plain(text)) for text in _assistant_texts(item) if pattern)
        match = next((match for match in matches if match), None)
        if match is None:
            result.kept.append(index)
        else:
            result.removed.append(Refusal(index, match[1], family_of[match[1]]))
            result.counts[match[1]] += 1
    return result


def decontaminate(
    prompts: Sequence[str],
    against: Sequence[str],
    *,
    ngram: int = 8,
    share: float = 0.7,
    shortest: int = 5,
) -> Filtered[Contaminated]:
    """Remove prompts that hold a question of a test set.

    Three rules, each for what the one before it lets pass:

    * ``exact``: the prompt is a reference, character for character (all that the published set was
      checked for);
    * ``normalized``: the same but for case, punctuation, width and white space;
    * ``ngram``: the reference stands *inside* the prompt. A reference of at least ``ngram`` words
      matches if at least the given ``share`` of its runs of ``ngram`` words occur in the prompt.
      One run in common is often a turn of phrase ("could you provide a brief summary of the"), most
      of them are the question; a question of more than 33 words is still found with any one word
      changed. A shorter reference has no such run: it matches if all its words occur in the prompt
      in a row. Under ``shortest`` words ("Why not?") even that happens by accident, so those are
      left to the first two rules.

    A reworded question gets past all three. With ``share=0`` one run in common is enough: more of
    the reworded ones are found, and with them whatever is asked in the same set phrases.

    Words are what ``\\w+`` finds, so languages written without spaces have only the first two
    rules. Time grows with the words of both sides together, not with their product.

    Args:
        prompts: the training prompts.
        against: the reference questions.
        ngram: words in a run.
        share: from 0 (one run in common is enough) to 1 (all of them).
        shortest: the fewest words a reference must have for the third rule.

    Returns:
        `Filtered` with ``removed`` a list of `Contaminated` and ``counts`` by rule.

    Raises:
        HandbookError: ``ngram`` is below 1, or ``share`` outside 0 to 1.
    """
    if ngram < 1 or not 0 <= share <= 1:
        raise HandbookError(
            f"cannot match runs of {ngram} words with a share of {share}",
            where="decontaminate",
            remedy="give ngram of at least 1 and a share between 0 and 1",
        )
    exact = set(against)
    loose: dict[str, str] = {}
    for reference in against:
        loose.setdefault(normalize(reference), reference)
    loose.pop("", None)
    runs = _ReferenceRuns(loose, ngram, share, shortest)
    result: Filtered[Contaminated] = Filtered()
    for index, prompt in enumerate(prompts):
        words = normalize(prompt)
        if prompt in exact:
            hit = Contaminated(index, "exact", prompt)
        elif words in loose:
            hit = Contaminated(index, "normalized", loose[words])
        elif (quoted := runs.inside(words.split())) is not None:
            hit = Contaminated(index, "ngram", quoted)
        else:
            result.kept.append(index)
            continue
        result.removed.append(hit)
        result.counts[hit.rule] += 1
    return result


def first_turns(path: str | Path) -> list[str]:
    """The first turns of a file of questions in MT-Bench's schema, to decontaminate with. (A second
    turn, "And where?", is so short that it would match by accident.)

    Raises:
        RecordError: a row has no ``turns``. HandbookError: the file cannot be read.
    """
    texts = []
    for row in read_rows(path):
        if row.error is not None:
            raise row.error
        turns = row.value.get("turns") if isinstance(row.value, dict) else None
        if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
            fields = f" (it has: {present(row.value)})" if isinstance(row.value, dict) else ""
            raise RecordError(
                "missing_field",
                f"the row is not a question with a list of turns{fields}",
                where=row.where,
                remedy='give MT-Bench\'s schema: {"question_id": 1, "turns": ["..."]}',
            )
        texts.append(turns[0])
    if not texts:
        raise HandbookError(
            "there are no questions in it", where=str(path), remedy="give a file of questions"
        )
    return texts


def normalize(text: str) -> str:
    """Words alone: compatibility forms folded (NFKC), lower case, everything but letters and digits
    a space.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(re.findall(r"\w+", text.casefold().replace("_", " ")))


class _ReferenceRuns:
    """The word runs of all references in one table, so that a prompt is read once however many
    there are.
    """

    def __init__(
        self, references: Mapping[str, str], ngram: int, share: float, shortest: int
    ) -> None:
        self.texts = list(references.values())
        self.needed: list[float] = []
        self.owners: dict[tuple[str, ...], list[int]] = {}
        for number, words in enumerate(text.split() for text in references):
            own = set(_runs(words, min(ngram, len(words))))
            self.needed.append(max(share * len(own), 1))
            if len(words) >= min(shortest, ngram):
                for run in own:
                    self.owners.setdefault(run, []).append(number)
        self.sizes = sorted({len(run) for run in self.owners})

    def inside(self, words: list[str]) -> str | None:
        """The reference that is in these words; of several, the one of which the most runs are
        found.
        """
        seen = {run for size in self.sizes for run in _runs(words, size) if run in self.owners}
        hits = Counter(owner for run in seen for owner in self.owners[run])
        enough = [(n, -owner) for owner, n in hits.items() if n >= self.needed[owner]]
        return self.texts[-max(enough)[1]] if enough else None


def _runs(words: list[str], size: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(size)), strict=False)


def _plain(text: str) -> str:
    text = " ".join(text.lower().replace("’", "'").replace("ʼ", "'").replace("‘", "'").split())
    for short, long in _CONTRACTIONS:
        text = text.replace(short, long)
    return text


def _assistant_texts(item: Any) -> list[str]:
    if isinstance(item, str):
        return [item]
    if isinstance(item, dict) and isinstance(item.get("messages"), list):
        return [m["content"] for m in item["messages"] if m["role"] == "assistant"]
    raise HandbookError(
        f"expected a text or a dialogue with 'messages', found {type(item).__name__}",
        where="filtering",
        remedy="load dialogues with load_records(path, 'dialogue')",
    )
