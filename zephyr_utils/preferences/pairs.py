"""A set of preference pairs with the account of its rows, and what makes a pair useless."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from zephyr_utils.data.completions import TEXT_IS_STRUCTURE
from zephyr_utils.data.counts import RowCounts, SetAside
from zephyr_utils.data.structure import BROKEN_STRUCTURE
from zephyr_utils.data.templates import TEMPLATED_TEXT
from zephyr_utils.data.trace_counts import differences
from zephyr_utils.data.types import Preference
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences.ratings import OUT_OF_RANGE, UNREADABLE

LEAKED = "leaked_question"
_ADVICE = {
    "all_tied": "all answers of a row have the same score: take another score, or keep ties",
    "tied": "all answers of a row have the same score: take another score, or keep ties",
    "fewer_than_two_answers": "a pair needs two answers to a prompt: collect those of more models",
    "fewer_than_two_scores": "the answers are not rated: rate them (zephyr feedback --judge), or "
    "take the other score",
    OUT_OF_RANGE: "declare the judge's scale: --rating-scale 1-10",
    UNREADABLE: "write ratings as numbers",
    TEXT_IS_STRUCTURE: "write each answer's content alone, as text",
    BROKEN_STRUCTURE: "write each answer's content alone, as text",
    TEMPLATED_TEXT: "write the answers without a chat template's markers",
    LEAKED: "all prompts are questions of the exam: give feedback on other prompts",
}


@dataclass
class PreferenceSet:
    """Pairs, and what became of every row: ``n_rows == n_used + len(set_aside)``.

    Attributes:
        pairs: preference records, in the order of the rows.
        rows: for each pair the number of its row, from 0.
        set_aside: rows without a pair, each with its reason.
        n_used: rows with at least one pair.
        left_out: answers (not rows) of paired rows that were not used, by reason.
        n_repeated: rows whose prompt an earlier row has already; they are used like any other.
    """

    pairs: list[Preference] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    n_used: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    n_repeated: int = 0

    def __iter__(self) -> Iterator[Preference]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def n_rows(self) -> int:
        """Rows read."""
        return self.n_used + len(self.set_aside)

    def row_counts(self) -> RowCounts:
        """Rows in = rows used + rows set aside, by reason."""
        return RowCounts.of(self.n_used, self.set_aside)

    def reasons(self) -> Counter[str]:
        """How many rows were set aside, by reason."""
        return self.row_counts().set_aside

    def report(self) -> str:
        """Rows in = rows out + rows set aside, with the reasons, and the pairs they make."""
        lines = [*self.row_counts().report().splitlines(), f"{len(self.pairs):,} pairs"]
        lines += [
            f"  {n:,} answers left out: {reason}" for reason, n in sorted(self.left_out.items())
        ]
        if self.n_repeated:
            lines.append(f"  {self.n_repeated:,} rows repeat the prompt of an earlier one (used)")
        lines += [f"  note: {warning}" for warning in differences(self.pairs)]
        return "\n".join(lines)

    def require_pairs(self, where: str, n_leaked: int = 0) -> Self:
        """This set, if there is a pair in it.

        Args:
            where: the feedback, for the message.
            n_leaked: rows that were left out before, because they ask a question of the exam.

        Raises:
            HandbookError: there is none; the likely cause is named.
        """
        if self.pairs:
            return self
        ranked = self.row_counts().ranked()
        if n_leaked:
            ranked = [*ranked, (LEAKED, n_leaked)]
        why = ", ".join(f"{n:,} x {reason}" for reason, n in ranked) or "there are no rows"
        first = f"; the first: {self.set_aside[0].detail}" if self.set_aside else ""
        raise HandbookError(
            f"no pair can be made of {self.n_rows + n_leaked:,} rows: {why}{first}",
            where=where,
            remedy=_ADVICE[ranked[0][0]] if ranked else "give rated answers",
        )


def pair_faults(pair: Preference) -> list[str]:
    """What makes a checked preference record useless for training, in a word each; mostly none.

    A pair without scores cannot be tied or reversed.
    """
    chosen, rejected = pair["chosen"][-1]["content"], pair["rejected"][-1]["content"]
    gap = score_gap(pair)
    faults = {
        "empty_chosen": not chosen.strip(),
        "empty_rejected": not rejected.strip(),
        "identical": chosen.strip() == rejected.strip(),
        "reversed": gap is not None and gap < 0,
        "tied": gap == 0,
    }
    return [name for name, present in faults.items() if present]


def score_gap(pair: Preference) -> float | None:
    """The score of the chosen answer less that of the rejected one; None for pairs without."""
    if "score_chosen" not in pair or "score_rejected" not in pair:
        return None
    return pair["score_chosen"] - pair["score_rejected"]
