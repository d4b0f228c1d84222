"""What a number was measured on: the machine, the versions, the memory a process has held."""

import contextlib
import ctypes
import gc
import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

import zephyr_utils
from zephyr_utils.errors import HandbookError

# those whose version changes what is trained
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets")
# What installing the handbook upgrades on Google Colab: TRL needs both newer than Colab has them.
UPGRADED_ON_COLAB = ("datasets", "pyarrow")


def code_versions() -> dict[str, str]:
    """The handbook's version and those of the libraries that change what is trained."""
    return {"zephyr_utils": zephyr_utils.__version__} | {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def check_loaded_versions() -> None:
    """Refuse a process that was started before one of its libraries was upgraded.

    What was imported before the upgrade stays the old version, and fails later in unclear ways.

    Raises:
        HandbookError: naming the libraries; the kernel has to be restarted once.
    """
    loaded = {
        name: sys.modules[name].__version__ for name in UPGRADED_ON_COLAB if name in sys.modules
    }
    outdated = [
        f"{name} {version} is loaded, {_version(name)} is installed"
        for name, version in loaded.items()
        if version != _version(name)
    ]
    if outdated:
        raise HandbookError(
            "; ".join(outdated),
            remedy="restart the kernel once (on Colab: Runtime > Restart session), then run again",
        )


def peak_memory_mb() -> float:
    """The most memory this process has held so far, in MB (2^20 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: its getrusage would also count the process that started this one
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):  # some containers do not say it
                return round(int(line.split()[1]) / 2**10, 1)
    if sys.platform == "win32":
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 2**20, 1)
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # macOS counts bytes


def peak_memory() -> dict[str, float]:
    """Peak memory of this process, and of its accelerator if one was used, in MB."""
    peaks = {"peak_memory_mb": peak_memory_mb()}
    torch = sys.modules.get("torch")  # a process that never imported it used no accelerator
    if torch is not None and torch.cuda.is_available():
        peaks["peak_accelerator_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return peaks


def release_memory() -> None:
    """Give memory that nothing uses any more back to the operating system.

    glibc keeps what large tensors held for what comes next, in pieces that the next training cannot
    use whole, so without this the stages of one process add up in its peak.
    """
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)


def environment_stamp() -> dict[str, Any]:
    """The machine and the versions a result belongs to; no host name, no path, no user name."""
    import psutil
    import torch  # here, so that commands that train nothing start quickly

    accelerator = "mps" if torch.backends.mps.is_available() else "none"
    if torch.cuda.is_available():
        accelerator = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        **code_versions(),
        "threads": torch.get_num_threads(),
        "accelerator": accelerator,
    }


def hardware_found() -> str:
    """What this machine has to train on, in a sentence."""
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        memory = f"{device.total_memory / 2**30:.0f} GiB"
        return f"{torch.cuda.device_count()} x {device.name}, {memory} each"
    threads = torch.get_num_threads()
    return f"no GPU; {threads} CPU thread{'s' if threads > 1 else ''}"


def usable_cores() -> int:
    """The cores this process may use, which in a container are often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplies_in_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16 (AVX512-BF16 or AMX), so that
    ``bf16: true`` trains faster there than float32 does.
    """
    import torch

    features: dict[str, object] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # not every PyTorch has it
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
