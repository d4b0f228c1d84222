"""Messages in the columns of Arrow tables, in every form that ``dialogue`` knows for rows of JSON.

A column is walked down to its arrays of strings, which are handed on with a mask of what are
messages. All else keeps its buffers.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zephyr_utils.data.turns import TEXT_PARTS
from zephyr_utils.data.types import ROLES, TOOL_ROLES
from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing.content import (
    NOT_MESSAGES,
    LocatedText,
    RowError,
    messages_in_content,
)
from zephyr_utils.truecasing.dialogue import COLUMNS, MessageFinder, role_name
from zephyr_utils.truecasing.strings import (
    OPENS_PARTS,
    OPENS_TEXT,
    OPENS_TURN,
    StringReader,
    Visitor,
    is_text,
)

Change = Callable[[pa.Array, np.ndarray, np.ndarray, np.ndarray], pa.Array]


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of lists that can be walked."""
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


class ColumnWalker:
    """Walks a column and hands its messages to a visitor.

    Args:
        finder: knows the roles that are wanted, and reads texts that hold structure.
        name: the column.
        visitor: what is done with the messages.

    Attributes:
        refused: rows whose messages cannot be identified, with the reason.
    """

    def __init__(self, finder: MessageFinder, name: str, visitor: Visitor) -> None:
        self.finder, self.name = finder, name
        self.refused: dict[int, RowError] = {}
        self._strings = StringReader(visitor, self.refused)

    def column(self, array: pa.Array, rows: np.ndarray) -> pa.Array:
        """The column as the visitor leaves it; rows outside the mask are passed over.

        Raises:
            HandbookError: the column's type holds no messages.
        """
        kind = array.type
        if pa.types.is_null(kind) or not len(array):
            return array
        if isinstance(array, pa.ExtensionArray):
            new = self.column(array.storage, rows)
            return array if new is array.storage else pa.ExtensionArray.from_storage(kind, new)
        if is_text(kind):
            return self._strings.read(
                array,
                rows,
                np.arange(len(array)),
                lambda text, place: self.finder.in_text(text, self.name),
                OPENS_TEXT,
            )
        if is_list(kind):
            return self._with_lists(array, rows, self._items)
        if pa.types.is_struct(kind):
            return self._object(array, rows)
        raise HandbookError(
            f"column {self.name!r} holds {kind}",
            where="table",
            remedy="name a column of messages (role, content), of string lists, or of strings",
        )

    # --- lists ---------------------------------------------------------------------------------

    def _with_lists(
        self,
        array: pa.Array,
        rows: np.ndarray,
        change: Change,
    ) -> pa.Array:
        """The lists with their items changed.

        Args:
            array: lists.
            rows: which of them count.
            change: is given the items, a mask of those in rows that count, the row of each and its
                place in the list.
        """
        kind = array.type
        if pa.types.is_fixed_size_list(kind):
            as_lists = array.cast(pa.list_(kind.value_field))
            new = self._with_lists(as_lists, rows, change)
            return array if new is as_lists else new.cast(kind)
        offsets = np.asarray(array.offsets).astype(np.int64)
        # The child is the whole one, whatever the slice.
        items = array.values.slice(offsets[0], offsets[-1] - offsets[0])
        offsets = offsets - offsets[0]
        valid = rows & np.asarray(array.is_valid())
        reach = np.zeros(len(items) + 1, np.int64)
        np.add.at(reach, offsets[:-1][valid], 1)
        np.add.at(reach, offsets[1:][valid], -1)
        referred = np.cumsum(reach[:-1]) > 0
        owner = np.repeat(np.arange(len(array)), np.diff(offsets))
        place = np.arange(len(items)) - offsets[owner]
        new = change(items, referred, owner, place)
        if new is items:
            return array
        mask = array.is_null() if array.null_count else None
        # Copied, because a slice's offsets cannot be combined with a mask.
        return type(array).from_arrays(
            pa.array(offsets, array.offsets.type), new, type=kind, mask=mask
        )

    def _items(
        self, items: pa.Array, referred: np.ndarray, owner: np.ndarray, place: np.ndarray
    ) -> pa.Array:
        """The messages of conversations, or the strings of raw UltraChat."""
        kind = items.type
        if pa.types.is_null(kind):
            return items
        if pa.types.is_struct(kind):
            return self._turns(items, referred, owner)
        if not is_text(kind):
            raise HandbookError(
                f"column {self.name!r} holds lists of {kind}",
                where="table",
                remedy="name a column of messages (role, content), of string lists, or of strings",
            )
        wanted = [role in self.finder.wanted for role in ("user", "assistant")]
        chosen = referred & np.array(wanted)[place % 2]

        def read(text: str, index: int) -> list[LocatedText]:
            messages = self.finder.in_item(text, int(place[index]))
            return [LocatedText(path[1:], inner) for path, inner in messages]

        return self._strings.read(items, chosen, owner, read, OPENS_TURN, looked_at=referred)

    # --- messages ------------------------------------------------------------------------------

    def _turns(self, turns: pa.StructArray, referred: np.ndarray, owner: np.ndarray) -> pa.Array:
        names = [child.name for child in turns.type]
        pairs = [
            (role, content)
            for role, content in (("role", "content"), ("from", "value"))
            if role in names and content in names
        ]
        if not pairs:
            raise HandbookError(
                f"messages hold {', '.join(names)}, not role and content",
                where=f"column {self.name!r}",
                remedy="convert the records first",
            )
        result = turns
        free = referred & np.asarray(turns.is_valid())
        for role, content in pairs:
            roles, contents = turns.field(names.index(role)), turns.field(names.index(content))
            chosen = self._wanted(roles, free)
            free = free & np.asarray(roles.is_null())
            new = self._contents(contents, chosen, owner)
            if new is not contents:
                result = _with_field(result, names.index(content), new)
        return result

    def _wanted(self, roles: pa.Array, rows: np.ndarray) -> np.ndarray:
        """Which of these rows are of a role that is wanted."""
        nobody = np.zeros(len(roles), np.bool_)
        if pa.types.is_null(roles.type) or not len(roles):
            return nobody
        if not is_text(roles.type):
            raise HandbookError(
                f"the roles are {roles.type}",
                where=f"column {self.name!r}",
                remedy="give the roles as text",
            )
        encoded = roles if pa.types.is_dictionary(roles.type) else roles.dictionary_encode()
        names = [role_name(role or "") for role in encoded.dictionary.to_pylist()]
        rows = rows & np.asarray(roles.is_valid())
        index = np.asarray(encoded.indices.fill_null(0)).astype(np.int64)
        counts = np.bincount(index[rows], minlength=len(names))
        for name, written, count in zip(
            names, encoded.dictionary.to_pylist(), counts.tolist(), strict=True
        ):
            if count and name not in (*ROLES, *TOOL_ROLES, *self.finder.wanted):
                self.finder.unknown_roles[written[:40]] += count
        wanted = np.array([name in self.finder.wanted for name in names], np.bool_)
        return rows & wanted[index] if len(wanted) else nobody

    def _contents(self, contents: pa.Array, chosen: np.ndarray, owner: np.ndarray) -> pa.Array:
        """Contents as text, or in parts of which some are text."""
        kind = contents.type
        if pa.types.is_null(kind):
            return contents
        if is_text(kind):
            return self._strings.read(
                contents,
                chosen,
                owner,
                lambda text, place: list(messages_in_content(text, ())),
                OPENS_PARTS,
            )
        if is_list(kind):
            return self._with_lists(
                contents,
                chosen,
                lambda parts, referred, own, at: self._parts(parts, referred, owner[own]),
            )
        if pa.types.is_struct(kind):
            return self._parts(contents, chosen, owner)
        raise HandbookError(
            f"the contents are {kind}, expected text",
            where=f"column {self.name!r}",
            remedy="give contents as text, or as parts with type and text",
        )

    def _parts(self, parts: pa.Array, chosen: np.ndarray, owner: np.ndarray) -> pa.Array:
        if pa.types.is_null(parts.type):
            return parts
        if is_text(parts.type):
            return self._strings.read(parts, chosen, owner)
        names = [child.name for child in parts.type] if pa.types.is_struct(parts.type) else []
        if "text" not in names:
            return parts
        chosen = chosen & np.asarray(parts.is_valid())
        if "type" in names:
            kinds = parts.field(names.index("type"))
            is_text_part = np.array([kind in (*TEXT_PARTS, None) for kind in kinds.to_pylist()])
            chosen = chosen & is_text_part.astype(np.bool_)
        texts = parts.field(names.index("text"))
        new = self._strings.read(texts, chosen, owner)
        return parts if new is texts else _with_field(parts, names.index("text"), new)

    def _object(self, array: pa.StructArray, rows: np.ndarray) -> pa.Array:
        """A list of roles beside one of contents, an object around a column, or one message."""
        names = [child.name for child in array.type]
        rows = rows & np.asarray(array.is_valid())
        if {"role", "content"} <= set(names) and is_list(array.type.field("role").type):
            return self._lists_of_fields(array, rows)
        inner = [name for name in COLUMNS if name in names]
        if not inner:
            return self._turns(array, rows, np.arange(len(array)))
        result = array
        for name in inner:
            child = array.field(names.index(name))
            new = self.column(child, rows)
            rows = rows & np.asarray(child.is_null())
            if new is not child:
                result = _with_field(result, names.index(name), new)
        return result

    def _lists_of_fields(self, array: pa.StructArray, rows: np.ndarray) -> pa.Array:
        names = [child.name for child in array.type]
        roles, contents = (array.field(names.index(name)) for name in ("role", "content"))
        if not is_list(contents.type):
            return array
        sizes = [np.asarray(pc.list_value_length(part).fill_null(0)) for part in (roles, contents)]
        for row in np.flatnonzero(rows & (sizes[0] != sizes[1])).tolist():
            detail = f"there are {sizes[0][row]} roles and {sizes[1][row]} contents"
            self.refused.setdefault(row, RowError(NOT_MESSAGES, detail))
        rows = rows & (sizes[0] == sizes[1])
        wanted: list[np.ndarray] = []

        def note(items: pa.Array, referred: np.ndarray, *_: np.ndarray) -> pa.Array:
            wanted.append(self._wanted(items, referred)[referred])
            return items

        def change(
            items: pa.Array, referred: np.ndarray, owner: np.ndarray, place: np.ndarray
        ) -> pa.Array:
            chosen = np.zeros(len(items), np.bool_)
            chosen[referred] = wanted[0]
            return self._contents(items, chosen, owner)

        self._with_lists(roles, rows, note)
        new = self._with_lists(contents, rows, change)
        return array if new is contents else _with_field(array, names.index("content"), new)


def _with_field(array: pa.StructArray, index: int, new: pa.Array) -> pa.StructArray:
    fields = [array.field(number) for number in range(array.type.num_fields)]
    fields[index] = new
    mask = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays(fields, fields=list(array.type), mask=mask)
