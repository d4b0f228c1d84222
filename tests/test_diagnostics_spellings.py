"""How numbers that are none, runs and columns are written in logs that people bring."""

import json

import pytest
import training_logs as logs

from zephyr_utils.data.records import load_records
from zephyr_utils.diagnostics import TrainingLogError, read_training_log, traffic_light
from zephyr_utils.errors import HandbookError

TRAINING = [row for row in logs.dpo() if "loss" in row]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("word", "shown"),
    [("nan(ind)", "nan"), ("-nan(0x8)", "nan"), ("-1.#IND", "nan"), ("1.#QNAN0", "nan"),
     ("#NUM!", "nan"), ("#DIV/0!", "nan"), ("1.#INF", "inf"), ("-1.#INF00", "-inf"), ("∞", "inf")],
)  # fmt: skip
def test_not_a_number_in_the_spelling_of_another_program_is_red(word, shown, tmp_path):
    rows = logs.dpo()
    last = max(i for i, row in enumerate(rows) if "loss" in row)
    rows[last] = {**rows[last], "loss": word}
    light = traffic_light(read_training_log(written(tmp_path / "log.jsonl", rows)))
    assert light.colour == "red" and f"loss is {shown}" in " ".join(str(light).split())


@pytest.mark.parametrize("word", ["nand", "1.#IN", "#NAME?", "nan()x"])
def test_other_words_stay_wrong_cells(word, tmp_path):
    rows = [*TRAINING[:-1], {**TRAINING[-1], "loss": word}]
    with pytest.raises(TrainingLogError, match="not a number"):
        read_training_log(written(tmp_path / "log.jsonl", rows))


def test_the_columns_of_nemo_aligner_are_read_in_training_and_evaluation(tmp_path):
    def renamed(row):
        return {
            "train_loss": row["loss"],
            "train_rewards_chosen_mean": row["rewards/chosen"],
            "train_rewards_rejected_mean": row["rewards/rejected"],
            "train_acc": row["rewards/accuracies"],
            "val_loss": row["loss"],
            "val_rewards_chosen_mean": row["rewards/chosen"],
            "val_rewards_rejected_mean": row["rewards/rejected"],
            "step": row["step"],
        }

    log = read_training_log(written(tmp_path / "log.jsonl", map(renamed, TRAINING)))
    for kind in ("training", "evaluation"):
        chosen, loss = log.require("rewards/chosen", "loss", kind=kind)
        assert list(chosen) == pytest.approx([row["rewards/chosen"] for row in TRAINING])
        assert list(loss) == pytest.approx([row["loss"] for row in TRAINING])
    [accuracies] = log.require("rewards/accuracies", kind="training")
    assert list(accuracies) == pytest.approx([row["rewards/accuracies"] for row in TRAINING])


def test_the_loss_that_sums_up_a_run_is_not_a_training_loss_of_nemo(tmp_path):
    rows = [*logs.dpo(), {"train_loss": 0.4, "train_runtime": 60.0, "step": 100}]
    log = read_training_log(written(tmp_path / "log.jsonl", rows))
    [loss] = log.require("loss", kind="training")
    assert list(loss) == pytest.approx([row["loss"] for row in TRAINING])


def test_the_histories_of_several_runs_in_one_file_are_named(tmp_path):
    states = [{"log_history": logs.dpo()}, {"log_history": logs.dpo()}]
    path = tmp_path / "states.json"
    path.write_text(json.dumps(states))
    for one in (path, written(tmp_path / "states.jsonl", states)):
        with pytest.raises(TrainingLogError, match="the histories of 2 runs"):
            read_training_log(one)


@pytest.mark.parametrize("between", ["", " ", ","])
def test_several_objects_in_one_line_are_called_that_and_not_cut_short(between, tmp_path):
    path = tmp_path / "rows.jsonl"
    row = json.dumps({"prompt": "Name a river.", "completion": "The Rhine."})
    path.write_text(row + between + row + "\n")
    with pytest.raises(HandbookError, match="several values are in one line"):
        load_records(path, "dialogue")
