"""The journal as a file: damaged in any way, in a place that cannot be written, or none at all."""

import errno
import io
import json
import os

import filelock
import pytest
from feedback_server import balance, by_turns, chat_server, collect

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import Journal, Reply


def reply(key="k", text="Hello.", **fields):
    told = {"purpose": "answer", "model": "m", "finish_reason": "stop", "served_by": "m"}
    counts = {"prompt_tokens": 1, "completion_tokens": 1}
    return Reply(key=key, text=text, at="now", **told | counts | fields)


def written(path, *replies):
    with Journal(path) as journal:
        for each in replies:
            journal.write(each)
    return path


DAMAGE = {
    "half a character": b'{"key": "x", "text": "Zo\xc3\n',
    "another encoding": '{"key": "x", "text": "Zoë"}\n'.encode("latin-1"),
    "UTF-16": '{"key": "x"}'.encode("utf-16") + b"\n",
    "zeros": b"\0" * 512 + b"\n",
    "nested deeply": b"[" * 100_000 + b"\n",
    "5,000 digits": b'{"key": ' + b"1" * 5000 + b"}\n",
    "another record": b'{"prompt": "Hi"}\n',
    "a list": b"[1]\n",
    "a key that is a list": json.dumps(vars(reply()) | {"key": ["x"]}).encode() + b"\n",
    "a model that is a list": json.dumps(vars(reply("x")) | {"model": ["m"]}).encode() + b"\n",
    "tokens beyond measure": (
        json.dumps(vars(reply("x")) | {"prompt_tokens": 10**400}).encode() + b"\n"
    ),
    "tokens below 0": json.dumps(vars(reply("x")) | {"prompt_tokens": -1}).encode() + b"\n",
    "NaN": json.dumps(vars(reply("x")) | {"prompt_tokens": float("nan")}).encode() + b"\n",
    "an unknown problem": json.dumps(vars(reply("x")) | {"problem": "odd"}).encode() + b"\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_line_that_cannot_be_read_is_passed_over_and_counted(kind, tmp_path):
    path = written(tmp_path / "j.jsonl", reply("one", "Eins."), reply("two", "Zwei."))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + DAMAGE[kind] + second)
    with Journal(path) as journal:
        assert len(journal) == 2 and journal.n_unreadable == 1 and "x" not in journal
        assert [journal.get(key).text for key in ("one", "two")] == ["Eins.", "Zwei."]
        journal.write(reply("three", "Drei."))
        assert journal.get("three").text == "Drei."
    assert path.read_bytes().startswith(first + DAMAGE[kind] + second)


def test_a_journal_cut_at_any_byte_loses_the_last_call_alone(tmp_path):
    path = written(tmp_path / "j.jsonl", reply("one", "Eins."), reply("two", "Zwé 🙂\u2028."))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        with Journal(path) as journal:
            assert journal._places.keys() == {"one"} and journal.n_unreadable == 0
            assert journal.n_half_written == (end > first)
            journal.write(reply("two", "Zwé 🙂\u2028."))
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "text", ["a\u2028b\u2029c\x85d", "a\x0bb\x0cc\x1cd\x1de\x1ef", "a\r\nb\rc", "a\0b"]
)
def test_line_separators_of_any_kind_in_a_reply_do_not_cut_its_line(text, tmp_path):
    with chat_server(by_turns(text)) as chat:
        first = collect(chat, journal=tmp_path / "j.jsonl")
        second = collect(chat, journal=tmp_path / "j.jsonl")
    assert balance(second.calls).made == 0 and second.calls.unreadable_lines == 0
    assert first.records == second.records
    assert [r["completions"][0]["response"] for r in second] == [text] * 6


@pytest.mark.parametrize(
    "content",
    [
        b'{"prompt": "one"}\n{"prompt": "two"}\n',
        b'{"prompt": "one"}\n{"prompt": "two"}',
        b"PAR1\x15\x04\x15\x10\n\x15PAR1",
        b"just some words",
        b"key,text\n1,2\n",
    ],
)
def test_a_file_that_is_not_a_journal_is_refused_and_left_as_it_is(content, tmp_path):
    path = tmp_path / "other"
    path.write_bytes(content)
    for _ in range(2):  # and nothing is left locked
        with pytest.raises(HandbookError, match="not a journal"):
            Journal(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"\n", b'{"key', b'{"key": "0', b"\0" * 100])
