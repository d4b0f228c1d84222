"""Which rows a training takes, which it sets aside, and which it keeps back to measure on."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from zephyr_utils.chat import encode
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences import pair_faults


@dataclass
class FittedRows:
    """Rows that fit the context, and the books: ``rows_in == len(rows) + sum(set_aside.values())``.

    Attributes:
        rows: what is trained on or measured on.
        set_aside: reason -> count.
        shortened: rows kept of which the last exchanges were left out.
    """

    rows: list[dict]
    set_aside: Counter = field(default_factory=Counter)
    shortened: int = 0

    @property
    def rows_in(self) -> int:
        return len(self.rows) + sum(self.set_aside.values())

    def row_counts(self) -> dict[str, Any]:
        """The counts as an artefact's results keep them: ``rows_in == rows_out + rows_set_aside``."""
        aside = dict(self.set_aside)
        counts = {
            "rows_in": self.rows_in,
            "rows_out": len(self.rows),
            "rows_set_aside": sum(aside.values()),
        }
        return {**counts, "set_aside": aside, "shortened": self.shortened}

    def report(self) -> str:
        """One line: rows in, rows kept, and why the others were not."""
        why = ", ".join(
            f"{count} {reason.replace('_', ' ')}" for reason, count in self.set_aside.most_common()
        )
        shorter = (
            f" ({self.shortened} of them shortened to whole exchanges)" if self.shortened else ""
        )
        return f"{self.rows_in} rows in, {len(self.rows)} kept{shorter}, set aside: {why or 'none'}"


def fit_dialogues(tokenizer, dialogues: list[dict], max_length: int) -> FittedRows:
    """Shorten dialogues to the whole exchanges that fit into `max_length` tokens; set aside what
    never fits.

    Cutting in mid-answer would lose the end-of-sequence token, and with it the lesson of when to
    stop.
    """
    fitted = FittedRows([])
    for dialogue in dialogues:
        messages = dialogue["messages"]
        kept = _whole_exchanges(tokenizer, messages, max_length)
        if not kept:
            fitted.set_aside["first_exchange_too_long"] += 1
            continue
        fitted.shortened += len(kept) < len(messages)
        fitted.rows.append({**dialogue, "messages": kept})
    return fitted


def _whole_exchanges(tokenizer, messages: list[dict], max_length: int) -> list[dict]:
    kept = messages
    while kept and len(encode(tokenizer, kept)[0]) > max_length:
        kept = kept[:-2] if kept[-1]["role"] == "assistant" else kept[:-1]
    return kept if any(message["role"] == "assistant" for message in kept) else []


def fit_pairs(tokenizer, pairs: list[dict], max_length: int, ties: str = "drop") -> FittedRows:
    """Set aside pairs that teach nothing (`preferences.pair_faults`) or take more than `max_length`
    tokens.

    With ties ``keep``, pairs of equal score stay: how the published set was made, and an ablation
    of ours.

    An over-long row is never cut: it would lose the end of its answers, and the token that ends
    them.
    """
    fitted = FittedRows([])
    for pair in pairs:
        faults = [fault for fault in pair_faults(pair) if not (fault == "tied" and ties == "keep")]
        if (
            not faults
            and max(len(encode(tokenizer, pair[side])[0]) for side in ("chosen", "rejected"))
            > max_length
        ):
            faults = ["too_long"]
        if faults:
            fitted.set_aside[faults[0]] += 1
        else:
            fitted.rows.append(pair)
    return fitted


def hold_out(rows: list[dict], share: float = 0.05) -> tuple[list[dict], list[dict]]:
    """Split into (train, held out) by a hash of the prompt: the same row falls on the same side in
    every run.

    All rows of one prompt fall on one side, so no prompt is on both. Of a set so small that no
    prompt would fall out by itself, the one with the lowest hash is held out.

    Raises:
        HandbookError: there are fewer than two different prompts.
    """
    hashes = [int.from_bytes(hashlib.sha256(row["prompt"].encode()).digest()[:8]) for row in rows]
    if len(set(hashes)) < 2:
        raise HandbookError(
            f"{len(rows)} rows with {len(set(hashes))} different prompts leave none to measure on",
            remedy="give more rows: a few dozen different prompts at the least",
        )
    limit = max(share * 2**64, min(hashes) + 1)
    train = [row for row, number in zip(rows, hashes, strict=True) if number >= limit]
    held = [row for row, number in zip(rows, hashes, strict=True) if number < limit]
    return train, held


def hold_out_pairs(pairs: list[dict]) -> tuple[list[dict], list[dict]]:
    """`hold_out` a tenth; of fewer than a thousand three tenths, for an accuracy on twenty pairs
    says nothing.
    """
    return hold_out(pairs, 0.3 if len(pairs) < 1000 else 0.1)


def split_prompt(pair: dict) -> dict:
    """A preference as TRL wants it: the shared messages as `prompt`, the answers as one message
    each.
    """
    return {
        "prompt": pair["chosen"][:-1],
        "chosen": pair["chosen"][-1:],
        "rejected": pair["rejected"][-1:],
    }
