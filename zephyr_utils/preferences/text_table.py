"""A table that prints as text and shows itself as HTML in a notebook."""

from zephyr_utils.tables import html_table

LONGEST_CELL = 60  # characters; a model may be called by 200,000


class TextTable:
    """Rows of cells that print as text and as HTML.

    Names come from the data: control characters in them are shown as escapes, so that none reaches
    a terminal, and long ones are cut.
    """

    @property
    def title(self) -> str:
        """What is above the table."""
        raise NotImplementedError

    @property
    def header(self) -> tuple[str, ...]:
        """The names of the columns."""
        raise NotImplementedError

    def rows(self) -> list[tuple[str, ...]]:
        """The cells, as many as the header has."""
        raise NotImplementedError

    def __str__(self) -> str:
        table = [[cell_text(cell) for cell in row] for row in (self.header, *self.rows())]
        widths = [max(len(row[i]) for row in table) for i in range(len(self.header))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        return "\n".join([self.title, *lines[:1], "  ".join("-" * w for w in widths), *lines[1:]])

    def _repr_html_(self) -> str:
        rows = [[cell_text(cell) for cell in row] for row in self.rows()]
        return html_table(self.header, rows, caption=self.title)


def cell_text(text: str, longest: int = LONGEST_CELL) -> str:
    """The text in one line, escapes for what a terminal would act on, cut to ``longest``."""
    cut = text[:longest]
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in cut
    )
    return shown + ("…" if len(text) > longest else "")
