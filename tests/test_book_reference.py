"""The references of the site: every public name and every option is there, as the code has it."""

import ast
import re

import api_reference
import cli_reference
import docstrings
import pytest
import typer
from api_sources import SOURCES, read_pages
from docstrings import prose, to_myst
from page_html import DOTTED_TITLE, NAMES, SIGNATURE, plain_signature
from typer.testing import CliRunner

from zephyr_utils.cli import app

PAGES = {page.name: page for page in read_pages()}
KNOWN = {
    entry.address for page in PAGES.values() for part in page.sections for entry in part.entries
}
COMMANDS = list(typer.main.get_command(app).commands.items())
RUNNER = CliRunner()


def rendered(name):
    return api_reference.render(PAGES[name], KNOWN)


@pytest.mark.parametrize("name", [name for name in PAGES if name != "zephyr_utils"])
def test_every_name_that_a_package_offers_is_on_its_page(name):
    # Read, and not imported, as the page itself is: importing torch would take most of the time.
    source = (SOURCES / name / "__init__.py").read_text(encoding="utf-8")
    listed = re.search(r"^__all__ = (\[.*?\])", source, re.S | re.M)
    offered = ast.literal_eval(listed[1]) if listed else []
    text = rendered(name)
    missing = [one for one in offered if not re.search(rf"\{{py:\w+\}} {one}\b", text)]
    assert missing == []
    assert text.startswith(f"# zephyr_utils.{name}\n") and text.count("{py:") > 0


def test_a_package_without_a_list_of_names_shows_what_is_public_and_documented():
    text = rendered("pipeline")
    assert "{py:class} RunSettings(" in text and "{py:method} ddpo(" in text
    assert not re.search(r"\{py:\w+\} _", text)


def test_the_page_of_the_top_leads_to_what_the_package_itself_offers():
    text = rendered("zephyr_utils")
    assert "<zephyr_utils.preferences.binarize>`" in text.partition("## doctor")[0]
    assert "{py:exception} HandbookError(" in text


def test_the_overview_has_a_line_for_each_page():
    rows = api_reference.overview().splitlines()[2:]
    assert [re.search(r"\(api/(\w+)\)", row)[1] for row in rows] == list(PAGES)


def test_every_page_is_written_once(tmp_path):
    names = api_reference.write_pages(tmp_path / "api")
    assert sorted(path.stem for path in (tmp_path / "api").iterdir()) == sorted(names)
    assert {"preferences", "training", "zephyr_utils"} < set(names) and "cli" not in names


def signature(source, bound=False):
    return api_reference._signature(ast.parse(source).body[0], bound)


def test_a_signature_has_its_types_without_the_quotes_of_late_imports():
    assert signature('def f(a: "Path", *, b: int | None = None) -> "Row": ...') == (
        "(a: Path, *, b: int | None=None) -> Row"
    )
    assert signature("def f(self, a=1): ...", bound=True) == "(a=1)"


def test_a_dataclass_shows_its_fields_and_a_plain_class_its_constructor():
    [fields] = ast.parse(
        "@dataclass\nclass A:\n    a: int\n    b: list = field(default_factory=list)\n    _c: int "
        "= 0\n"
    ).body
    assert api_reference._constructor(fields) == "(a: int, b: list = ...)"
    [plain] = ast.parse("class A:\n    def __init__(self, a: int): ...").body
    assert api_reference._constructor(plain) == "(a: int)"
    [none] = ast.parse("class A(Enum):\n    B = 1").body
    assert api_reference._constructor(none) == ""


DOCSTRING = """\
What it does, with `binarize` and ``x < 1``.

    >>> code

Args:
    first, second: shapes ``(n,)``
        each.
    third: in $ or *nats*.

Returns:
    What comes out: {a} or <b>.

Raises:
    HandbookError: it is wrong.
    A line that names nothing.

Source: the paper."""


