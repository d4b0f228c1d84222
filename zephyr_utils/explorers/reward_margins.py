"""Reward margins pair by pair: which pairs a run learned, and what the two answers say."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from zephyr_utils.diagnostics import RewardMargins
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.common import Explorer, script, shortened

MOST_PAIRS = 200  # embedded in the page
LONGEST_TEXT = 400  # characters of a prompt or an answer
SETTLED = 2.2  # ln 9: a pair with a margin above it pulls with less than a tenth of its full weight
FILTERS = {
    "all": "all pairs",
    "learned": "learned: margin above 0",
    "not": "not learned: margin 0 or below",
    "large": f"large: margin above {SETTLED}, hardly pulls any more",
    "fallen": "learned, though the chosen answer became less likely",
}
ORDERS = {
    "margin": "margin, lowest first",
    "margin_down": "margin, highest first",
    "chosen": "reward of the chosen answer, lowest first",
    "gap": "teacher's score gap, smallest first",
}


def picked(margins: ArrayLike) -> list[int]:
    """Indices of at most `MOST_PAIRS` pairs, in their own order: all, or evenly spaced by margin,
    both ends among them.

    Evenly spaced in rank, so that the shares on the page are those of the whole set to within a
    pair or two.
    """
    order = np.argsort(np.asarray(margins, float), kind="stable")
    if order.size > MOST_PAIRS:
        order = order[np.linspace(0, order.size - 1, MOST_PAIRS).round().astype(int)]
    return sorted(order.tolist())


class Margins(Explorer):
    """A table and a scatter of implicit rewards: sort, filter, read a pair with its rewards.

    Args:
        pairs: preference records (``prompt``, ``chosen``, ``rejected``, scores where known).
        rewards: their rewards, from `rewards.reward_margins`, in the same order.
        groups: a word for each pair, such as its category; the reader can filter by it.
        notes: a sentence for each pair, shown below it; may be empty.
        show: the filter the page opens with, one of `FILTERS`.
        order: the order it opens with, one of `ORDERS`.

    Attributes:
        pairs: ``[{number, prompt, chosen, rejected, r_chosen, r_rejected, score_chosen,
            score_rejected, group, note}]``, at most `MOST_PAIRS`; ``number`` is the place in what
            was given, from 0.
        total: how many pairs were given.
        selected: the number of the pair that is read; -1 before any is.

    Raises:
        HandbookError: unequal numbers of pairs, rewards, groups or notes.
    """

    _esm = script("reward_margins")

    pairs: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    total = traitlets.Int().tag(sync=True)
    show = traitlets.Enum(tuple(FILTERS), "all").tag(sync=True)
    order = traitlets.Enum(tuple(ORDERS), "margin").tag(sync=True)
    group = traitlets.Unicode("").tag(sync=True)
    selected = traitlets.Int(-1).tag(sync=True)
    filters = traitlets.Dict(FILTERS).tag(sync=True)
    orders = traitlets.Dict(ORDERS).tag(sync=True)
    settled = traitlets.Float(SETTLED).tag(sync=True)

    def __init__(
        self,
        pairs: Sequence[dict],
        rewards: RewardMargins,
        groups: Sequence[str] | None = None,
        notes: Sequence[str] | None = None,
        **values: Any,
    ) -> None:
        given = {"rewards": rewards.margins, "groups": groups, "notes": notes}
        for name, column in given.items():
            if column is not None and len(column) != len(pairs):
                raise HandbookError(
                    f"{len(pairs)} pairs, but {len(column)} {name}",
                    where="Margins explorer",
                    remedy="give one for each pair, in the same order",
                )
        rows = [
            {
                "number": i,
                "prompt": shortened(pairs[i]["chosen"][-2]["content"], LONGEST_TEXT),
                "chosen": shortened(pairs[i]["chosen"][-1]["content"], LONGEST_TEXT),
                "rejected": shortened(pairs[i]["rejected"][-1]["content"], LONGEST_TEXT),
                "r_chosen": round(float(rewards.chosen[i]), 4),
                "r_rejected": round(float(rewards.rejected[i]), 4),
                "score_chosen": pairs[i].get("score_chosen"),
                "score_rejected": pairs[i].get("score_rejected"),
                "group": groups[i] if groups is not None else "",
                "note": notes[i] if notes is not None else "",
            }
            for i in picked(rewards.margins)
        ]
        super().__init__(pairs=rows, total=len(pairs), **values)
