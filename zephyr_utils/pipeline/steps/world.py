"""Step 0: records that the package makes itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_records(
    folder: Path, write: Callable[[Path, int], dict[str, Path]], seed: int
) -> dict[str, Any]:
    """Let `write` fill the folder with what `seed` draws; returns set name -> file name."""
    return {name: path.name for name, path in write(folder, seed).items()}
