"""The figures of the handbook: one style, one function per figure, and HTML that everyone can read.

Every figure tells its series apart by line style, marker or hatching as well as by colour; the
colours are Okabe and Ito's, chosen for colour-blind readers. The background is light and opaque, so
that a page in dark mode shows the same figure; its numbers are below it as a folded table. Names
from data are shown as they are, never as mathematics. The functions return a matplotlib
``Figure``, to be changed further or passed to `show`.
"""

from zephyr_utils.figures.data import length_histogram, rating_heatmap
from zephyr_utils.figures.evaluation import (
    category_radar,
    difference_intervals,
    frontier,
    interval_curves,
    score_bars,
)
from zephyr_utils.figures.numbers import FigureTable, figure_tables
from zephyr_utils.figures.page import before_after_table, figure_html, show
from zephyr_utils.figures.style import (
    COLOURS,
    HATCHES,
    LINE_STYLES,
    MARKERS,
    figure,
    plain_label,
)
from zephyr_utils.figures.training import (
    dpo_loss_figure,
    learning_rate_schedule,
    loss_curve,
    margin_histogram,
    reward_curves,
)

__all__ = [
    "COLOURS",
    "HATCHES",
    "LINE_STYLES",
    "MARKERS",
    "FigureTable",
    "before_after_table",
    "category_radar",
    "difference_intervals",
    "dpo_loss_figure",
    "figure",
    "figure_html",
    "figure_tables",
    "frontier",
    "interval_curves",
    "learning_rate_schedule",
    "length_histogram",
    "loss_curve",
    "margin_histogram",
    "plain_label",
    "rating_heatmap",
    "reward_curves",
    "score_bars",
    "show",
]
