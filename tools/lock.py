"""Write uv.lock from pyproject.toml, at the versions of requirements.txt.

Usage: python tools/lock.py

uv takes no file of constraints for a lock. So a copy of the project is locked with every pin of
requirements.txt as a constraint; then the project itself, which keeps the versions of a lock that
is already there. Needs the package index.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
TABLE = "[tool.uv]\n"


def pins(requirements: Path) -> list[str]:
    """The lines ``name==version`` of a requirements file, without extras and comments."""
    lines = requirements.read_text("utf-8").splitlines()
    bare = (line.partition("#")[0].strip() for line in lines)
    parsed = (Requirement(line) for line in bare if line)
    return [f"{requirement.name}{requirement.specifier}" for requirement in parsed]


def constrained(project: str, constraints: list[str]) -> str:
    """A pyproject.toml's text with these constraints for uv."""
    if project.count(TABLE) != 1:
        raise SystemExit(f"pyproject.toml: {TABLE.strip()} has to be there once")
    return project.replace(TABLE, f"{TABLE}constraint-dependencies = {json.dumps(constraints)}\n")


def main() -> None:
    uv = Path(sys.executable).with_name("uv")
    command = [os.fspath(uv), "lock", "--python", sys.executable]
    project = ROOT / "pyproject.toml"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        text = constrained(project.read_text("utf-8"), pins(ROOT / "requirements.txt"))
        (copy / project.name).write_text(text, encoding="utf-8")
        subprocess.run(command, cwd=copy, check=True)
        shutil.copy(copy / "uv.lock", ROOT / "uv.lock")
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
