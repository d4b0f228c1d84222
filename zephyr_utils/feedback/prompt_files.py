"""Files of prompts: what each row asks, and what it holds beside that."""

import re
from pathlib import Path
from typing import Any, TypedDict

from zephyr_utils.data.counts import SetAside
from zephyr_utils.data.fields import VISIBLE, check_text, kind_of, present
from zephyr_utils.data.layouts import recognise
from zephyr_utils.data.read import read_rows
from zephyr_utils.data.records import RecordError, RecordSet
from zephyr_utils.data.refused import OTHER_MEDIA
from zephyr_utils.data.structure import unpacked
from zephyr_utils.data.suggestions import NO_HEADER, are_values
from zephyr_utils.data.templates import refuse_rendered
from zephyr_utils.data.types import SPEAKERS

_FIELDS = ("prompt", "instruction", "messages", "conversations", "data")
_CONVERSATIONS = ("prompt", "messages", "conversations", "data")
# Names in use for those fields.
_OTHER_NAMES = {
    **dict.fromkeys(("question", "query", "text", "input", "user", "human", "problem"), "prompt"),
    **dict.fromkeys(("conversation", "dialogue", "dialog", "chat"), "messages"),
    "turns": "data",
}
# A place in a template of prompts, as Jinja, Mustache and most dashboards write it.
_PLACEHOLDER = re.compile(r"\{\{ ?[A-Za-z_][\w.]{0,40} ?\}\}")


class Prompt(TypedDict):
    """A row of a file of prompts."""

    prompt: str


def load_prompts(path: str | Path, *, set_aside: bool = False) -> RecordSet[Prompt]:
    """The prompts of a JSONL or Parquet file: the field ``prompt`` or ``instruction``, or the first
    user turn.

    Args:
        set_aside: count rows without a prompt and go on, instead of stopping at the first.

    Returns:
        `RecordSet` of ``{"prompt": text}``; its ``conversions`` count the rows of which something
        is not asked (a system message, a history, later turns, messages that begin otherwise), and
        those with a placeholder.

    Raises:
        RecordError: a row has no prompt. HandbookError: the file cannot be read.
    """
    result: RecordSet[Prompt] = RecordSet([], source=str(path))
    for row in read_rows(path):
        try:
            if row.error is not None:
                raise row.error
            prompt, content = _prompt_of(row.value, row.where)
            result.records.append({"prompt": prompt})
            result.conversions.update(_left_out(content))
            if placeholder := _PLACEHOLDER.search(prompt):
                result.conversions[f"{placeholder[0]} in it is asked as it stands"] += 1
        except RecordError as error:
            if not set_aside:
                raise
            result.set_aside.append(
                SetAside(row.where, error.reason, f"{error.where}: {error.what}", row.value)
            )
    return result


def _prompt_of(row: Any, where: str) -> tuple[str, dict[str, Any]]:
    """A row's prompt, and the row as a mapping without text that held structure."""
    if isinstance(row, str):
        row = {"prompt": row}
    if not isinstance(row, dict):
        raise _no_prompt(f"the row is {kind_of(row)}", where, "give each row a `prompt`")
    row = unpacked(row, where, set())  # messages that a CSV export wrote as text
    recognise(row, (), (OTHER_MEDIA,), where)
    for name in _FIELDS:
        text = _first_user_turn(row.get(name), where)
        if VISIBLE.search(text):
            if name == "instruction" and isinstance(row.get("input"), str) and row["input"]:
                text = f"{text}\n{row['input']}"  # as Alpaca's question is put elsewhere
            refuse_rendered(text, where)
            return check_text(text, where), row
    raise _without_prompt(row, where)


def _no_prompt(what: str, where: str, remedy: str) -> RecordError:
    remedy = f"{remedy}; or have bad rows set aside and counted"
    return RecordError("no_prompt", f"there is no prompt in it: {what}", where=where, remedy=remedy)


