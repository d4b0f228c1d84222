"""The files that people bring as logs: every writer's layout is read alike, or refused by name."""

import csv
import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import training_logs as logs
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.diagnostics import (
    TrainingLogError,
    implied_beta,
    read_training_log,
    traffic_light,
)
from zephyr_utils.diagnostics.event_files import masked_crc
from zephyr_utils.errors import HandbookError

SPECIMENS = Path(__file__).parent / "specimens"


def slashed(rows):
    """Rows as the callbacks of Weights & Biases and TensorBoard rename them."""
    made = []
    for row in rows:
        new = {}
        for name, value in row.items():
            if name == "step":
                new["train/global_step"] = value
            elif name.startswith("eval_"):
                new["eval/" + name.removeprefix("eval_")] = value
            else:
                new["train/" + name] = value
        made.append(new)
    return made


def as_table(rows, delimiter=",", empty=""):
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [delimiter.join(names)]
    lines += [delimiter.join(str(row.get(name, empty)) for name in names) for row in rows]
    return "\n".join(lines) + "\n"


def write_json_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


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


def test_nulls_of_older_llama_factory_logs_are_no_divergence(tmp_path):
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
    assert verdict.colour == "amber" and "panel of the run dpo - second try" in " ".join(
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


# TensorBoard's event files.
def test_an_event_file_of_torchs_summary_writer_is_read():
    """Written by torch's SummaryWriter under tensorboard 2.21 in this order: a text, four training
    rows and three evaluation rows, a loss of NaN as a tensor (new_style=True), a summary.
    """
    path = SPECIMENS / "events.out.tfevents.specimen"
    log = read_training_log(path)
    assert log.training["step"].tolist() == [1, 10, 20, 30, 40]
    assert log.training["loss"][:4] == pytest.approx([0.6931, 0.6731, 0.6531, 0.6331], abs=1e-6)
    assert log.evaluation["rewards/chosen"] == pytest.approx([-0.1, -0.2, -0.3])
    assert log.not_finite == ("step 40: training loss is nan",)


def event_record(step, scalars):
    """One record with scalars as simple values, by the TFRecord format and the protobuf encoding."""

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    summary = b""
    for tag, value in scalars.items():
        summary += field(1, field(1, tag.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", value))
    number = b""
    while step > 127:
        number, step = number + bytes([step & 127 | 128]), step >> 7
    body = bytes([2 << 3]) + number + bytes([step])
    size = len(summary)
    length = bytes([size & 127 | 128, size >> 7]) if size > 127 else bytes([size])
    body += bytes([5 << 3 | 2]) + length + summary
    head = struct.pack("<Q", len(body))
    return head + struct.pack("<I", masked_crc(head)) + body + struct.pack("<I", masked_crc(body))


def test_the_checksum_is_that_of_the_standard():
    # CRC-32C of "123456789" is e3069283 (RFC 3720, B.4 has the polynomial); masked as by TFRecord.
    crc = 0xE3069283
    assert masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_a_run_in_an_event_file_has_the_verdict_of_its_history(tmp_path):
    path = tmp_path / "events.out.tfevents.1764000000.host.1.0"
    data = b""
    for row in slashed(logs.dpo(beta=0.1)):
        step = row.pop("train/global_step")
        for tag, value in row.items():
            data += event_record(step, {tag: value})
    path.write_bytes(data)
    log = read_training_log(path)
    assert log.training["step"].tolist() == [1, *range(10, 101, 10)]
    assert log.evaluation["step"].tolist() == [0, *range(10, 101, 10)]
    assert implied_beta(log).beta == pytest.approx(0.1, abs=1e-4)
    assert traffic_light(log, beta=0.1).colour == "green", str(traffic_light(log))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: data[:-7], "it breaks off in the record"),
        (lambda data: data[:-30] + b"\xff" + data[-29:], "of the record at byte"),
        (lambda data: data[:-60] + b"\xff" * 60, "wrong"),
        (lambda data: data + b"\x00" * 5, "it breaks off in the record"),
    ],
)
def test_an_event_file_that_is_damaged_is_read_up_to_there_and_never_green(tmp_path, damage, text):
    path = tmp_path / "events.out.tfevents.1"
    data = b""
    for row in slashed(logs.dpo()[:-1]):
        step = row.pop("train/global_step")
        data += b"".join(event_record(step, {tag: value}) for tag, value in row.items())
    path.write_bytes(damage(data))
    log = read_training_log(path)
    assert log.n_unreadable == 1 and text in log.warnings[0]
    assert log.training["step"].size == 11 and traffic_light(log).colour != "green"


