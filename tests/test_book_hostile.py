"""Records that try to be markup, mathematics or templates, through the real build and a browser."""

import functools
import json

import nbformat
import pytest
from book_workplace import Workplace, executed_copy
from browsing import chromium, recording_tab, served
from IPython.display import HTML
from page_html import safe_json

from zephyr_utils import figures
from zephyr_utils.data.records import ASPECTS
from zephyr_utils.diagnostics import reward_margins
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.feedback_browser import FeedbackBrowser
from zephyr_utils.explorers.pair_browser import PairBrowser
from zephyr_utils.explorers.reward_margins import Margins
from zephyr_utils.preferences import audit, binarize

STATE, VIEW = (f"application/vnd.jupyter.widget-{kind}+json" for kind in ("state", "view"))
HOSTILE = [
    "</script><img src=x onerror=window.ran=1>",
    "</SCRIPT><img src=x onerror=window.ran=1>",
    "</ScRiPt\n ><img src=x onerror=window.ran=1>",
    "<!--<script>",
    "<!-- <SCRIPT",
    "]]><svg/onload=window.ran=1>",
    "<iframe srcdoc='<script>parent.ran=1</script>'>",
    "$\\href{javascript:window.ran=1}{m}$ and \\(x^2\\) and $$y$$",
    "```{raw} html\n<script>window.ran=1</script>\n```",
    "{{ 7 * 7 }} {math}`z` [a](javascript:window.ran=1) | b |",
    "\x1b]8;;javascript:window.ran=1\x07link\x1b]8;;\x07 \x1b[31mred",
    "line\u2028separator \x00 \u202eright to left",
]
EXPLORERS = 3


def record(number, text):
    """A row of feedback in which every text that a reader may see is this one."""
    answers = [
        {
            "model": f"{text} {name}",
            "response": f"{text} answer {name}",
            "annotations": {a: {"Rating": rating, "Rationale": text} for a in ASPECTS},
            "critique": text,
            "overall_score": overall,
        }
        for name, rating, overall in (("a", "5", 9.0), ("b", "2", 4.0))
    ]
    names = [answer["model"] for answer in answers]
    prompt = f"{text} prompt {number}"
    return {"source": text, "instruction": prompt, "models": names, "completions": answers}


def hostile_page():
    """An executed chapter whose explorers, tables and figures are made of the hostile records."""
    feedback = [record(number, text) for number, text in enumerate(HOSTILE)]
    pairs = binarize(feedback).pairs
    zeros = [0.0] * len(pairs)
    rewards = reward_margins([1.0] * len(pairs), zeros, zeros, zeros, beta=0.1)
    groups = [pair["prompt"] for pair in pairs]
    widgets = [
        PairBrowser(feedback),
        FeedbackBrowser(feedback),
        Margins(pairs, rewards, groups=groups, notes=groups),
    ]
    rows = [{"prompt": text, f"{text} model": text} for text in HOSTILE[:1]]
    rows += [{key: text for key in rows[0]} for text in HOSTILE[1:]]
    table = figures.before_after_table(rows, caption=HOSTILE[1])
    names = [text[:40] for text in HOSTILE]
    heat = figures.rating_heatmap(names, names[:3], [[1.0, 2.0, 3.0]] * len(names))
    heat_map = figures.figure_html(heat, alt=HOSTILE[1], caption=HOSTILE[7])

    notebook = executed_copy("00_overview")
    cell = nbformat.v4.new_code_cell
    display = functools.partial(nbformat.v4.new_output, "display_data")
    printed = "\n".join(HOSTILE)
    outputs = [
        display({"text/html": table, "text/plain": printed}),
        display({"text/html": HTML(heat_map).data}),
        display({"text/html": audit(pairs, feedback=feedback)._repr_html_()}),
        display({"text/plain": printed}),
        nbformat.v4.new_output("stream", text=printed),
    ]
    notebook.cells.append(cell("show()", outputs=outputs))
    states = notebook.metadata["widgets"][STATE]["state"]
    for widget in widgets:
        states[widget.model_id] = {"model_name": "AnyModel", "state": widget.get_state()}
        view = {"model_id": widget.model_id, "version_major": 2, "version_minor": 0}
        notebook.cells.append(cell("explore()", outputs=[display({VIEW: view, "text/plain": ""})]))
    return notebook


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    workplace = Workplace(tmp_path_factory.mktemp("hostile"))
    workplace.front.write_text("# The book\n\n```{bibliography}\n```\n", encoding="utf-8")
    path = workplace.run / "notebooks" / "00_overview.ipynb"
    nbformat.write(hostile_page(), path)
    return workplace.build()


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


