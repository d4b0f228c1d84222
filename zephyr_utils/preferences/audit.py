"""What is in a preference set: ties, empty and identical answers, length bias, scores, faulty tens,
models.
"""

import html
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zephyr_utils.data.records import check_feedback, check_preference
from zephyr_utils.preferences.binarize import (
    SCORES,
    STRATEGIES,
    binarize,
    pair_faults,
)

# The repair of UltraFeedback's faulty overall grades went by the mean of the aspect ratings: a 10
# with a mean of at most 2 was a 1, above 4 it stood, and what lies between was judged anew.
FAULTY_MEAN, SOUND_MEAN = 2.0, 4.0


class _Table:
    """Rows of cells that print as text and as HTML."""

    title = ""
    header: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, ...]]:
        raise NotImplementedError

    def __str__(self) -> str:
        table = [self.header, *self.rows()]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.header))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        return "\n".join([self.title, *lines[:1], "  ".join("-" * w for w in widths), *lines[1:]])

    def _repr_html_(self) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            return (
                "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
            )

        body = "".join(line(row, "td") for row in self.rows())
        caption = f"<caption>{html.escape(self.title)}</caption>"
        return (
            f"<table>{caption}<thead>{line(self.header, 'th')}</thead><tbody>{body}</tbody></table>"
        )


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
class Audit(_Table):
    """What `audit` found. Lengths are in characters of the last answer; every share is of
    ``n_pairs``.

    Attributes:
        n_empty: pairs with an empty answer on either side.
        n_duplicates: pairs that repeat an earlier one in prompt and both answers.
        n_repeated_prompts: pairs with a prompt that occurred before.
        scores_chosen, scores_rejected: how many pairs have which score.
        tens: with feedback given, the answers graded 10.
        chosen_not_best: with feedback given, by score (mean, overall): pairs whose chosen answer
            has not the highest score of its row, so that this policy would have chosen another; and
            the pairs it can be said of.
    """

    n_pairs: int = 0
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
    scores_chosen: Counter = field(default_factory=Counter)
    scores_rejected: Counter = field(default_factory=Counter)
    mean_gap: float = 0.0
    median_gap: float = 0.0
    chosen_by_model: Counter = field(default_factory=Counter)
    rejected_by_model: Counter = field(default_factory=Counter)
    tens: Tens | None = None
    chosen_not_best: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def length_bias(self) -> float:
        """How often the longer answer is the chosen one, where the two differ in length; 0.5 is no
        bias.
        """
        unequal = 1 - self.share_same_length
        return self.share_chosen_longer / unequal if self.n_pairs and unequal > 0 else 0.5

    header = ("what", "figure", "share or range")

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Audit of {self.n_pairs:,} preference pairs"

    def rows(self) -> list[tuple[str, ...]]:
        counted = (
            ("ties (equal scores)", self.n_ties),
            ("reversed (rejected scores higher)", self.n_reversed),
            ("identical answers", self.n_identical),
            ("empty chosen answer", self.n_empty_chosen),
            ("empty rejected answer", self.n_empty_rejected),
            ("repeated pairs", self.n_duplicates),
            ("repeated prompts", self.n_repeated_prompts),
        )
        rows: list[tuple[str, ...]] = [("pairs", f"{self.n_pairs:,}", "")]
        rows += [(name, f"{n:,}", f"{n / max(self.n_pairs, 1):.1%}") for name, n in counted]
        rows += [
            (
                "chosen answer longer",
                f"{self.share_chosen_longer * self.n_pairs:,.0f}",
                f"{self.share_chosen_longer:.1%}; {self.length_bias:.1%} where lengths differ",
            ),
            ("mean length, chosen", f"{self.mean_length_chosen:,.0f}", "characters"),
            ("mean length, rejected", f"{self.mean_length_rejected:,.0f}", "characters"),
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
            rows.append(
                (f"chosen is not the best by {score}", f"{n:,}", f"{n / max(of, 1):.1%} of {of:,}")
            )
        for model in sorted(self.chosen_by_model | self.rejected_by_model):
            won, lost = self.chosen_by_model[model], self.rejected_by_model[model]
            rows.append(
                (
                    f"model {model}",
                    f"{won:,} chosen, {lost:,} rejected",
                    f"chosen in {won / (won + lost):.1%}",
                )
            )
        return rows


def audit(preferences: Iterable[dict], *, feedback: Iterable[dict] | None = None) -> Audit:
    """Count what a reader should know of a preference set before training on it.

    Args:
        preferences: preference records (the flat form too).
        feedback: the feedback they were made from, if at hand: the faulty tens are found from its
            aspect ratings, and how many chosen answers another score would not have chosen.

    Returns:
        `Audit`, which prints as a table.

    Raises:
        RecordError: a row is no record of its kind.
    """
    found = Audit()
    known = _read_feedback(feedback) if feedback is not None else None
    n_faulty_chosen, not_best, rated = 0, Counter(), Counter()
    pairs: set[int] = set()
    prompts: set[str] = set()
    lengths: list[tuple[int, int]] = []
    gaps: list[float] = []
    for number, record in enumerate(preferences, start=1):
        pair = check_preference(record, f"pair {number}")
        chosen, rejected = pair["chosen"][-1]["content"], pair["rejected"][-1]["content"]
        faults = pair_faults(pair)
        found.n_pairs += 1
        found.n_ties += "tied" in faults
        found.n_reversed += "reversed" in faults
        found.n_identical += "identical" in faults
        found.n_empty_chosen += "empty_chosen" in faults
        found.n_empty_rejected += "empty_rejected" in faults
        found.n_empty += "empty_chosen" in faults or "empty_rejected" in faults
        # 64-bit hashes of the three texts: at 64,000 pairs two different ones meet in one set of
        # ten billion.
        key = hash((pair["prompt"], chosen, rejected))
        found.n_duplicates += key in pairs
        pairs.add(key)
        found.n_repeated_prompts += pair["prompt"] in prompts
        prompts.add(pair["prompt"])
        lengths.append((len(chosen), len(rejected)))
        gaps.append(pair["score_chosen"] - pair["score_rejected"])
        found.scores_chosen[pair["score_chosen"]] += 1
        found.scores_rejected[pair["score_rejected"]] += 1
        found.chosen_by_model.update([pair["chosen_model"]] if "chosen_model" in pair else [])
        found.rejected_by_model.update([pair["rejected_model"]] if "rejected_model" in pair else [])
        if known is not None:
            answer = hash((pair["prompt"], chosen))
            n_faulty_chosen += answer in known.faulty
            for score, best in known.best.items():
                if hash(pair["prompt"]) in known.rated[score]:
                    rated[score] += 1
                    not_best[score] += answer not in best
    if lengths:
        both = np.array(lengths)
        found.mean_length_chosen, found.mean_length_rejected = map(float, both.mean(axis=0))
        found.share_chosen_longer = float((both[:, 0] > both[:, 1]).mean())
        found.share_same_length = float((both[:, 0] == both[:, 1]).mean())
        found.mean_gap, found.median_gap = float(np.mean(gaps)), float(np.median(gaps))
    if known is not None:
        found.tens = Tens(**known.tens, n_chosen=n_faulty_chosen)
        found.chosen_not_best = {score: (not_best[score], rated[score]) for score in known.best}
    return found


class _Known:
    """What the feedback says of its answers. Texts are kept as hashes: of the prompt, or of prompt
    and answer.
    """

    def __init__(self) -> None:
        self.tens = {"n": 0, "n_faulty": 0, "n_doubtful": 0}
        self.faulty: set[int] = set()
        self.best: dict[str, set[int]] = {score: set() for score in SCORES}
        self.rated: dict[str, set[int]] = {score: set() for score in SCORES}

    def add(self, prompt: str, answers: list[dict]) -> None:
        keys = [hash((prompt, answer["response"])) for answer in answers]
        scores = {name: [rate(answer) for answer in answers] for name, rate in SCORES.items()}
        for name, values in scores.items():
            rated = [value for value in values if value is not None]
            if rated:
                best = max(rated)
                self.rated[name].add(hash(prompt))
                # Of a prompt that several rows have, each row's best counts.
                self.best[name].update(
                    key for key, value in zip(keys, values, strict=True) if value == best
                )
        for key, mean, overall in zip(keys, scores["mean"], scores["overall"], strict=True):
            if overall == 10:
                self.tens["n"] += 1
                if mean is not None and mean <= FAULTY_MEAN:
                    self.tens["n_faulty"] += 1
                    self.faulty.add(key)
                elif mean is not None and mean <= SOUND_MEAN:
                    self.tens["n_doubtful"] += 1


def _read_feedback(feedback: Iterable[dict]) -> _Known:
    known = _Known()
    for number, record in enumerate(feedback, start=1):
        try:
            known.add(record["instruction"], record["completions"])
        except (KeyError, TypeError, AttributeError):
            check_feedback(record, f"row {number}")  # says what is wrong with the row
            raise
    return known


def _spread(scores: Counter) -> tuple[str, str]:
    if not scores:
        return "", ""
    values, counts = np.array(sorted(scores.items())).T
    mean, n = float(values @ counts / counts.sum()), counts.cumsum()
    low, middle, high = (values[np.searchsorted(n, q * n[-1])] for q in (0.25, 0.5, 0.75))
    return (
        f"{mean:.3f}",
        f"{values[0]:g} to {values[-1]:g}, quartiles {low:g}, {middle:g}, {high:g}",
    )


@dataclass(repr=False)
class StrategyComparison(_Table):
    """Policies side by side on the same feedback.

    Attributes:
        n_rows: rows of feedback.
        n_pairs, n_ties, n_set_aside: by policy, its pairs, those of equal score, and the rows
            without a pair.
        changed: for two policies, (rows in which the chosen answer differs, rows that both use).
    """

    n_rows: int
    n_pairs: dict[str, int] = field(default_factory=dict)
    n_ties: dict[str, int] = field(default_factory=dict)
    n_set_aside: dict[str, int] = field(default_factory=dict)
    changed: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    title = "Policies on the same feedback; last columns: chosen answers that change"

    @property
    def header(self) -> tuple[str, ...]:  # type: ignore[override]
        return (
            "policy",
            "pairs",
            "ties",
            "rows set aside",
            *(f"against {name}" for name in self.n_pairs),
        )

    def rows(self) -> list[tuple[str, ...]]:
        return [
            (
                name,
                f"{self.n_pairs[name]:,}",
                f"{self.n_ties[name]:,}",
                f"{self.n_set_aside[name]:,}",
                *(self._cell(name, other) for other in self.n_pairs),
            )
            for name in self.n_pairs
        ]

    def _cell(self, name: str, other: str) -> str:
        if name == other:
            return "-"
        n, of = self.changed[name, other]
        return f"{n:,} ({n / of:.1%})" if of else "no row in common"


def compare_strategies(
    feedback: Iterable[dict], policies: Mapping[str, Mapping[str, Any]] = STRATEGIES
) -> StrategyComparison:
    """Binarize the same feedback under several policies and count the chosen answers that change.

    An answer counts as changed if its text or its model differs.

    Args:
        feedback: feedback records.
        policies: a name for each set of `binarize`'s options, such as ``{"score": "mean",
            "rejected": "lowest"}``.
    """
    feedback = list(feedback)
    result = StrategyComparison(len(feedback))
    chosen: dict[str, dict[int, tuple[str, str]]] = {}
    for name, options in policies.items():
        made = binarize(feedback, **options)  # one set of pairs at a time, for the memory's sake
        chosen[name] = {
            row: (pair["chosen_model"], pair["chosen"][-1]["content"])
            for row, pair in zip(made.rows, made.pairs, strict=True)
        }
        result.n_pairs[name], result.n_set_aside[name] = len(made.pairs), len(made.set_aside)
        result.n_ties[name] = sum(
            pair["score_chosen"] == pair["score_rejected"] for pair in made.pairs
        )
    for first, second in itertools.product(policies, repeat=2):
        common = chosen[first].keys() & chosen[second].keys()
        n_changed = sum(chosen[first][row] != chosen[second][row] for row in common)
        result.changed[first, second] = (n_changed, len(common))
    return result
