"""What a training log proves: Zephyr's published log, logs made to order, every file form, and
broken files.
"""

import json
import math

import numpy as np
import pytest
from real_records import REAL, needs

from zephyr_utils.diagnostics import (
    TrainingLogError,
    accuracy_examples,
    displacement,
    epoch_steps,
    implied_beta,
    margins_check,
    overfitting,
    read_training_log,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.published import ZEPHYR_DPO_LOG


def history(beta=0.25, reference=(-120.0, -140.0), n=8, noise=0.0):
    """A trainer's log history whose rewards were made with the given beta and reference."""
    rng = np.random.default_rng(0)
    rows = [{"loss": 0.6931, "learning_rate": 1e-5, "epoch": 0.1, "step": 1, "rewards/chosen": 0.0}]
    for i in range(1, n + 1):
        chosen, rejected = (
            reference[0] - 2.0 * i + rng.normal(),
            reference[1] - 5.0 * i + rng.normal(),
        )
        rewards = [beta * (chosen - reference[0]), beta * (rejected - reference[1])]
        rewards = [reward + noise * rng.normal() for reward in rewards]
        place = {"epoch": i / 4, "step": 100 * i}
        rows.append({"loss": 0.6 / i, "learning_rate": 1e-5, "grad_norm": 1.0, **place})
        rows.append(
            {
                "eval_loss": 0.5 + 0.01 * i,
                "eval_rewards/chosen": rewards[0],
                "eval_rewards/rejected": rewards[1],
                "eval_rewards/margins": rewards[0] - rewards[1],
                "eval_rewards/accuracies": 0.75,
                "eval_logps/chosen": chosen,
                "eval_logps/rejected": rejected,
                **place,
            }
        )
    return [*rows, {"train_runtime": 12.0, "train_loss": 0.3, "epoch": n / 4, "step": 100 * n}]


@pytest.fixture(scope="module")
def zephyr():
    return read_training_log(ZEPHYR_DPO_LOG)


def test_zephyrs_log_returns_its_beta_and_the_references_log_probabilities(zephyr):
    found = implied_beta(zephyr)
    assert found.beta == pytest.approx(0.1, abs=1e-6)
    assert found.reference_chosen == pytest.approx(-254.2351, abs=1e-3)
    assert found.reference_rejected == pytest.approx(-256.9699, abs=1e-3)
    assert found.largest_residual < 6e-5 and found.standard_error < 1e-6 and found.n_rows == 58


def test_zephyrs_margins_add_up(zephyr):
    found = margins_check(zephyr)
    assert found.ok and found.n_rows == 58
    assert found.largest_gap == pytest.approx(1e-4, abs=1e-6)


def test_zephyrs_chosen_answers_were_displaced(zephyr):
    found = displacement(zephyr)
    assert found.displaced
    assert (round(found.chosen, 1), round(found.rejected, 1)) == (-45.2, -83.1)
    assert found.chosen_share == pytest.approx(-45.17 / 254.24, abs=1e-3)


def test_zephyrs_training_loss_falls_at_the_epoch_borders(zephyr):
    found = epoch_steps(zephyr)
    assert [(s.epoch, s.step_before, s.loss_before, s.step_after, s.loss_after) for s in found] == [
        (1, 1900, 0.4967, 2000, 0.0921),
        (2, 3800, 0.1348, 3900, 0.0217),
    ]
    assert found[0].mean_before > 5 * found[0].mean_after


def test_zephyrs_evaluation_loss_rises_while_its_accuracy_stays(zephyr):
    found = overfitting(zephyr)
    assert (found.best_step, found.best_loss, found.last_loss) == (400, 0.4957, 0.7520)
    assert found.rises and abs(found.best_accuracy - found.last_accuracy) < 0.02


def test_zephyrs_accuracy_was_measured_on_64_examples(zephyr):
    assert accuracy_examples(zephyr) == 64


@needs("dpo_training_logs")
def test_the_log_we_ship_is_the_one_on_the_model_card(zephyr):
    card = read_training_log(REAL / "dpo_training_logs" / "zephyr-7b-beta_model_card_dpo_log.csv")
    assert (
        card.training.keys() == zephyr.training.keys()
        and card.evaluation.keys() == zephyr.evaluation.keys()
    )
    for name, column in card.evaluation.items():
        assert np.array_equal(column, zephyr.evaluation[name]), name


def test_beta_is_recovered_through_noise_within_its_standard_error():
    found = implied_beta(read_training_log(history(noise=0.02, n=40)))
    assert abs(found.beta - 0.25) < 4 * found.standard_error
    assert 0 < found.standard_error < 0.01
    exact = implied_beta(read_training_log(history()))
    assert exact.beta == pytest.approx(0.25, abs=1e-12)
    assert (exact.reference_chosen, exact.reference_rejected) == (
        pytest.approx(-120),
        pytest.approx(-140),
    )


@pytest.mark.parametrize("form", ["trainer_state.json", "history.json", "history.jsonl", "rows"])
def test_a_history_reads_the_same_in_every_form(tmp_path, form):
    rows = history()
    path = tmp_path / form
    if form == "rows":
        path = rows
    elif form == "trainer_state.json":
        path.write_text(json.dumps({"epoch": 2.0, "log_history": rows}), encoding="utf-8")
    elif form == "history.json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    log = read_training_log(path)
    assert log.training["step"].tolist() == [1, *range(100, 900, 100)]
    assert log.evaluation["loss"].tolist() == pytest.approx([0.5 + 0.01 * i for i in range(1, 9)])
    assert (log.n_rows, log.n_summaries) == (18, 1)
    assert implied_beta(log).beta == pytest.approx(0.25, abs=1e-12)


def test_a_history_saved_as_csv_keeps_training_and_evaluation_apart(tmp_path):
    rows = history()
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names)] + [",".join(str(row.get(name, "")) for name in names) for row in rows]
    path = tmp_path / "log.csv"
    path.write_text("# a comment, with, commas\n" + "\n".join(lines), encoding="utf-8")
    log = read_training_log(path)
    assert log.training["loss"].size == 9 and log.evaluation["loss"].size == 8
    assert implied_beta(log).beta == pytest.approx(0.25, abs=1e-12)


