"""Verdicts over logs of every trainer and loss type: what is healthy, what is broken though its
numbers look like numbers, and what is no preference log at all.
"""

import json
import math

import numpy as np
import pytest
import training_logs as logs

from zephyr_utils.diagnostics import TrainingLogError, read_training_log, traffic_light


def light(rows, **keywords):
    return traffic_light(read_training_log(rows), **keywords)


def says(verdict, colour, phrase):
    return any(r.colour == colour and phrase in r.text for r in verdict.reasons)


LEARNS_SPPO = {"fall": (4.0, -4.0), "spread": 1.0}  # towards 0.5 / beta on each side
HEALTHY = {
    "dpo sigmoid": (logs.dpo(), "the policy began at its reference"),
    "dpo hinge": (logs.dpo("hinge"), "a first loss of 1 is that of hinge or APO"),
    "dpo ipo": (logs.dpo("ipo"), "a first loss of 25 is that of IPO"),
    "dpo ipo, beta 0.5": (logs.dpo("ipo", beta=0.5), "is that of hinge or APO or IPO"),
    "dpo exo_pair": (logs.dpo("exo_pair"), "a first loss of 2.761 is not the sigmoid's ln 2"),
    "dpo nca_pair": (logs.dpo("nca_pair"), "a first loss of 1.386 is that of BCO or NCA"),
    "dpo robust": (logs.dpo("robust"), "the policy began at its reference"),
    "dpo bco_pair": (logs.dpo("bco_pair"), "a first loss of 1.386 is that of BCO or NCA"),
    "dpo sppo_hard": (logs.dpo("sppo_hard", **LEARNS_SPPO), "a first loss of 50 is that of SPPO"),
    "dpo aot": (logs.dpo("aot"), "the policy began at its reference"),
    "dpo aot_unpaired": (logs.dpo("aot_unpaired"), "the policy began at its reference"),
    "dpo apo_zero": (logs.dpo("apo_zero"), "a first loss of 1 is that of hinge or APO"),
    "dpo apo_down": (logs.dpo("apo_down"), "a first loss of 1 is that of hinge or APO"),
    "dpo discopop": (logs.dpo("discopop"), "a first loss of 0.8466 is that of DiscoPOP"),
    "dpo sft": (logs.dpo("sft"), "a first loss of 3 is not the sigmoid's ln 2: another loss"),
    "dpo sigmoid_norm": (logs.dpo("sigmoid_norm"), "the policy began at its reference"),
    "dpo, beta 0.01": (logs.dpo(beta=0.01), "with beta 0.0100"),
    "dpo, beta 1": (logs.dpo(beta=1.0, fall=(-0.2, -1.2), spread=0.5), "with beta 1.0000"),
    "kto": (logs.kto(), "a first loss of 0.5 is that of KTO"),
    "bco": (logs.bco(), "the policy began at its reference"),
    "orpo": (logs.reference_free(0.1, extra=logs.ORPO_COLUMNS), "without a reference model"),
    "simpo": (logs.reference_free(2.0), "rewards are beta (2) times the log-probability itself"),
    "cpo": (logs.reference_free(0.1, summed=True), "rewards are beta (0.1) times"),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_log_of_every_trainer_and_loss_type_is_green_and_says_what_it_is(name):
    rows, phrase = HEALTHY[name]
    verdict = light(rows)
    assert verdict.colour == "green", str(verdict)
    assert says(verdict, "green", phrase), str(verdict)


@pytest.mark.parametrize("name", ["orpo", "simpo", "cpo"])
def test_without_a_reference_there_is_no_displacement_and_no_share_of_one(name):
    text = str(light(HEALTHY[name][0]))
    assert "less likely" not in text and "log-ratio" not in text


def test_the_beta_of_a_reference_free_run_is_compared_with_the_one_it_was_meant_to_use():
    assert light(HEALTHY["simpo"][0], beta=2.0).colour == "green"
    assert says(light(HEALTHY["simpo"][0], beta=0.1), "red", "its beta is not 0.1")


def test_robust_dpo_may_fall_below_0_and_no_other_loss_may():
    rows = logs.dpo("robust", fall=(5.0, -40.0))
    assert min(row["loss"] for row in logs.training_rows(rows)) < 0
    assert says(light(rows), "green", "as robust DPO's can")
    rows = logs.dpo("hinge")
    logs.training_rows(rows)[5]["loss"] = -0.2
    assert says(light(rows), "amber", "which only robust DPO's can be")


def test_an_online_run_has_no_evaluation_rows_and_is_amber():
    verdict = light(logs.online_dpo())
    assert verdict.colour == "amber" and says(verdict, "amber", "no evaluation rows")
    assert says(verdict, "green", "the policy began at its reference")


# What a run's log may lack or have and still be healthy.
def fp16_skips_its_first_updates(rows):
    for row in logs.training_rows(rows)[:2]:
        row["grad_norm"] = math.nan


def kto_batches_without_a_chosen_answer(rows):
    for row in logs.training_rows(rows)[1::3]:
        for name in ("rewards/chosen", "rewards/margins", "logps/chosen", "logits/chosen"):
            row.pop(name, None)
    # means over batches that have both sides: no longer the difference of the other two means
    for row in logs.training_rows(rows):
        if "rewards/margins" in row:
            row["rewards/margins"] += 0.02


def evaluated_once_more_at_the_end(rows):
    rows.append(dict(logs.evaluations(rows)[-1]))


def warmed_up_and_decayed_to_0(rows):
    for row, rate in zip(logs.training_rows(rows), np.linspace(0, 1e-5, 11), strict=True):
        row["learning_rate"] = rate


def hinge_is_0_where_margins_are_wide(rows):
    for row in logs.training_rows(rows)[-2:]:
        row |= {"loss": 0.0, "rewards/margins": 2.0, "rewards/rejected": row["rewards/chosen"] - 2}


@pytest.mark.parametrize(
    ("change", "rows", "colour"),
    [
        (fp16_skips_its_first_updates, logs.dpo, "amber"),
        (kto_batches_without_a_chosen_answer, logs.kto, "green"),
        (evaluated_once_more_at_the_end, logs.dpo, "green"),
        (warmed_up_and_decayed_to_0, logs.dpo, "green"),
        (hinge_is_0_where_margins_are_wide, lambda: logs.dpo("hinge"), "green"),
    ],
)
def test_what_healthy_runs_do_is_not_red(change, rows, colour):
    made = rows()
    change(made)
    assert light(made).colour == colour, str(light(made))


def test_training_rows_of_kto_that_lack_one_side_in_a_table_are_no_divergence(tmp_path):
    rows = logs.without_evaluations(logs.kto())
    for row in logs.training_rows(rows)[-3:]:
        for name in ("rewards/chosen", "rewards/margins", "logps/chosen"):
            row[name] = ""
    assert "no finite numbers" not in str(light(rows))


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
    assert says(verdict, "red", "logged values are no finite numbers"), str(verdict)


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
        (losses_in_place_of_log_probabilities, "a log-probability above 0 is none"),
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
    for row in logs.training_rows(rows):
        for name in [name for name in row if name.startswith(("rewards/", "logps/"))]:
            if name != "rewards/accuracies":
                del row[name]
    assert says(light(rows), "red", "stays at ln 2")


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
    for row in logs.evaluations(rows)[6:]:
        for name in [name for name in row if "rewards" in name]:
            del row[name]


def rejected_side_missing(rows):
    for row in rows:
        for name in [name for name in row if "rejected" in name]:
            del row[name]


def log_probabilities_missing(rows):
    for row in rows:
        for name in [name for name in row if "logps" in name]:
            del row[name]


def training_rows_missing(rows):
    rows[:] = logs.evaluations(rows)


def steps_missing(rows):
    for row in rows:
        row.pop("step", None)


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
    assert says(verdict, "red", "+49.2 and +44.8 nats an answer: the reference is another model")


def test_texts_read_in_another_way_are_off_by_a_few_nats():
    rows = logs.dpo()
    shifted(rows, -0.715, -0.649)
    verdict = light(rows)
    assert says(verdict, "red", "-7.15 and -6.49 nats an answer: policy and reference read the")
    assert says(verdict, "red", "a doubled BOS")


def test_without_log_probabilities_both_causes_of_a_wrong_start_are_named():
    rows = logs.dpo()
    shifted(rows, -0.8, -0.7)
    log_probabilities_missing(rows)
    assert says(
        light(rows), "red", "another model than the starting point, or policy and reference"
    )


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
    assert says(light(rows), "red", "no better than guessing")


def test_a_log_of_the_first_evaluation_alone_is_amber_and_not_red():
    rows = [row for row in logs.dpo() if row["step"] == 0]
    verdict = light(rows)
    assert verdict.colour == "amber", str(verdict)


def test_the_first_loss_decides_only_where_no_rewards_were_logged():
    rows = logs.dpo("hinge")
    for row in (logs.training_rows(rows)[0], logs.evaluations(rows)[0]):
        for name in [name for name in row if "rewards" in name]:
            del row[name]
    assert says(light(rows), "amber", "another loss than DPO's sigmoid was used, or")
    rows = logs.dpo()
    for row in (logs.training_rows(rows)[0], logs.evaluations(rows)[0]):
        row["loss" if "loss" in row else "eval_loss"] = 1.4
        for name in [name for name in row if "rewards" in name]:
            del row[name]
    assert says(light(rows), "red", "the policy did not begin at its reference")


# Logs of other methods, with the columns of TRL 1.16 where it has the trainer.
GRPO = {"loss": 0.01, "reward": 0.4, "reward_std": 0.2, "frac_reward_zero_std": 0.1, "kl": 0.02}
OTHER_METHODS = {
    "grpo": (
        GRPO | {"rewards/accuracy_reward/mean": 0.4, "rewards/accuracy_reward/std": 0.1},
        "the log of a GRPO or RLOO run, .*rewards/accuracy_reward/mean",
    ),
    "grpo of 2025": (
        {"loss": 0.0, "rewards/format_reward": 0.2, "reward": 0.2, "reward_std": 0.1},
        "are rewards of single answers, not of pairs",
    ),
    "grpo with a function called accuracies": (
        GRPO | {"rewards/accuracies": 0.4},
        "a GRPO or RLOO run",
    ),
    "ppo": ({"loss": 0.1, "objective/rlhf_reward": 1.0, "policy/approxkl_avg": 0.1}, "a PPO"),
    "reward model": (
        {"loss": 0.6931, "mean_reward": 0.1, "max_reward": 2.0, "accuracy": 0.6, "margin": 0.4},
        "the training of a reward model",
    ),
    "sft": ({"loss": 1.2, "mean_token_accuracy": 0.7, "entropy": 1.0}, "supervised fine-tuning"),
    "a distillation run": ({"loss": 1.2, "completions/mean_length": 90.0}, "on its own samples"),
    "one side": ({"loss": 0.6, "rewards/chosen": 0.1}, "lacks the other answer of the pair"),
    "an unknown reward": ({"loss": 0.6, "rewards/helpfulness": 0.1}, "lacks the other answer"),
    "losses": ({"loss": 0.6931, "grad_norm": 4.0}, "losses and no rewards"),
    "one curve": ({"rewards/margins": 0.1}, "it holds one curve, rewards/margins"),
}


@pytest.mark.parametrize("name", OTHER_METHODS)
def test_the_log_of_another_method_is_refused_for_the_true_reason(name):
    cells, phrase = OTHER_METHODS[name]
    rows = [{**cells, "learning_rate": 1e-6, "epoch": i / 4, "step": 10 * i} for i in range(1, 5)]
    with pytest.raises(TrainingLogError, match=f"(?s){phrase}"):
        light(rows)


@pytest.mark.parametrize("seed", range(5))
def test_a_verdict_does_not_depend_on_unknown_columns_or_on_the_order_of_columns(seed):
    rng = np.random.default_rng(seed)
    rows = logs.dpo()
    shuffled = []
    for row in rows:
        items = list((row | {"note": "a/b", "gpu/0.temp": 61.0, "is_best": True}).items())
        rng.shuffle(items)
        shuffled.append({str(k): (float(v) if str(k) != "note" else v) for k, v in items})
    assert str(light(shuffled)) == str(light(rows))
