"""The order of a log's rows: resumed runs log steps twice, exports are sorted backwards."""

import math
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter

from zephyr_utils.diagnostics.log_columns import Cells
from zephyr_utils.diagnostics.log_names import LogKind

Row = tuple[float, Cells]  # its step (NaN if it has none) and its numbers


def in_order(rows: Sequence[Row], kind: LogKind) -> tuple[list[Row], list[str]]:
    """The rows of one kind in the order of their steps, each step once.

    A run that was resumed from a checkpoint logs the steps after it a second time, and the model
    descends from the second pass: of rows with one step the last one is kept, and where steps go
    backwards the rows that the later pass repeats are left out.

    Returns:
        The rows kept, and a sentence for each kind of disorder.
    """
    kept, warnings = list(rows), []
    steps = [step for step, _ in rows]
    placeless = [number for number, step in enumerate(steps, start=1) if math.isnan(step)]
    if 0 < len(placeless) < len(steps):
        text = f"{len(placeless)} of {len(steps)} {kind} rows are without a step (the first: row "
        warnings.append(f"{text}{placeless[0]}), and are judged in the order of the file")
    if len(steps) > 2 and all(later < earlier for earlier, later in pairwise(steps)):
        warnings.append(f"the {kind} rows are in reverse order, the last step first")
        kept.reverse()
    placed: list[tuple[int, Row]] = []  # of the rows with a step, each with its number in the file
    aside: list[tuple[int, Row]] = []
    returns: list[tuple[float, float]] = []
    repeated: list[float] = []
    for number, row in enumerate(kept):
        step, last = row[0], placed[-1][1][0] if placed else -math.inf
        if step < last:
            returns.append((last, step))
        elif step == last:
            repeated.append(step)
        while placed and placed[-1][1][0] >= step:  # each row is taken away once at most
            placed.pop()
        (aside if math.isnan(step) else placed).append((number, row))
    ordered = [row for _, row in sorted(placed + aside, key=itemgetter(0))]
    if returns:
        (last, first), times = returns[0], f"{len(returns)} times, the first time "
        text = f"the {kind} steps go backwards {times if len(returns) > 1 else ''}from {last:g} to"
        warnings.append(
            f"{text} {first:g}: a resumed run, or two runs in one log; of the steps logged twice, "
            f"only the last pass is judged"
        )
    # A final evaluation after the training repeats the last step, and is not a disorder.
    if kind == "evaluation" and repeated and repeated[-1] == ordered[-1][0]:
        repeated.pop()
    if repeated:
        text = f"{len(repeated)} {kind} rows have the step of the row before, the first at step"
        warnings.append(
            f"{text} {repeated[0]:g}: several processes or evaluation sets wrote into one log; "
            "only the last of them is judged"
        )
    return ordered, warnings
