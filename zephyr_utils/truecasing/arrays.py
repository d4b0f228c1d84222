"""Text as bytes: one buffer and row bounds, from a list of strings or an Arrow array, and back.

Truecasing never changes a length, so a repaired array keeps its offsets and only its data buffer is
copied; an array in which nothing changed is handed back as it came.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from zephyr_utils.errors import HandbookError

Text = TypeVar("Text", str, str | None)
STRING_TYPES = (pa.string(), pa.large_string())


@dataclass
class TextBuffer:
    """Rows of UTF-8 text inside one buffer.

    Args:
        data: uint8 array that holds every row.
        starts: first byte of each row.
        ends: one past the last byte of each row. A null row has ``starts == ends``.
    """

    data: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, index: int) -> bytes:
        """The bytes of one row."""
        return self.data[self.starts[index] : self.ends[index]].tobytes()

    def select(self, rows: np.ndarray) -> "TextBuffer":
        """The same bytes, seen through a selection of the rows."""
        return TextBuffer(self.data, self.starts[rows], self.ends[rows])


def from_strings(texts: Sequence[str | None]) -> TextBuffer:
    """A buffer of a list of strings; None counts as an empty row, lone surrogates are kept.

    Raises:
        HandbookError: an item is neither a string nor None.
    """
    encoded = []
    for row, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise HandbookError(
                f"expected text, found {type(text).__name__}",
                where=f"item {row}",
                remedy="pass a list of str",
            )
        encoded.append(text.encode("utf-8", "surrogatepass") if text else b"")
    ends = np.cumsum([len(item) for item in encoded], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]]) if len(ends) else ends
    return TextBuffer(np.frombuffer(b"".join(encoded), np.uint8), starts, ends)


@dataclass
class LineFeeds:
    """Rows with every "\\r\\n" written as "\\n", so that both are read alike.

    Args:
        text: the rows; the very same buffer where none has a carriage return before a line feed.
        returns: where in this buffer the line feeds are that lost one, ascending.
        shift: bytes before the first row that the buffer leaves out.
    """

    text: TextBuffer
    returns: np.ndarray
    shift: int = 0

    def original(self, positions: np.ndarray) -> np.ndarray:
        """Positions in this buffer, as positions in the one that it was made of."""
        return positions + self.shift + np.searchsorted(self.returns, positions, side="right")


def with_line_feeds(text: TextBuffer) -> LineFeeds:
    """The rows, which must be in the buffer's order, without their carriage returns."""
    low, high = (int(text.starts[0]), int(text.ends.max())) if len(text) else (0, 0)
    data = text.data[low:high]
    places = np.flatnonzero(data[:-1] == 13)
    places = places[data[places + 1] == 10]
    starts, ends = text.starts - low, text.ends - low
    row = np.searchsorted(ends, places, side="right")
    # The two bytes may belong to two rows, or to none.
    places = places[(places >= starts[row]) & (places + 1 < ends[row])]
    if not len(places):
        return LineFeeds(text, places)
    bounds = [edge - np.searchsorted(places, edge) for edge in (starts, ends)]
    rows = TextBuffer(np.delete(data, places), *bounds)
    return LineFeeds(rows, places - np.arange(len(places)), low)


def from_arrow(array: pa.Array) -> TextBuffer:
    """A view of an Arrow string array, slices included; nothing is copied."""
    offset_type = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        return TextBuffer(
            np.zeros(0, np.uint8), np.zeros(len(array), np.int64), np.zeros(len(array), np.int64)
        )
    bounds = np.frombuffer(
        offsets, offset_type, len(array) + 1, array.offset * offset_type().itemsize
    ).astype(np.int64)
    starts, ends = bounds[:-1], bounds[1:]
    if array.null_count:
        null = np.asarray(array.is_null())
        ends = np.where(null, starts, ends)  # what is under a null is nobody's text
    return TextBuffer(np.frombuffer(data or b"", np.uint8), starts, ends)


def arrow_with_edits(array: pa.Array, positions: np.ndarray) -> pa.Array:
    """The array with the case bit flipped at these bytes of its data buffer; the array itself where
    there are none.
    """
    if not len(positions):
        return array
    validity, offsets, data = array.buffers()
    copy = pa.allocate_buffer(data.size)  # from Arrow's pool, whose pages are warm
    edited = np.frombuffer(copy, np.uint8)
    edited[:] = np.frombuffer(data, np.uint8)
    edited[positions] ^= 0x20
    return pa.Array.from_buffers(
        array.type, len(array), [validity, offsets, copy], array.null_count, array.offset
    )


def with_rows(array: pa.Array, rows: dict[int, bytes]) -> pa.Array:
    """The array of strings with the bytes of some rows replaced by others of the same length."""
    if not rows:
        return array
    text = from_arrow(array)
    validity, offsets, _ = array.buffers()
    edited = text.data.copy()
    for row, content in rows.items():
        edited[text.starts[row] : text.ends[row]] = np.frombuffer(content, np.uint8)
    return pa.Array.from_buffers(
        array.type,
        len(array),
        [validity, offsets, pa.py_buffer(edited)],
        array.null_count,
        array.offset,
    )


def strings_with_edits(
    texts: Sequence[Text], buffer: TextBuffer, positions: np.ndarray
) -> list[Text]:
    """The list with the edits made; rows without an edit are the very same objects."""
    result = list(texts)
    if len(positions):
        edited = buffer.data.copy()
        edited[positions] ^= 0x20
        for row in distinct(np.searchsorted(buffer.ends, positions, side="right")):
            result[row] = (
                edited[buffer.starts[row] : buffer.ends[row]]
                .tobytes()
                .decode("utf-8", "surrogatepass")
            )
    return result


def distinct(ascending: np.ndarray) -> np.ndarray:
    """The values of a sorted array without repeats; ``np.unique`` would sort or hash them first."""
    if not len(ascending):
        return ascending
    return ascending[np.append(True, ascending[1:] != ascending[:-1])]


def check_text_array(array: pa.Array | pa.ChunkedArray) -> None:
    """Raise HandbookError unless the array holds strings (or nothing but nulls)."""
    if (
        array.type not in STRING_TYPES
        and not pa.types.is_null(array.type)
        and not pa.types.is_string_view(array.type)
    ):
        raise HandbookError(
            f"expected a string column, found {array.type}",
            where="Arrow array",
            remedy="pass string or large_string values",
        )


def merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans sorted, and those that touch made one."""
    spans.sort()
    result: list[tuple[int, int]] = []
    for start, end in spans:
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result
