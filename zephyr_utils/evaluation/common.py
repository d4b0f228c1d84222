"""What every evaluation shares: its error, its warning, the limit on failures, names and numbers
from records, and reading records from a file.
"""

import hashlib
import inspect
import math
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from zephyr_utils.data import read
from zephyr_utils.data.fields import as_number
from zephyr_utils.errors import HandbookError

# Beyond this share of failed judgments a figure no longer speaks for the question set.
FAILURE_LIMIT = 0.1
# What FastChat writes in place of an answer when the call for it failed.
FASTCHAT_ERROR = "$ERROR$"
LONGEST_NAME = 80  # characters of a name that are shown
# Signs in a reason -> what to do; the file is at fault, and not the judge.
_REMEDIES = (
    (" is outside ", "bring the grades to the protocol's scale: they seem to be on another one"),
    ("is not a finite number", "write the grades as numbers, not as text"),
    ("the grade is in ", "call that field score, if its grades are from 1 to 10"),
    ("no [[rating]]", "write the grades into score: of a text, only one as [[7]] is read"),
    ("neither a score nor", "give judgments: question_id, model, turn, and score or judgment"),
    ("no preference field", "give annotations: instruction, the two outputs and preference"),
    ("is neither 1 nor 2", "write the turns as the numbers 1 and 2"),
    ("no question_id", "write each question's question_id"),
    (" is not one of ", "write the winner of each order as model_1, model_2, tie or error"),
    ("are missing", "write the winners of both orders, g1_winner and g2_winner"),
)
# What files of one object keep their records under.
_WRAPPERS = ("judgments", "annotations", "answers", "questions", "data", "rows", "records",
             "results", "items", "examples", "instances")  # fmt: skip
_MODEL_FIELDS = ("model", "model_id")
# Fields of which a record of either protocol has at least one.
_FIELDS = {"question_id", "instruction", "preference", "score", "turn", *_MODEL_FIELDS}
_TABLES = (".csv", ".csv.gz", ".tsv")
# Fields of both protocols that are numbers; a table of text has them as text.
_NUMBERS = ("question_id", "turn", "score", "preference", "index", "len_output_1", "len_output_2")
_BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

Record = TypeVar("Record", bound=Mapping[str, Any])


class EvaluationError(HandbookError, ValueError):
    """Records from which no sound figure can be made: the message says which and why."""


class EvaluationWarning(UserWarning):
    """Records that can be scored but should be looked at: duplicates, another model's rows, missing
    turns.
    """


def warn_all(messages: Iterable[str]) -> tuple[str, ...]:
    """Issue each message as an :class:`EvaluationWarning` and hand them back, so that a report can
    print them too.
    """
    collected = tuple(messages)
    for message in collected:
        warnings.warn(message, EvaluationWarning, stacklevel=_levels_to_caller())
    return collected


def _levels_to_caller() -> int:
    """The `stacklevel` at which a warning points to the first line outside the package, as counted
    in the function that calls this one.
    """
    package = __name__.partition(".")[0]
    frame, levels = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, levels = frame.f_back, levels + 1
    return levels


def display_name(value: object) -> str:
    """A name or an identifier from a record as a message, a table or a terminal may show it.

    Control characters, line separators, halves of surrogate pairs and marks that turn the direction
    of a line are written as escapes. A name of more than 80 characters is cut; a hash keeps two of
    one beginning apart.
    """
    text = value if isinstance(value, str) else repr(value)
    cut = text[:LONGEST_NAME]
    if len(text) > LONGEST_NAME:
        digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()
        cut = f"{cut[:60]}… ({len(text):,} characters, {digest[:6]})"
    return "".join(_visible(character) for character in cut)


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    if hidden or unicodedata.bidirectional(character) in _BIDIRECTIONAL:
        return character.encode("unicode_escape").decode()
    return character


