"""The numbers of a log that are none: logged as NaN or infinity, as null, or missing on the way."""

import math
from collections.abc import Sequence

from zephyr_utils.diagnostics.log_columns import Cells, is_core, is_metric
from zephyr_utils.diagnostics.log_names import LogKind


def check_values(
    rows: Sequence[tuple[float, Cells]], kind: LogKind, is_wide: bool
) -> tuple[list[str], list[str]]:
    """What is wrong with the numbers of one kind of rows, each with its step.

    Many writers store NaN as null, or as an empty cell. A loss, reward or log-probability that was
    a number before is therefore taken as diverged where it is null or stays empty to the end, and
    as a gap where a wide table has an empty cell in between.

    Args:
        rows: step and numbers of each row, in order.
        kind: for the sentences.
        is_wide: whether empty cells are the rule, as in a table with the columns of both kinds.

    Returns:
        Sentences about divergence ("step 300: training loss is nan"), and about gaps.
    """
    names = dict.fromkeys(name for _, cells in rows for name in cells)
    # KTO's batches may hold no chosen (or no rejected) answer, and then have no reward for it.
    is_kto = "kl" in names
    diverged: list[tuple[int, str]] = []
    gaps: list[str] = []
    for name in names:
        values = [(i, cells[name]) for i, (_, cells) in enumerate(rows) if name in cells]
        strange = [(i, v) for i, v in values if v is not None and not math.isfinite(v)]
        if is_core(name):
            diverged += [(i, f"{_place(rows, i)}: {kind} {name} is {v:g}") for i, v in strange]
            if name == "loss" or not is_kto:
                bad, missing = _empty_cells(values, is_wide)
                diverged += [(i, f"{_place(rows, i)}: {kind} {name} is {text}") for i, text in bad]
                absent = _absent(rows, name, is_card=is_wide)
                gaps += _gap(rows, f"{kind} {name}", sorted({*missing, *absent}))
        elif is_metric(name) and strange:
            # Mixed precision in fp16 skips its first steps so, which is normal.
            tail = _length_of_tail([v for _, v in values])
            if name == "grad_norm" and tail >= max(2, len(values) // 4):
                first, value = values[-tail]
                text = f"{_place(rows, first)}: {kind} {name} is {value} from here to the end"
                diverged.append((first, text))
                continue
            text = f"{kind} {name} is NaN or infinite in {len(strange)} of {len(values)} rows"
            gaps.append(f"{text} (the first: {_place(rows, strange[0][0])})")
    return [text for _, text in sorted(diverged)], gaps


def _length_of_tail(values: Sequence[float | None]) -> int:
    """How many of the last values are NaN or infinite."""
    tail = 0
    for value in reversed(values):
        if value is None or math.isfinite(value):
            break
        tail += 1
    return tail


def _empty_cells(
    values: Sequence[tuple[int, float | None]], is_wide: bool
) -> tuple[list[tuple[int, str]], list[int]]:
    """Of one column's empty cells those that mean divergence, with a word, and the others."""
    numbers = [i for i, value in values if value is not None]
    empty = [i for i, value in values if value is None]
    if not numbers:
        return ([] if is_wide or not empty else [(empty[0], "null in every row")]), []
    first, last = numbers[0], numbers[-1]
    if is_wide:
        to_the_end = [(i, "empty from here to the end") for i in empty if i > last]
        return to_the_end[:1], [i for i in empty if i < last]
    return [(i, "null") for i in empty if i > first], [i for i in empty if i < first]


def _absent(rows: Sequence[tuple[float, Cells]], name: str, is_card: bool) -> list[int]:
    """Rows without a column that other rows of their kind have.

    The first rows of a model card have no training loss yet, which is not a gap.
    """
    has = [name in cells for _, cells in rows]
    start = has.index(True) if is_card else 0
    return [i for i in range(start, len(rows)) if not has[i]]


def _gap(rows: Sequence[tuple[float, Cells]], what: str, missing: Sequence[int]) -> list[str]:
    if not missing:
        return []
    text = f"{what} is missing in {len(missing)} of {len(rows)} rows"
    return [f"{text} (the first: {_place(rows, missing[0])})"]


def _place(rows: Sequence[tuple[float, Cells]], i: int) -> str:
    step = rows[i][0]
    return f"row {i + 1}" if math.isnan(step) else f"step {step:g}"
