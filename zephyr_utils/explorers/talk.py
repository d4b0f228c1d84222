"""A conversation with base, dSFT and dDPO side by side, in the reader's browser, without a kernel.

The models run in ``model.js``. A page of the website fetches them from the site when the reader
asks for it; where a kernel runs, it sends them.
"""

from collections.abc import Sequence
from typing import Any

import traitlets

from zephyr_utils.explorers.common import Explorer, script
from zephyr_utils.explorers.weights import BrowserModels

ADDRESS = "_static/models/models.json"  # of the header, from the root of the website
# What each model was trained on, as its column says it.
NOTES = {
    "base": "(before any dialogue)",
    "dSFT": "(after a teacher's dialogues)",
    "dDPO": "(after preference pairs, too)",
}


class Talk(Explorer):
    """The reader's own questions to models side by side, answered as they watch: further turns,
    the temperature, the same question again.

    The script greets the kernel with ``{kind: "hello"}``; where one answers, ``{kind: "weights"}``
    gets header and payload from it, and else the script fetches `address`.

    Args:
        packed: the models, as a browser reads them.
        opening: what these models know, in a sentence.
        examples: questions that work.
        values: `temperature` and `longest`, where they are not to be 0 and the exam's.

    Attributes:
        models: the names, in the order shown.
        notes: name -> what it was trained on.
        size: of the weights, in bytes.
        address: of the header on the website, from its root.
        temperature: that the slider starts with; 0 is greedy.
        longest: tokens of an answer at most.
        engine: the text of ``model.js``.
    """

    _esm = script("talk")

    models: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    notes = traitlets.Dict(NOTES).tag(sync=True)
    size = traitlets.Int().tag(sync=True)
    opening = traitlets.Unicode().tag(sync=True)
    examples: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    address = traitlets.Unicode(ADDRESS).tag(sync=True)
    temperature = traitlets.Float(0.0).tag(sync=True)
    longest = traitlets.Int(96).tag(sync=True)
    engine = traitlets.Unicode(script("model")).tag(sync=True)

    def __init__(
        self, packed: BrowserModels, opening: str, examples: Sequence[str], **values: Any
    ) -> None:
        self._packed = packed
        names = [model["name"] for model in packed.header["models"]]
        super().__init__(
            models=names,
            size=len(packed.payload),
            opening=opening,
            examples=list(examples),
            **values,
        )
        self.on_msg(self._heard)

    def _heard(self, _: Any, content: dict[str, Any], __: Any) -> None:
        if content.get("kind") == "hello":
            self.send({"kind": "ready"})
        if content.get("kind") == "weights":
            message = {"kind": "weights", "header": self._packed.header}
            self.send(message, buffers=[self._packed.payload])