def storable(text: str) -> str:
    """The text with U+FFFD for halves of surrogate pairs, which no file and no request can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def storable_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records with every text :func:`storable`, and what tables alone hold (dates) as text.

    Warns:
        EvaluationWarning: how many records were changed.
    """
    rows = [_json_value(row) for row in rows]
    cleaned = [_storable_value(row) for row in rows]
    changed = sum(a != b for a, b in zip(rows, cleaned, strict=True))
    warn_all(
        [f"{changed} records hold halves of surrogate pairs, which are read as U+FFFD"]
        if changed
        else []
    )
    return cleaned


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _json_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_json_value(inner) for inner in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _storable_value(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else storable(value)
    if isinstance(value, dict):
        return {_storable_value(key): _storable_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_storable_value(inner) for inner in value]
    return value


def name_some(items: Iterable[object], limit: int = 5) -> str:
    """The first few of many things, for a message that a reader can still read."""
    listed = list(items)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(display_name(item) for item in listed[:limit]) + more


def count_some(reasons: Mapping[str, int]) -> str:
    """``3 x reason, 1 x reason``: the most frequent first, equal counts by name."""
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return name_some(f"{count} x {reason}" for reason, count in ranked)


def natural_order(value: object) -> tuple[int, float, str]:
    """A sort key for identifiers: numbers by their value, then everything else as text."""
    number = finite_number(value)
    return (1, 0.0, str(value)) if number is None else (0, number, "")


def finite_number(value: object) -> float | None:
    """A finite float, or None for anything that is not a plain number (text, booleans, null, NaN,
    infinity, a whole number beyond a float's range).
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_identifier(value: object) -> int | float | str | None:
    """A question's or an instruction's identifier: a text or a finite number, else None."""
    if isinstance(value, int | float) and finite_number(value) is not None:
        return value
    return value if isinstance(value, str) else None


def judge_name(record: Mapping[str, Any]) -> str | None:
    """Who judged, as a record of either protocol names them: FastChat's ``[name, prompt]`` or
    AlpacaEval's ``annotator``.
    """
    judge = record.get("judge", record.get("annotator"))
    if isinstance(judge, list | tuple):
        judge = judge[0] if judge else None
    return display_name(judge) if isinstance(judge, str) and judge else None


def check_failures(
    n_failed: int, n_rows: int, reasons: Mapping[str, int], *, where: str, allow: bool
) -> None:
    """The one limit on failed judgments, for both protocols and for pairs.

    Raises:
        EvaluationError: more than a tenth failed and ``allow`` is not set.
    """
    if n_failed <= FAILURE_LIMIT * n_rows or allow:
        return
    raise EvaluationError(
        f"{n_failed} of {n_rows} failed, more than a tenth: {count_some(reasons)}; the mean of the "
        "rest would not represent the question set",
        where=where,
        remedy=f"{failure_remedy(reasons)}, or pass allow_failures=True (--allow-failures) and "
        "print the count.",
    )


def failure_remedy(reasons: Mapping[str, int]) -> str:
    """What to do about judgments that failed, by the most frequent reason.

    Where the file is at fault nobody should pay for judgments again.
    """
    for sign, remedy in _REMEDIES:
        if 2 * sum(n for reason, n in reasons.items() if sign in reason) > sum(reasons.values()):
            return remedy
    return "judge the failed answers again (--retry-unreadable for a judge at an endpoint)"


def checked_rows(records: Iterable[Record], what: str) -> list[Record]:
    """A list of the records; raises :class:`EvaluationError` when there are none or one is not
    a mapping.

    Args:
        records: an iterable of records, each a mapping from field names to values.
        what: the word for one of them in messages ("judgment", "annotation").
    """
    rows = list(records)
    if not rows:
        raise EvaluationError(
            f"there is no {what} at all",
            where=f"{what}s",
            remedy="check that the file was written and read in full.",
        )
    for position, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise EvaluationError(
                f"is {type(row).__name__}, not a record with named fields",
                where=f"{what} {position}",
                remedy="read the file with evaluation.load_rows(path).",
            )
    return rows


def load_rows(path: str | Path) -> list[dict[str, Any]]:
    """All records of one file (JSON Lines, a JSON list, a table), in their order; in CSV the
    protocols' numbers are read as such.

    Judgments and annotations are not training rows: a broken one changes the published figure, so
    it stops the reading instead of being set aside.

    A file of one object that holds its records in a list (``{"judgments": [...]}``) is read as that
    list; a model's name beside it is the name of the records without one.

    Raises:
        HandbookError: no such file, an unknown kind of file, or a broken row (named by its number).
        EvaluationError: an empty file, a row that is not an object, several lists, or columns.
    """
    rows = []
    is_text = str(path).lower().endswith(_TABLES)
    for row in read.read_rows(path):
        if row.error is not None:
            raise row.error
        if not isinstance(row.value, dict):
            raise EvaluationError(
                f"is {type(row.value).__name__}, not an object",
                where=row.where,
                remedy="write one object a row.",
            )
        rows.append(_with_numbers(row.value) if is_text else row.value)
    if not rows:
        raise EvaluationError(
            "the file is empty", where=str(path), remedy="fetch or write the file again."
        )
    return _unwrapped(rows[0], str(path)) if len(rows) == 1 else rows


def _unwrapped(only: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """The records in a file of one object: its own, or those that it holds in a list."""
    heading = {name: only[name] for name in _MODEL_FIELDS if name in only}
    lists = [name for name, value in only.items() if value and _are_records(value)]
    wrapped = [name for name in lists if name.lower() in _WRAPPERS]
    own = _FIELDS & only.keys() - heading.keys()  # of a record that may hold a list itself
    if len(lists) == len(wrapped) == 1 and not own:
        return [heading | row for row in only[wrapped[0]]]
    if len(lists) > 1 and not own:
        raise EvaluationError(
            f"the file holds {len(lists)} lists of records: {name_some(lists)}",
            where=where,
            remedy="write each list to a file of its own, with the model's name in every record.",
        )
    if named := sorted(_FIELDS & only.keys()):
        columns = [name for name in named if isinstance(only[name], list | dict)]
        if columns:
            raise EvaluationError(
                f"the file holds columns and not rows: {name_some(columns)} "
                f"{'is a list or an object' if len(columns) == 1 else 'are lists or objects'}",
                where=where,
                remedy="write one object for each record (pandas: to_json(orient='records', "
                "lines=True)).",
            )
    return [only]


def _are_records(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def check_names(
    rows: Iterable[tuple[int, Mapping[str, Any]]], field: str, where: str, *, needed: bool = False
) -> None:
    """Refuse records of which some do not say which model they are of.

    Args:
        rows: with their numbers, from 1.
        field: that names the model.
        needed: refuse also records of which none has the field.

    Raises:
        EvaluationError: a name is null, empty or no text, or is in some records only; the first
            rows are named.
    """
    numbered = list(rows)
    any_named = needed or any(field in row for _, row in numbered)
    nameless = [number for number, row in numbered if any_named and not _is_name(row.get(field))]
    if nameless:
        raise EvaluationError(
            f"{len(nameless)} of {len(numbered)} records have no model's name in `{field}`: "
            f"row{'s' if len(nameless) > 1 else ''} {name_some(nameless)}",
            where=where,
            remedy="write there which model answered, as a text, or leave these records out.",
        )


def _is_name(value: object) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, str) and bool(value.strip()))


def _with_numbers(row: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: n for name in _NUMBERS if (n := as_number(row.get(name))) is not None}
    return row | {name: int(n) if n.is_integer() else n for name, n in numbers.items()}
