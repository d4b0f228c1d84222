"""What all explorers share: where their script and style lie, and how they take text from data."""

import re
from pathlib import Path
from typing import Any

import anywidget

FOLDER = Path(__file__).parent
STYLE = (FOLDER / "common.css").read_text(encoding="utf-8")
# An explorer's import of what it shares with others, and what such a text offers.
IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";\n', re.M)
EXPORT = re.compile(r"^export (?=const |function |async function |class )", re.M)
HALF_PAIRS = re.compile("[\ud800-\udfff]")  # of UTF-16 surrogates: no file in UTF-8 can hold them


class Explorer(anywidget.AnyWidget):
    """An anywidget whose script is the ``NAME.js`` beside the ``NAME.py`` that defines it.

    A subclass names its script: ``_esm = script("dpo_loss")``. Its traitlets, tagged ``sync=True``,
    are all that the script reads; they are stored in the executed notebook, so the static page
    needs no kernel. What that file cannot hold becomes U+FFFD.
    """

    _css = STYLE

    def __init__(self, **values: Any) -> None:
        super().__init__(**{name: writable(value) for name, value in values.items()})


def script(name: str) -> str:
    """The text of ``NAME.js``, for an explorer's ``_esm``.

    A widget's script stands alone, so a file beside it, as a function that returns the names asked
    for, takes the place of its import.
    """

    def inlined(found: re.Match[str]) -> str:
        names, text = found[1], EXPORT.sub("", script(found[2]))
        return f"const {names} = (() => {{\n{text}return {names};\n}})();\n"

    return IMPORT.sub(inlined, (FOLDER / f"{name}.js").read_text(encoding="utf-8"))


def writable(value: Any) -> Any:
    """The same value with U+FFFD for each half of a surrogate pair in its texts, at any depth."""
    if isinstance(value, str):
        return HALF_PAIRS.sub("\ufffd", value)
    if isinstance(value, dict):
        return {writable(name): writable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [writable(part) for part in value]
    return value


def shortened(text: str, longest: int) -> str:
    """A text as an explorer shows it: whole, or its first ``longest`` characters and how many
    more there are.
    """
    if len(text) <= longest:
        return text
    return f"{text[:longest]} … ({len(text) - longest} characters more)"
