"""Chapter 09's exercise of packing: best-fit decreasing, and the ways to miss it."""

from collections.abc import Callable, Sequence

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise


def _packed(
    lengths: Sequence[int], context: int, order: int = -1, fit: str = "best"
) -> list[list[int]]:
    """Sequences of row numbers. `order`: -1 longest first, 1 shortest first, 0 as they come; of
    equal lengths the earlier first. `fit`: the best, first, worst or last sequence with room.
    """
    sequences: list[list[int]] = []
    room: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: order * lengths[row]):
        looked_at = range(len(room))[-1:] if fit == "last" else range(len(room))
        fitting = [n for n in looked_at if room[n] >= lengths[row]]
        if not fitting:
            fitting = [len(room)]
            sequences.append([])
            room.append(context)
        choose = {"best": min, "worst": max}.get(fit)
        n = choose(fitting, key=lambda n: room[n]) if choose else fitting[0]
        sequences[n].append(row)
        room[n] -= lengths[row]
    return sequences


def _best_fit(lengths: Sequence[int], context: int) -> list[list[int]]:
    return _packed(lengths, context)


def _fills(sequences: list[list[int]], lengths: Sequence[int]) -> list[int]:
    """Tokens per sequence, in order of size: ties between rows may be broken either way."""
    return sorted(sum(lengths[row] for row in rows) for rows in sequences)


# What a packing differs in, by the message about it: the order of the rows, and the fit.
_MISTAKES = {
    "This looks at the last sequence alone; an earlier one may have room.": (-1, "last"),
    "This takes the rows in the order of the data; the longest go first.": (0, "best"),
    "This takes the rows shortest first; the longest are the hardest to place.": (1, "best"),
    "This takes the first sequence with room; take the fullest that has room.": (-1, "first"),
    "This takes the emptiest sequence; take the fullest that has room.": (-1, "worst"),
}


@exercise(
    "09_scaling_up",
    right="No row is cut, and what is left over is the padding that packing cannot avoid.",
    solution=_best_fit,
    wrong={
        "each a list": lambda lengths, context: len(_packed(lengths, context)),
        "These are lengths": lambda lengths, context: [
            [lengths[row] for row in rows] for rows in _packed(lengths, context)
        ],
        "in no sequence": lambda lengths, context: _packed(lengths, context)[:-1],
        "twice": lambda lengths, context: [*_packed(lengths, context), [0]],
        "no such rows": lambda lengths, context: [*_packed(lengths, context), [len(lengths)]],
        "more than the context": lambda lengths, context: [list(range(len(lengths)))],
        "in the order of the data": lambda lengths, context: _packed(lengths, context, 0),
        "shortest first": lambda lengths, context: _packed(lengths, context, 1),
        "first sequence with room": lambda lengths, context: _packed(lengths, context, fit="first"),
        "emptiest": lambda lengths, context: _packed(lengths, context, fit="worst"),
        "last sequence alone": lambda lengths, context: _packed(lengths, context, fit="last"),
        "a sequence of its own": lambda lengths, context: [[n] for n in range(len(lengths))],
    },
)
def check_pack(fn: Callable[[Sequence[int], int], list[list[int]]]) -> None:
    """``fn(lengths, context) -> sequences`` of row numbers, by best-fit decreasing: rows longest
    first, each into the fullest sequence that has room for it.
    """
    for lengths, context in (([20, 50, 65, 30, 85, 5, 80], 100), ([3, 9, 5, 4, 6, 2, 7, 3, 8], 12)):
        fills = _fills(_whole(attempt(fn, lengths, context), lengths), lengths)
        if max(fills) > context:
            raise Wrong(f"A sequence has {max(fills)} tokens, more than the context of {context}.")
        mistakes = {
            message: _fills(_packed(lengths, context, order, fit), lengths)
            for message, (order, fit) in _MISTAKES.items()
        }
        mistakes["This gives each row a sequence of its own: nothing is packed."] = sorted(lengths)
        compare(
            fills,
            _fills(_packed(lengths, context), lengths),
            mistakes,
            f"Lengths {lengths} in a context of {context}: tokens per sequence, by size.",
        )


def _whole(answer: object, lengths: Sequence[int]) -> list[list[int]]:
    """The answer as lists of row numbers, if each row is in it once."""
    try:
        sequences = [[int(row) for row in rows] for rows in answer]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise Wrong("Return a list of sequences, each a list of row numbers.") from None
    rows = sorted(row for sequence in sequences for row in sequence)
    if rows == sorted(lengths):
        raise Wrong("These are lengths; return row numbers, the places in `lengths`.")
    for row in range(len(lengths)):
        if rows.count(row) != 1:
            how = "in the sequences twice" if row in rows else "in no sequence"
            raise Wrong(f"Of lengths {list(lengths)}, row {row} is {how}.")
    if len(rows) != len(lengths):
        raise Wrong(f"There are no such rows: {rows[0]} to {rows[-1]} of {len(lengths)}.")
    return sequences
