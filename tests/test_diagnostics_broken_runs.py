"""The nine real logs: what the traffic light says of each, and that none was made by hand."""

import json
import math

import pytest
from broken_runs import UPDATES, kept_rows
from training_logs import says

from zephyr_utils.diagnostics import implied_beta, read_training_log, traffic_light
from zephyr_utils.diagnostics.broken_runs import (
    FAULTS,
    FOLDER,
    LETTERS,
    RUN_BETA,
    RUN_RATE,
    broken_run,
    log_path,
)
from zephyr_utils.errors import HandbookError

LOGS = {fault: read_training_log(broken_run(letter)) for letter, fault in LETTERS.items()}
ALONE = {
    "healthy": ("green", "the policy began at its reference"),
    "reference": ("red", "the reference is another model than the starting point"),
    "beta": ("red", "another setting was used"),
    "bos": ("amber", "-0.25 nats per answer"),
    "half precision": ("red", "its gradients were in float16"),
    "learning rate": ("red", "the run diverged; lower the learning rate"),
    "swapped": ("red", "chosen and rejected are swapped in one of the two sets"),
}


@pytest.mark.parametrize("fault", ALONE)
def test_the_traffic_light_names_a_fault_that_the_log_alone_shows(fault):
    colour, phrase = ALONE[fault]
    verdict = traffic_light(LOGS[fault], RUN_BETA)
    assert says(verdict, colour, phrase), str(verdict)


def test_the_healthy_run_is_green_with_and_without_beta():
    assert traffic_light(LOGS["healthy"]).colour == "green"
    assert traffic_light(LOGS["healthy"], RUN_BETA).colour == "green"


@pytest.mark.parametrize(
    ("fault", "phrase"),
    [("mask", "the prompt: its mask is off"), ("template", "are read as another text")],
)
def test_what_policy_and_reference_share_is_red_beside_the_healthy_run_alone(fault, phrase):
    assert traffic_light(LOGS[fault], RUN_BETA).colour == "green"
    assert says(traffic_light(LOGS[fault], RUN_BETA, LOGS["healthy"]), "red", phrase)


def test_a_counted_prompt_cancels_in_every_margin():
    mask, healthy = (LOGS[name].evaluation["rewards/margins"] for name in ("mask", "healthy"))
    assert mask == pytest.approx(healthy, abs=2e-3)


def test_the_beta_that_was_in_force_is_a_hundredth():
    assert implied_beta(LOGS["beta"]).beta == pytest.approx(RUN_BETA / 100, rel=0.01)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_log_goes_from_before_the_first_step_to_the_last(fault):
    step = LOGS[fault].evaluation.get("step", LOGS[fault].training["step"])
    assert step[0] == 0 and LOGS[fault].training["step"][-1] == UPDATES
    assert log_path(fault).stat().st_size < 8000


def test_each_fault_has_one_letter_and_an_unknown_letter_is_refused():
    assert sorted(LETTERS.values()) == sorted(FAULTS)
    with pytest.raises(HandbookError, match="no run of that name"):
        broken_run("Z")


def test_a_kept_row_has_null_for_nan_and_none_of_the_timings():
    rows = [
        {"loss": math.nan, "logps/chosen": -1.23456789, "num_tokens": 5.0, "step": 1},
        {"eval_loss": 0.7, "eval_runtime": 3.0, "eval_steps_per_second": 2.0, "step": 0},
        {"train_runtime": 9.0, "epoch": 1.0, "step": 1},
    ]
    assert kept_rows(rows) == [
        {"loss": None, "logps/chosen": -1.23457, "step": 1.0},
        {"eval_loss": 0.7, "step": 0.0},
    ]


def test_the_stamp_says_what_made_the_logs():
    stamp = json.loads((FOLDER / "stamp.json").read_text(encoding="utf-8"))
    assert (stamp["beta"], stamp["learning_rate"]) == (RUN_BETA, RUN_RATE)
    assert stamp["updates"] == UPDATES and len(stamp["dsft_model_sha256"]) == 64
    assert {"torch", "trl"} <= set(stamp["environment"])
