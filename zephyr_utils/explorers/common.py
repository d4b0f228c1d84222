"""What all explorers share: where their script and style lie."""

from pathlib import Path

import anywidget

FOLDER = Path(__file__).parent
STYLE = (FOLDER / "common.css").read_text(encoding="utf-8")


class Explorer(anywidget.AnyWidget):
    """An anywidget whose script is the ``NAME.js`` beside the ``NAME.py`` that defines it.

    A subclass names its script: ``_esm = script("dpo_loss")``. Its traitlets, tagged ``sync=True``,
    are all that the script reads; they are stored in the executed notebook, so the static page
    needs no kernel.
    """

    _css = STYLE


def script(name: str) -> str:
    """The text of ``NAME.js``, for an explorer's ``_esm``."""
    return (FOLDER / f"{name}.js").read_text(encoding="utf-8")
