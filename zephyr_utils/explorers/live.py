"""What explorers share whose models answer in the reader's browser: the weights, from the site or
from a kernel.
"""

from typing import Any

import traitlets

from zephyr_utils.explorers.common import Explorer, script
from zephyr_utils.explorers.weights import BrowserModels

ADDRESS = "_static/models/models.json"  # of the header, from the root of the website


class LiveExplorer(Explorer):
    """An explorer that runs ``model.js`` on models which the reader loads by a button.

    The script greets the kernel with ``{kind: "hello"}``; where one answers, ``{kind: "weights"}``
    gets header and payload from it, and else the script fetches `address`.

    Args:
        packed: the models, as a browser reads them.
        values: of the traitlets.

    Attributes:
        size: of the weights, in bytes.
        address: of the header on the website, from its root.
        engine: the text of ``model.js``.
    """

    size = traitlets.Int().tag(sync=True)
    address = traitlets.Unicode(ADDRESS).tag(sync=True)
    engine = traitlets.Unicode(script("model")).tag(sync=True)

    def __init__(self, packed: BrowserModels, **values: Any) -> None:
        self._packed = packed
        super().__init__(size=len(packed.payload), **values)
        self.on_msg(self._heard)

    def _heard(self, _: Any, content: dict[str, Any], __: Any) -> None:
        if content.get("kind") == "hello":
            self.send({"kind": "ready"})
        if content.get("kind") == "weights":
            message = {"kind": "weights", "header": self._packed.header}
            self.send(message, buffers=[self._packed.payload])
