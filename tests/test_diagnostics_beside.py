"""A log beside a healthy one: what policy and reference share shows in log-probabilities before the
first step.
"""

import pytest
import training_logs as logs
from training_logs import says
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.diagnostics import read_training_log, traffic_light

HEALTHY = read_training_log(logs.dpo())


def beside(rows):
    return traffic_light(read_training_log(rows), 0.1, HEALTHY)


def moved(chosen, rejected):
    """A run whose answers are less or more likely throughout, under policy and reference."""
    rows = logs.dpo()
    for row in logs.evaluations(rows):
        row["eval_logps/chosen"] += chosen
        row["eval_logps/rejected"] += rejected
    return rows


def swapped():
    rows = logs.dpo()
    for row in logs.evaluations(rows):
        for name in ("rewards", "logps"):
            a, b = f"eval_{name}/chosen", f"eval_{name}/rejected"
            row[a], row[b] = row[b], row[a]
    return rows


def test_a_run_of_the_same_model_on_the_same_text_is_green():
    verdict = beside(moved(0.5, -0.5))  # within one in a hundred
    assert verdict.colour == "green"
    assert says(verdict, "green", "those of the healthy run")


@pytest.mark.parametrize(
    ("rows", "phrase"),
    [
        (moved(-31.0, -30.6), "both answers differ by -31, so what they share counts"),
        (moved(-9.0, -2.0), "the same pairs are read as another text"),
        (moved(4.0, 0.0), "or by another model"),
        (swapped(), "chosen and rejected are swapped, held-out pairs included"),
    ],
)
def test_what_policy_and_reference_share_is_red_beside_a_healthy_run_and_says_why(rows, phrase):
    assert says(beside(rows), "red", phrase), str(beside(rows))


def test_a_wrong_template_alone_is_not_seen_without_the_healthy_run():
    assert traffic_light(read_training_log(moved(-9.0, -2.0)), 0.1).colour == "green"


@pytest.mark.parametrize("which", ["own", "healthy"])
def test_logs_that_begin_too_late_cannot_be_compared_and_say_which(which):
    late = [row for row in logs.dpo() if row["step"] >= 10]
    rows, known = (late, logs.dpo()) if which == "own" else (logs.dpo(), late)
    verdict = traffic_light(read_training_log(rows), 0.1, read_training_log(known))
    assert says(verdict, "amber", "no log-probabilities from before the first step")


def test_the_command_takes_the_log_of_a_healthy_run(tmp_path):
    for name, rows in (("healthy", logs.dpo()), ("mine", moved(-9.0, -2.0))):
        logs.write_json_lines(tmp_path / f"{name}.jsonl", rows)
    alone = ["check-log", str(tmp_path / "mine.jsonl"), "--beta", "0.1"]
    done = CliRunner().invoke(app, alone)
    assert done.exit_code == 0 and done.output.startswith("GREEN")
    done = CliRunner().invoke(app, [*alone, "--healthy", str(tmp_path / "healthy.jsonl")])
    assert done.exit_code == 1 and "read as another text" in " ".join(done.output.split())