def test_a_journal_whose_first_line_was_half_written_is_one(content, tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(content)
    with Journal(path) as journal:
        assert len(journal) == 0
        journal.write(reply())
    with Journal(path) as journal:
        assert journal.get("k").text == "Hello."


def cannot_be_written(tmp_path):
    """Places where no file can be."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    return {
        "a file as parent": tmp_path / "file" / "j.jsonl",
        "a folder": tmp_path / "folder",
        "a long name": tmp_path / ("j" * 300),
        "a long name for the lock alone": tmp_path / ("j" * 252),
        "a NUL": tmp_path / "j\0.jsonl",
        "no name": "",
        "the folder itself": ".",
        "a device folder": "/proc/j.jsonl",
    }


@pytest.mark.parametrize("kind", ["a file as parent", "a folder", "a long name", "a NUL", "no name",
                                  "a long name for the lock alone", "the folder itself",
                                  "a device folder"])  # fmt: skip
def test_a_journal_that_cannot_be_written_is_said_in_words(kind, tmp_path):
    if kind == "a device folder" and not os.path.isdir("/proc"):
        pytest.skip("there is no /proc here")
    with pytest.raises(HandbookError, match="the journal cannot be written"):
        Journal(cannot_be_written(tmp_path)[kind])


def test_a_disk_without_locks_is_said_in_words(tmp_path, monkeypatch):
    def no_locks(self, **options):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks)
    with pytest.raises(HandbookError, match="does not appear to support flock"):
        Journal(tmp_path / "j.jsonl")


def test_a_withdrawn_reply_counts_no_more_after_a_kill_at_any_moment(tmp_path):
    path = written(tmp_path / "j.jsonl", reply("one"), reply("two"))
    journal = Journal(path)
    tag = journal.begin("one")  # as an earlier run may have left it
    journal.withdraw("one")
    journal._lock.release()  # killed: nothing is closed
    with Journal(path) as journal:
        assert "one" not in journal and journal.get("two") and journal.n_unreadable == 0
        assert journal.begin("one") != tag, "or a server might send the old reply again"
        journal.write(reply("one", "Better."))
    with Journal(path) as journal:
        assert journal.get("one").text == "Better." and not journal.unsettled
    assert path.read_bytes().count(b"\n") == 4, "what was paid for stays in the file"


def test_killed_while_asking_again_a_call_is_counted_as_under_way(tmp_path):
    path = written(tmp_path / "j.jsonl", reply("one"))
    journal = Journal(path)
    journal.withdraw("one")
    journal.begin("one")
    journal._lock.release()
    with Journal(path) as journal:
        assert journal.unsettled.keys() == {"one"} and "one" not in journal


class FillingDisk(io.FileIO):
    """A file of which the disk takes half of the next line, and nothing after it."""

    full = False

    def write(self, line):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.full = True
        return super().write(line[: len(line) // 2])


def test_a_line_of_which_a_full_disk_took_half_is_taken_back(tmp_path):
    path = written(tmp_path / "j.jsonl", reply("first"))
    with Journal(path) as journal:
        writable, journal._file = journal._file, FillingDisk(path, "ab")
        with pytest.raises(HandbookError, match="No space left"):
            journal.write(reply("lost"))
        journal._file.close()
        journal._file = writable
        journal.write(reply("second", text="Hello again."))
        assert journal.get("second").text == "Hello again."
    with Journal(path) as journal:
        assert journal._places.keys() == {"first", "second"}
        assert journal.n_half_written == journal.n_unreadable == 0


def test_a_journal_that_is_only_read_stays_as_it_is_beside_the_run_that_writes_it(tmp_path):
    path = written(tmp_path / "j.jsonl", reply("first"), reply("second"))
    with open(path, "rb+") as file:
        file.truncate(path.stat().st_size - 5)
    before = path.read_bytes()
    with Journal(path, read_only=True) as journal:
        assert ("first" in journal, "second" in journal) == (True, False)
        assert journal.n_half_written == 1
    assert path.read_bytes() == before
    with Journal(path), Journal(path, read_only=True) as beside:
        assert beside.get("first").text == "Hello."
