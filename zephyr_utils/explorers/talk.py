"""A conversation with base, dSFT and dDPO side by side, in the reader's browser."""

from collections.abc import Sequence
from typing import Any

import traitlets

from zephyr_utils.explorers.common import script
from zephyr_utils.explorers.live import LiveExplorer
from zephyr_utils.explorers.weights import BrowserModels

# What each model was trained on, as its column says it.
NOTES = {
    "base": "(before any dialogue)",
    "dSFT": "(after a teacher's dialogues)",
    "dDPO": "(after preference pairs, too)",
}
# What puzzles a newcomer in its answers.
REMARKS = {
    "base": "It was never taught the chat template, so it continues a text: role markers such as "
    "<|user|>, another question, someone else's answer.",
}


class Talk(LiveExplorer):
    """The reader's own questions to models side by side, answered as they watch: further turns,
    the temperature, the same question again.

    Args:
        packed: the models, as a browser reads them.
        opening: what these models know, in a sentence.
        examples: questions that work.
        values: `temperature` and `longest`, where they are not to be 0 and the exam's.

    Attributes:
        models: the names, in the order shown.
        notes: name -> what it was trained on.
        remarks: name -> a sentence beside its answers.
        temperature: that the slider starts with; 0 is greedy.
        longest: tokens of an answer at most.
    """

    _esm = script("talk")

    models: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    notes = traitlets.Dict(NOTES).tag(sync=True)
    remarks = traitlets.Dict(REMARKS).tag(sync=True)
    opening = traitlets.Unicode().tag(sync=True)
    examples: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    temperature = traitlets.Float(0.0).tag(sync=True)
    longest = traitlets.Int(96).tag(sync=True)

    def __init__(
        self, packed: BrowserModels, opening: str, examples: Sequence[str], **values: Any
    ) -> None:
        names = [model["name"] for model in packed.header["models"]]
        super().__init__(packed, models=names, opening=opening, examples=list(examples), **values)
