"""The layouts in which people bring dialogues, feedback and preferences: one entry each.

An entry says how a layout is recognised, how it is converted, and shows one row of it. The page
"What you can bring" is made from these entries (see `layout_table`), so that what it promises is
what the loaders do. A row in no layout is refused, by name where it is a known set of another kind.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from zephyr_utils.data.fields import (
    Fields,
    RecordError,
    as_number,
    at,
    has,
    present,
    wrong_type,
)
from zephyr_utils.data.templates import awaits_answer, template_of
from zephyr_utils.data.turns import Turn, listed, rendered, same_message, speaker, spoken
from zephyr_utils.data.types import Kind

T = TypeVar("T")


class Conversation(NamedTuple):
    """A conversation that was recognised; its turns are not checked yet.

    Attributes:
        turns: in order.
        place: the field they come from.
    """

    turns: list[Turn]
    place: str


@dataclass(frozen=True)
class Layout(Generic[T]):
    """One way to write a record.

    Attributes:
        name: what the field calls it.
        kind: the kind of record it holds.
        fields: the fields that make it, as the table shows them.
        becomes: what is made of it, in words; empty where it is taken as it is.
        matches: whether a row is written in it.
        convert: the row and the place it is at -> what the schema checks.
        example: one row.
    """

    name: str
    kind: Kind
    fields: str
    becomes: str
    matches: Callable[[Fields], bool]
    convert: Callable[[Fields, str], T]
    example: Fields

    @property
    def notes(self) -> frozenset[str]:
        """What to say of a row that was converted."""
        return frozenset({self.becomes} if self.becomes else ())


@dataclass(frozen=True)
class Refused:
    """A known layout that is not converted, and what to do instead.

    Attributes:
        name, kind, fields, matches, example: as in `Layout`.
        reason: the reason under which its rows are counted.
        advice: what to do.
    """

    name: str
    kind: Kind
    fields: str
    matches: Callable[[Fields], bool]
    reason: str
    advice: str
    example: Fields


_LABELS = {
    **dict.fromkeys(("true", "yes", "good", "chosen", "desirable"), 1),
    **dict.fromkeys(("false", "no", "bad", "rejected", "undesirable"), 0),
}


def label_of(record: Fields) -> bool | None:
    """Whether a single answer is marked good (KTO's ``label``); None for a row without a mark."""
    for field in ("label", "kto_tag"):
        value = record.get(field)
        if isinstance(value, str):
            value = _LABELS.get(value.strip().lower(), as_number(value))
        if isinstance(value, int | float) and value in (0, 1):
            return bool(value)
    return None


def has_texts(record: Fields, *fields: str) -> bool:
    """Whether all fields are there and text."""
    return all(isinstance(record.get(field), str) for field in fields)


def has_pair(record: Fields) -> bool:
    """Whether a row has the two sides of a preference."""
    return has(record, "chosen", "rejected")


def system_turn(record: Fields, where: str) -> list[Turn]:
    """The system turn of a row that has it in a column of its own."""
    for field in ("system", "system_prompt"):
        system = record.get(field)
        if isinstance(system, str | list | dict) and system:
            return [spoken("system", system, at(where, field))]
    return []


def led(record: Fields, turns: list[Turn], where: str) -> list[Turn]:
    """The turns behind the system's column, unless they begin with what it says."""
    lead = system_turn(record, where)
    if lead and turns and same_message(lead[0].message, turns[0].message):
        return turns
    return [*lead, *turns]


def instruction_turns(record: Fields, where: str) -> list[Turn]:
    """The context of an Alpaca row: system, history, then instruction and input in one turn."""
    turns = system_turn(record, where)
    for i, exchange in enumerate(record.get("history") or []):
        place = at(where, f"history[{i}]")
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise RecordError(
                "wrong_type",
                "expected a list of a question and an answer",
                where=place,
                remedy="write history as [[question, answer], ...]",
            )
        turns += [spoken("user", exchange[0], place), spoken("assistant", exchange[1], place)]
    question = record["instruction"]
    if isinstance(question, str) and isinstance(record.get("input"), str) and record["input"]:
        question = f"{question}\n{record['input']}" if question else record["input"]
    place = at(where, "instruction")
    if not isinstance(question, str):
        return [*turns, spoken("user", question, place)]
    return [*turns, *question_turns(question, place)]


def answer_turns(record: Fields, field: str, where: str) -> list[Turn]:
    """An answer given as text, as one message, or as a list of messages."""
    value = record.get(field)
    if isinstance(value, str):
        return [spoken("assistant", value, at(where, field))]
    if not isinstance(value, list | dict):
        raise wrong_type("text or a list of messages", value, at(where, field))
    return listed(record, field, where)


def question_turns(question: str, place: str) -> list[Turn]:
    """A question as the user's turn; one that is rendered in a chat template, as its turns."""
    if not awaits_answer(question):
        return [spoken("user", question, place)]
    turns = rendered(question, place)
    return turns[:-1] if not turns[-1].message["content"] else turns


def asked_and_answered(record: Fields, question: str, answer: str, where: str) -> list[Turn]:
    """A question and its answer; where they are one text in a chat template, taken apart."""
    asked, said = record.get(question), record.get(answer)
    if isinstance(asked, str) and isinstance(said, str) and awaits_answer(asked):
        return led(record, rendered(asked + said, at(where, answer)), where)
    return [*prompt_turns(record, question, where), *answer_turns(record, answer, where)]


def prompt_turns(record: Fields, field: str, where: str) -> list[Turn]:
    """A question given as text or a context given as messages, after the system's column if there
    is one.
    """
    if isinstance(record.get(field), str):
        return led(record, question_turns(record[field], at(where, field)), where)
    return led(record, listed(record, field, where), where)


def _messages(record: Fields, where: str) -> Conversation:
    turns = led(record, listed(record, "messages", where), where)
    return Conversation(turns, at(where, "messages"))


def _raw_ultrachat(record: Fields, where: str) -> Conversation:
    turns = [
        turn
        if isinstance(turn.message, dict)
        else spoken("assistant" if i % 2 else "user", turn.message, turn.place)
        for i, turn in enumerate(listed(record, "data", where))
    ]
    return Conversation(led(record, turns, where), at(where, "data"))


def _has_texts_of_turns(record: Fields) -> bool:
    """Whether ``data`` is a conversation, and not what some tool wraps a row or a file in."""
    value = record.get("data")
    first = value[0] if isinstance(value, list) and value else value
    return value is not None and (not isinstance(first, dict) or speaker(first) != "")


def _sharegpt(record: Fields, where: str) -> Conversation:
    turns = led(record, listed(record, "conversations", where), where)
    return Conversation(turns, at(where, "conversations"))


def _alpaca(record: Fields, where: str) -> Conversation:
    turns = instruction_turns(record, where)
    return Conversation([*turns, *answer_turns(record, "output", where)], at(where, "output"))


def _prompt_completion(record: Fields, where: str) -> Conversation:
    field = "completion" if has(record, "completion") else "response"
    return Conversation(asked_and_answered(record, "prompt", field, where), at(where, field))


def _rendered_text(record: Fields, where: str) -> Conversation:
    place = at(where, "text")
    if isinstance(record["text"], list):  # messages that were text, as `structure` reads them
        return Conversation(listed(record, "text", where), place)
    return Conversation(rendered(record["text"], place), place)


DIALOGUES: tuple[Layout[Conversation], ...] = (
    Layout(
        "ultrachat_200k",
        "dialogue",
        "messages, system?",
        "",
        lambda row: has(row, "messages"),
        _messages,
        {
            "prompt": "Name a river.",
            "messages": [
                {"role": "user", "content": "Name a river."},
                {"role": "assistant", "content": "The Rhine."},
            ],
        },
    ),
    Layout(
        "raw UltraChat",
        "dialogue",
        "data, system?",
        "texts become turns of user and assistant in turn",
        _has_texts_of_turns,
        _raw_ultrachat,
        {"id": "0", "data": ["Name a river.", "The Rhine."]},
    ),
    Layout(
        "ShareGPT",
        "dialogue",
        "conversations, system?",
        "from and value become role and content, human and gpt become user and assistant",
        lambda row: has(row, "conversations") and not has_pair(row),
        _sharegpt,
        {
            "conversations": [
                {"from": "human", "value": "Name a river."},
                {"from": "gpt", "value": "The Rhine."},
            ]
        },
    ),
    Layout(
        "Alpaca",
        "dialogue",
        "instruction, output, input?, system?, history?",
        "instruction and input, joined by a line break, become the user's turn",
        lambda row: has(row, "instruction", "output"),
        _alpaca,
        {"instruction": "Translate into French.", "input": "a river", "output": "une rivière"},
    ),
    Layout(
        "TRL, prompt and completion",
        "dialogue",
        "prompt, completion (or response), system?",
        "text or messages, joined into one conversation",
        lambda row: has(row, "prompt") and (has(row, "completion") or has(row, "response")),
        _prompt_completion,
        {"prompt": "Name a river.", "completion": "The Rhine."},
    ),
    Layout(
        "text in a chat template",
        "dialogue",
        "text",
        "taken apart into its turns (ChatML, Zephyr, Llama 2 and 3, Mistral, Gemma, DeepSeek, HH)",
        lambda row: (
            isinstance(row.get("text"), list)
            or (has_texts(row, "text") and template_of(row["text"]) is not None)
        ),
        _rendered_text,
        {"text": "<|user|>\nName a river.</s>\n<|assistant|>\nThe Rhine.</s>"},
    ),
)


def recognise(
    record: Fields, layouts: Iterable[Layout[T]], refused: Iterable[Refused], where: str
) -> Layout[T] | None:
    """The first layout that a row is written in, or None.

    Raises:
        RecordError: it is in a layout that is refused, under the reason given there.
    """
    for other in refused:
        if other.matches(record):
            raise RecordError(
                other.reason,
                f"the row is in a layout that is not converted: {other.name} (it has: "
                f"{present(record)})",
                where=where,
                remedy=other.advice,
            )
    return next((layout for layout in layouts if layout.matches(record)), None)
