"""The figures of the handbook: one style, one function a figure, and a way to show them that
everyone can read.

Every figure tells its series apart by line style, marker or hatching as well as by colour; the
colours are Okabe and Ito's, made to be told apart by colour-blind readers. The background is light
and opaque, so that a page in dark mode shows the same figure. The functions return a matplotlib
``Figure``, to be changed further or passed to :func:`show`.
"""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from cycler import cycler
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zephyr_utils.errors import HandbookError

Series = Mapping[float, float]  # step -> value, as read from a training log

# Okabe and Ito's palette without its yellow, which is too pale for a line on white.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
LINE_STYLES = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1))]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
HATCHES = ["", "///", "xxx", "\\\\\\", "+++", "---", "|||"]
_INK, _PAPER = "#1a1a1a", "#fbfbfb"

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": _INK,
    "axes.facecolor": "#ffffff",
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=LINE_STYLES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "figure.facecolor": _PAPER,
    "font.size": 10.5,
    "grid.color": "#dddddd",
    "hatch.linewidth": 0.6,
    "legend.fontsize": 10,
    "legend.framealpha": 0.9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "savefig.facecolor": _PAPER,
    "svg.fonttype": "path",  # text as outlines: the same everywhere, whatever fonts the reader has
    "svg.hashsalt": "zephyr",  # the same figure gives the same bytes
    "text.color": _INK,
}


def figure(
    n_panels: int = 1, *, width: float = 6.4, height: float = 3.6, **subplot_options
) -> tuple[Figure, list[Axes]]:
    """An empty figure in the handbook's style, panels side by side; sizes in inches.

    The style is set for the session, so that what a reader adds by hand looks alike.
    """
    matplotlib.rcParams.update(STYLE)
    fig = Figure(figsize=(width, height), layout="constrained")
    axes = fig.subplots(1, n_panels, squeeze=False, **subplot_options)
    return fig, list(axes[0])


def _plot(axes: Axes, series: Series, label: str, n: int, **changes) -> None:
    """Line number n of the style, whatever has been drawn before."""
    style = {
        "color": COLOURS[n],
        "linestyle": LINE_STYLES[n],
        "marker": MARKERS[n],
        "markevery": 0.12,
    }
    steps = sorted(series)
    axes.plot(steps, [series[step] for step in steps], label=label, **style | changes)


def _legend(fig: Figure, n_columns: int = 3) -> None:
    """One legend for the whole figure, below it: it can hide no line there."""
    fig.legend(loc="outside lower center", ncols=n_columns)


# --- training ----------------------------------------------------------------------------------------------------


def loss_curve(log: Mapping[str, Series], *, label: str = "loss (nats per token)") -> Figure:
    """Loss against the optimiser's steps, a line for each name, such as ``{"training": ..., "held
    out": ...}``.
    """
    fig, [axes] = figure()
    for n, (name, series) in enumerate(log.items()):
        _plot(axes, series, name, n)
    axes.set(xlabel="step", ylabel=label)
    _legend(fig)
    return fig


def reward_curves(log: Mapping[str, Series]) -> Figure:
    """Three panels: the rewards of chosen and rejected, the reward margin, the accuracy.

    Args:
        log: TRL's names, ``rewards/chosen``, ``rewards/rejected``, ``rewards/margins`` and
            ``rewards/accuracies``; each with ``eval_`` in front is drawn beside it as held out,
            where there is one.
    """
    fig, (rewards, margins, accuracies) = figure(3, width=10.5, height=3.8)
    panels = [
        (rewards, "chosen", 0),
        (rewards, "rejected", 1),
        (margins, "margins", 2),
        (accuracies, "accuracies", 2),
    ]
    training = {"linestyle": "-"}
    held_out = {"linestyle": "--", "markerfacecolor": "#ffffff", "markevery": 1}
    for prefix, note, style in (
        ("rewards/", "training", training),
        ("eval_rewards/", "held out", held_out),
    ):
        for axes, key, n in panels:
            # The third panel is drawn as the second is, and needs no line of its own in the legend.
            label = {"margins": f"margin and accuracy, {note}", "accuracies": None}.get(
                key, f"{key}, {note}"
            )
            if prefix + key in log:
                _plot(axes, log[prefix + key], label, n, **style)
    rewards.set(xlabel="step", ylabel="implicit reward", title="Rewards")
    margins.set(xlabel="step", ylabel="chosen minus rejected", title="Reward margin")
    accuracies.set(
        xlabel="step", ylabel="share with margin above 0", title="Accuracy", ylim=(0, 1.02)
    )
    for axes, level in ((rewards, 0), (margins, 0), (accuracies, 0.5)):
        axes.axhline(level, color=_INK, linewidth=0.8)
    _legend(fig)
    return fig


