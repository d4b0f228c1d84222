"""The chapters' drawings on the website: files beside the notebooks, and a caption that belongs to
its picture.

In a notebook a drawing is an image and a paragraph in italics under it, which every program shows.
On the page the two become one figure.
"""

import re
import shutil
from pathlib import Path

import nbformat

FOLDER = "figures"  # beside the notebooks
DRAWING = re.compile(
    rf"^!\[(?P<alt>[^\]]+)\]\((?P<path>{FOLDER}/[\w-]+\.svg)\)\n\n\*(?P<caption>[^*]+)\*$", re.M
)


def as_figures(text: str) -> str:
    """Markdown whose drawings are figures with a caption, instead of an image and a paragraph."""
    return DRAWING.sub(_figure, text)


def _figure(drawing: re.Match[str]) -> str:
    alt = " ".join(drawing["alt"].split()).replace('"', "'")
    return f'```{{figure}} {drawing["path"]}\n:alt: "{alt}"\n\n{drawing["caption"]}\n```'


def add_drawings(notebooks: Path, pages: Path) -> None:
    """Put the drawings of the committed `notebooks` beside the staged ones, and caption them."""
    if (notebooks / FOLDER).is_dir():
        shutil.copytree(notebooks / FOLDER, pages / FOLDER)
    for path in pages.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = as_figures(cell.source)
        nbformat.write(notebook, path)
