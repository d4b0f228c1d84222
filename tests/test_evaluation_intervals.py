"""Intervals against closed forms and printed tables."""

import numpy as np
import pytest

from zephyr_utils.evaluation import (
    IntervalError,
    bootstrap_interval,
    paired_difference,
    seeds_interval,
    wilson_interval,
)
from zephyr_utils.evaluation.intervals import student_quantile


def test_the_bootstrap_of_a_mean_agrees_with_its_standard_error():
    values = np.random.default_rng(1).normal(5, 2, size=400)
    interval = bootstrap_interval(values, n=4000)
    assert interval.estimate == pytest.approx(values.mean(), abs=1e-12)
    half = 1.96 * values.std() / np.sqrt(400)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.06)


def test_the_bootstrap_is_seeded_and_takes_other_statistics():
    values = np.random.default_rng(2).normal(size=101)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, np.median).estimate == np.median(values)


def test_the_bootstrap_is_the_same_when_it_must_work_in_blocks(monkeypatch):
    values = np.random.default_rng(5).normal(size=50)
    whole = bootstrap_interval(values)
    monkeypatch.setattr("zephyr_utils.evaluation.intervals._BLOCK_ELEMENTS", 50 * 7)
    assert bootstrap_interval(values) == whole


def test_a_constant_has_no_width():
    interval = bootstrap_interval([2.5] * 10)
    assert (interval.low, interval.high) == (2.5, 2.5)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [1.0, float("inf")]])
def test_values_without_an_honest_interval_are_refused(values):
    with pytest.raises(IntervalError):
        bootstrap_interval(values)


def test_nan_is_named_by_number_and_place():
    with pytest.raises(
        IntervalError, match=r"2 of 4 values are NaN or infinite, the first at position 1"
    ):
        bootstrap_interval([0.0, float("nan"), 1.0, float("nan")])


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_outside_zero_to_one_is_refused(level):
    with pytest.raises(IntervalError, match="level"):
        bootstrap_interval([1.0, 2.0], level=level)


def test_the_exact_sign_flip_p_value_counts_patterns():
    # Five differences of one sign: only the pattern itself and its mirror are as extreme, 2 of 32.
    assert paired_difference([2, 3, 4, 5, 6], [1, 1, 1, 1, 1]).p_value == 2 / 32


def test_pairs_that_do_not_differ_leave_the_p_value_alone():
    assert paired_difference([2, 3, 4, 5, 6, 7, 7], [1, 1, 1, 1, 1, 7, 7]).p_value == 2 / 32


def test_equal_models_have_a_p_value_of_one():
    difference = paired_difference([1, 2, 3], [1, 2, 3])
    assert (difference.mean, difference.low, difference.high, difference.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("times", [1, 8])  # tried exactly, and sampled
def test_differences_that_cancel_have_a_p_value_of_one_in_spite_of_rounding(times):
    difference = np.array([7, -4, -5, 2] * times) / 7  # no sum is nearer to zero
    assert paired_difference(difference, np.zeros(4 * times)).p_value == 1


def test_the_sampled_sign_flip_agrees_with_the_normal_approximation():
    difference = np.random.default_rng(7).normal(0.15, 1, size=200)
    z = abs(difference.sum()) / np.sqrt((difference**2).sum())
    from statistics import NormalDist

    expected = 2 * (1 - NormalDist().cdf(z))
    found = paired_difference(difference, np.zeros(200))
    assert found.p_value == pytest.approx(expected, abs=0.02)
    assert found.mean == pytest.approx(difference.mean(), abs=1e-12)
    assert found.low < found.mean < found.high


def test_a_sampled_p_value_is_never_zero():
    assert paired_difference(
        np.ones(60), np.zeros(60), n_permutations=100
    ).p_value == pytest.approx(1 / 101)


def test_unequal_numbers_of_items_are_not_paired():
    with pytest.raises(IntervalError, match="3 values against 2"):
        paired_difference([1, 2, 3], [1, 2])


@pytest.mark.parametrize(
    ("degrees", "table"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (2000, 1.961)],
)
def test_students_quantiles_are_those_of_the_printed_tables(degrees, table):
    assert student_quantile(0.975, degrees) == pytest.approx(table, abs=6e-4)


@pytest.mark.parametrize(
    ("probability", "quantiles"),
    [
        (0.9, [3.0776835372, 1.4758840488, 1.3104150254, 1.2823987215]),
        (0.95, [6.3137515147, 2.0150483733, 1.6972608866, 1.6463788173]),
        (0.995, [63.6567411629, 4.0321429836, 2.7499956536, 2.5807546981]),
    ],
)
def test_students_quantiles_are_those_of_the_closed_form(probability, quantiles):
    # By bisection on Abramowitz and Stegun 26.7.3 and 26.7.4.
    found = [student_quantile(probability, degrees) for degrees in (1, 5, 30, 1000)]
    assert found == pytest.approx(quantiles, abs=1e-9)


def shuffled(values):
    order = np.random.default_rng(9).permutation(len(values))
    return np.asarray(values)[order]


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(1).normal(5, 2, size=80),
        [0.1, 0.2, 0.3, 0.7, 1e9],  # their sum depends on the order in the last bits
        [1] * 30 + [2] * 3 + [1.5],
        [-1.0, 0.0, -0.0, 1e-300],
    ],
)
def test_intervals_do_not_depend_on_the_order_of_the_values(values):
    assert bootstrap_interval(shuffled(values)) == bootstrap_interval(values)
    assert bootstrap_interval(shuffled(values), np.median) == bootstrap_interval(values, np.median)
    assert seeds_interval(shuffled(values)) == seeds_interval(values)


@pytest.mark.parametrize("n", [5, 12, 13, 200])
def test_paired_differences_and_p_values_do_not_depend_on_the_order_of_the_pairs(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.2, 1, size=n), rng.normal(0, 1, size=n)
    order = rng.permutation(n)
    assert paired_difference(a[order], b[order]) == paired_difference(a, b)


def test_five_seeds_get_students_interval():
    interval = seeds_interval([1, 2, 3, 4, 5])
    half = 2.7764451 * np.sqrt(2.5) / np.sqrt(5)
    assert (interval.estimate, interval.high - 3) == (3, pytest.approx(half, abs=1e-6))


def test_one_seed_is_refused():
    with pytest.raises(IntervalError, match="one seed"):
        seeds_interval([0.5])


def test_wilsons_interval_matches_its_closed_form():
    interval = wilson_interval(8, 10)
    assert (interval.low, interval.high) == (
        pytest.approx(0.4901625, abs=1e-6),
        pytest.approx(0.9433178, abs=1e-6),
    )


def test_wilsons_interval_stays_within_zero_and_one():
    assert wilson_interval(0, 20).low == 0 and wilson_interval(20, 20).high == 1
    assert wilson_interval(0, 20).high == pytest.approx(0.1611252, abs=1e-6)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_shares_are_refused(successes, n):
    with pytest.raises(IntervalError):
        wilson_interval(successes, n)
