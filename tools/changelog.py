"""Refuse a change that readers notice and that CHANGELOG.md does not mention.

Usage: python tools/changelog.py [BASE]     (default: the variable BASE, or origin/main)

Needs git and the standard library only, so that it runs without the environment.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

CHANGELOG = "CHANGELOG.md"
NOTICED = ("zephyr_utils/", "notebooks/", "book/", "pyproject.toml")


def complaint(changed: list[str], before: str, now: str) -> str:
    """What is wrong, or nothing.

    Args:
        changed: paths that differ from the base.
        before, now: CHANGELOG.md at the base and as it stands.
    """
    noticed = [path for path in changed if path.startswith(NOTICED)]
    if not noticed or unreleased(now) - unreleased(before):
        return ""
    return (
        f"{noticed[0]} changed ({len(noticed)} such files), and {CHANGELOG} says nothing of it. "
        "Add a line under Unreleased; if readers notice nothing, label the pull request "
        "'no changelog'."
    )


def unreleased(text: str) -> set[str]:
    """The lines under the heading Unreleased."""
    section = re.search(r"^## Unreleased\b.*\n((?:(?!## ).*\n?)*)", text, re.M)
    return {line.strip() for line in section[1].splitlines() if line.strip()} if section else set()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    base = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BASE") or "origin/main"
    start = _git("merge-base", base, "HEAD").strip()
    changed = _git("diff", "--name-only", start).splitlines()
    now = Path(CHANGELOG).read_text(encoding="utf-8")
    sys.exit(complaint(changed, _git("show", f"{start}:{CHANGELOG}"), now) or 0)


if __name__ == "__main__":
    main()
