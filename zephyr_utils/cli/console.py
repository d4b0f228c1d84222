"""Where the verbs speak: results on standard output, all else on standard error."""

import sys
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from zephyr_utils.pipeline.artefacts import Manifest

# In a pipe or a log rich would take 80 columns and cut the names of what it shows.
out = Console(width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True)


def print_manifest(manifest: "Manifest", *names: str) -> None:
    """Where an artefact lies, its rows and the numbers asked for."""
    how = "reused" if manifest.reused else f"made in {manifest.seconds:.0f} s"
    rows = ", ".join(
        f"{count} {name.removeprefix('rows_').replace('_', ' ')}"
        for name, count in manifest.rows.items()
    )
    out.print(f"{manifest.folder} ({how})" + (f"; rows: {rows}" if rows else ""), highlight=False)
    if why := {k: v for k, v in manifest.results.get("set_aside", {}).items() if v}:
        out.print(f"  set aside: {why}", highlight=False)
    for name in names:
        out.print(f"  {name.replace('_', ' ')}: {manifest.results[name]:.4g}", highlight=False)