def _without_prompt(row: dict[str, Any], where: str) -> RecordError:
    """The error for a row without a prompt, by what stands where one should."""
    if name := next((name for name in _FIELDS if name in row), None):
        value = row[name]
        what = f"`{name}` holds {kind_of(value)}"
        if isinstance(value, str) or value is None or value == []:
            what = f"`{name}` is empty"
        elif isinstance(value, list):
            what = f"`{name}` holds a list without a user's text"
        if isinstance(value, list) and any(_holds_prompt(item, where) for item in value):
            return _no_prompt(what, where, f"write the list in `{name}` as the file")
        return _no_prompt(what, where, "write the question there, or remove the row")
    what = f"the row has {present(row)}"
    for name, value in row.items():
        plain = str(name).strip().lower()
        meant = plain if plain in _FIELDS else _OTHER_NAMES.get(plain)
        if meant and VISIBLE.search(_first_user_turn(value, where)):
            return _no_prompt(what, where, f"rename `{name}` to `{meant}`")
        if isinstance(value, list) and value and _holds_prompt(value[0], where):
            return _no_prompt(what, where, f"write the list in `{name}` as the file")
    if are_values(row):
        return _no_prompt(what, where, NO_HEADER)
    return _no_prompt(what, where, "give each row a `prompt`, an `instruction` or `messages`")


def _holds_prompt(item: Any, where: str) -> bool:
    """Whether an item of a list would be a row of its own."""
    if isinstance(item, str):
        return True
    return isinstance(item, dict) and any(
        VISIBLE.search(_first_user_turn(item.get(name), where)) for name in _FIELDS
    )


def _left_out(row: dict[str, Any]) -> list[str]:
    """What a row says beside its prompt, and no model is asked."""
    notes = []
    conversation = next(
        (turns for name in _CONVERSATIONS if isinstance(turns := row.get(name), list)), []
    )
    roles = [
        _role(turn) if isinstance(turn, dict) else None
        for turn in conversation
        if not (isinstance(turn, dict) and "type" in turn and "role" not in turn)  # a part
    ]
    columns = [row.get(name) for name in ("system", "system_prompt")]
    if "system" in roles or any(
        value.strip() if isinstance(value, str) else value for value in columns
    ):
        notes.append("its system message is not sent")
    first = next((i for i, role in enumerate(roles) if role in ("user", None)), 0)
    if row.get("history") or any(role != "system" for role in roles[:first]):
        notes.append("what was said before it is not sent")
    raw = roles[first : first + 3] == [None, None, None]  # raw UltraChat's texts take turns
    if raw or "user" in roles[first + 1 :]:
        notes.append("later turns of the conversation are not asked")
    prompt, messages = row.get("prompt"), _first_user_turn(row.get("messages"), "")
    if isinstance(prompt, str) and messages and prompt.strip() != messages.strip():
        notes.append("its `messages` begin with another question; `prompt` is asked")
    return notes


def _role(turn: dict[str, Any]) -> str:
    """Who speaks, in the layouts' own words; any other name as it stands."""
    role = str(turn.get("role", turn.get("from", "user")))
    return SPEAKERS.get(role.strip().lower(), role)


def _first_user_turn(value: Any, where: str) -> str:
    """A prompt given as text, as parts, or as a conversation; "" if there is none."""
    if isinstance(value, str):
        return value
    turns = value if isinstance(value, list) else [value]
    if any(isinstance(turn, dict) and "type" in turn and "role" not in turn for turn in turns):
        return _joined(turns, where)
    for turn in turns:
        if isinstance(turn, str):
            return turn
        if not isinstance(turn, dict):
            continue
        if _role(turn) == "user":
            content = turn.get("content", turn.get("value", turn.get("text")))
            if isinstance(content, list):
                return _joined(content, where)
            return content if isinstance(content, str) else ""
    return ""


def _joined(parts: list[Any], where: str) -> str:
    """The text of a content in parts.

    Raises:
        RecordError: ``not_text``: a part is not text, and the question would be asked without it.
    """
    found = [part.get("text") if isinstance(part, dict) else part for part in parts]
    texts = [text for text in found if isinstance(text, str)]
    if len(texts) < len(found):
        raise RecordError(
            "not_text",
            "a part of the prompt is not text, and the question would be asked without it",
            where=where,
            remedy="only text is sent: remove the row, or have it set aside and counted",
        )
    return "".join(texts)
