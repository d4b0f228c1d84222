"""Whole files: the same rows out, every row counted, resumed after a kill, shared out among
machines.
"""

import functools
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from truecasing_corpus import corpus, fitted
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.errors import HandbookError
from zephyr_utils.progress import track_bytes
from zephyr_utils.truecasing import Truecaser, corrupt_case, truecase_files, truecase_messages

FAULTY = "I don't know paris well. however, maria visited it in may."
REPAIRED = "I don't know Paris well. However, Maria visited it in May."


def dialogues(count: int = 200, seed: int = 3) -> list[dict]:
    """Dialogues of which every tenth answer has lost its capitals."""
    answers = [
        corrupt_case(text, "capitalize") if number % 10 == 0 else text
        for number, text in enumerate(corpus(count, seed))
    ]
    return [
        {
            "prompt_id": str(number),
            "messages": [
                {"role": "user", "content": "tell me. please"},
                {"role": "assistant", "content": answer},
            ],
        }
        for number, answer in enumerate(answers)
    ]


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=64)
    else:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def read(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def expected(rows: list[dict]) -> list[dict]:
    repaired = fitted().truecase_batch([row["messages"][1]["content"] for row in rows])
    return [
        row | {"messages": [row["messages"][0], row["messages"][1] | {"content": text}]}
        for row, text in zip(rows, repaired, strict=True)
    ]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz"])
def test_each_format_comes_out_as_it_went_in_with_the_answers_repaired(tmp_path, name):
    rows = dialogues()
    source = write(tmp_path / name, rows)
    report = truecase_files(source, tmp_path / "out", truecaser=fitted())
    assert read(tmp_path / "out" / name) == expected(rows) != rows
    assert (report.rows, report.messages, report.altered) == (200, 200, 20)
    assert report.labels["capitalized"] == 20 and report.edits > 100 and not report.set_aside
    stored = json.loads((tmp_path / "out" / f"{name}.report.json").read_text())["report"]
    assert (stored["rows"], stored["rows_written"]) == (200, 200)
    assert "200 rows in = 200 out + 0 set aside" in report.report()


def test_untouched_lines_keep_every_byte(tmp_path):
    lines = [
        '{"text":  "The river in Paris is quiet." , "n":1e3}',
        json.dumps({"text": FAULTY}),
        '{"text": "\\u00e9t\\u00e9"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))  # no line break at the end
    truecase_files(tmp_path / "a.jsonl", tmp_path / "out", truecaser=fitted())
    written = (tmp_path / "out" / "a.jsonl").read_text().splitlines()
    assert written == [lines[0], json.dumps({"text": REPAIRED}), lines[2]]


def test_lines_that_cannot_be_read_are_set_aside_with_their_reason_and_counted(tmp_path):
    lines = [
        json.dumps({"text": FAULTY}),
        "{broken",
        "",
        "[1]",
        '{"other": 1}',
        '{"messages": [{"from": "gpt"}]}',
        '{"text": 7}',
        '{"messages": [null]}',
        '{"messages": null}',
        '{"text": "\\ud800. lone"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    report = truecase_files(tmp_path / "a.jsonl", tmp_path / "out", truecaser=fitted())
    written = (tmp_path / "out" / "a.jsonl").read_text().splitlines()
    assert written == [json.dumps({"text": REPAIRED}), lines[8], lines[9]]
    assert dict(report.set_aside) == {"not JSON": 2, "not messages": 4, "no such column": 1}
    assert report.rows == len(lines) == len(written) + report.set_aside.total()
    aside = read(tmp_path / "out" / "a.jsonl.set_aside.jsonl")
    assert [item["where"] for item in aside][:2] == ["a.jsonl, row 2", "a.jsonl, row 3"]
    assert aside[0]["line"] == "{broken"


def test_a_repaired_line_with_half_a_surrogate_pair_can_be_read_again(tmp_path):
    line = json.dumps({"text": FAULTY + " é"}, ensure_ascii=False).replace("é", "é \\ud800")
    (tmp_path / "a.jsonl").write_text(line + "\n", encoding="utf-8")
    truecase_files(tmp_path / "a.jsonl", tmp_path / "out", truecaser=fitted())
    assert read(tmp_path / "out" / "a.jsonl") == [{"text": REPAIRED + " É \ud800"}]


def test_raw_ultrachat_is_known_by_its_data_column(tmp_path):
    write(tmp_path / "a.jsonl", [{"id": "0", "data": [FAULTY, FAULTY]}])
    truecase_files(tmp_path, tmp_path / "out", truecaser=fitted())
    assert read(tmp_path / "out" / "a.jsonl") == [{"id": "0", "data": [FAULTY, REPAIRED]}]


def test_empty_files_are_fine_among_others(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    pq.write_table(pa.Table.from_pylist(dialogues(3)).slice(0, 0), tmp_path / "b.parquet")
    write(tmp_path / "c.jsonl", dialogues(3))
    report = truecase_files(tmp_path, tmp_path / "out", truecaser=fitted())
    assert (report.rows, report.files) == (3, ["a.jsonl", "b.parquet", "c.jsonl"])
    assert pq.read_table(tmp_path / "out" / "b.parquet").num_rows == 0


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_files_without_a_single_row_are_not_a_success(tmp_path, name):
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(dialogues(3)).slice(0, 0), tmp_path / name)
    else:
        (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    with pytest.raises(HandbookError, match="there are no rows"):
        truecase_files(tmp_path / name, tmp_path / "out", truecaser=fitted())


def test_a_second_call_does_nothing_again_and_a_change_of_input_does(tmp_path):
    write(tmp_path / "a.jsonl", dialogues(20))
    write(tmp_path / "b.jsonl", dialogues(30))
    first = truecase_files(tmp_path, tmp_path / "out", truecaser=fitted())
    again = truecase_files(tmp_path, tmp_path / "out", truecaser=fitted())
    assert again.reused == ["a.jsonl", "b.jsonl"] and not again.files
    assert (again.rows, again.edits, again.labels) == (first.rows, first.edits, first.labels)
    write(tmp_path / "b.jsonl", dialogues(40))
    assert truecase_files(tmp_path, tmp_path / "out", truecaser=fitted()).files == ["b.jsonl"]


def test_shards_share_the_files_and_agree_with_a_single_run(tmp_path):
    for name in "abcde":
        write(tmp_path / f"{name}.parquet", dialogues(30, seed=ord(name)))
    whole = truecase_files(tmp_path, tmp_path / "whole", truecaser=fitted())
    parts = [
        truecase_files(
            tmp_path, tmp_path / "parts", truecaser=fitted(), shard_index=n, num_shards=3
        )
        for n in range(3)
    ]
    assert sorted(name for part in parts for name in part.files) == whole.files
    assert sum(part.edits for part in parts) == whole.edits
    for name in "abcde":
        assert read(tmp_path / "whole" / f"{name}.parquet") == read(
            tmp_path / "parts" / f"{name}.parquet"
        )


@pytest.mark.parametrize(
    ("spoil", "options", "reason"),
    [
        (lambda folder: None, {}, "no file of records"),
        (
            lambda folder: (folder / "in" / "a.csv").write_text("x"),
            {"inputs": "a.csv"},
            "cannot be repaired",
        ),
        (lambda folder: (folder / "in" / "a.parquet").write_bytes(b"PAR1 broken"), {}, "a.parquet"),
        (
            lambda folder: (folder / "in" / "a.jsonl.gz").write_bytes(
                gzip.compress(b'{"text": "x"}\n' * 99)[:-9]
            ),
            {},
            "damaged",
        ),
        (
            lambda folder: write(folder / "in" / "a.jsonl", dialogues(2)),
            {"shard_index": 2, "num_shards": 2},
            "no shard 2",
        ),
        (
            lambda folder: write(folder / "in" / "a.jsonl", dialogues(2)),
            {"output": "in"},
            "overwrite",
        ),
        (lambda folder: write(folder / "in" / "a.parquet", [{"other": 1}]), {}, "messages"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_no_half_file(tmp_path, spoil, options, reason):
    (tmp_path / "in").mkdir()
    spoil(tmp_path)
    options = dict(options)
    inputs = tmp_path / "in" / options.pop("inputs", "")
    output = tmp_path / options.pop("output", "out")
    with pytest.raises(HandbookError, match=reason):
        truecase_files(inputs, output, truecaser=fitted(), **options)
    assert not list((tmp_path / "out").glob("a*"))


def test_fitting_on_files_without_text_says_so(tmp_path):
    write(tmp_path / "a.jsonl", [{"messages": []}])
    with pytest.raises(HandbookError, match="no text to fit on"):
        truecase_files(tmp_path / "a.jsonl", tmp_path / "out")


def test_the_command_fits_repairs_reports_and_goes_on_after_a_kill(tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abc":
        write(tmp_path / "in" / f"{name}.parquet", dialogues(600, seed=ord(name)))
    command = [
        sys.executable,
        "-m",
        "zephyr_utils",
        "truecase",
        str(tmp_path / "in"),
        "--output",
        str(tmp_path / "out"),
    ]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "a.parquet.report.json").exists() and time.monotonic() < deadline:
        assert running.poll() is None or running.returncode == 0
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    running.wait()
    before = (tmp_path / "out" / "a.parquet").stat().st_mtime_ns
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "a.parquet").stat().st_mtime_ns == before
    assert (
        "1,800 rows in = 1,800 out + 0 set aside" in done.stdout and "already done" in done.stdout
    )
    report = json.loads((tmp_path / "out" / "report-0-of-1.json").read_text())
    assert (
        report["rows"] == report["rows_written"] == 1800 and report["labels"]["capitalized"] > 175
    )
    assert report["reused"][0] == "a.parquet"
    for name in "abc":
        assert pq.read_metadata(tmp_path / "out" / f"{name}.parquet").num_rows == 600
    assert not list((tmp_path / "out").glob(".*.unfinished"))


def test_the_command_takes_other_files_to_fit_on_and_a_share_of_the_work(tmp_path):
    write(tmp_path / "good.jsonl", [{"text": text} for text in corpus(600)])
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.jsonl", [{"text": FAULTY}])
    write(tmp_path / "in" / "b.jsonl", [{"text": FAULTY}])
    command = [
        "truecase",
        str(tmp_path / "in"),
        "--output",
        str(tmp_path / "out"),
        "--fit-on",
        str(tmp_path / "good.jsonl"),
    ]
    result = CliRunner().invoke(app, [*command, "--shard-index", "1", "--num-shards", "2"])
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "out" / "a.jsonl").exists()
    assert read(tmp_path / "out" / "b.jsonl") == [{"text": REPAIRED}]
    assert Truecaser.load(tmp_path / "out" / "truecaser.npz").truecase(FAULTY) == REPAIRED


def test_progress_is_told_in_bytes_up_to_the_last(tmp_path):
    write(tmp_path / "a.parquet", dialogues(1500))
    write(tmp_path / "b.jsonl.gz", dialogues(50))
    told = []
    report = truecase_files(
        tmp_path, tmp_path / "out", truecaser=fitted(), progress=lambda *pair: told.append(pair)
    )
    assert [done for done, _ in told] == sorted(done for done, _ in told) and len(told) > 3
    assert told[-1] == (report.input_bytes, report.input_bytes)


def test_the_bar_shows_on_a_terminal_and_nowhere_else(monkeypatch, capsys):
    with track_bytes("truecasing") as progress:
        progress(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with track_bytes("truecasing") as progress:
        progress(1_000_000, 2_000_000)
    assert "truecasing" in capsys.readouterr().err


# --- the same function in other people's machines -------------------------------------------------


def test_datasets_maps_the_function_in_several_processes(tmp_path):
    from datasets import Dataset

    rows = dialogues(400)
    repair = functools.partial(truecase_messages, column="messages", truecaser=fitted())
    dataset = Dataset.from_list(rows).with_format("arrow")
    mapped = dataset.map(repair, batched=True, batch_size=50, num_proc=2).with_format(None)
    assert mapped.to_list() == expected(rows)


def test_ray_data_maps_the_function_over_parquet(tmp_path):
    ray = pytest.importorskip(
        "ray", reason="ray is not installed; pip install 'zephyr-handbook[ray]'"
    )
    pytest.importorskip("ray.data", reason="ray is there without ray[data]")
    write(tmp_path / "a.parquet", dialogues(100))
    write(tmp_path / "b.parquet", dialogues(100, seed=4))
    repair = functools.partial(truecase_messages, column="messages", truecaser=fitted())
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        dataset = ray.data.read_parquet([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")])
        dataset.map_batches(repair, batch_format="pyarrow").write_parquet(str(tmp_path / "out"))
    finally:
        ray.shutdown()
    written = [row for path in sorted((tmp_path / "out").glob("*.parquet")) for row in read(path)]
    wanted = expected(dialogues(100)) + expected(dialogues(100, seed=4))
    assert sorted(written, key=json.dumps) == sorted(wanted, key=json.dumps)
