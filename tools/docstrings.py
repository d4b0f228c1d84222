"""From the package's docstrings to MyST: prose with its code, and the sections of Google's style.

    Args:
        name: what it is.

becomes a field list, which Sphinx sets as "Parameters". What Markdown or MyST would read as markup
is escaped, so that a docstring means on the page what it means in the code.
"""

import re
import textwrap
from collections.abc import Callable, Iterator

SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Warns):(?: +(.+))?$")
# Sphinx's field for each entry of a section; of Returns and Yields the whole text is one entry.
FIELDS = {
    "Args": "param",
    "Attributes": "ivar",
    "Raises": "raises",
    "Warns": "warns",
    "Returns": "returns",
    "Yields": "yields",
}
NO_BLANK = "\u200b"  # a place to break a line
WHOLE = {"Returns", "Yields"}
ENTRY = re.compile(r"([\w*.,` |]+?): +(?=\S)|([\w*.,` |]+?):$")
CODE = re.compile(r"(?::[a-z]+:)?(``.+?``|`[^`\n]+(?:\n[^`\n]+)?`)", re.S)
MARKUP = re.compile(r"([\\*_$<>{}\[\]|])")

Link = Callable[[str], str]


def as_code(name: str) -> str:
    """A name as code, without a link."""
    return f"`{name}`"


def to_myst(docstring: str, link: Link = as_code) -> str:
    """A docstring as MyST.

    Args:
        docstring: as `inspect.cleandoc` leaves it.
        link: what becomes of a name in single backticks.
    """
    parts = []
    for title, lines in _sections(docstring):
        text = "\n".join(lines).strip("\n")
        if not title:
            parts.append(_body(text, link))
        elif title in WHOLE:
            parts.append(_field(FIELDS[title], text, link))
        else:
            entries = _entries(lines)
            # Sphinx reads a field's argument with a blank in it as a type and a name.
            fields = (
                _field(f"{FIELDS[title]} {names.replace(', ', ',' + NO_BLANK)}".strip(), text, link)
                for names, text in entries
            )
            parts.append("\n".join(fields))
    return "\n\n".join(part for part in parts if part)


def summary(docstring: str) -> str:
    """The first sentence of a docstring, in one line."""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[0]


def prose(text: str, link: Link = as_code) -> str:
    """Text with code in backticks: the code as it is, of the rest all markup escaped."""
    parts = []
    position = 0
    for code in CODE.finditer(text):
        parts.append(_escaped(text[position : code.start()]))
        inner = " ".join(code[1].strip("`").split())
        parts.append(as_code(inner) if code[1].startswith("``") else link(inner))
        position = code.end()
    return "".join([*parts, _escaped(text[position:])])


def _escaped(text: str) -> str:
    text = MARKUP.sub(r"\\\1", text)
    text = re.sub(r"(?<!\\\*)\\\*(\w[\w ]*)\\\*(?!\\\*)", r"*\1*", text)  # emphasised words
    text = re.sub(r"\\\*\\\*(\w[^*\\]*)\\\*\\\*", r"**\1**", text)
    text = re.sub(r"^(\s*)\\\* ", r"\1* ", text, flags=re.M)  # a list
    return re.sub(r"^(\s*)([%#+])", r"\1\\\2", text, flags=re.M)


def _sections(docstring: str) -> Iterator[tuple[str, list[str]]]:
    """Title and dedented lines of each section; what comes before or between has no title."""
    title = ""
    lines: list[str] = []
    for line in docstring.splitlines():
        opens = SECTION.match(line)
        if opens or (title and line and not line.startswith(" ")):
            yield title, lines
            title, lines = (opens[1], [opens[2]] if opens[2] else []) if opens else ("", [line])
        else:
            lines.append(line[4:] if title else line)
    yield title, lines


def _entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Names and description of each entry of a section; further lines of it are indented."""
    names = ""
    text: list[str] = []
    for line in lines:
        entry = None if line.startswith(" ") else ENTRY.match(line)
        if entry:
            if names or any(text):
                yield names, "\n".join(text).strip()
            names = (entry[1] or entry[2]).replace("`", "").strip()
            text = [line[entry.end() :]]
        else:
            text.append(line.strip())
    if names or any(text):
        yield names, "\n".join(text).strip()


def _field(name: str, text: str, link: Link) -> str:
    """One line of a field list; its further paragraphs are indented below it."""
    lines = _body(text, link).splitlines() or [""]
    return "\n".join(
        [f":{name}: {lines[0]}", *(f"    {line}" if line else "" for line in lines[1:])]
    )


def _body(text: str, link: Link) -> str:
    """Paragraphs, lists, examples of a console and indented code."""
    blocks = re.split(r"\n\s*\n", text.strip("\n"))
    parts: list[str] = []
    for block in blocks:
        example = textwrap.dedent(block.removeprefix("Example:\n"))
        if example.startswith(">>> "):
            parts.append(f"```pycon\n{example}\n```")
        elif block.startswith("    "):
            code = "\n".join(line.removeprefix("    ") for line in block.splitlines())
            if parts and parts[-1].endswith("\n```"):
                parts[-1] = f"{parts[-1].removesuffix('```')}\n{code}\n```"
            else:
                parts.append(f"```python\n{code}\n```")
        else:
            parts.append(prose(re.sub(r"::$", ":", block), link))
    return "\n\n".join(parts)
