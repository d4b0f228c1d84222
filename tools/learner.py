"""Write a learner's copy of every chapter: headings, predictions and exercises; solutions and
answers taken out.

Usage: python tools/learner.py [--to build/learner]

For recall: read a chapter first, then work through its copy. What a cell computes stays, so that
the copy runs from top to bottom; what it means is for the reader to say.
"""

import argparse
import ast
import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(
    r"^(?P<fence>`{3,})\{(?P<kind>\w+)\} *(?P<title>.*)\n(?P<body>(?:.*\n)*?)(?P=fence)$", re.M
)
HEADING = re.compile(r"^#+ .+$", re.M)
# sections whose words the learner needs
WHOLE = ("What you will be able to do", "Set-up", "The dials", "Your turn")


def learners_copy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A chapter as a learner practises it: same code, and of the text what asks and nothing that
    answers.
    """
    cells, section = [], ""
    sources = iter(_without_answers([c.source for c in notebook.cells if c.cell_type == "code"]))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            source = next(sources)
            if "remove-cell" not in cell.metadata.get("tags", []) and source:
                cells.append(nbformat.from_dict({**cell, "source": source}))
            continue
        headings = HEADING.findall(FENCE.sub("", cell.source))
        section = headings[-1].lstrip("# ") if headings else section
        kept = cell.source if section.startswith(WHOLE) else _trimmed(cell.source)
        if kept.strip():
            cells.append(nbformat.from_dict({**cell, "source": kept}))
    copy = nbformat.from_dict({**notebook, "cells": cells})
    nbformat.validate(copy)
    return copy


def _without_answers(sources: list[str]) -> list[str]:
    """The code cells without the explanations, and without what is computed for these alone; empty
    where nothing is left.
    """
    needed: set[str] = set()  # names that later cells use
    kept = []
    for source in reversed(sources):
        try:
            statements = ast.parse(source).body
        except SyntaxError:  # a magic command
            kept.append(source)
            continue
        if any(_explains(statement) for statement in statements):
            lines = source.splitlines()
            parts = []
            for statement in reversed(statements):
                if not _explains(statement) and _names(statement, ast.Store) & needed:
                    needed |= _names(statement, ast.Load)
                    parts.append("\n".join(lines[statement.lineno - 1 : statement.end_lineno]))
            kept.append("\n".join(reversed(parts)))
        else:
            needed |= {name for statement in statements for name in _names(statement, ast.Load)}
            kept.append(source)
    return kept[::-1]


def _explains(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("lessons.explain(")


def _names(statement: ast.stmt, use: type[ast.expr_context]) -> set[str]:
    """The names that a statement reads or sets."""
    nodes = list(ast.walk(statement))
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, use)}
    if use is ast.Store:
        names |= {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    return names


def _trimmed(text: str) -> str:
    """The headings, predictions, exercises and hints of a text cell, in their order."""
    parts = []
    position = 0
    for fence in FENCE.finditer(text):
        parts += HEADING.findall(text[position : fence.start()])
        if _asks(fence):
            parts.append(fence[0])
            if "Predict" in fence["title"]:
                parts.append("*Your prediction, before you run on:*")
        position = fence.end()
    parts += HEADING.findall(text[position:])
    return "\n\n".join(parts)


def _asks(fence: re.Match[str]) -> bool:
    """Whether a box asks something of the reader (an exercise, a prediction) or helps with it (a
    hint).
    """
    if fence["kind"] == "exercise":
        return True
    return fence["kind"] == "admonition" and fence["title"].startswith(("Predict", "Hint"))


def write_copies(notebooks: Path, target: Path) -> list[Path]:
    """Write the copy of every chapter in `notebooks` into `target`; returns what was written."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        copy = learners_copy(nbformat.read(path, as_version=4))
        written.append(target / path.name)
        written[-1].write_text(nbformat.writes(copy, ensure_ascii=False) + "\n", encoding="utf-8")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--to", type=Path, default=ROOT / "build" / "learner", help="where to write"
    )
    target = parser.parse_args().to
    written = write_copies(ROOT / "notebooks", target)
    print(
        f"{len(written)} chapters to practise with, in {target}: "
        f"{', '.join(path.stem[:2] for path in written)}"
    )
    return 0 if written else 1


if __name__ == "__main__":
    sys.exit(main())
