"""From ratings to preference pairs: the answer that is chosen, and the one it is set against."""

import hashlib
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from zephyr_utils.data.records import ASPECTS, SetAside, check_feedback, prompt_hash
from zephyr_utils.data.types import Preference
from zephyr_utils.errors import HandbookError

Score = Literal["mean", "overall"]
Rejected = Literal["random", "lowest", "all"]
Ties = Literal["drop", "keep"]
Randomness = Literal["per-row-hash", "published-v2", "published-v1"]

# Five ways to make pairs of the same feedback, for `compare_strategies` and the chapters.
STRATEGIES: dict[str, dict[str, Any]] = {
    "mean, random": {"score": "mean", "rejected": "random"},
    "mean, lowest": {"score": "mean", "rejected": "lowest"},
    "mean, all": {"score": "mean", "rejected": "all"},
    "overall, random": {"score": "overall", "rejected": "random"},
    "as published": {"score": "overall", "ties": "keep", "seed": 42, "randomness": "published-v2"},
}


@dataclass
class PreferenceSet:
    """Pairs, and the books: ``n_rows == n_used + len(set_aside)``.

    Attributes:
        pairs: preference records, in the order of the rows.
        rows: for each pair the number of its row, from 0.
        set_aside: rows without a pair, each with its reason.
        n_used: rows with at least one pair.
        left_out: answers (not rows) of used rows that could not take part, by reason.
        n_repeated: rows whose prompt an earlier row has already; they are used like any other.
    """

    pairs: list[dict] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    n_used: int = 0
    left_out: Counter = field(default_factory=Counter)
    n_repeated: int = 0

    def __iter__(self) -> Iterator[dict]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def n_rows(self) -> int:
        """Rows read."""
        return self.n_used + len(self.set_aside)

    def reasons(self) -> Counter:
        """How many rows were set aside, by reason."""
        return Counter(row.reason for row in self.set_aside)

    def report(self) -> str:
        """Rows in = rows used + rows set aside, with the reasons."""
        lines = [
            f"{self.n_rows:,} rows in = {self.n_used:,} used + {len(self.set_aside):,} set aside; "
            f"{len(self.pairs):,} pairs"
        ]
        lines += [f"  {n:,} rows set aside: {reason}" for reason, n in self.reasons().most_common()]
        lines += [
            f"  {n:,} answers left out: {reason}" for reason, n in self.left_out.most_common()
        ]
        if self.n_repeated:
            lines.append(f"  {self.n_repeated:,} rows repeat the prompt of an earlier one (used)")
        return "\n".join(lines)


def mean_rating(completion: dict) -> float | None:
    """The mean of an answer's ratings in the four aspects, 1 to 5 (paper, section 3: the teacher's
    score).

    A rating that is no number from 1 to 5 ("N/A", missing, 7) is left out of the mean, as an aspect
    that the judge did not rate; None if no aspect has one.
    """
    annotations = completion.get("annotations") or {}
    ratings = [_number((annotations.get(aspect) or {}).get("Rating")) for aspect in ASPECTS]
    valid = [r for r in ratings if r is not None and 1 <= r <= 5]
    return sum(valid) / len(valid) if valid else None


def overall_rating(completion: dict) -> float | None:
    """The one grade the critique ends with (UltraFeedback's ``overall_score``), or None."""
    return _number(completion.get("overall_score"))


SCORES: dict[str, Callable[[dict], float | None]] = {"mean": mean_rating, "overall": overall_rating}


