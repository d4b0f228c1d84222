"""The log of a training run as arrays: read from a file or taken from a trainer, and checked.

A trainer writes two kinds of rows. *Training* rows are means over the batches since the last row,
other examples every time; *evaluation* rows are measured on one fixed set. Most of what a log can
prove (the beta that was used, the reference's log-probabilities, overfitting) needs evaluation
rows, so the two are kept apart here.

Column names are TRL's: ``loss``, ``rewards/chosen``, ``rewards/rejected``, ``rewards/margins``,
``rewards/accuracies``, ``logps/chosen``, ``logps/rejected`` (sums of log-probabilities in nats),
``learning_rate``, ``grad_norm``, ``epoch``, ``step``. What other writers call them:
:mod:`~zephyr_utils.diagnostics.log_names`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.diagnostics.log_columns import (
    KINDS,
    Cells,
    LogRow,
    TrainingLogError,
    is_core,
    message_text,
    metric_in_cells,
    proves_row,
    split_row,
)
from zephyr_utils.diagnostics.log_files import LogFile, read_log_file
from zephyr_utils.diagnostics.log_names import Column, LogKind, columns_of, shared_names
from zephyr_utils.diagnostics.log_order import in_order
from zephyr_utils.diagnostics.log_values import check_values

Columns = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class TrainingLog:
    """One run's log.

    Attributes:
        source: the file's name, for messages.
        training, evaluation: column name -> array over the rows of that kind, in the order of
            their steps; NaN where a row lacks the column.
        n_rows: rows read, those of the next three attributes included.
        n_unreadable: rows that could not be read, such as a line that was cut short.
        n_summaries: summaries of the whole run, in neither kind.
        n_other: rows without any of the columns above, in neither kind.
        n_superseded: training and evaluation rows left out because a later row has their step.
        planned_steps: the steps the run was to take; NaN where the log does not say.
        not_finite: losses, rewards and log-probabilities that were *logged* as NaN, infinity or
            null (as opposed to a missing cell): "step 300: training loss is nan".
        warnings: what is wrong with the log itself, a sentence each: rows missing, steps that go
            backwards, numbers averaged over runs. A log with warnings is not complete.
        shared_names: columns of rewards whose trainer also calls a reward model's scores so.
    """

    source: str
    training: Columns
    evaluation: Columns
    n_rows: int
    n_unreadable: int
    n_summaries: int
    n_other: int
    n_superseded: int
    planned_steps: float
    not_finite: tuple[str, ...]
    warnings: tuple[str, ...]
    shared_names: tuple[str, ...]

    def rows(self, kind: LogKind) -> Columns:
        """The columns of one kind of rows."""
        return self.training if kind == "training" else self.evaluation

    def has(self, *names: str, kind: LogKind = "evaluation") -> bool:
        """Whether at least one row of this kind has finite numbers in all of these columns."""
        part = self.rows(kind)
        return all(name in part for name in names) and bool(
            np.isfinite(np.stack([part[name] for name in names])).all(axis=0).any()
        )

    def require(self, *names: str, kind: LogKind = "evaluation") -> list[NDArray[np.float64]]:
        """Columns by name, restricted to the rows that have finite numbers in all of them.

        Raises:
            TrainingLogError: a column is missing, or no row has all of them; says what the log does
                have.
        """
        part = self.rows(kind)
        if absent := [name for name in names if name not in part]:
            raise TrainingLogError(
                f"its {kind} rows have no {', '.join(absent)} (they have: "
                f"{message_text(', '.join(part)) or 'none'})",
                where=self.source,
                remedy="give the whole log of the run"
                + (", trained with eval_strategy: steps." if kind == "evaluation" else "."),
            )
        stacked = np.stack([part[name] for name in names])
        complete = np.isfinite(stacked).all(axis=0)
        if not complete.any():
            raise TrainingLogError(
                f"no {kind} row has all of {', '.join(names)}",
                where=self.source,
                remedy="give the right file.",
            )
        return list(stacked[:, complete])


def read_training_log(source: str | Path | Iterable[Mapping[str, object]]) -> TrainingLog:
    """Read a log from a file, or from a trainer's ``state.log_history`` as it is.

    Args:
        source: ``trainer_state.json``, log rows as JSON, JSON Lines, CSV (also exports of Weights &
            Biases, and a model card's table; lines that begin with ``#`` are comments) or Parquet,
            LLaMA-Factory's ``trainer_log.jsonl``, ms-swift's ``logging.jsonl``, a model card
            (``.md``), a TensorBoard event file, or an iterable of such rows.

    Raises:
        TrainingLogError: no such file, no rows, half of them unreadable, a cell that is not a
            number (named), columns of several runs, or neither losses nor rewards.
    """
    if isinstance(source, str | Path):
        file = read_log_file(Path(source))
    else:
        file = LogFile("log history", list(source))
    if not file.rows:
        raise TrainingLogError(
            "it holds no rows", where=file.name, remedy="check that the run logged at all."
        )
    mappings = []
    for number, row in enumerate(file.rows, start=1):
        if not isinstance(row, Mapping):
            raise TrainingLogError(
                f"is {type(row).__name__}, not a row with named columns",
                where=f"{file.name}, row {number}",
                remedy="give the trainer's state.log_history or a file of it.",
            )
        mappings.append(row)
    columns = columns_of(dict.fromkeys(key for row in mappings for key in row))
    rows = [
        split_row(row, columns, f"{file.name}, row {number}")
        for number, row in enumerate(mappings, start=1)
    ]
    return _assemble(file, rows, columns)


def _panel_runs(columns: Mapping[object, Column]) -> list[str]:
    """The runs that a Weights & Biases panel names in its columns, "my-run - train/loss"."""
    parts = [str(key).rpartition(" - ") for key, column in columns.items() if column.kind]
    return sorted({run for run, dash, _ in parts if dash})


def _assemble(file: LogFile, rows: Sequence[LogRow], named: Mapping[object, Column]) -> TrainingLog:
    logged = [row for row in rows if not row.is_summary]
    is_wide = _is_wide(logged)
    if len(runs := _panel_runs(named)) > 1:
        raise TrainingLogError(
            f"it holds the curves of {len(runs)} runs: {message_text(', '.join(runs))}",
            where=file.name,
            remedy="export one run only.",
        )
    columns: dict[LogKind, Columns] = {}
    not_finite: list[str] = []
    warnings: list[str] = []
    n_superseded = 0
    used: set[int] = set()
    for kind in KINDS:
        own = [i for i, row in enumerate(logged) if _is_of_kind(row.cells(kind), is_wide)]
        kept, disorder = in_order([(logged[i].step, logged[i].cells(kind)) for i in own], kind)
        diverged, gaps = check_values(kept, kind, is_wide)
        not_finite += diverged
        warnings += disorder + gaps
        columns[kind] = _columns(kept)
        if columns[kind]:  # else all their numbers are null
            used.update(own)
            n_superseded += len(own) - len(kept)
    if not not_finite and not any(is_core(name) for part in columns.values() for name in part):
        names = sorted({str(key) for row in rows for key in row.names})
        if column := metric_in_cells(file.rows):
            raise TrainingLogError(
                "the names of its metrics are in cells of the column "
                f"{message_text(column)}, not in the header",
                where=file.name,
                remedy="write one row per step with a column for each metric; in pandas: pivot a "
                "table that has one metric a row, transpose one that has a column per step, "
                "json_normalize cells of JSON.",
            )
        raise TrainingLogError(
            f"it has neither losses nor rewards (its columns: {message_text(', '.join(names))})",
            where=file.name,
            remedy="give the log of a training run: a model card's table or a trainer's log "
            "history.",
        )
    n_rows = len(file.rows) + len(file.unreadable)
    if file.unreadable:
        text = f"{len(file.unreadable)} of {n_rows} rows cannot be read"
        warnings.insert(0, f"{text}, the first: {file.unreadable[0]}")
    if runs:
        text = f"it exports a Weights & Biases panel of the run {message_text(runs[0], 60)}"
        warnings.append(f"{text}, and holds the curves of the panel alone")
    if n_averages := sum(row.is_average for row in rows):
        text = f"in {n_averages} rows the curves are means over several runs or over a range"
        warnings.append(f"{text} (__MIN and __MAX differ): export one run, unsampled")
    planned = np.array([file.planned_steps, *(row.planned_steps for row in rows)])
    return TrainingLog(
        source=file.name,
        training=columns["training"],
        evaluation=columns["evaluation"],
        n_rows=n_rows,
        n_unreadable=len(file.unreadable),
        n_summaries=len(rows) - len(logged),
        n_other=len(logged) - len(used),
        n_superseded=n_superseded,
        planned_steps=float(np.fmax.reduce(planned)),
        not_finite=tuple(not_finite),
        warnings=tuple(warnings),
        shared_names=shared_names(named),
    )


def _is_wide(rows: Sequence[LogRow]) -> bool:
    """Whether every row has the columns of both kinds, as tables have: an empty cell says nothing
    there, unless other cells of its kind are filled.
    """
    names = {row.names for row in rows}
    kinds = {kind for row in rows for kind in KINDS if any(map(is_core, row.cells(kind)))}
    return len(names) == 1 and len(kinds) == len(KINDS)


def _is_of_kind(cells: Cells, is_wide: bool) -> bool:
    return any(
        proves_row(name) if value is not None else is_core(name) and not is_wide
        for name, value in cells.items()
    )


def _columns(rows: Sequence[tuple[float, Cells]]) -> Columns:
    names = dict.fromkeys(name for _, cells in rows for name in cells)
    columns = {
        name: np.array([math.nan if (v := cells.get(name)) is None else v for _, cells in rows])
        for name in names
        if any(cells.get(name) is not None for _, cells in rows)
    }
    step = np.array([step for step, _ in rows])
    return columns | ({"step": step} if np.isfinite(step).any() else {})
