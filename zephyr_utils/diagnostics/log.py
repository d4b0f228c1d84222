"""Reading the log of a preference run: a model card's table (CSV) or a trainer's history, into
arrays.

A trainer writes two kinds of rows. *Training* rows are means over the batches since the last row,
other examples every time; *evaluation* rows are measured on one fixed set. Most of what a log can
prove (the beta that was used, the reference's log-probabilities, overfitting) needs evaluation
rows, so the two are kept apart here.

Column names are TRL's: ``loss``, ``rewards/chosen``, ``rewards/rejected``, ``rewards/margins``,
``rewards/accuracies``, ``logps/chosen``, ``logps/rejected`` (sums of log-probabilities in nats),
``learning_rate``, ``grad_norm``, ``epoch``, ``step``.
"""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.common import read_rows

Columns = dict[str, NDArray[np.float64]]

# Names that model cards print, as the trainer's own.
_CARD_NAMES = {"training loss": "loss", "validation loss": "eval_loss"}
# Whole-run summaries (one at the end of a history), no rows of a curve.
_SUMMARY_FIELDS = ("train_runtime", "total_flos")
# A card writes this where no training loss had been logged yet.
_ABSENT = ("", "no log")
_METRICS = ("loss", "step", "epoch", "learning_rate", "grad_norm")
_FAMILIES = ("rewards/", "logps/", "logits/")
_LONGEST_VALUE = 60  # characters of a wrong cell that a message repeats


class TrainingLogError(HandbookError, ValueError):
    """A log that cannot be read, or that lacks the columns a question about it needs."""


@dataclass(frozen=True)
class TrainingLog:
    """One run's log.

    Attributes:
        source: the file's name, for messages.
        training, evaluation: column name -> array over the rows of that kind; NaN where a row lacks
            the column.
        n_rows: rows read; ``n_summaries`` of them were summaries of the whole run, in neither kind.
        not_finite: where a NaN or an infinity was *logged* (as opposed to a missing cell): "step
            300: loss is nan".
    """

    source: str
    training: Columns
    evaluation: Columns
    n_rows: int
    n_summaries: int
    not_finite: tuple[str, ...]

    def require(self, *names: str) -> list[NDArray[np.float64]]:
        """Evaluation columns by name, restricted to the rows that have all of them.

        Raises:
            TrainingLogError: a column is missing, or no row has all of them; says what the log does
                have.
        """
        absent = [name for name in names if name not in self.evaluation]
        if absent:
            raise TrainingLogError(
                f"its evaluation rows have no {', '.join(absent)} (they have: "
                f"{', '.join(self.evaluation) or 'none'})",
                where=self.source,
                remedy="train with evaluation switched on (eval_strategy: steps), or give the "
                "right file.",
            )
        stacked = np.stack([self.evaluation[name] for name in names])
        whole = np.isfinite(stacked).all(axis=0)
        if not whole.any():
            raise TrainingLogError(
                f"no evaluation row has all of {', '.join(names)}",
                where=self.source,
                remedy="give the right file.",
            )
        return list(stacked[:, whole])


