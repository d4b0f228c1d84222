"""The handbook's plotting style: colours, line styles and hatches that tell series apart, and plain
labels.
"""

import re
from collections.abc import Mapping
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Series = Mapping[float, float]  # step -> value, as read from a training log

# Okabe and Ito's palette without its yellow, which is too pale for a line on white.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
LINE_STYLES: list[str | tuple[int, tuple[int, ...]]] = [
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1)),
    (0, (3, 1, 1, 1)),
    (0, (1, 1)),
]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
HATCHES = ["", "///", "xxx", "\\\\\\", "+++", "---", "|||"]
INK, PAPER = "#1a1a1a", "#fbfbfb"
LONGEST_LABEL = 60  # characters: what an axis or a legend can carry
# Control characters, line separators, changes of direction, and halves of surrogate pairs, which no
# file in UTF-8 can hold.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

STYLE: dict[Any, Any] = {  # the keys are matplotlib's own names
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "#ffffff",
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=LINE_STYLES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "figure.facecolor": PAPER,
    "font.size": 10.5,
    "grid.color": "#dddddd",
    "hatch.linewidth": 0.6,
    "legend.fontsize": 10,
    "legend.framealpha": 0.9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "path",  # text as outlines: the same everywhere, whatever fonts the reader has
    "svg.hashsalt": "zephyr",  # the same figure gives the same bytes
    "text.color": INK,
}


def figure(
    n_panels: int = 1, *, width: float = 6.4, height: float = 3.6, **subplot_options: Any
) -> tuple[Figure, list[Axes]]:
    """An empty figure in the handbook's style, panels side by side; sizes in inches.

    The style is set for the session, so that what a reader adds by hand looks alike.
    """
    matplotlib.rcParams.update(STYLE)
    fig = Figure(figsize=(width, height), layout="constrained")
    axes = fig.subplots(1, n_panels, squeeze=False, **subplot_options)
    return fig, list(axes[0])


def plain_label(name: object, longest: int = LONGEST_LABEL) -> str:
    """A name from data as a label shows it: one line, no mathematics, at most ``longest``
    characters.

    Matplotlib reads what is between two dollar signs as TeX and raises where it is not TeX; and
    it leaves out labels that begin with an underscore.
    """
    text = UNPRINTABLE.sub("\ufffd", " ".join(str(name).split()))
    if len(text) > longest:
        text = f"{text[: longest - 1]}…"
    text = text.replace("$", r"\$")
    return f"\u200a{text}" if text.startswith("_") else text  # a hair space


def series_style(n: int) -> dict[str, Any]:
    """Colour, line style and marker of series ``n``, from 0; no two of the first 49 alike."""
    turn, place = divmod(n, len(COLOURS))
    return {
        "color": COLOURS[place],
        "linestyle": LINE_STYLES[(place + turn) % len(LINE_STYLES)],
        "marker": MARKERS[(place + turn) % len(MARKERS)],
    }


def plot_line(axes: Axes, series: Series, label: str | None, n: int, **changes: Any) -> None:
    """Draw a series in the style of number ``n``, whatever was drawn before."""
    style = series_style(n) | {"markevery": 0.12} | changes
    steps = sorted(series)
    shown = None if label is None else plain_label(label)
    axes.plot(steps, [series[step] for step in steps], label=shown, **style)


def legend_below(fig: Figure, n_columns: int = 3) -> None:
    """One legend for the whole figure, below it: it can hide no line there."""
    fig.legend(loc="outside lower center", ncols=n_columns)
