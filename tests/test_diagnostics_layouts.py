"""The layouts in which logs come: every writer's is read alike, or refused by name."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import training_logs as logs
from training_logs import as_table, slashed, write_json_lines

from zephyr_utils.diagnostics import (
    TrainingLogError,
    implied_beta,
    read_training_log,
    traffic_light,
)


def write_wandb_history(path):
    counted = [
        {"_step": i, "_runtime": 2.0 * i, "_timestamp": 1764e6 + i, **row}
        for i, row in enumerate(slashed(logs.dpo()))
    ]
    path.write_text(as_table(counted), encoding="utf-8")


def write_wandb_parquet(path):
    rows = slashed(logs.dpo())
    names = list(dict.fromkeys(name for row in rows for name in row))
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)


def write_trainer_state(path):
    path.write_text(json.dumps({"max_steps": 100, "log_history": logs.dpo()}))


def write_ms_swift(path):
    rows = []
    for row in logs.dpo():
        row = dict(row)
        step = row.pop("step")
        if "train_runtime" not in row:
            rows.append({**row, "global_step/max_steps": f"{step}/100", "percentage": f"{step}%"})
    write_json_lines(path, rows)


def write_pandas_columns(path):
    rows = logs.without_evaluations(logs.dpo())[:-1] + logs.evaluations(logs.dpo())
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: {str(i): row.get(name) for i, row in enumerate(rows)} for name in names}
    path.write_text(json.dumps(columns))


def write_semicolons(path):
    path.write_text(as_table(logs.dpo(), delimiter=";"), encoding="utf-8-sig")


def write_tabs_packed(path):
    path.write_bytes(gzip.compress(as_table(logs.dpo(), delimiter="\t").encode()))


def write_old_macintosh_lines(path):
    path.write_bytes(as_table(logs.dpo()).replace("\n", "\r").encode())


def write_history_under_another_name(path):
    path.write_text(json.dumps({"run": "x", "rows": logs.dpo()}))


def write_packed_json_lines(path):
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, logs.dpo())).encode()))


def write_names_with_spaces(path):
    """As Unsloth's notebooks show them."""
    rows = [{name.replace("/", " / "): value for name, value in row.items()} for row in logs.dpo()]
    write_json_lines(path, rows)


def write_trackio(path):
    rows = [
        {"step": i, "timestamp": 1764e6 + i, **row} for i, row in enumerate(slashed(logs.dpo()))
    ]
    write_json_lines(path, rows)


def write_evaluations_after_training(path):
    rows = logs.dpo()
    write_json_lines(path, [*logs.training_rows(rows), *logs.evaluations(rows)])


