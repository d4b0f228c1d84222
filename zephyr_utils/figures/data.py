"""Figures of data: lengths and ratings."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from zephyr_utils.figures.style import (
    HATCHES,
    INK,
    figure,
    legend_below,
    plain_label,
    series_style,
)

CELL_LABEL = 30  # characters: longer names would leave a heat map no place for its cells


def length_histogram(lengths: Mapping[str, Sequence[int]], *, limit: int | None = None) -> Figure:
    """How long texts are, in tokens: an outline per name; ``limit`` draws the model's context."""
    fig, [axes] = figure()
    everything = np.concatenate([np.asarray(values, float) for values in lengths.values()])
    edges = np.histogram_bin_edges(everything, bins=40).tolist()
    for n, (name, values) in enumerate(lengths.items()):
        style = series_style(n)
        axes.hist(
            values,
            edges,
            histtype="step",
            label=plain_label(name),
            edgecolor=style["color"],
            linestyle=style["linestyle"],
            linewidth=1.8,
            hatch=HATCHES[n % len(HATCHES)],
        )
    if limit is not None:
        over = int((everything > limit).sum())
        axes.axvline(
            limit, color=INK, linewidth=1.2, label=f"context: {limit} tokens ({over} longer)"
        )
    axes.set(xlabel="tokens", ylabel="texts")
    legend_below(fig)
    return fig


def rating_heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    label: str = "mean rating",
) -> Figure:
    """A table of numbers with colours beneath, such as models by aspects; every cell shows its
    number.
    """
    numbers = np.asarray(values, float)
    across = [plain_label(name, CELL_LABEL) for name in columns]
    down = [plain_label(name, CELL_LABEL) for name in rows]
    fig, [axes] = figure(
        width=2.4 + 1.15 * len(columns) + 0.08 * max(0, max(map(len, down)) - 12),
        height=1.3 + 0.42 * len(rows) + 0.04 * max(0, max(map(len, across)) - 12),
    )
    image = axes.imshow(numbers, cmap="cividis", aspect="auto")
    middle = (np.nanmin(numbers) + np.nanmax(numbers)) / 2
    for (row, column), number in np.ndenumerate(numbers):
        colour = "#ffffff" if number < middle else "#000000"  # the palette runs from dark to light
        axes.text(column, row, f"{number:.2f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(columns)), across, rotation=20, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), down)
    axes.grid(False)
    fig.colorbar(image, ax=axes, label=label)
    return fig
