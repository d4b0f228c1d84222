"""Say what installing the handbook upgrades on Google Colab, by Colab's published list of packages.

Usage: python tools/colab.py [FILE]     (default: the list is fetched)

Ends with status 1 if more is upgraded than has to be: then a floor in pyproject.toml is too high.
"""

import sys
import tomllib
import urllib.request
from importlib.metadata import requires
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from zephyr_utils.machine import UPGRADED_ON_COLAB

ROOT = Path(__file__).resolve().parents[1]
LIST = "https://raw.githubusercontent.com/googlecolab/backend-info/main/pip-freeze.txt"


def versions(frozen: str) -> dict[str, str]:
    """Name -> version, of the lines ``name==version`` and ``name @ address of a wheel``."""
    present: dict[str, str] = {}
    for line in frozen.splitlines():
        if "==" in line:
            name, _, version = line.partition("==")
            present[canonicalize_name(name.strip())] = version.strip()
        elif (path := urlsplit(line.partition(" @ ")[2]).path).endswith(".whl"):
            name, wheel_version, *_ = parse_wheel_filename(unquote(path.rpartition("/")[2]))
            present[name] = str(wheel_version)
    return present


def upgrades(wanted: list[Requirement], present: dict[str, str]) -> dict[str, str]:
    """Name -> ``present version, needs ...`` of every package that is there and does not do."""
    needed: dict[str, str] = {}
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name in present and not requirement.specifier.contains(present[name], prereleases=True):
            needed[name] = f"{present[name]}, needs {requirement.specifier}"
    return needed


def requirements() -> list[Requirement]:
    """Those of the handbook and of TRL, the one large library that Colab lacks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(requires("trl") or [])]
    parsed = (Requirement(line) for line in wanted)
    return [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]


def main() -> None:
    if len(sys.argv) > 1:
        frozen = Path(sys.argv[1]).read_text(encoding="utf-8")
    else:
        with urllib.request.urlopen(LIST, timeout=60) as answer:
            frozen = answer.read().decode("utf-8")
    present = versions(frozen)
    if "torch" not in present:
        sys.exit("this is not Colab's list of packages: torch is not in it")
    needed = upgrades(requirements(), present)
    for name, why in sorted(needed.items()):
        print(f"{name}: {why}")
    if avoidable := sorted(set(needed) - set(UPGRADED_ON_COLAB)):
        sys.exit(f"lower the floor in pyproject.toml, or raise it here: {', '.join(avoidable)}")


if __name__ == "__main__":
    main()
