"""README and CONTRIBUTING: short, and every command, file and name in them exists."""

import ast
import re
from pathlib import Path

import pytest
import typer

from zephyr_utils.cli import app
from zephyr_utils.scales import SCALES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BOTH = pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
ZEPHYR = typer.main.get_command(app)
COMMANDS = ZEPHYR.commands
# Modules that call pip, lm-eval or llama.cpp's converter, or have options of their own; and what
# `make claims`, `trl` and the website's style sheet have.
RUNS_OTHER_PROGRAMS = {"weights.py", "gguf_export.py", "academic.py", "make_base.py", "serve.py"}
OTHER_OPTIONS = {
    "--afresh",
    "--config",
    "--help",
    "--local-dir",
    "--pst-color-info",
    "--pst-color-warning",
}
TREE = re.search(r"## The tree\n\n```\n(.*?)```", README, re.S)[1]


def code(text):
    """What is in backticks or in blocks of code."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.S)
    return [*re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)), *blocks]


def test_readme_fits_one_screen():
    assert len(README.splitlines()) <= 90


@pytest.mark.parametrize(
    "path",
    [*ROOT.glob("[CR]*.md"), *(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.py")],
    ids=lambda path: path.name,
)
def test_every_zephyr_command_and_its_options_exist(path):
    text = re.sub(r"(?m)^# ", "", path.read_text(encoding="utf-8").replace("\\\n", ""))
    calls = [
        call
        for part in code(text)
        for call in re.findall(r"^(?:\.venv/bin/)?zephyr( [a-z-][^\n#&|]+)", part, re.M)
        if not call.startswith(" =")
    ]
    for call in calls:
        name, *rest = call.split()
        if name.startswith("-"):
            assert name in {option for one in ZEPHYR.params for option in one.opts} | {"--help"}
            continue
        assert name in COMMANDS, call
        options = {option for one in COMMANDS[name].params for option in one.opts}
        assert {word for word in rest if word.startswith("--")} <= options | {"--help"}, call


def test_every_option_that_a_message_of_the_package_names_exists():
    known = {o for one in (ZEPHYR, *COMMANDS.values()) for p in one.params for o in p.opts}
    known |= {o for one in COMMANDS.values() for p in one.params for o in p.secondary_opts}
    named: dict[str, set[str]] = {}
    for path in (ROOT / "zephyr_utils").rglob("*.py"):
        if path.name in RUNS_OTHER_PROGRAMS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", node.value):
                    named.setdefault(option, set()).add(path.name)
    assert {o: where for o, where in named.items() if o not in known | OTHER_OPTIONS} == {}


@BOTH
def test_every_file_that_is_named_exists(text):
    named = {
        word
        for part in code(text)
        for word in re.findall(r"[\w./-]+\.(?:py|md|ya?ml|toml|json|txt|css)\b", part)
        if not re.search(r"NN_|\.\.\.", word)
    }
    roots = (ROOT, ROOT / "zephyr_utils", ROOT / "tests", ROOT / "book")
    missing = {name for name in named if not any((root / name).exists() for root in roots)}
    assert missing == set()
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_program_that_a_chapter_or_a_page_names_exists():
    pages = [*(ROOT / "notebooks").glob("*.py"), *(ROOT / "book").glob("*.md")]
    named = {
        (name, page.name)
        for page in pages
        for name in re.findall(
            r"`((?:tests|tools|benchmarks)/[\w./-]+\.\w+)`", page.read_text(encoding="utf-8")
        )
    }
    assert named and {(name, page) for name, page in named if not (ROOT / name).exists()} == set()


def test_the_tree_names_every_part_of_the_package_and_nothing_else():
    package = TREE.partition("zephyr_utils/\n")[2].partition("\ntests/")[0]
    named = set(re.findall(r"(\w+(?:/|\.py))", package))
    parts = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "zephyr_utils").iterdir()
        if path.suffix in ("", ".py") and not path.name.startswith(("_", "."))
    }
    assert named == parts


def test_every_chapter_has_a_row_and_every_row_a_chapter():
    rows = re.findall(r"^\| (\d\d) \| \[.+?\]\(notebooks/(\1_\w+)\.ipynb\)", README, re.M)
    chapters = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.py"))
    assert [name for _, name in rows] == chapters


def test_every_scale_is_on_the_dial():
    dial = README.partition("## The dial")[2].partition("## The tree")[0]
    for name in SCALES:
        scale, _, variant = name.partition("/")
        assert f"`{scale}`" in dial
        assert f"`/{variant}`" in dial or not variant
