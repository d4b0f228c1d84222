"""What a number was measured on."""

import sys
from pathlib import Path

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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and only glibc keeps memory so")
def test_memory_that_nothing_uses_any_more_is_given_back():
    def held_mb():
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    blocks = [bytes([1]) * 100_000 for _ in range(4_000)]  # too small to be mapped one by one
    last = bytes([1]) * 100_000  # above them, so that the allocator's end is in use
    before = held_mb()
    del blocks
    machine.release_memory()
    assert held_mb() < before - 300 and len(last) == 100_000