def test_what_is_no_event_file_is_refused(tmp_path):
    path = tmp_path / "events.out.tfevents.2"
    for data in (b"not an event file at all, but text", b"\xff" * 200, bytes(range(256))):
        path.write_bytes(data)
        with pytest.raises(TrainingLogError, match="rows cannot be read"):
            read_training_log(path)
    path.write_bytes(b"")
    with pytest.raises(TrainingLogError, match="holds no rows"):
        read_training_log(path)


# Damage, odd text and odd names.
def test_lines_cut_short_or_not_decodable_are_counted_and_never_green(tmp_path):
    path = tmp_path / "log.jsonl"
    write_json_lines(path, logs.dpo())
    path.write_bytes(path.read_bytes() + '{"loss": 0.3, "note": "é'.encode()[:-1])
    log = read_training_log(path)
    assert (log.n_unreadable, log.n_rows) == (1, 24)
    assert "1 of 24 rows cannot be read, the first: row 24" in log.warnings[0]
    assert traffic_light(log).colour == "amber"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\u000b", "\u001c"])
def test_line_separators_of_unicode_do_not_cut_rows(tmp_path, separator):
    rows = [row | {"note": f"one{separator}two"} for row in logs.dpo()]
    lines = tmp_path / "log.jsonl"
    lines.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    table = tmp_path / "log.csv"
    table.write_text(as_table(rows), encoding="utf-8", newline="")
    for path in (lines, table):
        log = read_training_log(path)
        assert (log.n_rows, log.n_unreadable) == (len(rows), 0)
        assert traffic_light(log).colour == "green"


def test_rows_of_a_table_with_undecodable_bytes_are_counted(tmp_path):
    path = tmp_path / "log.csv"
    rows = [row | {"note": "café"} for row in logs.dpo()]
    lines = as_table(rows).splitlines(keepends=True)
    path.write_bytes(
        "".join(lines[:5]).encode() + lines[5].encode("latin-1") + "".join(lines[6:]).encode()
    )
    log = read_training_log(path)
    assert log.n_unreadable == 1 and "row 5: is not UTF-8 text" in log.warnings[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"step,loss\n1," + b"9" * 90_000 + b"\n", "a cell of 90,000 characters"),
        ("a.csv", b"step,loss\n1," + b"9" * 2**18 + b"\n", "field limit|262,144 characters"),
        ("a.csv", '"step","loss\n1,0.5\n'.encode("utf-16"), "the text is UTF-16"),
        ("a.csv", "step,loss,größe\n1,0.5,3\n".encode("latin-1"), "the header is not UTF-8"),
        ("a.csv", b"step,loss,loss\n1,0.5,0.6\n", "several columns named loss"),
        ("a.csv", b'step,loss\n1,"0,69"\n', "loss is '0,69', not a number"),
        ("a.csv", b"", "it holds no rows"),
        ("a.csv", b"# only a comment\n\n", "it holds no rows"),
        ("a.tsv.gz", gzip.compress(b"step\tloss\n1\t0.5\n")[:-9], "cannot be read"),
        ("a.csv.gz", b"step,loss\n1,0.5\n", "cannot be read"),
        ("a.json", b"[]", "it holds no rows"),
        ("a.json", b'{"log_history": []}', "it holds no rows"),
        ("a.json", b"[1, 2", "1 of 1 rows cannot be read"),
        ("a.json", b'{"train_loss": 0.4, "train_runtime": 12.0}', "neither losses nor rewards"),
        ("a.json", b'[{"loss": true, "step": 1}]', "loss is True, not a number"),
        ("a.json", b'[{"loss": {"mean": 0.5}, "step": 1}]', "not a number"),
        ("a.json", b'[{"loss": 0.5, "step": "first"}]', "step is 'first', not a number"),
        ("a.jsonl", b'{"loss": ' + b"9" * 5000 + b"}\n", "cannot be read"),
        ("a.jsonl", b"\n \n", "it holds no rows"),
        ("a.parquet", b"PAR1 no more", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TrainingLogError, match=message):
        read_training_log(path)


