"""What is said of a row in no layout of its kind: what is missing, and what it may be instead."""

import re
from typing import Any

from zephyr_utils.data.completions import FEEDBACK
from zephyr_utils.data.fields import Fields, RecordError, at, kind_of, present
from zephyr_utils.data.layouts import DIALOGUES, Layout, has_texts
from zephyr_utils.data.pair_layouts import LABELLED, PAIRS
from zephyr_utils.data.templates import TEMPLATES
from zephyr_utils.data.types import Kind

_LAYOUTS: dict[Kind, tuple[Layout[Any], ...]] = {
    "feedback": FEEDBACK,
    "preference": (*PAIRS, *LABELLED),
    "dialogue": DIALOGUES,
}
_ADVICE: dict[Kind, str] = {
    "feedback": "rated answers, of which `zephyr pairs FILE --output pairs.parquet` makes pairs; "
    "zephyr run takes them as --feedback",
    "preference": "preference pairs, which zephyr run takes as --preferences",
    "dialogue": "dialogues, which zephyr run takes as --dialogues",
}
# Names in use for fields of the layouts, tried in turn; the first row that fits a layout is it.
_OTHER_NAMES: tuple[dict[str, str], ...] = (
    {},
    dict.fromkeys(("conversation", "dialog", "dialogue", "chat", "turns"), "messages"),
    {
        **dict.fromkeys(("query", "question", "input", "user", "human"), "prompt"),
        **dict.fromkeys(
            ("answer", "response", "output", "reply", "assistant", "generation"), "completion"
        ),
        **dict.fromkeys(("accepted", "preferred", "chosen_response", "chosen_answer"), "chosen"),
        **dict.fromkeys(
            ("reject", "dispreferred", "rejected_response", "rejected_answer"), "rejected"
        ),
    },
    {**dict.fromkeys(("response", "answer", "generation"), "output"), "context": "input"},
    {"prompt": "instruction"},
)
# A name that is a sentence: what the first row of a table without a header gives.
_VALUE = re.compile(r"[?.!]\s*+$|\s\S++\s++\S++\s")
NO_HEADER = (
    "the names are values, so the file seems to have no header: put a line in front that names "
    "the columns, such as prompt,chosen,rejected"
)


def are_values(row: Fields) -> bool:
    """Whether the names of a row's fields read as values, as without a header in a table."""
    return any(_VALUE.search(str(name)) for name in row)


def in_no_layout(row: Fields, kind: Kind, fields: tuple[str, ...], where: str) -> RecordError:
    """The error for a row in none of a kind's layouts.

    Args:
        row: the row.
        kind: what it was to be.
        fields: the fields of the kind's first layout; the first that is missing is named.
        where: where the row was.
    """
    missing = next((field for field in fields if row.get(field) is None), None)
    if missing is None:
        held = ", ".join(f"{field} holds {kind_of(row[field])}" for field in fields)
        return RecordError(
            "wrong_type",
            f"expected text or messages, and {held}",
            where=where,
            remedy="write the columns as text or as lists of messages",
        )
    empty = missing in row
    return RecordError(
        "missing_field",
        f"the field is {'empty' if empty else 'missing'} (the row has: {present(row)})",
        where=at(where, missing),
        remedy=_hint(row, kind, empty=empty),
    )


def _hint(row: Fields, kind: Kind, *, empty: bool) -> str:
    renamed = _renamed(row, kind)
    if renamed:
        return f"rename {renamed}"
    inner = _wrapped(row, kind)
    if inner:
        return f"the field {inner}: write that as the file"
    if empty:
        return "fill it, or remove the row"
    if are_values(row):
        return NO_HEADER
    for other, layouts in _LAYOUTS.items():
        if other != kind and (found := next((x for x in layouts if x.matches(row)), None)):
            return f"this looks like {found.name}: {_ADVICE[other]}"
    if kind == "dialogue" and has_texts(row, "text"):
        names = ", ".join(template.name for template in TEMPLATES)
        return f"`text` is read where it is rendered in a chat template ({names}); write messages"
    needed = [layout.fields for layout in _LAYOUTS[kind]]
    return "one of these sets of fields is needed: " + "; ".join(dict.fromkeys(needed))


def _renamed(row: Fields, kind: Kind) -> str:
    """How fields must be renamed for the row to fit a layout, in words; empty if that is not it."""
    filled = {name: value for name, value in row.items() if value is not None}
    for names in _OTHER_NAMES:
        plain = {name: _plain(name) for name in filled}
        new = {name: names.get(word, word) for name, word in plain.items()}
        if len(set(new.values())) < len(new):
            continue
        candidate = {new[name]: value for name, value in filled.items()}
        if any(layout.matches(candidate) for layout in _LAYOUTS[kind]):
            return ", ".join(f"{a!r} to {b!r}" for a, b in new.items() if a != b and b in _USED)
    return ""


_USED = frozenset(
    word.strip(" ()?,;")
    for layouts in _LAYOUTS.values()
    for layout in layouts
    for word in layout.fields.split()
)


def _plain(name: str) -> str:
    """A field's name in lower case, words joined by an underscore, if a layout has it so."""
    word = "_".join(str(name).strip().lower().replace("-", " ").replace("_", " ").split())
    return word if word in _USED or word in _KNOWN else str(name)


_KNOWN = frozenset(name for names in _OTHER_NAMES for name in names)


def _wrapped(row: Fields, kind: Kind) -> str:
    """The field that holds a row of the kind, or a list of them, in words; empty if none does."""

    def fits(value: Any) -> bool:
        return isinstance(value, dict) and any(x.matches(value) for x in _LAYOUTS[kind])

    for name, value in row.items():
        if fits(value):
            return f"{name!r} holds such a row"
        first = value[0] if isinstance(value, list) and value else None
        if fits(first):
            return f"{name!r} holds a list of such rows"
        if isinstance(first, dict) and fits(first.get("row")):  # as the Hub's viewer serves them
            return f"{name!r} (each under 'row') holds a list of such rows"
    return ""
