"""The truecaser of a chapter on the website: moved out of the page, fetched by a click, at work in
the browser.
"""

import base64
import json
import shutil
from pathlib import Path

import live_truecaser
import nbformat
import pytest
from browsing import chromium, recording_tab, served
from page_html import WIDGET, safe_json
from truecasing_corpus import corpus

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.truecaser import TruecaserView
from zephyr_utils.truecasing import Truecaser

FAULTY = "Alice likes <b>paris</b>. the river is old, and i like it."
STATE = f"{WIDGET}state+json"
HOST = Path(__file__).resolve().parents[1] / "book" / "assets" / "afm-host.js"
PAGE = """<!doctype html><html lang="en" data-content_root="./"><head><meta charset="utf-8">
<title>Truecasing</title><link rel="icon" href="data:,"><script src="_static/afm-host.js" defer>
</script></head><body><main>{}</main></body></html>"""


@pytest.fixture(scope="module")
def truecaser():
    return Truecaser.fit(corpus(400))


@pytest.fixture(scope="module")
def widget(truecaser):
    return TruecaserView(truecaser, [FAULTY, "The river is old."])


@pytest.fixture
def notebook(widget):
    """What an executed notebook keeps of the widget."""
    state = widget.get_state()
    data = base64.b64encode(state.pop("payload")).decode()
    del state["layout"]
    buffers = [
        {"path": ["other"], "encoding": "base64", "data": "AA=="},
        {"path": ["payload"], "encoding": "base64", "data": data},
    ]
    kept = {"model_name": "AnyModel", "state": state, "buffers": buffers}
    widgets = {STATE: {"state": {widget.model_id: kept, "other": {"state": {}}}}}
    return nbformat.v4.new_notebook(metadata={"widgets": widgets})


def test_the_truecaser_moves_from_the_notebook_to_the_address_that_the_widget_names(
    widget, notebook, tmp_path
):
    live_truecaser.lift_truecasers(notebook, tmp_path / "assets")
    address = widget.file["address"].removeprefix("_static/")
    assert (tmp_path / "assets" / address).read_bytes() == widget.payload
    kept = notebook.metadata["widgets"][STATE]["state"][widget.model_id]
    assert [buffer["path"] for buffer in kept["buffers"]] == [["other"]]
    assert len(json.dumps(notebook)) < 100_000  # of script and examples


def test_a_notebook_without_widgets_is_left_as_it_is(tmp_path):
    plain = nbformat.v4.new_notebook()
    live_truecaser.lift_truecasers(plain, tmp_path)
    assert plain == nbformat.v4.new_notebook() and not list(tmp_path.iterdir())


def test_a_truecaser_that_is_too_large_for_a_reader_is_refused(notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(live_truecaser, "MOST_BYTES", 1000)
    with pytest.raises(HandbookError, match="a reader fetches 1,000 at most"):
        live_truecaser.lift_truecasers(notebook, tmp_path)


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def site(widget, notebook, tmp_path):
    live_truecaser.lift_truecasers(notebook, tmp_path / "_static")
    shutil.copy(HOST, tmp_path / "_static")
    states = safe_json(json.dumps(notebook.metadata["widgets"][STATE]))
    view = json.dumps({"version_major": 2, "version_minor": 0, "model_id": widget.model_id})
    body = "".join(
        f'<script type="{WIDGET}{kind}+json">{text}</script>'
        for kind, text in (("state", states), ("view", view))
    )
    (tmp_path / "index.html").write_text(PAGE.format(body), encoding="utf-8")
    return tmp_path


def opened(tab, address):
    """The button that fetches the truecaser, on the page once its explorer is shown."""
    tab.goto(f"{address}index.html")
    tab.wait_for_selector("html[data-afm-host=ready]", state="attached")
    return tab.get_by_role("button", name="Try your own text")


@pytest.mark.browser
def test_a_pasted_text_is_repaired_by_keyboard_after_one_click(browser, site, truecaser):
    with served(site) as address, recording_tab(browser, address) as tab:
        fetched = []
        tab.on("request", lambda asked: fetched.append(asked.url) if ".bin" in asked.url else 0)
        start = opened(tab, address)
        after = tab.locator(".zx-text").nth(1)
        assert after.inner_text() == truecaser.truecase(FAULTY) and fetched == []
        start.press("Enter")
        tab.get_by_text("What you type stays in this page").wait_for()
        assert tab.evaluate("document.activeElement.tagName") == "TEXTAREA"
        typed = "the river is old. <img src=x onerror=alert(1)> i like paris, and maria does too."
        tab.keyboard.type(typed)
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        tab.get_by_text("Done. Change the text").wait_for()
        assert after.inner_text() == truecaser.truecase(typed) != typed
        assert tab.locator("main img").count() == 0 and len(fetched) == 1
        assert tab.get_by_label("Your own text").input_value() == typed
        assert tab.complaints == []


@pytest.mark.browser
def test_a_damaged_file_is_a_sentence_and_the_page_goes_on(browser, site, widget):
    path = site / widget.file["address"]
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    with served(site) as address, recording_tab(browser, address) as tab:
        opened(tab, address).click()
        tab.get_by_text("is of another version than this page").wait_for()
        tab.get_by_label("Message").select_option(index=1)
        assert tab.locator(".zx-text").nth(1).inner_text() == "The river is old."


@pytest.mark.browser
def test_a_page_that_was_opened_as_a_file_says_what_to_do(browser, site):
    tab = browser.new_page()
    try:
        tab.goto((site / "index.html").as_uri())
        tab.get_by_text("python3 -m http.server").wait_for()
    finally:
        tab.close()
