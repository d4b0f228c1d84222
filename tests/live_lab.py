"""JupyterLab for a test: on this machine alone, with nothing of the reader's own settings, ended
with all its kernels.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zephyr_utils.pipeline.notebooks import QUIET

# Every cell is in the page even if it is out of sight, and nothing is asked or fetched.
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
STARTS_WITHIN, ENDS_WITHIN, IDLE = 120, 30, 300  # seconds
# A test that is killed cannot end its server; then the server ends its idle kernels, and itself.
ENDS_ALONE = [
    f"--MappingKernelManager.cull_idle_timeout={IDLE}",
    "--MappingKernelManager.cull_interval=60",
    f"--ServerApp.shutdown_no_activity_timeout={IDLE}",
]


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab with one chapter.

    Attributes:
        address: with a slash at its end.
        notebook: name of the chapter's copy.
        token: for every request.
        log: what the server wrote.
    """

    address: str
    notebook: str
    token: str
    log: Path

    @property
    def page(self) -> str:
        """What opens the chapter."""
        return f"{self.address}lab/tree/{self.notebook}?token={self.token}"

    def wait_for_kernel(self) -> None:
        """Until the chapter's kernel waits for work, with the page connected to it.

        The page itself cannot be asked: its indicator says "idle" before there is a kernel, and
        cells that are run then wait for a choice of kernel.
        """
        until = time.monotonic() + STARTS_WITHIN
        while (kernels := self.kernels()) != [("idle", True)]:
            assert time.monotonic() < until, f"no kernel waits for work: {kernels}\n{self.ending()}"
            time.sleep(0.2)

    def kernels(self) -> list[tuple[str, bool]]:
        """Of every kernel, its state and whether a page is connected to it."""
        asked = urllib.request.Request(
            f"{self.address}api/kernels", headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(asked, timeout=STARTS_WITHIN) as reply:
            found: list[dict[str, Any]] = json.load(reply)
        return [(kernel["execution_state"], kernel["connections"] > 0) for kernel in found]

    def ending(self) -> str:
        """The last lines of the server's log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]


@contextlib.contextmanager
def jupyter_lab(workplace: Path, chapter: Path, runs: Path) -> Iterator[Lab]:
    """A running JupyterLab with a copy of the chapter.

    Args:
        workplace: an empty folder for the copy, the settings and the log.
        chapter: the notebook; it is copied, so that the one in the repository stays without
            outputs.
        runs: what the chapter finds as its runs folder.
    """
    notebooks, settings, runtime = (
        workplace / part for part in ("notebooks", "settings", "runtime")
    )
    for folder in (notebooks, runtime):
        folder.mkdir(parents=True)
    copy = Path(shutil.copy(chapter, notebooks))
    for name, values in SETTINGS.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    token = secrets.token_urlsafe(16)
    own = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }  # fmt: skip
    places = {name: str(workplace / part) for name, part in own.items()}
    environment = os.environ | QUIET | places | {"ZEPHYR_RUNS": str(runs), "JUPYTER_TOKEN": token}
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", "--port=0",
        "--allow-root",
        f"--ServerApp.root_dir={notebooks}", "--LabApp.news_url=None",
        "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", *ENDS_ALONE,
    ]  # fmt: skip
    log = workplace / "lab.log"
    with log.open("w") as lines:
        server = subprocess.Popen(
            command,
            cwd=notebooks,
            env=environment,
            stdout=lines,
            stderr=lines,
            start_new_session=True,
        )
        try:
            yield Lab(_address(server, runtime, log), copy.name, token, log)
        finally:
            _end(server)


def _address(server: subprocess.Popen, runtime: Path, log: Path) -> str:
    """Where the server listens; it chose its port itself and wrote it down."""
    file = runtime / f"jpserver-{server.pid}.json"
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError, ValueError):  # not there yet, or half written
            return json.loads(file.read_text(encoding="utf-8"))["url"]
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")


def _end(server: subprocess.Popen) -> None:
    """Ask the server to end, which ends its kernels; what has not ended by then is killed with its
    whole session.
    """
    server.terminate()
    try:
        server.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
