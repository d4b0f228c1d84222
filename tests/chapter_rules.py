"""The shape every chapter keeps, as a checker: ``complaints(path)`` lists what a
notebooks/NN_topic.py breaks.
"""

import ast
import io
import itertools
import math
import re
import statistics
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import jupytext
from nbformat import NotebookNode

# Of code cells: the median and 90 % of them, where a wrapped statement counts as one line, and all
# of them, as they stand.
MEDIAN_LINES, MOST_LINES, LONGEST = 6, 18, 40
TEXT_PER_CODE = 1.2
DIALS = 8
GOALS = range(3, 7)
LEAST_PREDICTIONS, LEAST_EXERCISES = 5, 3
SECTIONS = ("What you will be able to do", "Recap", "References")
EXERCISE = re.compile(r"^`{3,}\{exercise\} *(?P<title>.*)\n(?P<body>(?:.*\n)*?)`{3,}$", re.M)
CARD = re.compile(r"\*\*Difficulty\*\* (?P<dots>[●○]{5}) · \*\*Minutes\*\* \d+")
EXERCISE_LINK = re.compile(r"\]\((ex-\d\d-[a-z0-9-]+)\)")
HINT = re.compile(r"^`{3,}\{admonition\} Hint.*\n:class: tip dropdown$", re.M)
SOLUTION = re.compile(
    r"^(?P<fence>`{4,})\{solution\} (?P<label>\S+)\n:class: "
    r"dropdown\n(?P<body>(?:.*\n)*?)(?P=fence)$",
    re.M,
)
PREDICT = re.compile(r"^`{3,}\{admonition\} Predict, then run\n:class: predict$", re.M)
ANSWER = re.compile(r"^`{3,}\{admonition\} What happened\n:class: dropdown$", re.M)
LESSON = re.compile(r"^lessons\.(?P<kind>predict|explain)\(", re.M)
# What a cell with one of them stands for: text that asks, and text that answers.
AS_TEXT = {
    "predict": "```{admonition} Predict, then run\n:class: predict\n```",
    "explain": "```{admonition} What happened\n:class: dropdown\n```",
}
PATH_IN_TEXT = re.compile(
    r"(?<![\w.~/:])(?:/(?:home|Users|root|tmp|mnt|opt|var|srv|data)/\w|[A-Z]:\\)"
)


def complaints(path: Path) -> list[str]:
    """Everything that the chapter breaks, in words that say what to change."""
    cells = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells
    hidden = [cell for cell in cells if "remove-input" in _tags(cell)]
    wrong = [cell for cell in cells if LESSON.search(cell.source) and cell not in hidden]
    said = [f"tag the cell of {LESSON.search(cell.source)[0]}...) remove-input" for cell in wrong]
    cells = [_as_text(cell) for cell in cells]
    rules: tuple[Callable[[list[NotebookNode], str], Iterator[str]], ...] = (
        _title_and_headings, _rhythm, _parameters, _exercises, _predictions, _figures, _last_cell,
        _paths, _enough, _goals,
    )  # fmt: skip
    return said + [complaint for rule in rules for complaint in rule(cells, path.stem)]


def _as_text(cell: NotebookNode) -> NotebookNode:
    """A cell of `lessons`, whose input is hidden, as the box that it displays; else as it is."""
    found = LESSON.search(cell.source) if "remove-input" in _tags(cell) else None
    if not found:
        return cell
    return NotebookNode(cell_type="markdown", metadata={}, source=AS_TEXT[found["kind"]])


def _code(cells: list[NotebookNode]) -> list[NotebookNode]:
    return [cell for cell in cells if cell.cell_type == "code"]


def _text(cells: list[NotebookNode]) -> str:
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def _tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def _python(cell: NotebookNode) -> str:
    # Lines for IPython (%pip, !pip) are not Python.
    return re.sub(r"^( *)[%!].*$", r"\1pass", cell.source, flags=re.M)


def _tree(cell: NotebookNode) -> ast.Module:
    return ast.parse(_python(cell))


