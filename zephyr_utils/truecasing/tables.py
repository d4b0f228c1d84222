"""Columns of conversations: the messages of the assistant are repaired, all the rest keeps its
buffers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing.arrays import arrow_with_edits, check_text_array, distinct, from_arrow
from zephyr_utils.truecasing.detect import LABELS
from zephyr_utils.truecasing.model import Truecaser


@dataclass
class ColumnReport:
    """What was done to a column.

    Args:
        messages: messages looked at (those of the chosen roles).
        labels: messages per label.
        altered: messages in which a byte changed.
        edits: letters whose case was changed.
    """

    messages: int = 0
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    altered: int = 0
    edits: int = 0


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
        column: a column of ``list<struct<role, content>>``, of ``list<string>`` (raw UltraChat's
            ``data``: the user speaks first, so every second string is the assistant's), or of plain
            strings.
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
    index = table.schema.get_field_index(column)
    old = table.column(index)
    pieces = old.chunks if isinstance(old, pa.ChunkedArray) else [old]
    report = report if report is not None else ColumnReport()
    mended = [_mend(piece, column, tuple(roles), truecaser, report) for piece in pieces]
    new = pa.chunked_array(mended, old.type) if isinstance(old, pa.ChunkedArray) else mended[0]
    return table.set_column(index, table.schema.field(index), new)


def _mend(
    array: pa.Array, column: str, roles: tuple[str, ...], truecaser: Truecaser, report: ColumnReport
) -> pa.Array:
    kind = array.type
    if pa.types.is_null(kind) or len(array) == 0:
        return array
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _mend_strings(array, None, truecaser, report)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _mend_lists(array, column, roles, truecaser, report)
    raise HandbookError(
        f"column {column!r} holds {kind}",
        where="table",
        remedy="name a column of messages (role, content), of string lists, or of strings",
    )


def _mend_lists(array, column, roles, truecaser, report) -> pa.Array:
    # ``values`` is the whole child, whatever the slice; only what the rows refer to is looked at.
    values = array.values
    chosen = np.zeros(len(values), np.bool_)
    offsets = np.asarray(array.offsets).astype(np.int64)
    valid = np.asarray(array.is_valid())
    reach = np.zeros(len(values) + 1, np.int64)
    np.add.at(reach, offsets[:-1][valid], 1)
    np.add.at(reach, offsets[1:][valid], -1)
    referred = np.cumsum(reach[:-1]) > 0
    if pa.types.is_struct(values.type):
        names = [child.name for child in values.type]
        if "role" not in names or "content" not in names:
            raise HandbookError(
                f"messages hold {', '.join(names)}, not role and content",
                where=f"column {column!r}",
                remedy="convert the records first",
            )
        role, content = values.field("role"), values.field("content")
        chosen = referred & np.asarray(
            pc.fill_null(pc.is_in(role, pa.array(roles, role.type)), False)
        )
        fields = [values.field(number) for number in range(values.type.num_fields)]
        fields[names.index("content")] = _mend_strings(content, chosen, truecaser, report)
        mask = values.is_null() if values.null_count else None
        new = pa.StructArray.from_arrays(fields, fields=list(values.type), mask=mask)
    else:
        first = np.zeros(len(values), np.int64)
        lengths = np.diff(offsets)
        filled = np.flatnonzero(valid & (lengths > 0))
        rows = np.repeat(offsets[:-1][filled], lengths[filled])
        places = np.flatnonzero(referred)
        first[places] = rows
        parity = (np.arange(len(values)) - first) % 2
        for number, speaker in enumerate(("user", "assistant")):
            if speaker in roles:
                chosen |= referred & (parity == number)
        new = _mend_strings(values, chosen, truecaser, report)
    if new is values:
        return array
    mask = array.is_null() if array.null_count else None
    # Copied, because a slice's offsets cannot be combined with a mask.
    return type(array).from_arrays(
        pa.array(offsets, array.offsets.type), new, type=array.type, mask=mask
    )


def _mend_strings(
    array: pa.Array, chosen: np.ndarray | None, truecaser: Truecaser, report: ColumnReport
) -> pa.Array:
    check_text_array(array)
    if pa.types.is_null(array.type):
        return array
    if pa.types.is_string_view(array.type):
        return _mend_strings(array.cast(pa.large_string()), chosen, truecaser, report).cast(
            array.type
        )
    text = from_arrow(array)
    rows = np.flatnonzero(
        np.asarray(array.is_valid()) if chosen is None else chosen & np.asarray(array.is_valid())
    )
    part = text.select(rows)
    found = truecaser.repair(part)
    report.messages += len(rows)
    for code, count in enumerate(np.bincount(found.labels, minlength=len(LABELS)).tolist()):
        report.labels[LABELS[code]] += count
    report.edits += len(found.positions)
    if len(found.positions):
        report.altered += len(distinct(np.searchsorted(part.ends, found.positions, side="right")))
    return arrow_with_edits(array, found.positions)
