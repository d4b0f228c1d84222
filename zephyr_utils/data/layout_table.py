"""The layouts that are read and those that are refused, for the page "What you can bring"."""

import json
from typing import Any

from zephyr_utils.data.completions import FEEDBACK
from zephyr_utils.data.layouts import DIALOGUES, Layout, Refused
from zephyr_utils.data.pair_layouts import LABELLED, PAIRS
from zephyr_utils.data.refused import REFUSED_DIALOGUES, REFUSED_FEEDBACK, REFUSED_PAIRS
from zephyr_utils.tables import markdown_table

ACCEPTED: tuple[Layout[Any], ...] = (*DIALOGUES, *FEEDBACK, *PAIRS, *LABELLED)
REFUSED: tuple[Refused, ...] = tuple(
    {
        other.name: other for other in (*REFUSED_DIALOGUES, *REFUSED_PAIRS, *REFUSED_FEEDBACK)
    }.values()
)


def accepted_table() -> str:
    """The accepted layouts as Markdown, one a row; a question mark follows a field that may be
    missing.
    """
    return markdown_table(
        ("layout", "kind", "fields", "what becomes of it"),
        [
            (layout.name, layout.kind, layout.fields, layout.becomes or "taken as it is")
            for layout in ACCEPTED
        ],
    )


def refused_table() -> str:
    """The layouts that are known and not converted as Markdown, each with what to do."""
    return markdown_table(
        ("layout", "fields", "what to do"),
        [(other.name, other.fields, other.advice) for other in REFUSED],
    )


def examples() -> str:
    """A row of each accepted layout, folded, in the Markdown of the book."""
    return "\n\n".join(
        f"````{{dropdown}} {layout.name} ({layout.kind})\n```json\n"
        f"{json.dumps(layout.example, ensure_ascii=False, indent=1)}\n```\n````"
        for layout in ACCEPTED
    )
