"""pyproject.toml, requirements.txt and uv.lock agree, and name every library that is imported.

A complaint names the line, so that one knows where to change what.
"""

import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import lock
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
NAME = "zephyr-handbook"
# What requirements.txt holds: all groups, and these extras. The others are large, or for a GPU.
EXTRAS = {"endpoints", "gguf", "serve"}
LEFT_OUT = {"academic", "deepspeed", "qlora", "ray"}
# Of torch's build for NVIDIA GPUs; torch pins them itself, and other builds have none.
OF_TORCH = re.compile(r"nvidia-|cuda-|triton$")
LINUX = {"python_full_version": "3.11.2", "python_version": "3.11"} | {
    "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
    "platform_machine": "x86_64", "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}  # fmt: skip


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pinned(text: str) -> dict[str, tuple[int, Requirement]]:
    """Name -> (line number, requirement) of a requirements file."""
    lines = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line := line.partition("#")[0].strip():
            requirement = Requirement(line)
            lines[canonicalize_name(requirement.name)] = (number, requirement)
    return lines


def version_of(requirement: Requirement) -> str:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", f"requirements.txt: {requirement} is not exact"
    return specifier.version


def declared(project: dict) -> dict[str, list[Requirement]]:
    """Where -> requirements: of the package, each extra and each group without what it includes."""
    table = project["project"]
    tables = {"dependencies": table["dependencies"], **table["optional-dependencies"]}
    tables |= project["dependency-groups"]
    return {
        where: [Requirement(line) for line in lines if isinstance(line, str)]
        for where, lines in tables.items()
    }


def line_in(text: str, words: str) -> int:
    """The number of the first line that holds these words."""
    return next(n for n, line in enumerate(text.splitlines(), start=1) if words in line)


def range_complaints(pyproject: str, requirements: str) -> list[str]:
    """Ranges of pyproject.toml that requirements.txt does not fill, or fills from outside."""
    pins, complaints = pinned(requirements), []
    for where, wanted in declared(tomllib.loads(pyproject)).items():
        for requirement in wanted if where not in LEFT_OUT else ():
            line = line_in(pyproject, f'"{requirement.name}')
            place = f"pyproject.toml:{line}: {requirement}"
            number, pin = pins.get(canonicalize_name(requirement.name), (0, None))
            if pin is None:
                complaints.append(f"{place} has no line in requirements.txt")
            elif not requirement.specifier.contains(version_of(pin), prereleases=True):
                complaints.append(f"{place} excludes requirements.txt:{number}: {pin}")
    return complaints


def lock_lines(text: str) -> dict[str, dict[str, int]]:
    """Name -> version -> line number of the version, in a uv.lock."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    name = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.fullmatch(r'name = "(.+)"', line):
            name = match[1]
        elif match := re.fullmatch(r'version = "(.+)"', line):
            found[name][match[1]] = number
    return found


def pin_complaints(requirements: str, locked: str) -> list[str]:
    """Lines of requirements.txt that uv.lock has at another version, or not at all."""
    lines, complaints = lock_lines(locked), []
    for name, (number, pin) in pinned(requirements).items():
        place = f"requirements.txt:{number}: {pin}"
        if name not in lines:
            complaints.append(f"{place} is not in uv.lock; make lock")
        for version, line in lines[name].items():
            if version != version_of(pin):
                complaints.append(f"{place}, but uv.lock:{line} has {version}; make lock")
    return complaints


def needed_on_linux(locked: str) -> set[str]:
    """All packages that the lock installs on Linux for the groups and the extras in EXTRAS."""
    packages = {package["name"]: package for package in tomllib.loads(locked)["package"]}
    own = packages[NAME]
    first = [*own["dependencies"], *own["dev-dependencies"]["dev"]]
    first += [entry for extra in EXTRAS for entry in own["optional-dependencies"][extra]]
    seen: set[tuple[str, str]] = set()
    queue = [(entry, "") for entry in first]
    while queue:
        entry, _ = queue.pop()
        if not applies(entry):
            continue
        package = packages[entry["name"]]
        for extra in ("", *entry.get("extra", [])):
            if (package["name"], extra) not in seen:
                seen.add((package["name"], extra))
                brought = package.get("optional-dependencies", {}).get(extra, [])
                queue += [
                    (one, "") for one in (brought if extra else package.get("dependencies", []))
                ]
    return {name for name, _ in seen}


def applies(entry: dict) -> bool:
    if "marker" not in entry:
        return True
    return Requirement(f"x ; {entry['marker']}").marker.evaluate(LINUX)


def test_requirements_fill_every_range_of_the_project():
    assert range_complaints(text_of("pyproject.toml"), text_of("requirements.txt")) == []


def test_every_extra_is_installed_or_left_out_on_purpose():
    extras = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
    assert set(extras) == EXTRAS | LEFT_OUT


def test_the_group_of_developers_holds_all_the_others():
    groups = tomllib.loads(text_of("pyproject.toml"))["dependency-groups"]
    included = {
        entry["include-group"]
        for name in ("dev", "test")
        for entry in groups[name]
        if isinstance(entry, dict)
    }
    assert included == set(groups) - {"dev"}


def test_the_lock_has_the_versions_of_the_requirements():
    assert pin_complaints(text_of("requirements.txt"), text_of("uv.lock")) == []


def test_the_lock_was_made_from_the_ranges_as_they_are():
    """Without the network `uv lock --check` cannot tell; the ranges that the lock notes can."""
    packages = {p["name"]: p for p in tomllib.loads(text_of("uv.lock"))["package"]}
    noted = packages[NAME]["metadata"]

    def ranges(entries):
        return sorted(
            (e["name"], str(Requirement(f"x{e.get('specifier', '')}").specifier)) for e in entries
        )

    def named(requirements):
        return sorted((canonicalize_name(one.name), str(one.specifier)) for one in requirements)

    tables = declared(tomllib.loads(text_of("pyproject.toml")))
    groups = set(noted["requires-dev"])
    own = [
        one for where, requirements in tables.items() if where not in groups for one in requirements
    ]
    assert ranges(noted["requires-dist"]) == named(own), "pyproject.toml has changed: make lock"
    for group in sorted(groups - {"dev", "test"}):
        assert ranges(noted["requires-dev"][group]) == named(tables[group]), f"{group}: make lock"


def test_requirements_are_all_that_the_lock_needs_on_linux_and_no_more():
    needed = {name for name in needed_on_linux(text_of("uv.lock")) if not OF_TORCH.match(name)}
    pins = pinned(text_of("requirements.txt"))
    assert sorted(needed - set(pins)) == []
    extra = {name: f"requirements.txt:{pins[name][0]}" for name in set(pins) - needed}
    assert extra == {}, "nothing declared in pyproject.toml needs these"


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("numpy==2.4.6", "numpy==1.26.4", "excludes requirements.txt"),
        ("tenacity==9.2.1\n", "", "tenacity>=9 has no line in requirements.txt"),
    ],
)
def test_a_pin_out_of_step_with_the_project_is_named_with_its_line(before, after, line):
    requirements = text_of("requirements.txt")
    assert before in requirements
    (complaint,) = range_complaints(
        text_of("pyproject.toml"), requirements.replace(before, after, 1)
    )
    assert re.match(r"pyproject\.toml:\d+: ", complaint) and line in complaint


def test_a_pin_out_of_step_with_the_lock_is_named_with_both_lines():
    requirements = "# a comment\nnumpy==2.4.6  # another\n"
    locked = 'version = 1\n[[package]]\nname = "numpy"\nversion = "2.4.7"\n'
    assert pin_complaints(requirements, locked) == [
        "requirements.txt:2: numpy==2.4.6, but uv.lock:4 has 2.4.7; make lock"
    ]
    assert pin_complaints("rich==15.0.0\n", locked) == [
        "requirements.txt:1: rich==15.0.0 is not in uv.lock; make lock"
    ]


def test_a_lock_is_made_with_every_pin_as_a_constraint():
    pins = lock.pins(ROOT / "requirements.txt")
    assert "transformers==5.23.0" in pins and len(pins) == len(pinned(text_of("requirements.txt")))
    constrained = tomllib.loads(lock.constrained(text_of("pyproject.toml"), pins))
    assert constrained["tool"]["uv"]["constraint-dependencies"] == pins


def deptry(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).with_name("deptry")), "--no-ansi", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_package_declares_what_it_imports_and_imports_what_it_declares():
    done = deptry("zephyr_utils")
    assert done.returncode == 0, done.stderr


def test_tools_benchmarks_and_tests_import_only_what_is_declared():
    done = deptry(
        "tools", "benchmarks", "tests", "--exclude", r"\.venv", "--ignore", "DEP002,DEP004"
    )
    assert done.returncode == 0, done.stderr


def test_an_import_that_nothing_declares_is_named_with_its_line(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\ndependencies = []\n'
    )
    (tmp_path / "module.py").write_text("import json\nimport numpy\n")
    assert "module.py:2:" in deptry(".", folder=tmp_path).stderr


def test_every_extra_that_a_message_names_exists():
    named = set()
    for folder in ("zephyr_utils", "notebooks", "book", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.*"):
            if path.suffix in {".py", ".md", ".yaml"}:
                named |= set(re.findall(r"zephyr-handbook\[([\w,]+)\]", path.read_text("utf-8")))
    assert named and named <= EXTRAS | LEFT_OUT