def test_column_types_of_parquet_that_are_no_numbers_are_refused_by_name(tmp_path):
    path = tmp_path / "log.parquet"
    steps = list(range(3))
    for values in ([[0.5]] * 3, [True, False, True], [b"\xff"] * 3, [{"mean": 0.5}] * 3):
        pq.write_table(pa.table({"step": steps, "loss": values}), path)
        with pytest.raises(TrainingLogError, match="row 1, column loss: loss is"):
            read_training_log(path)


def test_numbers_of_numpy_torch_and_decimals_are_numbers():
    import decimal

    import torch

    kinds = (np.float32, torch.tensor, decimal.Decimal, np.array)
    for make in kinds:
        rows = [{"step": i, "loss": make(0.5), "rewards/margins": make(0.25)} for i in range(3)]
        assert read_training_log(rows).training["loss"].tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(TrainingLogError, match="not a number"):
        read_training_log([{"step": 1, "loss": np.array([0.5, 0.6])}])


def test_whole_numbers_of_any_length_are_read():
    rows = [{"step": 10**310, "loss": 0.5}, {"step": 2, "loss": -(10**310)}]
    assert read_training_log(rows).not_finite == ("step 2: training loss is -inf",)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n1,0.5\n")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(TrainingLogError, match="Permission denied"):
        read_training_log(path)


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "nul\0.csv", "no_such/deep/log.csv"])
def test_paths_that_name_no_file_are_refused(name):
    with pytest.raises(TrainingLogError):
        read_training_log(Path(name))


def test_a_folder_is_refused_and_the_logs_in_it_are_named(tmp_path):
    write_trainer_state(tmp_path / "trainer_state.json")
    (tmp_path / "events.out.tfevents.1").write_bytes(b"")
    with pytest.raises(TrainingLogError, match=r"(?s)a folder.*events.*, trainer_state\.json"):
        read_training_log(tmp_path)
    with pytest.raises(TrainingLogError, match=r"trainer_state\.json of a checkpoint"):
        read_training_log(tmp_path.parent / tmp_path.name / "..")


def test_a_file_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("zephyr_utils.diagnostics.log_files._LARGEST", 2**20)
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"step,loss\n" + b"1,0.5\n" * 200_000))
    with pytest.raises(TrainingLogError, match="its unpacked contents are more than any"):
        read_training_log(path)
    plain = tmp_path / "log.json"
    plain.write_bytes(b"[" + b" " * 2**20 + b"]")
    with pytest.raises(TrainingLogError, match="more than any training log has"):
        read_training_log(plain)


@pytest.mark.parametrize("name", ["[red]run[/red].csv", "[/x].csv", "{seed}.csv", "a\x1b[31mb.csv"])
def test_odd_names_reach_the_terminal_as_they_are_or_escaped(tmp_path, name):
    good = tmp_path / name
    good.parent.mkdir(exist_ok=True)
    good.write_text(as_table(logs.dpo()), encoding="utf-8")
    assert CliRunner().invoke(app, ["check-log", str(good)]).stdout.startswith("GREEN")
    good.write_text("step,loss\n1,half\n")
    with pytest.raises(TrainingLogError) as caught:
        read_training_log(good)
    assert good.name.replace("\x1b", "\\x1b") in str(caught.value) and "\x1b" not in str(
        caught.value
    )


def test_lone_surrogates_in_names_and_values_are_shown_escaped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"lo\\ud800ss": 1, "step": 1}\n')
    with pytest.raises(TrainingLogError) as caught:
        read_training_log(path)
    assert "lo\\ud800ss" in str(caught.value)
    str(caught.value).encode("utf-8")
    with pytest.raises(HandbookError) as caught:
        read_training_log([{"loss": "\ud800", "step": 1}])
    str(caught.value).encode("utf-8")
