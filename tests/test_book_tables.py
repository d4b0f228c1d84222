"""Tables of the website on a phone: what is too wide becomes a list that names its columns."""

from pathlib import Path

import pytest
from browsing import chromium, recording_tab, served

ASSETS = Path(__file__).resolve().parents[1] / "book" / "assets"
WORDS = "a sentence of a dozen words that needs several lines in a narrow column of a phone"


def table(*cells):
    head = "".join(f"<th>column {place}</th>" for place in range(len(cells)))
    body = "".join(f"<td>{cell}</td>" for cell in cells)
    return f"<div><table><thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody></table></div>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of four tables; a test chooses its width."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("tables.js", "book.css"):
        (folder / name).write_bytes((ASSETS / name).read_bytes())
    tables = [
        table("small", "1"),
        table("wide", *["0.123456789"] * 6, ""),
        table("squeezed", WORDS, WORDS, WORDS),
        f"<details><summary>folded</summary>{table('folded', *['0.123456789'] * 6)}</details>",
    ]
    (folder / "page.html").write_text(
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        '<link rel="stylesheet" href="book.css"><style>div { overflow-x: auto }</style>'
        f'<article class="bd-article">{"".join(tables)}</article><script src="tables.js"></script>'
    )
    with (
        chromium() as browser,
        served(folder) as address,
        recording_tab(browser, address) as tab,
    ):
        yield lambda width: opened(tab, address, width)


def opened(tab, address, width):
    tab.set_viewport_size({"width": width, "height": 800})
    tab.goto(f"{address}page.html")
    return tab


def listed(tab):
    return tab.locator("table.listed td:first-child").all_inner_texts()


@pytest.mark.browser
def test_on_a_phone_wide_and_squeezed_tables_become_lists_and_no_box_scrolls(page):
    tab = page(375)
    tab.wait_for_selector("table.listed >> nth=1")
    assert listed(tab) == ["wide", "squeezed"]
    tab.locator("summary").click()
    tab.wait_for_selector("table.listed >> text=folded")
    assert tab.evaluate("[...document.querySelectorAll('div')].every(d => d.scrollWidth <= 375)")
    cells = tab.locator("table.listed >> nth=0 >> td")
    labels = cells.evaluate_all(
        "cells => cells.map(cell => getComputedStyle(cell, '::before').content)"
    )
    assert labels[:2] == ["none", '"column 1 "']
    assert not cells.last.is_visible(), "an empty cell is left out"


@pytest.mark.browser
def test_on_a_wide_screen_tables_stay_tables(page):
    tab = page(1280)
    tab.locator("summary").click()
    tab.wait_for_timeout(200)
    assert listed(tab) == []
