"""Step 0: records that the package makes itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_records(folder: Path, write: Callable[[Path], dict[str, Path]]) -> dict[str, Any]:
    """Let `write` fill the folder; returns set name -> file name."""
    return {name: path.name for name, path in write(folder).items()}
