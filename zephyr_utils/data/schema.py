"""The three record types of the field: what a good one looks like, and what is said about a bad
one.

Each ``check_*`` function takes one row as it was read, brings the known variants into the schema
below and returns it, or raises `RecordError` naming the row, the field and what was expected.
Fields outside the schema are not carried along, so that all rows of a set have the same shape.

* dialogue (as ultrachat_200k): ``{prompt, prompt_id, messages: [{role, content}]}``
* feedback (as UltraFeedback): ``{source, instruction, models: [str], completions: [{model,
  response, annotations: {aspect: {Rating, Rationale}}, critique, overall_score}]}``
* preference (as ultrafeedback_binarized): ``{prompt, prompt_id, chosen: [message], rejected:
  [message], score_chosen, score_rejected, chosen_model?, rejected_model?}``
"""

import hashlib
import math
from typing import Any

from zephyr_utils.errors import HandbookError

ROLES = ("system", "user", "assistant")
ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


class RecordError(HandbookError, ValueError):
    """A row that cannot be used.

    Attributes:
        reason: one or two words joined by underscores, for counting: ``missing_field``,
            ``two_user_turns``.
        what, where, remedy: as in `HandbookError`.
    """

    def __init__(self, reason: str, what: str, *, where: str = "", remedy: str = "") -> None:
        self.reason = reason
        super().__init__(what, where=where, remedy=remedy)


