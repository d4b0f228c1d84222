"""Links from the boxes that explain a result to the chapters that they name.

An explanation is an output, and outputs hold no links (`safe_outputs`). So the website makes them,
once an executed chapter has been found fit to be shown.
"""

import re
from collections.abc import Iterable

import nbformat

EXPLANATION = '<details class="admonition explain"'  # of `zephyr_utils.lessons.explain`
NAMED = re.compile(r"\b[Cc]hapter (\d\d)\b")


def link_chapters(notebook: nbformat.NotebookNode, chapters: Iterable[str]) -> None:
    """Make "Chapter 05" in an explanation a link to that page, where it is one of `chapters`."""
    pages = {name[:2]: f"{name}.html" for name in chapters}

    def link(match: re.Match[str]) -> str:
        page = pages.get(match[1])
        return f'<a href="{page}">{match[0]}</a>' if page else match[0]

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            page = output.get("data", {}).get("text/html", "")
            if page.startswith(EXPLANATION):
                output["data"]["text/html"] = NAMED.sub(link, page)
