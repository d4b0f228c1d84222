"""The reward microscope: token by token, how far dDPO moved the log-probabilities of two answers.

Everything is computed in the reader's browser, for the pairs that are given and for any text that
the reader types in their place.
"""

from collections.abc import Sequence
from typing import Any

import traitlets

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.common import script
from zephyr_utils.explorers.live import LiveExplorer
from zephyr_utils.explorers.weights import BrowserModels


class Microscope(LiveExplorer):
    """Two answers to one prompt under policy and reference: the log-ratio of each token, the
    implicit rewards, the margin, the loss and the gradient's weight (DPO, equations 5 and 7).

    Args:
        packed: the models, as a browser reads them; `policy` and `reference` are among them.
        pairs: preference records to choose from; the first is shown at the start. Of each the last
            question and its two answers are taken.
        beta: that the policy was trained with.
        values: `policy` and `reference`, where they are not dDPO and dSFT.

    Attributes:
        pairs: ``[{prompt, chosen, rejected}]``, as texts.
        shown: next tokens whose probabilities are listed for each token.

    Raises:
        HandbookError: no pair is given, or the models lack policy or reference.
    """

    _esm = script("microscope")

    pairs: "traitlets.List[dict[str, str]]" = traitlets.List().tag(sync=True)
    beta = traitlets.Float().tag(sync=True)
    policy = traitlets.Unicode("dDPO").tag(sync=True)
    reference = traitlets.Unicode("dSFT").tag(sync=True)
    shown = traitlets.Int(5).tag(sync=True)

    def __init__(
        self, packed: BrowserModels, pairs: Sequence[dict], beta: float, **values: Any
    ) -> None:
        texts = [
            {
                "prompt": pair["chosen"][-2]["content"],
                "chosen": pair["chosen"][-1]["content"],
                "rejected": pair["rejected"][-1]["content"],
            }
            for pair in pairs
        ]
        super().__init__(packed, pairs=texts, beta=beta, **values)
        names = {model["name"] for model in packed.header["models"]}
        missing = sorted({self.policy, self.reference} - names)
        if missing or not texts:
            raise HandbookError(
                f"there is no model {missing[0]!r}" if missing else "there is no pair to show",
                where="Microscope explorer",
                remedy=f"name two of {', '.join(sorted(names))}, and give a pair at least",
            )
