"""Which files are meant, and whether the results can be written."""

import glob
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from zephyr_utils.data.read import nothing_there
from zephyr_utils.data.tables import SAVED_STATE, saved_files
from zephyr_utils.errors import HandbookError

Inputs = Sequence[str | Path] | str | Path
SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".arrow")
_DESCRIPTION = "dataset_info.json"


def input_files(inputs: Inputs) -> list[Path]:
    """The files meant, sorted by name within each folder; names must differ, since they name the
    outputs.

    A folder that ``datasets`` saved stands for its Arrow files.

    Raises:
        HandbookError: there is no such file, its format is not known, or two have one name.
    """
    files: list[Path] = []
    for item in [inputs] if isinstance(inputs, str | Path) else inputs:
        path = Path(item)
        try:
            inside = _files_in(path)
        except (OSError, ValueError) as error:  # a name too long, or one that holds a zero byte
            raise HandbookError(
                f"the path cannot be read: {getattr(error, 'strerror', None) or error}",
                where=str(path),
                remedy="check the path and its permissions",
            ) from error
        if not inside:
            raise nothing_there(path, SUFFIXES)
        files += inside
    for path in files:
        if not path.name.lower().endswith(SUFFIXES):
            raise HandbookError(
                "a file of this format cannot be repaired",
                where=str(path),
                remedy=f"write it as one of {', '.join(SUFFIXES)} (pandas: to_json(FILE, "
                "orient='records', lines=True))",
            )
    for name, count in Counter(path.name for path in files).items():
        if count > 1:
            raise HandbookError(
                f"{count} inputs are called {name}",
                where="truecase_files",
                remedy="use one output folder for each",
            )
    return files


def _files_in(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        return []
    saved = saved_files(path)
    if saved is not None:
        _check_order(path)
        return saved
    return sorted(child for child in path.iterdir() if child.is_file() and _is_input(child.name))


def _is_input(name: str) -> bool:
    return (
        name.lower().endswith(SUFFIXES)
        and not name.endswith(".set_aside.jsonl")
        and not name.startswith(".")
    )


def _check_order(folder: Path) -> None:
    """Refuse a dataset whose rows are a selection from its files, which old versions could save."""
    state = folder / SAVED_STATE
    described = json.loads(state.read_bytes()) if state.is_file() else {}
    if described.get("_indices_data_files"):
        raise HandbookError(
            "the dataset was saved with a list of indices, an order or a selection of its rows",
            where=str(folder),
            remedy="save it again with a newer version of datasets, or after flatten_indices()",
        )


def make_output_folder(output: Path, files: Sequence[Path]) -> None:
    """Make the output folder, before any work is done for it.

    Raises:
        HandbookError: it cannot be made or written to, or a result would overwrite its input.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
        clash = [path for path in files if (output / path.name).resolve() == path.resolve()]
    except (OSError, ValueError) as error:
        raise HandbookError(
            f"the output folder cannot be used: {getattr(error, 'strerror', None) or error}",
            where=str(output),
            remedy="choose a folder that you may write to, with a short name",
        ) from error
    if clash:
        raise HandbookError(
            "the output would overwrite its input",
            where=str(clash[0]),
            remedy="choose another output folder",
        )


def remove_unfinished(folder: Path, name: str) -> None:
    """Remove what killed runs left of a file that was being written, or of those beside it."""
    for left_over in folder.glob(f".{glob.escape(name)}.*unfinished"):
        left_over.unlink(missing_ok=True)


def describe_dataset(files: Sequence[Path], output: Path, fingerprint: str) -> dict[str, bytes]:
    """What makes a dataset for ``datasets.load_from_disk`` of the results: contents by file name.

    Empty unless all files are those of one folder that ``datasets`` saved.
    """
    folders = {path.parent for path in files}
    if len(folders) != 1 or not all(path.name.lower().endswith(".arrow") for path in files):
        return {}
    [folder] = folders
    try:
        state = json.loads((folder / SAVED_STATE).read_bytes())
        listed = {item["filename"] for item in state["_data_files"]}
        description = (folder / _DESCRIPTION).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if listed != {path.name for path in files}:
        return {}
    # Another fingerprint, or `datasets` would take what it cached of the input for the result.
    state["_fingerprint"] = f"{state.get('_fingerprint', '')}-{fingerprint}"
    return {_DESCRIPTION: description, SAVED_STATE: json.dumps(state, indent=2).encode()}
