"""Runs that broke down though their numbers look like numbers, and numbers that contradict each
other: red, with the cause.
"""

import math

import pytest
import torch
import training_logs as logs
from training_logs import light, says

from zephyr_utils.diagnostics import read_training_log


# Runs that diverged, in the ways that writers store it.
def in_training(rows, **values):
    for row in logs.training_rows(rows)[6:]:
        row.update(values)


def in_evaluation(rows, **values):
    for row in logs.evaluations(rows)[6:]:
        row.update({f"eval_{name}": value for name, value in values.items()})


DIVERGED = {
    "null loss": lambda rows: in_training(rows, loss=None),
    "null rewards": lambda rows: in_training(rows, **{"rewards/chosen": None}),
    "null log-probabilities": lambda rows: in_evaluation(rows, **{"logps/rejected": None}),
    "null evaluation loss": lambda rows: in_evaluation(rows, loss=None),
    "a single null": lambda rows: logs.training_rows(rows)[4].update(loss=None),
    "the word NaN": lambda rows: in_training(rows, loss="NaN"),
    "infinity": lambda rows: in_training(rows, loss=math.inf),
    "the word -Infinity": lambda rows: in_evaluation(rows, **{"rewards/margins": "-Infinity"}),
    "a number beyond floats": lambda rows: in_training(rows, loss="1e400"),
    "a whole number of 400 digits": lambda rows: in_training(rows, loss=10**400),
    "a finite number of no meaning": lambda rows: in_training(rows, loss=3e38),
    "the norm alone": lambda rows: in_training(rows, grad_norm=math.nan),
    "all numbers null": lambda rows: in_training(
        rows, **{k: None for k in ("loss", "grad_norm", "rewards/margins", "rewards/chosen")}
    ),
}


@pytest.mark.parametrize("name", DIVERGED)
def test_a_diverged_run_is_red_however_its_nan_was_stored(name):
    rows = logs.dpo()
    DIVERGED[name](rows)
    verdict = light(rows)
    assert says(verdict, "red", "logged values are not finite numbers"), str(verdict)


def test_the_loss_that_is_null_in_every_row_never_was_a_number():
    rows = logs.dpo()
    for row in logs.training_rows(rows):
        row["loss"] = None
    assert says(light(rows), "red", "step 1: training loss is null in every row")


def test_divergence_is_named_by_its_first_step():
    rows = logs.dpo()
    in_training(rows, loss=None)
    assert says(light(rows), "red", "the first at step 60: training loss is null")
    assert read_training_log(rows).not_finite[0] == "step 60: training loss is null"


def climbs_for_good(rows):
    for row in logs.training_rows(rows)[6:]:
        row["loss"] = 4.0


def collapses_in_early_steps(rows):
    for row in logs.training_rows(rows)[1:]:
        row["loss"] = 2.5


def jumps_and_recovers(rows):
    logs.training_rows(rows)[3]["loss"] = 900.0


def evaluation_loss_explodes(rows):
    for row in logs.evaluations(rows)[5:]:
        row["eval_loss"] = 3.5


def norms(rows, dtype):
    """Gradient norms as a run in that precision logs them."""
    for i, row in enumerate(logs.training_rows(rows)):
        value = torch.tensor(1.234 * (i + 1) ** 1.7, dtype=dtype).item()
        row["grad_norm"] = float(f"{value:.6g}")


@pytest.mark.parametrize(
    ("dtype", "named"), [(torch.float16, True), (torch.bfloat16, False), (torch.float32, False)]
)
def test_a_run_that_diverges_with_gradients_in_float16_is_told_so(dtype, named):
    rows = logs.dpo()
    climbs_for_good(rows)
    norms(rows, dtype)
    assert says(light(rows), "red", "its gradients were in float16") == named
    assert says(light(rows), "red", "lower the learning rate") != named


def zero_in_mid_run(rows):
    for row in logs.training_rows(rows)[5:]:
        row |= {
            "loss": 0.0,
            "rewards/margins": 0.1,
            "rewards/rejected": row["rewards/chosen"] - 0.1,
        }


@pytest.mark.parametrize(
    ("change", "colour", "phrase"),
    [
        (climbs_for_good, "red", "the run diverged; lower the learning rate"),
        (collapses_in_early_steps, "red", "the training loss ends at 2.5"),
        (jumps_and_recovers, "amber", "the training loss jumps to 900 at step 30"),
        (evaluation_loss_explodes, "amber", "too high a learning rate"),
        (zero_in_mid_run, "red", "the training loss is exactly 0 in 6 rows"),
    ],
)
def test_losses_that_stay_finite_and_break_down_are_seen(change, colour, phrase):
    rows = logs.dpo()
    change(rows)
    assert says(light(rows), colour, phrase), str(light(rows))


