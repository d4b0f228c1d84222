"""One logged row: its numbers as training and evaluation cells, under TRL's names."""

import contextlib
import enum
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zephyr_utils.diagnostics.log_names import Column, LogKind, column_of
from zephyr_utils.errors import HandbookError

KINDS: tuple[LogKind, ...] = ("training", "evaluation")
# A number, or None where the cell is there and empty (null, an empty cell).
Cells = dict[str, float | None]

# What a preference run is judged by. A number that is not finite here means divergence.
CORE_FAMILIES = ("rewards/", "logps/")
_METRICS = ("loss", "learning_rate", "grad_norm", "kl")
_FAMILIES = (*CORE_FAMILIES, "logits/")
# Figures that prove that a row of a wide table was logged, and say nothing else.
_TIMING = ("runtime", "samples_per_second", "steps_per_second")
# Where a row is, the most reliable name first: trackers count log calls in "step" and "_step".
_STEP_NAMES = ("global_step", "step", "current_steps", "global_step/max_steps", "_step")
_PLACES = (*_STEP_NAMES, "epoch", "total_steps")
# Spellings of numbers for people: "1,234", which may be either, "1,234,567.8", "1.234,5", "1 234"
# (any kind of space), "1'234"; "0,05".
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_GROUPED = re.compile(
    r"[+-]?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}"
    r"|\d{1,3}(?:[\s'\u2019]\d{3})+(?:[.,]\d+)?)"
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:e[+-]?\d+)?", re.IGNORECASE)
# Writers' words for "nothing was logged here yet", which is not a missing number.
_NOT_LOGGED_WORDS = ("no log", "-", "–", "—", "n/a")
_EMPTY_WORDS = ("", "null", "none")
# NaN and infinity as C, MSVC's runtime and spreadsheets print them.
_NAN_WORDS = re.compile(
    r"[+-]?(?:nan\(\w{0,20}\)|1\.#(?:ind|qnan|snan|nan)\w{0,3})|#(?:num|div/0)!", re.IGNORECASE
)
_INF_WORDS = re.compile(r"([+-]?)(?:1\.#inf\w{0,3}|∞)", re.IGNORECASE)
_SUMMARY_FIELDS = ("train_runtime", "total_flos")
# Beyond what a loss can be and squares still fit a float: as good as infinite.
_LARGEST_NUMBER = 1e30
_LARGEST_STEP = 2.0**53  # from here on floats cannot tell one step from the next
_LONGEST_VALUE = 60  # characters of a wrong cell that a message repeats


class _Cell(enum.Enum):
    NOT_LOGGED = enum.auto()


class TrainingLogError(HandbookError, ValueError):
    """A log that cannot be read, or that lacks the columns a question about it needs."""


@dataclass(frozen=True)
class LogRow:
    """One row's numbers by kind.

    Attributes:
        names: the row's columns as the file has them.
        step, planned_steps: NaN where the row does not say.
        is_summary: it sums up the whole run (``train_runtime``), and is not a point of a curve.
        is_average: a Weights & Biases panel whose range columns differ from each other.
    """

    names: frozenset[str]
    step: float
    planned_steps: float
    training: Cells
    evaluation: Cells
    is_summary: bool
    is_average: bool

    def cells(self, kind: LogKind) -> Cells:
        """The cells of one kind."""
        return self.training if kind == "training" else self.evaluation


def is_core(name: str) -> bool:
    """Whether a column belongs to those that a preference run is judged by."""
    return name == "loss" or name.startswith(CORE_FAMILIES)


def is_metric(name: str) -> bool:
    """Whether a column is one of those that this package reads numbers from."""
    return name in _METRICS or name.startswith(_FAMILIES)


def proves_row(name: str) -> bool:
    """Whether a number in this column proves that a row of its kind was logged."""
    return is_metric(name) or name in _TIMING


def metric_in_cells(rows: Iterable[object]) -> str:
    """The first column of which a cell names what a run is judged by: a table with one metric a
    row (MLflow), or whose cells hold JSON (Trackio), or lists (pandas' split); empty if none does.
    """
    for row in rows:
        for key, cell in row.items() if isinstance(row, Mapping) else ():
            if isinstance(cell, str) and cell.lstrip().startswith("{"):
                with contextlib.suppress(ValueError, RecursionError):
                    cell = json.loads(cell)
            named = cell if isinstance(cell, list | Mapping) else [cell]
            columns = (column_of(name) for name in named if isinstance(name, str))
            if any(column is not None and is_core(column.name) for column in columns):
                return str(key)
    return ""