def _statement_lines(cell: NotebookNode) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(_python(cell)).readline)
    return sum(
        token.type == tokenize.NEWLINE
        or (token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"))
        for token in tokens
    )


def _title_and_headings(cells: list[NotebookNode], name: str) -> Iterator[str]:
    if not cells or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        yield "the first cell has to be text whose first line is the title, '# ...'"
    without_fences = re.sub(r"^(`{3,}).*?^\1`*$", "", _text(cells), flags=re.M | re.S)
    headings = re.findall(r"^(#+) +(.+)$", without_fences, re.M)
    if sum(marks == "#" for marks, _ in headings) != 1:
        yield "there has to be exactly one title, '# ...'"
    for (above, _), (marks, words) in itertools.pairwise(headings):
        if len(marks) > len(above) + 1:
            yield f"the heading {words!r} skips a level"
    for section in SECTIONS:
        if ("##", section) not in headings:
            yield f"the section '## {section}' is missing"


def _rhythm(cells: list[NotebookNode], name: str) -> Iterator[str]:
    code = _code(cells)
    if not code:
        yield "there is no code"
        return
    lengths = sorted(map(_statement_lines, code))
    if statistics.median(lengths) > MEDIAN_LINES:
        median = statistics.median(lengths)
        yield f"the median code cell has {median:g} lines, more than {MEDIAN_LINES}"
    at_ninety_percent = lengths[math.ceil(0.9 * len(lengths)) - 1]
    if at_ninety_percent > MOST_LINES:
        yield f"fewer than 90 % of the code cells have at most {MOST_LINES} lines"
    longest = max(sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in code)
    if longest > LONGEST:
        yield f"a code cell has {longest} lines, more than {LONGEST}"
    texts = len(cells) - len(code)
    if texts < TEXT_PER_CODE * len(code):
        needed = math.ceil(TEXT_PER_CODE * len(code))
        yield f"{texts} text cells for {len(code)} code cells: at least {needed} are needed"


def _parameters(cells: list[NotebookNode], name: str) -> Iterator[str]:
    tagged = [cell for cell in cells if "parameters" in _tags(cell)]
    if len(tagged) != 1:
        yield f"{len(tagged)} cells are tagged parameters: exactly one has to be"
        return
    statements = _tree(tagged[0]).body
    if not all(isinstance(statement, ast.Assign | ast.AnnAssign) for statement in statements):
        yield "the parameters cell may only assign"
    if len(statements) > DIALS:
        yield f"the parameters cell has {len(statements)} names, more than {DIALS}"


def _exercises(cells: list[NotebookNode], name: str) -> Iterator[str]:
    solutions = {found["label"]: found["body"] for found in SOLUTION.finditer(_text(cells))}
    labels = []
    for place, cell in enumerate(cells):
        found = EXERCISE.search(cell.source) if cell.cell_type == "markdown" else None
        if not found:
            continue
        label = re.search(r"^:label: (\S+)$", found["body"], re.M)
        label = label[1] if label else "none"
        labels.append(label)
        if not re.fullmatch(rf"ex-{name[:2]}-[a-z0-9-]+", label):
            yield f"the exercise {found['title']!r} has the label {label}, not ex-{name[:2]}-name"
        if not found["title"]:
            yield f"{label} has no title"
        if not CARD.search(found["body"]):
            yield f"{label} has no card, '**Difficulty** ●●○○○ · **Minutes** 10'"
        until = next(
            (i for i in range(place + 1, len(cells)) if EXERCISE.search(cells[i].source)),
            len(cells),
        )
        after = cells[place + 1 : until]
        if (
            not after
            or "exercise" not in _tags(after[0])
            or "exercises.check_" not in after[0].source
        ):
            yield (
                f"{label} is not followed by a code cell tagged exercise that calls "
                "exercises.check_..."
            )
        if not HINT.search(_text(after)):
            yield f"{label} has no folded hint"
        if "```python\n" not in solutions.get(label, ""):
            yield f"{label} has no folded solution with Python in it"
    if not labels:
        yield "there is no exercise"
    if stubs := sum("exercise" in _tags(cell) for cell in cells) - len(labels):
        yield f"{stubs:+d} cells tagged exercise compared with exercises"
    for label in sorted(set(solutions) - set(labels)):
        yield f"the solution {label} belongs to no exercise"


def _predictions(cells: list[NotebookNode], name: str) -> Iterator[str]:
    """A prediction, then code, then the answer; then the next prediction."""
    asked, ran = False, False
    for cell in cells:
        if cell.cell_type == "code":
            ran = True
            continue
        if PREDICT.search(cell.source):
            if asked:
                yield "a prediction has no answer ('What happened') before the next one"
            asked, ran = True, False
        if ANSWER.search(cell.source):
            if not asked or not ran:
                yield (
                    "an answer ('What happened') does not follow a prediction and the code that "
                    "settles it"
                )
            asked = False
    if asked:
        yield "the last prediction has no answer ('What happened')"


def _figures(cells: list[NotebookNode], name: str) -> Iterator[str]:
    for cell in _code(cells):
        calls = [node for node in ast.walk(_tree(cell)) if isinstance(node, ast.Call)]
        called = [ast.unparse(call.func) for call in calls]
        if "plt.show" in called:
            yield "a cell calls plt.show: end it with figures.show(fig, alt=..., caption=...)"
        draws = any(word.startswith(("figures.", "plt.subplots", "plt.figure")) for word in called)
        if draws and "figures.show" not in called:
            yield f"a cell draws but does not show with alt text: {cell.source.splitlines()[0]!r}"
        for call in calls:
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            if ast.unparse(call.func) != "figures.show":
                continue
            for wanted in ("alt", "caption"):
                value = given.get(wanted)
                if value is None or (isinstance(value, ast.Constant) and not value.value):
                    yield f"a call of figures.show has no {wanted}"


def _last_cell(cells: list[NotebookNode], name: str) -> Iterator[str]:
    last = cells[-1]
    if (
        last.cell_type != "code"
        or "remove-cell" not in _tags(last)
        or "write_metrics(" not in last.source
    ):
        yield "the last cell has to be tagged remove-cell and to call write_metrics(...)"


def _paths(cells: list[NotebookNode], name: str) -> Iterator[str]:
    for found in PATH_IN_TEXT.finditer(_text(cells)):
        yield f"the text holds a path of one machine: {found[0]}..."
    for cell in _code(cells):
        for node in ast.walk(_tree(cell)):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and PATH_IN_TEXT.search(node.value)
            ):
                yield f"the code holds a path of one machine: {node.value!r}"


