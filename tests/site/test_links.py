"""Links, anchors, pictures and words of the built pages, read without a browser."""

import html.parser
import json
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest
import yaml
from build_book import chapters_of

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
FIGURE = re.compile(r'<img [^>]*src="data:image/[^"]*"')
TABLE = re.compile(
    r"[^>]*></picture><figcaption>[^<]*</figcaption></figure>"
    r'<details class="figure-table">.*?</details>',
    re.S,
)


class Reader(html.parser.HTMLParser):
    """The links, the ids and the pictures of one page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.pictures = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "img" or (tag == "svg" and given.get("role") == "img"):
            self.pictures.append(
                given.get("alt")
                if tag == "img"
                else given.get("aria-label") or given.get("aria-labelledby")
            )


@pytest.fixture(scope="session")
def read(website):
    return {path: Reader(path.read_text(encoding="utf-8")) for path in website.rglob("*.html")}


def test_every_link_inside_the_site_leads_somewhere(read, website):
    broken = []
    for path, page in read.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            target = (
                (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            )
            known = read.get(target)
            if not target.is_file() or (
                known and parts.fragment and urllib.parse.unquote(parts.fragment) not in known.ids
            ):
                broken.append(f"{path.relative_to(website)}: {link}")
    assert broken == []


def test_every_address_in_the_repository_is_a_file_of_it(read, website):
    """Open buttons of Colab and Binder, and links to files on GitHub, lead to what is there."""
    repository = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))["repository"]
    owner = repository["url"].removeprefix("https://github.com/")
    branch = repository["branch"]
    shapes = re.compile(
        rf"https://(?:colab\.research\.google\.com/github|github\.com)/{owner}/(?:blob|tree|raw)/"
        rf"{branch}/([^?#]+)|https://mybinder\.org/v2/gh/{owner}/{branch}\?urlpath=lab/tree/([^&#]+)"
    )
    led_to = {
        (urllib.parse.unquote(found[1] or found[2]), path.stem)
        for path, page in read.items()
        for link in page.links
        if (found := shapes.match(link))
    }
    chapters = set(chapters_of(BOOK / "_toc.yml"))
    assert {(f"notebooks/{name}.ipynb", name) for name in chapters} <= led_to
    assert sorted(target for target, _ in led_to if not (ROOT / target).exists()) == []


def test_every_chapter_has_a_button_that_downloads_its_notebook(read, website):
    """That the file is there is a matter of all links; here it is the chapter's own."""
    for name in chapters_of(BOOK / "_toc.yml"):
        page = read[website / "notebooks" / f"{name}.html"]
        assert f"../_sources/notebooks/{name}.ipynb" in page.links, name
        source = website / "_sources" / "notebooks" / f"{name}.ipynb"
        assert json.loads(source.read_text(encoding="utf-8"))["cells"], name


def test_every_figure_of_data_has_its_numbers_below_it(read, website):
    """A figure of data lies in the page itself; drawings are files, and have their words."""
    bare, count = [], 0
    for path in read:
        for part in FIGURE.split(path.read_text(encoding="utf-8"))[1:]:
            count += 1
            table = TABLE.match(part)
            if not table or "<td" not in table[0]:
                bare.append(f"{path.relative_to(website)}: {part[:60]}")
    assert bare == []
    assert count > 20, "so few figures: are they drawn by `figures.show`?"


def test_every_picture_says_in_words_what_it_shows(read, website):
    silent = [
        str(path.relative_to(website)) for path, page in read.items() if not all(page.pictures)
    ]
    assert silent == []
    assert sum(len(page.pictures) for page in read.values()) > 20, (
        "so few pictures: are the figures there?"
    )


def test_every_chapter_of_the_repository_is_a_page_with_its_neighbours_and_its_launch_buttons(
    website,
):
    chapters = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert chapters_of(BOOK / "_toc.yml") == chapters
    for name in chapters:
        text = (website / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
        assert 'title="previous page"' in text and 'title="next page"' in text, name
        assert (
            f"blob/main/notebooks/{name}.ipynb" in text and "colab.research.google.com" in text
        ), name


def test_the_words_of_chapters_and_pages_are_spelt_right(website):
    sources = [*ROOT.glob("notebooks/*.py"), *BOOK.glob("*.md"), *ROOT.glob("*.md")]
    command = [Path(sys.executable).with_name("codespell"), *sources]
    found = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert found.stdout == "" and found.returncode == 0
