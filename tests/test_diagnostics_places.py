"""Steps, epochs and planned steps that no run has: refused by the row, or said; never green."""

import copy
import json
import math

import pytest
import training_logs as logs
from training_logs import light

from zephyr_utils.diagnostics import TrainingLogError, read_training_log, traffic_light

MIDDLE = 11  # of the rows of logs.dpo(): an evaluation


def changed(number=MIDDLE, **cells):
    rows = copy.deepcopy(logs.dpo())
    rows[number] |= cells
    return rows


@pytest.mark.parametrize(
    "step", [1e300, -5, "-5", 10**400, math.inf, "inf", "1e300", -math.inf, 2**60]
)
@pytest.mark.parametrize("number", [0, MIDDLE, -2])
def test_a_step_that_no_run_has_is_refused_with_its_row(step, number):
    row = number % len(logs.dpo()) + 1
    with pytest.raises(TrainingLogError, match=rf"row {row}, column step: step is .*0 to 9e\+15"):
        read_training_log(changed(number, step=step))


@pytest.mark.parametrize("epoch", [1e300, -3, "-0.5", math.inf])
def test_an_epoch_that_no_run_has_is_refused_with_its_row(epoch):
    with pytest.raises(TrainingLogError, match="row 12, column epoch: epoch is"):
        read_training_log(changed(epoch=epoch))


@pytest.mark.parametrize("step", ["step 40", "40/", True, [3]])
def test_a_step_that_is_text_is_refused_with_its_row(step):
    with pytest.raises(TrainingLogError, match=r"row 12, column step: step is .*not a number"):
        read_training_log(changed(step=step))


@pytest.mark.parametrize("step", [math.nan, "NaN", None, ""])
def test_rows_without_a_step_among_rows_with_one_are_counted(step):
    verdict = light(changed(step=step))
    assert verdict.colour == "amber"
    expected = "1 of 11 evaluation rows are without a step (the first: row 6)"
    assert [r.text[: len(expected)] for r in verdict.reasons if r.colour == "amber"] == [expected]


def test_steps_that_go_backwards_are_said_and_are_not_green():
    verdict = light(changed(step=5))
    assert verdict.colour in ("amber", "red")
    assert any("go backwards" in reason.text for reason in verdict.reasons)


@pytest.mark.parametrize(("planned", "colour"), [(100, "green"), (-1, "green"), (60, "amber"),
                                                 ("60", "amber"), ("200", "amber")])  # fmt: skip
def test_a_plan_that_the_log_contradicts_is_said(tmp_path, planned, colour):
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"max_steps": planned, "log_history": logs.dpo()}))
    verdict = traffic_light(read_training_log(path))
    assert verdict.colour == colour
    if float(planned) == 60:
        assert "goes on to step 100, though 60 were planned" in str(verdict).replace("\n    ", " ")


@pytest.mark.parametrize("planned", [-1, 0, 1e300])
def test_planned_steps_that_say_nothing_are_passed_over(planned):
    rows = [row | {"total_steps": planned} for row in logs.dpo()]
    assert math.isnan(read_training_log(rows).planned_steps)


def test_a_learning_rate_below_zero_is_red():
    rows = [row | {"learning_rate": -1e-5} if "learning_rate" in row else row for row in logs.dpo()]
    verdict = light(rows)
    assert verdict.colour == "red" and "learning rate is -1e-05" in verdict.reasons[0].text
