"""Logs of trainers other than TRL are read under its names, or refused for the true reason."""

import json

import numpy as np
import pytest
import training_logs as logs
from training_logs import says, write_json_lines

from zephyr_utils.diagnostics import TrainingLogError, read_training_log, traffic_light

CORE = ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")


def renamed(rows, names, kinds=("", "eval_"), prefixes=("train/", "eval/")):
    """Rows with only these columns, under another trainer's names and prefixes."""
    made = []
    for row in rows:
        is_evaluation = "eval_loss" in row
        if "train_runtime" in row:
            continue
        own, prefix = kinds[is_evaluation], prefixes[is_evaluation]
        cells = {prefix + new: row[own + old] for old, new in names.items() if own + old in row}
        made.append({**cells, "global_step": row["step"]})
    return made


OPENRLHF = {
    "loss": "loss",
    "rewards/chosen": "chosen_reward",
    "rewards/rejected": "reject_reward",
    "rewards/accuracies": "acc",
    "learning_rate": "lr",
}
NEMO = {
    "loss": "loss",
    "rewards/chosen": "rewards_chosen_mean",
    "rewards/rejected": "rewards_rejected_mean",
    "rewards/accuracies": "accuracy",
    "learning_rate": "lr",
}
TORCHTUNE = {
    **{name: name for name in CORE},
    "logps/chosen": "log_probs/chosen",
    "logps/rejected": "log_probs/rejected",
    "learning_rate": "lr",
}
OPEN_INSTRUCT = {
    **{name: name for name in CORE[:3]},
    "rewards/margins": "rewards/margin",
    "rewards/accuracies": "rewards/accuracy",
    "logps/chosen": "logps/chosen",
    "logps/rejected": "logps/rejected",
}
VERL = {
    "loss": "loss",
    "rewards/chosen": "chosen_rewards",
    "rewards/rejected": "rejected_rewards",
    "rewards/margins": "reward_margin",
    "rewards/accuracies": "reward_accuracy",
    "logps/chosen": "policy_chosen_logps",
    "logps/rejected": "policy_rejected_logps",
}


def openrlhf():
    rows = renamed(logs.without_evaluations(logs.dpo()), OPENRLHF)
    for row in rows:  # a running mean that begins at 0, which is not an accuracy of these pairs
        row |= {"train/acc_mean": 0.05, "train/loss_mean": 0.07}
    later = [row for row in logs.evaluations(logs.dpo()) if row["step"]]
    return rows + [
        {
            "eval/eval_loss": row["eval_loss"],
            "eval/acc_mean": row["eval_rewards/accuracies"],
            "eval/global_step": row["step"],
        }
        for row in later
    ]


def paper():
    """As the DPO paper's code logs to Weights & Biases."""
    rows = []
    for row in logs.dpo()[:-1]:
        own, kind = ("eval_", "eval") if "eval_loss" in row else ("", "train")
        cells = {
            f"{family}_{kind}/{rest}": row[f"{own}{family}/{rest}"]
            for family, rest in (name.split("/") for name in (*CORE[1:], "logps/chosen"))
        }
        rows.append({**cells, f"loss/{kind}": row[f"{own}loss"], "_step": row["step"]})
    return rows


TRAINERS = {
    "openrlhf": openrlhf(),
    "paper": paper(),
    "nemo": renamed(logs.dpo(), NEMO, prefixes=("train/", "validation/")),
    "torchtune": renamed(logs.without_evaluations(logs.dpo()), TORCHTUNE, prefixes=("", "")),
    "open-instruct": renamed(logs.dpo(), OPEN_INSTRUCT, prefixes=("", "eval/")),
    "verl": renamed(logs.dpo(), VERL, prefixes=("actor/", "val/")),
}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_numbers_of_another_trainer_are_read_under_the_names_of_trl(tmp_path, trainer):
    path = tmp_path / "log.jsonl"
    write_json_lines(path, TRAINERS[trainer])
    log, known = read_training_log(path), read_training_log(logs.dpo())
    checked = set()
    for name in CORE:
        if name in log.training:
            assert log.training[name].tolist() == known.training[name].tolist(), name
            checked.add(name)
    assert {"loss", "rewards/chosen", "rewards/rejected", "rewards/accuracies"} <= checked
    assert traffic_light(log).colour != "red"


def test_the_evaluations_of_openrlhf_are_read_with_their_accuracy():
    log = read_training_log(openrlhf())
    known = read_training_log(logs.dpo())
    assert log.evaluation["loss"].tolist() == known.evaluation["loss"][1:].tolist()
    accuracies = known.evaluation["rewards/accuracies"][1:]
    assert log.evaluation["rewards/accuracies"].tolist() == accuracies.tolist()


@pytest.mark.parametrize("loss", ["preference_loss", "dpo_loss", "kto_loss"])
def test_the_loss_of_the_pairs_is_the_loss_where_no_other_is_logged(loss):
    rows = renamed(logs.without_evaluations(logs.dpo()), OPENRLHF | {"loss": loss})
    known = read_training_log(logs.dpo())
    assert read_training_log(rows).training["loss"].tolist() == known.training["loss"].tolist()
    both = [{**row, "train/loss": 1 + row[f"train/{loss}"]} for row in rows]
    expected = 1 + known.training["loss"]
    assert np.allclose(read_training_log(both).training["loss"], expected)


