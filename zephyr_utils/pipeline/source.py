"""Digests of the package's own source: which modules a piece of code rests on, and what they say.

An artefact is as good as the code that made it, so its key holds that code. What counts is the
syntax tree without docstrings: a reworded comment or docstring, or another line break, changes
nothing. Nothing is imported or run to find this out.
"""

import ast
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

# A name as it is written in an import: (module, name), the name "" for the module as a whole.
Import = tuple[str, str]


def code_digests(modules: Iterable[str], package: Path = PACKAGE) -> dict[str, str]:
    """Digest of each module that `modules` rest on, themselves included, at any depth.

    An import of a name that a package's ``__init__`` only hands on leads to the module which
    defines the name, not to all that the package holds.

    Args:
        modules: dotted names within the package, such as ``zephyr_utils.training.stages``.
        package: the folder of the package.

    Returns:
        path of the file relative to the package, as ``training/stages.py`` -> 16 hexadecimal
        digits.
    """
    source = _Source(package)
    pending, seen = list(modules), set()
    while pending:
        module = pending.pop()
        if module not in seen:
            seen.add(module)
            pending += source.imported_by(module)
    files = {source.file_of(module) for module in seen}
    return {file.relative_to(package).as_posix(): source.digest(file) for file in sorted(files)}


def notebook_digests(cells: Iterable[str], package: Path = PACKAGE) -> dict[str, str]:
    """Digests of the modules that the code cells of a chapter rest on, as `code_digests`.

    Args:
        cells: source of the code cells; lines of shell or magic (``%``, ``!``) are passed over.
    """
    lines = (line for cell in cells for line in cell.split("\n"))
    # `pass`, since a magic may be all that is under an `if`.
    code = "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines)
    source = _Source(package)
    return code_digests(source.imports_of(ast.parse(code)), package)


class _Source:
    def __init__(self, package: Path) -> None:
        self.package, self.name = package, package.name

    def file_of(self, module: str) -> Path:
        path = self.package.joinpath(*module.split(".")[1:])
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    def is_module(self, module: str) -> bool:
        return self.file_of(module).is_file()

    def is_package(self, module: str) -> bool:
        return self.file_of(module).name == "__init__.py"

    def digest(self, file: Path) -> str:
        return _parsed(file, file.stat().st_mtime_ns)[1]

    def tree(self, module: str) -> ast.Module:
        file = self.file_of(module)
        return _parsed(file, file.stat().st_mtime_ns)[0]

    def imported_by(self, module: str) -> set[str]:
        return self.imports_of(self.tree(module))

    def imports_of(self, tree: ast.Module) -> set[str]:
        """The modules of the package that this code imports, wherever the import is."""
        wanted: set[str] = set()
        for node in _running(tree):
            if isinstance(node, ast.Import):
                wanted |= {
                    alias.name for alias in node.names if alias.name.startswith(self.name + ".")
                }
            elif isinstance(node, ast.ImportFrom) and self._is_ours(node.module):
                for alias in node.names:
                    wanted |= self._home(tree, str(node.module), alias)
        return {module for module in wanted if self.is_module(module)}

    def _is_ours(self, module: str | None) -> bool:
        return module == self.name or bool(module and module.startswith(self.name + "."))

    def _home(self, tree: ast.Module, module: str, alias: ast.alias) -> set[str]:
        """Where ``from module import alias`` leads."""
        inner = f"{module}.{alias.name}"
        if self.is_module(inner):
            return self._used(tree, inner, alias.asname or alias.name)
        return {self.defining(module, alias.name)}

    def _used(self, tree: ast.Module, module: str, local: str) -> set[str]:
        """The modules behind the names that this code takes from a module it imports whole."""
        if not self.is_package(module):
            return {module}
        names = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == local
        }
        inner = {name: f"{module}.{name}" for name in names}
        return {
            path if self.is_module(path) else self.defining(module, name)
            for name, path in inner.items()
        }

    def defining(self, module: str, name: str) -> str:
        """The module that defines a name which `module` offers: itself, or where it has it from."""
        if not self.is_package(module):
            return module
        for node in ast.walk(self.tree(module)):
            if isinstance(node, ast.ImportFrom) and self._is_ours(node.module):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self.defining(str(node.module), alias.name)
        return module


@functools.lru_cache(maxsize=1024)
def _parsed(file: Path, changed_ns: int) -> tuple[ast.Module, str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return tree, hashlib.sha256(_without_docstrings(tree).encode()).hexdigest()[:16]


def _without_docstrings(tree: ast.Module) -> str:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = {
        id(node.body[0]): node
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None
    }
    removed = [(node, node.body.pop(0)) for node in texts.values()]
    words = ast.dump(tree)
    for node, text in removed:  # the tree is kept and read again
        node.body.insert(0, text)
    return words


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from (other, *_running(other))
            continue
        yield node
        yield from _running(node)
