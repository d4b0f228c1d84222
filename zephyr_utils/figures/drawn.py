"""What the axes of a figure draw, read back from matplotlib: histograms, points with their names
and intervals, and lines that mark one value.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.typing import ColorType

from zephyr_utils.figures.style import INK

Look = tuple[str, str, str]  # colour, line style, marker


@dataclass(frozen=True, eq=False)
class Points:
    """Some points of one name: where they are on the axis of places, their values, and the
    interval of each, or None.
    """

    name: str
    places: np.ndarray
    values: np.ndarray
    intervals: np.ndarray | None = None  # points x 2


def looks_of(fig: Figure) -> dict[Look, str]:
    """The names of the figure's lines by how they look, for panels that share one legend."""
    return {
        line_look(line): legend_name(line)
        for axes in fig.axes
        for line in axes.lines
        if legend_name(line) and not is_reference(line, axes)
    }


def histograms(axes: Axes) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, edges and heights of each histogram, drawn as touching bars or as an outline."""
    for bars in _histogram_bars(axes):
        patches = bars.patches
        edges = [*(bar.get_x() for bar in patches), patches[-1].get_x() + patches[-1].get_width()]
        name = legend_name(bars) or legend_name(patches[0])  # ``hist`` names the first bar
        yield name, np.round(edges, 12), np.array([bar.get_height() for bar in patches])
    for outline in axes.patches:
        if isinstance(outline, Polygon) and not outline.get_closed():
            corners = outline.get_xy()
            name = legend_name(outline) or _words_in(axes, outline.get_edgecolor())
            yield name, np.round(corners[::2, 0], 12), corners[1:-1:2, 1]


def points_of(axes: Axes, looks: dict[Look, str]) -> list[Points]:
    """All lines, error bars, bars and dots of a panel; what has no name is taken together."""
    found = [*_bars(axes), *_error_bars(axes, looks), *_lines(axes, looks), *_dots(axes)]
    nameless = [points for points in found if not points.name and points.places.size == 1]
    if len(nameless) < 2:
        return found
    rest = [points for points in found if points.name or points.places.size != 1]
    ranges = [points.intervals for points in nameless if points.intervals is not None]
    joined = Points(
        "",
        np.concatenate([points.places for points in nameless]),
        np.concatenate([points.values for points in nameless]),
        np.concatenate(ranges) if len(ranges) == len(nameless) else None,
    )
    return [joined, *rest]


def _histogram_bars(axes: Axes) -> list[BarContainer]:
    """Upright bars of which each begins where the last one ends."""
    found = []
    for bars in axes.containers:
        if isinstance(bars, BarContainer) and bars.orientation == "vertical" and len(bars) > 1:
            left = np.array([bar.get_x() for bar in bars.patches])
            right = left + [bar.get_width() for bar in bars.patches]
            if np.allclose(left[1:], right[:-1]):
                found.append(bars)
    return found


def _bars(axes: Axes) -> Iterator[Points]:
    histograms = _histogram_bars(axes)
    for bars in axes.containers:
        if isinstance(bars, BarContainer) and bars not in histograms:
            places = [_middle(bar, bars.orientation == "horizontal") for bar in bars.patches]
            values = np.asarray(bars.datavalues, float)
            intervals = _intervals(bars.errorbar, values.size)
            yield Points(legend_name(bars), np.array(places), values, intervals)


def _middle(bar: Rectangle, across: bool) -> float:
    if across:
        return bar.get_y() + bar.get_height() / 2
    return bar.get_x() + bar.get_width() / 2


def _error_bars(axes: Axes, looks: dict[Look, str]) -> Iterator[Points]:
    for container in _error_containers(axes):
        line = container.lines[0]
        if line is not None:  # that of bars has none
            x, y = line_data(line)
            places, values = (y, x) if is_across(axes) else (x, y)
            name = legend_name(container) or looks.get(line_look(line), "")
            yield Points(name, places, values, _intervals(container, values.size))


def _intervals(container: ErrorbarContainer | None, count: int) -> np.ndarray | None:
    """The two ends of each error bar, points x 2; None where not each point has one."""
    if container is None or not container.lines[2]:
        return None
    segments = np.array(container.lines[2][0].get_segments())
    return segments[:, :, 0 if container.has_xerr else 1] if len(segments) == count else None


def _lines(axes: Axes, looks: dict[Look, str]) -> Iterator[Points]:
    parts = {id(line) for one in _error_containers(axes) for line in (one.lines[0], *one.lines[1])}
    for line in axes.lines:
        x, y = line_data(line)
        if id(line) not in parts and not is_reference(line, axes) and x.size:
            if axes.name == "polar" and x.size > 1 and math.isclose(x[0], x[-1]):
                x, y = x[:-1], y[:-1]  # an outline ends where it began
            given = legend_name(line) or looks.get(line_look(line))
            yield Points(given or _words_in(axes, line.get_color()), x, y)


def _dots(axes: Axes) -> Iterator[Points]:
    for dots in axes.collections:
        if isinstance(dots, PathCollection):
            x, y = np.ma.filled(np.ma.asarray(dots.get_offsets(), float), math.nan).T
            yield Points(legend_name(dots), x, y)


def _error_containers(axes: Axes) -> list[ErrorbarContainer]:
    return [one for one in axes.containers if isinstance(one, ErrorbarContainer)]


def is_across(axes: Axes) -> bool:
    """Whether values run along x, as those of lying bars and of error bars along x do."""
    lying = any(
        isinstance(bars, BarContainer) and bars.orientation == "horizontal"
        for bars in axes.containers
    )
    return lying or any(one.has_xerr and not one.has_yerr for one in _error_containers(axes))


def line_data(line: Line2D) -> tuple[np.ndarray, np.ndarray]:
    """The places and values of a line, as numbers also where words or dates were drawn."""
    x, y = np.ma.filled(np.ma.asarray(line.get_xydata(), float), math.nan).T
    return x, y


def is_reference(line: Line2D, axes: Axes) -> bool:
    """Whether this is a line across the whole panel, which marks one value."""
    return line.get_transform() != axes.transData


def line_look(line: Line2D) -> Look:
    """What tells a line from others."""
    return to_hex(line.get_color()), str(line.get_linestyle()), str(line.get_marker())


def _words_in(axes: Axes, colour: ColorType) -> str:
    """The words that are written in this colour, and not in that of all text, which name a line
    without a legend; empty where none are.
    """
    hue = to_hex(colour)
    words = [text.get_text() for text in axes.texts if to_hex(text.get_color()) == hue]
    return shown_text(words[0]) if words and hue != INK else ""


def legend_name(artist: Artist | BarContainer | ErrorbarContainer) -> str:
    """The name in a legend; empty where matplotlib shows none."""
    label = str(artist.get_label() or "")
    return "" if label.startswith("_") else shown_text(label)


def shown_text(label: str) -> str:
    """A label without what `plain_label` adds for matplotlib."""
    return label.replace(r"\$", "$").removeprefix("\u200a")