@pytest.mark.parametrize("name", ["acc", "accuracy", "acc_mean"])
def test_an_accuracy_without_rewards_of_pairs_makes_no_preference_log(name):
    rows = [{"eval/loss": 0.5, f"eval/{name}": 0.8, "step": i} for i in range(5)]
    with pytest.raises(TrainingLogError, match="losses and no rewards"):
        traffic_light(read_training_log(rows))


@pytest.mark.parametrize("trainer", ["openrlhf", "nemo", "verl-like"])
def test_what_may_be_the_scores_of_a_reward_model_is_named_unless_the_start_proves_a_policy(
    trainer,
):
    names = {"openrlhf": OPENRLHF, "nemo": NEMO, "verl-like": dict(list(VERL.items())[:5])}[trainer]
    rows = renamed(logs.without_evaluations(logs.dpo()), names)
    assert not says(traffic_light(read_training_log(rows)), "amber", "scores of a reward model")
    late = traffic_light(read_training_log(rows[2:]))
    assert says(late, "amber", "may be the scores of a reward model")
    assert says(late, "amber", "does not begin before the first step")
    with_sft = [row | {"train/sft_loss": 1.5} for row in rows[2:]]
    assert not says(traffic_light(read_training_log(with_sft)), "amber", "reward model")


def test_the_log_of_a_reward_model_of_openrlhf_is_refused_as_that():
    rows = openrlhf()
    rows[-1] |= {"eval/reward_mean": 0.3, "eval/reward_std": 1.2}
    with pytest.raises(TrainingLogError, match=r"the training of a reward model.*reward_std"):
        traffic_light(read_training_log(rows))


# --- numbers as people write them -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cell", "what"),
    [
        ("epoch", "0,05", "a number with a decimal comma"),
        ("loss", "-0,693", "a number with a decimal comma"),
        ("rewards/chosen", "1,5e-3", "a number with a decimal comma"),
        ("learning_rate", ",5", "a number with a decimal comma"),
        ("step", "1,200", "a decimal comma or a thousands separator"),
        ("step", "1,234,567", "thousands separators"),
        ("logps/chosen", "-1.234,5", "thousands separators"),
        ("step", "12 000", "thousands separators"),
        ("step", "12\u202f000", "thousands separators"),
        ("step", "12'000", "thousands separators"),
        ("rewards/accuracies", "55 %", "a percentage"),
        ("rewards/accuracies", "55,5%", "a percentage"),
        ("epoch", "first", "not a number"),
        ("loss", "1.2.3", "not a number"),
    ],
)
def test_a_number_written_for_people_is_refused_by_its_column_and_spelling(column, cell, what):
    row = {"step": 1, "loss": 0.6, column: cell}
    with pytest.raises(TrainingLogError) as refused:
        read_training_log([{"step": 0, "loss": 0.69}, row])
    assert f"row 2, column {column}: {column} is " in str(refused.value)
    assert what in str(refused.value)


# --- logs of one or two rows ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2])
def test_a_log_of_one_or_two_rows_says_what_it_cannot_show(n):
    rows = logs.training_rows(logs.without_evaluations(logs.dpo()))
    late = traffic_light(read_training_log(rows[2 : 2 + n]))
    assert says(late, "amber", f"only {n} row{'s' * (n > 1)} with rewards or accuracies")
    assert says(late, "amber", "whether the policy began at its reference is not")
    start = traffic_light(read_training_log(rows[:n]))
    assert says(start, "amber", "and the start")
    assert not any("did not fall" in reason.text for reason in late.reasons)
    whole = traffic_light(read_training_log(rows[:3]))
    assert not says(whole, "amber", "too short a log")


@pytest.mark.parametrize(
    "cells",
    [
        {"rewards/margins": -0.02, "rewards/chosen": -0.01, "rewards/rejected": 0.01},
        {"rewards/accuracies": 0.25, "rewards/chosen": 0.03, "rewards/rejected": 0.02},
        {"rewards/accuracies": 0.5},
    ],
)
def test_one_or_two_training_batches_are_not_proof_of_swapped_pairs(cells):
    rows = [{"step": 40 + i, "loss": 0.69, **cells} for i in range(3)]
    short = traffic_light(read_training_log(rows[:2]))
    assert says(short, "amber", "one or two batches, too few to tell")
    assert short.colour == "amber"
    assert traffic_light(read_training_log(rows)).colour == "red"


def test_a_contradiction_is_red_in_a_log_of_one_row():
    row = {"step": 40, "loss": 0.6, "rewards/chosen": 0.1, "rewards/rejected": -0.1}
    light = traffic_light(read_training_log([row | {"rewards/margins": 0.7}]))
    assert says(light, "red", "margins are not chosen minus rejected")


def test_the_command_says_too_short_for_a_log_of_one_row(tmp_path):
    from typer.testing import CliRunner

    from zephyr_utils.cli import app

    path = tmp_path / "log.json"
    path.write_text(json.dumps([{"step": 40, "loss": 0.6, "rewards/margins": 0.1}]))
    result = CliRunner().invoke(app, ["check-log", str(path)])
    assert result.exit_code == 0 and "only 1 row with rewards" in result.output
