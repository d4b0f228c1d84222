"""Markdown as HTML for an output of a cell: paragraphs, lists, tables, emphasis, code and formulas.

Raw HTML, links and pictures are shown as the text they are written in, so a value that comes from
data cannot become markup.
"""

import html
import re

from markdown_it import MarkdownIt

_PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")
_PARSER.disable(["autolink", "entity", "html_block", "html_inline", "image", "link", "reference"])
# As Pandoc reads dollars: no blank inside the signs, no digit after the second.
_FORMULA = re.compile(r"`[^`]*`|(?<![\\$])\$(?=\S)((?:[^$\\`]|\\.)+?)(?<=\S)\$(?!\d)", re.S)
_MARK = "\ue000{}\ue001"  # of the private use area: Markdown leaves it as it is
_MARKED = re.compile("\ue000(\\d+)\ue001")


def markdown_html(text: str) -> str:
    """The HTML of a Markdown text; formulas between dollars are left to MathJax."""
    formulas: list[str] = []

    def kept(match: re.Match[str]) -> str:
        if match[1] is None:  # code, in which a dollar is a dollar
            return match[0]
        formulas.append(match[1])
        return _MARK.format(len(formulas) - 1)

    marked = _FORMULA.sub(kept, _MARKED.sub("", text))
    return _MARKED.sub(lambda mark: _formula(formulas[int(mark[1])]), _PARSER.render(marked))


def inline_html(text: str) -> str:
    """The HTML of one line of Markdown, without a paragraph around it."""
    return markdown_html(text).strip().removeprefix("<p>").removesuffix("</p>")


def _formula(tex: str) -> str:
    # The class is the one that Sphinx lets MathJax process; Jupyter looks for the brackets alone.
    return f'<span class="math notranslate nohighlight">\\({html.escape(tex)}\\)</span>'
