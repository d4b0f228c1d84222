"""Twenty steps of each stage go the way they went: not the end alone, which many ways lead to."""

import json

import pytest
from trajectory import EXPECTED, LOGGED, first_steps

# float32 on another processor, or with other threads, adds in another order; steps carry that on.
NEAR = {
    "loss": 2e-3,
    "grad_norm": 5e-2,
    "rewards/margins": 5e-3,
    "logps/chosen": 0.2,
    "logps/rejected": 0.2,
}


@pytest.fixture(scope="module")
def taken(tmp_path_factory) -> dict:
    return first_steps(tmp_path_factory.mktemp("trajectory"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "what"), [(stage, what) for stage, names in LOGGED.items() for what in names]
)
def test_each_of_the_first_steps_is_where_it_was(stage, what, taken):
    expected = json.loads(EXPECTED.read_text())
    stamp = expected["environment"]
    was, now = ([row[what] for row in rows[stage]] for rows in (expected, taken))
    assert len(now) == 20 and len({round(value, 6) for value in now}) > 10, "nothing moves"
    for step, (a, b) in enumerate(zip(was, now, strict=True), start=1):
        told = f"{stage}, step {step}: {what} was {a:.6g} with torch {stamp['torch']}, TRL {stamp['trl']}, peft {stamp['peft']}"
        assert b == pytest.approx(a, abs=NEAR[what]), told
