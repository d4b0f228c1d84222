"""The layouts of preference sets and of feedback; see `layouts` for what an entry is."""

from typing import Any

from zephyr_utils.data.fields import (
    Fields,
    RecordError,
    as_number,
    at,
    has,
    kind_of,
    required,
)
from zephyr_utils.data.layouts import (
    Layout,
    answer_turns,
    asked_and_answered,
    has_pair,
    has_texts,
    instruction_turns,
    label_of,
    led,
    prompt_turns,
)
from zephyr_utils.data.pair_sides import (
    Labelled,
    Pair,
    context_field,
    is_rendered,
    is_whole,
    pair_of,
    rendered_pair,
)
from zephyr_utils.data.turns import listed

USER = {"role": "user", "content": "Name a river."}
GOOD = {"role": "assistant", "content": "The Rhine."}
BAD = {"role": "assistant", "content": "The moon."}


def _implicit(record: Fields, where: str) -> Pair:
    chosen = led(record, listed(record, "chosen", where), where)
    if is_whole(record, "rejected"):
        return Pair(chosen, led(record, listed(record, "rejected", where), where))
    return Pair(chosen, [*chosen[:-1], *answer_turns(record, "rejected", where)])


def _explicit(record: Fields, where: str) -> Pair:
    return pair_of(record, prompt_turns(record, "prompt", where), where)


def _conversations(record: Fields, where: str) -> Pair:
    field = context_field(record)
    context = led(record, listed(record, field, where), where)
    return pair_of(record, context, where)


def _orca(record: Fields, where: str) -> Pair:
    field = "question" if has(record, "question") else "input"
    return pair_of(record, prompt_turns(record, field, where), where)


def _alpaca(record: Fields, where: str) -> Pair:
    return pair_of(record, instruction_turns(record, where), where)


def _rejected_response(record: Fields, where: str) -> Pair:
    chosen = led(record, listed(record, "messages", where), where)
    rejected = answer_turns(record, "rejected_response", where)
    return Pair(chosen, [*chosen[:-1], *rejected])


def _rejected_messages(record: Fields, where: str) -> Pair:
    return Pair(
        *(
            led(record, listed(record, field, where), where)
            for field in ("messages", "rejected_messages")
        )
    )


def _openai(record: Fields, where: str) -> Pair:
    context = listed(record["input"], "messages", at(where, "input"))
    answers = [
        answer_turns(record, field, where) for field in ("preferred_output", "non_preferred_output")
    ]
    return Pair([*context, *answers[0]], [*context, *answers[1]])


def _shp(record: Fields, where: str) -> Pair:
    context = prompt_turns(record, "history", where)
    answers = [answer_turns(record, f"human_ref_{side}", where) for side in "AB"]
    label = as_number(required(record, "labels", where))
    if label not in (0, 1):
        raise unknown_label(record["labels"], "1 (A) or 0 (B)", at(where, "labels"))
    chosen, rejected = answers if label == 1 else answers[::-1]
    return Pair([*context, *chosen], [*context, *rejected])


def _arena(record: Fields, where: str) -> Pair:
    sides = [listed(record, f"conversation_{side}", where) for side in "ab"]
    winner = required(record, "winner", where)
    if winner in ("model_a", "model_b"):
        return Pair(*(sides if winner == "model_a" else sides[::-1]))
    if isinstance(winner, str) and ("tie" in winner or winner in ("bothbad", "both_bad")):
        raise RecordError(
            "tie",
            f"neither answer was preferred ({winner[:40]!r})",
            where=at(where, "winner"),
            remedy="a tie makes no pair: have such rows set aside and counted",
        )
    raise unknown_label(winner, "model_a, model_b or tie", at(where, "winner"))


def unknown_label(value: Any, expected: str, place: str) -> RecordError:
    """The error for a label that says of no answer that it was preferred."""
    found = repr(value[:40]) if isinstance(value, str) else kind_of(value)
    return RecordError(
        "unknown_label",
        f"which answer was preferred cannot be told: expected {expected}, found {found}",
        where=place,
        remedy=f"write {expected}",
    )


def _labelled(record: Fields, where: str) -> Labelled:
    good = label_of(record)
    assert good is not None  # it is how the layout is recognised
    if has(record, "prompt", "completion"):
        if is_whole(record, "completion"):
            return Labelled(led(record, listed(record, "completion", where), where), good)
        return Labelled(asked_and_answered(record, "prompt", "completion", where), good)
    field = "messages" if has(record, "messages") else "conversations"
    return Labelled(led(record, listed(record, field, where), where), good)


