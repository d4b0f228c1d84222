"""The book's words and the code's: names in the glossary exist, terms stand once and in order, and
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
    "winning": "chosen", "losing": "rejected", "preferred": "chosen", "dispreferred": "rejected", "ref": "reference",
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
