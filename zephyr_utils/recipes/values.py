"""The values of a recipe, checked and converted by the types that TRL declares for its arguments.

A value comes from YAML, or as text from the command line (``--set dsft.learning_rate=2e-5``). Both
are read alike, so that ``2e-5``, which YAML takes for text, is a number where a number belongs.
"""

import difflib
import enum
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

import yaml

from zephyr_utils.errors import HandbookError

TRUE, FALSE, NONE = ("true", "yes", "on"), ("false", "no", "off"), ("none", "null")
FEW_CHOICES = 10  # more than that are not listed
# Numbers that have to be above zero; TRL and torch find out minutes later, or never.
POSITIVE = {
    "beta",
    "gradient_accumulation_steps",
    "learning_rate",
    "lora_r",
    "max_length",
    "num_train_epochs",
    "per_device_eval_batch_size",
    "per_device_train_batch_size",
}


class _Misfit(Exception):
    """A value is not of any of its argument's types."""


def converted(name: str, value: Any, annotation: Any, where: str) -> Any:
    """The value as its argument takes it.

    Args:
        name: of the argument.
        value: from YAML, or text.
        annotation: the type that TRL declares.
        where: the file or option, for the message.

    Raises:
        HandbookError: it is of another type, no number, or not above zero where it has to be.
    """
    kinds = _members(annotation)
    try:
        made = _convert(value, kinds)
    except _Misfit:
        raise HandbookError(
            f"`{name}` is {_shown(value)}, and {_expected(kinds, value)} is expected",
            where=where,
            remedy=f"write {name} as TRL's documentation of the trainer's arguments has it",
        ) from None
    if name in POSITIVE and (made is None or made <= 0):
        raise HandbookError(
            f"`{name}` is {'none' if made is None else made}, and a number above 0 is expected",
            where=where,
            remedy="write one",
        )
    return made


def parsed(text: str) -> Any:
    """What a text from the command line stands for: a list or a mapping if it is written as one in
    YAML, else the text itself, which `converted` reads.
    """
    if text[:1] not in ("[", "{"):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _members(annotation: Any) -> list[Any]:
    """The types of a union, or the one type; Any for what is none."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in _members(part)]
    return [annotation]


def _convert(value: Any, kinds: list[Any]) -> Any:
    if value is None or (isinstance(value, str) and value.strip().lower() in NONE):
        if types.NoneType in kinds:
            return None
        if value is None:
            raise _Misfit
    if isinstance(value, str):
        return _from_text(value, kinds)
    if isinstance(value, bool):
        return _as_is(value, bool in kinds)
    if isinstance(value, int | float):
        whole = isinstance(value, int)
        return _as_is(value, math.isfinite(value) and (float in kinds or (whole and int in kinds)))
    if isinstance(value, list):
        return _list_of(value, kinds)
    return _as_is(value, isinstance(value, Mapping) and _has(kinds, dict))


def _as_is(value: Any, fits: bool) -> Any:
    if not fits:
        raise _Misfit
    return value


def _from_text(text: str, kinds: list[Any]) -> Any:
    if choices := _choices(kinds):
        return _as_is(text, text in choices)
    lowered = text.strip().lower()
    if bool in kinds and lowered in (*TRUE, *FALSE):
        return lowered in TRUE
    if int in kinds or float in kinds:
        number = _number(text)
        if number is not None and math.isfinite(number):
            return _convert(number, kinds)
    if str in kinds:
        return text
    return _list_of([part.strip() for part in text.split(",")], kinds)


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _list_of(values: list[Any], kinds: list[Any]) -> list[Any]:
    for kind in kinds:
        if typing.get_origin(kind) is list:
            return [_convert(value, _members(typing.get_args(kind)[0])) for value in values]
    raise _Misfit


def _has(kinds: list[Any], wanted: type) -> bool:
    return any(kind is wanted or typing.get_origin(kind) is wanted for kind in kinds)


def _choices(kinds: list[Any]) -> list[str]:
    return [
        str(choice.value)
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, enum.Enum)
        for choice in kind
    ]


def _shown(value: Any) -> str:
    return f"the text `{value}`" if isinstance(value, str) else f"`{value}`"


def _expected(kinds: list[Any], value: Any) -> str:
    """What would have been right, in words."""
    if choices := _choices(kinds):
        if len(choices) <= FEW_CHOICES:
            return f"one of {', '.join(choices)}"
        near = difflib.get_close_matches(str(value), choices, n=3, cutoff=0.3) or choices[:3]
        return f"one of {len(choices)} names, such as {', '.join(near)},"
    words = []
    if bool in kinds:
        words.append("true or false")
    if float in kinds:
        words.append("a number")
    elif int in kinds:
        words.append("a whole number")
    if str in kinds:
        words.append("text")
    if _has(kinds, list):
        words.append("a list")
    if _has(kinds, dict):
        words.append("a mapping")
    if types.NoneType in kinds:
        words.append("none")
    return " or ".join(words) or "another type"
