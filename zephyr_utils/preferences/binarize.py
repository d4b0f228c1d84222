"""From ratings to preference pairs: the answer that is chosen, and the one it is set against."""

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from zephyr_utils.data.completions import check_answer
from zephyr_utils.data.counts import SetAside
from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.records import check_feedback, prompt_hash
from zephyr_utils.data.types import Completion, Feedback, Preference
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences.pairs import PreferenceSet
from zephyr_utils.preferences.ratings import (
    OUT_OF_RANGE,
    RATING_SCALES,
    BadRating,
    RatingScale,
    Score,
    Scored,
    check_rating_scale,
    scored,
)


class Rejected(StrEnum):
    """Which answer the best one is set against."""

    RANDOM = "random"  # another answer (the paper: more varied, and harder than the worst)
    LOWEST = "lowest"
    ALL = "all"  # one pair with every other answer


class Ties(StrEnum):
    """What becomes of answers that score as much as the chosen one."""

    DROP = "drop"  # only lower answers are rejected (paper, section 3)
    KEEP = "keep"  # any of "the remaining three" (paper, section 4.1)


class Randomness(StrEnum):
    """How random choices are seeded; see `binarize`."""

    PER_ROW_HASH = "per-row-hash"
    PUBLISHED_V2 = "published-v2"
    PUBLISHED_V1 = "published-v1"


# Five ways to make pairs of the same feedback, for `compare_strategies` and the chapters.
STRATEGIES: dict[str, dict[str, Any]] = {
    "mean, random": {"score": "mean", "rejected": "random"},
    "mean, lowest": {"score": "mean", "rejected": "lowest"},
    "mean, all": {"score": "mean", "rejected": "all"},
    "overall, random": {"score": "overall", "rejected": "random"},
    "as published": {"score": "overall", "ties": "keep", "seed": 42, "randomness": "published-v2"},
}


def binarize(
    feedback: Iterable[Feedback],
    score: str = Score.MEAN,
    rejected: str = Rejected.RANDOM,
    ties: str = Ties.DROP,
    seed: int = 0,
    *,
    randomness: str = Randomness.PER_ROW_HASH,
    rating_scales: Mapping[str, RatingScale] = RATING_SCALES,
) -> PreferenceSet:
    """Make preference pairs: the best answer of each row against another of its answers.

    Args:
        feedback: feedback records.
        score: what "best" means (`Score`): the mean of the four aspects (the paper), or the
            critique's overall grade (the published set).
        rejected: which answer it is set against (`Rejected`).
        ties: the paper says it both ways (`Ties`). ``drop`` rejects only answers that score *lower*
            than the chosen one, so a row whose answers all tie is set aside.
        seed: seeds every random choice.
        randomness: ``per-row-hash`` seeds each row with a hash of ``seed`` and its prompt, so a
            row's pair does not depend on the rows around it; of several best answers a random one
            is chosen. The other two reproduce the published script (with ``score="overall"``,
            ``ties="keep"``, ``seed=42``): the first of several best answers is chosen, the rejected
            one is drawn from *all* answers and drawn again while it equals the chosen one in score,
            text and model. ``published-v2`` seeds once per file, so that a row's pair depends on
            all rows before it. ``published-v1``, with which Zephyr was trained, seeded in every
            row again: of four answers the rejected one was always the first, or the third if the
            first was chosen.
        rating_scales: the scale of each score; by default 1 to 5 (mean) and 1 to 10 (overall).

    Returns:
        `PreferenceSet`; a row is set aside as ``fewer_than_two_answers``,
        ``fewer_than_two_scores``, ``all_tied``, ``tied`` (the published draw, with
        ``ties="drop"``), ``rating_out_of_range`` or ``unreadable_rating``, or for an answer of its
        pair as in `data.completions.check_answer`.

    Raises:
        HandbookError: an option has an unknown value, or so many ratings lie outside of the scale
            that it must be another.
        RecordError: a row is not a feedback record.
    """
    _check_option("score", score, Score)
    _check_option("rejected", rejected, Rejected)
    _check_option("ties", ties, Ties)
    _check_option("randomness", randomness, Randomness)
    if randomness != Randomness.PER_ROW_HASH and rejected != Rejected.RANDOM:
        raise HandbookError(
            f"the published script draws at random; it has no rejected={str(rejected)!r}",
            where="binarize",
            remedy='give rejected="random", or leave randomness at "per-row-hash"',
        )
    scale = rating_scales.get(score, RATING_SCALES[score])
    result, seen = PreferenceSet(), _SeenRatings(score, scale)
    rng = random.Random(seed)
    prompts: set[str] = set()
    for number, record in enumerate(feedback, start=1):
        where = f"row {number}"
        try:
            prompt, answers = record["instruction"], record["completions"]
            _check_characters(prompt, answers)
            result.n_repeated += prompt in prompts
            prompts.add(prompt)
            read = [scored(answer, score, scale) for answer in answers]
            bad = seen.add(read)
            if bad is not None:
                result.set_aside.append(
                    SetAside(where, bad.reason, f"{where}: {bad.detail}", record)
                )
                continue
            scores = {i: x.score for i, x in enumerate(read) if x.score is not None}
            if len(scores) < 2:
                reason = "fewer_than_two_answers" if len(answers) < 2 else "fewer_than_two_scores"
                detail = (
                    f"{where}: {len(scores)} of {len(answers)} answers have a score; two are needed"
                )
                result.set_aside.append(SetAside(where, reason, detail, record))
                continue
            if randomness == Randomness.PER_ROW_HASH:
                rng = random.Random(_row_seed(seed, prompt))
                best, others = _choose(scores, rejected, ties, rng)
                reason = "all_tied"
            else:
                rng = random.Random(seed) if randomness == Randomness.PUBLISHED_V1 else rng
                best, others = _choose_as_published(answers, scores, ties, rng)
                reason = "tied"
            pairs = [
                _pair(prompt, answers[best], answers[i], scores[best], scores[i]) for i in others
            ]
        except (KeyError, TypeError, AttributeError, UnicodeEncodeError):
            check_feedback(record, where)  # says what is wrong with the row
            raise
        if not pairs:
            detail = f"{where}: the best score is {scores[best]:g} and no lower one was drawn"
            result.set_aside.append(SetAside(where, reason, detail, record))
            continue
        try:
            # Behind the draw: a row that is left out must not change what later rows draw.
            for i in (best, *others):
                check_answer(answers[i]["response"], f"{where}, answer {i + 1}")
        except RecordError as error:
            detail = f"{error.where}: {error.what}"
            result.set_aside.append(SetAside(where, error.reason, detail, record))
            continue
        result.n_used += 1
        result.pairs.extend(pairs)
        result.rows.extend([number - 1] * len(pairs))
        result.left_out["no score"] += len(answers) - len(scores)
        if ties == Ties.DROP and randomness == Randomness.PER_ROW_HASH:
            result.left_out["tied with the chosen answer"] += (
                sum(s == scores[best] for s in scores.values()) - 1
            )
    seen.check()
    result.left_out = +result.left_out  # without the zeros
    return result


