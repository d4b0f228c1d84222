"""A small checkout in a temporary folder, with executed chapters, to build a website of."""

import functools
import shutil
from pathlib import Path

import build_book as build
import nbformat
import yaml
from pipeline_picture import NEEDED

from zephyr_utils.files import write_json
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.pipeline.notebooks import chapter_code

BOOK = Path(__file__).resolve().parents[1] / "book"
CHAPTERS = ["00_overview", "01_truecasing"]
WIDGET = "0123456789abcdef0123456789abcdef"
ESM = """
export default {
  initialize({ model }) { model.set("ready", true); },
  render({ model, el }) {
    const input = document.createElement("input");
    Object.assign(input, { type: "range", value: model.get("beta") });
    input.setAttribute("aria-label", "beta");
    const output = document.createElement("output");
    const show = () => { output.textContent = `beta ${model.get("beta")} ${model.get("ready")}`; };
    input.addEventListener("input", () => {
      model.set("beta", Number(input.value));
      model.save_changes();
    });
    model.on("change:beta", show);
    show();
    el.append(input, output);
  },
};
"""


def executed_copy(name, output="0.693"):
    """A chapter as papermill leaves it, with a widget, an exercise, maths and a citation."""
    view = {"model_id": WIDGET, "version_major": 2, "version_minor": 0}
    no_kernel = {**view, "model_id": "f" * 32}
    exercise = f"```{{exercise}} A title\n:label: ex-{name[:2]}-one\nDo it.\n```"
    solution = (
        f"````{{solution}} ex-{name[:2]}-one\n:class: dropdown\n```python\nprint(1)\n```\n````"
    )
    cell, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    display = functools.partial(nbformat.v4.new_output, "display_data")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        text(f"# Chapter {name}\n\nThe loss is $\\log 2$ {{cite:p}}`rafailov2023dpo`."),
        cell("print(1)", outputs=[nbformat.v4.new_output("stream", text=output)]),
        cell(
            "Explorer()",
            outputs=[
                display({"application/vnd.jupyter.widget-view+json": view, "text/plain": "E"})
            ],
        ),
        cell(
            "Slider()",
            outputs=[
                display({"application/vnd.jupyter.widget-view+json": no_kernel, "text/plain": "S"})
            ],
        ),
        text(f"{exercise}\n\n{solution}"),
    ]
    states = {WIDGET: {"_esm": ESM, "beta": 3}, "f" * 32: {"value": 1}}
    models = {
        name: {
            "model_name": "AnyModel",
            "model_module": "anywidget",
            "model_module_version": "~0.11.*",
            "state": state,
        }
        for name, state in states.items()
    }
    content = {"state": models, "version_major": 2, "version_minor": 0}
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "widgets": {"application/vnd.jupyter.widget-state+json": content},
        "papermill": {"output_path": "somewhere"},
    }
    return notebook


class Workplace:
    """A small checkout in a temporary folder: the real book/, two chapters and their last run."""

    def __init__(self, folder, chapters=CHAPTERS):
        self.book, self.notebooks, self.run, self.target = (
            folder / part for part in ("book", "notebooks", "run", "out")
        )
        shutil.copytree(BOOK, self.book, ignore=shutil.ignore_patterns("__pycache__"))
        (self.run / "notebooks").mkdir(parents=True)
        self.notebooks.mkdir()
        self.front = self.book / "index.md"
        if chapters is CHAPTERS:  # the pages lead to chapters that are not here
            for page in self.book.glob("*.md"):
                page.unlink()
            self.front.write_text("# The book\n\n<!-- last run -->\n")
            toc = {
                "format": "jb-book",
                "root": "index",
                "chapters": [{"file": f"notebooks/{n}"} for n in CHAPTERS],
            }
            (self.book / "_toc.yml").write_text(yaml.dump(toc))
        self.report = {}
        for name in chapters:
            self.add(name)

    def add(self, name, **changes):
        cell = nbformat.v4.new_code_cell("from zephyr_utils.errors import HandbookError", id=name)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), self.notebooks / f"{name}.ipynb")
        nbformat.write(executed_copy(name, **changes), self.run / "notebooks" / f"{name}.ipynb")
        stamp = {
            library: "1.2.3"
            for library in ("python", "torch", "transformers", "trl", "peft", "datasets")
        }
        needed = dict.fromkeys(NEEDED.get(name, ()), 3.0)
        self.report[name] = {
            "seconds": 35.2,
            "seconds_reused": 40.1,
            "metrics": {"loss": 0.69, **needed, "peak_memory_mb": 812.4},
            "ranges": {"loss": [0.6, 0.7]},
            "parameters": {},
            "source": fingerprint(self.notebooks / f"{name}.ipynb"),
            "code": chapter_code(self.notebooks / f"{name}.ipynb"),
            "finished": "2026-11-20T10:00:00+00:00",
            "environment": {
                **stamp,
                "cores": 2,
                "cpu": "A CPU",
                "memory_gb": 16.0,
                "accelerator": "none",
            },
        }
        self.save()

    def save(self):
        write_json(self.run / "report.json", {"chapters": self.report})

    def build(self):
        return build.build(self.run, book=self.book, notebooks=self.notebooks, target=self.target)
