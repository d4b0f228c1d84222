"""The learner's copies: all that asks is there, nothing that answers, and the code still hangs
together.
"""

import re
from pathlib import Path

import learner
import nbformat
import pytest
from chapter_rules import ANSWER, EXERCISE, PREDICT, SOLUTION

BOOK = Path(__file__).resolve().parents[1] / "book"
NOTEBOOKS = BOOK.parent / "notebooks"
CHAPTERS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def text(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learner")
    learner.write_copies(NOTEBOOKS, folder)
    return folder


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def both(request, copies):
    return tuple(
        nbformat.read(folder / request.param.name, as_version=4) for folder in (NOTEBOOKS, copies)
    )


def test_every_prediction_and_exercise_is_there_and_no_solution_or_answer(both):
    chapter, copy = (text(notebook) for notebook in both)
    predictions = [
        len(PREDICT.findall(text(notebook)))
        + sum(source.startswith("lessons.predict(") for source in code(notebook))
        for notebook in both
    ]
    assert predictions[0] == predictions[1] > 0
    assert len(EXERCISE.findall(copy)) == len(EXERCISE.findall(chapter)) > 0
    answers = [source for source in code(both[0]) if "lessons.explain(" in source]
    assert SOLUTION.search(chapter) and (ANSWER.search(chapter) or answers)
    assert not [source for source in code(both[1]) if "lessons.explain(" in source]
    assert not SOLUTION.search(copy) and not ANSWER.search(copy)
    assert "{solution}" not in copy and "What happened" not in copy


def test_no_line_of_a_solution_is_left_behind_in_the_text(both):
    chapter, copy = (text(notebook) for notebook in both)
    for solution in SOLUTION.finditer(chapter):
        for line in re.findall(r"^ +return .{12,}$", solution["body"], re.M):
            assert line not in copy


def test_the_headings_stay_and_the_prose_goes(both):
    chapter, copy = (text(notebook) for notebook in both)
    title = chapter.splitlines()[0]
    assert copy.startswith(title) and "## Recap" in copy
    assert len(copy.split()) < 0.7 * len(chapter.split())


def test_all_code_but_the_last_cell_and_the_answers_stays_in_its_order(both):
    chapter, copy = (code(notebook) for notebook in both)
    asking = [source for source in chapter[:-1] if "lessons.explain(" not in source]
    assert [source for source in copy if source in asking] == asking


def test_of_a_cell_that_answers_what_later_cells_need_stays():
    cells = [
        "a = 1",
        'b, c = 2, 3\ntext = "the answer"\nlessons.explain(f"{c}" + text)',
        "%pip install x",
        'd = 5\nlessons.explain("{d}")',
        "print(b)",
    ]
    kept = ["a = 1", "b, c = 2, 3", "%pip install x", "", "print(b)"]
    assert learner._without_answers(cells) == kept


def test_text_around_a_box_in_one_cell_is_trimmed_and_the_box_kept():
    box = "```{admonition} Predict, then run\n:class: predict\nWhat?\n```"
    cell = f"### A step\n\nProse.\n\n{box}\n\nMore prose."
    trimmed = learner._trimmed(cell)
    assert trimmed.startswith("### A step\n\n```{admonition} Predict") and "rose" not in trimmed


def test_a_comment_in_code_inside_a_box_is_not_a_heading():
    assert learner._trimmed("````{solution} ex-01-a\n```python\n# not a heading\n```\n````") == ""
