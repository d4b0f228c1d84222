"""What the package offers, read from its sources: names, where they are defined, docstrings.

The sources are read and not imported: importing them would load torch and TRL, which takes longer
than the rest of the website's build. A package offers the names of its ``__all__``, or, where it
has none, the public functions and classes of its modules.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "zephyr_utils"
SOURCES = Path(__file__).resolve().parents[1] / PACKAGE
OMITTED = {"__main__", "cli"}  # the command line has a page of its own

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Entry:
    """A name that a page documents.

    Attributes:
        address: as it is imported: ``zephyr_utils.preferences.binarize``.
        node: where it is defined.
        comment: what the source says beside a constant.
    """

    address: str
    node: Definition
    comment: str = ""


@dataclass
class Section:
    """The entries of one module, with the module's own docstring."""

    module: str
    docstring: str
    entries: list[Entry] = field(default_factory=list)


@dataclass
class Page:
    """A package, or the modules that lie beside the packages."""

    name: str
    docstring: str
    sections: list[Section] = field(default_factory=list)


def full_name(page: str) -> str:
    return PACKAGE if page == PACKAGE else f"{PACKAGE}.{page}"


def read_pages() -> list[Page]:
    """The page of the modules beside the packages, then the packages by name."""
    packages = sorted(path.parent for path in SOURCES.glob("*/__init__.py"))
    top = Page(PACKAGE, _docstring(SOURCES / "__init__.py"))
    for path in sorted(SOURCES.glob("*.py")):
        if path.stem not in OMITTED | {"__init__"}:
            top.sections.append(_section(path, f"{PACKAGE}.{path.stem}"))
    return [top, *(_page(path) for path in packages if path.name not in OMITTED)]


def _page(folder: Path) -> Page:
    """One package: what it exports, by the module that defines it; else all its modules."""
    page = Page(folder.name, _docstring(folder / "__init__.py"))
    package = full_name(folder.name)
    if exported := exports(folder / "__init__.py"):
        for module, names in exported.items():
            page.sections.append(_section(_file(module), package, names, module))
    else:
        page.sections.append(_section(folder / "__init__.py", package))
        for path in sorted(folder.glob("*.py")):
            if path.stem != "__init__":
                page.sections.append(_section(path, f"{package}.{path.stem}"))
    page.sections = [section for section in page.sections if section.entries]
    return page


def exports(path: Path) -> dict[str, list[str]]:
    """Module -> the names of ``__all__`` that it defines, in the order of the imports."""
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            wanted |= set(ast.literal_eval(node.value))
    defined: dict[str, list[str]] = {}
    for name, module in _imports(path).items():
        if name in wanted:
            defined.setdefault(_origin(module, name), []).append(name)
    return defined


def _imports(path: Path) -> dict[str, str]:
    """Name -> the module of the package that a file imports it from, under ``if`` as well."""
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)
        for alias in node.names
        if node.module
    }


def _origin(module: str, name: str) -> str:
    """The module that defines a name, which others may pass on."""
    passed_on = _imports(_file(module)).get(name)
    return _origin(passed_on, name) if passed_on else module


def _file(module: str) -> Path:
    """The source file of a module or package."""
    path = SOURCES.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _section(path: Path, address: str, names: list[str] | None = None, module: str = "") -> Section:
    """The entries of a file: those of these names, or all public ones that have a docstring."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    section = Section(module or address, ast.get_docstring(tree) or "")
    found = {}
    for node in _one_by_one(tree.body):
        name = _name(node)
        if name and (name in names if names is not None else _is_public(name, node)):
            assert isinstance(node, Definition)
            found[name] = Entry(f"{address}.{name}", node, _comment(node, text.splitlines()))
    section.entries = [found[name] for name in (names or found) if name in found]
    return section


def _one_by_one(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module; ``A, B = 1, 2`` as two."""
    for node in body:
        pair = isinstance(node, ast.Assign) and (node.targets[0], node.value)
        if pair and isinstance(pair[0], ast.Tuple) and isinstance(pair[1], ast.Tuple):
            for target, value in zip(pair[0].elts, pair[1].elts, strict=True):
                yield ast.copy_location(ast.Assign([target], value), node)
        else:
            yield node


def _is_public(name: str, node: ast.stmt) -> bool:
    if name.startswith("_") or not isinstance(
        node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ):
        return False
    return bool(ast.get_docstring(node))


def _name(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return ""


def _comment(node: ast.stmt, lines: list[str]) -> str:
    """What is behind a constant in its line, or above it."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.end_lineno is None:
        return ""
    for number in (node.lineno, node.end_lineno):
        _, mark, behind = lines[number - 1].partition("  # ")
        if mark:
            return behind
    above: list[str] = []
    for line in reversed(lines[: node.lineno - 1]):
        if not line.startswith("# ") or line.startswith("# ---"):
            break
        above.insert(0, line.removeprefix("# "))
    return " ".join(above)


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