def message_text(text: object, limit: int = 200) -> str:
    """Text for a message: control characters and lone surrogates escaped, cut to ``limit``."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[:limit]
    )
    return shown + ("..." if len(str(text)) > limit else "")


def split_row(row: Mapping[str, object], columns: Mapping[object, Column], where: str) -> LogRow:
    """One logged row as its training cells and its evaluation cells; a card's row has both.

    Args:
        row: the row as it was read.
        columns: of the whole log, from :func:`~zephyr_utils.diagnostics.log_names.columns_of`.
        where: the file and the row, for messages.

    Raises:
        TrainingLogError: a metric that is not a number, or two columns of one meaning that differ.
    """
    # A card prints the evaluation's rewards without a prefix, beside the column "Validation Loss".
    is_card = any(str(key).strip().lower() == "validation loss" for key in row)
    cells: dict[LogKind, Cells] = {"training": {}, "evaluation": {}}
    place: dict[str, float] = {}
    for key in row:
        if key not in columns:
            continue
        kind, name = columns[key]
        if name in _PLACES:
            place |= _place(name, row[key], where)
            continue
        value = _number(row[key], name, f"{where}, column {message_text(key, 40)}")
        if value is _Cell.NOT_LOGGED:
            continue
        target = cells[kind or ("evaluation" if is_card else "training")]
        known = target.get(name)
        if known is not None and value is not None and known != value:
            raise TrainingLogError(
                f"two of its columns mean {name} and differ: {known:g} and {value:g}",
                where=where,
                remedy="export one run only, and each curve once.",
            )
        target[name] = known if value is None else value
    summary = any(cells["training"].get(name) is not None for name in _SUMMARY_FIELDS)
    step = next((place[name] for name in _STEP_NAMES if name in place), math.nan)
    if "epoch" in place:
        for part in cells.values():
            part["epoch"] = place["epoch"]
    return LogRow(
        frozenset(map(str, row)),
        step,
        place.get("total_steps", math.nan),
        cells["training"],
        cells["evaluation"],
        is_summary=summary and cells["training"].get("loss") is None,
        is_average=_is_average(row),
    )


def _is_average(row: Mapping[str, object]) -> bool:
    lowest = {str(key)[:-5]: value for key, value in row.items() if str(key).endswith("__MIN")}
    return any(row.get(f"{key}__MAX") != value for key, value in lowest.items())


def _place(name: str, value: object, where: str) -> dict[str, float]:
    """Step, epoch or planned steps; ms-swift writes ``global_step/max_steps`` as "31/94"."""
    if name == "global_step/max_steps" and isinstance(value, str) and "/" in value:
        step, _, planned = value.partition("/")
        return _place("global_step", step, where) | _place("total_steps", planned, where)
    number = _number(value, name, f"{where}, column {name}")
    if not isinstance(number, float) or math.isnan(number):
        return {}
    if name == "total_steps":
        return {name: number} if 0 < number < _LARGEST_STEP else {}  # -1: there is no such limit
    if not 0 <= number < _LARGEST_STEP:
        raise TrainingLogError(
            f"{name} is {message_text(repr(value), _LONGEST_VALUE)}, outside of what a run can "
            f"have (0 to {_LARGEST_STEP:.0g})",
            where=f"{where}, column {name}",
            remedy="correct the cell, or remove the row.",
        )
    return {name: number}


def _number(value: object, name: str, where: str) -> float | _Cell | None:
    """The cell as a float (NaN and infinity included), None where empty, NOT_LOGGED where it says
    so or is text beside the metrics.
    """
    if value is None:
        return None
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _NOT_LOGGED_WORDS:
            return _Cell.NOT_LOGGED
        if word in _EMPTY_WORDS:
            return None
    number = _float(value)
    if number is not None:
        return number
    if name in _PLACES or is_metric(name):
        what, remedy = _spelling(value)
        raise TrainingLogError(
            f"{name} is {message_text(repr(value), _LONGEST_VALUE)}, {what}",
            where=where,
            remedy=remedy,
        )
    return _Cell.NOT_LOGGED


def _spelling(value: object) -> tuple[str, str]:
    """What a cell is that is not a number to a program, and what to do about it."""
    text = value.strip() if isinstance(value, str) else ""
    if text.endswith(("%", "\u2030")):
        return "a percentage", "write it as a share (0.55 for 55 %), or leave the cell empty."
    if _EITHER.fullmatch(text):
        what = "a number with a decimal comma or a thousands separator"
        return what, "export plain numbers with decimal points (1234.5)."
    if _GROUPED.fullmatch(text):
        return "a number with thousands separators", "export plain numbers (1234.5)."
    if _DECIMAL_COMMA.fullmatch(text):
        return "a number with a decimal comma", "export the log with decimal points (0.05)."
    return "not a number", "correct the cell (decimals with a point), or leave it empty."


def _float(value: object) -> float | None:
    """Any scalar that a trainer logs: Python, NumPy or tensor; None for booleans and all else."""
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return None
    if not isinstance(value, str) and not hasattr(value, "__float__"):
        return None
    if isinstance(value, str) and _NAN_WORDS.fullmatch(value.strip()):
        return math.nan
    if isinstance(value, str) and (infinite := _INF_WORDS.fullmatch(value.strip())):
        return -math.inf if infinite[1] == "-" else math.inf
    try:
        number = float(value)
        return math.copysign(math.inf, number) if abs(number) > _LARGEST_NUMBER else number
    except OverflowError:  # an integer of more than 308 digits
        return -math.inf if isinstance(value, int) and value < 0 else math.inf
    except (TypeError, ValueError, RuntimeError):
        return None
