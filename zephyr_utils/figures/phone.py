"""A figure as a phone shows it: narrower, with its panels below each other, so that labels keep the
size they are read at. Scaled down, a figure of several panels has labels of four pixels there.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from zephyr_utils.figures.style import legend_below

WIDTH = 4.0  # inches: on 343 pixels, the column of a phone, a label of 10 points has 12 pixels
TALLEST = 3.2  # inches, of one of several panels
LEGEND = 0.8  # inches of it that the panels can spare: three lines


@contextmanager
def on_a_phone(fig: Figure) -> Iterator[None]:
    """Inside, the figure has a phone's shape; afterwards the one that it had, whatever happened.

    Legends below the figure get as many columns as fit and a long one adds its height, each panel
    gets its own numbers, and a label that would leave the page ends where its axis does. Nothing
    else changes: the same lines, labels and values.
    """
    size = fig.get_figwidth(), fig.get_figheight()
    panels = [(axes, place) for axes in fig.axes if (place := axes.get_subplotspec()) is not None]
    legends = list(fig.legends)
    labelled = [axes.yaxis.get_tick_params().get("labelleft", True) for axes, _ in panels]
    labels = [axes.xaxis.label for axes, _ in panels]
    placed = [(label.get_position(), label.get_horizontalalignment()) for label in labels]
    try:
        if len(panels) > 1:
            rows = GridSpec(len(panels), 1, figure=fig)
            for n, (axes, _) in enumerate(panels):
                axes.set_subplotspec(rows[n])
                axes.yaxis.set_tick_params(labelleft=True)  # a shared axis has them on the left
        height = size[1] if len(panels) < 2 else len(panels) * min(size[1], TALLEST)
        if any(axes.name == "polar" for axes, _ in panels):
            height = min(height, WIDTH)  # a circle is no taller than wide
        fig.set_size_inches(min(size[0], WIDTH), height)
        if legends:
            _narrow_legend(fig)
            legend = fig.legends[0].get_window_extent().height / fig.dpi
            fig.set_figheight(height + max(0.0, legend - LEGEND))
        fig.draw_without_rendering()  # ticks are chosen by the width that this leaves
        for label in labels:
            if label.get_window_extent().x1 > fig.bbox.width:
                label.set(x=1.0, horizontalalignment="right")
        yield
    finally:
        for (axes, place), left in zip(panels, labelled, strict=True):
            axes.set_subplotspec(place)
            axes.yaxis.set_tick_params(labelleft=left)
        for label, (position, alignment) in zip(labels, placed, strict=True):
            label.set(position=position, horizontalalignment=alignment)
        fig.legends[:] = legends
        fig.set_size_inches(size)


def _narrow_legend(fig: Figure) -> None:
    """A legend's columns are laid out when it is made, so it is made again."""
    for columns in range(3, 0, -1):
        fig.legends.clear()
        legend_below(fig, columns)
        fig.draw_without_rendering()
        if fig.legends[0].get_window_extent().width <= fig.bbox.width:
            return
