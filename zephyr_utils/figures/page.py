"""Figures and tables on a page: HTML that needs no other file and shows text from data as text."""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence

from IPython.display import HTML, display
from matplotlib.figure import Figure

from zephyr_utils.errors import HandbookError
from zephyr_utils.figures.numbers import FigureTable, figure_tables
from zephyr_utils.figures.phone import on_a_phone
from zephyr_utils.tables import Markup, html_table

PHONE = "screen and (max-width: 767px)"  # as in book/assets/book.css
# What no HTML file can hold: control characters other than tab and line breaks, and halves of
# surrogate pairs.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def escaped(text: str) -> Markup:
    """Text from data as HTML shows it: no markup, and U+FFFD for what a page cannot hold."""
    return Markup(html.escape(UNWRITABLE.sub("\ufffd", text)))


def figure_html(
    fig: Figure, *, alt: str, caption: str, tables: Sequence[FigureTable] | None = None
) -> str:
    """The figure as HTML: an image that needs no other file, another for narrow screens, its text
    for those who cannot see it, its caption, and its numbers as a folded table.

    Args:
        fig: the figure.
        alt: what it shows, in a sentence.
        caption: shown below it.
        tables: say what the figure shows where its artists do not, such as by the size of dots;
            None reads them from the figure.

    Raises:
        HandbookError: ``alt`` or ``caption`` is empty.
    """
    for name, text in (("alt", alt), ("caption", caption)):
        if not text.strip():
            raise HandbookError(
                f"a figure needs {name} text",
                remedy="say in a sentence what the figure shows, its trend and its numbers",
            )
    wide = _as_data(fig)
    with on_a_phone(fig):
        narrow = _as_data(fig)
    return (
        f'<figure style="margin:1em 0"><picture><source media="{PHONE}" srcset="{narrow}">'
        f'<img alt="{escaped(alt)}" src="{wide}" '
        f'style="width:{fig.get_figwidth() * 100:.0f}px;max-width:100%;height:auto"></picture>'
        f"<figcaption>{escaped(caption)}</figcaption></figure>"
        f"{_folded(figure_tables(fig) if tables is None else tables)}"
    )


def _as_data(fig: Figure) -> str:
    """The figure as an address that holds it.

    SVG: sharp at any size, and for these figures about half the bytes of a PNG that would be. No
    date in it.
    """
    picture = io.BytesIO()
    fig.savefig(picture, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(picture.getvalue()).decode()}"


def _folded(tables: Sequence[FigureTable]) -> str:
    """Tables below one line that unfolds them, without a script; each scrolls by itself where it is
    wider than a phone, by keyboard, too.
    """
    if not tables:
        return ""
    parts = []
    for table in tables:
        drawn = html_table(
            [escaped(cell) for cell in table.columns],
            [[escaped(cell) for cell in row] for row in table.rows],
            caption=escaped(table.caption),
            numbers=range(1, len(table.columns)),
            row_headers=True,
        )
        parts.append(f'<div style="overflow-x:auto" tabindex="0">{drawn}</div>')
        if table.note:
            parts.append(f"<p>{escaped(table.note)}</p>")
    return (
        f'<details class="figure-table"><summary>The figure as a table</summary>'
        f"{''.join(parts)}</details>"
    )


def show(
    fig: Figure, *, alt: str, caption: str, tables: Sequence[FigureTable] | None = None
) -> None:
    """Display a figure with its alternative text and caption, which are required, and its numbers
    as a folded table. See `figure_html` for the arguments.
    """
    display(HTML(figure_html(fig, alt=alt, caption=caption, tables=tables)))


def before_after_table(rows: Sequence[Mapping[str, str]], *, caption: str) -> str:
    """The same prompts' answers side by side, as an HTML table.

    Args:
        rows: one mapping per prompt, all with the same keys: ``prompt`` first, then a column for
            each model.

    Raises:
        HandbookError: there are no rows.
    """
    if not rows:
        raise HandbookError(
            "a table of answers needs at least one row",
            where="before_after_table",
            remedy="look at what selects the rows",
        )
    columns = list(rows[0])
    table = html_table(
        [escaped(column) for column in columns],
        [[escaped(row[column]) for column in columns] for row in rows],
        caption=escaped(caption),
        css_class="before-after",
    )
    # In the cells, since a notebook has no style sheet of ours: an answer keeps its line breaks.
    # Text in the table is escaped, so that no other "<td>" can be in it.
    style = "text-align:left;vertical-align:top;white-space:pre-wrap"
    return table.replace("<td>", f'<td style="{style}">')
