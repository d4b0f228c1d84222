"""Outputs that may become a page, and those that are refused: HTML, Markdown, scripts."""

import nbformat
import pytest
from page_html import FORMULA_OR_CODE, PRINTED, in_lines, in_type, together
from safe_outputs import VIEW, unsafe, unsafe_outputs

from zephyr_utils import figures
from zephyr_utils.ablations import claims
from zephyr_utils.ablations.catalogue import TABLE_3
from zephyr_utils.ablations.results import committed
from zephyr_utils.chat import TokenView, token_view_html
from zephyr_utils.preferences import audit

TEXT = "</script><img src=x onerror=run()> $x$ {{ 7 * 7 }} | ```{raw} html"


@pytest.mark.parametrize(
    "page",
    [
        "<script>run()</script>",
        "<SCRIPT src=//a.b></SCRIPT>",
        "<td><img src=x onerror=run()></td>",
        "<svg/onload=run()>",
        "<iframe srcdoc='a'></iframe>",
        "<a href='javascript:run()'>a</a>",
        "<form action=//a.b><input></form>",
        "<img alt=a src='https://a.b/c.png'>",
        "<img alt=a src='data:text/html,<script>run()</script>'>",
        "<picture><source srcset='https://a.b/c.png'></picture>",
        "<p style='background: url(//a.b)'>a</p>",
        "<p style='background: u\\72l(//a.b)'>a</p>",
        "<style>@import '//a.b'</style>",
        "<!-- a -->",
        "<!doctype html>",
        "<?php run() ?>",
        "<![CDATA[a]]>",
        "<td>a < b</td>",
        "<td>a <b",
        "<math><mi//xlink:href='data:x,<script>run()</script>'>",
    ],
)
def test_html_that_runs_loads_or_is_unescaped_is_refused(page):
    assert list(unsafe("text/html", page))


@pytest.mark.parametrize(
    "text",
    [
        "a <img src=x onerror=run()>",
        "<div>\n\na",
        "<!-- a -->",
        "```{raw} html\n<script>run()</script>\n```",
        ":::{include} /etc/passwd\n:::",
        "{download}`a </etc/passwd>`",
        "| a |\n|---|\n| {eval-rst}`b` |",
        "$\\href{javascript:run()}{a}$",
        "$$\\require{html} a$$",
        "% a comment",
        "+++ {}",
        "(target)=\n# a",
        "![a](https://a.b/c.png)",
    ],
)
def test_markdown_that_holds_html_directives_or_foreign_roles_is_refused(text):
    assert list(unsafe("text/markdown", text))


@pytest.mark.parametrize("kind", ["application/javascript", "image/svg+xml", "text/latex", "x/y"])
def test_a_kind_of_output_that_no_chapter_needs_is_refused(kind):
    assert list(unsafe(kind, "a")) == [f"an output of the kind {kind}"]


@pytest.mark.parametrize(
    "view", [{"model_id": "</SCRIPT><img src=x>"}, {}, {"model_id": "0" * 32, "a": "</SCRIPT>"}]
)
def test_a_widgets_view_names_its_model_and_nothing_else(view):
    assert not list(unsafe(VIEW, {"model_id": "0a" * 16, "version_major": 2}))
    assert list(unsafe(VIEW, view))


def test_a_fault_names_its_cell():
    output = nbformat.v4.new_output("display_data", {"text/html": "<script>"})
    cells = [nbformat.v4.new_markdown_cell("a"), nbformat.v4.new_code_cell("b", outputs=[output])]
    notebook = nbformat.v4.new_notebook(cells=cells)
    assert unsafe_outputs(notebook) == ["cell 1: HTML with <script>"]


def test_what_the_package_displays_of_hostile_text_may_be_shown():
    said = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": TEXT}]
    pair = {"prompt": TEXT, "prompt_id": "0", "chosen": said, "rejected": said}
    scored = pair | {
        "score_chosen": 5.0,
        "score_rejected": 1.0,
        "chosen_model": TEXT,
        "rejected_model": TEXT,
    }
    pages = [
        figures.before_after_table([{TEXT: TEXT}], caption=TEXT),
        figures.figure_html(figures.loss_curve({TEXT: {1: 1.0}}), alt=TEXT, caption=TEXT),
        audit([scored])._repr_html_(),
        token_view_html([TokenView(text=TEXT, id=1, role="user", in_loss=True)]),
    ]
    for page in pages:
        assert list(unsafe("text/html", page)) == []


def test_the_tables_of_the_ablations_may_be_shown():
    measured = committed().measured
    for table in (
        claims.models_table(measured, TABLE_3),
        claims.findings_table(claims.judge_all(measured)),
    ):
        assert list(unsafe("text/markdown", table)) == []


def test_each_printed_line_is_an_element_and_the_text_stays_the_same():
    text = "a  1\n\n  b &lt; 2\n"
    opening = '<div class="output stream x" tabindex="-1"><div class="highlight"><pre><span></span>'
    page = f"{opening}{text}</pre>"
    shown = PRINTED.sub(in_lines, page)
    assert shown.count('<span class="line">') == 3
    assert shown.replace('<span class="line">', "").replace("\n</span>", "\n") == page


def test_intervals_and_p_values_do_not_break_but_in_what_is_verbatim():
    page = "<td>+0.1 [−0.2, +0.4], p = 0.012</td><pre>[0.1, 0.2] <b>p = 0.5</b></pre> p &lt; 0.001"
    expected = page.replace("[−0.2, ", "[−0.2,\xa0").replace("p = 0.012", "p\xa0=\xa00.012")
    assert in_type(page) == expected.replace("p &lt; 0", "p\xa0&lt;\xa00")


def test_a_minus_is_one_in_text_and_stays_a_hyphen_in_code_names_and_quotations():
    page = (
        '<p style="margin:-1px">from -0.5 (-1), [-2, -.3]; GPT-4, 2-3 on 2026-11-30</p>'
        '<img alt="at -4 nats"/><pre>-1</pre><code>-2</code> = -7<dt class="sig x">-100</dt>'
        '<span class="math x">\\(-3\\)</span><table class="texts"><td>-8</td></table>'
    )
    expected = page.replace("-0.5 (-1), [-2, -.3]", "−0.5 (−1), [−2,\xa0−.3]")
    assert in_type(page) == expected.replace("at -4", "at −4").replace("= -7", "= −7")


def test_brackets_and_punctuation_stay_with_their_formula_or_code():
    formula = '<span class="math notranslate nohighlight">\\(k - 1\\)</span>'
    code = '<code class="docutils literal notranslate"><span class="pre">n</span></code>'
    text = f"{formula}. {code}), {code} ({formula} ({code}){formula}"
    begin, end = '<span class="together">', "</span>"
    assert FORMULA_OR_CODE.sub(together, text) == (
        f"{begin}{formula}.{end} {begin}{code}),{end} {code} {begin}({formula}{end} "
        f"{begin}({code}){end}{formula}"
    )
    path = code.replace(">n<", ">zephyr_utils/planning/rates.py<")
    assert FORMULA_OR_CODE.sub(together, f"({path}") == f'<span class="together long">({path}{end}'
