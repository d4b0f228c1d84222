"""Saving records and the rows set aside, whole or not at all."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zephyr_utils.data.counts import SetAside
from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.types import ASPECTS
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import atomic_write

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
    if path.suffix not in (".jsonl", ".parquet"):
        raise HandbookError(
            "records are saved as .jsonl or .parquet",
            where=str(path),
            remedy="change the file's ending",
        )
    with atomic_write(path) as unfinished:
        if path.suffix == ".jsonl":
            with open(unfinished, "wb") as file:
                for number, record in enumerate(records, start=1):
                    file.write(_json_line(record, f"record {number} for {path}"))
        else:
            _write_parquet(list(records), unfinished, path)
    return path


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