def margin_histogram(margins_before: Sequence[float], margins_after: Sequence[float]) -> Figure:
    """Reward margins of the same pairs before and after dDPO, with the share above 0 in the legend."""
    fig, [axes] = figure()
    before, after = np.asarray(margins_before, float), np.asarray(margins_after, float)
    edges = np.histogram_bin_edges(np.concatenate([before, after]), bins=40)
    for n, (name, values) in enumerate((("before", before), ("after", after))):
        # A zero is not above zero: before training every margin is exactly 0, which ranks nothing.
        label = f"{name}: {np.mean(values > 0):.0%} above 0"
        axes.hist(
            values,
            edges,
            label=label,
            facecolor=COLOURS[n],
            alpha=0.55,
            hatch=HATCHES[n],
            edgecolor=_INK,
        )
    axes.axvline(0, color=_INK, linewidth=1.2)
    axes.set(xlabel="reward margin (chosen minus rejected)", ylabel="pairs")
    _legend(fig)
    return fig


def learning_rate_schedule(steps: Sequence[float], lrs: Sequence[float]) -> Figure:
    """The learning rate at each step."""
    fig, [axes] = figure(height=2.8)
    _plot(axes, dict(zip(steps, lrs, strict=True)), "learning rate", 0)
    axes.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    return fig


def dpo_loss_figure(betas: Sequence[float]) -> Figure:
    """DPO's loss, and the weight of a pair in its gradient, against the difference of log-ratios.

    The axis is h_w - h_l, before beta: against the reward margin, beta times that, all betas lie on
    one curve.
    """
    fig, (loss, weight) = figure(2, width=8.4, height=3.4)
    differences = np.linspace(-30, 30, 241)
    for n, beta in enumerate(betas):
        margins = beta * differences
        _plot(
            loss, dict(zip(differences, np.logaddexp(0, -margins), strict=True)), f"β = {beta:g}", n
        )
        _plot(
            weight,
            dict(zip(differences, 1 / (1 + np.exp(margins)), strict=True)),
            f"β = {beta:g}",
            n,
        )
    loss.axhline(math.log(2), color=_INK, linewidth=0.8)
    loss.annotate("ln 2", (30, math.log(2)), ha="right", va="bottom")
    loss.set(
        xlabel="log-ratio, chosen minus rejected", ylabel="loss of the pair", title="−log σ(margin)"
    )
    weight.set(
        xlabel="log-ratio, chosen minus rejected", ylabel="weight of the pair", title="σ(−margin)"
    )
    loss.legend()  # a loss that falls leaves this corner free
    return fig


# --- data --------------------------------------------------------------------------------------------------------


