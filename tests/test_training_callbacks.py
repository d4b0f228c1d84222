"""Progress of a training: an estimate from measured steps where the run is long, tokens a second,
silence where it is short.
"""

from types import SimpleNamespace

import pytest

from zephyr_utils.training import callbacks


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now.seconds)
    return now


def walk(clock, *, seconds_per_step, max_steps, begun=0):
    """The callback after all of `MEASURED_STEPS` and the one before; the first step takes a minute."""
    told = callbacks.ProgressLine("dDPO")
    state = SimpleNamespace(global_step=begun, max_steps=max_steps, is_world_process_zero=True)
    told.on_train_begin(None, state, None)
    for number in range(1 + callbacks.MEASURED_STEPS):
        clock.seconds += seconds_per_step if number else 60
        state.global_step += 1
        told.on_step_end(None, state, None)
    return told, state


def test_a_long_run_is_estimated_from_its_own_steps_without_the_first(clock, capsys):
    walk(clock, seconds_per_step=2.0, max_steps=1804, begun=900)
    assert "3 steps took 2 s each; the 900 left, about 30 minutes" in capsys.readouterr().err


def test_a_short_run_is_not_talked_about(clock, capsys):
    walk(clock, seconds_per_step=0.1, max_steps=100)
    assert capsys.readouterr().err == ""


def test_tokens_a_second_are_those_between_two_logs_so_that_a_resumed_run_does_not_count_the_killed_ones(
    clock,
):
    told, _ = walk(clock, seconds_per_step=1.0, max_steps=10)
    assert told._pace({"num_tokens": 50_000}) == ""
    clock.seconds += 4
    assert told._pace({"num_tokens": 52_000}) == ", 500 tokens/s"
    assert told._pace({}) == ""
