"""What cannot be truecased is refused with a clear error, and every row is accounted for."""

import gzip
import json
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from truecasing_corpus import corpus, fitted
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.data import lines as data_lines
from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import truecase_files

FAULTY = "I don't know paris well. however, maria visited it in may."
RIGHT = "I don't know Paris well. However, Maria visited it in May."
ROW = json.dumps({"text": FAULTY})


def lines(path: Path, *rows: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"".join((row if isinstance(row, bytes) else row.encode()) + b"\n" for row in rows)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(row) for row in path.read_text().splitlines()]


def command(*arguments: object) -> tuple[int, str]:
    """Status and output of the command, the message of an error included."""
    result = CliRunner().invoke(app, ["truecase", *map(str, arguments)])
    if isinstance(result.exception, HandbookError):
        return 2, str(result.exception)  # as `zephyr` itself turns it into status 2
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


# --- nothing came out ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (['{"instruction": "a. b", "output": "a. b"}'], "the answers to one that is known"),
        (['{"chosen": "a. b", "rejected": "a. b"}'], "the row has: 'chosen', 'rejected'"),
        (["[", json.dumps({"text": FAULTY}) + ",", "{", "]"], "a JSON list rather than JSON Lines"),
        (["[" + ROW + "]"], "a JSON list rather than JSON Lines"),
        ([ROW + ",", ROW + ","], "without a comma after it"),
        ([ROW + "\r" + ROW], "carriage return"),
        (['{"messages": [{"speaker": "a", "text": "a. b"}]}'], "has no role"),
        (["a,b", "1,2"], "Expecting value"),
        ([b"\x00\x01\xff\xfe", b"\x80"], "not UTF-8"),
        (["", "", ""], "the line is empty"),
    ],
)
def test_a_file_of_which_no_row_comes_out_ends_with_the_likely_cause(tmp_path, rows, cause):
    good = lines(tmp_path / "good.jsonl", *(json.dumps({"text": text}) for text in corpus(300)))
    bad = lines(tmp_path / "bad.jsonl", *rows)
    for _ in range(2):  # a second call does not find it done
        status, output = command(bad, "--fit-on", good, "--output", tmp_path / "out")
        assert status == 2 and "nothing came out" in output and cause in output
    assert len((tmp_path / "out" / "bad.jsonl.set_aside.jsonl").read_text().splitlines()) == len(
        rows
    )


@pytest.mark.parametrize("first", [b"\xff\xfe", b"\xfe\xff"])
def test_utf_16_is_named(tmp_path, first):
    path = tmp_path / "a.jsonl"
    path.write_bytes(first + ROW.encode("utf-16-le"))
    with pytest.raises(HandbookError, match="UTF-16"):
        truecase_files(path, tmp_path / "out", truecaser=fitted())


def test_the_other_files_are_done_before_an_empty_result_is_named(tmp_path):
    lines(tmp_path / "in" / "a.jsonl", '{"other": 1}', "{")
    lines(tmp_path / "in" / "b.jsonl", ROW)
    with pytest.raises(
        HandbookError, match=r"all 2 rows were set aside .*a\.jsonl|a\.jsonl.*all 2"
    ):
        truecase_files(tmp_path / "in", tmp_path / "out", truecaser=fitted())
    assert json.loads((tmp_path / "out" / "b.jsonl").read_text()) == {"text": RIGHT}
    sums = json.loads((tmp_path / "out" / "report-0-of-1.json").read_text())
    assert (sums["rows"], sums["rows_written"]) == (3, 1)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([{"role": "Narrator", "content": FAULTY}], "'Narrator'"),
        ([{"role": "user", "content": FAULTY}], "check that the column"),
        ([], "check that the column"),
        (None, "check that the column"),
        ([{"from": "Speaker 1", "value": FAULTY}], "'Speaker 1'"),
    ],
)
def test_a_run_without_a_single_message_is_not_well(tmp_path, value, told):
    path = lines(tmp_path / "a.jsonl", json.dumps({"messages": value}))
    with pytest.raises(HandbookError, match="no message of the role assistant") as caught:
        truecase_files(path, tmp_path / "out", truecaser=fitted())
    assert told in str(caught.value)


