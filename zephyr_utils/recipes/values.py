"""The values of a recipe, checked and converted by the types that TRL declares for its arguments.

A value comes from YAML, or as text from the command line (``--set dsft.learning_rate=2e-5``). Both
are read alike, so that ``2e-5``, which YAML takes for text, is a number where a number belongs.
"""

import difflib
import enum
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from zephyr_utils.errors import HandbookError

TRUE, FALSE, NONE = ("true", "yes", "on"), ("false", "no", "off"), ("none", "null")
FEW_CHOICES = 10  # more than that are not listed


@dataclass(frozen=True)
class _Bound:
    """What a number has to be.

    Attributes:
        words: in a message.
        holds: whether a number is.
        off: how to say that the argument is not wanted, where 0 or none would seem to say it.
    """

    words: str
    holds: Callable[[float], bool]
    off: str = ""


_ABOVE_0 = _Bound("a number above 0", lambda number: number > 0)
_FROM_0 = _Bound("a number from 0", lambda number: number >= 0)
_SHARE = _Bound("a number from 0 to below 1", lambda number: 0 <= number < 1)
# TRL and torch find out minutes later, or take these numbers for something else silently.
BOUNDS = {
    **dict.fromkeys(
        (
            "adam_epsilon",
            "beta",
            "dataloader_prefetch_factor",
            "dataset_num_proc",
            "eval_accumulation_steps",
            "eval_steps",
            "gradient_accumulation_steps",
            "learning_rate",
            "lora_alpha",
            "lora_r",
            "loss_weights",
            "max_length",
            "num_train_epochs",
            "per_device_eval_batch_size",
            "per_device_train_batch_size",
            "precompute_ref_batch_size",
            "ref_model_sync_steps",
            "torch_empty_cache_steps",
        ),
        _ABOVE_0,
    ),
    **dict.fromkeys(
        (
            "dataloader_num_workers",
            "eval_delay",
            "max_grad_norm",
            "neftune_noise_alpha",
            "router_aux_loss_coef",
            "warmup_steps",
            "weight_decay",
        ),
        _FROM_0,
    ),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "label_smoothing_factor", "lora_dropout"), _SHARE),
    # from 0.5 on it would flip the labels
    "label_smoothing": _Bound("a number from 0 to below 0.5", lambda number: 0 <= number < 0.5),
    "logging_steps": replace(_ABOVE_0, off='or logging_strategy: "no" for none'),
    # TRL reads 0 and every other number below as -1
    "max_steps": _Bound(
        "a number above 0, or -1",
        lambda number: number > 0 or number == -1,
        "or leave it out (-1): num_train_epochs decides then",
    ),
    "ref_model_mixup_alpha": _Bound("a number from 0 to 1", lambda number: 0 <= number <= 1),
    "save_steps": replace(_ABOVE_0, off='or save_strategy: "no" for no checkpoints'),
    # transformers reads 0 as no limit
    "save_total_limit": replace(
        _ABOVE_0, off='or none for no limit; save_strategy: "no" keeps no checkpoints'
    ),
}
NEVER_NONE = {"max_length"}  # of what TRL lets be none: rows of any length would be trained on


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
        HandbookError: it is of another type, no number, or out of its argument's `BOUNDS`.
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
    _check_bound(name, made, where)
    return made


def _check_bound(name: str, made: Any, where: str) -> None:
    bound = BOUNDS.get(name)
    if bound is None or (made is None and name not in NEVER_NONE):
        return
    numbers = made if isinstance(made, list) else [made]
    if all(number is not None and bound.holds(number) for number in numbers):
        return
    raise HandbookError(
        f"`{name}` is {'none' if made is None else made}, and {bound.words} is expected",
        where=where,
        remedy=f"write one{', ' if bound.off else ''}{bound.off}",
    )


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
    """The types of a union, or the one type; Any if there is none."""
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
