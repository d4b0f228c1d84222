"""The DPO loss to experiment with: beta, the margin, and labels that may be reversed.

The formulas, for one margin at a time, are in ``dpo_loss.js``, which draws them; a test holds them
against those of ``objectives``. Notation as there: margin m = beta * (h_w - h_l), noise e.
"""

import math
from collections.abc import Sequence
from typing import Any

import traitlets

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.common import Explorer, script

KINDS = ("sigmoid", "conservative", "robust")  # names as in objectives.LOSSES
MOST_NOISE = 0.4  # at one half a label says nothing, and the robust loss divides by zero
MOST_PAIRS = 2000  # drawn at most; they are in the page


class DpoLoss(Explorer):
    """Loss and pull against the difference of log-ratios, for a beta, a kind of loss and a noise.

    Attributes:
        beta: DPO's beta, from 0.01 to 1.
        difference: h_w - h_l of the pair that is shown, in nats, from -60 to 60.
        kind: one of `KINDS`.
        noise: e of the conservative and the robust loss, from 0 to `MOST_NOISE`.
        pairs: h_w - h_l of real pairs, in nats: drawn as a histogram and summed up; may be empty.
    """

    _esm = script("dpo_loss")

    beta = traitlets.Float(0.1).tag(sync=True)
    difference = traitlets.Float(10.0).tag(sync=True)
    kind = traitlets.Enum(KINDS, "sigmoid").tag(sync=True)
    noise = traitlets.Float(0.1, min=0, max=MOST_NOISE).tag(sync=True)
    pairs: "traitlets.List[float]" = traitlets.List(traitlets.Float()).tag(sync=True)

    def __init__(self, pairs: Sequence[float] = (), **values: Any) -> None:
        """Raises HandbookError where a pair's difference is not a finite number."""
        numbers = [round(float(pair), 3) for pair in pairs]
        if bad := [number for number in numbers if not math.isfinite(number)]:
            raise HandbookError(
                f"{len(bad)} of {len(numbers)} differences are NaN or infinite",
                where="DpoLoss(pairs=...)",
                remedy="look at those pairs: an empty answer, or an overflow in half precision",
            )
        if len(numbers) > MOST_PAIRS:
            raise HandbookError(
                f"{len(numbers)} pairs are more than the {MOST_PAIRS} that a page should hold",
                where="DpoLoss(pairs=...)",
                remedy=f"give a random {MOST_PAIRS} of them",
            )
        super().__init__(pairs=numbers, **values)