def test_unknown_roles_are_counted_beside_known_ones(tmp_path):
    turns = [{"role": role, "content": FAULTY} for role in ("Narrator", "assistant", "tool")]
    for name, suffix in (("a", "jsonl"), ("b", "parquet")):
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "jsonl":
            lines(path, json.dumps({"messages": turns}))
        else:
            pq.write_table(pa.Table.from_pylist([{"messages": turns}]), path)
        report = truecase_files(path, tmp_path / "out", truecaser=fitted())
        assert report.unknown_roles == {"Narrator": 1} and report.messages == 1
        assert "1 x 'Narrator'" in report.report()


# --- bytes and lengths ---------------------------------------------------------------------------


def test_bytes_that_are_not_text_cost_their_line_alone(tmp_path):
    rows = [ROW, b'{"text": "caf\xe9. a"}', ROW.encode()[:20] + b"\xf0\x9f", b"\xed\xa0\x80", ROW]
    path = lines(tmp_path / "a.jsonl", *rows)
    report = truecase_files(path, tmp_path / "out", truecaser=fitted())
    assert (report.rows, dict(report.set_aside)) == (5, {"not UTF-8": 2, "not JSON": 1})
    aside = read(tmp_path / "out" / "a.jsonl.set_aside.jsonl")
    assert [item["where"] for item in aside] == [f"a.jsonl, row {n}" for n in (2, 3, 4)]
    assert aside[0]["line"] == '{"text": "caf\\xe9. a"}' and "byte 14" in aside[0]["detail"]


def test_a_surrogate_half_written_in_three_bytes_comes_back_as_it_was(tmp_path):
    row = ROW.encode()[:-2] + b" \xed\xa0\x80" + b'"}'
    path = lines(tmp_path / "a.jsonl", row)
    truecase_files(path, tmp_path / "out", truecaser=fitted())
    written = (tmp_path / "out" / "a.jsonl").read_bytes()
    assert written == row.replace(FAULTY.encode(), RIGHT.encode()) + b"\n"


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_line_beyond_the_limit_is_set_aside_by_its_beginning(tmp_path, monkeypatch, name):
    monkeypatch.setattr(data_lines, "MAX_ROW_BYTES", 10_000)
    long = json.dumps({"text": "a. b " * 1_000_000})
    path = lines(tmp_path / name, ROW, long, ROW, "x" * 10_000, "y" * 10_001)
    report = truecase_files(path, tmp_path / "out", truecaser=fitted())
    assert (report.rows, dict(report.set_aside)) == (5, {"line too long": 2, "not JSON": 1})
    aside = read(tmp_path / "out" / f"{name}.set_aside.jsonl")
    assert aside[0]["line"] == long[:200] and aside[0]["where"] == f"{name}, row 2"


def test_nested_thousands_deep_is_set_aside(tmp_path):
    deep = '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}"
    text = json.dumps({"text": "[" * 100_000})
    path = lines(tmp_path / "a.jsonl", deep, text, json.dumps({"messages": "[{" * 50_000}), ROW)
    report = truecase_files(path, tmp_path / "out", truecaser=fitted())
    assert report.rows == 4 and report.rows_written >= 2


