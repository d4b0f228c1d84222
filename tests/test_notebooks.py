"""The chapters: their shape, and that each .ipynb is what its .py gives. The checker itself is
tested too.
"""

import builtins
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import jupytext
import pytest
import sync
from chapter_rules import EXERCISE, EXERCISE_LINK, complaints
from IPython.core.inputtransformer2 import TransformerManager

from zephyr_utils.errors import HandbookError

BOOK = Path(__file__).resolve().parents[1] / "book"
ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
CHAPTERS = sorted(NOTEBOOKS.glob("*.py"))
SPECIMEN = Path(__file__).with_name("specimens") / "02_specimen.txt"
MORE_CODE = '# %%\nprint("again")\n\n'


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_keeps_the_shape(path):
    assert complaints(path) == []


def test_every_exercise_that_a_chapter_names_is_set_by_one():
    chapters = {path.stem: path.read_text(encoding="utf-8") for path in CHAPTERS}
    texts = {name: re.sub(r"^# ?", "", text, flags=re.M) for name, text in chapters.items()}
    bodies = "".join(found["body"] for text in texts.values() for found in EXERCISE.finditer(text))
    labels = re.findall(r"^:label: (\S+)$", bodies, re.M)
    assert len(labels) == len(set(labels)) > len(CHAPTERS)
    named = {label for text in texts.values() for label in EXERCISE_LINK.findall(text)}
    assert named <= set(labels)


def synced(folder):
    command = [sys.executable, ROOT / "tools" / "sync.py", "--to", folder]
    subprocess.run(command, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.glob("*.ipynb")}


@pytest.fixture(scope="session")
def regenerated(tmp_path_factory):
    return synced(tmp_path_factory.mktemp("synced"))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_notebook_is_what_its_source_gives(path, regenerated):
    committed = path.with_suffix(".ipynb")
    same = committed.is_file() and committed.read_bytes() == regenerated[committed.name]
    assert same, (
        f"{committed.name} is out of step with {path.name}, or holds outputs. What to do: make sync"
    )


def first_cells():
    for path in CHAPTERS:
        cells = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells
        yield next(cell.source for cell in cells if cell.cell_type == "code")


def run_first_cell(monkeypatch, package_is_there=True):
    """The lines for IPython that the first cell ran."""
    [cell] = set(first_cells())
    ran = []
    shell = types.SimpleNamespace(run_line_magic=lambda name, line: ran.append((name, line)))

    def importing(name, *args, imported=builtins.__import__, **kwargs):
        if name == "zephyr_utils" and not package_is_there:
            raise ModuleNotFoundError(name=name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)
    exec(TransformerManager().transform_cell(cell), {"get_ipython": lambda: shell})
    return ran


def test_all_chapters_begin_with_one_short_cell():
    assert len(set(first_cells())) == 1 and len(next(first_cells()).splitlines()) <= 10


def test_the_first_cell_installs_only_where_the_package_is_missing(monkeypatch, capsys):
    assert run_first_cell(monkeypatch) == []
    assert capsys.readouterr().out.count("\n") == 1, "the hardware, in a sentence"
    [(magic, line)] = run_first_cell(monkeypatch, package_is_there=False)
    assert magic == "pip" and line.startswith('install -q "zephyr-handbook @ git+https://')


