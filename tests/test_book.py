"""The website: what the build refuses, what it puts on the pages, and the pages in a browser."""

import re

import build_book as build
import nbformat
import pytest
import yaml
from book_workplace import BOOK, CHAPTERS, Workplace
from browsing import chromium, recording_tab, served

from zephyr_utils.errors import HandbookError


@pytest.fixture
def workplace(tmp_path):
    return Workplace(tmp_path)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The real pages and configuration, around stand-ins for all chapters."""
    return Workplace(tmp_path_factory.mktemp("site"), build.chapters_of(BOOK / "_toc.yml")).build()


def page(site, name):
    return (site / f"{name}.html").read_text(encoding="utf-8")


def test_the_real_pages_and_configuration_build_without_a_warning(site):
    assert build.check(site, build.chapters_of(BOOK / "_toc.yml")) == []


def test_a_chapter_says_under_its_title_what_its_last_run_took(site):
    text = page(site, "notebooks/00_overview")
    title, box, prose = (
        text.index(words)
        for words in ("<h1>Chapter", "Time and memory, from the last run", "The loss is")
    )
    assert title < box < prose
    for words in (
        "1 min 15 s",
        "40 s of it by an earlier run",
        "812 MB of memory",
        "2 cores of A CPU",
        "torch 1.2.3",
    ):
        assert words in text


def test_a_chapter_says_how_long_its_exercises_take(workplace):
    texts = ("**Difficulty** ●○○○○ · **Minutes** 5", "prose", "**Minutes** 25 and **Minutes** 10")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(t) for t in texts])
    assert build.minutes_of_exercises(notebook) == 40
    entry = next(iter(workplace.report.values()))
    assert "The exercises take about 40 minutes." in build.box_of(entry, 40)
    assert "exercises" not in build.box_of(entry, 0)


def test_the_front_page_shows_the_last_run(site):
    text = page(site, "index")
    assert (
        "0.6 to 0.7" in text
        and "Added up, the chapters took " in text
        and "<!-- last run -->" not in text
    )
    assert 'class="pipeline"' in text


def test_all_pages_are_in_the_table_of_contents():
    toc = (BOOK / "_toc.yml").read_text(encoding="utf-8")
    pages = {path.stem for path in BOOK.glob("*.md")} - {"index"}
    assert pages == {
        line.split()[-1] for line in toc.splitlines() if "- file: " in line and "/" not in line
    }


def test_chapters_have_the_number_of_their_file_in_the_sidebar_and_above_their_title(site):
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    named = {each["file"]: each.get("title") for each in toc["parts"][0]["chapters"]}
    for source in (BOOK.parent / "notebooks").glob("[0-9]*.py"):
        title = re.search(r"^# # (.+)$", source.read_text(encoding="utf-8"), re.M)[1]
        assert named[f"notebooks/{source.stem}"] == f"{source.stem[:2]} {title}"
    assert "05 dDPO: learning from preferences" in page(site, "index")
    assert '<p class="chapter-number">Chapter 02</p>' in page(site, "notebooks/02_dsft")


def test_the_references_have_an_address_for_each_name_and_command(site):
    assert 'id="zephyr_utils.preferences.binarize"' in page(site, "api/preferences")
    assert 'id="zephyr_utils.pipeline.pipeline.Pipeline.ddpo"' in page(site, "api/pipeline")
    assert 'href="api/preferences.html"' in page(site, "api")
    assert 'id="zephyr-pairs"' in page(site, "command-line")


def test_launch_buttons_lead_to_the_committed_notebook_at_the_one_address(site):
    address = yaml.safe_load((BOOK / "_config.yml").read_text())["repository"]["url"]
    owner_and_name = address.removeprefix("https://github.com/")
    text = page(site, "notebooks/01_truecasing")
    notebook = "notebooks/01_truecasing.ipynb"
    colab = f"https://colab.research.google.com/github/{owner_and_name}"
    assert f"{colab}/blob/main/{notebook}" in text
    assert f"https://mybinder.org/v2/gh/{owner_and_name}/main?urlpath=lab/tree/{notebook}" in text
    others = [
        path
        for path in BOOK.rglob("*.*")
        if path.suffix in {".md", ".css", ".py", ".yml"} and path.name != "_config.yml"
    ]
    assert others and not [
        path.name for path in others if owner_and_name in path.read_text(encoding="utf-8")
    ]


def test_nothing_of_papermills_notes_reaches_the_site(site):
    assert not [
        path for path in site.rglob("*.ipynb") if "papermill" in path.read_text(encoding="utf-8")
    ]


def fails(workplace, words):
    with pytest.raises(HandbookError) as caught:
        workplace.build()
    assert words in str(caught.value)


def test_a_chapter_without_a_whole_run_is_refused(workplace):
    del workplace.report["01_truecasing"]
    workplace.save()
    fails(workplace, "01_truecasing: its last run did not come to an end")


def test_a_chapter_changed_after_its_run_is_refused(workplace):
    (workplace.notebooks / "01_truecasing.ipynb").write_text("other")
    fails(workplace, "01_truecasing: the notebook was changed after its last run")


def test_a_page_that_other_code_made_is_refused_and_the_module_named(workplace):
    workplace.report["01_truecasing"]["code"]["errors.py"] = "what it was before"
    workplace.save()
    fails(workplace, "01_truecasing: errors.py changed after its last run")


def test_a_page_of_a_run_that_kept_no_code_is_refused(workplace):
    del workplace.report["01_truecasing"]["code"]
    workplace.save()
    fails(workplace, "01_truecasing: errors.py changed after its last run")


def test_a_chapter_missing_from_the_table_of_contents_is_refused(workplace):
    workplace.add("02_dsft")
    fails(workplace, "02_dsft: the chapter is not in book/_toc.yml")


def test_a_chapter_in_the_table_of_contents_alone_is_refused(workplace):
    (workplace.notebooks / "01_truecasing.ipynb").unlink()
    fails(workplace, "01_truecasing: book/_toc.yml lists it, but there is no such notebook")


def test_an_output_with_a_folder_of_this_machine_is_refused(workplace):
    workplace.add("01_truecasing", output=f"{build.ROOT}/runs/miniature")
    fails(workplace, "01_truecasing: an output shows the folder")


@pytest.mark.parametrize(
    "harm", ["no cell has an output", "a cell ended with an error", "is not the title"]
)
def test_an_executed_copy_that_is_not_fit_to_be_shown_is_refused(workplace, harm):
    path = workplace.run / "notebooks" / "00_overview.ipynb"
    notebook = nbformat.read(path, 4)
    if harm == "no cell has an output":
        notebook.cells = notebook.cells[:1]
    elif harm == "is not the title":
        notebook.cells = notebook.cells[1:]
    else:
        notebook.cells[1].outputs = [
            nbformat.v4.new_output("error", ename="E", evalue="v", traceback=[])
        ]
    nbformat.write(notebook, path)
    fails(workplace, f"00_overview: {harm}" if "title" not in harm else harm)


def test_a_warning_fails_the_build_and_names_the_page(workplace):
    workplace.front.write_text("# The book\n\n[nowhere](notebooks/09_nowhere)\n")
    fails(workplace, "index.md:3: WARNING")


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/a.css">',
        '<link rel="preload" as="font" href="https://cdn.example/a.woff2">',
        '<img src="https://cdn.example/a.png">',
        '<iframe src="https://cdn.example/"></iframe>',
    ],
)
def test_a_tag_that_loads_from_another_host_is_seen(tag):
    assert len(build.loads_of(f"<html><body>{tag}</body></html>")) == 1


@pytest.mark.parametrize(
    "tag",
    [
        '<a href="https://arxiv.org/abs/2310.16944">',
        '<script src="../_static/a.js">',
        '<link rel="canonical" href="https://a.b/">',
    ],
)
def test_a_link_that_one_follows_and_a_file_of_ours_are_not_loads(tag):
    assert build.loads_of(tag) == []


def test_the_check_sees_missing_pages_pages_without_outputs_and_styles_from_elsewhere(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "index.html").write_text("<html></html>")
    (tmp_path / "notebooks" / "00_overview.html").write_text("<p>words alone</p>")
    (tmp_path / "theme.css").write_text(
        "@import 'https://fonts.example/a.css'; a { background: url(data:x) }"
    )
    assert build.check(tmp_path, CHAPTERS) == [
        "notebooks/01_truecasing.html: the page is missing",
        "2 pages were built for 2 chapters and a front page",
        "notebooks/00_overview.html: the page shows no output",
        "theme.css: loads https://fonts.example/a.css",
    ]


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(site):
    with served(site) as found:
        yield found


@pytest.fixture
def tab(browser, address):
    with recording_tab(browser, address) as opened:
        yield opened


@pytest.mark.browser
@pytest.mark.parametrize(
    "name",
    [
        *("index", "references", "troubleshooting", "results"),
        *("command-line", "api", "api/preferences", "genindex"),
        *(f"notebooks/{name}" for name in CHAPTERS),
    ],
)
def test_a_page_opens_without_errors_requests_to_other_hosts_or_sideways_scrolling(
    tab, address, name
):
    tab.set_viewport_size({"width": 375, "height": 800})
    tab.goto(f"{address}{name}.html", wait_until="networkidle")
    assert tab.complaints == []
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.browser
def test_maths_is_set_and_a_widget_lives_without_a_kernel(tab, address):
    tab.goto(f"{address}notebooks/00_overview.html")
    tab.wait_for_selector("html[data-afm-host=ready]", state="attached")
    tab.wait_for_selector("mjx-container svg")
    shown = tab.locator("[data-afm=mounted] output")
    assert shown.inner_text() == "beta 3 true"
    tab.locator("[data-afm=mounted] input").press("ArrowRight")
    assert shown.inner_text() == "beta 4 true"
    assert "needs a running kernel" in tab.locator("[data-afm=needs-kernel]").inner_text()
    assert tab.complaints == []