# Numbers that cannot be true together.
def margins_of_training_rows_off(rows):
    for row in logs.training_rows(rows):
        row["rewards/margins"] += 0.5


def accuracies_in_percent(rows):
    for row in logs.evaluations(rows):
        row["eval_rewards/accuracies"] *= 100


def accuracies_below_0(rows):
    logs.training_rows(rows)[3]["rewards/accuracies"] = -0.2


def all_right_and_a_margin_below_0(rows):
    row = logs.evaluations(rows)[-1]
    row |= {"eval_rewards/accuracies": 1.0, "eval_rewards/margins": -0.5}
    row["eval_rewards/rejected"] = row["eval_rewards/chosen"] + 0.5


def losses_in_place_of_log_probabilities(rows):
    for row in logs.evaluations(rows):
        row["eval_logps/chosen"] *= -1


def loss_at_ln_2(rows):
    for row in logs.training_rows(rows):
        row["loss"] = 0.6931
        for name in ("chosen", "rejected", "margins"):
            row[f"rewards/{name}"] = 0.0
    for row in logs.evaluations(rows):
        row |= {f"eval_rewards/{name}": 0.0 for name in ("chosen", "rejected", "margins")}
        row |= {"eval_loss": 0.6931, "eval_logps/chosen": -120.0, "eval_logps/rejected": -140.0}


def loss_near_ln_2_without_rewards(rows):
    for i, row in enumerate(logs.training_rows(rows)):
        row["loss"] = 0.6931 + 1e-4 * (-1) ** i


def loss_constant_elsewhere(rows):
    for row in logs.training_rows(rows):
        row["loss"] = 0.5


def rewards_against_the_log_probabilities(rows):
    for row in logs.evaluations(rows):
        for name in ("chosen", "rejected"):
            row[f"eval_logps/{name}"] = -270 - row[f"eval_logps/{name}"]


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        (
            margins_of_training_rows_off,
            "margins are not chosen minus rejected in 11 of 11 training",
        ),
        (accuracies_in_percent, "outside 0 to 1: percentages"),
        (accuracies_below_0, "reach from -0.2"),
        (all_right_and_a_margin_below_0, "accuracy and margin contradict each other"),
        (losses_in_place_of_log_probabilities, "a log-probability cannot be above 0"),
        (loss_at_ln_2, "no parameter moved"),
        (loss_constant_elsewhere, "the training loss is 0.5000 in all 11 rows"),
        (rewards_against_the_log_probabilities, "policy and reference are exchanged"),
    ],
)
def test_numbers_that_contradict_each_other_are_red(change, phrase):
    rows = logs.dpo()
    change(rows)
    assert says(light(rows), "red", phrase), str(light(rows))


def test_a_loss_that_stays_at_ln_2_is_red_even_where_no_rewards_were_logged():
    rows = logs.without_evaluations(logs.dpo())
    loss_near_ln_2_without_rewards(rows)
    logs.without(rows, "/chosen", "/rejected", "margins")
    assert says(light(rows), "red", "stays at ln 2")


# What planted faults look like, after short real runs in the miniature.
def shifted(rows, chosen, rejected):
    """Rewards as they are when the reference gives every answer another log-probability."""
    for row in rows:
        for prefix in ("", "eval_"):
            if f"{prefix}rewards/chosen" in row:
                row[f"{prefix}rewards/chosen"] += chosen
                row[f"{prefix}rewards/rejected"] += rejected
                row[f"{prefix}rewards/margins"] += chosen - rejected


def test_a_reference_of_another_model_is_off_by_tens_of_nats():
    rows = logs.dpo()
    shifted(rows, 4.922, 4.482)
    verdict = light(rows)
    assert says(verdict, "red", "+49.2 and +44.8 nats per answer: the reference is another model")


def test_texts_read_in_another_way_are_off_by_a_few_nats():
    rows = logs.dpo()
    shifted(rows, -0.715, -0.649)
    verdict = light(rows)
    assert says(verdict, "red", "-7.15 and -6.49 nats per answer: policy and reference read the")
    assert says(verdict, "red", "a doubled BOS")


@pytest.mark.parametrize(("nats", "colour"), [(0.1, "green"), (0.25, "amber"), (0.6, "red")])
def test_a_start_that_is_off_by_part_of_a_nat_is_amber_and_by_rounding_green(nats, colour):
    rows = logs.dpo()
    shifted(rows, -0.1 * nats, -0.1 * nats)
    assert light(rows).colour == colour, str(light(rows))
    assert says(light(rows), "amber", "a doubled BOS") == (colour == "amber")


