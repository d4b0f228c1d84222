"""Run folders: made once, reused, resumed after a kill, and never half a file taken for whole."""

import contextlib
import getpass
import hashlib
import io
import json
import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy
import pytest

from zephyr_utils.errors import HandbookError
from zephyr_utils.machine import environment_stamp
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.artefacts import (
    build_artefact,
    fingerprint,
    read_metrics,
    runs_folder,
    write_metrics,
)

INPUTS, RECIPE = {"dialogues": "abc"}, {"learning_rate": 2e-5, "seed": 7}


class Maker:
    """Writes a file and counts how often it was asked."""

    def __init__(self, **results):
        self.calls, self.found, self.results = 0, [], results

    def __call__(self, folder):
        self.calls += 1
        self.found.append(sorted(path.name for path in folder.iterdir()))
        (folder / "part").mkdir(exist_ok=True)
        (folder / "part" / "weights.bin").write_bytes(b"12345")
        return self.results


def build(folder, make, inputs=INPUTS, recipe=RECIPE):
    return build_artefact(folder, inputs=inputs, recipe=recipe, make=make)


def test_an_artefact_is_made_once_and_then_reused(tmp_path):
    make = Maker(loss=0.5, rows_in=10, rows_out=8, rows_set_aside=2)
    first, second = build(tmp_path / "a", make), build(tmp_path / "a", make)
    assert make.calls == 1
    assert (first.reused, second.reused) == (False, True)
    assert second.results["loss"] == 0.5
    assert second.rows == {"rows_in": 10, "rows_out": 8, "rows_set_aside": 2}


def test_the_manifest_says_what_was_made_from_what(tmp_path):
    build(tmp_path / "a", Maker())
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["inputs"] == INPUTS and manifest["recipe"] == RECIPE and manifest["seed"] == 7
    assert manifest["files"] == {
        "part/weights.bin": {"size": 5, "sha256": hashlib.sha256(b"12345").hexdigest()}
    }
    assert {"torch", "transformers", "trl", "peft", "datasets", "zephyr_utils"} == set(
        manifest["versions"]
    )
    assert manifest["seconds"] >= 0 and manifest["peak_memory_mb"] > 1
    assert str(tmp_path) not in json.dumps(manifest)


@pytest.mark.parametrize(
    "changed",
    [
        {"inputs": {"dialogues": "another"}},
        {"recipe": RECIPE | {"seed": 8}},
        {"recipe": {"seed": 7}},
    ],
)
def test_another_input_or_recipe_makes_it_again_in_an_emptied_folder(tmp_path, changed):
    make = Maker()
    build(tmp_path / "a", make)
    assert not build(tmp_path / "a", make, **changed).reused
    assert make.found == [["in_progress.json"], ["in_progress.json"]]


def test_another_library_version_makes_it_again(tmp_path, monkeypatch):
    make = Maker()
    build(tmp_path / "a", make)
    monkeypatch.setattr(artefacts, "code_versions", lambda: {"torch": "3.0.0"})
    assert not build(tmp_path / "a", make).reused


@pytest.mark.parametrize("harm", ["remove", "truncate", "manifest"])
def test_an_artefact_with_a_missing_or_a_cut_file_is_made_again(tmp_path, harm):
    make = Maker()
    build(tmp_path / "a", make)
    weights, manifest = tmp_path / "a" / "part" / "weights.bin", tmp_path / "a" / "manifest.json"
    if harm == "remove":
        weights.unlink()
    elif harm == "truncate":
        weights.write_bytes(b"123")
    else:
        manifest.write_text(manifest.read_text()[:100])
    assert not build(tmp_path / "a", make).reused
    assert weights.read_bytes() == b"12345"


def test_metrics_that_a_chapter_adds_later_do_not_undo_the_artefact(tmp_path):
    build(tmp_path / "a", Maker())
    write_metrics(tmp_path / "a", {"loss": 1.0})
    assert build(tmp_path / "a", Maker()).reused


KILLED = """
import sys, time
from pathlib import Path
from zephyr_utils.pipeline.artefacts import build_artefact

def make(folder):
    (folder / "checkpoint").write_text("half")
    print("ready", flush=True)
    time.sleep(60)

recipe = {"learning_rate": 2e-5, "seed": 7}
build_artefact(Path(sys.argv[1]), inputs={"dialogues": "abc"}, recipe=recipe, make=make)
"""


