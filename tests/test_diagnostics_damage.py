"""Files that are damaged, odd or no logs: read as far as can be, or refused with the reason."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import training_logs as logs
from training_logs import as_table, write_json_lines
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.diagnostics import (
    TrainingLogError,
    read_training_log,
    traffic_light,
)
from zephyr_utils.errors import HandbookError


def write_trainer_state(path):
    path.write_text(json.dumps({"max_steps": 100, "log_history": logs.dpo()}))


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
        ("a.csv", '"step","loss\n1,0.5\n'.encode("utf-16"), "written in UTF-16"),
        ("a.csv", b"PK\x03\x04 a workbook", "the file is a zip archive"),
        ("a.tsv", gzip.compress(b"step\tloss\n1\t0.5\n", mtime=0), "compressed with gzip"),
        ("README.md", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("a.csv", b"<!DOCTYPE html><html></html>", "a web page"),
        ("a.jsonl", b"{'loss': 0.69}\n{'loss': 0.68}\n", "written as Python prints it"),
        ("a.jsonl", b"loss: 0.69\n", "this looks like YAML"),
        ("a.csv", "step,loss,größe\n1,0.5,3\n".encode("latin-1"), "the header is not UTF-8"),
        ("a.csv", b"step,loss,loss\n1,0.5,0.6\n", "several columns named loss"),
        ("a.csv", b'step,loss\n1,"0,69"\n', "loss is '0,69', a number with a decimal comma"),
        ("a.csv", b"", "it holds no rows"),
        ("a.csv", b"# only a comment\n\n", "it holds no rows"),
        ("a.tsv.gz", gzip.compress(b"step\tloss\n1\t0.5\n", mtime=0)[:-9], "cannot be read"),
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


def test_column_types_of_parquet_that_are_not_numbers_are_refused_by_name(tmp_path):
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
    rows = [{"step": 1, "loss": 10**310}, {"step": 2, "loss": -(10**310)}]
    assert read_training_log(rows).not_finite == (
        "step 1: training loss is inf",
        "step 2: training loss is -inf",
    )


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
    path.write_bytes(gzip.compress(b"step,loss\n" + b"1,0.5\n" * 200_000, mtime=0))
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
