"""Files are written whole or not at all, and what cannot be written is said in a sentence."""

import errno
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from zephyr_utils.errors import HandbookError
from zephyr_utils.files import (
    atomic_write,
    existing_path,
    make_folder,
    plain_value,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_and_an_error_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_write(path) as unfinished:
        unfinished.write_text("half")
        assert path.read_text() == "old" and unfinished.parent == path.parent
        raise RuntimeError
    assert path.read_text() == "old" and names(path.parent) == ["a.txt"]


def test_the_temporary_file_of_a_killed_writer_can_be_found_by_the_name_of_its_file(tmp_path):
    with atomic_write(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("x")
        assert list(tmp_path.glob(".a.txt.*.unfinished")) == [unfinished]


@pytest.mark.parametrize(
    "name",
    ["file/a.json", "file/b/a.json", "n" * 300, "n" * 300 + "/a.json", "folder", "a\0b", "a\ud83d"],
    ids=["file", "file above", "long", "long folder", "a folder", "NUL", "surrogate"],
)
def test_a_path_that_cannot_be_written_is_named_and_the_clean_up_does_not_hide_it(name, tmp_path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(HandbookError, match="cannot be written") as error:
        write_json(tmp_path / name, {"a": 1})
    assert str(tmp_path) in error.value.where and error.value.remedy
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_refuses_and_a_full_disk_become_a_sentence(tmp_path, monkeypatch, code):
    def refuse(*args, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(HandbookError, match=os.strerror(code)):
        write_text(tmp_path / "a.txt", "x")
    assert names(tmp_path) == []


def test_an_error_about_a_file_that_is_read_on_the_way_is_not_blamed_on_the_one_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source\.txt"), atomic_write(tmp_path / "a"):
        (tmp_path / "source.txt").read_text()


def test_the_longest_name_that_the_disk_allows_can_be_written(tmp_path):
    for name in ("n" * 255, "ü" * 127):
        assert write_text(tmp_path / name, "x").read_text() == "x"
    assert len(names(tmp_path)) == 2


def test_threads_that_write_one_file_leave_one_of_their_texts(tmp_path):
    texts = [str(n) * 100_000 for n in range(8)]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "a", t)) for t in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() in texts and names(tmp_path) == ["a"]


def test_json_is_strict_and_a_broken_character_does_not_lose_a_report(tmp_path):
    path = tmp_path / "a.json"
    # As the last line of a notebook's cell it must show nothing, least of all a path.
    assert write_json(path, {"ü": [1, None, "x"]}) is None
    assert json.loads(path.read_text("utf-8")) == {"ü": [1, None, "x"]}
    assert "ü" in path.read_text("utf-8") and path.read_bytes().endswith(b"}\n")
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (float("nan"), {"a": object()}, {(1, 2): 3}, deep):
        with pytest.raises(HandbookError, match="as JSON"):
            write_json(path, value)
    assert json.loads(path.read_text("utf-8"))["ü"][0] == 1
    write_json(path, {"a": "half \ud83d of a pair"})
    assert path.read_text("utf-8").count("\\ud83d") == 1


@pytest.mark.parametrize("place", ["file", "file/below", "n" * 300, "a\0b", "\ud800"])
def test_a_folder_that_cannot_be_written_to_is_said(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(HandbookError, match=r"(?s)cannot be written to: .*try elsewhere"):
        make_folder(tmp_path / place, remedy="try elsewhere")
    assert make_folder(tmp_path / "new" / "one", remedy="") == tmp_path / "new" / "one"
    assert names(tmp_path / "new" / "one") == []


@pytest.mark.parametrize("name", ["missing", "n" * 300, "a\0b", "file/below", "\ud800", ""])
def test_a_name_that_no_disk_takes_is_not_a_path(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert existing_path("file") == Path("file")
    assert existing_path(name) == (None if name else Path())


@pytest.mark.parametrize(
    ("value", "plain"),
    [(np.float64(0.5), 0.5), (np.float32(0.5), 0.5), (np.int64(2), 2), (np.bool_(True), True),
     (np.float64("nan"), None), ((np.float64(1),), [1.0])],
)  # fmt: skip
def test_scalars_of_arrays_become_pythons_own(value, plain):
    assert repr(plain_value(value)) == repr(plain)