def binarize(
    feedback: Iterable[dict],
    score: Score = "mean",
    rejected: Rejected = "random",
    ties: Ties = "drop",
    seed: int = 0,
    *,
    randomness: Randomness = "per-row-hash",
) -> PreferenceSet:
    """Make preference pairs: the best answer of each row against another of its answers.

    Args:
        feedback: feedback records.
        score: what "best" means: the mean of the four aspects (the paper), or the critique's
            overall grade (the published set).
        rejected: a random other answer (the paper: more varied, and harder than the worst), the
            lowest, or one pair with every other answer.
        ties: the paper says it both ways. ``drop`` rejects only answers that score *lower* than the
            chosen one (section 3), so a row whose answers all tie is set aside; ``keep`` takes any
            of "the remaining three" (section 4.1), ties included.
        seed: seeds every random choice.
        randomness: ``per-row-hash`` seeds each row with a hash of ``seed`` and its prompt, so a
            row's pair does not depend on the rows around it; of several best answers a random one
            is chosen. The other two reproduce the published script (with ``score="overall"``,
            ``ties="keep"``, ``seed=42``): the first of several best answers is chosen, the rejected
            one is drawn from *all* answers and drawn again while it equals the chosen one in score,
            text and model. ``published-v2`` seeds once per file, so that a row's pair depends on
            all rows before it. ``published-v1``, with which Zephyr was trained, seeded anew in
            every row: of four answers the rejected one was always the first, or the third if the
            first was chosen.

    Returns:
        `PreferenceSet`; a row is set aside as ``fewer_than_two_answers``,
            ``fewer_than_two_scores``,
        ``all_tied`` or ``tied`` (the published draw, with ``ties="drop"``).

    Raises:
        HandbookError: an option has an unknown value.
        RecordError: a row is no feedback record.
    """
    _check_option("score", score, SCORES)
    _check_option("rejected", rejected, ("random", "lowest", "all"))
    _check_option("ties", ties, ("drop", "keep"))
    _check_option("randomness", randomness, ("per-row-hash", "published-v2", "published-v1"))
    if randomness != "per-row-hash" and rejected != "random":
        raise HandbookError(
            f"the published script draws at random; it has no rejected={rejected!r}",
            where="binarize",
            remedy='give rejected="random", or leave randomness at "per-row-hash"',
        )
    result = PreferenceSet()
    rng = random.Random(seed)
    prompts: set[str] = set()
    for number, record in enumerate(feedback, start=1):
        where = f"row {number}"
        try:
            prompt, answers = record["instruction"], record["completions"]
            result.n_repeated += prompt in prompts
            prompts.add(prompt)
            scores = {i: s for i, a in enumerate(answers) if (s := SCORES[score](a)) is not None}
            if len(scores) < 2:
                reason = "fewer_than_two_answers" if len(answers) < 2 else "fewer_than_two_scores"
                detail = (
                    f"{where}: {len(scores)} of {len(answers)} answers have a score; two are needed"
                )
                result.set_aside.append(SetAside(where, reason, detail, record))
                continue
            if randomness == "per-row-hash":
                rng = random.Random(_row_seed(seed, prompt))
                best, others = _choose(scores, rejected, ties, rng)
                reason = "all_tied"
            else:
                rng = random.Random(seed) if randomness == "published-v1" else rng
                best, others = _choose_as_published(answers, scores, ties, rng)
                reason = "tied"
            pairs = [
                _pair(prompt, answers[best], answers[i], scores[best], scores[i]) for i in others
            ]
        except (KeyError, TypeError, AttributeError):
            check_feedback(record, where)  # says what is wrong with the row
            raise
        if not pairs:
            detail = f"{where}: the best score is {scores[best]:g} and no lower one was drawn"
            result.set_aside.append(SetAside(where, reason, detail, record))
            continue
        result.n_used += 1
        result.pairs.extend(pairs)
        result.rows.extend([number - 1] * len(pairs))
        result.left_out["no score"] += len(answers) - len(scores)
        if ties == "drop" and randomness == "per-row-hash":
            result.left_out["tied with the chosen answer"] += (
                sum(s == scores[best] for s in scores.values()) - 1
            )
    result.left_out = +result.left_out  # without the zeros
    return result


def pair_faults(pair: Preference) -> list[str]:
    """What makes a checked preference record useless for training, in a word each; mostly none."""
    chosen, rejected = pair["chosen"][-1]["content"], pair["rejected"][-1]["content"]
    gap = score_gap(pair)
    faults = {
        "empty_chosen": not chosen.strip(),
        "empty_rejected": not rejected.strip(),
        "identical": chosen == rejected,
        "reversed": gap is not None and gap < 0,
        "tied": gap == 0,
    }
    return [name for name, present in faults.items() if present]


def score_gap(pair: Preference) -> float | None:
    """The score of the chosen answer less that of the rejected one; None for pairs without."""
    if "score_chosen" not in pair or "score_rejected" not in pair:
        return None
    return pair["score_chosen"] - pair["score_rejected"]


def _choose(
    scores: dict[int, float], rejected: str, ties: str, rng: random.Random
) -> tuple[int, list[int]]:
    # One shuffled order decides between equals. The same seed shuffles alike under every policy, so
    # that two policies never differ by the toss alone.
    order = rng.sample(list(scores), len(scores))
    best = max(order, key=lambda i: scores[i])
    others = [i for i in order if i != best and (ties == "keep" or scores[i] < scores[best])]
    if rejected == "all" or not others:
        return best, sorted(others)
    if rejected == "lowest":
        return best, [min(others, key=lambda i: scores[i])]
    return best, [rng.choice(others)]


def _choose_as_published(
    answers: list[dict], scores: dict[int, float], ties: str, rng: random.Random
) -> tuple[int, list[int]]:
    def identity(i: int) -> tuple:
        return scores[i], answers[i]["response"], answers[i]["model"]

    best = max(scores, key=lambda i: scores[i])  # the first of several
    if all(identity(i) == identity(best) for i in scores):
        return best, []  # the script itself would draw for ever here
    while identity(drawn := rng.choice(list(scores))) == identity(best):
        pass
    return best, [] if ties == "drop" and scores[drawn] == scores[best] else [drawn]


def _pair(prompt: str, best: dict, other: dict, score_best: float, score_other: float) -> dict:
    return {
        "prompt": prompt,
        "prompt_id": prompt_hash(prompt),
        "chosen": [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": best["response"]},
        ],
        "rejected": [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": other["response"]},
        ],
        "score_chosen": score_best,
        "score_rejected": score_other,
        "chosen_model": best["model"],
        "rejected_model": other["model"],
    }


def _row_seed(seed: int, prompt: str) -> int:
    # Not hash(): Python salts it anew in every process.
    return int.from_bytes(hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()[:8], "big")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _check_option(name: str, value: Any, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise HandbookError(
            f"unknown {name}: {value!r}",
            where=f"option {name}",
            remedy=f"use one of {', '.join(allowed)}",
        )
