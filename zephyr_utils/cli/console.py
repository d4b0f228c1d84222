"""Where the commands print: results on standard output, all else on standard error."""

import re
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from zephyr_utils.pipeline.artefacts import Manifest

# What a terminal takes as a command: all control characters but line breaks and tabs.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """The text with what a terminal would obey, or could not encode, made visible.

    Paths and records may hold escape sequences and halves of surrogate pairs.
    """
    shown = CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    return shown.encode("utf-8", errors="backslashreplace").decode("utf-8")


class PlainConsole(Console):
    """A console for text that may come from anywhere: no markup, no emoji codes, no escapes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich prints, with `printable` text."""
        shown = (printable(item) if isinstance(item, str) else item for item in objects)
        super().print(*shown, **options)


# In a pipe or a log rich would take 80 columns and cut the names of what it shows.
out = PlainConsole(width=None if sys.stdout.isatty() else 120)
err = PlainConsole(stderr=True)


def print_manifest(manifest: "Manifest", *names: str) -> None:
    """Print where an artefact is, its row counts and the results of those names."""
    how = "reused" if manifest.reused else f"made in {manifest.seconds:.0f} s"
    rows = ", ".join(
        f"{count} {name.removeprefix('rows_').replace('_', ' ')}"
        for name, count in manifest.rows.items()
    )
    out.print(f"{manifest.folder} ({how})" + (f"; rows: {rows}" if rows else ""), soft_wrap=True)
    if reasons := {k: v for k, v in manifest.results.get("set_aside", {}).items() if v}:
        out.print(f"  set aside: {reasons}", soft_wrap=True)
    for name in names:
        value = manifest.results[name]  # None: JSON has no NaN and no infinity
        shown = "not a finite number" if value is None else f"{value:.4g}"
        out.print(f"  {name.replace('_', ' ')}: {shown}")