def prompt_hash(prompt: str) -> str:
    """The ``prompt_id`` of ultrachat_200k: the SHA-256 of the prompt, in hexadecimal."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def check_dialogue(record: Any, where: str = "") -> dict:
    """One dialogue, checked.

    Also takes raw UltraChat, ``{id, data: [user, assistant, user, ...]}``. A system turn may come
    first; after it the turns alternate, beginning with the user. A missing ``prompt`` is the first
    user turn, a missing ``prompt_id`` the hash of the prompt.

    Raises:
        RecordError: with the reason ``not_an_object``, ``missing_field``, ``wrong_type``,
            ``empty_dialogue``, ``one_sided``, ``unknown_role``, ``misplaced_system``,
            ``assistant_first``, ``two_user_turns``, ``two_assistant_turns``, ``empty_content`` or
            ``bad_unicode``.
    """
    _require_object(record, where)
    if "messages" not in record and "data" in record:
        turns = _list(record, "data", where)
        raw = [{"role": ROLES[1 + i % 2], "content": turn} for i, turn in enumerate(turns)]
        messages = _check_messages(raw, where, "data[{}]")
    else:
        raw = _list(
            record, "messages", where, hint="a dialogue has 'messages', raw UltraChat has 'data'"
        )
        messages = _check_messages(raw, where, "messages[{}]")
    prompt, prompt_id = _prompt_and_id(record, messages, where)
    return {"prompt": prompt, "prompt_id": prompt_id, "messages": messages}


def check_feedback(record: Any, where: str = "") -> dict:
    """One prompt with its rated answers, checked.

    Annotations, critique and overall grade may be missing (they become ``{}``, ``""`` and None),
    and a rating may be any text, for the published sets have "N/A" among them:
    `zephyr_utils.preferences` decides what an unrated answer is worth. Ratings given as numbers
    become text, as in the published schema.

    Raises:
        RecordError: with the reason ``not_an_object``, ``missing_field``, ``wrong_type``,
            ``empty_content``, ``not_a_number`` or ``bad_unicode``.
    """
    _require_object(record, where)
    completions = [
        _check_completion(c, where, f"completions[{i}]")
        for i, c in enumerate(_list(record, "completions", where))
    ]
    return {
        "source": _text(record, "source", where, default=""),
        "instruction": _text(record, "instruction", where, filled=True),
        "models": [c["model"] for c in completions],
        "completions": completions,
    }


def check_preference(record: Any, where: str = "") -> dict:
    """One preference pair, checked.

    Also takes the flat form, ``{prompt, chosen: str, rejected: str, metadata: {score_chosen,
    score_rejected}}``. Equal scores, equal answers and an empty last answer pass: they are
    well-formed, and `zephyr_utils.preferences.audit` counts them.

    Raises:
        RecordError: with the reasons of `check_dialogue`, and ``not_a_number`` (a score),
            ``ends_with_user`` or ``different_context`` (the two sides must agree in everything but
            the last answer).
    """
    _require_object(record, where)
    chosen, rejected = _side(record, "chosen", where), _side(record, "rejected", where)
    if chosen[:-1] != rejected[:-1]:
        raise RecordError(
            "different_context",
            "chosen and rejected differ before the last answer; expected the same turns up to it",
            where=_at(where, "rejected"),
            remedy="a pair compares two answers to one conversation: give both sides the same "
            "earlier turns",
        )
    prompt, prompt_id = _prompt_and_id(record, chosen, where)
    scores = record.get("metadata") if isinstance(record.get("metadata"), dict) else {}
    checked: dict[str, Any] = {
        "prompt": prompt,
        "prompt_id": prompt_id,
        "chosen": chosen,
        "rejected": rejected,
    }
    for field in ("score_chosen", "score_rejected"):
        holder, name = (
            (scores, f"metadata.{field}")
            if field not in record and field in scores
            else (record, field)
        )
        checked[field] = _number(holder, field, where, name)
    for field in ("chosen_model", "rejected_model"):
        if record.get(field) is not None:
            checked[field] = _text(record, field, where)
    return checked


def _at(where: str, field: str) -> str:
    return f"{where}, field {field}" if where else f"field {field}"


def _require_object(record: Any, where: str) -> None:
    if not isinstance(record, dict):
        raise RecordError(
            "not_an_object",
            f"expected an object with named fields, found {_kind_of(record)}",
            where=where,
            remedy="write one JSON object a row",
        )


def _kind_of(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "text",
        bool: "true or false",
        type(None): "nothing (null)",
    }
    return names.get(type(value)) or (
        "a number" if isinstance(value, int | float) else type(value).__name__
    )


def _field(record: dict, field: str, where: str, name: str, hint: str = "") -> Any:
    if field not in record:
        present = ", ".join(map(str, record)) or "none"
        raise RecordError(
            "missing_field",
            f"the field is missing (the row has: {present})",
            where=_at(where, name),
            remedy=hint or "add the field, or check that the file holds this kind of record",
        )
    return record[field]


def _wrong_type(expected: str, value: Any, where: str, name: str) -> RecordError:
    return RecordError(
        "wrong_type",
        f"expected {expected}, found {_kind_of(value)}",
        where=_at(where, name),
        remedy=f"make it {expected}",
    )


def _list(record: dict, field: str, where: str, hint: str = "") -> list:
    value = _field(record, field, where, field, hint)
    if not isinstance(value, list):
        raise _wrong_type("a list", value, where, field)
    return value


def _text(
    record: dict,
    field: str,
    where: str,
    name: str = "",
    *,
    default: str | None = None,
    filled: bool = False,
) -> str:
    name = name or field
    if default is not None and record.get(field) is None:
        return default
    value = _field(record, field, where, name)
    if not isinstance(value, str):
        raise _wrong_type("text", value, where, name)
    if filled and not value.strip():
        raise RecordError(
            "empty_content", "the text is empty", where=_at(where, name), remedy="write the text"
        )
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            # JSON may hold half of a surrogate pair ("\ud83d"); no tokenizer and no file format
            # takes it.
            raise RecordError(
                "bad_unicode",
                f"half of a surrogate pair at character {error.start}",
                where=_at(where, name),
                remedy="mend or remove the broken character",
            ) from None
    return value


def _number(record: dict, field: str, where: str, name: str) -> float:
    value = _field(record, field, where, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        found = repr(value) if isinstance(value, str | float) else _kind_of(value)
        raise RecordError(
            "not_a_number",
            f"expected a number, found {found[:80]}",
            where=_at(where, name),
            remedy="give a finite number, without quotation marks",
        )
    return float(value)


def _check_messages(raw: list, where: str, name: str, *, empty_answer: bool = False) -> list[dict]:
    """The turns, checked. ``name`` is a pattern for the field's name, such as ``messages[{}]``.

    An ``empty_answer`` is allowed in the last turn of a preference alone. An empty system turn is
    always allowed: Zephyr's own formatting puts one before every dialogue.
    """
    field = name.partition("[")[0]
    if not raw:
        raise RecordError(
            "empty_dialogue",
            "there are no turns; expected at least one of the user and one of the assistant",
            where=_at(where, field),
            remedy="remove the row, or set it aside",
        )
    messages: list[dict] = []
    before = None
    for i, message in enumerate(raw):
        here = name.format(i)
        if not isinstance(message, dict):
            raise _wrong_type("an object with 'role' and 'content'", message, where, here)
        if "from" in message and "role" not in message:
            _field(
                message,
                "role",
                where,
                f"{here}.role",
                "rename 'from' to 'role', 'value' to 'content'",
            )
        role = _text(message, "role", where, f"{here}.role")
        if role not in ROLES:
            raise RecordError(
                "unknown_role",
                f"unknown role {role[:40]!r}; expected one of {', '.join(ROLES)}",
                where=_at(where, f"{here}.role"),
                remedy="rename the role (human -> user, gpt -> assistant)",
            )
        if role == "system" and i > 0:
            raise RecordError(
                "misplaced_system",
                "a system turn in the middle; expected it first or not at all",
                where=_at(where, f"{here}.role"),
                remedy="move it to the front",
            )
        if role == before:
            raise RecordError(
                f"two_{role}_turns",
                f"two {role} turns in a row; expected user and assistant in turn",
                where=_at(where, f"{here}.role"),
                remedy="join the two turns, or remove the row",
            )
        if role == "assistant" and before in (None, "system"):
            raise RecordError(
                "assistant_first",
                "the assistant speaks first; expected the user to begin",
                where=_at(where, f"{here}.role"),
                remedy="remove the first turn, or the row",
            )
        may_be_empty = role == "system" or (empty_answer and i == len(raw) - 1)
        content = _text(message, "content", where, f"{here}.content", filled=not may_be_empty)
        messages.append({"role": role, "content": content})
        before = role
    missing = {"user", "assistant"} - {m["role"] for m in messages}
    if missing:
        raise RecordError(
            "one_sided",
            f"there is no {' and no '.join(sorted(missing))} turn; expected both sides to speak",
            where=_at(where, field),
            remedy="remove the row, or set it aside",
        )
    return messages


def _prompt_and_id(record: dict, messages: list[dict], where: str) -> tuple[str, str]:
    first_user_turn = next(m["content"] for m in messages if m["role"] == "user")
    prompt = _text(record, "prompt", where, default=first_user_turn, filled=True)
    prompt_id = _text(record, "prompt_id", where, default="") or prompt_hash(prompt)
    return prompt, prompt_id


def _side(record: dict, field: str, where: str) -> list[dict]:
    value = _field(record, field, where, field)
    if isinstance(value, str):
        prompt = _text(record, "prompt", where, filled=True)
        answer = _text(record, field, where)
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    if not isinstance(value, list):
        raise _wrong_type("text or a list of messages", value, where, field)
    messages = _check_messages(value, where, field + "[{}]", empty_answer=True)
    if messages[-1]["role"] != "assistant":
        raise RecordError(
            "ends_with_user",
            "the last turn is the user's; expected the answer that was preferred or not",
            where=_at(where, f"{field}[{len(messages) - 1}].role"),
            remedy="end both sides with the assistant's answer",
        )
    return messages


def _check_completion(completion: Any, where: str, name: str) -> dict:
    if not isinstance(completion, dict):
        raise _wrong_type("an object with 'model' and 'response'", completion, where, name)
    annotations = completion.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise _wrong_type(
            "an object with the four aspects", annotations, where, f"{name}.annotations"
        )
    score = completion.get("overall_score")
    return {
        "model": _text(completion, "model", where, f"{name}.model"),
        "response": _text(completion, "response", where, f"{name}.response"),
        "annotations": {
            aspect: _check_annotation(annotations[aspect], where, f"{name}.annotations.{aspect}")
            for aspect in ASPECTS
            if annotations.get(aspect) is not None
        },
        "critique": _text(completion, "critique", where, f"{name}.critique", default=""),
        "overall_score": None
        if score is None
        else _number(completion, "overall_score", where, f"{name}.overall_score"),
    }


def _check_annotation(annotation: Any, where: str, name: str) -> dict:
    if not isinstance(annotation, dict):
        raise _wrong_type("an object with 'Rating' and 'Rationale'", annotation, where, name)
    rating = annotation.get("Rating")
    if isinstance(rating, int | float) and not isinstance(rating, bool):
        rating = str(rating)
    elif rating is None:
        rating = "N/A"
    return {
        "Rating": _text({"Rating": rating}, "Rating", where, f"{name}.Rating"),
        "Rationale": _text(annotation, "Rationale", where, f"{name}.Rationale", default=""),
    }
