"""More checks of chapter 02: the collator and its mask, positions of a packed row, the loss of a
log.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

Row = Mapping[str, list[int]]
Batch = dict[str, torch.Tensor]


def _collate(rows: Sequence[Row], pad_id: int) -> Batch:
    width = max(len(row["ids"]) for row in rows)
    ids = torch.full((len(rows), width), pad_id)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for line, row in enumerate(rows):
        length, tokens = len(row["ids"]), torch.tensor(row["ids"])
        ids[line, :length] = tokens
        mask[line, :length] = 1
        labels[line, :length] = tokens.where(torch.tensor(row["counts"]) == 1, -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _with_labels(change: Callable[[Batch], torch.Tensor]) -> Callable[[Sequence[Row], int], Batch]:
    """A collator that is right but for its labels."""

    def collate(rows: Sequence[Row], pad_id: int) -> Batch:
        batch = _collate(rows, pad_id)
        return batch | {"labels": change(batch)}

    return collate


def _inverted(rows: Sequence[Row], pad_id: int) -> Batch:
    return _collate(
        [{"ids": row["ids"], "counts": [1 - count for count in row["counts"]]} for row in rows],
        pad_id,
    )


def _left(rows: Sequence[Row], pad_id: int) -> Batch:
    flipped = [{name: values[::-1] for name, values in row.items()} for row in rows]
    return {name: values.flip(1) for name, values in _collate(flipped, pad_id).items()}


def _to_shortest(rows: Sequence[Row], pad_id: int) -> Batch:
    width = min(len(row["ids"]) for row in rows)
    return _collate(
        [{name: values[:width] for name, values in row.items()} for row in rows], pad_id
    )


def _all_attended(rows: Sequence[Row], pad_id: int) -> Batch:
    batch = _collate(rows, pad_id)
    return batch | {"attention_mask": torch.ones_like(batch["input_ids"])}


# The end of a turn is token 2, and here it pads, too: as with every model that has no pad token.
_END = 2
_ROWS: list[dict[str, list[int]]] = [
    {"ids": [11, 12, _END, 14, 15, _END], "counts": [0, 0, 0, 1, 1, 1]},
    {"ids": [11, 16, _END, 17, _END], "counts": [0, 0, 0, 1, 1]},
]
# What each slip makes of the rows, by the message that explains it.
_SLIPS: dict[str, Callable[[Sequence[Row], int], Any]] = {
    "The padding counts in the loss: its labels are -100, whatever token it is.": _with_labels(
        lambda batch: batch["labels"].where(batch["attention_mask"] == 1, batch["input_ids"])
    ),
    "You mask by token id, and here the end of a turn has the id of the padding: mask by position, "
    "or the student never learns to stop.": _with_labels(
        lambda batch: batch["labels"].masked_fill(batch["input_ids"] == _END, -100)
    ),
    "0 is a token of the vocabulary, which the model would learn to say; -100 is what the loss "
    "skips.": _with_labels(lambda batch: batch["labels"].clamp(min=0)),
    "Labels stand at the place of their own token; the loss does the shift by one "
    "itself.": _with_labels(
        lambda batch: torch.cat(
            [batch["labels"][:, 1:], torch.full((len(batch["labels"]), 1), -100)], dim=1
        )
    ),
    "Every token counts here: where `counts` is 0, the label is -100.": _with_labels(
        lambda batch: batch["input_ids"].where(batch["attention_mask"] == 1, -100)
    ),
    "This is the wrong way round: the user's words count, and the assistant's do not.": _inverted,
    "The padding is on the left; training pads on the right, so that each text begins at position "
    "0.": _left,
    "Rows are cut to the shortest one: pad to the longest, so that no answer loses its "
    "end.": _to_shortest,
    "The attention mask lets the model read the padding: it is 1 for tokens and 0 for "
    "padding.": _all_attended,
}
_PARTS = ("input_ids", "attention_mask", "labels")


def _stacked(batch: Batch) -> list[list[list[float]]]:
    return [batch[name].tolist() for name in _PARTS]


@exercise(
    "02_dsft",
    right="This is what a data collator does in every trainer: pad, say what is padding, and say "
    "which tokens count.",
    solution=_collate,
    wrong={
        words: next(slip for message, slip in _SLIPS.items() if words in message)
        for words in (
            "padding counts",
            "by token id",
            "0 is a token",
            "does the shift",
            "Every token counts",
            "wrong way round",
            "on the left",
            "cut to the shortest",
            "read the padding",
        )
    }
    | {
        "Return a dictionary": lambda rows, pad_id: _collate(rows, pad_id)["labels"],
        "tensor of whole numbers": lambda rows, pad_id: {
            name: values.float() for name, values in _collate(rows, pad_id).items()
        },
        "shape": lambda rows, pad_id: {
            name: values[:, 1:] for name, values in _collate(rows, pad_id).items()
        },
    },
)
def check_collate(fn: Callable[[Sequence[Row], int], Batch]) -> None:
    """``fn(rows, pad_id) -> batch``: rows have ``ids`` and ``counts`` (1 where a token counts in
    the loss); the batch has input_ids, attention_mask and labels, each (rows, longest).
    """
    batch = attempt(fn, _ROWS, _END)
    if not isinstance(batch, dict) or set(batch) != set(_PARTS):
        raise Wrong(f"Return a dictionary with {', '.join(_PARTS)}.")
    for name in _PARTS:
        values = batch[name]
        if not isinstance(values, torch.Tensor) or values.dtype != torch.long:
            raise Wrong(f"{name} has to be a tensor of whole numbers (torch.long).")
    got, expected = _stacked(batch), _stacked(_collate(_ROWS, _END))
    mistakes = {message: _stacked(slip(_ROWS, _END)) for message, slip in _SLIPS.items()}
    for name, part, wanted in zip(_PARTS, got, expected, strict=True):
        if part != wanted:
            shape = tuple(batch[name].shape)
            compare(
                got, expected, mistakes,
                f"{name} is wrong; its shape is {shape}, of {len(_ROWS)} rows up to 6 tokens long.",
            )  # fmt: skip


def _positions(lengths: list[int]) -> list[int]:
    return [place for length in lengths for place in range(length)]


@exercise(
    "02_dsft",
    right="From positions that start again, transformers knows where a text ends, and masks it "
    "from its neighbours.",
    solution=_positions,
    wrong={
        "run on": lambda lengths: list(range(sum(lengths))),
        "start at 0": lambda lengths: [place + 1 for place in _positions(lengths)],
        "which text": lambda lengths: [
            n for n, length in enumerate(lengths) for _ in range(length)
        ],
        "one flat list": lambda lengths: [list(range(length)) for length in lengths],
        "last position": lambda lengths: [
            place for length in lengths for place in range(length - 1)
        ],
    },
)
def check_packed_positions(fn: Callable[[list[int]], list[int]]) -> None:
    """``fn(lengths) -> positions``: one position per token of texts that are laid end to end."""
    lengths = [3, 2, 4]
    got = attempt(fn, lengths)
    if isinstance(got, list | tuple) and got and isinstance(got[0], list | tuple | range):
        raise Wrong("Return one flat list: the texts lie in one row.")
    mistakes = {
        "These positions run on, so the second text reads the first.": list(range(9)),
        "Positions start at 0, as they do in a text that is read alone.": [
            place + 1 for place in _positions(lengths)
        ],
        "This says which text a token belongs to, and not where in it the token stands.": [
            0, 0, 0, 1, 1, 2, 2, 2, 2
        ],
        "Each text lacks its last position: a text of n tokens has positions 0 to n - "
        "1.": [0, 1, 0, 0, 1, 2],
    }  # fmt: skip
    compare(got, _positions(lengths), mistakes, "Start again at 0 with each text.")


def _log_loss(log: Sequence[Mapping[str, float]]) -> float:
    tokens = np.diff([0, *(entry["num_tokens"] for entry in log)])
    return float(sum(tokens * [entry["loss"] for entry in log]) / tokens.sum())


def _by_running_count(log: Sequence[Mapping[str, float]]) -> float:
    counts = [entry["num_tokens"] for entry in log]
    return sum(c * entry["loss"] for c, entry in zip(counts, log, strict=True)) / sum(counts)


_LOG = [
    {"step": 10, "loss": 2.2, "num_tokens": 1000},
    {"step": 20, "loss": 1.0, "num_tokens": 4000},
    {"step": 30, "loss": 0.5, "num_tokens": 4500},
]


@exercise(
    "02_dsft",
    right="Weighed by tokens, the figures of a log can be compared with a held-out loss.",
    solution=_log_loss,
    wrong={
        "plain mean": lambda log: float(np.mean([entry["loss"] for entry in log])),
        "running count": _by_running_count,
        "last figure": lambda log: log[-1]["loss"],
        "divide by the tokens": lambda log: _log_loss(log) * log[-1]["num_tokens"],
        "first entry": lambda log: float(
            (log[1]["loss"] * 3000 + log[2]["loss"] * 500) / log[2]["num_tokens"]
        ),
    },
)
def check_log_loss(fn: Callable[[Sequence[Mapping[str, float]]], float]) -> None:
    """``fn(log) -> loss``: nats per token over all entries; each has ``loss``, the mean since the
    entry before, and ``num_tokens``, the tokens of the run up to then.
    """
    mistakes = {
        "This is the plain mean of the entries: a stretch of few tokens weighs as much as one of "
        "many.": np.mean([2.2, 1.0, 0.5]),
        "num_tokens is a running count: the weight of an entry is its difference to the one "
        "before.": _by_running_count(_LOG),
        "This is the last figure, which describes the last rows alone.": 0.5,
        "This is the sum; divide by the tokens of all entries.": _log_loss(_LOG) * 4500,
        "The first entry is left out: its tokens are counted from 0.": (3000 + 250) / 4500,
        "The first entry is left out: its tokens are counted from 0 as well.": (3000 + 250) / 3500,
    }
    compare(attempt(fn, _LOG), _log_loss(_LOG), mistakes, "Loss times tokens, over all tokens.")
