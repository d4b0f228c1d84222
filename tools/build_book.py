"""Build the website from this folder and the executed chapters of the last run, and check what was
built.

Usage: python tools/build_book.py [--scale miniature]

Stages book/ and runs/<scale>/notebooks/ under build/book at the paths they have in the repository,
so that launch buttons find the committed notebooks; writes the run's models for readers' browsers
(live_models.py); fills the pages' marks from the last run (page_parts.py) and puts what it took
under each chapter's title; builds with warnings as errors; then reads the built pages. Any
complaint ends with status 1.
"""

import argparse
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from api_reference import write_pages
from chapter_links import link_chapters
from live_models import (
    checkpoints_of,
    models_of,
    with_explorers,
    write_checkpoints,
    write_models,
)
from live_truecaser import lift_truecasers
from page_drawings import FOLDER, add_drawings
from page_parts import LIBRARIES, fill, machine_of, seconds_in_words
from safe_outputs import unsafe_outputs

from zephyr_utils.errors import HandbookError
from zephyr_utils.files import write_json
from zephyr_utils.pipeline.artefacts import fingerprint, runs_folder
from zephyr_utils.pipeline.chapter_report import read_report
from zephyr_utils.pipeline.notebooks import chapter_code

ROOT = Path(__file__).resolve().parents[1]
STAMP = "built-from.json"  # written last, so that a website without it is none
OWN_FILES = {"metrics.yaml"}  # not of the website
API_PAGE = "api.md"  # leads to the pages of the packages, which are written beside it


class BookError(HandbookError):
    """The website could not be built, or what was built is wrong."""


def build(
    run: Path, *, book: Path = ROOT / "book", notebooks: Path = ROOT / "notebooks", target: Path
) -> Path:
    """Build the website of one run and return the folder of its pages.

    Args:
        run: ``runs/<scale>`` with ``notebooks/`` (executed) and ``report.json``.
        book: configuration, table of contents and pages of its own.
        notebooks: the committed chapters.
        target: is emptied, staged and built in.

    Raises:
        BookError: a chapter was not run, failed, changed since, or shows no outputs; Sphinx warned;
            a page is missing or loads something from another host.
    """
    chapters = chapters_of(book / "_toc.yml")
    report = read_report(run)
    _refuse(_stale(chapters, report, run, notebooks), "bring the chapters up to date: make run")
    stage(run, report, chapters, book, target)
    add_drawings(notebooks, target / "notebooks")
    command = [
        Path(sys.executable).with_name("jupyter-book"),
        "build",
        "-W",
        "-n",
        "--keep-going",
        "-q",
        target,
    ]
    paths = [str(ROOT / "tools"), *filter(None, [os.environ.get("PYTHONPATH")])]  # page_html
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "WARNING" in line or "ERROR" in line]
        _refuse(
            lines or done.stderr.splitlines()[-15:],
            "fix the page that each line names, in the chapter's .py",
        )
    pages = target / "_build" / "html"
    _refuse(check(pages, chapters), "see the page; a script or style belongs in book/assets")
    write_json(target / STAMP, stamp(book, notebooks))
    return pages


