"""The numbers that a figure draws, as tables: for readers who cannot see it, and for all who want
its values.

They are read from the figure itself, so that table and drawing cannot differ: lines, error bars,
bars, histograms, points and heat maps, with the names in the legend and the labels of the axes.
Values have the digits that one can tell apart on their axis.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter

from zephyr_utils.figures.drawn import (
    Look,
    Points,
    histograms,
    is_across,
    is_reference,
    legend_name,
    line_data,
    line_look,
    looks_of,
    points_of,
    shown_text,
)

ROWS = 20  # of a table: longer ones are thinned
MOST_DECIMALS, LARGEST = 6, 1e9  # values beyond are written with an exponent
APART = 200  # values that one can tell apart on an axis


@dataclass(frozen=True)
class FigureTable:
    """One table that says what a figure, or a panel of it, shows.

    Attributes:
        columns: the header's cells.
        rows: as many cells each, of which the first names the row.
        caption: what the table is of; empty where the columns say it.
        note: what is left out or added, in a sentence; empty for nothing.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    note: str = ""


def figure_tables(fig: Figure) -> list[FigureTable]:
    """The tables of a figure, panel by panel; empty where it holds nothing that is understood."""
    looks = looks_of(fig)
    panels = [axes for axes in fig.axes if axes.get_label() != "<colorbar>"]
    return [table for axes in panels for table in _tables_of(axes, looks)]


def _tables_of(axes: Axes, looks: dict[Look, str]) -> Iterator[FigureTable]:
    if axes.images:
        if _cells(axes).ndim == 2:  # and not a picture, which has colours for numbers
            yield _matrix(axes)
        return
    note = " ".join(_references(axes))
    yield from _histogram(axes, note)
    if points := points_of(axes, looks):
        yield _points_table(axes, points, note)


def _cells(axes: Axes) -> np.ndarray:
    """The cells of a heat map, rows x columns; NaN where they are masked."""
    return np.ma.filled(np.ma.asarray(axes.images[0].get_array(), float), math.nan)


def _matrix(axes: Axes) -> FigureTable:
    """A heat map: its cells, between the names of rows and columns."""
    numbers = _cells(axes)
    bar = axes.images[0].colorbar
    known = numbers[np.isfinite(numbers)]
    write = _writer("linear", numbers, float(np.ptp(known)) if known.size else 0.0)
    down, across = (
        _named(axis, np.arange(count), str)
        for axis, count in zip((axes.yaxis, axes.xaxis), numbers.shape, strict=True)
    )
    return FigureTable(
        [axes.get_ylabel() or "name", *across],
        [[name, *map(write, row)] for name, row in zip(down, numbers, strict=True)],
        caption=": ".join(filter(None, (axes.get_title(), bar.ax.get_ylabel() if bar else ""))),
    )


