"""The DPO-loss explorer: its formulas are those of the objectives, and its words and bars say the
same.
"""

import json
import math

import pytest
import torch
from explorer_scripts import in_node

from zephyr_utils import objectives
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers import dpo_loss

MARGINS = [-800.0, -30.0, -3.0, -0.5, 0.0, 1e-9, 0.5, 2.94, 6.0, 40.0, 800.0]
NOISES = [0.0, 0.01, 0.1, 0.25, 0.4]
GRID = [(kind, margin, noise) for kind in dpo_loss.KINDS for margin in MARGINS for noise in NOISES]


def loss_and_pull(kind, margin, noise):
    """The loss as `objectives` has it, and -dL/dm from autograd."""
    margin = torch.tensor(margin, dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    options = {} if kind == "sigmoid" else {"label_smoothing": noise}
    loss = objectives.LOSSES[kind](margin[None], zero, zero, zero, 1.0, **options)
    loss.backward()
    return loss.item(), -margin.grad.item()


def test_loss_and_pull_are_those_of_the_objectives_and_of_autograd():
    program = "result = values.map((row) => [script.loss(...row), script.pull(...row)]);"
    for setting, found in zip(GRID, in_node("dpo_loss", GRID, program), strict=True):
        assert found == pytest.approx(loss_and_pull(*setting), rel=1e-9, abs=1e-12), setting


def test_the_conservative_loss_rests_where_its_pull_is_zero_and_the_others_never_rest():
    noises = [0.01, 0.1, 0.4]
    program = """
      const around = (noise) => {
        const rest = script.restingMargin("conservative", noise);
        return [rest - 1, rest, rest + 1].map((margin) =>
            script.pull("conservative", margin, noise));
      };
      const others = ["robust", "sigmoid"].flatMap((kind) =>
        values.map((noise) => script.restingMargin(kind, noise)));
      const never = [...others, script.restingMargin("conservative", 0)].every(
        (margin) => margin === Infinity);
      result = [values.map(around), never,
        values.map((noise) => script.pull("robust", 800, noise))];"""
    resting, never, robust = in_node("dpo_loss", noises, program)
    for before, at_rest, behind in resting:
        assert before > 0 > behind and at_rest == pytest.approx(0, abs=1e-12)
    assert never and robust == pytest.approx([noise / (1 - 2 * noise) for noise in noises])


def test_the_summary_of_pairs_is_their_mean_loss_their_accuracy_and_who_pulls():
    pairs = [-40.0, -5.0, 0.0, 3.0, 8.0, 12.5, 20.0, 31.0, 44.0, 55.0]
    found = in_node("dpo_loss", pairs, 'result = script.summary(values, 0.1, "conservative", 0.1);')
    margins = [0.1 * pair for pair in pairs]
    losses, pulls = zip(
        *(loss_and_pull("conservative", margin, 0.1) for margin in margins), strict=True
    )
    pulls = [abs(pull) for pull in pulls]
    assert found == pytest.approx(
        {
            "count": 10,
            "accuracy": 0.7,  # a difference of 0 ranks nothing
            "meanLoss": sum(losses) / 10,
            "hardestTenth": max(pulls) / sum(pulls),
        }
    )


def test_the_words_name_margin_loss_pull_and_where_pairs_come_to_rest():
    program = "result = values.map(script.inWords);"
    base = {"beta": 0.1, "difference": -20.0, "noise": 0.1, "pairs": []}
    plain, conservative, robust = in_node(
        "dpo_loss", [{**base, "kind": kind} for kind in dpo_loss.KINDS], program
    )
    assert "margin of −2.000: the pair is ranked wrong" in plain
    assert "Loss 2.127, pull 0.881, times beta: 0.0881" in plain
    assert "rest at a margin of 2.20, a difference of 22.0" in conservative
    assert "never falls below 0.125" in robust


def test_every_pair_is_in_one_bar_of_the_histogram_also_those_beyond_the_axis():
    bars = in_node(
        "dpo_loss",
        [-1000.0, -59.0, 0.0, 1.0, 2.0, 3.9, 60.0, 99.0],
        "result = script.histogram(values);",
    )
    shares = {bar["from"]: bar["share"] for bar in bars if bar["share"]}
    assert shares == {-60: 0.5, 0: 1.0, 56: 0.5}


def test_ticks_are_round_and_inside():
    assert in_node("dpo_loss", None, "result = script.ticks(-0.2, 6.4);") == [0, 2, 4, 6]
    assert in_node("dpo_loss", None, "result = script.ticks(-0.05, 1.05);") == [0, 0.5, 1]


def test_the_explorer_holds_the_pairs_it_is_given_and_refuses_what_it_cannot_draw():
    assert dpo_loss.DpoLoss(pairs=torch.tensor([1.23456, -2.0])).pairs == [1.235, -2.0]
    with pytest.raises(HandbookError, match="1 of 2 differences are NaN"):
        dpo_loss.DpoLoss(pairs=[1.0, math.nan])
    with pytest.raises(HandbookError, match="2001 pairs are more than the 2000"):
        dpo_loss.DpoLoss(pairs=[0.0] * 2001)


def test_the_page_gets_script_and_style_and_less_than_300_kilobytes():
    state = dpo_loss.DpoLoss(pairs=[-12.345] * dpo_loss.MOST_PAIRS).get_state()
    assert "export default" in state["_esm"] and ".zx" in state["_css"]
    assert len(json.dumps(state)) < 300_000
    assert "innerHTML" not in state["_esm"]
