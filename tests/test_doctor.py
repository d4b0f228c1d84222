"""The doctor: what it says of a whole machine and of one that lacks something, and what it never
says.
"""

import getpass
import importlib.metadata
import platform
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from zephyr_utils import cli, doctor
from zephyr_utils.scales import SCALES


@pytest.fixture
def examined(tmp_path):
    return lambda: doctor.diagnose(tmp_path / "not" / "yet")


def words_of(findings, state):
    return [finding.words for finding in findings if finding.state == state]


def test_on_a_machine_that_has_all_the_miniature_can_run(examined):
    findings = examined()
    assert doctor.healthy(findings), words_of(findings, doctor.MISSING)
    text = doctor.report(findings)
    assert f"Python {platform.python_version()}" in text and text.endswith("make run")
    assert f"torch {importlib.metadata.version('torch')}" in text
    for scale in SCALES:
        assert f"{scale}: " in text


def test_a_library_that_is_missing_or_too_old_is_named_with_its_remedy(examined, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "trl":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.0.1" if name == "peft" else real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    findings = examined()
    missing = words_of(findings, doctor.MISSING)
    assert len(missing) == 2 and not doctor.healthy(findings)
    assert any(words.startswith("trl is not installed") for words in missing)
    assert any(words.startswith("peft 0.0.1, but >=") for words in missing)
    assert all(finding.remedy for finding in findings if finding.state == doctor.MISSING)


def test_a_full_disk_is_said_before_a_run_meets_it(examined, monkeypatch):
    monkeypatch.setattr(
        doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10 * 2**20)
    )
    (missing,) = words_of(examined(), doctor.MISSING)
    assert missing == "0.0 GB of disk free for runs"


def test_without_a_gpu_the_large_scales_are_refused_and_the_miniature_is_not(examined, monkeypatch):
    monkeypatch.setattr(doctor, "_gpu_memory_gb", lambda torch: 0.0)
    findings = examined()
    assert doctor.healthy(findings)
    assert "zephyr-7b-lora: no, it needs 24 GB of GPU memory, no GPU here" in words_of(
        findings, doctor.NOTE
    )


@pytest.mark.parametrize("memory, able", [(15.0, False), (22.5, True)])
def test_a_scale_is_offered_where_its_memory_is_there(examined, monkeypatch, memory, able):
    monkeypatch.setattr(doctor, "_gpu_memory_gb", lambda torch: memory)
    offered = [
        words
        for words in words_of(examined(), doctor.OK)
        if words.startswith("zephyr-7b-lora: yes")
    ]
    assert bool(offered) == able


def test_a_card_that_pytorch_does_not_see_is_said(examined, monkeypatch):
    torch = doctor._torch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    (gpu,) = [finding for finding in examined() if finding.part == "GPU"]
    assert gpu.state == doctor.NOTE and "CUDA" in gpu.remedy


@pytest.mark.parametrize(
    "features, fast",
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False)],
)
def test_a_cpu_that_multiplies_in_bfloat16_is_told_how_to_use_it(
    examined, monkeypatch, features, fast
):
    torch = doctor._torch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    said = [finding.words for finding in examined() if finding.part == "CPU"]
    assert ["--set ddpo.bf16=true" in words for words in said] == [True] * fast


def test_without_pytorch_the_doctor_still_speaks(examined, monkeypatch):
    monkeypatch.setattr(doctor, "_torch", lambda: None)
    findings = examined()
    assert not [finding for finding in findings if finding.part in ("GPU", "Scales (--scale)")]
    assert doctor.report(findings)


def test_nothing_private_is_in_the_output(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-key-that-nobody-may-see")
    result = CliRunner().invoke(cli.app, ["doctor", "--runs", str(tmp_path)])
    assert result.exit_code == 0 and "OPENAI_API_KEY: set" in result.stdout
    lines = result.stdout.splitlines()
    user = getpass.getuser()
    for private in ("sk-a-key", str(Path.home()), str(Path.cwd()), str(tmp_path), platform.node()):
        assert not [line for line in lines if private in line], private
    assert not [line for line in lines if user in line.split()]


def test_the_command_ends_with_status_1_where_something_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    assert CliRunner().invoke(cli.app, ["doctor", "--runs", str(tmp_path)]).exit_code == 1
