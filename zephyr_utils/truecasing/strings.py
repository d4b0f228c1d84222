"""Arrays of strings that are messages, or hold them as structure inside the text."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import pyarrow as pa

from zephyr_utils.truecasing.arrays import from_arrow, with_rows
from zephyr_utils.truecasing.content import BROKEN_STRUCTURE, LocatedText, RowError
from zephyr_utils.truecasing.dialogue import TEMPLATE_WORDS
from zephyr_utils.truecasing.literals import Change, changed_text

# First bytes of a text that may hold structure; what Python takes for blanks may occur before it.
_BLANK = np.zeros(256, np.bool_)
_BLANK[:33] = True
_BLANK[128:] = True
OPENS_TEXT, OPENS_TURN, OPENS_PARTS = _BLANK.copy(), _BLANK.copy(), _BLANK.copy()
OPENS_TEXT[list(b'([{"-')] = True
OPENS_TURN[list(b"{")] = True
OPENS_PARTS[list(b"[")] = True


class Visitor(Protocol):
    """What is done with messages."""

    def strings(self, array: pa.Array, chosen: np.ndarray) -> pa.Array:
        """The array of strings with the chosen ones (a mask) repaired; itself if none changed."""

    def texts(self, texts: list[str]) -> list[str]:
        """The same for messages that are inside other texts; unchanged ones are the same
        objects.
        """


# Finds the messages inside a text, given its place in the array; their paths begin in the text.
Reader = Callable[[str, int], list[LocatedText]]


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of strings, dictionary-encoded ones included."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


class StringReader:
    """Hands the messages in arrays of strings to a visitor.

    Args:
        visitor: what is done with them.
        refused: rows with a text that cannot be read are added to it, with the reason.
    """

    def __init__(self, visitor: Visitor, refused: dict[int, RowError]) -> None:
        self.visitor, self.refused = visitor, refused

    def read(
        self,
        array: pa.Array,
        chosen: np.ndarray,
        owner: np.ndarray,
        find: Reader | None = None,
        opens: np.ndarray | None = None,
        looked_at: np.ndarray | None = None,
    ) -> pa.Array:
        """The strings with those repaired that are messages, or hold them.

        Args:
            array: strings of any kind.
            chosen: mask of those that are messages if they hold no structure.
            owner: the row of each string.
            find: finds the messages in a string that may hold structure.
            opens: which first bytes let a string hold structure; by default none does.
            looked_at: mask of those that may hold structure; by default the chosen ones.
        """
        kind = array.type
        if pa.types.is_null(kind) or not len(array):
            return array
        if pa.types.is_dictionary(kind):
            plain = array.dictionary_decode()
            new = self.read(plain, chosen, owner, find, opens, looked_at)
            return array if new is plain else new.dictionary_encode().cast(kind)
        if pa.types.is_string_view(kind):
            plain = array.cast(pa.large_string())
            new = self.read(plain, chosen, owner, find, opens, looked_at)
            return array if new is plain else new.cast(kind)
        if find is None or opens is None:
            return self.visitor.strings(array, chosen)
        valid = np.asarray(array.is_valid())
        special = (chosen if looked_at is None else looked_at) & valid & _may_hold(array, opens)
        plain_ones = chosen & ~special
        text = from_arrow(array)
        holders: list[tuple[int, str, list[LocatedText]]] = []
        for index in np.flatnonzero(special).tolist():
            try:
                held = text.row(index).decode()
                messages = find(held, index)
            except UnicodeDecodeError:
                plain_ones[index] = chosen[index]
            except RowError as error:
                self.refused.setdefault(int(owner[index]), error)
            else:
                if messages == [LocatedText((), held)]:
                    plain_ones[index] = True
                elif messages:
                    holders.append((index, held, messages))
        new = self.visitor.strings(array, plain_ones)
        return with_rows(new, self._repaired(holders, owner)) if holders else new

    def _repaired(
        self, holders: list[tuple[int, str, list[LocatedText]]], owner: np.ndarray
    ) -> dict[int, bytes]:
        """The strings that hold messages, with these as the visitor leaves them, where any
        changed.
        """
        texts = self.visitor.texts([m.text for _, _, messages in holders for m in messages])
        result: dict[int, bytes] = {}
        first = 0
        for index, held, messages in holders:
            new = texts[first : first + len(messages)]
            first += len(messages)
            changes = [
                Change(message.path, message.text, after)
                for message, after in zip(messages, new, strict=True)
                if after is not message.text
            ]
            if changes:
                try:
                    result[index] = changed_text(held, changes).encode()
                except ValueError as error:
                    refusal = RowError(BROKEN_STRUCTURE, str(error))
                    self.refused.setdefault(int(owner[index]), refusal)
        return result


def _may_hold(array: pa.Array, opens: np.ndarray) -> np.ndarray:
    """Which strings may hold structure, or (where any text may occur) be rendered."""
    text = from_arrow(array)
    may = np.zeros(len(array), np.bool_)
    filled = np.flatnonzero(text.ends > text.starts)
    may[filled] = opens[text.data[text.starts[filled]]]
    if opens is OPENS_TEXT and len(filled):
        low, high = int(text.starts[filled[0]]), int(text.ends.max())
        raw = text.data[low:high].tobytes()
        for sign, word in TEMPLATE_WORDS:
            place = raw.find(word.encode()) if sign.encode() in raw else -1
            while place >= 0:
                row = int(np.searchsorted(text.ends, low + place, side="right"))
                may[row] = True
                place = raw.find(word.encode(), int(text.ends[row]) - low)
    return may
