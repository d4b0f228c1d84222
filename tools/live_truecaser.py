"""The truecaser of a chapter's explorer on the website: its file moves from the notebook, which has
it for Jupyter, to one that nobody fetches before a click.
"""

import base64
from pathlib import Path
from typing import Any

import nbformat
from page_html import WIDGET

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.casing import MOST_BYTES


def lift_truecasers(notebook: nbformat.NotebookNode, assets: Path) -> None:
    """Write the truecasers that the widgets of an executed notebook carry where their explorers
    look for them, and leave the widgets without.

    Raises:
        HandbookError: one is larger than a reader should fetch.
    """
    widgets = notebook.metadata.get("widgets", {}).get(f"{WIDGET}state+json", {})
    for widget in widgets.get("state", {}).values():
        buffers = widget.get("buffers", [])
        held = [buffer for buffer in buffers if buffer["path"] == ["payload"]]
        if not held or "file" not in widget["state"]:
            continue
        _write(base64.b64decode(held[0]["data"]), widget["state"]["file"], assets)
        widget["buffers"] = [buffer for buffer in buffers if buffer not in held]


def _write(content: bytes, file: dict[str, Any], assets: Path) -> None:
    if len(content) > MOST_BYTES:
        raise HandbookError(
            f"the truecaser takes {len(content):,} bytes, and a reader fetches {MOST_BYTES:,} at "
            f"most",
            where=file["address"],
            remedy="fit it on fewer texts (chapter 01)",
        )
    path = assets / Path(file["address"]).relative_to("_static")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
