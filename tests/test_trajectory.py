"""Twenty steps of each stage go the way they went: not the end alone, which many ways lead to."""

import json

import pytest
from trajectory import EXPECTED, LOGGED, first_steps, mean_residual

# float32 on another processor, or with other threads, adds in another order; steps carry that on.
# Between AVX2 and AVX-512 no step differs by more than 6e-6.
NEAR = {
    "loss": 2e-3,
    "grad_norm": 5e-2,
    "rewards/margins": 5e-3,
    "logps/chosen": 0.2,
    "logps/rejected": 0.2,
}
# Rounding errs to both sides. A term that is left out, or a row that counts twice, shifts all steps
# to one side, by less than any single step shows.
SHIFT = {name: near / 40 for name, near in NEAR.items()}
SERIES = [(stage, what) for stage, names in LOGGED.items() for what in names]


@pytest.fixture(scope="module")
def taken(tmp_path_factory) -> dict:
    return first_steps(tmp_path_factory.mktemp("trajectory"))


@pytest.fixture(scope="module")
def expected() -> dict:
    return json.loads(EXPECTED.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "what"), SERIES)
def test_each_of_the_first_steps_is_where_it_was(stage, what, taken, expected):
    stamp = expected["environment"]
    was, now = ([row[what] for row in rows[stage]] for rows in (expected, taken))
    assert len(now) == 20 and len({round(value, 6) for value in now}) > 10, "nothing moves"
    versions = f"torch {stamp['torch']}, TRL {stamp['trl']}, peft {stamp['peft']}"
    for step, (a, b) in enumerate(zip(was, now, strict=True), start=1):
        message = f"{stage}, step {step}: {what} was {a:.6g} with {versions}"
        assert b == pytest.approx(a, abs=NEAR[what]), message


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "what"), SERIES)
def test_what_differs_from_the_kept_steps_differs_to_both_sides(stage, what, taken, expected):
    shift = mean_residual(expected[stage], taken[stage], what)
    assert abs(shift) <= SHIFT[what], f"{stage}: all steps of {what} are shifted by {shift:+.2g}"


@pytest.mark.parametrize(("stage", "what"), SERIES)
def test_a_shift_of_all_steps_that_no_single_step_shows_would_be_found(stage, what, expected):
    kept = expected[stage]
    error = NEAR[what] / 10
    shifted = [row | {what: row[what] + error} for row in kept]
    scattered = [row | {what: row[what] + error * (-1) ** n} for n, row in enumerate(kept)]
    assert abs(mean_residual(kept, shifted, what)) > SHIFT[what]
    assert abs(mean_residual(kept, scattered, what)) < SHIFT[what]