class _SeenRatings:
    """The range of the ratings of a file, and how many rows leave the scale."""

    def __init__(self, score: str, scale: RatingScale) -> None:
        self.score, self.scale = score, scale
        self.low, self.high = float("inf"), float("-inf")
        self.n_rows = self.n_bad = 0

    def add(self, answers: Sequence[Scored]) -> BadRating | None:
        """Take a row down; returns its first rating that cannot be used."""
        ratings = [rating for answer in answers for rating in answer.ratings]
        if ratings:
            self.low, self.high = min(self.low, *ratings), max(self.high, *ratings)
        self.n_rows += bool(ratings)
        for place, answer in enumerate(answers, start=1):
            if answer.bad is not None:
                self.n_bad += answer.bad.reason == OUT_OF_RANGE
                return answer.bad._replace(detail=f"answer {place}: {answer.bad.detail}")
        return None

    def check(self) -> None:
        check_rating_scale(
            RatingScale(self.low, self.high), self.score, self.scale, self.n_rows, self.n_bad
        )


def _choose(
    scores: dict[int, float], rejected: str, ties: str, rng: random.Random
) -> tuple[int, list[int]]:
    # One shuffled order decides between equals. The same seed shuffles alike under every strategy,
    # so that two strategies never differ by the toss alone.
    order = rng.sample(list(scores), len(scores))
    best = max(order, key=lambda i: scores[i])
    others = [i for i in order if i != best and (ties == Ties.KEEP or scores[i] < scores[best])]
    if rejected == Rejected.ALL or not others:
        return best, sorted(others)
    if rejected == Rejected.LOWEST:
        return best, [min(others, key=lambda i: scores[i])]
    return best, [rng.choice(others)]


def _choose_as_published(
    answers: Sequence[Completion], scores: dict[int, float], ties: str, rng: random.Random
) -> tuple[int, list[int]]:
    def identity(i: int) -> tuple[float, str, str]:
        return scores[i], answers[i]["response"], answers[i]["model"]

    best = max(scores, key=lambda i: scores[i])  # the first of several
    if all(identity(i) == identity(best) for i in scores):
        return best, []  # the script itself would draw for ever here
    while identity(drawn := rng.choice(list(scores))) == identity(best):
        pass
    return best, [] if ties == Ties.DROP and scores[drawn] == scores[best] else [drawn]


def _pair(
    prompt: str, best: Completion, other: Completion, score_best: float, score_other: float
) -> Preference:
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


def _check_characters(prompt: str, answers: Sequence[Completion]) -> None:
    """Raises UnicodeEncodeError for half of a surrogate pair, which no file of pairs can hold."""
    for text in (prompt, *(text for a in answers for text in (a["response"], a["model"]))):
        if not text.isascii():
            text.encode()


def _row_seed(seed: int, prompt: str) -> int:
    # Not hash(): Python salts it in every process.
    return int.from_bytes(hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()[:8], "big")


def _check_option(name: str, value: Any, allowed: type[StrEnum]) -> None:
    known = [str(member) for member in allowed]
    if value not in known:
        raise HandbookError(
            f"unknown {name}: {value!r}",
            where=f"option {name}",
            remedy=f"use one of {', '.join(known)}",
        )
