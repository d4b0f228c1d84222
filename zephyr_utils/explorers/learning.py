"""Watch it learn: one slider over the checkpoints of a training and what lies beyond its end."""

from collections.abc import Sequence
from typing import Any

import traitlets

from zephyr_utils.explorers.common import script, shortened
from zephyr_utils.explorers.live import LiveExplorer
from zephyr_utils.explorers.weights import BrowserModels

CHECKPOINTS = "checkpoints"
LONGEST_TEXT = 200  # characters of a prompt or an answer of a pair


def model_at(step: int) -> str:
    """What the model after this step is called among the `checkpoints`."""
    return f"step {step}"


class Learning(LiveExplorer):
    """The answers of each checkpoint to the reader's question, beside what was measured of it:
    reward margins of held-out pairs and the share of right answers.

    After the last checkpoint the slider goes on with ExPO (arXiv 2404.16792): what the training
    changed, times 1 + a.

    Args:
        packed: the models, as a browser reads them.
        checkpoints: the adapters, named by `model_at`.
        measured: as ``pipeline.steps.checkpoints`` returns it.
        examples: questions that work.
        values: `longest`, where it is not to be the exam's, and `start`.

    Attributes:
        points: what was measured, in the order of the slider: ``[{step, factor, model, margin,
            accuracy, right, right_low, right_high, margins}]``. `factor` is ExPO's 1 + a.
        pairs: ``[{prompt, chosen, rejected}]``, in the order of each point's `margins`.
        held_out, answers: how many pairs and how many answers were measured.
        start: the model before the first step.
        longest: tokens of an answer at most.
    """

    _esm = script("learning")

    points: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    pairs: "traitlets.List[dict[str, str]]" = traitlets.List().tag(sync=True)
    held_out = traitlets.Int().tag(sync=True)
    answers = traitlets.Int().tag(sync=True)
    examples: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    start = traitlets.Unicode("dSFT").tag(sync=True)
    longest = traitlets.Int(96).tag(sync=True)

    def __init__(
        self,
        packed: BrowserModels,
        checkpoints: BrowserModels,
        measured: dict[str, Any],
        examples: Sequence[str],
        **values: Any,
    ) -> None:
        pairs = [
            {side: shortened(text, LONGEST_TEXT) for side, text in pair.items()}
            for pair in measured["pairs"]
        ]
        super().__init__(
            packed,
            {CHECKPOINTS: checkpoints},
            pairs=pairs,
            held_out=measured["rows_held_out"],
            answers=measured["answers"],
            examples=list(examples),
            **values,
        )
        self.points = [point | {"model": self._model(point)} for point in measured["points"]]

    def _model(self, point: dict[str, Any]) -> str:
        if not point["step"]:
            return self.start
        name = model_at(point["step"])
        return name if point["factor"] == 1 else f"{name} × {point['factor']:g}"