PAIRS: tuple[Layout[Pair], ...] = (
    Layout(
        "text in a chat template, pairs",
        "preference",
        "chosen, rejected, prompt?",
        "HH (`\\n\\nHuman:`) and chat templates, taken apart into their turns",
        is_rendered,
        rendered_pair,
        {
            "chosen": "\n\nHuman: Name a river.\n\nAssistant: The Rhine.",
            "rejected": "\n\nHuman: Name a river.\n\nAssistant: The moon.",
        },
    ),
    Layout(
        "ultrafeedback_binarized, or TRL implicit",
        "preference",
        "chosen, rejected, prompt?, system?",
        "",
        lambda row: (
            has_pair(row)
            and is_whole(row, "chosen")
            and not isinstance(row.get("prompt"), list | dict)
            and not has(row, "conversations")
        ),
        _implicit,
        {
            "chosen": [USER, GOOD],
            "rejected": [USER, BAD],
            "score_chosen": 8,
            "score_rejected": 3,
        },
    ),
    Layout(
        "TRL explicit, conversational",
        "preference",
        "prompt (messages), chosen, rejected, system?",
        "the prompt's turns and each answer become a whole conversation",
        lambda row: has_pair(row) and isinstance(row.get("prompt"), list | dict),
        _explicit,
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
    ),
    Layout(
        "TRL explicit, text",
        "preference",
        "prompt, chosen, rejected, system?",
        "the prompt becomes the user's turn, the answers the assistant's",
        lambda row: has_pair(row) and has_texts(row, "prompt"),
        _explicit,
        {"prompt": "Name a river.", "chosen": "The Rhine.", "rejected": "The moon."},
    ),
    Layout(
        "ShareGPT pairs, as LLaMA-Factory has them",
        "preference",
        "conversations (or messages, or context: messages), chosen, rejected, system?",
        "the conversation and each answer become a whole conversation",
        lambda row: has_pair(row) and has(row, context_field(row)),
        _conversations,
        {
            "conversations": [{"from": "human", "value": "Name a river."}],
            "chosen": {"from": "gpt", "value": "The Rhine."},
            "rejected": {"from": "gpt", "value": "The moon."},
        },
    ),
    Layout(
        "Alpaca pairs, as LLaMA-Factory has them",
        "preference",
        "instruction, chosen, rejected, input?, system?, history?",
        "instruction and input, joined by a line break, become the user's turn",
        lambda row: has_pair(row) and has(row, "instruction"),
        _alpaca,
        {
            "instruction": "Translate into French.",
            "input": "a river",
            "chosen": "une rivière",
            "rejected": "la lune",
        },
    ),
    Layout(
        "Orca",
        "preference",
        "question (or input), chosen, rejected, system?",
        "system and question become turns, the answers the assistant's",
        lambda row: has_pair(row) and (has(row, "question") or has(row, "input")),
        _orca,
        {
            "system": "Be brief.",
            "question": "Name a river.",
            "chosen": "The Rhine.",
            "rejected": "The moon.",
        },
    ),
    Layout(
        "ms-swift",
        "preference",
        "messages, rejected_response, system?",
        "the last turn is the chosen answer, the other text the rejected one",
        lambda row: has(row, "messages", "rejected_response"),
        _rejected_response,
        {"messages": [USER, GOOD], "rejected_response": "The moon."},
    ),
    Layout(
        "ms-swift, whole conversations",
        "preference",
        "messages, rejected_messages, system?",
        "the conversations are the chosen and the rejected one",
        lambda row: has(row, "messages", "rejected_messages"),
        _rejected_messages,
        {"messages": [USER, GOOD], "rejected_messages": [USER, BAD]},
    ),
    Layout(
        "OpenAI, preferences",
        "preference",
        "input (messages), preferred_output, non_preferred_output",
        "the input's messages and each output become a whole conversation",
        lambda row: (
            has(row, "preferred_output", "non_preferred_output")
            and isinstance(row.get("input"), dict)
        ),
        _openai,
        {
            "input": {"messages": [USER], "tools": []},
            "preferred_output": [GOOD],
            "non_preferred_output": [BAD],
        },
    ),
    Layout(
        "Stanford Human Preferences",
        "preference",
        "history, human_ref_A, human_ref_B, labels",
        "the history becomes the user's turn; labels 1 prefers A, 0 prefers B",
        lambda row: has(row, "human_ref_A", "human_ref_B") and not has_pair(row),
        _shp,
        {
            "history": "Name a river.",
            "human_ref_A": "The Rhine.",
            "human_ref_B": "The moon.",
            "labels": 1,
        },
    ),
    Layout(
        "Chatbot Arena",
        "preference",
        "conversation_a, conversation_b, winner",
        "the winner's conversation is chosen; ties, and conversations that part before the last "
        "answer, are set aside",
        lambda row: has(row, "conversation_a", "conversation_b") and not has_pair(row),
        _arena,
        {"conversation_a": [USER, BAD], "conversation_b": [USER, GOOD], "winner": "model_b"},
    ),
)

LABELLED: tuple[Layout[Labelled], ...] = (
    Layout(
        "KTO, unpaired",
        "preference",
        "prompt, completion (or messages, or conversations), label",
        "a good and a bad answer to the same turns become a pair; a row without the other is set "
        "aside",
        lambda row: (
            label_of(row) is not None
            and (
                has(row, "prompt", "completion")
                or has(row, "messages")
                or has(row, "conversations")
            )
        ),
        _labelled,
        {"prompt": "Name a river.", "completion": "The Rhine.", "label": True},
    ),
)
