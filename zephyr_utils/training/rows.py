"""Which rows a training takes, which it sets aside, and which it keeps back to measure on."""

import bisect
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from transformers import PreTrainedTokenizerBase

from zephyr_utils.chat import encode, special_tokens_in
from zephyr_utils.data.fields import check_text
from zephyr_utils.data.types import Preference
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences import pair_faults
from zephyr_utils.tables import markdown_table

TABLE_STARTS_AT = 128  # tokens; the lengths of the table double from here


@dataclass
class FittedRows:
    """Rows that fit the context, and their accounting: ``rows_in == len(rows) +
    sum(set_aside.values())``.

    Attributes:
        rows: what is trained on or measured on.
        set_aside: reason -> count.
        shortened: rows kept of which the last exchanges were left out.
        special_tokens: special token of the tokenizer -> rows kept in which it stands as text; it
            is encoded as text there (`chat.special_tokens`).
        with_special_tokens: rows kept that hold any of these.
        opposed: pairs kept whose answers are in another pair kept the other way round.
        lengths: tokens of each row that came in and was measured, of a pair those of its longer
            side.
    """

    rows: list[Any]
    set_aside: Counter[str] = field(default_factory=Counter)
    shortened: int = 0
    special_tokens: Counter[str] = field(default_factory=Counter)
    with_special_tokens: int = 0
    opposed: int = 0
    lengths: list[int] = field(default_factory=list)

    @property
    def rows_in(self) -> int:
        return len(self.rows) + sum(self.set_aside.values())

    def row_counts(self) -> dict[str, Any]:
        """The counts for an artefact's results: ``rows_in == rows_out + rows_set_aside``."""
        aside = dict(self.set_aside)
        return {
            "rows_in": self.rows_in,
            "rows_out": len(self.rows),
            "rows_set_aside": sum(aside.values()),
            "set_aside": aside,
            "shortened": self.shortened,
            "with_special_tokens": self.with_special_tokens,
        }

    def report(self) -> str:
        """One line: rows in, rows kept, why the others were not, and what is special about some."""
        why = ", ".join(
            f"{count:,} {reason.replace('_', ' ')}"
            for reason, count in self.set_aside.most_common()
        )
        shorter = (
            f" ({self.shortened:,} of them shortened to whole exchanges)" if self.shortened else ""
        )
        kept = f"{len(self.rows):,} kept{shorter}"
        line = f"{self.rows_in:,} rows in, {kept}, set aside: {why or 'none'}"
        if self.opposed:
            line += (
                f"; {self.opposed} kept are opposed: the answer that is chosen in one is rejected "
                "in another"
            )
        if not self.with_special_tokens:
            return line
        tokens = ", ".join(token for token, _ in self.special_tokens.most_common(5))
        return f"{line}; {self.with_special_tokens} kept hold special tokens as text ({tokens})"

    def length_table(self, max_length: int) -> str:
        """How many of the measured rows fit whole into 128 tokens, 256, ... and `max_length`, as a
        Markdown table.
        """
        limits, limit = {max_length}, TABLE_STARTS_AT
        while limit < max(self.lengths, default=0):
            limits.add(limit)
            limit *= 2
        limits.add(limit)
        whole = {limit: sum(n <= limit for n in self.lengths) for limit in sorted(limits)}
        return markdown_table(
            ("tokens", "rows that fit whole", "share"),
            [
                (
                    f"{limit:,}" + (" (max_length)" if limit == max_length else ""),
                    f"{count:,}",
                    f"{100 * count / max(len(self.lengths), 1):.0f} %",
                )
                for limit, count in whole.items()
            ],
            numbers=(0, 1, 2),
        )

    def keep(self, row: Any, special_tokens: Mapping[str, int]) -> None:
        """Add a row, and count the special tokens in its contents."""
        self.rows.append(row)
        self.special_tokens.update(special_tokens.keys())
        self.with_special_tokens += bool(special_tokens)

    def require_rows(self, name: str) -> Self:
        """These rows, if there are any or none came in.

        Raises:
            HandbookError: all were set aside; the reasons are counted.
        """
        if self.rows or not self.rows_in:
            return self
        why = ", ".join(f"{n:,} x {reason}" for reason, n in self.set_aside.most_common())
        raise HandbookError(
            f"not one of {self.rows_in:,} {name} can be trained on: {why}",
            where=name,
            remedy="correct the rows, or raise max_length in the recipe if they are too long",
        )


