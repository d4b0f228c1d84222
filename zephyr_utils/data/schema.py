"""The three record types of the field: what a good one looks like, and what is said about a bad
one.

Each ``check_*`` function takes one row as it was read, in any of the layouts in `layouts` and
`pair_layouts`, and returns it in the schema of `types`, or raises `RecordError` naming the row, the
field and what was expected. Fields outside the schema are not carried along, so that all rows of a
set have the same shape.

* dialogue (as ultrachat_200k): ``{prompt, prompt_id, messages: [{role, content}]}``
* feedback (as UltraFeedback): ``{source, instruction, models: [str], completions: [{model,
  response, annotations: {aspect: {Rating, Rationale}}, critique, overall_score}]}``
* preference (as ultrafeedback_binarized): ``{prompt, prompt_id, chosen: [message], rejected:
  [message], score_chosen?, score_rejected?, chosen_model?, rejected_model?}``
"""

import hashlib
from typing import Any, Generic, NamedTuple, TypeVar

from zephyr_utils.data.completions import FEEDBACK, check_completions, check_instruction
from zephyr_utils.data.fields import (
    Fields,
    RecordError,
    as_number,
    at,
    check_number,
    check_text,
    has,
    text,
)
from zephyr_utils.data.layouts import DIALOGUES, recognise
from zephyr_utils.data.pair_layouts import LABELLED, PAIRS, unknown_label
from zephyr_utils.data.pair_sides import Pair
from zephyr_utils.data.refused import REFUSED_DIALOGUES, REFUSED_FEEDBACK, REFUSED_PAIRS
from zephyr_utils.data.structure import object_of
from zephyr_utils.data.suggestions import in_no_layout
from zephyr_utils.data.templates import template_of
from zephyr_utils.data.turns import (
    TOOLS_LEFT_OUT,
    Turn,
    check_turns,
    speaker,
)
from zephyr_utils.data.types import (
    Dialogue,
    Feedback,
    Message,
    Preference,
)

R = TypeVar("R")

# What others call the fields of a pair.
SCORES = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("chosen-rating", "rejected-rating"),
)


# What a judge or a filter said of an answer, which a dialogue does not take.
RATINGS = ("is_safe", "helpfulness", "rating", "score", "reward", "overall_score")
RATINGS_LEFT_OUT = (
    "ratings beside an answer not looked at (every dialogue is trained on, well rated or not)"
)


class Read(NamedTuple, Generic[R]):
    """A row that was read: the record, the name of its layout, and what was converted."""

    record: R
    layout: str
    notes: set[str]


class LabelledAnswer(NamedTuple):
    """One answer marked good or bad (KTO), with the turns before it."""

    context: list[Message]
    answer: Message
    good: bool


