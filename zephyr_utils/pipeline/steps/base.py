"""A base model given as a GGUF file, converted into a directory that `from_pretrained` loads."""

from pathlib import Path
from typing import Any

from zephyr_utils.training.save import MODEL
from zephyr_utils.weights import convert_gguf


def write_base(folder: Path, file: Path) -> dict[str, Any]:
    """Leave the model in ``model/``; returns its size."""
    model = convert_gguf(file, folder / MODEL)
    return {"bytes": sum(path.stat().st_size for path in model.iterdir())}
