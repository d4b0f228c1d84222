"""Reading and saving records: every kind of file, folders, and what is said when one
cannot be read.
"""

import builtins
import errno
import gzip
import io
import json
import sys

import pytest
from real_records import REAL, needs
from sample_records import DIALOGUE, FEEDBACK, PAIR, USER

from zephyr_utils import progress
from zephyr_utils.data import records
from zephyr_utils.data.records import (
    RecordError,
    check_dialogue,
    check_feedback,
    check_preference,
    iter_records,
    load_records,
    save_records,
    save_set_aside,
)
from zephyr_utils.errors import HandbookError


def lines(*rows):
    return b"".join(
        row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows
    )


@pytest.fixture
def write(tmp_path):
    def write(content, name="rows.jsonl"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


# --- files ----------------------------------------------------------------------------------------


def test_a_truncated_line_names_its_file_and_row(write):
    path = write(lines(DIALOGUE, DIALOGUE) + b'{"messages": [{"role": "user", "con')
    with pytest.raises(RecordError) as error:
        load_records(path, "dialogue")
    assert error.value.reason == "broken_json" and error.value.where == f"{path}, row 3"
    assert "set_aside=True" in error.value.remedy


def test_bad_rows_are_set_aside_with_their_reason_and_all_rows_are_accounted_for(write, tmp_path):
    path = write(
        lines(
            b"\xef\xbb\xbf", DIALOGUE, b"\n", {"messages": [USER, USER]}, b'{"messages": "\xff"}\n',
            b"[" * 100_000 + b"\n",
            {"messages": []}, DIALOGUE, b"5\n", b'{"a": ',
        )
    )  # fmt: skip
    loaded = load_records(path, "dialogue", set_aside=True)
    assert loaded.n_read == 8 == len(loaded) + len(loaded.set_aside)
    assert [row.where.rpartition(" ")[2] for row in loaded.set_aside] == [
        "3",
        "4",
        "5",
        "6",
        "8",
        "9",
    ]
    assert loaded.reasons() == {
        "two_user_turns": 1, "invalid_utf8": 1, "broken_json": 2, "empty_dialogue": 1,
        "not_an_object": 1,
    }  # fmt: skip
    assert "8 rows read = 2 records + 6 set aside" in loaded.report()
    rejects = save_set_aside(tmp_path / "rejects.jsonl", loaded.set_aside).read_text().splitlines()
    assert [json.loads(line)["reason"] for line in rejects] == [
        row.reason for row in loaded.set_aside
    ]
    assert json.loads(rejects[0])["record"] == {"messages": [USER, USER]}


def test_a_row_with_a_broken_character_can_be_written_to_the_rejects(write, tmp_path):
    broken = b'{"messages": [{"role": "user", "content": "\\ud83d"}]}\n'
    loaded = load_records(write(lines(DIALOGUE, broken)), "dialogue", set_aside=True)
    rejects = save_set_aside(tmp_path / "rejects.jsonl", loaded.set_aside).read_text()
    assert loaded.reasons() == {"bad_unicode": 1} and "\\ud83d" in rejects


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows.jsonl.gz", "rows.json"])
@pytest.mark.parametrize(
    ("kind", "record"),
    [("dialogue", DIALOGUE), ("feedback", FEEDBACK), ("preference", PAIR | {"chosen_model": "a"})],
)
def test_every_kind_of_record_comes_back_as_it_was_from_every_kind_of_file(
    tmp_path, kind, record, name
):
    made = [records.KINDS[kind](record, "") for _ in range(3)]
    path = tmp_path / name
    if name in ("rows.jsonl", "rows.parquet"):
        assert save_records(made, path) == path
    elif name == "rows.jsonl.gz":
        path.write_bytes(gzip.compress(lines(*made)))
    else:
        path.write_text(json.dumps(made))
    assert load_records(path, kind).records == made
    assert [p.name for p in tmp_path.iterdir()] == [name]  # no unfinished file is left


def test_answers_not_yet_rated_can_be_saved_as_parquet(tmp_path):
    unrated = check_feedback(FEEDBACK | {"completions": [{"model": "a", "response": "Hello."}]})
    assert load_records(save_records([unrated], tmp_path / "rows.parquet"), "feedback").records == [
        unrated
    ]


def test_a_field_that_only_later_records_have_is_not_lost_in_parquet(tmp_path):
    pairs = [check_preference(PAIR), check_preference(PAIR | {"chosen_model": "a"})]
    assert (
        load_records(save_records(pairs, tmp_path / "rows.parquet"), "preference").records == pairs
    )


def test_a_json_file_may_hold_one_object_or_one_a_line(write):
    assert (
        len(load_records(write(json.dumps(DIALOGUE, indent=1).encode(), "one.json"), "dialogue"))
        == 1
    )
    assert len(load_records(write(lines(DIALOGUE, DIALOGUE), "many.json"), "dialogue")) == 2


def test_a_truncated_json_list_and_a_damaged_archive_or_parquet_file_are_reported(write, tmp_path):
    archive = gzip.compress(lines(*[DIALOGUE | {"prompt": str(i)} for i in range(2000)]))
    whole = save_records([check_dialogue(DIALOGUE)], tmp_path / "whole.parquet").read_bytes()
    cases = {
        "cut.json": (json.dumps([DIALOGUE, DIALOGUE]).encode()[:-9], "broken_json"),
        "cut.jsonl.gz": (archive[: len(archive) // 2], "broken_file"),
        "plain.jsonl.gz": (lines(DIALOGUE), "broken_file"),
        "cut.parquet": (whole[:-20], "broken_file"),
        "text.parquet": (lines(DIALOGUE), "broken_file"),
    }
    for name, (content, reason) in cases.items():
        path = write(content, name)
        with pytest.raises(RecordError) as error:
            list(iter_records(path, "dialogue"))
        assert error.value.reason == reason and str(path) in error.value.where
        set_aside = []
        list(iter_records(path, "dialogue", set_aside=set_aside))
        assert [row.reason for row in set_aside] == [reason]
    assert (
        load_records(tmp_path / "cut.jsonl.gz", "dialogue", set_aside=True).records[0]["prompt"]
        == "0"
    )


def test_a_folder_is_read_in_the_order_of_its_files_and_without_the_notes_beside_them(
    write, tmp_path
):
    write(lines(DIALOGUE | {"prompt": "b"}), "part-2.jsonl")
    save_records([check_dialogue(DIALOGUE | {"prompt": "a"})], tmp_path / "part-1.parquet")
    write(b'{"loss": 1}', "metrics.json")
    write(b"", ".hidden.jsonl")
    assert [r["prompt"] for r in load_records(tmp_path, "dialogue")] == ["a", "b"]


def test_a_source_that_cannot_be_read_is_named_with_a_remedy(write, tmp_path):
    (tmp_path / "empty").mkdir()
    cases = [
        tmp_path / "none.jsonl",
        tmp_path / "empty",
        write(b"x", "rows.csv"),
        write(b"", "rows.jsonl"),
    ]
    for path in cases:
        with pytest.raises(HandbookError) as error:
            load_records(path, "dialogue")
        assert error.value.where == str(path) and error.value.remedy


def test_an_unknown_kind_of_record_is_refused(write):
    with pytest.raises(HandbookError, match="dialogue, feedback, preference"):
        load_records(write(lines(DIALOGUE)), "dialog")


def test_a_limit_counts_rows_good_or_bad_and_reads_no_further(write):
    path = write(lines({"messages": []}, DIALOGUE, DIALOGUE, b"{"))
    loaded = load_records(path, "dialogue", limit=2, set_aside=True)
    assert (len(loaded), len(loaded.set_aside)) == (1, 1)


def test_records_are_read_one_by_one(write):
    rows = iter_records(write(lines(DIALOGUE, b"{")), "dialogue")
    assert next(rows)["prompt"] == "Hi"  # the broken second row has not been met yet
    with pytest.raises(RecordError):
        next(rows)


def test_repeated_ids_are_counted_and_kept(write):
    loaded = load_records(
        write(lines(DIALOGUE, DIALOGUE, DIALOGUE | {"prompt_id": "x"})), "dialogue"
    )
    assert (len(loaded), loaded.n_duplicate_ids) == (
        3,
        1,
    ) and "1 records repeat the id" in loaded.report()
    assert load_records(write(lines(FEEDBACK, FEEDBACK)), "feedback").n_duplicate_ids == 1


def test_saving_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = save_records([DIALOGUE], tmp_path / "rows.jsonl")
    before = path.read_bytes()
    with pytest.raises(RecordError, match="record 2"):
        save_records([DIALOGUE, {"messages": object()}], path)

    class FullDisk(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(builtins, "open", lambda *args, **options: FullDisk())
    with pytest.raises(HandbookError, match="No space left") as error:
        save_records([DIALOGUE], path)
    assert error.value.where == str(path)
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_records_that_fit_no_table_or_no_known_ending_are_refused(tmp_path):
    with pytest.raises(RecordError, match="same type"):
        save_records([{"a": 1}, {"a": "x"}], tmp_path / "rows.parquet")
    with pytest.raises(HandbookError, match=r"\.jsonl or \.parquet"):
        save_records([DIALOGUE], tmp_path / "rows.csv")


# --- progress -------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_appears_on_a_terminal_only_and_only_for_slow_work(monkeypatch):
    shown = {}
    for patience, stream in ((-1.0, Terminal()), (3600.0, Terminal()), (-1.0, io.StringIO())):
        monkeypatch.setattr(progress, "PROGRESS_DELAY", patience)
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(progress.track(range(5), "reading")) == list(range(5))
        shown[patience, stream.isatty()] = "reading" in stream.getvalue()
    assert shown == {(-1.0, True): True, (3600.0, True): False, (-1.0, False): False}


@pytest.mark.parametrize(
    "what", ["reading [/x]", "reading [red]x[/red]", "reading {GUID} [", "[bold"]
)
def test_brackets_in_the_name_of_a_file_are_shown_by_the_bars(monkeypatch, what):
    monkeypatch.setattr(progress, "PROGRESS_DELAY", -1.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress.track(range(5), what)) == list(range(5))
    assert what in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.track_bytes(what) as move:
        move(1, 2)
    assert what in sys.stderr.getvalue()


# --- real records ---------------------------------------------------------------------------------


@needs("ultrachat_200k_sample")
def test_real_dialogues_load_whole_and_their_ids_are_the_hash_of_the_prompt():
    folder = REAL / "ultrachat_200k_sample"
    assert len(load_records(folder / "ultrachat_small.shared.jsonl", "dialogue")) == 800
    raw = [
        json.loads(line)
        for line in (folder / "ultrachat_chunk_eval_checkpoint.jsonl").read_text().splitlines()
    ]
    assert [check_dialogue({"messages": r["messages"]})["prompt_id"] for r in raw] == [
        r["prompt_id"] for r in raw
    ]


@needs("ultrafeedback_binarized_sample")
def test_real_preferences_load_whole():
    path = REAL / "ultrafeedback_binarized_sample" / "train_clean.shared.jsonl"
    assert len(load_records(path, "preference")) == 800


@needs("ultrafeedback_schema")
def test_the_published_example_of_feedback_loads_though_three_of_its_answers_are_unrated():
    folder = REAL / "ultrafeedback_schema"
    example = load_records(folder / "openbmb_readme_example.json", "feedback").records[0]
    assert [len(c["annotations"]) for c in example["completions"]] == [4, 0, 0, 0]
    assert len(load_records(folder / "activeuf_truthful_qa_stage1.json", "feedback")) == 10
