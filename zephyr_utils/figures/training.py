"""Figures of a training run: losses, rewards, margins, learning rates."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from zephyr_utils.figures.style import (
    COLOURS,
    HATCHES,
    INK,
    Series,
    figure,
    legend_below,
    plot_line,
)


def loss_curve(
    log: Mapping[str, Series],
    *,
    label: str = "loss (nats per token)",
    epoch_ends: Sequence[float] = (),
) -> Figure:
    """Loss against the optimiser's steps: one line per name, such as ``training``, ``held out``.

    Args:
        log: name -> loss by step.
        label: what the axis of the losses says.
        epoch_ends: steps at which an epoch ends and another begins; a dashed line at each.
    """
    fig, [axes] = figure()
    for n, (name, series) in enumerate(log.items()):
        plot_line(axes, series, name, n)
    for n, step in enumerate(epoch_ends):
        shown = None if n else "end of an epoch"  # one name in the legend for all
        axes.axvline(step, color=INK, linestyle="--", linewidth=1.2, label=shown)
    axes.set(xlabel="step", ylabel=label)
    legend_below(fig)
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
                plot_line(axes, log[prefix + key], label, n, **style)
    rewards.set(xlabel="step", ylabel="implicit reward", title="Rewards")
    margins.set(xlabel="step", ylabel="chosen minus rejected", title="Reward margin")
    accuracies.set(
        xlabel="step", ylabel="share with margin above 0", title="Accuracy", ylim=(0, 1.02)
    )
    for axes, level in ((rewards, 0), (margins, 0), (accuracies, 0.5)):
        axes.axhline(level, color=INK, linewidth=0.8)
    legend_below(fig)
    return fig


def margin_histogram(margins_before: Sequence[float], margins_after: Sequence[float]) -> Figure:
    """Margins of the same pairs before and after dDPO, with the share above 0 in the legend."""
    fig, [axes] = figure()
    before, after = np.asarray(margins_before, float), np.asarray(margins_after, float)
    edges = np.histogram_bin_edges(np.concatenate([before, after]), bins=40).tolist()
    for n, (name, values) in enumerate((("before", before), ("after", after))):
        # A zero is not above zero: before training every margin is exactly 0, which ranks nothing.
        label = f"{name}: {100 * np.mean(values > 0):.0f} % above 0"
        axes.hist(
            values,
            edges,
            label=label,
            facecolor=COLOURS[n],
            alpha=0.55,
            hatch=HATCHES[n],
            edgecolor=INK,
        )
    axes.axvline(0, color=INK, linewidth=1.2)
    axes.set(xlabel="reward margin (chosen minus rejected)", ylabel="pairs")
    legend_below(fig)
    return fig


def learning_rate_schedule(steps: Sequence[float], lrs: Sequence[float]) -> Figure:
    """The learning rate at each step."""
    fig, [axes] = figure(height=2.8)
    plot_line(axes, dict(zip(steps, lrs, strict=True)), "learning rate", 0)
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
        plot_line(
            loss, dict(zip(differences, np.logaddexp(0, -margins), strict=True)), f"β = {beta:g}", n
        )
        plot_line(
            weight,
            dict(zip(differences, 1 / (1 + np.exp(margins)), strict=True)),
            f"β = {beta:g}",
            n,
        )
    loss.axhline(math.log(2), color=INK, linewidth=0.8)
    loss.annotate("ln 2", (30, math.log(2)), ha="right", va="bottom")
    loss.set(
        xlabel="log-ratio, chosen minus rejected", ylabel="loss of the pair", title="−log σ(margin)"
    )
    weight.set(
        xlabel="log-ratio, chosen minus rejected", ylabel="weight of the pair", title="σ(−margin)"
    )
    loss.legend()  # a loss that falls leaves this corner free
    return fig
