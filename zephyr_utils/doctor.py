"""What this machine can run, what is missing, and how to get it: ``zephyr doctor``, for readers and
for bug reports.

Nothing is fetched, trained or written. No path, host name, user name or key appears in the output,
so that it can be pasted into a public bug report as it is.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

import zephyr_utils
from zephyr_utils.files import existing_path
from zephyr_utils.machine import multiplies_in_bfloat16, usable_cores

OLDEST_PYTHON = (3, 11)
# a whole run of the miniature leaves some tens of MB, checkpoints and website included
FREE_DISK_GB = 1.0
PACKAGE = "zephyr-handbook"

OK, MISSING, NOTE = "ok", "missing", "note"


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        part: the heading it is under.
        state: `OK`; `MISSING`: the miniature does not run without it; `NOTE`: something else does
            not.
        words: the result, in a sentence or less.
        remedy: what to do about it; empty where nothing is to be done.
    """

    part: str
    state: str
    words: str
    remedy: str = ""


def diagnose(runs: Path) -> list[Check]:
    """Everything the doctor looks at; `runs` is the folder that artefacts go into (it need not
    exist).
    """
    looked_at = (
        _machine(runs),
        _libraries(),
        _accelerator(),
        _scales(),
        _chapters(),
        _optional(),
    )
    return [finding for part in looked_at for finding in part]


def healthy(findings: list[Check]) -> bool:
    """Whether the miniature can run: nothing that it needs is missing."""
    return all(finding.state != MISSING for finding in findings)


def report(findings: list[Check]) -> str:
    """The findings as plain text, each remedy under its finding."""
    lines = [
        f"The Zephyr handbook {zephyr_utils.__version__} on {platform.system()} "
        f"{platform.machine()}"
    ]
    part = ""
    for finding in findings:
        if finding.part != part:
            part = finding.part
            lines += ["", part]
        lines.append(f"  {finding.state:8s}{finding.words}")
        if finding.remedy:
            lines.append(f"          What to do: {finding.remedy}")
    missing = sum(finding.state == MISSING for finding in findings)
    end = (
        "The miniature can run here: make run"
        if not missing
        else f"{missing} missing for the miniature: see above"
    )
    return "\n".join([*lines, "", end])


def _machine(runs: Path) -> Iterator[Check]:
    part, version = "Machine", sys.version_info[:2]
    words = f"Python {platform.python_version()}"
    if version >= OLDEST_PYTHON:
        yield Check(part, OK, words)
    else:
        yield Check(
            part,
            MISSING,
            f"{words}, older than 3.11",
            "name a newer one: make env PYTHON=python3.12",
        )
    cores = usable_cores()
    yield Check(
        part,
        OK,
        f"{cores} CPU core{'s' if cores > 1 else ''} for this process, {_memory_gb():.0f} GB of "
        f"memory",
    )
    there = next(
        folder for folder in (runs.absolute(), *runs.absolute().parents) if existing_path(folder)
    )
    if problem := _unusable(runs, there):
        words = f"the folder for runs cannot be written to: {problem}"
        yield Check(part, MISSING, words, "name another with --runs, or with ZEPHYR_RUNS")
    free = shutil.disk_usage(there).free / 2**30
    remedy = "free some space, or set ZEPHYR_RUNS to a folder on a larger disk"
    enough = free >= FREE_DISK_GB
    yield Check(
        part,
        OK if enough else MISSING,
        f"{free:.1f} GB of disk free for runs",
        "" if enough else remedy,
    )


def _unusable(runs: Path, there: Path) -> str:
    """Why artefacts cannot be written into a folder, given the nearest one that exists; or ""."""
    try:
        runs.stat()
    except FileNotFoundError:
        pass  # it is made when it is needed
    except (OSError, ValueError) as error:  # ValueError: a NUL, half of a surrogate pair
        return (getattr(error, "strerror", None) or str(error)).lower()
    if not there.is_dir():
        return "it is a file"
    return "" if os.access(there, os.W_OK | os.X_OK) else "permission denied"


def _memory_gb() -> float:
    if importlib.util.find_spec("psutil") is None:
        return 0.0
    import psutil

    return psutil.virtual_memory().total / 2**30


def _libraries() -> Iterator[Check]:
    """What the package itself asks for, against what is installed."""
    part, good = "Libraries", []
    try:
        wanted = [Requirement(line) for line in importlib.metadata.requires(PACKAGE) or []]
    except importlib.metadata.PackageNotFoundError:
        yield Check(part, MISSING, f"{PACKAGE} is not installed", "make env (or: pip install -e .)")
        return
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue  # an extra, which the miniature does not need
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(
                part,
                MISSING,
                f"{requirement.name} is not installed",
                f"make env (it takes {requirement})",
            )
            continue
        if requirement.specifier.contains(version, prereleases=True):
            good.append(f"{requirement.name} {version}")
        else:
            words = f"{requirement.name} {version}, but {requirement.specifier} is needed"
            yield Check(part, MISSING, words, "make env, which installs the tested versions")
    for start in range(0, len(good), 4):
        yield Check(part, OK, ", ".join(good[start : start + 4]))


