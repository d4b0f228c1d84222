"""Every page in a browser: no error, nothing from elsewhere, readable on a phone, in light, in
dark, with a screen reader.
"""

from pathlib import Path

import pytest
from browsing import moves

AXE = (Path(__file__).parents[1] / "vendor" / "axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
# What we did not write and cannot fix, by selector, each with its reason.
UPSTREAM = {
    ".citation-list": "docutils gives the bibliography role=list without list items",
    "[role=doc-biblioentry]": "docutils gives each entry a role that is deprecated",
    ".theme-switch-button": "the theme's button is named 'Color mode' and holds the mode's hidden "
    "name as well",
    ".search-button__button": "the theme's button is named 'Search' and shows its keys, Ctrl+K, as "
    "well",
}
RUN_AXE = """
async ([tags, excluded]) => {
  const found = await axe.run({ exclude: excluded.map((selector) => [selector]) }, {
    runOnly: { type: "tag", values: tags },
    rules: { "heading-order": { enabled: true } },
    resultTypes: ["violations"],
  });
  const line = (rule, node) =>
    `${rule.id}: ${node.target.join(" ")} ${node.failureSummary ?? ""}`;
  return found.violations.flatMap((rule) => rule.nodes.map((node) => line(rule, node)));
}
"""
# A light page may not only be readable as such: its code, boxes and drawings have to follow the
# reader's choice.
CONTRAST = """
async (excluded) => {
  const found = await axe.run({ exclude: excluded.map((selector) => [selector]) }, {
    runOnly: ["color-contrast"],
    resultTypes: ["violations"],
  });
  const line = (node) => `${node.target.join(" ")} ${node.failureSummary}`;
  return found.violations.flatMap((rule) => rule.nodes.map(line));
}
"""
# Every box, as on paper; tables become lists in the frame after they are first seen.
UNFOLD = """
async () => {
  window.dispatchEvent(new Event("beforeprint"));
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  await window.MathJax?.startup.promise;
  for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
}
"""
# What scrolls within a page that is wider than the screen; lines of code may, outputs may not.
SCROLLING = """
() => [document.documentElement, ...document.querySelectorAll("body *")]
  .filter((box) => box.clientWidth && box.scrollWidth > box.clientWidth + 1)
  .filter((box) => box === document.documentElement
    || ["auto", "scroll"].includes(getComputedStyle(box).overflowX))
  .filter((box) => !box.matches("div.highlight pre") || box.closest(".cell_output"))
  .map((box) => `${box.scrollWidth - box.clientWidth} px: <${box.tagName} class="`
    + `${box.className}"> ${box.textContent.trim().slice(0, 80)}`)
"""


def opened(tab, address, page, width=1280):
    tab.set_viewport_size({"width": width, "height": 900})
    tab.goto(f"{address}{page}.html", wait_until="load")
    if tab.locator('script[type="application/vnd.jupyter.widget-view+json"]').count():
        tab.wait_for_selector("html[data-afm-host=ready]", state="attached")
    return tab


@pytest.mark.browser
def test_a_page_opens_without_error_and_passes_the_accessibility_checker(tab, address, page):
    opened(tab, address, page)
    assert tab.complaints == []
    # The numbers below a figure are part of the page, also where they are folded.
    tab.evaluate("document.querySelectorAll('.figure-table').forEach((fold) => fold.open = true)")
    tab.evaluate(AXE)
    assert tab.evaluate(RUN_AXE, [RULES, list(UPSTREAM)]) == []
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert tab.evaluate(CONTRAST, list(UPSTREAM)) == [], "in dark mode"
    tab.set_viewport_size({"width": 375, "height": 800})
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= 375, f"the page scrolls sideways on a phone: {wide} px"


@pytest.mark.browser
@pytest.mark.parametrize("width", [375, 1280])
def test_only_code_scrolls_sideways_also_where_details_are_open(tab, address, page, width):
    opened(tab, address, page, width)
    tab.evaluate(UNFOLD)
    assert tab.evaluate(SCROLLING) == []


@pytest.mark.browser
def test_every_explorer_is_there_and_moves_by_keyboard(tab, address, page, website):
    if "widget-view+json" not in (website / f"{page}.html").read_text(encoding="utf-8"):
        return
    opened(tab, address, page)
    hosts = tab.locator("[data-afm]")
    states = hosts.evaluate_all("hosts => hosts.map(host => host.dataset.afm)")
    assert states and set(states) == {"mounted"}
    for number in range(hosts.count()):
        host = hosts.nth(number)
        assert moves(host), (
            f"the explorer {number} of {page} shows the same whatever key is pressed"
        )
    assert tab.complaints == []


@pytest.mark.browser
def test_the_search_finds_a_chapter_without_a_server_of_its_own(tab, address):
    tab.goto(f"{address}search.html?q=margin")
    tab.wait_for_selector("#search-results li a")
    assert "06_reward_margins" in " ".join(
        tab.locator("#search-results li a").evaluate_all("links => links.map(link => link.href)")
    )
    assert tab.complaints == []


@pytest.mark.browser
def test_folded_boxes_are_open_on_paper(tab, address):
    opened(tab, address, "notebooks/05_ddpo")
    folded = tab.locator(".admonition.toggle-hidden")
    assert folded.count() > 5
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert folded.count() == 0
