"""Print where the time of the last run went: chapter by chapter, then the slowest cells and
artefacts.

Usage: python benchmarks/chapters.py [--scale miniature]

Reads what `zephyr run` left under runs/<scale>; runs nothing itself.
"""

import argparse
import json
import sys
from pathlib import Path

import nbformat
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.artefacts import MANIFEST, runs_folder
from zephyr_utils.pipeline.chapter_report import read_report

SHOWN = 12  # rows of the two lower tables


def slowest_cells(run: Path, chapters: list[str]) -> list[tuple[float, str, str]]:
    """(seconds, chapter, first line) of the cells of the executed copies, slowest first."""
    found = []
    for name in chapters:
        notebook = nbformat.read(run / "notebooks" / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:
            seconds = cell.metadata.get("papermill", {}).get("duration") or 0.0
            if cell.cell_type == "code":
                found.append((seconds, name, next(iter(cell.source.splitlines()), "")))
    return sorted(found, reverse=True)


def artefacts(run: Path) -> list[tuple[float, str, float]]:
    """(seconds it took when it was made, folder, MB on disk) of every artefact, slowest first."""
    found = []
    for path in run.rglob(MANIFEST):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        size = sum(facts["size"] for facts in manifest["files"].values()) / 2**20
        found.append((manifest["seconds"], path.parent.relative_to(run).as_posix(), size))
    return sorted(found, reverse=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scale", default="miniature", help="whose last run is read (default: miniature)"
    )
    run = runs_folder() / parser.parse_args().scale
    report, console = read_report(run), Console()
    if not report:
        print(
            HandbookError("no chapter has been run yet", where=str(run), remedy="make run"),
            file=sys.stderr,
        )
        return 2
    together = sum(entry["seconds"] for entry in report.values())

    by_chapter = Table("chapter", title=f"{together:.0f} s in {len(report)} chapters")
    for heading in ("seconds", "share", "memory MB"):
        by_chapter.add_column(heading, justify="right")
    by_chapter.add_column("")
    for name, entry in report.items():
        share = entry["seconds"] / together
        memory = f"{entry['metrics']['peak_memory_mb']:.0f}"
        by_chapter.add_row(
            name, f"{entry['seconds']:.1f}", f"{share:.0%}", memory, "█" * round(30 * share)
        )
    console.print(by_chapter)

    by_cell = Table("chapter", Column("cell begins with", no_wrap=True), title="The slowest cells")
    by_cell.add_column("seconds", justify="right")
    for seconds, name, line in slowest_cells(run, list(report))[:SHOWN]:
        by_cell.add_row(name, escape(line), f"{seconds:.1f}")
    console.print(by_cell)

    by_artefact = Table("artefact", title="Artefacts, seconds when they were made")
    by_artefact.add_column("seconds", justify="right")
    by_artefact.add_column("MB", justify="right")
    for seconds, folder, size in artefacts(run)[:SHOWN]:
        by_artefact.add_row(folder, f"{seconds:.1f}", f"{size:.1f}")
    console.print(by_artefact)

    stamp = next(reversed(report.values()))["environment"]
    console.print(", ".join(f"{name} {value}" for name, value in stamp.items()), highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