def test_a_docstring_becomes_prose_code_and_fields():
    text = to_myst(DOCSTRING, lambda name: f"[{name}]")
    assert text.startswith("What it does, with [binarize] and `x < 1`.\n\n```pycon\n>>> code\n```")
    assert f":param first,{docstrings.NO_BLANK}second: shapes `(n,)`\n    each." in text
    assert ":param third: in \\$ or *nats*." in text
    assert ":returns: What comes out: \\{a\\} or \\<b\\>." in text
    assert ":raises HandbookError: it is wrong.\n    A line that names nothing." in text
    assert text.endswith("\n\nSource: the paper.")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a_b and *args, **kw", "a\\_b and \\*args, \\*\\*kw"),
        ("* a list\n  of one", "* a list\n  of one"),
        ("% of $5 or $6", "\\% of \\$5 or \\$6"),
        (":class:`Markup` and :func:`look`", "`Markup` and `look`"),
        ("``a\n    b``", "`a b`"),
        (
            "a **bold\nword**, an *italic one*, **kwargs",
            "a **bold\nword**, an *italic one*, \\*\\*kwargs",
        ),
        ("[a](javascript:b) {{ c }}", "\\[a\\](javascript:b) \\{\\{ c \\}\\}"),
    ],
)
def test_what_markdown_would_read_as_markup_is_escaped(text, expected):
    assert prose(text) == expected


def test_a_name_after_a_tilde_is_shown_by_its_last_word():
    text = rendered("evaluation")
    assert "{py:obj}`run_calls <zephyr_utils.feedback." in text and "`~" not in text


def test_a_plain_word_is_not_a_link_to_another_package():
    assert "doctor.report" not in rendered("feedback")


def test_the_parameters_of_a_long_signature_are_lines_and_no_list():
    page = '<span class="sig-paren">(</span>\n\n<dl>\n<dd>a,</dd>\n</dl>\n<dl><dd>b</dd></dl>'
    assert SIGNATURE.sub(plain_signature, page) == (
        '<span class="sig-paren">(</span>\n\n<span class="sig-lines">\n<span class="sig-line">a,'
        "</span>\n</span>\n<dl><dd>b</dd></dl>"
    )


def test_names_have_blanks_between_them_and_a_title_breaks_after_its_dot():
    page = f"<strong>a</strong><strong>,</strong><strong>{docstrings.NO_BLANK}b</strong>"
    assert NAMES.sub(r",\1 \2", page) == ("<strong>a</strong><strong>,</strong> <strong>b</strong>")
    assert DOTTED_TITLE.sub(r"\1<wbr>", "<h1>zephyr_utils.data") == "<h1>zephyr_utils.<wbr>data"
    assert DOTTED_TITLE.sub(r"\1<wbr>", "<h1>Words. More") == "<h1>Words. More"


@pytest.mark.parametrize("name, command", COMMANDS)
def test_every_option_of_a_command_that_the_help_shows_is_in_the_reference(name, command):
    reference = cli_reference.command_reference()
    if command.hidden:
        assert f"Also `zephyr {name}`." in reference
        return
    section = reference.partition(f"## `zephyr {name}`\n")[2].partition("\n## ")[0]
    shown = RUNNER.invoke(app, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown)) - {"--help"}
    assert options <= set(re.findall(r"--[a-z][a-z-]+", section)), "an option is missing"
    for parameter in command.params:
        if parameter.name != "help" and not parameter.hidden:
            assert prose(parameter.help) in section, parameter.name


def test_required_options_stand_in_the_usage_and_choices_and_defaults_in_the_table():
    reference = cli_reference.command_reference()
    assert "zephyr pairs FEEDBACK --output PATH [OPTIONS]" in reference
    assert re.search(
        r"\| `--rejected` \| choice \| `random` \|.*One of `random`, `lowest`", reference
    )
    assert re.search(r"\| `--critiques / --no-critiques` \|  \| `--critiques` \|", reference)
    assert re.search(r"\| `--set-aside` \|  \|  \| Count bad rows", reference)


@pytest.mark.parametrize("example", ["{0}", "Example:\n    {1}"])
def test_an_example_of_a_console_stays_code(example):
    console = ">>> halved(\"$x\")\n'$x'"
    indented = console.replace("\n", "\n    ")
    docstring = f"What it is.\n\n{example.format(console, indented)}"
    assert to_myst(docstring) == f"What it is.\n\n```pycon\n{console}\n```"
