"""Write notebooks/*.ipynb from notebooks/*.py: no outputs, and the same bytes every time.

Usage: python tools/sync.py [--to FOLDER]

Does what ``jupytext --to ipynb`` does, through the library. Never ``jupytext --sync``: it trusts
the times of the files, which mean nothing after a clone, and may overwrite the source.
"""

import argparse
import collections
import hashlib
from pathlib import Path
from typing import Any

import jupytext
import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook_of(source: Path) -> str:
    """The text of the .ipynb that belongs to a .py in the percent format."""
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: collections.Counter[str] = collections.Counter()
    for cell in notebook.cells:
        # jupytext gives random ids; from the content they stay the same, and so do those of cells
        # that only moved.
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[name] += 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        cell.metadata = nbformat.from_dict(_metadata(cell.metadata.get("tags", [])))
    nbformat.validate(notebook)
    return nbformat.writes(notebook, ensure_ascii=False) + "\n"


def _metadata(tags: list[str]) -> dict[str, Any]:
    """What a cell's tags say to Jupyter Book, and the same to JupyterLab and Colab."""
    if not tags:
        return {}
    hidden = {"cellView": "form", "jupyter": {"source_hidden": True}}
    return {"tags": tags} | (hidden if {"remove-input", "hide-input"} & set(tags) else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--to", type=Path, default=NOTEBOOKS, help="where to write (default: beside the sources)"
    )
    target = parser.parse_args().to
    for source in sorted(NOTEBOOKS.glob("*.py")):
        (target / source.with_suffix(".ipynb").name).write_text(
            notebook_of(source), encoding="utf-8"
        )
        print(f"{source.name} -> {target.name}/{source.stem}.ipynb")


if __name__ == "__main__":
    main()