def start_and_kill(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_make_finds_its_files_again_and_its_lock_is_free(tmp_path):
    start_and_kill(tmp_path / "a")
    assert not (tmp_path / "a" / "manifest.json").exists()
    make = Maker()
    manifest = build(tmp_path / "a", make)
    assert make.found == [["checkpoint", "in_progress.json"]]
    assert manifest.resumed and not (tmp_path / "a" / "in_progress.json").exists()


def test_what_was_half_written_at_a_kill_is_not_part_of_what_the_next_start_makes(tmp_path):
    start_and_kill(tmp_path / "a")
    (tmp_path / "a" / "model").mkdir()
    for name in (".tmpF41Rdh", ".log.json.77-0.unfinished", "weights"):
        (tmp_path / "a" / "model" / name).write_text("half")
    build(tmp_path / "a", Maker())
    assert [path.name for path in (tmp_path / "a" / "model").iterdir()] == ["weights"]


def test_what_a_killed_make_left_is_emptied_when_the_recipe_is_another(tmp_path):
    start_and_kill(tmp_path / "a")
    make = Maker()
    assert not build(tmp_path / "a", make, recipe={"seed": 8}).resumed
    assert make.found == [["in_progress.json"]]


def test_a_folder_left_while_it_was_emptied_is_not_a_result_to_go_on_with(tmp_path):
    start_and_kill(tmp_path / "a")
    wanted = json.loads((tmp_path / "a" / "in_progress.json").read_text())
    (tmp_path / "a" / "in_progress.json").write_text(json.dumps(wanted | {"state": "emptying"}))
    make = Maker()
    assert not build(tmp_path / "a", make).resumed
    assert make.found == [["in_progress.json"]]


def test_a_folder_with_files_of_the_reader_is_never_emptied(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(HandbookError, match="did not make") as caught:
        build(tmp_path, Maker())
    assert (
        tmp_path / "thesis.tex"
    ).read_text() == "years" and "empty folder" in caught.value.remedy


def test_a_second_run_reports_that_it_waits_and_reuses_the_artefact(tmp_path):
    begun, go_on, make = threading.Event(), threading.Event(), Maker()

    def slow(folder):
        begun.set()
        go_on.wait(20)
        return make(folder)

    runs = [threading.Thread(target=build, args=(tmp_path / "a", slow)) for _ in range(2)]
    # Not pytest's capture: reading it while a thread writes can lose letters.
    with contextlib.redirect_stdout(io.StringIO()) as said:
        runs[0].start()
        begun.wait(20)
        runs[1].start()
        deadline = time.monotonic() + 20
        while "waits" not in said.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
        go_on.set()
        for run in runs:
            run.join(20)
    assert f"Process {os.getpid()} waits" in said.getvalue() and make.calls == 1


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="needs /dev/full, a device that is always full"
)
def test_a_full_disk_names_the_folder_the_space_and_the_remedy(tmp_path):
    def make(folder):
        with open("/dev/full", "w") as stream:
            stream.write("x")

    with pytest.raises(HandbookError, match=r"the disk is full: [0-9]+ MB are free") as caught:
        build(tmp_path / "a", make)
    assert str(tmp_path / "a") in caught.value.where and "ZEPHYR_RUNS" in caught.value.remedy
    assert not (tmp_path / "a" / "manifest.json").exists()


def test_a_full_disk_that_a_library_reports_in_words_is_understood(tmp_path):
    def make(folder):
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    with pytest.raises(HandbookError, match="the disk is full"):
        build(tmp_path / "a", make)


def test_another_error_of_make_is_passed_on_and_leaves_no_manifest(tmp_path):
    def make(folder):
        raise KeyError("loss")

    with pytest.raises(KeyError):
        build(tmp_path / "a", make)
    assert not (tmp_path / "a" / "manifest.json").exists()


def test_rows_that_vanish_are_an_error(tmp_path):
    with pytest.raises(HandbookError, match="1 are not accounted for"):
        build(tmp_path / "a", Maker(rows_in=10, rows_out=8, rows_set_aside=1))
    assert not (tmp_path / "a" / "manifest.json").exists()


def test_a_fingerprint_follows_contents_and_names_but_not_where_the_folder_lies(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.jsonl").write_text("{}\n")
    first = fingerprint(tmp_path / "one")
    assert first == fingerprint(tmp_path / "two")
    (tmp_path / "two" / "rows.jsonl").write_text("[]\n")
    assert fingerprint(tmp_path / "two") != first
    (tmp_path / "one" / "rows.jsonl").rename(tmp_path / "one" / "other.jsonl")
    assert fingerprint(tmp_path / "one") != first


def test_a_fingerprint_of_a_value_ignores_the_order_of_names():
    assert fingerprint({"a": 1, "b": [2.5]}) == fingerprint({"b": [2.5], "a": 1})
    assert fingerprint("a") != fingerprint("b")


def test_the_fingerprint_of_a_missing_file_says_which(tmp_path):
    with pytest.raises(HandbookError, match="no such file") as caught:
        fingerprint(tmp_path / "nowhere.jsonl")
    assert caught.value.where.endswith("nowhere.jsonl")


def test_metrics_hold_finite_numbers_or_null_and_the_peak_memory(tmp_path):
    write_metrics(
        tmp_path,
        {"loss": numpy.float32(0.5), "gap": math.nan, "curve": numpy.array([1.0, math.inf])},
    )
    metrics = read_metrics(tmp_path)
    assert metrics.pop("peak_memory_mb") > 1
    assert metrics == {"loss": 0.5, "gap": None, "curve": [1.0, None]}


def test_metrics_of_a_chapter_that_did_not_run_say_how_to_run_it(tmp_path):
    with pytest.raises(HandbookError, match="zephyr run --chapters 02"):
        read_metrics(tmp_path / "02_dsft")


def test_runs_lie_at_the_root_of_the_checkout_from_wherever_one_starts(tmp_path, monkeypatch):
    monkeypatch.delenv("ZEPHYR_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert runs_folder() == tmp_path / "runs"
    (tmp_path / "notebooks" / "deeper").mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "notebooks" / "deeper")
    assert runs_folder() == tmp_path / "runs"
    monkeypatch.setenv("ZEPHYR_RUNS", str(tmp_path / "elsewhere"))
    assert runs_folder() == tmp_path / "elsewhere"


def test_the_environment_stamp_names_versions_but_neither_host_nor_user_nor_path():
    stamp = environment_stamp()
    assert stamp["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (
        stamp["cores"] >= 1 and stamp["memory_gb"] > 0 and stamp["torch"] and stamp["accelerator"]
    )
    for private in (platform.node(), getpass.getuser(), str(Path.home())):
        assert private not in stamp.values()


def test_an_artefact_of_an_earlier_version_is_made_again_and_that_is_said(tmp_path, capsys):
    make = Maker()
    build(tmp_path / "a", make)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    del manifest["code"]  # as manifests were before they held the code
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest))
    assert not build(tmp_path / "a", make).reused and make.calls == 2
    assert "a: made again, because an earlier version of the handbook made it" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"12x45"), "part/weights.bin was changed or damaged"),
        (lambda path: path.write_bytes(b"1234"), "part/weights.bin was changed or damaged"),
        (lambda path: path.unlink(), "part/weights.bin is missing"),
    ],
    ids=["one byte flipped", "cut short", "gone"],
)
def test_damage_is_noticed_even_where_the_size_stays(tmp_path, capsys, spoil, reason):
    make = Maker()
    build(tmp_path / "a", make)
    spoil(tmp_path / "a" / "part" / "weights.bin")
    assert not build(tmp_path / "a", make).reused
    assert f"a: made again, because {reason}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("inputs", "recipe", "reason"),
    [
        ({"dialogues": "other"}, RECIPE, "its input `dialogues` changed"),
        (INPUTS, {**RECIPE, "learning_rate": 1e-5}, "`learning_rate` has another value"),
        (
            INPUTS,
            {**RECIPE, "new": 1, "newer": 2},
            "`new` has another value in the recipe (and 1 more)",
        ),
    ],
)
def test_what_is_made_again_says_what_changed(tmp_path, capsys, inputs, recipe, reason):
    build(tmp_path / "a", Maker())
    build(tmp_path / "a", Maker(), inputs, recipe)
    assert f"a: made again, because {reason}" in capsys.readouterr().out