def test_without_log_probabilities_both_causes_of_a_wrong_start_are_named():
    rows = logs.dpo()
    shifted(rows, -0.8, -0.7)
    logs.without(rows, "logps")
    assert says(
        light(rows), "red", "another model than the starting point, or policy and reference"
    )


def test_an_sft_term_beside_dpo_hides_no_wrong_reference():
    rows = logs.dpo()
    shifted(rows, 4.9, 4.5)
    for row in logs.training_rows(rows):
        row["nll_loss"] = 1.1
    assert says(light(rows), "red", "the reference is another model")
    logs.without(rows, "logps")  # nothing proves then that there is a reference at all
    assert says(light(rows), "amber", "or there is none (nll_loss is logged")


def test_a_wrong_start_shows_in_a_log_that_begins_after_it():
    rows = [row for row in logs.dpo(n=40) if row["step"] >= 10]
    shifted(rows, -4.0, -3.8)
    verdict = light(rows)
    assert verdict.colour == "amber" and says(verdict, "amber", "rewards are already -4")


def test_pairs_swapped_in_one_of_the_two_sets_are_told_from_columns_exchanged():
    rows = logs.dpo()
    for row in logs.evaluations(rows):
        row["eval_rewards/chosen"], row["eval_rewards/rejected"] = (
            row["eval_rewards/rejected"],
            row["eval_rewards/chosen"],
        )
        row["eval_rewards/margins"] *= -1
        row["eval_rewards/accuracies"] = 1 - row["eval_rewards/accuracies"]
    assert says(light(rows), "red", "swapped in one of the two sets")
    for row in logs.training_rows(rows):
        row["rewards/chosen"], row["rewards/rejected"] = (
            row["rewards/rejected"],
            row["rewards/chosen"],
        )
        row["rewards/margins"] *= -1
    assert says(light(rows), "red", "swapped, in the data after training or in the columns")


def test_a_diverged_run_that_prefers_rejected_answers_is_not_called_swapped():
    rows = logs.dpo(fall=(-30.0, -10.0))
    collapses_in_early_steps(rows)
    verdict = light(rows)
    assert says(verdict, "red", "on training pairs as well, as the run diverged")
    assert "swapped" not in str(verdict)


def test_few_examples_that_are_half_right_are_amber_and_many_are_red():
    rows = logs.dpo()
    for row, right in zip(
        logs.evaluations(rows), [0, 21, 22, 23, 21, 22, 23, 21, 22, 23, 22], strict=True
    ):
        row["eval_rewards/accuracies"] = right / 48
    assert says(light(rows), "amber", "on 48 examples: too few to tell")
    for row in logs.evaluations(rows):
        row["eval_rewards/accuracies"] = 0.46123
        row["eval_samples_per_second"] *= 20
    assert says(light(rows), "red", "no better than guessing")


@pytest.mark.parametrize(("examples", "colour"), [(1, "amber"), (9, "amber"), (10, "red")])
def test_a_margin_below_0_on_a_handful_of_timed_examples_is_amber(examples, colour):
    rows = logs.dpo()
    for row in logs.evaluations(rows):
        moved = row["step"] > 0
        row |= {"eval_rewards/margins": -0.01 * moved, "eval_rewards/accuracies": 0.0}
        row |= {"eval_runtime": 1.5, "eval_samples_per_second": round(examples / 1.5, 3)}
    verdict = light(rows)
    assert any(
        r.colour == colour and "the mean margin is -0.010" in r.text for r in verdict.reasons
    )


def test_a_log_of_the_first_evaluation_alone_is_amber_and_not_red():
    rows = [row for row in logs.dpo() if row["step"] == 0]
    verdict = light(rows)
    assert verdict.colour == "amber", str(verdict)


def test_the_first_loss_decides_only_where_no_rewards_were_logged():
    rows = logs.dpo("hinge")
    logs.without([logs.training_rows(rows)[0], logs.evaluations(rows)[0]], "rewards")
    assert says(light(rows), "amber", "another loss than DPO's sigmoid was used, or")
    rows = logs.dpo()
    logs.training_rows(rows)[0]["loss"] = logs.evaluations(rows)[0]["eval_loss"] = 1.4
    logs.without([logs.training_rows(rows)[0], logs.evaluations(rows)[0]], "rewards")
    assert says(light(rows), "red", "the policy did not begin at its reference")