def test_dates_that_python_cannot_hold_pass_through(tmp_path):
    far = pa.array([10**17, -(10**17), None], pa.timestamp("us"))
    turns = [{"role": "assistant", "content": FAULTY}]
    kind = pa.list_(
        pa.struct([("role", pa.string()), ("content", pa.string()), ("at", pa.timestamp("s"))])
    )
    inner = pa.array([[turn | {"at": 10**13} for turn in turns]] * 2 + [None], kind)
    table = pa.table(
        {"when": far, "day": far.cast(pa.timestamp("ns"), safe=False), "messages": inner}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    report = truecase_files(tmp_path / "a.parquet", tmp_path / "out", truecaser=fitted())
    written = pq.read_table(tmp_path / "out" / "a.parquet")
    source = pq.read_table(tmp_path / "a.parquet")
    assert report.altered == 2 and written.drop("messages").equals(source.drop("messages"))
    before, after = (t["messages"].combine_chunks().values for t in (source, written))
    assert after.field("at").equals(before.field("at")) and not after.equals(before)
    with pytest.raises(HandbookError, match="can be learned from"):  # read, and of no use to a fit
        truecase_files(tmp_path / "a.parquet", tmp_path / "fitted")


def test_a_row_with_such_a_date_can_be_set_aside(tmp_path):
    table = pa.table(
        {
            "when": pa.array([10**17] * 2, pa.timestamp("us")),
            "messages": ["[{'role': 'user'", "a. b"],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    report = truecase_files(tmp_path / "a.parquet", tmp_path / "out", truecaser=fitted())
    assert dict(report.set_aside) == {"broken structure": 1} and report.rows_written == 1
    [aside] = (tmp_path / "out" / "a.parquet.set_aside.jsonl").read_text().splitlines()
    assert "[{'role': 'user'" in json.loads(aside)["line"]


def test_old_timestamps_of_far_years_keep_their_value(tmp_path):
    table = pa.table(
        {"when": pa.array([datetime(9999, 12, 31), datetime(1, 1, 1)]), "text": [FAULTY] * 2}
    )
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    truecase_files(tmp_path / "a.parquet", tmp_path / "out", truecaser=fitted())
    written = pq.read_table(tmp_path / "out" / "a.parquet").to_pylist()
    assert [row["when"] for row in written] == [datetime(9999, 12, 31), datetime(1, 1, 1)]


def test_bytes_that_are_not_text_in_a_table_come_back_as_they_were(tmp_path):
    raw = pa.array([b"caf\xe9. however, i", FAULTY.encode(), b"\xff[{"])
    table = pa.table({"text": pa.Array.from_buffers(pa.string(), 3, raw.buffers())})
    pq.write_table(table, tmp_path / "a.parquet")
    report = truecase_files(tmp_path / "a.parquet", tmp_path / "out", truecaser=fitted())
    written = pq.read_table(tmp_path / "out" / "a.parquet")["text"].cast(pa.binary()).to_pylist()
    assert written[1] == RIGHT.encode() and written[2] == b"\xff[{" and report.rows_written == 3
    assert written[0].lower() == b"caf\xe9. however, i"
    with pytest.raises(HandbookError, match="can be learned from"):
        truecase_files(tmp_path / "a.parquet", tmp_path / "fitted")


# --- files that are damaged, and folders that cannot be used --------------------------------------


@pytest.mark.parametrize("cut", [5, -9, "middle"])
@pytest.mark.parametrize("ending", ["jsonl.gz", "parquet", "arrow"])
def test_a_damaged_file_is_named_and_leaves_nothing_behind(tmp_path, ending, cut):
    path = tmp_path / f"a.{ending}"
    table = pa.table({"text": corpus(400)})
    if ending == "parquet":
        pq.write_table(table, path)
    elif ending == "arrow":
        with pa.ipc.new_file(str(path), table.schema) as sink:
            sink.write_table(table)
    else:
        lines(path, *(json.dumps({"text": text}) for text in corpus(400)))
    raw = bytearray(path.read_bytes())
    if cut == "middle":
        raw[len(raw) // 2 : len(raw) // 2 + 400] = bytes(400)
        if ending == "arrow":
            raw[-400:] = bytes(400)  # of the footer: Arrow keeps no sums of its data
    else:
        raw = raw[:cut]
    path.write_bytes(raw)
    for options in ({"truecaser": fitted()}, {}):
        with pytest.raises(HandbookError, match=f"a.{ending}"):
            truecase_files(path, tmp_path / "out", **options)
    assert not list((tmp_path / "out").glob("*a.*"))


LONG = "x" * 300


@pytest.mark.parametrize(
    ("inputs", "output", "reason"),
    [
        ("a.jsonl", "a.jsonl", "output folder"),
        ("a.jsonl", "a.jsonl/out", "output folder"),
        ("a.jsonl", LONG, "output folder"),
        ("a.jsonl", "zero\0byte", "output folder|null byte"),
        ("a.jsonl", "locked", "output folder"),
        (LONG, "out", "path cannot be read|no such file"),
        ("a.jsonl/b", "out", "no such file"),
        ("zero\0byte", "out", "no such file|path cannot be read|null byte"),
        ("hidden.jsonl", "out", "cannot be read"),
    ],
)
def test_a_path_that_cannot_be_used_is_said_before_any_work(tmp_path, inputs, output, reason):
    lines(tmp_path / "a.jsonl", ROW)
    (tmp_path / "locked").mkdir(mode=0o555)
    lines(tmp_path / "hidden.jsonl", ROW).chmod(0)
    if os.geteuid() == 0 and "locked" in output:  # nothing is locked for root but what is a file
        (tmp_path / "locked").rmdir()
        (tmp_path / "locked").write_text("")
    if os.geteuid() == 0 and "hidden" in inputs:
        (tmp_path / "hidden.jsonl").unlink()
        (tmp_path / "hidden.jsonl").symlink_to("hidden.jsonl")
        reason = "no such file|cannot be read"
    status, said = command(tmp_path / inputs, "--output", tmp_path / output)
    assert status == 2
    assert any(part in said for part in reason.split("|")), said
    assert not (tmp_path / "out" / "truecaser.npz").exists()


@pytest.mark.parametrize("name", ["[/x]", "[red]a", "[bold", "a{seed}b", "ünï ćødé", "a\x1b[31mb"])
def test_names_with_markup_braces_and_signs_are_shown_as_they_are(tmp_path, name):
    good = [json.dumps({"text": text}) for text in corpus(600)]
    lines(tmp_path / name / "[a].jsonl", *good, ROW)
    output = tmp_path / f"{name} out"
    status, said = command(tmp_path / name, "--output", output)
    assert status == 0
    assert name.replace("\x1b", "\\x1b") in said.replace("\n", "") and "\x1b" not in said
    last = (output / "[a].jsonl").read_text().splitlines()[-1]
    assert json.loads(last) == {"text": RIGHT}
    status, said = command(tmp_path / name / "missing", "--output", output)
    assert status == 2 and name in said


def test_a_name_of_a_surrogate_half_is_not_an_obstacle(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    try:
        folder.mkdir()
    except OSError:  # some file systems take UTF-8 alone
        folder = tmp_path
    lines(folder / "a.jsonl", ROW)
    pq.write_table(
        pa.table({"text": [FAULTY]}), folder / "b.parquet"
    ) if folder == tmp_path else None
    report = truecase_files(folder, folder / "out", truecaser=fitted())
    assert report.altered >= 1
    assert np.unique(report.files).tolist()[0] == "a.jsonl"


# --- nothing to fit on ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (["messages:", "- role: user"], "YAML"),
        (["{'text': 'a. b'}"], "json.dumps"),
        (["[" + ROW + "]"], "a JSON list rather than JSON Lines"),
        ([ROW + ",", ROW + ","], "without a comma after it"),
        ([ROW + "\r" + ROW], "carriage return"),
        (['{"prompt": "a", "completion": "b"}'], "the row has: 'prompt', 'completion'"),
        (['{"messages": [{"role": "gpt-4", "content": "a. b"}]}'], "'gpt-4' are not known"),
        ([], "give files with rows"),
    ],
)
def test_a_file_without_text_to_fit_on_is_named_with_the_likely_cause(tmp_path, rows, cause):
    bad = lines(tmp_path / "bad.jsonl", *rows)
    status, output = command(bad, "--output", tmp_path / "out")
    assert status == 2 and "no text to fit on" in output
    assert cause in output and str(bad) in output


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("https://x.org/a.jsonl", "download it first"),
        ("~/a.jsonl", "the ~ was not replaced"),
        ("nowhere.jsonl", "check the path"),
        ("hub", "data, which does"),
    ],
)
def test_inputs_that_are_not_there_say_where_they_may_be(tmp_path, monkeypatch, name, advice):
    monkeypatch.chdir(tmp_path)
    lines(tmp_path / "hub" / "data" / "train.jsonl", ROW)
    status, output = command(name, "--output", tmp_path / "out")
    assert status == 2 and advice in output
