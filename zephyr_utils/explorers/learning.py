"""Watch it learn: one slider over the checkpoints of a training and what is beyond its end."""

from collections.abc import Sequence
from typing import Any, Literal

import traitlets

from zephyr_utils.explorers.common import script, shortened
from zephyr_utils.explorers.live import LiveExplorer
from zephyr_utils.explorers.weights import BrowserModels

Stage = Literal["dSFT", "dDPO"]
# What each stage starts from, and the file of its checkpoints.
STARTS: dict[Stage, str] = {"dSFT": "base", "dDPO": "dSFT"}
CHECKPOINTS: dict[Stage, str] = {stage: f"checkpoints-of-{stage}" for stage in STARTS}
LONGEST_TEXT = 200  # characters of a prompt or an answer of a pair


def model_at(step: int) -> str:
    """What the model after this step is called among the `checkpoints`."""
    return f"step {step}"


class Learning(LiveExplorer):
    """The answers of each checkpoint to the reader's question, beside what was measured of it: the
    share of right answers, and the held-out loss of dSFT or the reward margins of held-out pairs of
    dDPO.

    After the last checkpoint of dDPO the slider goes on with ExPO (arXiv 2404.16792): what the
    training changed, times 1 + a.

    Args:
        packed: the models, as a browser reads them. The training of the stage led to one of them.
        checkpoints: the adapters before it, named by `model_at`.
        measured: as ``pipeline.steps.checkpoints`` or ``dsft_checkpoints`` returns it; points whose
            model is not among the `checkpoints` are not shown.
        examples: questions that work.
        stage: whose training it is.
        values: `longest`, where it is not to be the exam's.

    Attributes:
        points: what was measured, in the order of the slider: ``[{step, factor, model, right,
            right_low, right_high}]`` with ``loss``, or with ``margin, accuracy, margins``. `factor`
            is ExPO's 1 + a.
        pairs: ``[{prompt, chosen, rejected}]``, in the order of each point's `margins`.
        held_out, answers: how many rows and how many answers were measured.
        start: the model before the first step.
        longest: tokens of an answer at most.
    """

    _esm = script("learning")

    points: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    pairs: "traitlets.List[dict[str, str]]" = traitlets.List().tag(sync=True)
    held_out = traitlets.Int().tag(sync=True)
    answers = traitlets.Int().tag(sync=True)
    examples: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    stage = traitlets.Unicode().tag(sync=True)
    start = traitlets.Unicode().tag(sync=True)
    longest = traitlets.Int(96).tag(sync=True)

    def __init__(
        self,
        packed: BrowserModels,
        checkpoints: BrowserModels,
        measured: dict[str, Any],
        examples: Sequence[str],
        stage: Stage = "dDPO",
        **values: Any,
    ) -> None:
        pairs = [
            {side: shortened(text, LONGEST_TEXT) for side, text in pair.items()}
            for pair in measured.get("pairs", [])
        ]
        super().__init__(
            packed,
            {CHECKPOINTS[stage]: checkpoints},
            pairs=pairs,
            held_out=measured["rows_held_out"],
            answers=measured["answers"],
            examples=list(examples),
            stage=stage,
            start=STARTS[stage],
            **values,
        )
        models = {model["name"] for model in checkpoints.header["models"]}
        last = max(point["step"] for point in measured["points"])
        models |= {self.start, self.stage}
        self.points = [
            point | {"model": name if point["factor"] == 1 else f"{name} × {point['factor']:g}"}
            for point in measured["points"]
            if (name := self._model(point["step"], last)) in models
        ]

    def _model(self, step: int, last: int) -> str:
        if not step:
            return self.start
        return self.stage if step == last else model_at(step)
