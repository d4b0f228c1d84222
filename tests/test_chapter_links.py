"""The boxes that explain a result lead to the chapters that they name."""

import nbformat
from chapter_links import link_chapters

from zephyr_utils import lessons

CHAPTERS = ["04_preference_pairs", "05_ddpo"]


def linked(page):
    output = nbformat.v4.new_output("display_data", {"text/html": page})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    link_chapters(notebook, CHAPTERS)
    return notebook.cells[0].outputs[0].data["text/html"]


def test_a_chapter_that_an_explanation_names_is_a_link_to_its_page():
    page = linked(lessons.explanation_html("Read pairs (Chapter 04), as in chapter 05."))
    assert '(<a href="04_preference_pairs.html">Chapter 04</a>)' in page
    assert 'as in <a href="05_ddpo.html">chapter 05</a>.' in page


def test_a_chapter_that_the_website_lacks_and_other_outputs_stay_text():
    box = lessons.explanation_html("See Chapter 99.")
    assert linked(box) == box
    assert linked("<p>Chapter 05</p>") == "<p>Chapter 05</p>"