def read_training_log(source: str | Path | Iterable[dict]) -> TrainingLog:
    """Read a log from a file, or from a trainer's ``state.log_history`` as it is.

    Args:
        source: a ``.csv`` (a model card's table; lines that begin with ``#`` are comments),
            ``trainer_state.json``, a JSON list or JSON Lines of log rows, or an iterable of such
            rows.

    Raises:
        TrainingLogError: no such file, no rows, a cell that is no number (named), or neither losses
            nor rewards.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        name, rows = path.name, _rows_of_file(path)
    else:
        name, rows = "log history", list(source)
    if not rows:
        raise TrainingLogError(
            "it holds no rows", where=name, remedy="check that the run logged at all."
        )
    kinds: dict[str, list[dict[str, float]]] = {"training": [], "evaluation": []}
    not_finite: list[str] = []
    n_summaries = 0
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise TrainingLogError(
                f"is {type(row).__name__}, not a row with named columns",
                where=f"{name}, row {number}",
                remedy="give the trainer's state.log_history or a file of it.",
            )
        if any(row.get(field) not in (None, "") for field in _SUMMARY_FIELDS):
            n_summaries += 1
            continue
        training, evaluation = _split_row(row, f"{name}, row {number}")
        place = f"step {training.get('step', evaluation.get('step', math.nan)):g}"
        for kind, cells in (("training", training), ("evaluation", evaluation)):
            not_finite += [
                f"{place}: {kind} {key} is {v:g}"
                for key, v in cells.items()
                if not math.isfinite(v)
            ]
            if cells.keys() - {"step", "epoch"}:
                kinds[kind].append(cells)
    if not any(
        key == "loss" or key.startswith("rewards/")
        for rows in kinds.values()
        for row in rows
        for key in row
    ):
        raise TrainingLogError(
            "it has neither losses nor rewards",
            where=name,
            remedy="give the log of a training run: a model card's table or a trainer's log "
            "history.",
        )
    return TrainingLog(
        name,
        _columns(kinds["training"]),
        _columns(kinds["evaluation"]),
        len(rows),
        n_summaries,
        tuple(not_finite),
    )


def _rows_of_file(path: Path) -> list[dict]:
    if path.suffix.lower() != ".csv":
        rows = read_rows(path)
        # trainer_state.json is one object with the history inside.
        if len(rows) == 1 and isinstance(rows[0].get("log_history"), list):
            return rows[0]["log_history"]
        return rows
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in file if line.strip() and not line.lstrip().startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingLogError(
            f"cannot be read ({error})",
            where=str(path),
            remedy="check the path; the file must be UTF-8 text.",
        ) from error
    rows = list(csv.DictReader(lines))
    for number, row in enumerate(rows, start=1):
        # DictReader files surplus cells under None and fills missing ones with None.
        if None in row or None in row.values():
            raise TrainingLogError(
                "has another number of cells than the header",
                where=f"{path.name}, row {number}",
                remedy="the file may have been cut short; fetch it again.",
            )
    return rows


def _split_row(row: dict, where: str) -> tuple[dict[str, float], dict[str, float]]:
    """One logged row as its training cells and its evaluation cells; a card's row has both."""
    named = {_canonical(key): value for key, value in row.items()}
    # A card prints the evaluation's rewards without a prefix beside the column "Validation Loss".
    is_card_row = any(str(key).strip().lower() == "validation loss" for key in row)
    training: dict[str, float] = {}
    evaluation: dict[str, float] = {}
    for key, value in named.items():
        number = _number(value, key, where)
        if number is None:
            continue
        if key in ("step", "epoch"):
            training[key] = evaluation[key] = number
        elif key.startswith("eval_"):
            evaluation[key.removeprefix("eval_")] = number
        elif is_card_row and key not in ("loss", "learning_rate", "grad_norm"):
            evaluation[key] = number
        else:
            training[key] = number
    return training, evaluation


def _canonical(key: object) -> str:
    name = str(key).strip().lower()
    return _CARD_NAMES.get(name, name)


def _number(value: object, key: str, where: str) -> float | None:
    """The cell as a float (NaN and infinity included); None for an empty cell or for text beside
    the metrics.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in _ABSENT):
        return None
    if isinstance(value, (int, float, str)):
        try:
            return float(value)
        except ValueError:
            pass
    name = key.removeprefix("eval_")
    if name in _METRICS or name.startswith(_FAMILIES):
        shown = repr(value)
        shown = shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]}..."
        raise TrainingLogError(
            f"{key} is {shown}, not a number",
            where=where,
            remedy="mend the cell, or leave it empty.",
        )
    return None


def _columns(rows: list[dict[str, float]]) -> Columns:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}
