"""How much a reader's line has to carry, and what is there before any script has run.

Two counts, both without figures, which are part of the HTML as data: addresses. The page: its HTML
with the data of its explorers, as it lies on disk. The first visit: that and every style and script
the HTML loads (MathJax and the theme's icons are most of it, and shared by all pages), compressed
as hosts of static pages send them.
"""

import gzip
import html.parser
import re
from pathlib import Path

import pytest

MOST = 1_500_000  # bytes
PICTURE = re.compile(r'"data:image/[^"]+"')


class Loaded(html.parser.HTMLParser):
    """The styles and scripts of one page that lie in files of their own."""

    def __init__(self, page: Path):
        super().__init__()
        self.files: set[Path] = set()
        self.page = page
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        wanted = {"stylesheet", "preload", "modulepreload"} & set(given.get("rel", "").split())
        url = (
            given.get("src")
            if tag == "script"
            else given.get("href")
            if tag == "link" and wanted
            else ""
        )
        if url and not url.startswith("data:"):
            self.files.add((self.page.parent / url.split("?")[0]).resolve())


def compressed(content: bytes) -> int:
    return len(gzip.compress(content, compresslevel=6))


def test_a_page_is_light_without_its_figures_also_at_the_first_visit(website, page):
    path = website / f"{page}.html"
    bare = PICTURE.sub('""', path.read_text(encoding="utf-8")).encode()
    assert len(bare) < MOST
    files = Loaded(path).files
    assert len(files) > 10, "the page loads next to nothing: are its styles and scripts counted?"
    assert compressed(bare) + sum(compressed(file.read_bytes()) for file in files) < MOST


@pytest.mark.browser
def test_a_page_can_be_read_before_any_script_has_run(browser, address, website, page):
    """With JavaScript off the words of the article are seen, those in folded boxes too."""
    if page == "search":
        pytest.skip("the search page is a script and has no article")
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    try:
        tab.goto(f"{address}{page}.html", wait_until="load")
        seen = tab.locator(".bd-article").inner_text()
    finally:
        context.close()
    text = re.sub(
        r"<(script|style|svg|math)\b.*?</\1>",
        " ",
        (website / f"{page}.html").read_text("utf-8"),
        flags=re.S,
    )
    article = text[text.index("<article") : text.index("</article>")]
    # A closed <details> opens without a script; its summary is what is seen.
    article = re.sub(r"(</summary>).*?(?=</details>)", r"\1", article, flags=re.S)
    whole_words = re.sub(
        r"</?(span|em|strong|a|code)\b[^>]*>", "", article
    )  # colours split code where no space is
    words = re.sub(r"<[^>]+>", " ", whole_words).split()
    assert len(seen.split()) > 0.9 * len(words), (
        "much of the page is not seen before its scripts have run"
    )