def test_the_first_cell_asks_for_a_restart_where_a_loaded_library_was_upgraded(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", types.SimpleNamespace(__version__="18.1.0"))
    with pytest.raises(HandbookError, match=r"pyarrow 18\.1\.0 is loaded.*\n.*restart.* once"):
        run_first_cell(monkeypatch, package_is_there=False)


def test_every_notebook_has_a_source():
    alone = {path.stem for path in NOTEBOOKS.glob("*.ipynb")} - {path.stem for path in CHAPTERS}
    assert not alone, f"edit the .py, not the .ipynb: {sorted(alone)} have none"


def test_writing_a_notebook_twice_gives_the_same_bytes_no_outputs_and_ids_that_follow_content(
    tmp_path,
):
    notebook_of = sync.notebook_of
    text = notebook_of(SPECIMEN)
    assert text == notebook_of(SPECIMEN)
    cells = json.loads(text)["cells"]
    assert all(
        cell["outputs"] == [] and cell["execution_count"] is None
        for cell in cells
        if "outputs" in cell
    )
    longer = tmp_path / "longer.py"
    longer.write_text(
        SPECIMEN.read_text().replace(
            "# %%\nimport math", MORE_CODE + MORE_CODE + "# %%\nimport math"
        )
    )
    ids = [cell["id"] for cell in json.loads(notebook_of(longer))["cells"]]
    assert len(set(ids)) == len(ids) == len(cells) + 2
    assert {cell["id"] for cell in cells} < set(ids), "cells that only moved keep their ids"


def test_the_specimen_keeps_every_rule():
    assert complaints(SPECIMEN) == []


BREACHES = {
    "the median": ("print(math.log(2))", "\n".join(["print(1)"] * 7),
                   ("import math", "\n".join(["import math"] * 7)),
                   ("scale =", "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\nscale "
                               "="), ("fig = ", "\n".join(["x = 1"] * 7) + "\nfig = ")),
    "at most 18 lines": ("import math", "\n".join(["import math"] * 19),
                         ("fig = ", "\n".join(["x = 1"] * 19) + "\nfig = ")),
    "41 lines, more than 40": ("import math", "\n".join(["import math"] * 41)),
    "text cells for": ("# %%\nimport math", MORE_CODE * 10 + "# %%\nimport math"),
    "tagged parameters": ('["parameters"]', '["dials"]'),
    "more than 8": ("seed = 0", "\n".join(f"seed_{n} = 0" for n in range(8))),
    "may only assign": ("seed = 0", "print(0)"),
    "What you will be able to do' is missing": ("## What you will be able to do", "## Goals"),
    "'## Recap' is missing": ("## Recap", "## The end"),
    "'## References' is missing": ("## References", "## Read on"),
    "the first cell": ("# # A chapter", "# A chapter"),
    "exactly one title": ("# ## Recap", "# # Recap"),
    "skips a level": ("# ### Seen", "# #### Seen"),
    "not ex-02-name": ("ex-02-loss", "ex-03-loss"),
    "has no title": ("{exercise} The loss by hand", "{exercise}"),
    "has no card": ("**Difficulty**", "**Hard**"),
    "is not followed by a code cell": ("exercises.check_loss(loss)", "print(loss)"),
    "+1 cells tagged exercise": ("# %%\nimport math", '# %% tags=["exercise"]\nimport math'),
    "has no folded hint": ("# :class: tip dropdown", "# :class: tip"),
    "has no folded solution": ("```python", "```text"),
    "belongs to no exercise": ("{solution} ex-02-loss", "{solution} ex-02-other"),
    "there is no exercise": ("{exercise}", "{note}"),
    "last prediction has no answer": ("} What happened", "} What came"),
    "does not follow a prediction": ("} Predict, then run", "} Run"),
    "before the next one": ("# ### Seen as a curve", "# ```{admonition} Predict, then run\n# "
                                                     ":class: predict\n# ?\n# ```",
                            ("} What happened", "} What came")),
    "plt.show": ('figures.show(fig, alt="The loss falls from 1.0 to 0.7.", caption="The '
                 'loss.")', "plt.show()"),
    "does not show with alt text": ('figures.show(fig, alt="The loss falls from 1.0 to 0.7.", '
                                    'caption="The loss.")', "fig"),
    "has no alt": ('alt="The loss falls from 1.0 to 0.7."', 'alt=""'),
    "has no caption": (', caption="The loss."', ""),
    "the last cell": ('tags=["remove-cell"]', ""),
    "the text holds a path": ("- the paper", "- see /home/anna/paper.pdf"),
    "2 goals, not 3 to 6": ("# - compute a loss\n", ""),
    "3 points of the recap for 2 goals": ("# - compute a loss\n", ""),
    "no exercise for goal 3": ("[among others](ex-02-batch)", "among others"),
    "4 predictions, fewer than 5": ("} Predict, then run\n# :class: predict\n# And for a "
                                    "model", "} Note\n# :class: note\n# And for a model"),
    "2 exercises, fewer than 3": ("{exercise} The loss of a batch", "{note} The loss of a batch"),
    "'## Your turn ...', for": ("## Your turn with your own data", "## More"),
    "the code holds a path": ("import math", 'open("/Users/anna/rows.jsonl")'),
}  # fmt: skip


@pytest.mark.parametrize("complaint", BREACHES)
def test_the_checker_sees_a_breach(complaint, tmp_path):
    old, new, *others = BREACHES[complaint]
    text = SPECIMEN.read_text()
    for before, after in [(old, new), *others]:
        assert before in text
        text = text.replace(before, after)
    broken = tmp_path / "02_broken.py"
    broken.write_text(text)
    assert complaint in "\n".join(complaints(broken))


def test_a_wrapped_statement_counts_as_one_line(tmp_path):
    chapter = tmp_path / "02_wrapped.py"
    wrapped = "total = sum([\n" + "    1,\n" * 30 + "])\n"
    chapter.write_text(SPECIMEN.read_text().replace("import math", wrapped + "import math", 1))
    assert complaints(chapter) == []


def test_lines_for_ipython_are_not_a_breach(tmp_path):
    chapter = tmp_path / "02_colab.py"
    colab = "if seed:\n    %pip install -q zephyr-handbook\nimport math"
    chapter.write_text(SPECIMEN.read_text().replace("import math", colab, 1))
    assert complaints(chapter) == []
