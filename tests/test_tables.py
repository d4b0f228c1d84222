"""Tables in Markdown and HTML: what is escaped, what is aligned, what is left as it is."""

import pytest

from zephyr_utils.tables import Markup, as_html, html_table, markdown_table


def test_a_markdown_table_has_a_header_a_rule_and_a_line_a_row():
    table = markdown_table(["model", "score"], [["base", 1.5], ["dDPO", 5.9]], numbers={1})
    assert table == "| model | score |\n| --- | ---: |\n| base | 1.5 |\n| dDPO | 5.9 |"
    assert markdown_table(["a"], []) == "| a |\n| --- |"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\|b"),  # escaped already
        ("two\r\nlines", "two lines"),
        ("a\u2028b\x85c", "a b c"),
        ("**holds**", "**holds**"),
        (None, "None"),
    ],
)
def test_a_markdown_cell_cannot_end_its_cell_or_its_row(cell, shown):
    assert markdown_table(["x"], [[cell]]).splitlines()[2:] == [f"| {shown} |"]


def test_an_html_table_escapes_every_cell_that_is_not_markup():
    evil = '<img src=x onerror="alert(1)">'
    table = html_table(
        [evil, "n"],
        [[evil, 3], [Markup("<b>x</b>"), None]],
        caption=evil,
        numbers={1},
        row_headers=True,
        css_class='"><script>',
    )
    assert table.count("<img") == 0 and "<script>" not in table
    assert table.count("&lt;img") == 3
    assert '<th scope="row"><b>x</b></th><td class="number">None</td>' in table


def test_a_plain_html_table_has_neither_caption_nor_class_nor_row_headers():
    assert html_table(["a"], [["x"]]) == (
        '<table><thead><tr><th scope="col">a</th></tr></thead>'
        "<tbody><tr><td>x</td></tr></tbody></table>"
    )


def test_what_is_html_stays_html_only_while_it_is_marked_so():
    assert as_html(as_html("a & b")) == "a &amp; b"
    assert as_html(Markup("<i>") + "<i>") == "&lt;i&gt;&lt;i&gt;", "joined text is plain again"
