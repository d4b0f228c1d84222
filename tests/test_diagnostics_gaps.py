"""Logs that are not whole: never green, and the reason says what is missing."""

import json
import math

import pytest
import training_logs as logs
from training_logs import light, says

from zephyr_utils.diagnostics import read_training_log, traffic_light


# Logs that are not whole.
def first_third_missing(rows):
    del rows[: len(rows) // 3]


def hole_in_the_middle(rows):
    rows[:] = [row for row in rows if not 30 < row["step"] < 80]


def evaluations_stop_half_way(rows):
    rows[:] = [row for row in rows if "eval_loss" not in row or row["step"] <= 50]


def a_single_evaluation(rows):
    rows[:] = [row for row in rows if "eval_loss" not in row or row["step"] == 100]


def rewards_no_longer_logged(rows):
    logs.without(logs.evaluations(rows)[6:], "rewards")


def rejected_side_missing(rows):
    logs.without(rows, "rejected")


def log_probabilities_missing(rows):
    logs.without(rows, "logps")


def training_rows_missing(rows):
    rows[:] = logs.evaluations(rows)


def steps_missing(rows):
    logs.without(rows, "step")


def resumed_from_a_checkpoint(rows):
    again = [dict(row) for row in rows if row["step"] > 50 and "train_runtime" not in row]
    rows[-1:] = again


def a_second_run_appended(rows):
    rows += [dict(row) for row in rows]


def reversed_by_an_export(rows):
    rows.reverse()


def written_by_two_processes(rows):
    rows[:] = [dict(row) for row in rows for _ in range(2)]


def two_evaluation_sets(rows):
    second = [dict(row, **{"eval_loss": row["eval_loss"] + 0.1}) for row in logs.evaluations(rows)]
    rows[:] = sorted([*rows, *second], key=lambda row: row["step"])


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        (first_third_missing, "its beginning is missing"),
        (hole_in_the_middle, "nothing was logged between step 30 and 80"),
        (evaluations_stop_half_way, "the evaluations end at step 50, the training rows at 100"),
        (a_single_evaluation, "there is a single evaluation, at step 100"),
        (rewards_no_longer_logged, "evaluation rewards/margins is missing in 5 of 11 rows"),
        (rejected_side_missing, "have no rewards/rejected, logps/rejected"),
        (log_probabilities_missing, "have no logps/chosen, logps/rejected"),
        (training_rows_missing, "there is no training loss"),
        (steps_missing, "the rows have no step"),
        (resumed_from_a_checkpoint, "steps go backwards from 100 to 60: a resumed run"),
        (a_second_run_appended, "steps go backwards from 100 to 1"),
        (reversed_by_an_export, "rows are in reverse order"),
        (written_by_two_processes, "11 training rows have the step of the row before"),
        (two_evaluation_sets, "several processes or evaluation sets"),
    ],
)
def test_a_log_that_is_not_whole_is_amber_and_says_what_is_missing(change, phrase):
    rows = logs.dpo()
    change(rows)
    verdict = light(rows)
    assert verdict.colour == "amber", str(verdict)
    assert says(verdict, "amber", phrase), str(verdict)


def test_an_unfinished_run_is_amber_by_its_planned_steps(tmp_path):
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"max_steps": 200, "log_history": logs.dpo()[:-1]}))
    verdict = traffic_light(read_training_log(path))
    assert verdict.colour == "amber" and says(verdict, "amber", "ends at step 100 of 200")
    path.write_text(json.dumps({"max_steps": 102, "log_history": logs.dpo()[:-1]}))
    assert traffic_light(read_training_log(path)).colour == "green"


def test_of_steps_logged_twice_the_last_pass_is_judged():
    rows = logs.dpo()
    first_pass = [dict(row) for row in rows if "train_runtime" not in row]
    for row in logs.training_rows(first_pass)[7:]:
        row["loss"] = math.nan  # diverged, and went on from the checkpoint of step 60
    log = read_training_log([*first_pass, *[row for row in rows if row["step"] > 60]])
    assert log.not_finite == ()
    assert log.training["step"].tolist() == [1, *range(10, 101, 10)]
    assert log.n_superseded == 8
    assert traffic_light(log).colour == "amber"


def test_every_row_is_accounted_for():
    rows = logs.dpo()
    resumed_from_a_checkpoint(rows)
    rows += [{"step": 100, "gpu_memory": 12.0}, {"step": 100}, {"train_runtime": 3.0, "step": 100}]
    log = read_training_log(rows)
    used = log.training["step"].size + log.evaluation["step"].size
    counted = used + log.n_superseded + log.n_other + log.n_summaries + log.n_unreadable
    assert (counted, log.n_other, log.n_summaries) == (log.n_rows, 2, 1)
    assert log.n_rows == len(rows)
