"""Every call of another library that the package writes out still fits that library: the name is
there and takes what it is given.

A library renames an argument, and a lesson breaks where nobody trained for weeks. Here it breaks at
once, and is told by name. Only what can be told without running anything is looked at: calls by an
imported name, and not of what they return.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path

import pytest

import zephyr_utils

PACKAGE = Path(zephyr_utils.__file__).parent
OWN = "zephyr_utils"


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Local name -> what it stands for, of all imports from other distributions, wherever in the
    file they are.
    """
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    foreign = sys.stdlib_module_names | {OWN}
    return {name: full for name, full in names.items() if full.partition(".")[0] not in foreign}


def dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """``transformers.AutoTokenizer.from_pretrained`` for the expression that calls it; None if it
    is not told by imports.
    """
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        before = dotted(node.value, names)
        return before and f"{before}.{node.attr}"
    return None


def calls_of(path: Path) -> list[tuple[str, ast.Call]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = imported_names(tree)
    rebound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names = {name: full for name, full in names.items() if name not in rebound}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(name, call) for call in calls if (name := dotted(call.func, names))]


@functools.cache
def found(name: str) -> object:
    """The object of a dotted name; AttributeError if the library has no such thing."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            place = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        return functools.reduce(getattr, parts[length:], place)
    raise AttributeError(f"there is no module {parts[0]}")


def misfit(name: str, call: ast.Call) -> str | None:
    """What is wrong with a call, or None."""
    try:
        called = found(name)
    except AttributeError as error:
        return f"{name}: {error}"
    try:
        takes = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # written in C, without a signature
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes):
        return None
    known = {
        parameter.name for parameter in takes if parameter.kind is not parameter.POSITIONAL_ONLY
    }
    unknown = [given.arg for given in call.keywords if given.arg and given.arg not in known]
    return f"{name} takes no {', '.join(unknown)}" if unknown else None


CALLS = [
    (path, name, call) for path in sorted(PACKAGE.rglob("*.py")) for name, call in calls_of(path)
]
LIBRARIES = sorted({name.partition(".")[0] for _, name, _ in CALLS})


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_call_fits_what_the_library_takes(library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is an extra, and not installed")
    complaints = []
    for path, name, call in CALLS:
        if name.partition(".")[0] == library and (wrong := misfit(name, call)):
            complaints.append(f"{path.relative_to(PACKAGE)}:{call.lineno}: {wrong}")
    assert complaints == []


def test_the_libraries_that_change_most_are_among_those_looked_at():
    assert {"torch", "transformers", "trl", "peft", "datasets", "openai"} <= set(LIBRARIES)
    assert len(CALLS) > 150


def test_a_renamed_argument_and_a_removed_name_are_told():
    call = ast.parse("Config(beta=0.1, betta=0.2)", mode="eval").body
    assert misfit("trl.DPOConfig", call) == "trl.DPOConfig takes no betta"
    assert "no attribute DPOConfiguration" in misfit("trl.DPOConfiguration", call)
    assert misfit("trl.DPOConfig", ast.parse("Config(beta=0.1)", mode="eval").body) is None
