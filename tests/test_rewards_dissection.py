"""The dissection of judges: known weights are found again, and what cannot be told is refused."""

import math

import numpy as np
import pytest

from zephyr_utils import rewards
from zephyr_utils.errors import HandbookError

FEATURES = ("right", "complete", "length")
TRUE = np.array([2.0, -0.5, 0.1])


def comparisons(n, seed=0):
    """Differences of features, and the choices of a judge whose weights are `TRUE`."""
    draw = np.random.default_rng(seed)
    differences = draw.normal(size=(n, 3))
    chance = 1 / (1 + np.exp(-differences @ TRUE))
    return differences, (draw.random(n) < chance).astype(float)


def test_known_weights_are_found_again_within_their_errors():
    dissected = rewards.dissect_choices(*comparisons(4000), FEATURES)
    assert (np.abs(dissected.weights - TRUE) < 4 * dissected.standard_errors).all()
    assert (dissected.standard_errors < 0.1).all()
    assert dissected.n == 4000 and 0.75 < dissected.accuracy < 0.85


def test_the_weights_are_where_the_likelihoods_gradient_is_zero():
    """Newton's method, one comparison at a time."""
    differences, preferred = comparisons(200)
    weights = rewards.dissect_choices(differences, preferred, FEATURES).weights
    gradient = -0.01 * weights  # the weak prior's
    for row, choice in zip(differences, preferred, strict=True):
        gradient = gradient + row * (choice - 1 / (1 + math.exp(-row @ weights)))
    assert np.abs(gradient).max() < 1e-6


def test_errors_are_those_of_repeated_judgments():
    fits = [rewards.dissect_choices(*comparisons(500, seed), FEATURES) for seed in range(40)]
    spread = np.std([fit.weights for fit in fits], axis=0)
    said = np.mean([fit.standard_errors for fit in fits], axis=0)
    assert (np.abs(np.log(spread / said)) < math.log(1.5)).all()


def test_it_does_not_matter_which_answer_is_the_first():
    differences, preferred = comparisons(300)
    flipped = np.where(np.arange(300) % 2, 1, -1)
    other = rewards.dissect_choices(
        differences * flipped[:, None], np.where(flipped > 0, preferred, 1 - preferred), FEATURES
    )
    same = rewards.dissect_choices(differences, preferred, FEATURES)
    assert other.weights == pytest.approx(same.weights, abs=1e-6)
    assert other.standard_errors == pytest.approx(same.standard_errors, abs=1e-6)


def test_a_feature_that_decides_every_choice_gets_a_large_weight_that_is_finite():
    differences = np.array([[1.0], [2.0], [-1.0], [0.0]])
    dissected = rewards.dissect_choices(differences, [1, 1, 0, 1], ["right"])
    assert 3 < dissected.weights[0] < 30
    assert dissected.accuracy == pytest.approx(3.5 / 4), "of no difference half is right"


def test_correlation_is_pearsons_of_the_weights():
    one = rewards.dissect_choices(*comparisons(4000), FEATURES)
    differences, preferred = comparisons(4000, seed=1)
    same = rewards.dissect_choices(differences, preferred, FEATURES)
    against = rewards.dissect_choices(differences, 1 - preferred, FEATURES)
    assert one.correlation(same) > 0.99 and one.correlation(against) < -0.99
    with pytest.raises(HandbookError, match="by the same features"):
        one.correlation(rewards.dissect_choices(differences, preferred, ("a", "b", "c")))
    with pytest.raises(HandbookError, match="no correlation of 2 weights"):
        two = rewards.dissect_choices(differences[:, :2], preferred, FEATURES[:2])
        two.correlation(two)


@pytest.mark.parametrize(
    ("differences", "preferred", "message"),
    [
        (np.zeros((0, 3)), [], "nothing to compare"),
        (np.ones((2, 2)), [0, 1], r"\(2, 2\), choices of \(2,\), 3 features"),
        (np.eye(3), [0, 1], r"\(3, 3\), choices of \(2,\)"),
        (np.eye(3) * math.nan, [0, 1, 1], "9 of 9 differences are NaN"),
        (np.eye(3), [0, 0.5, 1], "1 of 3 choices are neither 0 nor 1"),
        (np.array([[1.0, 2, 0], [2, 4, 0], [3, 6, 1]]), [0, 1, 1], "3 features, of which 2"),
    ],
)
def test_what_cannot_be_told_is_refused(differences, preferred, message):
    with pytest.raises(HandbookError, match=message):
        rewards.dissect_choices(differences, preferred, FEATURES)
