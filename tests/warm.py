"""Processes that begin with the large libraries imported, for tests that train, kill and resume.

Importing torch, Transformers and TRL takes longer than the trainings of such a test. A server
process imports them once and is forked for every start, so that nothing of the test's own process
is inherited. Where no process can be forked (Windows), each start imports them itself.
"""

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

# Of others only: a test may start the package from a copy.
LIBRARIES = [
    "datasets", "openai", "peft", "rich.console", "scipy.stats", "torch.distributed.fsdp",
    "transformers.trainer", "transformers.models.mistral.modeling_mistral",
    "trl.trainer.dpo_trainer", "trl.trainer.sft_trainer", "typer",
]  # fmt: skip
# The command line: ``warm.run(warm.ZEPHYR, "feedback", ...)``.
ZEPHYR = "from zephyr_utils.cli import main\nmain()"
# What the package sets before it imports them, and one thread, so that sums have one order.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1",
}  # fmt: skip


def _context() -> multiprocessing.context.BaseContext:
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(LIBRARIES)
    return context


class Process:
    """``python -c code *arguments``, started warm.

    Args:
        code: run as ``__main__``.
        arguments: its ``sys.argv[1:]``.
        environment: variables beside those of the test.
        path: a folder that goes before all others when modules are searched.
    """

    def __init__(
        self,
        code: str,
        *arguments: object,
        environment: dict[str, str] | None = None,
        path: Path | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        variables = {**os.environ, **ENVIRONMENT, **(environment or {})}
        argv = ["-c", *map(str, arguments)]
        with mock.patch.dict(os.environ, ENVIRONMENT):  # for the server, if this is the first start
            self._process = _context().Process(
                target=_run, args=(code, argv, variables, path, self._folder.name), daemon=True
            )
            self._process.start()

    def poll(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = 180) -> int:
        """Its exit status, once it has ended."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"still running after {timeout:g} s"
        return self._process.exitcode

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, as the machine's power would."""
        self._process.kill()
        self._process.join()
        assert self._process.exitcode == -signal.SIGKILL, "it ended before it could be killed"

    @property
    def stdout(self) -> str:
        return Path(self._folder.name, "stdout").read_text()

    @property
    def stderr(self) -> str:
        return Path(self._folder.name, "stderr").read_text()


def run(code: str, *arguments: object, **options) -> Process:
    """Start it and wait for its end, which has to be a good one."""
    process = Process(code, *arguments, **options)
    assert process.wait() == 0, process.stderr[-3000:]
    return process


def run_together(code: str, *arguments: object, processes: int = 2) -> list[Process]:
    """Processes of one ``torch.distributed`` group, as ``torchrun`` starts them, once all ended."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {
        "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    started = [
        Process(code, *arguments, environment={**group, "RANK": str(n), "LOCAL_RANK": str(n)})
        for n in range(processes)
    ]
    for process in started:
        process.wait()
    return started


def _run(
    code: str, argv: Sequence[str], variables: dict[str, str], path: Path | None, folder: str
) -> None:
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT), descriptor)
    # A script's background job ignores SIGINT, and so would what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(variables)
    if path is not None:
        sys.path.insert(0, str(path))
        os.chdir(path)
    sys.argv = list(argv)
    exec(compile(code, "<warm>", "exec"), {"__name__": "__main__"})