def _torch():
    """PyTorch, or None where it is missing (which `_libraries` says)."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch  # here, so that the rest of the doctor also works without it

    return torch


def _gpu_memory_gb(torch) -> float:
    """Memory of all GPUs together, in GB of 2^30 bytes; 0 where there is none."""
    if torch is None or not torch.cuda.is_available():
        return 0.0
    count = torch.cuda.device_count()
    return (
        sum(torch.cuda.get_device_properties(index).total_memory for index in range(count)) / 2**30
    )


def _accelerator() -> Iterator[Check]:
    part, torch = "GPU", _torch()
    if torch is None:
        return
    if not torch.cuda.is_available():
        words = f"none that PyTorch {torch.__version__} sees; the miniature needs none"
        yield Check(part, NOTE if shutil.which("nvidia-smi") else OK, words, _blind_remedy())
        if multiplies_in_bfloat16():
            words = (
                "multiplies in bfloat16: at smol/cpu, --set dsft.bf16=true --set ddpo.bf16=true "
            )
            yield Check(
                "CPU",
                OK,
                words + "trains faster than float32, with more memory and coarser margins",
            )
        return
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield Check(part, OK, f"{card.name}, {card.total_memory / 2**30:.0f} GB")
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        words = "no bfloat16 on this card (a T4, for one)"
        yield Check(
            part, NOTE, words, "leave bf16: false in the recipe; float16 weights tend to NaN"
        )


def _blind_remedy() -> str:
    """What to do where a card is there (its driver's tool is) and PyTorch does not see it."""
    if not shutil.which("nvidia-smi"):
        return ""
    return (
        "the driver's nvidia-smi is there: install a PyTorch build for CUDA, and compare its "
        "version with the driver's"
    )


def _scales() -> Iterator[Check]:
    if _torch() is None or importlib.util.find_spec("yaml") is None:
        return  # reported under Libraries
    from zephyr_utils.data.records import HubAddress
    from zephyr_utils.scales import DEFAULT_SCALE, SCALES

    part, gpu, memory = "Scales (--scale)", _gpu_memory_gb(_torch()), _memory_gb()
    for scale in SCALES.values():
        has, of = (gpu, "of GPU memory") if scale.needs_gpu else (max(memory, gpu), "of memory")
        if (has and has < 0.9 * scale.memory_gb) or (
            scale.needs_gpu and not has
        ):  # a "24 GB" card shows 22
            there = f"{has:.0f} GB here" if has else "no GPU here"
            state = MISSING if scale.name == DEFAULT_SCALE else NOTE
            words = f"{scale.name}: no, it needs {scale.memory_gb} GB {of}, {there}"
            yield Check(part, state, words, f"take {scale.runs_on}")
            continue
        words = f"{scale.name}: yes ({scale.runs_on})"
        if isinstance(scale.base_model, HubAddress):
            words += (
                "; its model and data come from the Hugging Face Hub, or from files that you name"
            )
        yield Check(part, OK, words)
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        words = "HF_HUB_OFFLINE is set: nothing is fetched"
        yield Check(
            part,
            NOTE,
            words,
            "unset it for other scales, or use --base-model, --dialogues and --feedback",
        )


def _chapters() -> Iterator[Check]:
    part = "Chapters"
    from zephyr_utils.scales import DEFAULT_SCALE, SCALES

    base = SCALES[DEFAULT_SCALE].base_model
    if isinstance(base, Path) and (base / "model.safetensors").is_file():
        yield Check(part, OK, "the miniature's base model is in the package")
    else:
        remedy = "clone again, or make it: python -m zephyr_utils.miniature.make_base"
        yield Check(part, MISSING, "the miniature's base model is not in the package", remedy)
    places = (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1])
    notebooks = next(
        (
            names
            for place in places
            if (names := sorted((place / "notebooks").glob("[0-9][0-9]_*.ipynb")))
        ),
        [],
    )
    if notebooks:
        yield Check(
            part,
            OK,
            f"notebooks {notebooks[0].stem[:2]} to {notebooks[-1].stem[:2]}, "
            f"{len(notebooks)} of them",
        )
    else:
        yield Check(part, NOTE, "no notebooks here", "run zephyr inside a checkout of the handbook")


def _optional() -> Iterator[Check]:
    """What single commands use; without them the pipeline still runs."""
    part = "Optional"
    chromium = any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    for there, name, use, remedy in (
        (shutil.which("make"), "make", "make run, make test", "install make, or use the zephyr "
                                                              "command itself"),
        (chromium, "Chromium", "the browser checks of the "
                               "website", "on Debian: apt-get install chromium"),
        (shutil.which("node"), "node", "the tests that compare the explorers with "
                                       "Python", "on Debian: apt-get install nodejs"),
        (importlib.util.find_spec("bitsandbytes"), "bitsandbytes", "4-bit weights (QLoRA) on a "
                                                                   "GPU", "pip install "
                                                                          "'zephyr-handbook[qlora]'"),
        (
            importlib.util.find_spec("lm_eval"),
            "lm-eval",
            "zephyr evaluate --academic",
            "pip install 'zephyr-handbook[academic]'",
        ),
    ):  # fmt: skip
        words = f"{name}: {'there' if there else 'not there'}; for {use}"
        yield Check(part, OK if there else NOTE, words, "" if there else remedy)
    key = "set" if os.environ.get("OPENAI_API_KEY") else "not set; only a paid judge needs it"
    yield Check(part, OK, f"OPENAI_API_KEY: {key}")