def test_a_card_without_training_loss_in_its_first_rows_is_read(tmp_path):
    path = tmp_path / "card.csv"
    path.write_text(
        "Training Loss,Epoch,Step,Validation Loss,Rewards/chosen\nNo "
        "log,0.5,10,0.6,0.1\n0.4,1.0,20,0.5,0.2\n",
        encoding="utf-8",
    )
    log = read_training_log(path)
    assert log.evaluation["rewards/chosen"].tolist() == [0.1, 0.2]
    assert log.training["loss"].tolist() == [0.4]


def test_a_margin_that_is_not_the_difference_is_named_by_its_step():
    rows = history()
    rows[4]["eval_rewards/margins"] += 0.01
    found = margins_check(read_training_log(rows))
    assert not found.ok and found.steps_off == (200,)
    assert found.largest_gap == pytest.approx(0.01)


def test_logged_nan_is_remembered_by_its_step_and_a_missing_cell_is_not():
    rows = history()
    rows[3]["loss"] = math.nan
    log = read_training_log(rows)
    assert log.not_finite == ("step 200: training loss is nan",)


def test_an_epoch_that_ends_on_a_logged_row_counts_for_the_epoch_that_ends():
    rows = [
        {"loss": loss, "epoch": epoch, "step": step}
        for step, (epoch, loss) in enumerate([(0.5, 0.7), (1.0, 0.6), (1.5, 0.2), (2.0, 0.1)])
    ]
    (found,) = epoch_steps(read_training_log(rows))
    assert (found.epoch, found.loss_before, found.loss_after) == (1, 0.6, 0.2)
    assert (found.mean_before, found.mean_after) == (pytest.approx(0.65), pytest.approx(0.15))


def test_accuracies_that_fit_no_small_number_of_examples_say_nothing():
    rows = [
        {"eval_rewards/accuracies": a, "step": i}
        for i, a in enumerate([0.712345678, 0.7398765, 0.761234567])
    ]
    assert accuracy_examples(read_training_log(rows)) is None
    few = [{"eval_rewards/accuracies": 0.5, "step": i} for i in range(5)]
    assert accuracy_examples(read_training_log(few)) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no rows"),
        ("Step,Validation Loss\n", "holds no rows"),
        ("Step,Validation Loss\n100,0.5\n200\n", "row 2: has a different number of cells"),
        (
            "Step,Validation Loss\n100,half\n",
            "row 1, column Validation Loss: loss is 'half', not a number",
        ),
        ("name,colour\na,b\n", "neither losses nor rewards"),
    ],
)
def test_broken_tables_are_errors_that_say_where(tmp_path, content, message):
    path = tmp_path / "log.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TrainingLogError, match=message):
        read_training_log(path)


def test_a_wrong_cell_is_shown_cut_short():
    with pytest.raises(
        TrainingLogError, match=r"loss is \[0, 1, 2.*\.\.\., not a number"
    ) as caught:
        read_training_log([{"step": 1, "loss": list(range(1000))}])
    assert len(str(caught.value)) < 250


def test_files_that_are_not_logs_are_errors(tmp_path):
    with pytest.raises(HandbookError, match="absent"):
        read_training_log(tmp_path / "absent.csv")
    with pytest.raises(HandbookError, match="absent"):
        read_training_log(tmp_path / "absent.json")
    with pytest.raises(TrainingLogError, match="row 1: is int"):
        read_training_log([1, 2])
    path = tmp_path / "cut.jsonl"
    path.write_text('{"loss": 0.5, "step": 1}\n{"loss": 0.', encoding="utf-8")
    with pytest.raises(HandbookError, match="row 2"):
        read_training_log(path)


def test_questions_that_a_log_cannot_answer_say_what_it_lacks():
    training_only = read_training_log([{"loss": 0.5, "rewards/chosen": 0.1, "step": 1}])
    with pytest.raises(TrainingLogError, match=r"(?s)no rewards/chosen, .* eval_strategy"):
        implied_beta(training_only)
    with pytest.raises(TrainingLogError, match="no epoch"):
        epoch_steps(training_only)
    with pytest.raises(TrainingLogError, match="2 evaluations do not determine"):
        implied_beta(read_training_log(history(n=2)))
    still = history()
    for row in still:
        if "eval_loss" in row:
            row |= {"eval_logps/chosen": -120.0, "eval_logps/rejected": -140.0}
    with pytest.raises(TrainingLogError, match="never change"):
        implied_beta(read_training_log(still))
