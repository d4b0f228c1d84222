"""pyproject.toml, requirements.txt and requirements.lock agree, and name each imported library.

A complaint names the line, so that one knows where to change what.
"""

import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
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


def locked_lines(text: str) -> list[tuple[int, Requirement]]:
    """(line number, requirement) of a lock; a package may have a version for each marker."""
    lines = (line.partition(" \\")[0] for line in text.splitlines())
    return [
        (number, Requirement(line))
        for number, line in enumerate(lines, start=1)
        if line and not line.startswith(("#", " "))
    ]


def pin_complaints(requirements: str, locked: str) -> list[str]:
    """Lines of requirements.txt that the lock has at another version, or not at all."""
    lines, complaints = defaultdict(list), []
    for line, requirement in locked_lines(locked):
        lines[canonicalize_name(requirement.name)].append((line, version_of(requirement)))
    for name, (number, pin) in pinned(requirements).items():
        place = f"requirements.txt:{number}: {pin}"
        if name not in lines:
            complaints.append(f"{place} is not in requirements.lock; make lock")
        for line, version in lines[name]:
            if version != version_of(pin):
                complaints.append(f"{place}, but requirements.lock:{line} has {version}; make lock")
    return complaints


def needed_on_linux(locked: str) -> set[str]:
    """All packages that the lock installs on Linux."""
    return {
        canonicalize_name(requirement.name)
        for _, requirement in locked_lines(locked)
        if requirement.marker is None or requirement.marker.evaluate(LINUX)
    }


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
    assert pin_complaints(text_of("requirements.txt"), text_of("requirements.lock")) == []


def test_every_range_of_the_project_is_filled_by_the_lock():
    versions = defaultdict(list)
    for _, requirement in locked_lines(text_of("requirements.lock")):
        versions[canonicalize_name(requirement.name)].append(version_of(requirement))
    for where, wanted in declared(tomllib.loads(text_of("pyproject.toml"))).items():
        for one in wanted if where not in LEFT_OUT else ():
            there = versions[canonicalize_name(one.name)]
            assert there, f"{where}: {one} is not in requirements.lock; make lock"
            inside = [one.specifier.contains(version, prereleases=True) for version in there]
            assert all(inside), f"{where}: {one}, but the lock has {there}; make lock"


def test_every_line_of_the_lock_is_exact_and_has_hashes_and_none_names_an_address():
    text = text_of("requirements.lock")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) == len(locked_lines(text)) > 100
    for entry in entries:
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+", entry) and "--hash=sha256:" in entry
    assert "://" not in text


def test_the_lock_holds_the_extras_that_requirements_hold():
    """make lock names the extras that EXTRAS names."""
    (command,) = re.findall(r"^lock:.*\n\t(.+)$", text_of("Makefile"), re.M)
    assert set(re.findall(r"--extra (\w+)", command)) == EXTRAS and "--group dev" in command


def test_requirements_are_all_that_the_lock_needs_on_linux_and_no_more():
    needed = {
        name for name in needed_on_linux(text_of("requirements.lock")) if not OF_TORCH.match(name)
    }
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
    locked = (
        "mpmath==1.3.0 \\\n    --hash=sha256:00\n"
        "numpy==2.4.7 ; os_name == 'nt' \\\n    --hash=sha256:01\n"
    )
    assert pin_complaints(requirements, locked) == [
        "requirements.txt:2: numpy==2.4.6, but requirements.lock:3 has 2.4.7; make lock"
    ]
    assert pin_complaints("rich==15.0.0\n", locked) == [
        "requirements.txt:1: rich==15.0.0 is not in requirements.lock; make lock"
    ]


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
