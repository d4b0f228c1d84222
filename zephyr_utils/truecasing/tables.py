"""Arrow tables with a column of messages repaired; all the rest keeps its buffers."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing.arrays import (
    arrow_with_edits,
    from_arrow,
    from_strings,
    strings_with_edits,
)
from zephyr_utils.truecasing.columns import ColumnWalker, Visitor
from zephyr_utils.truecasing.content import RowError
from zephyr_utils.truecasing.dialogue import COLUMNS, MessageFinder
from zephyr_utils.truecasing.model import Truecaser
from zephyr_utils.truecasing.reports import ColumnReport


class Repairer:
    """Repairs the messages that it is handed, and counts.

    Args:
        truecaser: the fitted truecaser.
        report: counts are added to it.
    """

    def __init__(self, truecaser: Truecaser, report: ColumnReport) -> None:
        self.truecaser, self.report = truecaser, report

    def strings(self, array: pa.Array, chosen: np.ndarray) -> pa.Array:
        """The array with the chosen strings repaired; itself if nothing changed."""
        rows = np.flatnonzero(chosen & np.asarray(array.is_valid()))
        part = from_arrow(array).select(rows)
        repair = self.truecaser.repair(part)
        self.report.add_repair(repair, part)
        return arrow_with_edits(array, repair.positions)

    def texts(self, texts: list[str]) -> list[str]:
        """The texts repaired; one without a fault is the very same object."""
        buffer = from_strings(texts)
        repair = self.truecaser.repair(buffer)
        self.report.add_repair(repair, buffer)
        return strings_with_edits(texts, buffer, repair.positions)


def truecase_messages(
    table: pa.Table | pa.RecordBatch,
    column: str = "messages",
    roles: Sequence[str] = ("assistant",),
    *,
    truecaser: Truecaser,
    report: ColumnReport | None = None,
) -> pa.Table | pa.RecordBatch:
    """Repair a column of a table; works on batches, so it can be mapped over a dataset as it is.

    Args:
        table: a table, or a record batch.
        column: a column of conversations: ``list<struct<role, content>>`` (or ShareGPT's from and
            value; contents may be in parts), ``list<string>`` (raw UltraChat's ``data``: the user
            speaks first, so every second string is the assistant's), or strings. A string that is
            itself such a list, as JSON or Python text, or is rendered in a chat template, is read,
            and written back as it came.
        roles: whose messages to repair; without effect on plain strings.
        truecaser: the fitted truecaser.
        report: counts are added to it.

    Returns:
        The same kind of table with the same schema, rows and order.

    Raises:
        HandbookError: there is no such column, or it holds something else.
    """
    if column not in table.schema.names:
        raise HandbookError(
            f"there is no column {column!r}",
            where="table",
            remedy=f"name one of {', '.join(table.schema.names)}",
        )
    finder = MessageFinder(roles, column)
    visitor = Repairer(truecaser, report if report is not None else ColumnReport())
    index = table.schema.get_field_index(column)
    old = table.column(index)
    pieces = old.chunks if isinstance(old, pa.ChunkedArray) else [old]
    repaired = []
    first = 0
    for piece in pieces:
        walker = ColumnWalker(finder, column, visitor)
        repaired.append(walker.column(piece, np.ones(len(piece), np.bool_)))
        for row, error in sorted(walker.refused.items()):
            raise HandbookError(
                error.detail,
                where=f"column {column!r}, row {first + row + 1}",
                remedy="remove the row, or truecase its file, which sets such rows aside",
            )
        first += len(piece)
    new = pa.chunked_array(repaired, old.type) if isinstance(old, pa.ChunkedArray) else repaired[0]
    return table.set_column(index, table.schema.field(index), new)


def message_columns(schema: pa.Schema, column: str | None) -> list[str]:
    """The columns in which messages are looked for: the one that is named, or the known ones.

    Raises:
        HandbookError: the schema has none of them.
    """
    names = [name for name in ([column] if column else COLUMNS) if name in schema.names]
    if not names:
        wanted = repr(column) if column else " or ".join(map(repr, COLUMNS))
        raise HandbookError(
            f"there is no column {wanted} (there is: {', '.join(schema.names) or 'none'})",
            where="table",
            remedy="rename the column that holds the conversations",
        )
    return names


def walk_batch(
    batch: pa.RecordBatch, finder: MessageFinder, visitor: Visitor
) -> tuple[pa.RecordBatch, dict[int, RowError]]:
    """A batch as the visitor leaves its messages, and the rows whose messages cannot be identified.

    Of the known columns each row is read in the first that it fills.

    Raises:
        HandbookError: there is no such column, or it holds no messages.
    """
    rows = np.ones(len(batch), np.bool_)
    refused: dict[int, RowError] = {}
    for name in message_columns(batch.schema, finder.column):
        index = batch.schema.get_field_index(name)
        old = batch.column(index)
        filled = rows & np.asarray(old.is_valid())
        if not filled.any():
            continue
        walker = ColumnWalker(finder, name, visitor)
        new = walker.column(old, filled)
        refused |= walker.refused
        rows = rows & ~filled
        if new is not old:
            batch = batch.set_column(index, batch.schema.field(index), new)
    return batch, refused