def fit_dialogues(
    tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[Mapping[str, Any]], max_length: int
) -> FittedRows:
    """Shorten dialogues to the whole exchanges that fit into `max_length` tokens; set aside what
    never fits.

    Cutting in mid-answer would lose the end-of-sequence token, and with it the lesson of when to
    stop.

    Raises:
        HandbookError: not one fits.
    """
    fitted = FittedRows([])
    for dialogue in dialogues:
        messages = dialogue["messages"]
        length = len(encode(tokenizer, messages)[0]) if messages else 0
        fitted.lengths.append(length)
        kept = messages
        if length > max_length:
            kept = _whole_exchanges(tokenizer, _without_last(messages), max_length)
        if not any(message["role"] == "assistant" for message in kept):
            fitted.set_aside["first_exchange_too_long"] += 1
            continue
        fitted.shortened += len(kept) < len(messages)
        fitted.keep({**dialogue, "messages": kept}, special_tokens_in(tokenizer, kept))
    return fitted.require_rows("dialogues")


def _whole_exchanges(
    tokenizer: PreTrainedTokenizerBase, messages: list[Any], max_length: int
) -> list[Any]:
    """As many as fit, by bisection: each of several hundred exchanges would be encoded as often.

    A further exchange makes a dialogue longer; where a template has it shorten one (by the thoughts
    of earlier answers), some that would fit may be left out.
    """
    ends = [len(messages)]
    while ends[0]:
        ends.insert(0, len(_without_last(messages[: ends[0]])))
    fitting = bisect.bisect_right(
        ends, max_length, key=lambda end: len(encode(tokenizer, messages[:end])[0]) if end else 0
    )
    return messages[: ends[fitting - 1]]


def _without_last(messages: list[Any]) -> list[Any]:
    return messages[:-2] if messages[-1]["role"] == "assistant" else messages[:-1]


def fit_pairs(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Preference],
    max_length: int,
    ties: str = "drop",
) -> FittedRows:
    """Set aside pairs that teach nothing (`preferences.pair_faults`) or take more than `max_length`
    tokens.

    With ties ``keep``, pairs of equal score stay: how the published set was made, and an ablation
    of ours.

    An over-long row is never cut: it would lose the end of its answers, and the token that ends
    them.

    Raises:
        HandbookError: not one can be trained on.
    """
    fitted = FittedRows([])
    for pair in pairs:
        faults = [fault for fault in pair_faults(pair) if not (fault == "tied" and ties == "keep")]
        if not faults:
            length = max(len(encode(tokenizer, pair[side])[0]) for side in ("chosen", "rejected"))
            fitted.lengths.append(length)
            if length > max_length:
                faults = ["too_long"]
        if faults:
            fitted.set_aside[faults[0]] += 1
        else:
            messages = [*pair["chosen"], *pair["rejected"][-1:]]
            fitted.keep(pair, special_tokens_in(tokenizer, messages))
    sides = [(pair["prompt"], *_answers(pair)) for pair in fitted.rows]
    both_ways = set(sides) & {(prompt, rejected, chosen) for prompt, chosen, rejected in sides}
    fitted.opposed = sum(side in both_ways for side in sides)
    return fitted.require_rows("pairs")


def _answers(pair: Preference) -> tuple[str, str]:
    return pair["chosen"][-1]["content"], pair["rejected"][-1]["content"]


def hold_out(
    rows: list[Any], share: float = 0.05, wanted: int = 0, most: float = 0.5
) -> tuple[list[Any], list[Any]]:
    """Split into (train, held out) by a hash of the prompt: the same row falls on the same side in
    every run.

    All rows of one prompt fall on one side, so no prompt is on both. Of a set so small that one
    side would be empty, the prompt with the lowest hash is held out all the same, and the one with
    the highest trained on.

    Args:
        share: of the rows, about, that is held out.
        wanted: rows to hold out where `share` gives fewer.
        most: share of the rows that is not exceeded for the sake of `wanted`.

    Raises:
        HandbookError: there are fewer than two different prompts, or a prompt is not text that
            UTF-8 can hold.
    """
    prompts = [check_text(row["prompt"], f"row {n}, field prompt") for n, row in enumerate(rows, 1)]
    hashes = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in prompts]
    if len(set(hashes)) < 2:
        raise HandbookError(
            f"{len(rows)} rows with {len(set(hashes))} different prompts leave none to measure on",
            remedy="give more rows: a few dozen different prompts at the least",
        )
    share = max(share, min(wanted / len(rows), most))
    limit = min(max(share * 2**64, min(hashes) + 1), max(hashes))
    train = [row for row, number in zip(rows, hashes, strict=True) if number >= limit]
    held = [row for row, number in zip(rows, hashes, strict=True) if number < limit]
    return train, held


def hold_out_pairs(pairs: list[Any]) -> tuple[list[Any], list[Any]]:
    """`hold_out` a tenth; of few pairs up to two fifths, so that some 160 are measured: an accuracy
    on so many is known to within 8 points.
    """
    return hold_out(pairs, 0.1, wanted=160, most=0.4)


def split_prompt(pair: Mapping[str, Any]) -> dict[str, Any]:
    """A preference as TRL wants it: the shared messages as `prompt`, the answers as one message
    each.
    """
    return {
        "prompt": pair["chosen"][:-1],
        "chosen": pair["chosen"][-1:],
        "rejected": pair["rejected"][-1:],
    }