def _enough(cells: list[NotebookNode], name: str) -> Iterator[str]:
    """Goals, predictions and exercises in number, and the section for the reader's own data."""
    text = _text(cells)
    if (goals := _points(text, SECTIONS[0])) and len(goals) not in GOALS:
        yield f"{len(goals)} goals, not {GOALS[0]} to {GOALS[-1]}"
    if (found := len(PREDICT.findall(text))) < LEAST_PREDICTIONS:
        yield f"{found} predictions, fewer than {LEAST_PREDICTIONS}"
    if (found := len(EXERCISE.findall(text))) < LEAST_EXERCISES:
        yield f"{found} exercises, fewer than {LEAST_EXERCISES}"
    if not re.search(r"^## Your turn\b", text, re.M):
        yield "the section '## Your turn ...', for the reader's own data, is missing"


def _points(text: str, section: str) -> list[str]:
    """The points of the list in a section; none if it is missing."""
    body = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return re.split(r"^(?:-|\d+\.) ", body[1], flags=re.M)[1:] if body else []


def _goals(cells: list[NotebookNode], name: str) -> Iterator[str]:
    """The recap takes up each goal, in order, and names an exercise in which it is tried."""
    goals, recap = (_points(_text(cells), section) for section in SECTIONS[:2])
    if len(goals) != len(recap):
        yield f"{len(recap)} points of the recap for {len(goals)} goals: one for each, in order"
    for number, point in enumerate(recap, 1):
        if not EXERCISE_LINK.search(point):
            yield f"the recap names no exercise for goal {number}: [in words](ex-{name[:2]}-name)"
