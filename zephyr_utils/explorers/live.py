"""What explorers share whose models answer in the reader's browser: the weights, from the site or
from a kernel.
"""

from typing import Any

import traitlets

from zephyr_utils.explorers.common import Explorer, script
from zephyr_utils.explorers.weights import BrowserModels

MODELS = "models"
WEBSITE_FOLDER = "_static/models"  # of headers and weights, from the root of the website


def address_of(name: str) -> str:
    """Where the website has the header of the models or of the checkpoints, from its root."""
    return f"{WEBSITE_FOLDER}/{name}.json"


class LiveExplorer(Explorer):
    """An explorer that runs ``model.js`` on models which the reader loads by a button.

    The script greets the kernel with ``{kind: "hello"}``; where one answers, ``{kind: "weights",
    name}`` gets header and payload from it, and else the script fetches them from the website.

    Args:
        packed: the models, as a browser reads them.
        further: name -> weights that rest on them.
        values: of the traitlets.

    Attributes:
        files: ``[{name, address, size}]``, the models first; sizes in bytes.
        engine: the text of ``model.js``.
    """

    files: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    engine = traitlets.Unicode(script("model")).tag(sync=True)

    def __init__(
        self,
        packed: BrowserModels,
        further: dict[str, BrowserModels] | None = None,
        **values: Any,
    ) -> None:
        self._packed = {MODELS: packed, **(further or {})}
        files = [
            {"name": name, "address": address_of(name), "size": len(part.payload)}
            for name, part in self._packed.items()
        ]
        super().__init__(files=files, **values)
        self.on_msg(self._heard)

    def _heard(self, _: Any, content: dict[str, Any], __: Any) -> None:
        name = content.get("name")
        if content.get("kind") == "hello":
            self.send({"kind": "ready"})
        if content.get("kind") == "weights" and name in self._packed:
            message = {"kind": "weights", "name": name, "header": self._packed[name].header}
            self.send(message, buffers=[self._packed[name].payload])