def opened(tab, address):
    """The hostile page in a tab, once its explorers have started or said why not."""
    tab.goto(f"{address}/notebooks/00_overview.html", wait_until="load")
    tab.wait_for_selector("html[data-afm-host=ready]", state="attached")
    return tab


@pytest.mark.browser
def test_no_text_of_a_record_runs_or_becomes_markup_on_the_page(site, browser):
    with served(site) as address, recording_tab(browser, address) as tab:
        opened(tab, address.rstrip("/"))
        tab.wait_for_load_state("networkidle")
        assert tab.complaints == []
        assert tab.evaluate("window.ran") is None
        assert tab.locator("[data-afm=mounted]").count() == EXPLORERS + 1
        assert tab.locator("article img[src=x], article iframe").count() == 0
        assert tab.locator("article a[href^=javascript]").count() == 0
        assert "49" not in tab.locator("article").inner_text()
        formulas = tab.locator("article mjx-container").count()
        assert formulas == 1, "only the chapter's own formula is set; those in records stay text"


@pytest.mark.browser
def test_explorers_start_on_a_page_that_was_opened_as_a_file(site, browser):
    tab = browser.new_page()
    opened(tab, site.as_uri())
    assert tab.locator("[data-afm=mounted]").count() == EXPLORERS + 1
    assert tab.evaluate("window.ran") is None
    tab.close()


@pytest.mark.browser
@pytest.mark.parametrize("over", ["file", "http"])
def test_an_explorer_that_cannot_start_says_why_and_what_to_do(site, browser, over):
    tab = browser.new_page()
    tab.add_init_script("URL.createObjectURL = () => 'blob:refused'")
    with served(site) as address:
        opened(tab, site.as_uri() if over == "file" else address.rstrip("/"))
    notes = tab.locator("[data-afm=failed]")
    assert notes.count() == EXPLORERS + 1
    as_file = "opened as a file" in notes.first.inner_text()
    assert as_file == (over == "file")
    assert ("python3 -m http.server" in notes.first.inner_text()) == (over == "file")
    tab.close()


@pytest.mark.browser
def test_without_scripts_a_page_says_that_its_figures_need_them(site, browser):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{site.as_uri()}/notebooks/00_overview.html")
    shown = tab.locator("article").inner_text()
    assert shown.count("is interactive and needs JavaScript") == EXPLORERS + 2
    context.close()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_state_in_a_script_element_is_the_same_json_without_a_bracket(text):
    written = safe_json(json.dumps({"text": text, "less": "1 < 2"}))
    assert "<" not in written and json.loads(written) == {"text": text, "less": "1 < 2"}


def test_a_cell_that_displays_a_record_unescaped_is_refused_by_name(tmp_path):
    workplace = Workplace(tmp_path)
    notebook = executed_copy("00_overview")
    shown = nbformat.v4.new_output("display_data", {"text/html": f"<td>{HOSTILE[1]}</td>"})
    notebook.cells.append(nbformat.v4.new_code_cell("show()", outputs=[shown]))
    nbformat.write(notebook, workplace.run / "notebooks" / "00_overview.ipynb")
    with pytest.raises(HandbookError, match="00_overview: cell 5: HTML with the attribute onerror"):
        workplace.build()
