"""Figures of an evaluation and of ablations: scores, categories, differences with intervals, and
what methods reach at which KL divergence.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zephyr_utils.errors import HandbookError
from zephyr_utils.figures.style import (
    COLOURS,
    HATCHES,
    INK,
    figure,
    legend_below,
    plain_label,
    series_style,
)

Estimate = tuple[float, float, float]  # mean, lower and upper bound of its interval


def score_bars(
    models: Sequence[str],
    means: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    *,
    label: str = "mean score (95 % interval)",
    right: Sequence[Estimate] = (),
) -> Figure:
    """One bar per model from 0, with its interval (low, high) and its mean written beside it; and
    the same for the other outcome, in a second panel.

    Args:
        models: their names, from top to bottom.
        means: a score each.
        intervals: the bounds of each score.
        label: what the axis of the scores says.
        right: the share of right answers of each, from 0 to 1, with its bounds; drawn in per cent.
            Without it there is one panel.
    """
    height = 1.1 + 0.5 * len(models)
    if not right:
        fig, [axes] = figure(height=height)
    else:
        fig, [axes, beside] = figure(2, width=9.0, height=height, sharey=True)
        _bars(beside, models, 100 * np.asarray(right, float), "{:.0f} %")
        beside.set(xlabel="right answers in % (95 % interval)")
    _bars(axes, models, np.column_stack([means, intervals]), "{:.2f}")
    axes.set(xlabel=label)
    axes.invert_yaxis()  # the first model on top; of panels that share the axis, in both
    return fig


def _bars(axes: Axes, models: Sequence[str], estimates: np.ndarray, written: str) -> None:
    """One panel of bars.

    Args:
        axes: the panel.
        models: names of the bars.
        estimates: mean, lower and upper bound of each; models x 3.
        written: how a mean is written beside its bar.
    """
    centres, lows, highs = estimates.T
    # By place, not by name: two models of one name are two bars.
    bars = axes.barh(
        range(len(models)),
        centres,
        xerr=[centres - lows, highs - centres],
        capsize=4,
        edgecolor=INK,
    )
    axes.set_yticks(range(len(models)), [plain_label(name) for name in models])
    for n, (bar, mean, high) in enumerate(zip(bars, centres, highs, strict=True)):
        bar.set(facecolor=COLOURS[n % len(COLOURS)], alpha=0.75, hatch=HATCHES[n % len(HATCHES)])
        axes.annotate(
            written.format(mean),
            (high, n),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set(xlim=(0, highs.max() * 1.15))
    axes.grid(axis="y", visible=False)


def category_radar(
    categories: Sequence[str], scores: Mapping[str, Sequence[float]], *, top: float = 10.0
) -> Figure:
    """Scores by category on a circle, from 0 in the middle to ``top``: an outline per model."""
    fig, [axes] = figure(width=6.4, height=5.2, subplot_kw={"projection": "polar"})
    angles = np.linspace(0, 2 * np.pi, len(categories), endpoint=False)
    for n, (model, values) in enumerate(scores.items()):
        style = series_style(n)
        axes.plot([*angles, angles[0]], [*values, values[0]], label=plain_label(model), **style)
        axes.fill(angles, values, color=style["color"], alpha=0.08)
    axes.set_xticks(angles, [plain_label(name) for name in categories])
    axes.set(ylim=(0, top), theta_offset=np.pi / 2, theta_direction=-1)
    for text, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = np.sin(angle)  # names lie beside the circle, not across it
        text.set_horizontalalignment(
            "center" if abs(side) < 0.1 else "left" if side > 0 else "right"
        )
    legend_below(fig)
    return fig


def difference_intervals(
    differences: Mapping[str, Estimate], *, label: str = "difference in score (95 % interval)"
) -> Figure:
    """One point per row with its interval, and the line of no difference; the point is filled where
    the interval leaves out 0.
    """
    fig, [axes] = figure(width=7.6, height=1.2 + 0.36 * len(differences))
    for n, (mean, low, high) in enumerate(differences.values()):
        apart = low > 0 or high < 0
        axes.errorbar(
            mean,
            n,
            xerr=[[mean - low], [high - mean]],
            capsize=4,
            linestyle="",
            color=COLOURS[0 if mean >= 0 else 1],
            marker="o" if mean >= 0 else "s",
            markersize=7,
            markerfacecolor=None if apart else "#ffffff",
        )
    axes.axvline(0, color=INK, linewidth=1.2)
    axes.set_yticks(range(len(differences)), [plain_label(name) for name in differences])
    axes.set(xlabel=label)
    axes.invert_yaxis()  # the first row on top
    axes.grid(axis="y", visible=False)
    return fig


def interval_curves(
    curves: Mapping[str, Mapping[float, Estimate]], *, xlabel: str, ylabel: str
) -> Figure:
    """One line per name, with an interval at each point, such as score by epoch; whole steps on
    the axis below.
    """
    fig, [axes] = figure()
    for n, (name, points) in enumerate(curves.items()):
        steps = sorted(points)
        mean, low, high = np.array([points[step] for step in steps]).T
        # intervals beside each other
        shifted = np.array(steps, float) + 0.04 * (n - (len(curves) - 1) / 2)
        axes.errorbar(
            shifted,
            mean,
            yerr=[mean - low, high - mean],
            capsize=4,
            label=plain_label(name),
            **series_style(n),
        )
    axes.set_xticks(sorted({step for points in curves.values() for step in points}))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    legend_below(fig)
    return fig


def frontier(
    lines: Mapping[str, Sequence[Mapping[str, float]]], panels: Mapping[str, str]
) -> Figure:
    """What methods that began at one model reach, against how far they moved from it: a line per
    method, a panel per measure. A method is better where it lies higher at the same divergence.

    Args:
        lines: the points of each method, joined in this order; each has ``kl``, the KL divergence
            from dSFT in nats per answer, and the keys of `panels`.
        panels: what the axis of each measure says, such as ``{"grade": "mean grade, 1 to 10"}``.

    Raises:
        HandbookError: there is no line or no panel, or a point lacks a number.
    """
    keys = {"kl", *panels}
    lacking = [name for name, line in lines.items() if any(keys - point.keys() for point in line)]
    if not lines or not panels or lacking:
        raise HandbookError(
            f"points without {', '.join(sorted(keys))}: {', '.join(map(plain_label, lacking))}"
            if lacking
            else "there is nothing to draw",
            where="frontier",
            remedy="give at least one line and one panel, and each point its kl and its measures",
        )
    fig, each_axes = figure(len(panels), width=max(6.4, 3.6 * len(panels)), height=4.0)
    for axes, (key, label) in zip(each_axes, panels.items(), strict=True):
        for n, (name, line) in enumerate(lines.items()):
            shown = plain_label(name) if axes is each_axes[0] else None  # one legend for all
            points = [(point["kl"], point[key]) for point in line]
            axes.plot(*zip(*points, strict=True), label=shown, **series_style(n))
        axes.set(xlabel="KL from dSFT (nats per answer)", ylabel=label)
    legend_below(fig)
    return fig
