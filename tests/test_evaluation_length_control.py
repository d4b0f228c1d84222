"""The length-controlled win rate, and the win rate by length."""

import csv
import warnings

import numpy as np
import pytest
from real_records import REAL, needs

from zephyr_utils.evaluation import (
    EvaluationError,
    EvaluationWarning,
    alpaca_eval_win_rate,
    length_controlled_win_rate,
    load_rows,
    win_rate_by_length,
)

RECORDS = REAL / "alpaca_eval_ccbync"


@needs("alpaca_eval_ccbync")
def test_our_length_controlled_rate_follows_the_published_one():
    lengths = {
        row["index"]: len(row["reference_output"])
        for row in load_rows(RECORDS / "alpaca_eval_set.jsonl")
    }
    with (RECORDS / "ae1_leaderboard.shared.csv").open(encoding="utf-8") as file:
        published = list(csv.DictReader(file))
    ours, theirs = [], []
    for row in published:
        rows = load_rows(RECORDS / "ae1_alpaca_eval_gpt4_slim" / f"{row['']}.jsonl")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EvaluationWarning)
            ours.append(length_controlled_win_rate(rows, lengths).win_rate)
        theirs.append(float(row["length_controlled_winrate"]))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97
    assert np.abs(np.subtract(ours, theirs)).mean() < 4


def lengthy(score_of, differences):
    return [
        {"index": i, "preference": 1 + score_of(d), "len_output_1": 1000, "len_output_2": 1000 + d}
        for i, d in enumerate(differences)
    ]


def test_length_control_recovers_a_curve_that_was_put_in():
    differences = np.random.default_rng(3).normal(400, 300, size=4000).round()
    scale = differences.std()
    rows = lengthy(lambda d: 1 / (1 + np.exp(-(0.4 + 1.2 * np.tanh(d / scale)))), differences)
    found = length_controlled_win_rate(rows)
    assert found.theta == pytest.approx(0.4, abs=0.01)
    assert found.phi == pytest.approx(1.2, abs=0.02)
    assert found.win_rate == pytest.approx(100 / (1 + np.exp(-0.4)), abs=0.2)
    assert alpaca_eval_win_rate(rows).win_rate > found.win_rate + 10


def test_the_length_controlled_rates_error_is_the_plain_one_when_length_does_not_vary():
    wins = np.random.default_rng(4).random(2000) < 0.7
    rows = [
        row | {"preference": 1.0 + win}
        for row, win in zip(lengthy(lambda d: 0.0, [0.0] * 2000), wins, strict=True)
    ]
    assert length_controlled_win_rate(rows).standard_error == pytest.approx(
        alpaca_eval_win_rate(rows).standard_error, rel=1e-3
    )


def test_length_control_of_equal_lengths_is_the_plain_rate():
    rows = lengthy(lambda d: d * 0 + 0.7, [0.0] * 10)
    assert length_controlled_win_rate(rows).win_rate == pytest.approx(70, abs=1e-6)


def test_length_control_counts_rows_without_lengths_and_needs_two():
    rows = [*lengthy(lambda d: 0.6, [10, 20, 30]), {"index": 9, "preference": 2}]
    with pytest.warns(EvaluationWarning, match="1 annotations lack"):
        assert length_controlled_win_rate(rows).n_left_out == 1
    with pytest.raises(EvaluationError, match="baseline_lengths"):
        length_controlled_win_rate([{"index": 9, "preference": 2}] * 3)


@pytest.mark.parametrize("preference", [1, 2])
def test_length_control_of_a_clean_sweep_is_finite(preference):
    rows = lengthy(lambda d: preference - 1, [100, 200, 300])
    assert length_controlled_win_rate(rows).win_rate == 100 * (preference - 1)


def test_length_control_of_separated_lengths_is_finite():
    rows = lengthy(lambda d: float(d > 0), [-300, -200, -100, 100, 200, 300])
    assert length_controlled_win_rate(rows).win_rate == pytest.approx(50, abs=1e-6)


def test_length_control_gives_what_newtons_method_gave():
    rng = np.random.default_rng(3)
    differences = rng.normal(400, 300, 400).round()
    won = rng.random(400) < 1 / (1 + np.exp(-(0.4 + 1.2 * np.tanh(differences / 300))))
    rows = lengthy(lambda d: 0.0, differences.tolist())
    rows = [row | {"preference": 1.0 + float(win)} for row, win in zip(rows, won, strict=True)]
    found = length_controlled_win_rate(rows)
    expected = (61.4507103, 4.71405650, 0.466297722, 1.28289104)
    assert (found.win_rate, found.standard_error, found.theta, found.phi) == pytest.approx(
        expected, rel=1e-7
    )


@needs("alpaca_eval_ccbync")
def test_length_control_gives_what_newtons_method_gave_for_zephyr():
    lengths = {
        row["index"]: len(row["reference_output"])
        for row in load_rows(RECORDS / "alpaca_eval_set.jsonl")
    }
    rows = load_rows(RECORDS / "ae1_alpaca_eval_gpt4_slim" / "zephyr-7b-beta.jsonl")
    with pytest.warns(EvaluationWarning, match="2 annotations lack"):
        found = length_controlled_win_rate(rows, lengths)
    assert (found.win_rate, found.phi) == pytest.approx((76.4194664, 1.88475367), rel=1e-7)


def test_length_control_does_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(5)
    differences = rng.integers(-50, 50, size=101).tolist()  # with many equal ones
    rows = lengthy(lambda d: float(rng.random()), differences)
    turned = [rows[i] for i in rng.permutation(len(rows))]
    assert length_controlled_win_rate(turned) == length_controlled_win_rate(rows)
    assert win_rate_by_length(turned) == win_rate_by_length(rows)


@pytest.mark.parametrize("rate", [win_rate_by_length, length_controlled_win_rate])
def test_rows_without_a_preference_or_a_length_are_counted_in_a_warning(rate):
    rows = lengthy(lambda d: float(d > 0), [30, -10, 20, -40, 10, -20, 15, -15, 25, -25])
    for row in rows[:3]:
        row["preference"] = None
    with pytest.warns(EvaluationWarning, match="3 annotations lack a preference or a length"):
        rate(rows) if rate is length_controlled_win_rate else rate(rows, n_bins=2)


def test_groups_by_length_hold_every_row_in_order_of_length():
    groups = win_rate_by_length(
        lengthy(lambda d: float(d > 0), [30, -10, 20, -40, 10, -20]), n_bins=2
    )
    assert [group.win_rate for group in groups] == [0, 100]
    assert [round(group.length_difference, 2) for group in groups] == [-23.33, 20]
    assert sum(group.n for group in groups) == 6
    with pytest.raises(EvaluationError, match="do not fill"):
        win_rate_by_length(lengthy(lambda d: 1.0, [1, 2, 3]), n_bins=2)
