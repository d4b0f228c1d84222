"""Saving records and the rows set aside, whole or not at all."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zephyr_utils.data.counts import SetAside
from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.types import ASPECTS
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import atomic_write, check_writable

# One value of each published field. Parquet types are inferred from the records and these together,
# so that a set in which a field is still empty (answers not yet rated) has the same columns as a
# full one.
_EXAMPLES: dict[str, Any] = {
    **dict.fromkeys(
        ("prompt", "prompt_id", "source", "instruction", "chosen_model", "rejected_model"), ""
    ),
    **{key: [{"role": "", "content": ""}] for key in ("messages", "chosen", "rejected")},
    **dict.fromkeys(("score_chosen", "score_rejected"), 0.0),
    "models": [""],
    "completions": [
        {
            "model": "",
            "response": "",
            "annotations": {aspect: {"Rating": "", "Rationale": ""} for aspect in ASPECTS},
            "critique": "",
            "overall_score": 0.0,
        }
    ],
}


def save_records(records: Iterable[Mapping[str, Any]], path: str | Path) -> Path:
    """Write records to a ``.jsonl`` or ``.parquet`` file, whole or not at all; returns the path.

    Raises:
        HandbookError: the suffix is another, a record cannot be written in the format, or the file
            cannot be written.
    """
    path = Path(path)
    _check_ending(path)
    with atomic_write(path) as unfinished:
        if path.suffix == ".jsonl":
            with open(unfinished, "wb") as file:
                for number, record in enumerate(records, start=1):
                    file.write(_json_line(record, f"record {number} for {path}"))
        else:
            _write_parquet(list(records), unfinished, path)
    return path


def check_record_file(path: str | Path, inputs: Iterable[str | Path] = ()) -> None:
    """See that records can be saved to a file, before any work is done for them.

    Args:
        path: the file.
        inputs: files and folders that are read, and must not be written over.

    Raises:
        HandbookError: as `save_records`; or it is one of the inputs, under whatever name, or lies
            in one that is a folder under the name of a file there.
    """
    path = Path(path)
    _check_ending(path)
    for given in map(Path, inputs):
        files = given.rglob("*") if given.is_dir() else [given]
        if path.exists() and any(file.exists() and path.samefile(file) for file in files):
            raise HandbookError(
                "the output would overwrite its input",
                where=str(path),
                remedy="give the output another name",
            )
    check_writable(path)


def _check_ending(path: Path) -> None:
    if path.suffix not in (".jsonl", ".parquet"):
        raise HandbookError(
            "records are saved as .jsonl or .parquet",
            where=str(path),
            remedy="change the file's ending",
        )


def save_set_aside(path: str | Path, set_aside: Iterable[SetAside]) -> Path:
    """Write the rows set aside as JSONL: ``{where, reason, detail, record}`` a line; returns the
    path.

    A row that JSON cannot hold (nested too deeply) is left out of its line; the reason stays.
    """
    path = Path(path)
    with atomic_write(path) as unfinished, open(unfinished, "w", encoding="ascii") as file:
        for row in set_aside:
            # ASCII escapes, because a row may have been set aside for a character that UTF-8 cannot
            # hold.
            try:
                line = json.dumps(vars(row), default=str)
            except (TypeError, ValueError, RecursionError):
                line = json.dumps(vars(row) | {"record": None})
            file.write(line + "\n")
    return path


def _json_line(record: Mapping[str, Any], where: str) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(
            "not_writable",
            f"the record cannot be written: {error}",
            where=where,
            remedy=_remedy(error, "records hold text, finite numbers, lists and objects only"),
        ) from error


def _remedy(error: Exception, other: str) -> str:
    broken = isinstance(error, UnicodeEncodeError)
    return "fix or remove the broken character (half of a surrogate pair)" if broken else other


def _write_parquet(records: Sequence[Mapping[str, Any]], unfinished: Path, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = list(dict.fromkeys(key for record in records for key in record))
    try:
        # The types are taken from all records, so that a field that only later records have is not
        # lost.
        schema = pa.schema(
            [(k, pa.infer_type([r.get(k) for r in records] + [_EXAMPLES.get(k)])) for k in fields]
        )
        with pq.ParquetWriter(unfinished, schema) as writer:
            for start in range(0, len(records), 4096):
                part = records[start : start + 4096]
                columns = [
                    pa.array([r.get(key) for r in part], type=schema.field(key).type)
                    for key in fields
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    except (pa.ArrowException, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RecordError(
            "not_writable",
            f"the records do not fit one table: {error}",
            where=str(path),
            remedy=_remedy(error, "give a field the same type in all records, or save as .jsonl"),
        ) from error