LAYOUTS = {
    "wandb_history.csv": write_wandb_history,
    "wandb_history.parquet": write_wandb_parquet,
    "trainer_state.json": write_trainer_state,
    "logging.jsonl": write_ms_swift,
    "columns.json": write_pandas_columns,
    "semicolons.csv": write_semicolons,
    "tabs.tsv.gz": write_tabs_packed,
    "macintosh.csv": write_old_macintosh_lines,
    "wrapped.json": write_history_under_another_name,
    "packed.jsonl.gz": write_packed_json_lines,
    "unsloth.jsonl": write_names_with_spaces,
    "trackio.jsonl": write_trackio,
    "grouped.jsonl": write_evaluations_after_training,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_same_run_has_the_same_numbers_and_verdict_in_every_layout(tmp_path, name):
    expected = read_training_log(logs.dpo())
    LAYOUTS[name](tmp_path / name)
    log = read_training_log(tmp_path / name)
    for kind in ("training", "evaluation"):
        for column in ("step", "loss", "rewards/margins", "rewards/accuracies", "logps/chosen"):
            same = log.rows(kind)[column].tolist() == expected.rows(kind)[column].tolist()
            assert same, (kind, column)
    assert (log.not_finite, log.warnings) == ((), ())
    assert str(traffic_light(log)) == str(traffic_light(expected))


CARD = """---
license: mit
---
### Training results

| Training Loss | Epoch | Step | Validation Loss | Rewards/chosen | Rewards/rejected |{more}
|:-------------:|:-----:|:----:|:---------------:|:--------------:|:----------------:|{rule}
| No log        | 0.5   | 100  | 0.62            | -0.10          | -0.30            |{one}
| -             | 1.0   | 200  | 0.60            | -0.20          | -0.50            |{two}
| 0.55          | 1.5   | 300  | 0.57            | -0.30          | -0.70            |{three}
| 0.55          | 2.0   | 400  | 0.55            | -0.40          | -0.90            |{four}

### Framework versions

| library | version |
|---|---|
"""


def card_text():
    """A card whose log-probabilities give beta 0.1 and the reference -100 and -110."""
    more = " Rewards/accuracies | Rewards/margins | Logps/rejected | Logps/chosen |"
    ends = {
        word: f" 0.7{i} | {0.1 + 0.1 * i:.1f} | {-111 - 2 * i}.0 | {-100 - i}.0 |"
        for i, word in enumerate(("one", "two", "three", "four"), start=1)
    }
    return CARD.format(more=more, rule="---|---|---|---|", **ends)


def test_a_model_card_is_read_with_its_cells_of_no_log_and_dashes(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(card_text(), encoding="utf-8")
    log = read_training_log(path)
    assert (
        log.training["step"].tolist() == [300, 400] and log.training["loss"].tolist() == [0.55] * 2
    )
    assert log.evaluation["loss"].tolist() == [0.62, 0.60, 0.57, 0.55]
    assert implied_beta(log).beta == pytest.approx(0.1)
    assert traffic_light(log).colour == "green", str(traffic_light(log))


@pytest.mark.parametrize("word", ["No log", "-", "–", "N/A"])
def test_the_same_card_as_a_table_may_say_in_any_word_that_nothing_was_logged(tmp_path, word):
    path = tmp_path / "card.csv"
    rows = [
        line.strip("| ").split("|") for line in card_text().splitlines() if line.startswith("|")
    ]
    table = [[cell.strip() for cell in row] for row in rows[:1] + rows[2:6]]
    table[1][0] = table[2][0] = word
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(table)
    assert traffic_light(read_training_log(path)).colour == "green"


def test_a_model_card_without_a_training_table_is_refused(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# My model\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    with pytest.raises(TrainingLogError, match="no table with a loss"):
        read_training_log(path)


def test_llama_factorys_log_is_read_as_far_as_it_goes_and_says_where_the_rest_is(tmp_path):
    path = tmp_path / "trainer_log.jsonl"
    rows = []
    for row in logs.training_rows(logs.dpo()):
        new = {"current_steps": row["step"], "total_steps": 100, "loss": row["loss"], "lr": 1e-6}
        rows.append(new | {"accuracy": row["rewards/accuracies"], "elapsed_time": "0:00:41"})
    rows.append({"current_steps": 100, "total_steps": 100, "eval_loss": 0.5, "percentage": 100.0})
    write_json_lines(path, rows)
    log = read_training_log(path)
    assert log.planned_steps == 100 and log.training["step"].tolist()[-1] == 100
    assert (
        log.training["rewards/accuracies"].size == 11 and log.training["learning_rate"][0] == 1e-6
    )
    verdict = str(traffic_light(log))
    assert verdict.startswith("AMBER") and "trainer_state.json beside" in " ".join(verdict.split())
    write_json_lines(path, [{k: v for k, v in row.items() if k != "accuracy"} for row in rows])
    with pytest.raises(TrainingLogError, match="losses and no rewards"):
        traffic_light(read_training_log(path))


def test_nulls_of_older_llama_factory_logs_are_not_divergence(tmp_path):
    path = tmp_path / "trainer_log.jsonl"
    names = ("loss", "eval_loss", "predict_loss", "reward", "accuracy", "learning_rate")
    rows = []
    for i, row in enumerate(logs.training_rows(logs.dpo())):
        cells = {"loss": row["loss"], "accuracy": row["rewards/accuracies"], "learning_rate": 1e-6}
        place = {"current_steps": row["step"], "total_steps": 100}
        rows.append(place | dict.fromkeys(names) | cells)
        if i % 5 == 0:
            rows.append(place | dict.fromkeys(names) | {"eval_loss": 0.6})
    write_json_lines(path, rows)
    log = read_training_log(path)
    assert log.not_finite == () and log.evaluation["loss"].size == 3
    rows[-2] |= {"loss": None, "learning_rate": 1e-6}
    rows[-3] |= {"loss": None, "learning_rate": 1e-6}
    write_json_lines(path, rows)
    assert "empty from here to the end" in read_training_log(path).not_finite[0]


# Panels of Weights & Biases.
def panel(runs, ranges=True, noise=0.0):
    names = [
        "train/loss",
        "train/rewards/chosen",
        "train/rewards/rejected",
        "train/rewards/margins",
    ]
    rows = []
    for row in slashed(logs.training_rows(logs.dpo())):
        new = {"train/global_step": row["train/global_step"]}
        for run in runs:
            for name in names:
                new[f"{run} - {name}"] = row[name]
                if ranges:
                    new[f"{run} - {name}__MIN"] = row[name] - noise
                    new[f"{run} - {name}__MAX"] = row[name] + noise
        rows.append(new)
    return rows


def test_a_panel_of_one_run_is_read_and_named_for_what_it_is(tmp_path):
    path = tmp_path / "wandb_export.csv"
    path.write_text(as_table(panel(["dpo - second try"])), encoding="utf-8")
    log = read_training_log(path)
    assert log.training["rewards/margins"].size == 11
    verdict = traffic_light(log)
    assert verdict.colour == "amber" and "panel of the run dpo - second try, and holds" in " ".join(
        log.warnings
    )


def test_a_panel_whose_ranges_differ_holds_means_and_is_amber(tmp_path):
    path = tmp_path / "wandb_export.csv"
    path.write_text(as_table(panel(["dpo"], noise=0.2)), encoding="utf-8")
    assert "means over several runs" in " ".join(read_training_log(path).warnings)


def test_a_panel_of_several_runs_is_refused_and_names_them(tmp_path):
    path = tmp_path / "wandb_export.csv"
    path.write_text(as_table(panel(["seed-0", "seed-1"], ranges=False)), encoding="utf-8")
    with pytest.raises(TrainingLogError, match="curves of 2 runs: seed-0, seed-1"):
        read_training_log(path)


def test_two_columns_of_one_meaning_that_differ_are_refused():
    rows = [{"loss": 0.6, "train/loss": 0.7, "rewards/margins": 0.1, "step": 10}]
    with pytest.raises(
        TrainingLogError, match=r"two of its columns mean loss and differ: 0\.6 and"
    ):
        read_training_log(rows)


def test_one_curve_downloaded_from_tensorboard_is_refused_by_that_name(tmp_path):
    path = tmp_path / "run-dpo-tag-train_loss.csv"
    path.write_text("Wall time,Step,Value\n1764000000.1,10,0.69\n1764000010.1,20,0.60\n")
    with pytest.raises(TrainingLogError, match="one curve downloaded from TensorBoard"):
        read_training_log(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run-abc123.wandb", "binary run file of Weights & Biases"),
        ("history.xlsx", "kind of file is not read as a log"),
        ("train.log", "kind of file is not read as a log"),
    ],
)
def test_other_kinds_of_files_are_refused_by_name(tmp_path, name, message):
    (tmp_path / name).write_bytes(b":W&B\xe1\xbe\x01\x00")
    with pytest.raises(TrainingLogError, match=message):
        read_training_log(tmp_path / name)
