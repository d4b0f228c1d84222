"""What is in a preference set: ties, empty and identical answers, length bias, scores, faulty tens,
models.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from zephyr_utils.data.records import check_feedback, check_preference
from zephyr_utils.data.types import Completion, Feedback, Preference
from zephyr_utils.preferences.pairs import pair_faults, score_gap
from zephyr_utils.preferences.ratings import RATING_SCALES, RatingScale, Score, scored
from zephyr_utils.preferences.text_table import TextTable, cell_text

# The repair of UltraFeedback's faulty overall grades went by the mean of the aspect ratings: a 10
# with a mean of at most 2 was a 1, above 4 it stood, and what is between was judged again.
FAULTY_MEAN, SOUND_MEAN = 2.0, 4.0
MOST_MODELS = 20  # rows of the table; a set of a thousand models has no use for a thousand rows


@dataclass(frozen=True)
class Tens:
    """The answers graded 10 overall, by what their aspect ratings say.

    Attributes:
        n: all of them. ``n_faulty``: mean rating at most 2. ``n_doubtful``: up to 4. (The others
            are sound or unrated.)
        n_chosen: pairs whose chosen answer is a faulty ten.
    """

    n: int
    n_faulty: int
    n_doubtful: int
    n_chosen: int


@dataclass(repr=False)
class Audit(TextTable):
    """What `audit` counted. Lengths are in characters of the last answer; every share is of
    ``n_pairs``, if no other is named.

    Attributes:
        n_scored: pairs with scores, of which alone ties, reversals, scores and gaps are counted.
        n_empty: pairs with an empty answer on either side.
        n_duplicates: pairs that repeat an earlier one in prompt and both answers.
        n_repeated_prompts: pairs with a prompt that occurred before.
        scores_chosen, scores_rejected: how many pairs have which score.
        tens: with feedback on the usual scales given, the answers graded 10.
        chosen_not_best: with feedback given, by score (mean, overall): pairs whose chosen answer
            has not the highest score of its row, so that this score would have chosen another; and
            the pairs it can be said of.
    """

    n_pairs: int = 0
    n_scored: int = 0
    n_ties: int = 0
    n_reversed: int = 0
    n_identical: int = 0
    n_empty_chosen: int = 0
    n_empty_rejected: int = 0
    n_empty: int = 0
    n_duplicates: int = 0
    n_repeated_prompts: int = 0
    share_chosen_longer: float = 0.0
    share_same_length: float = 0.0
    mean_length_chosen: float = 0.0
    mean_length_rejected: float = 0.0
    scores_chosen: Counter[float] = field(default_factory=Counter)
    scores_rejected: Counter[float] = field(default_factory=Counter)
    mean_gap: float = 0.0
    median_gap: float = 0.0
    chosen_by_model: Counter[str] = field(default_factory=Counter)
    rejected_by_model: Counter[str] = field(default_factory=Counter)
    tens: Tens | None = None
    chosen_not_best: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def length_bias(self) -> float:
        """How often the longer answer is the chosen one, where the two differ in length; 0.5 means
        no bias.
        """
        unequal = 1 - self.share_same_length
        return self.share_chosen_longer / unequal if self.n_pairs and unequal > 0 else 0.5

    @property
    def header(self) -> tuple[str, ...]:
        return "what", "figure", "share or range"

    @property
    def title(self) -> str:
        return f"Audit of {self.n_pairs:,} preference pairs"

    def rows(self) -> list[tuple[str, ...]]:
        scored = (
            ("ties (equal scores)", self.n_ties),
            ("reversed (rejected scores higher)", self.n_reversed),
        )
        counted = (
            ("identical answers", self.n_identical),
            ("empty chosen answer", self.n_empty_chosen),
            ("empty rejected answer", self.n_empty_rejected),
            ("repeated pairs", self.n_duplicates),
            ("repeated prompts", self.n_repeated_prompts),
        )
        rows: list[tuple[str, ...]] = [("pairs", f"{self.n_pairs:,}", "")]
        if self.n_scored < self.n_pairs:
            rows.append(
                (
                    "pairs with scores",
                    f"{self.n_scored:,}",
                    "ties, reversals and gaps are counted among these" if self.n_scored else "",
                )
            )
        if self.n_scored:
            rows += [(name, f"{n:,}", f"{100 * n / self.n_scored:.1f} %") for name, n in scored]
        rows += [(name, f"{n:,}", f"{100 * n / max(self.n_pairs, 1):.1f} %") for name, n in counted]
        rows += [
            (
                "chosen answer longer",
                f"{self.share_chosen_longer * self.n_pairs:,.0f}",
                f"{100 * self.share_chosen_longer:.1f} %; "
                f"{100 * self.length_bias:.1f} % where lengths differ",
            ),
            ("mean length, chosen", f"{self.mean_length_chosen:,.0f}", "characters"),
            ("mean length, rejected", f"{self.mean_length_rejected:,.0f}", "characters"),
        ]
        if self.n_scored:
            rows += [
                ("mean score, chosen", *_spread(self.scores_chosen)),
                ("mean score, rejected", *_spread(self.scores_rejected)),
                ("mean gap", f"{self.mean_gap:.3f}", f"median {self.median_gap:g}"),
            ]
        if self.tens is not None:
            rows += [
                ("answers graded 10", f"{self.tens.n:,}", ""),
                (
                    f"  with a mean rating of at most {FAULTY_MEAN:g}",
                    f"{self.tens.n_faulty:,}",
                    "faulty: a 1 was meant",
                ),
                (f"  up to {SOUND_MEAN:g}", f"{self.tens.n_doubtful:,}", "doubtful"),
                ("pairs that choose a faulty 10", f"{self.tens.n_chosen:,}", ""),
            ]
        for score, (n, of) in self.chosen_not_best.items():
            share = f"{100 * n / max(of, 1):.1f} % of {of:,}"
            rows.append((f"chosen is not the best by {score}", f"{n:,}", share))
        return rows + self._model_rows()

    def _model_rows(self) -> list[tuple[str, ...]]:
        both = self.chosen_by_model + self.rejected_by_model
        most = sorted(both, key=lambda model: (-both[model], model))[:MOST_MODELS]
        rows: list[tuple[str, ...]] = []
        for model in sorted(most):
            won, lost = self.chosen_by_model[model], self.rejected_by_model[model]
            rows.append(
                (
                    f"model {cell_text(model, 40)}",
                    f"{won:,} chosen, {lost:,} rejected",
                    f"chosen in {100 * won / (won + lost):.1f} %",
                )
            )
        if len(both) > len(most):
            rows.append((f"and {len(both) - len(most):,} models more", "", ""))
        return rows


def audit(
    preferences: Iterable[Preference],
    *,
    feedback: Iterable[Feedback] | None = None,
    rating_scales: Mapping[str, RatingScale] = RATING_SCALES,
) -> Audit:
    """Count what a reader should know of a preference set before training on it.

    Nothing depends on the order of the pairs.

    Args:
        preferences: preference records, in any layout that `check_preference` takes.
        feedback: the feedback they were made from, if at hand: the faulty tens are known from its
            aspect ratings, and how many chosen answers another score would not have chosen.
        rating_scales: the scale of each score in the feedback.

    Returns:
        `Audit`, which prints as a table.

    Raises:
        RecordError: a row is not a record of its kind.
    """
    report = Audit()
    known = _read_feedback(feedback, rating_scales) if feedback is not None else None
    n_faulty_chosen = 0
    not_best: Counter[str] = Counter()
    rated: Counter[str] = Counter()
    pairs: set[int] = set()
    prompts: set[str] = set()
    lengths: list[tuple[int, int]] = []
    gaps: list[float] = []
    for number, record in enumerate(preferences, start=1):
        pair = check_preference(record, f"pair {number}")
        chosen, rejected = pair["chosen"][-1]["content"], pair["rejected"][-1]["content"]
        faults = pair_faults(pair)
        report.n_pairs += 1
        report.n_ties += "tied" in faults
        report.n_reversed += "reversed" in faults
        report.n_identical += "identical" in faults
        report.n_empty_chosen += "empty_chosen" in faults
        report.n_empty_rejected += "empty_rejected" in faults
        report.n_empty += "empty_chosen" in faults or "empty_rejected" in faults
        # 64-bit hashes of the three texts: at 64,000 pairs two different ones meet in one set of
        # ten billion.
        key = hash((pair["prompt"], chosen, rejected))
        report.n_duplicates += key in pairs
        pairs.add(key)
        report.n_repeated_prompts += pair["prompt"] in prompts
        prompts.add(pair["prompt"])
        lengths.append((len(chosen), len(rejected)))
        gap = score_gap(pair)
        if gap is not None:
            gaps.append(gap)
            report.scores_chosen[pair["score_chosen"]] += 1
            report.scores_rejected[pair["score_rejected"]] += 1
        report.chosen_by_model.update([pair["chosen_model"]] if "chosen_model" in pair else [])
        report.rejected_by_model.update(
            [pair["rejected_model"]] if "rejected_model" in pair else []
        )
        if known is not None:
            answer = hash((pair["prompt"], chosen))
            n_faulty_chosen += answer in known.faulty
            for score, best in known.best.items():
                if hash(pair["prompt"]) in known.rated[score]:
                    rated[score] += 1
                    not_best[score] += answer not in best
    if lengths:
        both = np.array(lengths)
        report.mean_length_chosen, report.mean_length_rejected = map(float, both.mean(axis=0))
        report.share_chosen_longer = float((both[:, 0] > both[:, 1]).mean())
        report.share_same_length = float((both[:, 0] == both[:, 1]).mean())
    report.n_scored = len(gaps)
    if gaps:
        # fsum is exact, so that the order of the pairs cannot move the last digit.
        report.mean_gap, report.median_gap = math.fsum(gaps) / len(gaps), float(np.median(gaps))
    if known is not None:
        if known.usual_scales:
            report.tens = Tens(known.n_tens, known.n_faulty, known.n_doubtful, n_faulty_chosen)
        report.chosen_not_best = {score: (not_best[score], rated[score]) for score in known.best}
    return report


class _Known:
    """What the feedback says of its answers. Texts are kept as hashes: of the prompt, or of prompt
    and answer.
    """

    def __init__(self, rating_scales: Mapping[str, RatingScale]) -> None:
        self.scales = {score: rating_scales.get(score, RATING_SCALES[score]) for score in Score}
        self.usual_scales = self.scales == dict(RATING_SCALES)
        self.n_tens = self.n_faulty = self.n_doubtful = 0
        self.faulty: set[int] = set()
        self.best: dict[str, set[int]] = {str(score): set() for score in Score}
        self.rated: dict[str, set[int]] = {str(score): set() for score in Score}

    def add(self, prompt: str, answers: Sequence[Completion]) -> None:
        keys = [hash((prompt, answer["response"])) for answer in answers]
        scores = {
            str(name): [scored(answer, name, self.scales[name]).score for answer in answers]
            for name in Score
        }
        for name, values in scores.items():
            rated = [value for value in values if value is not None]
            if rated:
                best = max(rated)
                self.rated[name].add(hash(prompt))
                # Of a prompt that several rows have, each row's best counts.
                self.best[name].update(
                    key for key, value in zip(keys, values, strict=True) if value == best
                )
        both = zip(keys, scores[Score.MEAN], scores[Score.OVERALL], strict=True)
        for key, mean, overall in both:
            if overall == 10:
                self.n_tens += 1
                if mean is not None and mean <= FAULTY_MEAN:
                    self.n_faulty += 1
                    self.faulty.add(key)
                elif mean is not None and mean <= SOUND_MEAN:
                    self.n_doubtful += 1


def _read_feedback(
    feedback: Iterable[Feedback], rating_scales: Mapping[str, RatingScale]
) -> _Known:
    known = _Known(rating_scales)
    for number, record in enumerate(feedback, start=1):
        try:
            known.add(record["instruction"], record["completions"])
        except (KeyError, TypeError, AttributeError):
            check_feedback(record, f"row {number}")  # says what is wrong with the row
            raise
    return known


def _spread(scores: Counter[float]) -> tuple[str, str]:
    if not scores:
        return "", ""
    values, counts = np.array(sorted(scores.items())).T
    mean, n = float(values @ counts / counts.sum()), counts.cumsum()
    low, middle, high = (values[np.searchsorted(n, q * n[-1])] for q in (0.25, 0.5, 0.75))
    return (
        f"{mean:.3f}",
        f"{values[0]:g} to {values[-1]:g}, quartiles {low:.3g}, {middle:.3g}, {high:.3g}",
    )