def _histogram(axes: Axes, note: str) -> Iterator[FigureTable]:
    """Histograms of the same bins: a row for each bin, or for a few neighbours together."""
    found: dict[tuple[float, ...], list[tuple[str, np.ndarray]]] = {}
    for name, bounds, counts in histograms(axes):
        found.setdefault(tuple(bounds), []).append((name, counts))
    for edges, columns in found.items():
        joined = -(-(len(edges) - 1) // ROWS)
        starts = np.arange(0, len(edges) - 1, joined)
        ends = [*starts[1:], len(edges) - 1]
        place = _writer_of(axes.xaxis, np.array(edges))
        write = _writer_of(axes.yaxis, np.concatenate([counts for _, counts in columns]))
        kept = [np.add.reduceat(counts, starts) for _, counts in columns]
        rows = [
            [f"{place(edges[start])} to {place(edges[end])}", *map(write, values)]
            for start, end, *values in zip(starts, ends, *kept, strict=True)
        ]
        several = f"Each row holds {joined} neighbouring bars of the figure." if joined > 1 else ""
        heads = _heads([name for name, _ in columns], _label(axes.yaxis))
        yield FigureTable(
            [_label(axes.xaxis) or "x", *heads],
            rows,
            caption=_caption(axes, heads, _label(axes.yaxis)),
            note=" ".join(filter(None, (several, note))),
        )


def _points_table(axes: Axes, found: list[Points], note: str) -> FigureTable:
    """A column for each name where all have the same places, and else a row for each point."""
    place_axis: Axis = axes.yaxis if is_across(axes) else axes.xaxis
    value_axis: Axis = axes.xaxis if is_across(axes) else axes.yaxis
    ranges = [points.intervals.ravel() for points in found if points.intervals is not None]
    write_place = _writer_of(place_axis, np.concatenate([points.places for points in found]))
    write = _writer_of(value_axis, np.concatenate([*(points.values for points in found), *ranges]))
    places = [_named(place_axis, points.places, write_place) for points in found]
    heads = _heads([points.name for points in found], _label(value_axis))
    what = _label(place_axis) or ("name" if _has_names(place_axis) else "x")
    wide = all(one == places[0] for one in places) and (not ranges or len(found) == 1)
    most = ROWS if wide else _most_each([len(one) for one in places])
    kept = [_kept(len(one), most) for one in places]
    if wide:
        columns = [what, *heads]
        rows = [[places[0][n], *(write(points.values[n]) for points in found)] for n in kept[0]]
    else:
        columns = ["series", what, _label(value_axis) or "value"]
        rows = [
            [head, names[n], write(points.values[n])]
            for head, names, points, those in zip(heads, places, found, kept, strict=True)
            for n in those
        ]
    if ranges:
        columns = [*columns, "interval"]
        ends = [
            "–" if points.intervals is None else " to ".join(map(write, points.intervals[n]))
            for points, those in zip(found, kept, strict=True)
            for n in those
        ]
        rows = [[*row, end] for row, end in zip(rows, ends, strict=True)]
    shown, there = sum(map(len, kept)), sum(map(len, places))
    if wide:
        shown, there = len(kept[0]), len(places[0])
    thinned = f"{shown} of {there:,} points, evenly spread." if shown < there else ""
    return FigureTable(
        columns,
        rows,
        caption=_caption(axes, columns, _label(value_axis)),
        note=" ".join(filter(None, (thinned, note))),
    )


def _most_each(lengths: Sequence[int]) -> int:
    """How many points of each series fit into a table, two at least."""
    fits = (most for most in range(ROWS, 2, -1) if sum(min(n, most) for n in lengths) <= ROWS)
    return next(fits, 2)


def _kept(count: int, most: int) -> list[int]:
    """Places of at most `most` of `count` points, evenly spread, the first and the last among
    them.
    """
    if count <= most:
        return list(range(count))
    return np.linspace(0, count - 1, most).round().astype(int).tolist()


def _heads(names: Sequence[str], value: str) -> list[str]:
    """The names of series; one alone may take that of its axis."""
    if len(names) == 1:
        return [names[0] or value or "value"]
    return [name or f"series {place}" for place, name in enumerate(names, start=1)]


def _caption(axes: Axes, columns: Sequence[str], value: str) -> str:
    """The panel's title, and the axis of the values where no column has its name."""
    return ": ".join(filter(None, (axes.get_title(), "" if value in columns else value)))


def _label(axis: Axis) -> str:
    """What an axis shows; panels that share it may write it once, and some axes have no words."""
    axes = axis.axes
    if axis is axes.xaxis:
        others = [one.get_xlabel() for one in axes.get_shared_x_axes().get_siblings(axes)]
    else:
        others = [one.get_ylabel() for one in axes.get_shared_y_axes().get_siblings(axes)]
    labels = [axis.get_label_text(), *others]
    return next((shown_text(label) for label in labels if label), "")


def _named(axis: Axis, places: np.ndarray, write: Callable[[float], str]) -> list[str]:
    """The places on an axis as it names them: by its fixed ticks where each lies at one of its own,
    and else by their numbers.
    """
    ticks = np.asarray(axis.get_majorticklocs(), float)
    fixed = _has_names(axis) or isinstance(axis.get_major_locator(), FixedLocator)
    if fixed and ticks.size and np.isfinite(places).all():
        apart = np.diff(np.sort(ticks)).min() if ticks.size > 1 else 1.0
        nearest = abs(places[:, None] - ticks).argmin(axis=1)
        close = abs(places - ticks[nearest]) <= (0.45 if _has_names(axis) else 0.1) * apart
        if close.all() and len(set(nearest)) == len(places):
            if not _has_names(axis):
                return list(map(_writer_of(axis, ticks), ticks[nearest]))
            names = axis.get_major_formatter().format_ticks(ticks.tolist())
            return [shown_text(str(names[n])) for n in nearest]
    return [write(place) for place in places]


def _has_names(axis: Axis) -> bool:
    """Whether the ticks of an axis are words that were given."""
    formatter, locator = axis.get_major_formatter(), axis.get_major_locator()
    given = isinstance(formatter, FixedFormatter | FuncFormatter)
    return (given and isinstance(locator, FixedLocator)) or isinstance(
        formatter, StrCategoryFormatter
    )


def _writer_of(axis: Axis, values: np.ndarray) -> Callable[[float], str]:
    low, high = axis.get_view_interval()
    return _writer(axis.get_scale(), values, abs(high - low))


def _writer(scale: str, values: np.ndarray, span: float) -> Callable[[float], str]:
    """Writes values of one axis: whole ones as they are, others as finely as one can tell them
    apart, or with three digits where the scale is not an even one.
    """
    known = values[np.isfinite(values)]
    largest = abs(known).max(initial=0.0)
    whole = largest < LARGEST and bool((known == known.round()).all())
    decimals = math.ceil(math.log10(APART / span)) if span > 0 else 2

    def write(value: float) -> str:
        if not math.isfinite(value):
            return "–"
        if whole:
            text = f"{value:,.0f}"
        elif scale != "linear":
            text = f"{float(f'{value:.2e}'):,g}"
        elif decimals > MOST_DECIMALS or largest >= LARGEST:
            text = f"{value:.2e}"
        else:
            # Adding 0.0 turns the negative zero of rounding into zero.
            text = f"{round(value, decimals) + 0.0:,.{max(0, decimals)}f}"
        return text.replace("-", "−")

    return write


def _references(axes: Axes) -> Iterator[str]:
    """What the lines across the panel mark, a sentence for each that has a name or looks like one
    that has.
    """
    lines = [line for line in axes.lines if is_reference(line, axes)]
    names = {line_look(line): legend_name(line) for line in lines if legend_name(line)}
    for line in lines:
        if name := legend_name(line) or names.get(line_look(line), ""):
            x, y = line_data(line)
            axis, at = (axes.xaxis, x) if x[0] == x[-1] else (axes.yaxis, y)
            yield f"Line at {_writer_of(axis, at)(at[0])}: {name}."
