"""The reference of the package: a page for each of its packages, made from signatures and
docstrings at every build of the website.

The pages are MyST with Sphinx's Python directives, so that each name has an address and is in
the index.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from api_sources import PACKAGE, SOURCES, Entry, Page, exports, full_name, read_pages
from docstrings import NO_BLANK, Link, as_code, prose, summary, to_myst

from zephyr_utils.tables import markdown_table

LONGEST_VALUE = 100  # characters of a constant's value


def write_pages(folder: Path) -> list[str]:
    """Write a page for each package into ``folder``; returns their names, the top first."""
    pages = read_pages()
    known = {entry.address for page in pages for part in page.sections for entry in part.entries}
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages:
        (folder / f"{page.name}.md").write_text(render(page, known), encoding="utf-8")
    return [page.name for page in pages]


def overview(folder: str = "api") -> str:
    """The packages with the first sentence of each, as a table with links."""
    rows = [
        (f"[`{full_name(page.name)}`]({folder}/{page.name})", prose(summary(page.docstring)))
        for page in read_pages()
    ]
    return markdown_table(["package", "what is in it"], rows)


def render(page: Page, known: set[str]) -> str:
    """A page as MyST.

    Args:
        known: the addresses that have an entry on some page; names of these become links.
    """
    package = full_name(page.name)

    def link(name: str) -> str:
        if name.startswith("~"):  # Sphinx's mark for: shown by its last word
            path, _, name = name[1:].rpartition(".")
            part = ".".join(path.split(".")[:2])  # a name may be defined deeper than it is offered
            given = [one for one in known if re.fullmatch(rf"{part}\.(\w+\.)*{name}", one)]
            return f"{{py:obj}}`{name} <{given[0]}>`" if len(given) == 1 else as_code(name)
        ending = f".{name.removesuffix('()')}"
        fitting = [address for address in known if address.endswith(ending)]
        near = [address for address in fitting if address.startswith(f"{package}.")]
        # A plain word may mean a module, or a field: only a dotted name leads to other packages.
        if not near and ("." in name or name != name.lower()):
            near = fitting
        return f"{{py:obj}}`{name} <{near[0]}>`" if len(near) == 1 else as_code(name)

    parts = [
        f"# {package}",
        to_myst(page.docstring, link),
        _at_the_top(known) if page.name == PACKAGE else "",
    ]
    for section in page.sections:
        if section.module != package:
            about = "" if section.docstring == page.docstring else to_myst(section.docstring, link)
            module = section.module.removeprefix(f"{PACKAGE}.")
            parts += ["## " + re.sub("([._])", r"\1" + NO_BLANK, module), about]
        # So that the index says "in module", and names are shown with it.
        within = section.entries[0].address.rpartition(".")[0]
        parts.append(f"```{{py:currentmodule}} {within}\n```")
        parts += [_entry(entry, link) for entry in section.entries]
    return "\n\n".join(part for part in parts if part) + "\n"


def _is_exception(node: ast.ClassDef) -> bool:
    return any(re.search("Error|Exception|Warning", ast.unparse(base)) for base in node.bases)


def _at_the_top(known: set[str]) -> str:
    """The names that the package itself offers, each with a link to where it is documented."""
    names = []
    for module, offered in exports(SOURCES / "__init__.py").items():
        part = ".".join(module.split(".")[:2])  # the package that the module belongs to
        for name in offered:
            near = [one for one in known if re.fullmatch(rf"{part}\.(\w+\.)*{name}", one)]
            names.append(f"{{py:obj}}`{name} <{near[0]}>`" if len(near) == 1 else as_code(name))
    return f"At the top: {', '.join(sorted(names))}."


def _entry(entry: Entry, link: Link) -> str:
    node, name = entry.node, entry.address.rpartition(".")[2]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        value = ast.unparse(node.value) if node.value else ""
        shown = value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
        return _directive(
            "data", name, prose(entry.comment, link), [f":value: {json.dumps(shown)}"]
        )
    text = to_myst(ast.get_docstring(node) or "", link)
    if isinstance(node, ast.ClassDef):
        kind = "exception" if _is_exception(node) else "class"
        body = "\n\n".join([text, *_members(node), *_methods(node, link)])
        return _directive(kind, f"{name}{_constructor(node)}", body, fence=6)
    return _directive("function", f"{name}{_signature(node)}", text)


def _directive(
    kind: str, signature: str, body: str, options: list[str] | None = None, fence: int = 5
) -> str:
    marks = "`" * fence
    return "\n".join([f"{marks}{{py:{kind}}} {signature}", *(options or []), "", body, marks])


def _members(node: ast.ClassDef) -> Iterator[str]:
    """The values of an enumeration, in a line."""
    if any("Enum" in ast.unparse(base) for base in node.bases):
        values = [
            as_code(str(ast.literal_eval(part.value)))
            for part in node.body
            if isinstance(part, ast.Assign) and isinstance(part.value, ast.Constant)
        ]
        yield f"Values: {', '.join(values)}."


def _methods(node: ast.ClassDef, link: Link) -> Iterator[str]:
    """The public methods and properties of a class that have a docstring."""
    for method in node.body:
        if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(method)
        if method.name.startswith("_") or not docstring:
            continue
        decorators = {ast.unparse(one) for one in method.decorator_list}
        text = to_myst(docstring, link)
        if decorators & {"property", "functools.cached_property", "cached_property"}:
            yield _directive("property", method.name, text)
            continue
        options = [f":{name}:" for name in ("classmethod", "staticmethod") if name in decorators]
        bound = "staticmethod" not in decorators
        yield _directive("method", f"{method.name}{_signature(method, bound)}", text, options)


def _constructor(node: ast.ClassDef) -> str:
    """The arguments of a class: of its ``__init__``, or the fields of a dataclass."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            return _signature(method, bound=True).partition(" -> ")[0]
    fields = [
        part
        for part in node.body
        if isinstance(part, ast.AnnAssign)
        and isinstance(part.target, ast.Name)
        and not part.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(part.annotation)
    ]
    generated = any("dataclass" in ast.unparse(one) for one in node.decorator_list)
    named = any(ast.unparse(base) in ("NamedTuple", "TypedDict") for base in node.bases)
    if not fields or not (generated or named):
        return ""
    shown = [
        f"{ast.unparse(part.target)}: {_annotation(part.annotation)}"
        + (f" = {_plain_default(part.value)}" if part.value else "")
        for part in fields
    ]
    return f"({', '.join(shown)})"


def _plain_default(value: ast.expr) -> str:
    """A default as a reader sees it: what `field` makes is an empty one."""
    text = ast.unparse(value)
    return "..." if text.startswith("field(") else text


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, bound: bool = False) -> str:
    """Arguments and what is returned; without ``self`` or ``cls`` where it is bound."""
    arguments = node.args
    if bound:
        first = [*arguments.posonlyargs, *arguments.args][:1]
        arguments.args = [one for one in arguments.args if one not in first]
    for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if one.annotation:
            one.annotation = ast.Name(_annotation(one.annotation))
    returns = f" -> {_annotation(node.returns)}" if node.returns else ""
    return f"({ast.unparse(arguments)}){returns}"


def _annotation(node: ast.expr) -> str:
    """A type as it is written, without the quotes around names that are imported later."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(node)