def length_histogram(lengths: Mapping[str, Sequence[int]], *, limit: int | None = None) -> Figure:
    """How long texts are, in tokens, an outline for each name; ``limit`` draws the model's context."""
    fig, [axes] = figure()
    everything = np.concatenate([np.asarray(values, float) for values in lengths.values()])
    edges = np.histogram_bin_edges(everything, bins=40)
    for n, (name, values) in enumerate(lengths.items()):
        style = {
            "edgecolor": COLOURS[n],
            "linestyle": LINE_STYLES[n],
            "linewidth": 1.8,
            "hatch": HATCHES[n],
        }
        axes.hist(values, edges, histtype="step", label=name, **style)
    if limit is not None:
        over = int((everything > limit).sum())
        axes.axvline(
            limit, color=_INK, linewidth=1.2, label=f"context: {limit} tokens ({over} longer)"
        )
    axes.set(xlabel="tokens", ylabel="texts")
    _legend(fig)
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
    fig, [axes] = figure(width=2.4 + 1.15 * len(columns), height=1.3 + 0.42 * len(rows))
    image = axes.imshow(numbers, cmap="cividis", aspect="auto")
    middle = (np.nanmin(numbers) + np.nanmax(numbers)) / 2
    for (row, column), number in np.ndenumerate(numbers):
        colour = "#ffffff" if number < middle else "#000000"  # the palette runs from dark to light
        axes.text(column, row, f"{number:.2f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=20, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(False)
    fig.colorbar(image, ax=axes, label=label)
    return fig


# --- evaluation --------------------------------------------------------------------------------------------------


def score_bars(
    models: Sequence[str],
    means: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    *,
    label: str = "mean score (95 % interval)",
) -> Figure:
    """A bar a model from 0, with its interval (low, high) and its mean written beside it."""
    fig, [axes] = figure(height=1.1 + 0.5 * len(models))
    centres = np.asarray(means, float)
    lows, highs = np.asarray(intervals, float).T
    bars = axes.barh(
        list(models), centres, xerr=[centres - lows, highs - centres], capsize=4, edgecolor=_INK
    )
    for n, (bar, mean, high) in enumerate(zip(bars, centres, highs, strict=True)):
        bar.set(facecolor=COLOURS[n % len(COLOURS)], alpha=0.75, hatch=HATCHES[n % len(HATCHES)])
        axes.annotate(
            f"{mean:.2f}", (high, n), xytext=(6, 0), textcoords="offset points", va="center"
        )
    axes.set(xlabel=label, xlim=(0, highs.max() * 1.12))
    axes.invert_yaxis()  # the first model on top
    axes.grid(axis="y", visible=False)
    return fig


def category_radar(
    categories: Sequence[str], scores: Mapping[str, Sequence[float]], *, top: float = 10.0
) -> Figure:
    """Scores by category on a circle, from 0 in the middle to ``top``, an outline for each model."""
    fig, [axes] = figure(width=6.4, height=5.2, subplot_kw={"projection": "polar"})
    angles = np.linspace(0, 2 * np.pi, len(categories), endpoint=False)
    for n, (model, values) in enumerate(scores.items()):
        style = {
            "color": COLOURS[n],
            "linestyle": LINE_STYLES[n],
            "marker": MARKERS[n],
            "markevery": 1,
        }
        axes.plot([*angles, angles[0]], [*values, values[0]], label=model, **style)
        axes.fill(angles, values, color=COLOURS[n], alpha=0.08)
    axes.set_xticks(angles, categories)
    axes.set(ylim=(0, top), theta_offset=np.pi / 2, theta_direction=-1)
    for text, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = np.sin(angle)  # names lie beside the circle, not across it
        text.set_horizontalalignment(
            "center" if abs(side) < 0.1 else "left" if side > 0 else "right"
        )
    _legend(fig)
    return fig


# --- ablations ---------------------------------------------------------------------------------------------------

Estimate = tuple[float, float, float]  # mean, lower and upper bound of its interval


def difference_intervals(
    differences: Mapping[str, Estimate], *, label: str = "difference in score (95 % interval)"
) -> Figure:
    """A point a row with its interval, and the line of no difference; filled where the interval
    leaves 0 out.
    """
    fig, [axes] = figure(width=7.6, height=1.2 + 0.36 * len(differences))
    for n, (mean, low, high) in enumerate(differences.values()):
        apart = low > 0 or high < 0
        style = {"color": COLOURS[0 if mean >= 0 else 1], "marker": "o" if mean >= 0 else "s"}
        axes.errorbar(mean, n, xerr=[[mean - low], [high - mean]], capsize=4, linestyle="", markersize=7,
                      markerfacecolor=None if apart else "#ffffff", **style)  # fmt: skip
    axes.axvline(0, color=_INK, linewidth=1.2)
    axes.set_yticks(range(len(differences)), list(differences))
    axes.set(xlabel=label)
    axes.invert_yaxis()  # the first row on top
    axes.grid(axis="y", visible=False)
    return fig


def interval_curves(
    curves: Mapping[str, Mapping[float, Estimate]], *, xlabel: str, ylabel: str
) -> Figure:
    """A line a name, with an interval at each point, such as score by epoch; whole steps on the
    axis below.
    """
    fig, [axes] = figure()
    for n, (name, points) in enumerate(curves.items()):
        steps = sorted(points)
        mean, low, high = np.array([points[step] for step in steps]).T
        # intervals beside each other
        shifted = np.array(steps, float) + 0.04 * (n - (len(curves) - 1) / 2)
        style = {"color": COLOURS[n], "linestyle": LINE_STYLES[n], "marker": MARKERS[n]}
        axes.errorbar(shifted, mean, yerr=[mean - low, high - mean], capsize=4, label=name, **style)
    axes.set_xticks(sorted({step for points in curves.values() for step in points}))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    _legend(fig)
    return fig


# --- on the page -------------------------------------------------------------------------------------------------


def figure_html(fig: Figure, *, alt: str, caption: str) -> str:
    """The figure as HTML: an image that needs no other file, its text for those who cannot see it,
    its caption.

    Raises:
        HandbookError: ``alt`` or ``caption`` is empty.
    """
    for name, text in (("alt", alt), ("caption", caption)):
        if not text.strip():
            raise HandbookError(
                f"a figure needs {name} text",
                remedy="say in a sentence what the figure shows, its trend and its numbers",
            )
    picture = io.BytesIO()
    # SVG: sharp at any size, and for these figures about half the bytes of a PNG that would be. No
    # date in it.
    fig.savefig(picture, format="svg", metadata={"Date": None})
    data = base64.b64encode(picture.getvalue()).decode()
    return (
        f'<figure style="margin:1em 0"><img alt="{html.escape(alt)}" '
        f'src="data:image/svg+xml;base64,{data}" '
        f'style="width:{fig.get_figwidth() * 100:.0f}px;max-width:100%;height:auto">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def show(fig: Figure, *, alt: str, caption: str) -> None:
    """Display a figure with its alternative text and caption; both are required."""
    display(HTML(figure_html(fig, alt=alt, caption=caption)))


def before_after_table(rows: Sequence[Mapping[str, str]], *, caption: str) -> str:
    """The same prompts' answers side by side, as an HTML table.

    Args:
        rows: one mapping a prompt, all with the same keys: ``prompt`` first, then a column for each
            model.
    """
    # an answer's own line breaks are kept
    style = "text-align:left;vertical-align:top;white-space:pre-wrap"
    columns = list(rows[0])
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{style}">{html.escape(row[column])}</td>' for column in columns)
        + "</tr>"
        for row in rows
    )
    return (
        f'<table class="before-after"><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