def prompt_hash(prompt: str) -> str:
    """The ``prompt_id`` of ultrachat_200k: the SHA-256 of the prompt, in hexadecimal."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def check_dialogue(record: Any, where: str = "") -> Dialogue:
    """One dialogue, checked.

    A system turn may come first; after it the turns alternate, beginning with the user. A missing
    ``prompt`` is the first user turn, a missing ``prompt_id`` the hash of the prompt.

    Raises:
        RecordError: with the reason ``not_an_object``, ``missing_field``, or those of the layouts
            and of `turns.check_turns`.
    """
    return read_dialogue(record, where).record


def read_dialogue(record: Any, where: str = "") -> Read[Dialogue]:
    """As `check_dialogue`, with the layout and what was converted."""
    row, notes = object_of(record, where)
    layout = recognise(row, DIALOGUES, REFUSED_DIALOGUES, where)
    if layout is None:
        raise in_no_layout(row, "dialogue", ("messages",), where)
    if row.get("tools"):
        notes.add(TOOLS_LEFT_OUT)
    if any(has(row, name) for name in RATINGS):
        notes.add(RATINGS_LEFT_OUT)
    turns, place = layout.convert(row, where)
    _refuse_untrained(turns)
    messages = check_turns(turns, place, notes)
    first = _first_user_turn(messages)
    prompt = row.get("prompt")
    if isinstance(prompt, list | dict):  # TRL's form
        prompt = first
    else:
        prompt = text(row, "prompt", where, default=first, filled=True)
    checked: Dialogue = {
        "prompt": prompt,
        "prompt_id": _prompt_id(row, where) or prompt_hash(prompt),
        "messages": messages,
    }
    return Read(checked, layout.name, notes | layout.notes)


def _refuse_untrained(turns: list[Turn]) -> None:
    """Refuse an answer that its file marks as not to be trained on: here all of them are."""
    for turn in turns:
        if speaker(turn.message) != "assistant":
            continue
        for mark in ("weight", "train", "training", "loss"):
            value = turn.message.get(mark)
            if value is False or as_number(value) == 0:
                raise RecordError(
                    "untrained_turn",
                    f"the answer is marked as one not to be trained on ({mark}), and every answer "
                    "of a dialogue is",
                    where=f"{turn.place}.{mark}",
                    remedy="end the dialogue before it, remove the mark, or set the row aside",
                )


def check_preference(record: Any, where: str = "") -> Preference:
    """One preference pair, checked.

    Equal scores, equal answers and an empty last answer pass: they are well-formed, and
    `zephyr_utils.preferences.audit` counts them. Scores may be missing, both or none.

    Raises:
        RecordError: with the reasons of `check_dialogue`, and ``not_a_number`` or ``one_score`` (a
            score), ``ends_with_user``, ``different_context`` (the two sides must agree in
            everything but the last answer), ``prompt_mismatch`` (``prompt`` is not the first user
            turn), or ``unpaired`` (one answer with a label).
    """
    read = read_preference(record, where)
    if isinstance(read.record, LabelledAnswer):
        raise RecordError(
            "unpaired",
            "the row holds one answer with a label; a pair needs a good and a bad one",
            where=where,
            remedy="load the whole file (load_records), which makes pairs of such rows",
        )
    return read.record


def read_preference(record: Any, where: str = "") -> Read[Preference] | Read[LabelledAnswer]:
    """As `check_preference`, with the layout and what was converted; a labelled answer is not
    an error.
    """
    row, notes = object_of(record, where)
    layout = recognise(row, PAIRS, REFUSED_PAIRS, where)
    if layout is not None:
        pair = layout.convert(row, where)
        return Read(_checked_pair(row, pair, where, notes), layout.name, notes | layout.notes)
    single = recognise(row, LABELLED, (), where)
    if single is None and has(row, "label", "completion"):
        raise unknown_label(row["label"], "true or false", at(where, "label"))
    if single is None:
        raise in_no_layout(row, "preference", ("chosen", "rejected", "prompt"), where)
    turns, good = single.convert(row, where)
    messages = check_turns(turns, turns[0].place if turns else where, notes, empty_answer=True)
    _check_ends_with_answer(messages, turns[-1].place)
    answer = LabelledAnswer(messages[:-1], messages[-1], good)
    return Read(answer, single.name, notes | single.notes)


def paired(good: LabelledAnswer, bad: LabelledAnswer) -> Preference:
    """The pair that a good and a bad answer to the same turns make."""
    prompt = _first_user_turn(good.context)
    return {
        "prompt": prompt,
        "prompt_id": prompt_hash(prompt),
        "chosen": [*good.context, good.answer],
        "rejected": [*good.context, bad.answer],
    }


def check_feedback(record: Any, where: str = "") -> Feedback:
    """One prompt with its rated answers, checked.

    Annotations, critique and overall grade may be missing (they become ``{}``, ``""`` and None),
    and a rating may be any text, for the published sets have "N/A" among them:
    `zephyr_utils.preferences` decides what an unrated answer is worth. Ratings given as numbers
    become text, as in the published schema.

    Raises:
        RecordError: with the reason ``not_an_object``, ``missing_field``, ``wrong_type``,
            ``text_not_structure``, ``empty_content``, ``not_a_number`` or ``bad_unicode``.
    """
    return read_feedback(record, where).record


def read_feedback(record: Any, where: str = "") -> Read[Feedback]:
    """As `check_feedback`, with the layout and what was converted."""
    row, notes = object_of(record, where)
    layout = recognise(row, FEEDBACK, REFUSED_FEEDBACK, where)
    if layout is None:
        raise in_no_layout(row, "feedback", ("completions", "instruction"), where)
    checked = check_completions(row, where, notes)
    instruction = check_instruction(row, where, notes)
    feedback: Feedback = {
        "source": text(row, "source", where, default=""),
        "instruction": instruction,
        "models": [completion["model"] for completion in checked],
        "completions": checked,
    }
    return Read(feedback, layout.name, notes)


def _checked_pair(row: Fields, pair: Pair, where: str, notes: set[str]) -> Preference:
    sides = [
        check_turns(turns, at(where, field), notes, empty_answer=True)
        for field, turns in (("chosen", pair.chosen), ("rejected", pair.rejected))
    ]
    for messages, turns in zip(sides, pair, strict=True):
        _check_ends_with_answer(messages, turns[-1].place)
    chosen, rejected = sides
    if chosen[:-1] != rejected[:-1]:
        raise RecordError(
            "different_context",
            "chosen and rejected differ before the last answer; expected the same turns up to it",
            where=at(where, "rejected"),
            remedy="a pair compares two answers to one conversation: give both sides the same "
            "earlier turns",
        )
    prompt = _first_user_turn(chosen)
    _check_prompt(row, prompt, where)
    checked: Preference = {
        "prompt": prompt,
        "prompt_id": _prompt_id(row, where) or prompt_hash(prompt),
        "chosen": chosen,
        "rejected": rejected,
    }
    scores = _scores(row, where)
    if scores is not None:
        checked["score_chosen"], checked["score_rejected"] = scores
    if has(row, "chosen_model"):
        checked["chosen_model"] = text(row, "chosen_model", where)
    if has(row, "rejected_model"):
        checked["rejected_model"] = text(row, "rejected_model", where)
    return checked


def _prompt_id(row: Fields, where: str) -> str:
    """The row's own id, which may be a whole number; empty if it has none."""
    value = row.get("prompt_id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(row, "prompt_id", where, default="")


def _check_ends_with_answer(messages: list[Message], place: str) -> None:
    if messages[-1]["role"] != "assistant":
        raise RecordError(
            "ends_with_user",
            "the last turn is the user's; expected the answer that was preferred or not",
            where=f"{place}.role",
            remedy="end with the assistant's answer",
        )


def _check_prompt(row: Fields, first: str, where: str) -> None:
    """The prompt decides which pairs are held out together: it must be the conversation's own."""
    prompt = row.get("prompt")
    if prompt is None or isinstance(prompt, list | dict):
        return
    prompt = check_text(prompt, at(where, "prompt"), filled=True)
    if prompt.strip() == first.strip() or template_of(prompt) is not None:
        return
    raise RecordError(
        "prompt_mismatch",
        f"the prompt ({prompt[:60]!r}) is not the first turn of the user ({first[:60]!r})",
        where=at(where, "prompt"),
        remedy="remove the field or give the conversation's own first turn; rows may be shifted",
    )


def _scores(row: Fields, where: str) -> tuple[float, float] | None:
    """The two scores of a pair, of the row or of its ``metadata``; None where there are none.

    Raises:
        RecordError: ``one_score`` or ``not_a_number``.
    """
    metadata = row.get("metadata")
    holders = [("", row), ("metadata.", metadata if isinstance(metadata, dict) else {})]
    for names in SCORES:
        for prefix, holder in holders:
            values = [holder.get(name) for name in names]
            if all(value != value for value in values):
                continue  # NaN is how tables write what is missing
            given = [name for name in names if holder.get(name) is not None]
            if len(given) == 1:
                missing = next(name for name in names if name not in given)
                raise RecordError(
                    "one_score",
                    f"the score is missing, and {given[0]} is there; a pair has both or none",
                    where=at(where, prefix + missing),
                    remedy="give both scores, or neither",
                )
            if given:
                chosen, rejected = (
                    check_number(holder[name], at(where, prefix + name)) for name in names
                )
                return chosen, rejected
    return None


def _first_user_turn(messages: list[Message]) -> str:
    return next(m["content"] for m in messages if m["role"] == "user")
