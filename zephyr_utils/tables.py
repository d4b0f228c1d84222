"""Tables for people: Markdown for cards and READMEs, HTML for pages and notebooks."""

import html
import re
from collections.abc import Collection, Iterable, Sequence

_BAR = re.compile(r"(?<!\\)\|")
_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


class Markup(str):
    """Text that is HTML already; everything else in an HTML table is escaped."""


def markdown_table(
    columns: Sequence[object], rows: Iterable[Sequence[object]], *, numbers: Collection[int] = ()
) -> str:
    """A Markdown table, without a line break at its end.

    Cells may hold Markdown of their own; bars in them are escaped and line breaks become blanks.

    Args:
        columns: the header's cells.
        rows: as many cells each.
        numbers: places of columns that hold numbers, from 0; they are aligned to the right.
    """
    rule = ["---:" if place in numbers else "---" for place in range(len(columns))]
    lines = [_markdown_cells(columns), rule, *(_markdown_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def html_table(
    columns: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numbers: Collection[int] = (),
    row_headers: bool = False,
    css_class: str = "",
) -> str:
    """An HTML table with a header.

    Args:
        columns: the header's cells.
        rows: as many cells each. A cell is escaped unless it is :class:`Markup`.
        caption: shown above the table; "" for none.
        numbers: places of columns that hold numbers, from 0; their cells get the class ``number``.
        row_headers: whether the first cell of a row names it.
        css_class: of the table; "" for none.
    """
    head = "".join(f'<th scope="col">{as_html(column)}</th>' for column in columns)
    lines = []
    for row in rows:
        cells = [
            f'<th scope="row">{as_html(cell)}</th>'
            if row_headers and place == 0
            else f'<td class="number">{as_html(cell)}</td>'
            if place in numbers
            else f"<td>{as_html(cell)}</td>"
            for place, cell in enumerate(row)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    title = f"<caption>{as_html(caption)}</caption>" if caption else ""
    named = f' class="{html.escape(css_class)}"' if css_class else ""
    return (
        f"<table{named}>{title}<thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def as_html(value: object) -> Markup:
    """The value as HTML: escaped, unless it is :class:`Markup` already."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value)))


def _markdown_cells(row: Sequence[object]) -> list[str]:
    return [_BREAKS.sub(" ", _BAR.sub(r"\\|", str(cell))) for cell in row]
