"""A browser for tests: Debian's Chromium, a server for a folder of pages, and a tab that records what must not happen."""

import contextlib
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

# They keep Chromium from asking the network for anything of its own.
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@contextlib.contextmanager
def chromium() -> Iterator:
    """A running browser; skips where there is none."""
    executable = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if executable is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=executable, args=FLAGS.split())
        yield opened
        opened.close()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address, with a slash at its end, at which this folder is served meanwhile."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@contextlib.contextmanager
def recording_tab(browser, address: str) -> Iterator:
    """A page whose `complaints` lists errors, answers from 400 up, and requests to other hosts."""
    tab = browser.new_page()
    tab.complaints = []
    tab.on("pageerror", lambda error: tab.complaints.append(f"error {error}"))
    tab.on("console", lambda line: tab.complaints.append(line.text) if line.type == "error" else None)
    tab.on("response", lambda answer: tab.complaints.append(answer.url) if answer.status >= 400 else None)
    own = (address, "blob:", "data:")
    tab.on(
        "request", lambda asked: tab.complaints.append(asked.url) if not asked.url.startswith(own) else None
    )
    yield tab
    tab.close()
