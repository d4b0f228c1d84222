"""Which outputs of an executed chapter may become a page: text, tables, figures and widgets, and
nothing that a browser runs or that Sphinx would carry out.

What a cell displays as HTML or Markdown is taken into the page as it is. The package escapes the
text of records; this is the second lock, at the door of the site: a cell that displays a record
unescaped is refused by name, whatever the record holds.
"""

import html.parser
import re
from collections.abc import Iterator
from typing import Any

import nbformat
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

VIEW = "application/vnd.jupyter.widget-view+json"
KINDS = {"text/plain", "text/html", "text/markdown", "image/png", VIEW}
TAGS = {
    *("b", "br", "code", "em", "i", "small", "span", "strong", "sub", "sup", "wbr"),
    *("div", "figcaption", "figure", "img", "li", "ol", "p", "picture", "pre", "progress"),
    *("source", "ul"),
    *("caption", "table", "tbody", "td", "th", "thead", "tr"),
    *("details", "fieldset", "input", "label", "legend", "summary"),  # of `lessons`
}
ATTRIBUTES = {
    *("alt", "border", "class", "colspan", "max", "media", "name", "rowspan", "scope", "src"),
    *("srcset", "style", "tabindex", "title", "type", "value"),
}
RADIO = re.compile(r"predict-[a-z0-9-]+")  # the only input: a choice that is sent nowhere
PICTURE = re.compile(r"data:image/(png|svg\+xml);base64,[A-Za-z0-9+/=]*")
LOADS = re.compile(r"url\s*\(|@import|expression\s*\(|\\", re.I)  # in a style attribute
MARKDOWN = MdParserConfig(enable_extensions={"amsmath", "colon_fence", "deflist", "dollarmath"})
ROLES = {"cite:p", "cite:t", "math"}
# Block and inline Markdown that is text, structure or mathematics; all else is MyST's or HTML's.
TOKENS = re.compile(
    r"(paragraph|inline|text|softbreak|hardbreak|strong|em|code_inline|code_block|fence|heading|"
    r"bullet_list|ordered_list|list_item|blockquote|table|thead|tbody|tr|th|td|hr|link|dl|dt|dd|"
    r"math_inline|math_block|amsmath|myst_role)(_open|_close|_double)?"
)
TEX_MARKUP = re.compile(r"\\(href|class|cssId|style|data|require)\b")


def unsafe_outputs(notebook: nbformat.NotebookNode) -> list[str]:
    """What outputs of this notebook hold that no page may, each with the place of its cell."""
    return [
        f"cell {place}: {fault}"
        for place, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        for kind, content in output.get("data", {}).items()
        for fault in unsafe(kind, content)
    ]


def unsafe(kind: str, content: Any) -> Iterator[str]:
    """The faults of one output of a MIME type; empty where it may be shown."""
    if kind not in KINDS:
        yield f"an output of the kind {kind}"
    elif kind == "text/html":
        yield from _unsafe_html("".join(content))
    elif kind == "text/markdown":
        yield from _unsafe_markdown("".join(content))
    elif kind == VIEW:
        versions = [value for name, value in content.items() if name != "model_id"]
        if not re.fullmatch("[0-9a-f]{32}", str(content.get("model_id"))) or not all(
            isinstance(version, int) for version in versions
        ):
            yield "a widget's view that is not an id and version numbers"


class _Tags(html.parser.HTMLParser):
    """Collects what HTML of an output holds beside plain tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.faults.append(f"HTML with <{tag}>")
        given = dict(attrs)
        if tag == "input" and (
            given.get("type") != "radio" or not RADIO.fullmatch(given.get("name") or "")
        ):
            self.faults.append("HTML with an input that is not a choice of a prediction")
        for name, value in attrs:
            if (name in ("name", "type") and tag != "input") or name not in ATTRIBUTES:
                self.faults.append(f"HTML with the attribute {name}")
            elif name in ("src", "srcset") and not PICTURE.fullmatch(value or ""):
                self.faults.append("HTML with a picture from elsewhere")
            elif name == "style" and LOADS.search(value or ""):
                self.faults.append("HTML with a style that loads something")

    def handle_comment(self, data: str) -> None:
        self.faults.append("HTML with a comment")

    def handle_decl(self, decl: str) -> None:
        self.handle_comment(decl)

    def handle_pi(self, data: str) -> None:
        self.handle_comment(data)

    def unknown_decl(self, data: str) -> None:
        self.handle_comment(data)


def _unsafe_html(content: str) -> Iterator[str]:
    reader = _Tags()
    reader.feed(content)
    reader.close()
    yield from reader.faults
    # What the reader took for text and another parser may take for a tag.
    plain = re.sub(r"</?[a-z][^<>]*>", "", content)
    if "<" in plain and not reader.faults:
        yield "HTML with an unescaped <"


def _unsafe_markdown(content: str) -> Iterator[str]:
    def walk(tokens: list[Token]) -> Iterator[Token]:
        for token in tokens:
            yield token
            yield from walk(token.children or [])

    for token in walk(create_md_parser(MARKDOWN, RendererHTML).parse(content)):
        if not TOKENS.fullmatch(token.type):
            yield f"Markdown with {token.type.replace('_', ' ')}"
        elif token.type == "fence" and token.info.startswith("{"):
            yield f"Markdown with the directive {token.info}"
        elif token.type == "myst_role" and token.meta.get("name") not in ROLES:
            yield f"Markdown with the role {token.meta.get('name')}"
        elif token.type.startswith(("math", "amsmath")) and TEX_MARKUP.search(token.content):
            yield "a formula that holds markup"