def stamp(book: Path, notebooks: Path) -> dict[str, Any]:
    """What a website is made from, to tell later whether it is still that of these files."""
    sources = [
        path
        for path in sorted(book.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    sources += sorted([*notebooks.glob("[0-9]*.ipynb"), *notebooks.glob(f"{FOLDER}/*.svg")])
    return {str(path.relative_to(book.parent)): fingerprint(path) for path in sources}


def _refuse(complaints: list[str], remedy: str) -> None:
    if complaints:
        raise BookError("\n".join(complaints), remedy=remedy)


def chapters_of(toc: Path) -> list[str]:
    """The names of the chapters, ``NN_topic``, that the table of contents lists."""
    files = re.findall(r"notebooks/(\w+)", toc.read_text(encoding="utf-8"))
    return [name for name in files if name[0].isdigit()]


def _stale(chapters: list[str], report: dict[str, Any], run: Path, notebooks: Path) -> list[str]:
    """Chapters whose executed copy cannot be shown, each with the reason."""
    complaints = []
    for name in sorted({path.stem for path in notebooks.glob("[0-9]*.ipynb")} - set(chapters)):
        complaints.append(f"{name}: the chapter is not in book/_toc.yml")
    for name in chapters:
        source = notebooks / f"{name}.ipynb"
        if not source.is_file():
            complaints.append(f"{name}: book/_toc.yml lists it, but there is no such notebook")
        elif name not in report or not (run / "notebooks" / source.name).is_file():
            complaints.append(f"{name}: its last run did not come to an end, or there was none")
        elif report[name]["source"] != fingerprint(source):
            complaints.append(f"{name}: the notebook was changed after its last run")
        elif changed := _changed_modules(report[name].get("code", {}), chapter_code(source)):
            complaints.append(f"{name}: {changed} changed after its last run")
    return complaints


def _changed_modules(then: dict[str, str], now: dict[str, str]) -> str:
    """The modules of the package that are not what they were when the page was made, in words."""
    names = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
    more = f" and {len(names) - 3} more modules" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def stage(run: Path, report: dict[str, Any], chapters: list[str], book: Path, target: Path) -> None:
    """Lay out under ``target`` what Jupyter Book reads."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(book, target, ignore=lambda folder, names: OWN_FILES | {"__pycache__"})
    models = models_of(run)
    checkpoints = checkpoints_of(run, models) if models else {}
    if models:
        write_models(models, target / "assets")
    write_checkpoints(checkpoints, target / "assets")
    for page in target.glob("*.md"):
        text = with_explorers(page.read_text("utf-8"), run, models, checkpoints)
        page.write_text(fill(text, report, chapters, where=page.name), encoding="utf-8")
    if (target / API_PAGE).is_file():
        write_pages(target / "api")
    (target / "notebooks").mkdir()
    for name in chapters:
        notebook = nbformat.read(run / "notebooks" / f"{name}.ipynb", as_version=4)
        _without_traces(notebook)
        lift_truecasers(notebook, target / "assets")
        _refuse(_unfit(notebook, name), "fix the chapter's .py, then: make run")
        link_chapters(notebook, chapters)
        title, _, rest = notebook.cells[0].source.partition("\n")
        box = box_of(report[name], minutes_of_exercises(notebook))
        notebook.cells[0].source = f"{title}\n\n{box}\n{rest}"
        nbformat.write(notebook, target / "notebooks" / f"{name}.ipynb")


def _without_traces(notebook: nbformat.NotebookNode) -> None:
    """Remove what papermill notes of its run: times, and paths of this machine."""
    for place in (notebook, *notebook.cells):
        place.metadata.pop("papermill", None)


def _unfit(notebook: nbformat.NotebookNode, name: str) -> list[str]:
    """Why an executed chapter is not fit to be shown."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    complaints = []
    if not notebook.cells[0].source.startswith("# "):
        complaints.append(f"{name}: the first line of the first cell is not the title")
    if not outputs:
        complaints.append(f"{name}: no cell has an output")
    if any(output.output_type == "error" for output in outputs):
        complaints.append(f"{name}: a cell ended with an error")
    complaints += [f"{name}: {fault}" for fault in unsafe_outputs(notebook)]
    shown = json.dumps(outputs)
    for private in {str(ROOT), str(Path.home()), sys.prefix}:
        if f"{private}/" in shown:
            complaints.append(f"{name}: an output shows the folder {private} of this machine")
    return complaints


def minutes_of_exercises(notebook: nbformat.NotebookNode) -> int:
    """What the exercises of a chapter state, added up."""
    stated = (re.findall(r"\*\*Minutes\*\* (\d+)", cell.source) for cell in notebook.cells)
    return sum(int(minutes) for found in stated for minutes in found)


def box_of(entry: dict[str, Any], exercises: int) -> str:
    """The box under a chapter's title: what its last run took, and on what.

    Args:
        entry: of the chapter, in the run's report.
        exercises: minutes for all of them; 0 leaves them out.
    """
    stamp = entry["environment"]
    versions = ", ".join(f"{name} {stamp[name]}" for name in LIBRARIES)
    took = f"**{seconds_in_words(entry['seconds'] + entry['seconds_reused'])}**"
    if entry["seconds_reused"] >= 1:
        reused = seconds_in_words(entry["seconds_reused"])
        took += f" ({reused} of it by an earlier run whose results were reused)"
    peak = f"{entry['metrics']['peak_memory_mb']:,.0f} MB of memory"
    return "\n".join(
        [
            "```{admonition} Time and memory, from the last run",
            ":class: note time-box",
            f"{took} and **{peak}** on {entry['finished'][:10]}",
            f"({machine_of(stamp)}). Python {stamp['python']}, {versions}.",
            *([f"The exercises take about {exercises} minutes."] if exercises else []),
            "```",
        ]
    )


def check(pages: Path, chapters: list[str]) -> list[str]:
    """What is wrong with the built pages: too few, a chapter without outputs, or something from
    another host.
    """
    wanted = [pages / "index.html", *(pages / "notebooks" / f"{name}.html" for name in chapters)]
    complaints = [
        f"{page.relative_to(pages)}: the page is missing" for page in wanted if not page.is_file()
    ]
    built = sorted(pages.rglob("*.html"))
    if len(built) < len(chapters) + 1:
        complaints.append(
            f"{len(built)} pages were built for {len(chapters)} chapters and a front page"
        )
    for page in wanted[1:]:
        if page.is_file() and 'class="cell_output' not in page.read_text(encoding="utf-8"):
            complaints.append(f"{page.relative_to(pages)}: the page shows no output")
    for page in built:
        complaints += [
            f"{page.relative_to(pages)}: loads {url}" for url in loads_of(page.read_text("utf-8"))
        ]
    for style in sorted(pages.rglob("*.css")):
        found = re.findall(
            r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)", style.read_text("utf-8")
        )
        complaints += [f"{style.relative_to(pages)}: loads {url}" for url in found]
    return complaints


LOADED_RELATIONS = {
    "stylesheet",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "icon",
}


class _Loads(html.parser.HTMLParser):
    """Collects the addresses on other hosts that a page loads by itself (a link that one follows is
    none).
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        urls = (
            []
            if tag == "a"
            else [given.get("src", ""), given.get("poster", ""), given.get("data", "")]
        )
        if tag == "link" and LOADED_RELATIONS & set(given.get("rel", "").split()):
            urls.append(given.get("href", ""))
        self.found += [url for url in urls if re.match(r"(https?:)?//", url)]


def loads_of(page: str) -> list[str]:
    """The addresses on other hosts that this HTML loads: scripts, styles, fonts, images, frames."""
    reader = _Loads()
    reader.feed(page)
    return reader.found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scale", default="miniature", help="whose last run is shown (default: miniature)"
    )
    scale = parser.parse_args().scale
    started = time.perf_counter()
    target = ROOT / "build" / "book"
    try:
        pages = build(runs_folder() / scale, target=target)
    except HandbookError as error:
        print(f"The book was not built.\n{error}", file=sys.stderr)
        return 1
    count, size = (
        len(list(pages.rglob("*.html"))),
        sum(file.stat().st_size for file in pages.rglob("*")),
    )
    print(
        f"The website: {count} pages, {size / 2**20:.1f} MB, built in "
        f"{time.perf_counter() - started:.0f} s."
    )
    print(f"It is in {pages}")
    print(
        f"To read it: {Path(sys.executable).name} -m http.server --directory {pages}, then open "
        f"the address it names"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
