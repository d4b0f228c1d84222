"""Verdicts over logs of every trainer and loss type: what is healthy, and what is not a preference
log at all.
"""

import math

import numpy as np
import pytest
import training_logs as logs
from training_logs import light, says

from zephyr_utils.diagnostics import TrainingLogError

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


def test_a_beta_so_small_that_rewards_hardly_move_is_compared_with_the_one_that_was_meant():
    rows = logs.dpo(beta=0.001, fall=(0.1, -1.4), spread=0.3)
    assert max(abs(row["eval_rewards/rejected"]) for row in logs.evaluations(rows)) < 2e-3
    assert says(light(rows, beta=0.1), "red", "not 0.1: another setting was used")


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
def fp16_skips_its_first_steps(rows):
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
        (fp16_skips_its_first_steps, logs.dpo, "amber"),
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


def test_training_rows_of_kto_that_lack_one_side_in_a_table_are_not_divergence(tmp_path):
    rows = logs.without_evaluations(logs.kto())
    for row in logs.training_rows(rows)[-3:]:
        for name in ("rewards/chosen", "rewards/margins", "logps/chosen"):
            row[name] = ""
    assert "not finite numbers" not in str(light(rows))


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


def turned_round(row):
    """The columns of chosen and rejected exchanged, as a data set turned round leaves them."""
    names = [name for name in row if name.endswith("/chosen")]
    turned = dict(row)
    for name in names:
        other = name.replace("/chosen", "/rejected")
        turned[name], turned[other] = row[other], row[name]
    if "rewards/margins" in row:
        turned["rewards/margins"] = -row["rewards/margins"]
        turned["rewards/accuracies"] = 1 - row["rewards/accuracies"]
    return turned


def test_training_pairs_ranked_wrongly_beside_held_out_pairs_ranked_rightly_are_red():
    rows = logs.dpo(n=40)
    assert light(rows).colour == "green"
    swapped = light([row if "eval_loss" in row else turned_round(row) for row in rows])
    assert says(swapped, "red", "swapped in one of the two sets, or in the columns"), str(swapped)
