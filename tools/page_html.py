"""A Sphinx extension: what the HTML of our pages needs and its makers leave out.

*Widgets.* MyST-NB writes a widget's state as JSON into a script element and escapes ``</script>``
in lower case only. HTML ignores case there, and ``<!--<script>`` keeps the element open to the end
of the page; both may occur in any record that an explorer shows. So every ``<`` becomes
``\\u003c``, which is the same JSON and no markup (HTML standard, section 4.12.1.3, restrictions for
contents of script elements).

*Signatures.* Sphinx breaks a long one into a list of definitions without terms, which screen
readers announce as an empty list.

*Sidebar.* The theme's button that unfolds pages under a page has no name.

*Folds.* MyST-NB gives the line of every fold one name, whatever its words are, and screen readers
read the name.

*Lines.* What a cell printed breaks where it is wider than the page; each line becomes an element,
so that the style sheet can indent what it goes on with.

*Line breaks.* A browser may break a line between a formula, or code, and the bracket before or the
full stop behind it, and within an interval, a p-value, or a number and its "%"; these stay
together.

*Minus.* Programs write a negative number with a hyphen, which is short and may end a line; text has
the sign for it, U+2212. Code, printed text, signatures and quoted answers stay as they are.

*Solutions.* The link in a solution's title begins with the blank before it, and underlines it.

*Numbers.* The text calls chapters by the numbers of their files, which no title holds; so each
page says its own above the title.

*Search.* The theme loads the index of all pages into every page, for a search while one types,
which is off.
"""

import html
import re
from pathlib import Path
from typing import Any

from docstrings import NO_BLANK
from sphinx.application import Sphinx

WIDGET = "application/vnd.jupyter.widget-"
VIEW = re.compile(rf'<script type="{re.escape(WIDGET)}view\+json">[^<]*</script>')
WITHOUT_SCRIPTS = (
    '<noscript><p class="afm-note">This figure is interactive and needs JavaScript; the text '
    "below says what it shows.</p></noscript>"
)
SIGNATURE = re.compile(r'(<span class="sig-paren">\(</span>\s*)<dl>(.*?)</dl>', re.S)
FOLD = '<summary aria-label="Toggle hidden content">'
PRINTED = re.compile(
    r'(<div class="output (?:stream|text_plain)[^>]*>\s*<div class="highlight"><pre><span></span>)'
    r"([^<]*)(?=</pre>)"
)
FORMULA_OR_CODE = re.compile(
    r'(\(?)(<span class="math notranslate nohighlight">[^<]*</span>'
    r'|<code class="docutils literal notranslate"><span class="pre">[^<]*</span></code>)'
    r"([.,;:)?]*)"
)
VERBATIM = re.compile(
    r'(<(pre|script|svg|code|dt(?= class="sig)|(?:span|div)(?= class="math)|'
    r'table(?= class="(?:before-after|texts)"))\b.*?</\2>)',
    re.S,
)
TEXT = re.compile(r'(?<![^>])[^<>]+|(?<= alt=")[^"]+')
MINUS = re.compile(r"(?<![\w.)\]/&;−-])-(?=\.?\d)")
NAMES = re.compile(f",(</strong>)?(<strong>)?{NO_BLANK}")
DOTTED_TITLE = re.compile(r"(<h1>\w+\.)(?=\w)")  # of a module, too long for a phone
SOLUTION = re.compile(r"(Solution to)(<a [^>]*>) ")
INTERVAL = re.compile(r"(\[[+−-]?[\d.,]+,) ([+−-]?[\d.,]+\])|\bp ((?:=|&lt;|<)) (0\.\d+|1\.0+)")
PER_CENT = re.compile(r"([\d.,]+) %")
SEARCH_TOOLS = re.compile(
    r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>'
)
CHAPTER = re.compile(r"notebooks/(\d\d)_")
TOGGLE = '<summary><span class="toctree-toggle"'
LONG = 24  # characters of code that a phone's line may have to break
AFTER_OTHERS = 900  # MyST-NB's and the theme's handlers of the same event have 500


def safe_json(text: str) -> str:
    """JSON that may occur in a script element: the same value, without the character ``<``."""
    return text.replace("<", "\\u003c")


def plain_signature(match: re.Match[str]) -> str:
    """The parameters of a long signature as lines, and not as a list."""
    lines = match[2].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'{match[1]}<span class="sig-lines">{lines}</span>'


def in_lines(match: re.Match[str]) -> str:
    """A printed text with an element around each line and each percentage; copied, it is the same
    text.
    """
    text = PER_CENT.sub(r'<span class="per-cent">\1 %</span>', match[2])
    lines = text.splitlines(keepends=True)
    return match[1] + "".join(f'<span class="line">{line}</span>' for line in lines)


def in_type(body: str) -> str:
    """The body of a page with the sign for minus, and with blanks that do not break in intervals,
    p-values and percentages; what stands verbatim, such as code, is left alone.
    """
    parts = VERBATIM.split(body)  # text, verbatim, its element's name, and again
    del parts[2::3]
    parts[::2] = [
        PER_CENT.sub(
            "\\1\N{NO-BREAK SPACE}%",
            INTERVAL.sub(
                lambda match: match[0].replace(" ", "\N{NO-BREAK SPACE}"),
                TEXT.sub(lambda text: MINUS.sub("−", text[0]), part),
            ),
        )
        for part in parts[::2]
    ]
    return "".join(parts)


def together(match: re.Match[str]) -> str:
    """A formula or code with its bracket and punctuation in an element that does not break, unless
    it is too long for that on a phone.
    """
    if not (match[1] or match[3]):
        return match[0]
    long = len(html.unescape(re.sub("<[^>]*>", "", match[0]))) > LONG
    return f'<span class="together{" long" if long else ""}">{match[0]}</span>'


def complete(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Change what is about to be written as one page."""
    for script in context.get("script_files", ()):
        attributes = getattr(script, "attributes", {})
        if attributes.get("type", "").startswith(WIDGET) and "body" in attributes:
            attributes["body"] = safe_json(attributes["body"])
    if "body" in context:
        body = VIEW.sub(lambda view: view[0] + WITHOUT_SCRIPTS, context["body"])
        body = body.replace(FOLD, "<summary>")
        if chapter := CHAPTER.match(page):
            number = f'<p class="chapter-number">Chapter {chapter[1]}</p>'
            body = body.replace("<h1>", f"{number}\n<h1>", 1)
        body = PRINTED.sub(in_lines, in_type(body))
        body = SOLUTION.sub(r"\1 \2", FORMULA_OR_CODE.sub(together, body))
        body = NAMES.sub(r",\1 \2", body)  # Sphinx is past splitting names at blanks
        body = DOTTED_TITLE.sub(r"\1<wbr>", body)
        context["body"] = SIGNATURE.sub(plain_signature, body)
    if draw_sidebar := context.get("generate_toctree_html"):
        named = TOGGLE.replace("<summary>", '<summary aria-label="Pages under this one">')
        context["generate_toctree_html"] = lambda *arguments, **options: str(
            draw_sidebar(*arguments, **options)
        ).replace(TOGGLE, named)


def drop_search_tools(app: Sphinx, error: Exception | None) -> None:
    """Take the search's scripts out of all pages but the one that searches; the theme's template
    writes them into each.
    """
    if error is None:
        for page in Path(app.outdir).rglob("*.html"):
            if page.name != "search.html":
                text = page.read_text(encoding="utf-8")
                page.write_text(SEARCH_TOOLS.sub("", text), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", complete, priority=AFTER_OTHERS)
    app.connect("build-finished", drop_search_tools)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
