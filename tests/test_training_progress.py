"""Progress of long work: a few plain lines with the time left in a pipe, never a bar."""

import io
import math
import sys
from types import SimpleNamespace

import pytest

from zephyr_utils.errors import HandbookError
from zephyr_utils.training import callbacks, progress
from zephyr_utils.training.progress import LINE_EVERY, ProgressReport


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return now


def work(clock, total, seconds, first=60.0, done=0, **options):
    """All parts of some work; the first takes longer."""
    report = ProgressReport("dDPO", total, "steps", done=done, **options)
    report.start()
    for number in range(done + 1, total + 1):
        clock.seconds += first if number == done + 1 else seconds
        report.update(number, "loss 0.693")
    report.finish()
    return report


def test_in_a_pipe_there_is_a_line_at_the_start_and_then_one_in_thirty_seconds_at_most(
    clock, capsys
):
    work(clock, total=200, seconds=1.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "dDPO: 200 steps begin"
    seconds = 60 + 199 * 1.0
    assert len(lines) <= 1 + seconds / LINE_EVERY and len(lines) >= 6
    assert all("\r" not in line and "\x1b" not in line for line in lines)


def test_the_time_left_is_measured_without_the_first_part(clock, capsys):
    work(clock, total=200, seconds=1.0)
    line = capsys.readouterr().err.splitlines()[2]
    assert line == "dDPO: 31 of 200 steps, loss 0.693, 3 minutes left"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.3, "54 s left"), (2.0, "6 minutes left"), (60.0, "3.0 hours left")]
)
def test_the_time_left_is_said_in_the_unit_that_fits(clock, seconds, expected):
    report = ProgressReport("dSFT", 200, "steps")
    report.start()
    for number in range(1, 21):
        clock.seconds += seconds
        report.update(number)
    assert report.time_left() == expected


def test_short_work_has_its_first_line_alone(clock, capsys):
    work(clock, total=10, seconds=0.1, first=1.0)
    assert capsys.readouterr().err == "dDPO: 10 steps begin\n"


def test_a_run_that_goes_on_counts_from_where_it_goes_on(clock, capsys):
    report = work(clock, total=120, seconds=2.0, done=100, first=40.0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "dDPO: 20 steps begin"
    assert lines[1].startswith("dDPO: 101 of 120 steps")
    assert report.first == 101


@pytest.mark.parametrize("reason", ["silent", "nothing to do", "one part", "TQDM_DISABLE"])
def test_nothing_is_said_where_nothing_is_wanted(reason, clock, capsys, monkeypatch):
    if reason == "TQDM_DISABLE":
        monkeypatch.setenv("TQDM_DISABLE", "1")
    total = {"nothing to do": 0, "one part": 1}.get(reason, 99)
    work(clock, total=total, seconds=9, silent=reason == "silent")
    assert capsys.readouterr().err == ""


def test_in_a_notebook_it_is_one_line_that_rewrites_itself(clock, monkeypatch, capsys):
    import IPython.display

    shown = []

    def show(parts, *, raw, **_):
        assert raw and parts.keys() == {"text/plain"}  # of a bare string the quotes would show
        shown.append(parts["text/plain"])
        return handle

    handle = SimpleNamespace(update=show)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", show)
    work(clock, total=3, seconds=2.0, first=1.0)
    assert shown == [
        "dDPO: starting",
        "dDPO: 1 of 3 steps, loss 0.693",
        "dDPO: 2 of 3 steps, loss 0.693, 2 s left",
        "dDPO: 3 of 3 steps, loss 0.693, 0 s left",
        "dDPO: 3 steps in 5 s",
    ]
    assert capsys.readouterr().err == ""


def test_a_kernel_that_is_imported_and_does_not_run_is_not_a_notebook():
    import ipykernel.kernelapp

    assert ipykernel.kernelapp.IPKernelApp and not progress.in_notebook()


def test_in_a_terminal_it_is_a_bar(clock, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    report = ProgressReport("dSFT", 3, "steps")
    report.start()
    assert report.bar is not None
    report.update(2, "loss 1.000")
    assert report.bar.tasks[0].completed == 2
    report.finish()
    assert report.bar is None and "begin" not in sys.stderr.getvalue()


def test_of_several_processes_the_first_speaks(monkeypatch, capsys):
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        progress.say(f"rank {rank}")
    assert capsys.readouterr().err == "rank 0\n"


def trained(clock, *, seconds_per_step, max_steps):
    """The callback in a training whose log comes at every tenth step."""
    line = callbacks.ProgressLine("dDPO")
    state = SimpleNamespace(global_step=0, max_steps=max_steps, is_world_process_zero=True)
    line.on_train_begin(None, state, None)
    for number in range(1, max_steps + 1):
        clock.seconds += seconds_per_step
        state.global_step = number
        line.on_step_end(None, state, None)
        if number % 10 == 0:
            logs = {"loss": 0.6, "num_tokens": 500.0 * number}
            line.on_log(None, state, None, logs=logs)
    line.on_train_end(None, state, None)
    return line


def test_a_training_says_step_loss_pace_and_time_left(clock, capsys):
    trained(clock, seconds_per_step=1.0, max_steps=100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "dDPO: 100 steps begin"
    assert lines[2] == "dDPO: 60 of 100 steps, loss 0.600, 500 tokens/s, 40 s left"


def test_tokens_per_second_are_those_between_two_logs(clock):
    """So that a resumed run does not count the tokens of the killed one."""
    line = callbacks.ProgressLine("dDPO")
    state = SimpleNamespace(global_step=0, max_steps=9, is_world_process_zero=False)
    line.on_train_begin(None, state, None)
    assert line._pace({"num_tokens": 50_000}) == ""
    clock.seconds += 4
    assert line._pace({"num_tokens": 52_000}) == ", 500 tokens/s"
    assert line._pace({}) == ""


@pytest.mark.parametrize(
    "logs",
    [
        {"loss": 0.0},  # of dialogues: no token counted
        {"loss": 0.0, "rewards/margins": 0.0},
        {"loss": 0.0, "rewards/margins": 0.99},
        {"loss": 0.0, "rewards/margins": math.nan},
        {"loss": math.nan, "rewards/margins": 2.0},
        {"loss": math.inf},
    ],
)
def test_a_run_stops_on_a_loss_that_is_not_a_number_or_zero_at_margins_that_cannot_make_it_so(logs):
    arguments, state = SimpleNamespace(output_dir="runs"), SimpleNamespace(global_step=3)
    with pytest.raises(HandbookError, match=f"the loss is {logs['loss']} at step 3"):
        callbacks.StopOnDivergence().on_log(arguments, state, None, logs=logs)


@pytest.mark.parametrize(
    "logs",
    [
        {"loss": 0.0, "rewards/margins": 1.0},  # the hinge, once it is satisfied
        {"loss": 0.3},
        {"loss": -0.1, "rewards/margins": 5.0},  # robust DPO
        {"eval_loss": 0.0},
        None,
    ],
)
def test_a_run_goes_on_where_the_hinge_is_satisfied(logs):
    callbacks.StopOnDivergence().on_log(None, None, None, logs=logs)
