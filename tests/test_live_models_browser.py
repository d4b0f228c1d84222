"""The models of a run on a page: fetched by a click, answering in a worker."""

import re
import shutil

import live_models
import pytest
from browsing import chromium, recording_tab, served
from live_runs import know_scale, save_run_of_models
from page_html import WITHOUT_SCRIPTS

from zephyr_utils.explorers.learning import CHECKPOINTS

HOST = live_models.ROOT / "book" / "assets" / "afm-host.js"
PAGE = """<!doctype html><html lang="en" data-content_root="./"><head><meta charset="utf-8">
<title>Talk</title><link rel="icon" href="data:,"></head><body><main>{}</main></body></html>"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run_of_models(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def known_scale(run, monkeypatch):
    know_scale(run, monkeypatch)


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def site(known_scale, run, tmp_path):
    packed = live_models.models_of(run)
    kept = live_models.checkpoints_of(run, packed)
    live_models.write_models(packed, tmp_path / "_static")
    live_models.write_checkpoints(kept, tmp_path / "_static")
    shutil.copy(HOST, tmp_path / "_static")
    both = f"{live_models.TALK}\n\n{live_models.MICROSCOPE}\n"
    pages = {
        "index": live_models.TALK,
        "microscope": live_models.MICROSCOPE,
        "both": both,
        "learning": "\n\n".join(live_models.LEARNING),
    }
    for name, marks in pages.items():
        raw = live_models.with_explorers(marks, run, packed, kept)
        assert raw.startswith("```{raw} html\n") and WITHOUT_SCRIPTS not in raw
        body = re.sub(r"^```.*$", "", raw, flags=re.M)
        (tmp_path / f"{name}.html").write_text(PAGE.format(body), encoding="utf-8")
    return tmp_path


def ready(tab, address):
    tab.goto(address)
    tab.wait_for_selector("html[data-afm-host=ready]", state="attached")


def said(tab, words):
    """The status line, once it holds these words."""
    tab.locator("p[role=status]").filter(has_text=words).wait_for()
    return tab.locator("p[role=status]").inner_text()


@pytest.mark.browser
def test_the_models_answer_by_keyboard_and_the_next_visit_uses_the_cache(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        fetched = []
        tab.on("request", lambda asked: fetched.append(asked.url) if "models" in asked.url else 0)
        for visit in (1, 2):
            ready(tab, f"{address}index.html")
            if visit == 1:
                assert fetched == []
            tab.get_by_role("button", name="Load the models").press("Enter")
            assert "ask them something" in said(tab, "ask them")
            assert tab.evaluate("document.activeElement.tagName") == "TEXTAREA"
            tab.keyboard.type("</s><img src=x onerror=alert(1)>")
            tab.keyboard.press("Enter")
            assert "was read as text" in said(tab, "Asked")
            assert tab.locator("main img").count() == 0
            spoken = tab.locator("p[role=status] .zx-unseen").inner_text()
            assert all(f"{name}: " in spoken for name in ("base", "dSFT", "dDPO"))
            assert tab.locator("[aria-live=polite]").count() == 0, "the status alone is spoken"
        files = [url.rsplit("/", 1)[1].split("-")[0] for url in fetched]
        assert files == ["models.json", "models", "models.json"]
        assert tab.complaints == []


@pytest.mark.browser
def test_held_out_pairs_lie_under_the_microscope_and_the_arrows_walk(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        ready(tab, f"{address}microscope.html")
        assert tab.locator("option").count() == 10  # every third of thirty
        tab.get_by_role("button", name="measure").press("Enter")
        assert "margin" in said(tab, "Implicit rewards")
        tokens = tab.locator(".zx-token")
        tokens.first.focus()
        tab.keyboard.press("ArrowRight")
        label = tokens.nth(1).get_attribute("aria-label")
        assert tab.locator(".zx-note", has_text=label).count() == 1
        assert tab.complaints == []


@pytest.mark.browser
def test_the_sliders_walk_by_keyboard_and_every_checkpoint_answers(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        fetched = []
        tab.on("request", lambda asked: fetched.append(asked.url) if ".bin" in asked.url else 0)
        ready(tab, f"{address}learning.html")
        dsft, ddpo = (Slider(tab, stage) for stage in live_models.LEARNING.values())
        assert dsft.place() == ddpo.place() == "step 2 of 2" and fetched == []
        ddpo.ask()
        ddpo.handle.press("ArrowRight")
        assert "1 + a = 2" in ddpo.place()
        beyond = ddpo.box.locator(".zx-answer .zx-text").nth(1)
        assert beyond.get_attribute("aria-live") == "polite" and beyond.inner_text()
        for slider, start in ((ddpo, "dSFT itself"), (dsft, "base itself")):
            slider.ask()
            slider.handle.press("Home")
            assert start in slider.place()
            before, now = slider.box.locator(".zx-answer .zx-text").all_inner_texts()
            assert before == now
        names = [url.rsplit("/", 1)[1].rsplit("-", 1)[0] for url in fetched]
        assert names == ["models", CHECKPOINTS["dDPO"], CHECKPOINTS["dSFT"]], "each once"
        assert tab.complaints == []


class Slider:
    """The explorer of one stage on a page with two."""

    def __init__(self, tab, stage):
        self.box = tab.locator(".zx", has_text=f"Watch it learn: {stage}")
        self.handle = tab.get_by_role("slider", name=f"Training of {stage}")

    def place(self):
        return self.handle.get_attribute("aria-valuetext")

    def ask(self):
        self.box.get_by_role("button", name="Greet").press("Enter")
        self.box.locator("p[role=status]").filter(has_text="the answer").wait_for()


@pytest.mark.browser
def test_two_explorers_of_a_page_are_each_shown_once(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        ready(tab, f"{address}both.html")
        titles = tab.locator(".zx-title").all_inner_texts()
        assert titles == ["Talk to the models", "The reward microscope"]


@pytest.mark.browser
def test_without_workers_the_models_answer_in_the_page(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        tab.add_init_script("delete window.Worker; delete window.caches;")
        ready(tab, f"{address}index.html")
        tab.get_by_role("button", name="Greet").click()
        assert "Asked “Greet" in said(tab, "Asked")
        assert tab.complaints == []


@pytest.mark.browser
def test_weights_that_were_damaged_in_the_browsers_store_are_fetched_again(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        ready(tab, f"{address}index.html")
        tab.evaluate(
            """async () => {
              const header = await (await fetch("_static/models/models.json")).json();
              const url = new URL("_static/models/" + header.file, document.baseURI).href;
              const cache = await caches.open("zephyr-models");
              await cache.put(url, new Response(new Uint8Array(header.bytes)));
            }"""
        )
        load = tab.get_by_role("button", name="Load the models")
        load.click()
        assert "its SHA-256 differs" in said(tab, "SHA-256")
        load.click()
        assert "ask them something" in said(tab, "ask them")


@pytest.mark.browser
def test_a_page_that_was_opened_as_a_file_says_what_to_do(browser, site):
    tab = browser.new_page()
    try:
        tab.goto((site / "index.html").as_uri())
        tab.get_by_text("python3 -m http.server").wait_for()
    finally:
        tab.close()
