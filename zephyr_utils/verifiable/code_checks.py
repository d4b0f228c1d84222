"""Checks of code and data in an answer. It is parsed and never run."""

import ast
import json
import warnings
from collections.abc import Iterator
from typing import Any

from zephyr_utils.verifiable.text import code_blocks

_MOST_BLOCKS = 20  # of an answer that are parsed
# Python's parser takes quadratic time for some texts, such as a name with very many accents.
_LONGEST_CODE = 10_000  # characters
_PYTHON = ("", "python", "python3", "py")
_PARSER_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)


def has_code_block(answer: str, *, language: str) -> bool:
    """Whether there is a fenced block of code that names the language."""
    return any(named == language.lower() for named, _ in code_blocks(answer))


def defines_function(
    answer: str,
    *,
    name: str,
    parameters: list[str] | None = None,
    docstring: bool = False,
    annotated: bool = False,
    calls: str | None = None,
    defaults: int | None = None,
) -> bool:
    """Whether the answer holds Python that parses and defines the function.

    Code is looked for in the fenced blocks, or is the whole answer if there are none.

    Args:
        parameters: names of all parameters in order; None for any.
        docstring: it must have one.
        annotated: every parameter and the result must have a type.
        calls: name of a function that its body calls; its own name for recursion.
        defaults: number of parameters with a default value.
    """
    return any(
        node.name == name
        and (parameters is None or [p.arg for p in _parameters(node)] == parameters)
        and (not docstring or bool(ast.get_docstring(node)))
        and (not annotated or _is_annotated(node))
        and (calls is None or calls in _called(node))
        and (defaults is None or _number_of_defaults(node) == defaults)
        for tree in _parsed(answer)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def defines_class(answer: str, *, name: str, methods: list[str] | None = None) -> bool:
    """Whether the answer holds Python that parses and defines the class with these methods, and
    maybe others.
    """
    return any(
        node.name == name
        and set(methods or ())
        <= {
            inner.name
            for inner in node.body
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for tree in _parsed(answer)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )


def parses_as_json(
    answer: str, *, keys: list[str] | None = None, values: dict[str, Any] | None = None
) -> bool:
    """Whether the answer is JSON, in a fenced block or bare, with nothing around it.

    Args:
        keys: exactly the keys of the object, in any order; None for any value.
        values: what some keys must hold; texts are compared without regard to case.
    """
    text = answer.strip()
    if text.startswith("```") and text.endswith("```"):
        blocks = code_blocks(text)
        text = blocks[0][1] if len(blocks) == 1 else text
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if keys is None and values is None:
        return True
    if not isinstance(data, dict) or (keys is not None and set(data) != set(keys)):
        return False
    return all(
        key in data and _folded(data[key]) == _folded(value)
        for key, value in (values or {}).items()
    )


def _parsed(answer: str) -> Iterator[ast.Module]:
    blocks = code_blocks(answer)
    python = [code for language, code in blocks if language in _PYTHON][:_MOST_BLOCKS]
    for code in python if blocks else [answer]:
        if len(code) > _LONGEST_CODE:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in its strings
                yield ast.parse(code)
        except _PARSER_ERRORS:
            continue


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs]
    return [argument for argument in [*every, arguments.kwarg] if argument is not None]


def _number_of_defaults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return len(node.args.defaults) + sum(value is not None for value in node.args.kw_defaults)


def _is_annotated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return node.returns is not None and all(p.annotation is not None for p in _parameters(node))


def _called(node: ast.AST) -> set[str]:
    called = (inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call))
    return {
        function.id if isinstance(function, ast.Name) else function.attr
        for function in called
        if isinstance(function, ast.Name | ast.Attribute)
    }


def _folded(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip().casefold()
    return [_folded(inner) for inner in value] if isinstance(value, list) else value
