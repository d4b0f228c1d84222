"""The reference of the command line: every command of ``zephyr``, its arguments and options.

Markdown, made from the functions that Typer calls, at every build of the website; so it shows what
``zephyr COMMAND --help`` shows.
"""

import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from docstrings import prose
from typer.models import ArgumentInfo, OptionInfo

from zephyr_utils.cli import app
from zephyr_utils.tables import markdown_table

PROGRAM = "zephyr"
KINDS = {int: "integer", float: "number", str: "text", Path: "path"}


@dataclass(frozen=True)
class Parameter:
    """One argument or option, as its function declares it.

    Attributes:
        names: as they are written: ``--seed``, ``--critiques / --no-critiques``, or ``FEEDBACK``.
        values: what it takes, in a word; empty for a flag.
        choices: the values that it takes, if they are few.
        default: as it is written; empty where there is none, or nothing.
    """

    names: str
    values: str
    choices: list[str]
    help: str
    default: str
    required: bool
    is_option: bool
    several: bool


def command_reference() -> str:
    """The whole reference as Markdown, a section for each command in the order of the help."""
    shown = [command for command in app.registered_commands if not command.hidden]
    aliases: dict[Callable[..., Any], list[str]] = {}
    for command in app.registered_commands:
        if command.hidden and command.callback and command.name:
            aliases.setdefault(command.callback, []).append(command.name)
    parts = []
    for command in shown:
        assert command.callback
        name = command.name or command.callback.__name__.replace("_", "-")
        parts.append(_section(name, command.callback, aliases.get(command.callback, [])))
    assert app.registered_callback and app.registered_callback.callback
    general = [one for one in parameters(app.registered_callback.callback) if one.is_option]
    parts.append(f"## Without a command\n\n{_options(general)}")
    return "\n\n".join(parts)


def _section(name: str, function: Callable[..., Any], aliases: list[str]) -> str:
    """Heading, usage, description and the tables of one command."""
    all_of_them = list(parameters(function))
    arguments = [one for one in all_of_them if not one.is_option]
    needed = [one for one in all_of_them if one.is_option and one.required]
    pieces = [PROGRAM, name]
    for one in arguments:
        piece = f"{one.names}..." if one.several else one.names
        pieces.append(piece if one.required else f"[{piece}]")
    pieces += [f"{one.names} {one.values.upper()}" for one in needed]
    parts = [
        f"## `{PROGRAM} {name}`",
        f"```console\n{' '.join(pieces)} [OPTIONS]\n```",
        prose(inspect.cleandoc(function.__doc__ or "")),
    ]
    if aliases:
        parts.append(f"Also {', '.join(f'`{PROGRAM} {alias}`' for alias in aliases)}.")
    if arguments:
        rows = [(f"`{one.names}`", one.values, _description(one)) for one in arguments]
        parts.append(markdown_table(["argument", "takes", "what it is"], rows))
    if options := [one for one in all_of_them if one.is_option]:
        parts.append(_options(options))
    return "\n\n".join(parts)


def stacked(table: str, kind: str) -> str:
    """A table in a box of its kind: on a phone each row becomes a few lines (`book.css`)."""
    return f":::{{div}} stacked {kind}\n{table}\n:::"


def _options(options: list[Parameter]) -> str:
    rows = [
        (
            f"`{one.names}`",
            one.values,
            "required" if one.required else f"`{one.default}`" if one.default else "",
            _description(one),
        )
        for one in options
    ]
    return stacked(markdown_table(["option", "takes", "default", "what it is"], rows), "options")


def _description(one: Parameter) -> str:
    """The help text, with the choices and whether it may be repeated."""
    parts = [one.help]
    if one.choices:
        parts.append(f"One of {', '.join(f'`{choice}`' for choice in one.choices)}.")
    if one.several and one.is_option:
        parts.append("May be given several times.")
    return " ".join(parts)


def parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    """The arguments and options of a command's function, in its order."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        infos: tuple[Any, ...] = ()
        if typing.get_origin(hint) is Annotated:
            hint, *rest = typing.get_args(hint)
            infos = tuple(rest)
        info = next((i for i in infos if isinstance(i, ArgumentInfo | OptionInfo)), OptionInfo())
        if info.hidden:
            continue
        is_option, kind, several = isinstance(info, OptionInfo), *_without_none_and_list(hint)
        flag, choices = kind is bool, _choices(kind)
        given = list(info.param_decls or ())
        if isinstance(info.default, str) and info.default.startswith("-"):
            given.insert(0, info.default)  # Typer takes the first name as a default until it runs
        if is_option:
            plain = f"--{name.replace('_', '-')}"
            names = given or ([plain, f"--no-{plain[2:]}"] if flag else [plain])
        else:
            names = given or [name.upper()]
        yield Parameter(
            names=" / ".join(names),
            values="" if flag else "choice" if choices else KINDS[kind],
            choices=choices,
            help=prose(info.help or ""),
            default=_default(parameter.default, names if flag else []),
            required=parameter.default is inspect.Parameter.empty,
            is_option=is_option,
            several=several,
        )


def _without_none_and_list(hint: Any) -> tuple[Any, bool]:
    """``list[Path] | None`` -> ``(Path, True)``."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        [hint] = [part for part in typing.get_args(hint) if part is not type(None)]
    if typing.get_origin(hint) is list:
        return typing.get_args(hint)[0], True
    return hint, False


def _choices(kind: Any) -> list[str]:
    """The values of a type that has a few only; empty for all others."""
    if typing.get_origin(kind) is typing.Literal:
        return [str(choice) for choice in typing.get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [str(choice.value) for choice in kind]
    return []


def _default(value: Any, flag_names: list[str]) -> str:
    if value is inspect.Parameter.empty or value is None or value == "":
        return ""
    if isinstance(value, bool):
        off = flag_names[1:]
        return flag_names[0] if value else (off[0] if off else "")
    return str(value.value if isinstance(value, enum.Enum) else value)
