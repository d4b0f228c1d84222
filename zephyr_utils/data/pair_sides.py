"""The two sides of a preference: conversations, answers alone, or texts in a chat template."""

from typing import Any, NamedTuple

from zephyr_utils.data.fields import Fields, RecordError, at
from zephyr_utils.data.layouts import answer_turns, has_texts
from zephyr_utils.data.templates import awaits_answer, template_of, turns_of
from zephyr_utils.data.turns import Turn, listed, rendered, same_message, speaker


class Pair(NamedTuple):
    """Two whole conversations that were recognised; their turns are not checked yet."""

    chosen: list[Turn]
    rejected: list[Turn]


class Labelled(NamedTuple):
    """One answer that is marked good or bad, which makes a pair with another row's."""

    turns: list[Turn]
    good: bool


def _first_speaker(value: Any) -> str:
    return speaker(value[0] if isinstance(value, list) and value else value)


def is_whole(record: Fields, field: str) -> bool:
    """Whether a side is a conversation with its context, and not the answer alone."""
    return isinstance(record[field], list) and _first_speaker(record[field]) != "assistant"


def _side(record: Fields, field: str, context: list[Turn], where: str) -> list[Turn]:
    if not is_whole(record, field):
        return [*context, *answer_turns(record, field, where)]
    turns = listed(record, field, where)
    for given, turn in zip(context, turns, strict=False):
        if not same_message(given.message, turn.message):
            raise RecordError(
                "prompt_mismatch",
                f"the prompt is not how the conversation in {field} begins",
                where=given.place,
                remedy="give the turns before the answer once, in prompt or in both sides",
            )
    return turns


def context_field(record: Fields) -> str:
    """The column that holds the turns before two answers, if there is one: ``conversations``, or
    ``messages`` or ``context`` where it holds messages.
    """
    for field in ("messages", "context"):
        if isinstance(record.get(field), list) and _first_speaker(record[field]):
            return field
    return "conversations"


def pair_of(record: Fields, context: list[Turn], where: str) -> Pair:
    """Both sides, each behind the context where it is an answer alone.

    Raises:
        RecordError: ``prompt_mismatch``: a whole conversation begins otherwise than the context.
    """
    return Pair(*(_side(record, field, context, where) for field in ("chosen", "rejected")))


def rendered_pair(record: Fields, where: str) -> Pair:
    """Two texts in a chat template, taken apart into their turns."""
    prompt = record.get("prompt")
    begins = prompt if isinstance(prompt, str) and awaits_answer(prompt) else ""
    return Pair(
        *(rendered(begins + record[field], at(where, field)) for field in ("chosen", "rejected"))
    )


def is_rendered(record: Fields) -> bool:
    """Two texts in a chat template, or after a prompt that is."""
    if not has_texts(record, "chosen", "rejected"):
        return False
    prompt = record.get("prompt")
    if isinstance(prompt, str) and awaits_answer(prompt):
        return True
    return _is_conversation(record["chosen"]) and _is_conversation(record["rejected"])


def _is_conversation(text: str) -> bool:
    template = template_of(text)
    return template is not None and (template.special or len(turns_of(text) or []) > 1)
