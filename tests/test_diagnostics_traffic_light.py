"""The traffic light: published runs are green, and every way of breaking one is seen."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.diagnostics import TrainingLogError, read_training_log, traffic_light
from zephyr_utils.published import ZEPHYR_DPO_LOG


def run(n=12, accuracy=0.7, beta=0.1, chosen_fall=1.0, rejected_fall=3.0):
    """Rows of a healthy run: rewards follow the log-probabilities, the margin grows, the accuracy
    holds.
    """
    rows = [{"loss": math.log(2), "learning_rate": 1e-5, "epoch": 0.0, "step": 1}]
    for i in range(1, n + 1):
        place = {"step": 10 * i, "epoch": i / n}
        rewards = [-beta * chosen_fall * i, -beta * rejected_fall * i]
        loss = 0.01 + float(np.logaddexp(0, rewards[1] - rewards[0]))
        rows.append({"loss": loss, "learning_rate": 1e-5 * (1 - i / n), **place})
        rows.append(
            {
                "eval_loss": loss,
                "eval_rewards/chosen": rewards[0],
                "eval_rewards/rejected": rewards[1],
                "eval_rewards/margins": rewards[0] - rewards[1],
                "eval_rewards/accuracies": accuracy,
                "eval_logps/chosen": -100 - chosen_fall * i,
                "eval_logps/rejected": -110 - rejected_fall * i,
                **place,
            }
        )
    return rows


def light(rows, **keywords):
    return traffic_light(read_training_log(rows), **keywords)


def evaluations(rows):
    return [row for row in rows if "eval_loss" in row]


def test_zephyrs_own_log_is_green_and_what_frightens_is_explained():
    found = traffic_light(read_training_log(ZEPHYR_DPO_LOG), beta=0.1)
    text = str(found)
    assert max(map(len, text.splitlines())) <= 88  # what a page shows in one line
    assert found.colour == "green"
    for phrase in (
        "evaluation loss rises",
        "less likely",
        "end of epoch 1",
        "end of epoch 2",
        "64 examples",
    ):
        assert phrase in text


def test_a_healthy_run_is_green():
    assert light(run(), beta=0.1).colour == "green"


def swapped(rows):
    for row in evaluations(rows):
        row["eval_rewards/chosen"], row["eval_rewards/rejected"] = (
            row["eval_rewards/rejected"],
            row["eval_rewards/chosen"],
        )
        row["eval_logps/chosen"], row["eval_logps/rejected"] = (
            row["eval_logps/rejected"],
            row["eval_logps/chosen"],
        )
        row["eval_rewards/margins"] *= -1
        row["eval_rewards/accuracies"] = 0.3


def overflowed(rows):
    rows[5]["loss"] = math.nan


def zero_from_the_start(rows):
    rows[0]["loss"] = 0.0


def started_elsewhere(rows):
    rows[0]["loss"] = 1.4


def other_reference(rows):
    rows.insert(
        1,
        evaluations(rows)[0]
        | {"step": 0, "eval_rewards/chosen": -2.0, "eval_rewards/margins": -1.7},
    )


def frozen(rows):
    for row in evaluations(rows):
        row |= {
            "eval_rewards/chosen": 0.0,
            "eval_rewards/rejected": -0.001,
            "eval_rewards/margins": 0.001,
            "eval_logps/chosen": -100.0,
            "eval_logps/rejected": -110.01,
        }


def without_beta(rows):
    for row in evaluations(rows):
        row |= {f"eval_rewards/{name}": 0.0 for name in ("chosen", "rejected", "margins")}


def no_learning_rate(rows):
    for row in rows:
        if "learning_rate" in row:
            row["learning_rate"] = 0.0


def mixed_columns(rows):
    for row in evaluations(rows):
        row["eval_rewards/margins"] += 1


def guessing(rows):
    for row in evaluations(rows):
        row["eval_rewards/accuracies"] = 0.49


@pytest.mark.parametrize(
    ("breakage", "phrase"),
    [
        (swapped, "rejected answers are preferred"),
        (overflowed, "step 30: training loss is nan"),
        (zero_from_the_start, "exactly 0"),
        (started_elsewhere, "not ln 2"),
        (other_reference, "the reference is another model"),
        (frozen, "no parameter moved"),
        (without_beta, "beta is 0 or nearly so"),
        (no_learning_rate, "learning rate is 0"),
        (mixed_columns, "columns are mixed up"),
        (guessing, "no better than guessing"),
    ],
)
def test_a_broken_run_is_red_and_says_why(breakage, phrase):
    rows = run()
    breakage(rows)
    found = light(rows)
    assert found.colour == "red"
    assert any(reason.colour == "red" and phrase in reason.text for reason in found.reasons), str(
        found
    )
    assert found.reasons[0].colour == "red"


def test_another_beta_than_the_intended_one_is_red():
    found = light(run(beta=0.1), beta=0.5)
    assert found.colour == "red" and "implies beta 0.1000" in str(found)


@pytest.mark.parametrize("beta", [0.0, -0.1, math.nan, math.inf])
def test_a_beta_that_no_run_can_use_is_an_error(beta):
    with pytest.raises(TrainingLogError, match="beta is above zero"):
        light(run(), beta=beta)


def test_an_accuracy_hardly_above_one_half_is_amber():
    assert light(run(accuracy=0.53)).colour == "amber"


def test_an_accuracy_that_falls_is_amber():
    rows = run()
    for row, accuracy in zip(evaluations(rows), np.linspace(0.85, 0.65, 12), strict=True):
        row["eval_rewards/accuracies"] = accuracy
    found = light(rows)
    assert found.colour == "amber" and "the accuracy fell from 0.83 to 0.67" in str(found)


def test_chosen_answers_that_lose_most_of_their_likelihood_are_amber():
    found = light(run(chosen_fall=6.0, rejected_fall=9.0))
    assert found.colour == "amber" and "far more than usual" in " ".join(str(found).split())


def test_a_reference_that_changed_during_the_run_is_amber():
    rows = run()
    for row in evaluations(rows)[6:]:
        row["eval_rewards/chosen"] += 1.5
        row["eval_rewards/margins"] += 1.5
    found = light(rows)
    assert found.colour == "amber" and "changed during the run" in str(found)


def test_a_run_without_evaluations_is_amber():
    rows = [
        {"loss": 0.69, "rewards/chosen": 0.0, "rewards/margins": 0.1, "step": step}
        for step in (10, 20)
    ]
    found = light(rows)
    assert found.colour == "amber" and "no evaluation rows" in str(found)


def test_the_log_of_a_dsft_run_is_not_judged():
    with pytest.raises(TrainingLogError, match="not the log of a preference run"):
        light([{"loss": 1.2, "step": 10}, {"eval_loss": 1.1, "step": 10}])


def test_the_command_prints_the_light_and_ends_with_status_1_on_red(tmp_path):
    zephyr = CliRunner().invoke(app, ["check-log", str(ZEPHYR_DPO_LOG), "--beta", "0.1"])
    assert zephyr.exit_code == 0 and zephyr.stdout.startswith("GREEN")
    rows = run()
    swapped(rows)
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": rows}))
    broken = CliRunner().invoke(app, ["check-log", str(path)])
    assert broken.exit_code == 1 and "rejected answers are preferred" in " ".join(
        broken.stdout.split()
    )
