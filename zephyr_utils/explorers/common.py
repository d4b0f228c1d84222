"""What all explorers share: where their script and style lie."""

from pathlib import Path
from typing import Any

import anywidget

FOLDER = Path(__file__).parent
STYLE = (FOLDER / "common.css").read_text(encoding="utf-8")


class Explorer(anywidget.AnyWidget):
    """An anywidget whose script is the ``NAME.js`` beside the ``NAME.py`` that defines it.

    A subclass names its script: ``class DpoLoss(Explorer, script="dpo_loss")``. Its traitlets,
    tagged ``sync=True``, are all that the script reads; they are stored in the executed notebook,
    so the static page needs no kernel.
    """

    _css = STYLE

    def __init_subclass__(cls, script: str = "", **options: Any) -> None:
        if script:
            cls._esm = (FOLDER / f"{script}.js").read_text(encoding="utf-8")
        super().__init_subclass__(**options)
