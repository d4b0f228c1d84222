"""Chapters through papermill: parameters, failures, the report and the expected ranges."""

import contextlib
import io
import json
import os
import signal
import threading
import time
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from rich.console import Console

from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline import notebooks
from zephyr_utils.pipeline.chapter_report import read_ranges, read_report
from zephyr_utils.pipeline.notebooks import ChapterFailed, default_jobs, run_chapters

WRITE = """
from zephyr_utils.pipeline import artefacts
metrics = {"loss": 0.5 + seed, "quiet": QUIET}
artefacts.write_metrics(artefacts.runs_folder() / scale / NAME, metrics)
""".replace("QUIET", "int(__import__('os').environ['TQDM_DISABLE'])")


def write_chapter(folder, name, body="", last=WRITE):
    notebook = nbformat.v4.new_notebook()
    notebook.metadata = {
        "kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}
    }
    parameters = nbformat.v4.new_code_cell(
        'scale = "miniature"\nseed = 0', metadata={"tags": ["parameters"]}
    )
    code = [
        nbformat.v4.new_code_cell(text) for text in (body, last.replace("NAME", repr(name))) if text
    ]
    notebook.cells = [nbformat.v4.new_markdown_cell("# A chapter"), parameters, *code]
    folder.mkdir(exist_ok=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture
def run(tmp_path):
    """Run chapters into tmp_path/runs/miniature; returns what is outside, and keeps the printed
    text.
    """

    class Run:
        folder, text = tmp_path / "runs" / "miniature", ""

        def __call__(self, *chapters, ranges=None, jobs=1, **parameters):
            expected = tmp_path / "expected.yaml"
            expected.write_text(json.dumps(ranges or {}))
            stream = io.StringIO()
            console = Console(file=stream, width=100)
            try:
                return run_chapters(
                    list(chapters),
                    parameters,
                    self.folder,
                    expected=expected,
                    console=console,
                    jobs=jobs,
                )
            finally:
                self.text = stream.getvalue()

    return Run()


def test_chapters_run_and_the_table_says_what_is_inside_its_range(tmp_path, run):
    chapters = [
        write_chapter(tmp_path / "notebooks", name) for name in ("00_overview", "01_truecasing")
    ]
    ranges = {
        "00_overview": {"loss": [0.4, 0.6]},
        "01_truecasing": {"loss": [0.6, 0.7], "accuracy": [0, 1]},
    }
    outside = run(*chapters, ranges=ranges)
    assert [str(found) for found in outside] == [
        "01_truecasing: loss = 0.5, expected 0.6 to 0.7",
        "01_truecasing: accuracy is missing, expected 0 to 1",
    ]
    rows = [line for line in run.text.splitlines() if "│ 0" in line]
    assert "loss 0.5" in rows[0] and "yes" in rows[0]
    assert "0.6 to 0.7" in rows[1] and "NO (2)" in rows[1]


def test_braces_in_the_folder_of_runs_are_taken_as_they_are(tmp_path, run):
    folder = tmp_path / "{runs} {0}}" / "miniature"
    chapter = write_chapter(tmp_path / "{note}books", "00_overview")
    run_chapters([chapter], {}, folder, console=Console(file=io.StringIO()))
    assert (folder / "notebooks" / "00_overview.ipynb").is_file()


def test_the_report_names_the_modules_that_a_chapter_rests_on(tmp_path, run):
    chapter = write_chapter(
        tmp_path / "notebooks", "00_overview", body="from zephyr_utils.errors import HandbookError"
    )
    run(chapter)
    report = read_report(tmp_path / "runs" / "miniature")
    assert "errors.py" in report["00_overview"]["code"]
    assert not [name for name in report["00_overview"]["code"] if name.startswith("training/")]


def test_the_report_holds_what_the_book_shows_of_the_last_run(tmp_path, run):
    before = dict(os.environ)
    run(write_chapter(tmp_path / "notebooks", "00_overview"), scale="miniature", seed=0)
    entry = read_report(run.folder)["00_overview"]
    assert entry["metrics"]["quiet"] == 1, "progress bars are to be off in chapters"
    assert (
        entry["seconds"] > 0
        and entry["metrics"]["peak_memory_mb"] > 1
        and entry["environment"]["torch"]
    )
    assert entry["parameters"] == {}, "values equal to the notebook's own are not injected"
    assert dict(os.environ) == before


MAKE = """
from zephyr_utils.pipeline import artefacts
artefacts.build_artefact(
    artefacts.runs_folder() / scale / "00_overview" / "model", inputs={}, recipe={},
    make=lambda folder: __import__("time").sleep(0.3) or {},
)
"""


def test_the_report_keeps_apart_what_an_earlier_run_had_spent(tmp_path, run):
    chapter = write_chapter(tmp_path / "notebooks", "00_overview", body=MAKE)
    run(chapter)
    assert read_report(run.folder)["00_overview"]["seconds_reused"] == 0
    run(chapter)
    assert read_report(run.folder)["00_overview"]["seconds_reused"] >= 0.3


def test_a_changed_parameter_reaches_the_chapter_and_is_shown_in_its_copy(tmp_path, run):
    run(write_chapter(tmp_path / "notebooks", "00_overview"), seed=2)
    assert read_report(run.folder)["00_overview"]["metrics"]["loss"] == 2.5
    executed = nbformat.read(run.folder / "notebooks" / "00_overview.ipynb", 4)
    injected = [
        cell.source
        for cell in executed.cells
        if "injected-parameters" in cell.metadata.get("tags", [])
    ]
    assert len(injected) == 1 and "seed = 2" in injected[0]


def test_an_unknown_parameter_is_an_error_before_anything_runs(tmp_path, run):
    chapter = write_chapter(tmp_path / "notebooks", "00_overview")
    with pytest.raises(HandbookError, match="unknown parameter sead") as caught:
        run(chapter, sead=1)
    assert caught.value.remedy == "this chapter takes scale, seed"
    assert not run.folder.exists()


def test_a_missing_chapter_names_those_that_exist(tmp_path, run):
    write_chapter(tmp_path / "notebooks", "00_overview")
    with pytest.raises(HandbookError, match="choose from: 00_overview"):
        run(tmp_path / "notebooks" / "09_dreams.ipynb")


def test_a_cut_notebook_is_an_error_that_says_how_to_write_it_again(tmp_path, run):
    chapter = write_chapter(tmp_path / "notebooks", "00_overview")
    chapter.write_text(chapter.read_text()[:200])
    with pytest.raises(HandbookError, match="make sync"):
        run(chapter)


def test_a_failed_chapter_stops_the_run_names_its_cell_and_keeps_its_traceback(tmp_path, run):
    first = write_chapter(tmp_path / "notebooks", "00_overview")
    second = write_chapter(tmp_path / "notebooks", "01_truecasing")
    third = write_chapter(tmp_path / "notebooks", "02_dsft")
    run(first, second)
    write_chapter(
        tmp_path / "notebooks", "01_truecasing", body="raise ValueError('no capital\\nanywhere')"
    )
    with pytest.raises(ChapterFailed, match=r"In \[2\]") as caught:
        run(first, second, third)
    assert "ValueError: no capital" in str(caught.value) and "anywhere" in str(caught.value)
    assert "00_overview" in run.text and "02_dsft" not in run.text
    assert set(read_report(run.folder)) == {"00_overview"}, (
        "a failed chapter keeps no entry of an earlier run"
    )
    assert "Traceback" in (run.folder / "notebooks" / "01_truecasing.ipynb").read_text()


def test_a_notebook_whose_process_dies_is_a_failed_chapter(tmp_path, run):
    body = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(ChapterFailed, match="process died"):
        run(write_chapter(tmp_path / "notebooks", "00_overview", body=body))


def test_a_cell_whose_output_does_not_arrive_is_a_failed_chapter(tmp_path, run, monkeypatch):
    chapter = write_chapter(tmp_path / "notebooks", "00_overview")
    monkeypatch.setattr("zephyr_utils.pipeline.notebooks.OUTPUT_TIMEOUT", 0)
    with pytest.raises(ChapterFailed, match="output did not arrive within 0 s") as caught:
        run(chapter)
    assert "it goes on from here" in str(caught.value)


def test_a_chapter_that_writes_no_metrics_fails_even_if_it_once_did(tmp_path, run):
    run(write_chapter(tmp_path / "notebooks", "00_overview"))
    with pytest.raises(ChapterFailed, match=r"wrote no metrics\.json"):
        run(write_chapter(tmp_path / "notebooks", "00_overview", last="done = True"))


MEET = """
import pathlib, time
there = pathlib.Path(FOLDER)
(there / MINE).write_text("here")
until = time.monotonic() + 60
while not (there / OTHER).exists():
    assert time.monotonic() < until, "the other chapter was not begun"
    time.sleep(0.05)
"""


def meet(folder, mine, other):
    """A cell that leaves a file and waits for that of another chapter."""
    names = {"FOLDER": str(folder), "MINE": mine, "OTHER": other}
    text = MEET
    for name, value in names.items():
        text = text.replace(name, repr(value))
    return text


def test_chapters_at_once_wait_for_each_other_and_are_listed_in_order(tmp_path, run):
    here = os.getcwd()
    names = ("00_overview", "01_truecasing")
    chapters = [
        write_chapter(tmp_path / "notebooks", name, body=meet(tmp_path, name, other))
        for name, other in zip(names, reversed(names), strict=True)
    ]
    assert run(*chapters, jobs=2) == []
    report = read_report(run.folder)
    assert [(name, entry["at_once"]) for name, entry in report.items()] == [
        (name, 2) for name in names
    ]
    rows = [line for line in run.text.splitlines() if "│ 0" in line]
    assert "00_overview" in rows[0] and "01_truecasing" in rows[1]
    assert os.getcwd() == here


@pytest.mark.parametrize(
    ("scale", "gigabytes", "jobs"),
    [("miniature", 100, 4), ("miniature", 5, 2), ("miniature", 1, 1), ("smol/cpu", 100, 1)],
)
def test_as_many_chapters_run_at_once_as_cores_and_memory_allow(
    scale, gigabytes, jobs, monkeypatch
):
    free = SimpleNamespace(available=gigabytes * 2**30)
    monkeypatch.setattr(notebooks, "usable_cores", lambda: 4)
    monkeypatch.setattr(notebooks.psutil, "virtual_memory", lambda: free)
    assert default_jobs(scale) == jobs


def test_a_failed_chapter_lets_that_beside_it_finish_and_starts_no_other(tmp_path, run):
    folder = tmp_path / "notebooks"
    fails = "\n".join(
        (
            "import os, pathlib",
            f"pathlib.Path({str(tmp_path)!r}, 'process').write_text(str(os.getpid()))",
            meet(tmp_path, "first", "second"),
            "raise ValueError('broken')",
        )
    )
    goes_on = "\n".join(
        (
            meet(tmp_path, "second", "first"),
            "import psutil",
            "process = int((there / 'process').read_text())",
            "while psutil.pid_exists(process):",  # it is ended after its chapter has failed
            "    time.sleep(0.05)",
            "time.sleep(1)",
        )
    )
    chapters = [
        write_chapter(folder, "00_overview", body=fails),
        write_chapter(folder, "01_truecasing", body=goes_on),
        write_chapter(folder, "02_dsft"),
    ]
    with pytest.raises(ChapterFailed, match="broken"):
        run(*chapters, jobs=2)
    assert list(read_report(run.folder)) == ["01_truecasing"]
    assert not (run.folder / "notebooks" / "02_dsft.ipynb").exists()
    assert "01_truecasing" in run.text


def test_an_interrupt_ends_the_notebooks_that_are_at_work(tmp_path, run):
    waits = meet(tmp_path, "begun", "never")
    chapters = [
        write_chapter(tmp_path / "notebooks", "00_overview", body=waits),
        write_chapter(tmp_path / "notebooks", "01_truecasing", body=waits),
    ]

    def interrupt():
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    # a worker of pytest-xdist ignores the signal
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(*chapters, jobs=2)
    finally:
        signal.signal(signal.SIGINT, before)
    left = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # of another test, and ended
            left += [child] if str(tmp_path) in child.environ().get("ZEPHYR_RUNS", "") else []
    assert not left, "a notebook's process was left behind"
    assert read_report(run.folder) == {}


@pytest.mark.parametrize(
    "text", ["02_dsft: [1]", "02_dsft: {loss: 1}", "02_dsft: {loss: [2, 1]}", "a: {b: [x, y]}", "{"]
)
def test_a_wrong_file_of_ranges_is_an_error_that_shows_the_form(tmp_path, text):
    (tmp_path / "ranges.yaml").write_text(text)
    with pytest.raises(HandbookError, match=r"ranges\.yaml") as caught:
        read_ranges(tmp_path / "ranges.yaml")
    assert "[low, high]" in caught.value.remedy


def test_a_chapter_may_have_no_ranges_yet(tmp_path):
    (tmp_path / "ranges.yaml").write_text("00_overview:\n01_truecasing:\n  f1: [0.9, 1]\n")
    assert read_ranges(tmp_path / "ranges.yaml") == {
        "00_overview": {},
        "01_truecasing": {"f1": (0.9, 1.0)},
    }
