"""What a number was measured on."""

import pytest

from zephyr_utils import machine


def test_the_peak_memory_is_asked_of_the_system_where_its_status_does_not_say_it(
    monkeypatch, tmp_path
):
    pytest.importorskip("resource")  # not on Windows
    stated = machine.peak_memory_mb()
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t 1024 kB\n")
    monkeypatch.setattr(machine, "Path", lambda _: tmp_path / "status")
    # the system counts a little late, and maybe for the process that started this one
    assert machine.peak_memory_mb() > 0.8 * stated > 1
    (tmp_path / "status").write_text("VmHWM:\t 3072 kB\n")
    assert machine.peak_memory_mb() == 3.0
