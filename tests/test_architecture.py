"""The structure that keeps the package easy to find one's way in."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zephyr_utils
from zephyr_utils.pipeline.source import code_digests

PACKAGE = Path(zephyr_utils.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 360


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_at_load(path: Path) -> set[str]:
    """The package's modules that importing this one imports (imports inside functions are not)."""
    names = {name_of(module) for module in MODULES}
    wanted = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            wanted |= inner & names if inner <= names else {node.module, *inner}
    return (wanted & names) - {"zephyr_utils"}


def test_at_most_twelve_files_lie_flat_in_the_package():
    assert len(list(PACKAGE.glob("*.py"))) <= 12


def test_no_module_imports_itself_through_others():
    graph = {name_of(path): imported_at_load(path) for path in MODULES}
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                walk(other, (*above, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def test_only_the_scales_know_the_miniature():
    allowed = {PACKAGE / "scales.py", *(PACKAGE / "miniature").rglob("*.py")}
    knowing = []
    for path in set(MODULES) - allowed:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = (
                [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            compared = isinstance(node, ast.Compare) and '"miniature"' in ast.unparse(node).replace(
                "'", '"'
            )
            if compared or any(name.startswith("zephyr_utils.miniature") for name in names):
                knowing.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert not knowing


def test_the_stage_is_never_guessed_from_a_key_of_the_recipe():
    guessing = [
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if re.search(r"[\"']beta[\"'] (not )?in \w*recipe", path.read_text(encoding="utf-8"))
    ]
    assert not guessing


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_says_what_it_is_for_and_is_short(path):
    text = path.read_text(encoding="utf-8")
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "begin the module with a docstring"
    assert len(text.splitlines()) <= LONGEST_FILE, "a file past about 350 lines is two"


def private_uses(path: Path) -> list[str]:
    """Names of the package with a leading underscore that a chapter or benchmark uses."""
    lines = path.read_text(encoding="utf-8").splitlines()
    code = "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines)
    tree = ast.parse(code)
    ours: set[str] = set()
    used = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zephyr_utils"):
            ours |= {alias.asname or alias.name for alias in node.names}
            used += [alias.name for alias in node.names if alias.name.startswith("_")]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and isinstance(node.value, ast.Name)
            and node.value.id in ours
        ):
            used.append(f"{node.value.id}.{node.attr}")
    return used


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "notebooks").glob("*.py")), *sorted((ROOT / "benchmarks").glob("*.py"))],
    ids=lambda path: path.name,
)
def test_chapters_and_benchmarks_use_public_names_only(path):
    assert not private_uses(path)


def test_a_private_use_would_be_noticed(tmp_path):
    chapter = tmp_path / "99_wrong.py"
    chapter.write_text("from zephyr_utils import training\n%pip install x\ntraining._train()\n")
    assert private_uses(chapter) == ["training._train"]


def test_every_name_at_the_top_can_be_had_and_importing_the_package_is_quick():
    assert set(zephyr_utils._MODULES) <= set(zephyr_utils.__all__)
    for name in zephyr_utils.__all__:
        assert getattr(zephyr_utils, name) is not None
        assert name == "__version__" or name in (zephyr_utils.__doc__ or "")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = zephyr_utils.nothing
    code = "import sys, json, zephyr_utils; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
    )
    assert not {"torch", "transformers", "trl", "pandas"} & set(loaded)


@pytest.mark.parametrize("package", ["zephyr_utils.training"])
def test_a_lazy_surface_offers_what_it_lists(package):
    module = __import__(package, fromlist=["_MODULES"])
    assert set(module.__all__) == set(module._MODULES)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").is_file()
    assert "py.typed" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_a_step_of_the_pipeline_rests_on_no_other_steps_training():
    files = set(code_digests(["zephyr_utils.pipeline.steps.pairs"]))
    assert not [name for name in files if name.startswith(("training/", "truecasing/", "cli/"))]


def test_no_folder_has_the_name_of_a_module_beside_it():
    """Who looks a module up by its path would take the folder."""
    assert not [path for path in MODULES if path.with_suffix("").is_dir()]
