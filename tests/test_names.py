"""The book's words and the code's: names in the glossary exist, terms appear once and in order, and
one thing has one name.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = (ROOT / "book" / "glossary.md").read_text()
SOURCES = [*(ROOT / "zephyr_utils").rglob("*.py"), *(ROOT / "zephyr_utils").rglob("*.yaml")]
# Words that others use for what has a name here. The field's terms are chosen, rejected, reference
# model, reward margin.
OTHER_WORDS = {
    "winning": "chosen", "losing": "rejected", "preferred": "chosen", "dispreferred": "rejected",
    "ref": "reference",
    "dialog": "dialogue", "prefs": "preferences",
}  # fmt: skip
TRLS_OWN = {"compute_ref_log_probs"}  # what a trainer of ours replaces in TRL's


def terms() -> list[str]:
    lines = GLOSSARY.splitlines()
    return [lines[i - 1] for i, line in enumerate(lines) if line.startswith(": ")]


def test_every_name_in_the_glossary_is_a_name_in_the_code():
    code = "\n".join(path.read_text() for path in SOURCES)
    without_citations = re.sub(r"\{\w+:?\w*\}`[^`]*`", "", GLOSSARY)
    named = set(re.findall(r"`([^`]+)`", without_citations)) - {"this type"}
    assert len(named) > 5
    missing = [name for name in named if name.split("(")[0] not in code]
    assert not missing, f"the glossary names what the code does not have: {missing}"


def test_terms_stand_once_and_in_the_order_of_the_alphabet():
    found = [re.sub(r"[^a-z ]", "", term.lower().replace("-", " ")) for term in terms()]
    assert len(found) > 40 and len(set(found)) == len(found)
    assert found == sorted(found), [a for a, b in zip(found, sorted(found), strict=True) if a != b][
        :3
    ]


def public_names(path: Path) -> set[str]:
    """Functions, classes, their parameters and attributes that others may use."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.add(node.name)
            if isinstance(node, ast.FunctionDef):
                found |= {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
            else:
                annotated = (
                    field.target for field in node.body if isinstance(field, ast.AnnAssign)
                )
                found |= {target.id for target in annotated if isinstance(target, ast.Name)}
    return found


def test_one_thing_has_one_name_in_the_package():
    wrong = {
        f"{path.name}: {name}: say {OTHER_WORDS[word]}"
        for path in (ROOT / "zephyr_utils").rglob("*.py")
        for name in public_names(path) - TRLS_OWN
        for word in re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
        if word in OTHER_WORDS
    }
    assert not wrong, "\n".join(sorted(wrong))


def defined(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> dict[str, list[str]]:
    """Public name -> the modules that define a class or function of that name at their top."""
    places: dict[str, list[str]] = {}
    for path in (ROOT / "zephyr_utils").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, kind) and not node.name.startswith("_"):
                where = places.setdefault(node.name, [])
                place = path.relative_to(ROOT).as_posix()
                if place not in where:  # overloads are under one name
                    where.append(place)
    return places


def test_no_two_classes_have_one_name():
    twice = {name: places for name, places in defined(ast.ClassDef).items() if len(places) > 1}
    assert not twice


# One function, one name; what is offered under the same name on purpose says so here.
SAME_ON_PURPOSE = {
    "main",  # of a module that is run as a script
    "page",  # what each of the report's and the figures' modules draws
    "chat",  # commands are named like what they do
    "evaluate",
    "feedback",
    "plan",
    "doctor",
    "push",
    "run",
    "audit",
    "feedback_judge",  # miniature/lazy.py has the names of what it imports when it is used
    "write_records",
    "questions",
    "explain",  # a chapter's box says what happened, as a row of the ablations does
    "check_first_step",  # the exercise is to write what the trainer's check does
}


def test_no_two_functions_have_one_name():
    functions = defined((ast.FunctionDef, ast.AsyncFunctionDef))
    twice = {
        name: places
        for name, places in functions.items()
        if len(places) > 1 and name not in SAME_ON_PURPOSE
    }
    assert not twice


def test_rates_are_per_something():
    wrong = {
        f"{path.name}: {name}"
        for path in (ROOT / "zephyr_utils").rglob("*.py")
        for name in public_names(path)
        if re.search(r"^(?!none_is_an|not_an?_)\w+s_an?_\w+$", name)
    }
    assert not wrong, f"say tokens_per_second, rows_per_step: {sorted(wrong)}"
