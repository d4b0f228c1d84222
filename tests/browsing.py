"""A browser for tests: Debian's Chromium, a server for a folder of pages, a tab that records what
must not happen, and the keys that move an explorer.
"""

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

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@contextlib.contextmanager
def recording_tab(browser, address: str) -> Iterator:
    """A page whose `complaints` lists errors, answers from 400 up, and requests to other hosts."""
    tab = browser.new_page()
    tab.complaints = []
    tab.on("pageerror", lambda error: tab.complaints.append(f"error {error}"))
    tab.on(
        "console", lambda line: tab.complaints.append(line.text) if line.type == "error" else None
    )
    tab.on(
        "response",
        lambda answer: tab.complaints.append(answer.url) if answer.status >= 400 else None,
    )
    own = (address, "blob:", "data:")
    tab.on(
        "request",
        lambda asked: tab.complaints.append(asked.url) if not asked.url.startswith(own) else None,
    )
    yield tab
    tab.close()


# An explorer changes under the keyboard: what it draws or says is not what it was. The control
# itself does not count.
SHOWN = """
(host) => {
  const copy = host.cloneNode(true);
  copy.querySelectorAll("input, select, button").forEach((control) => control.remove());
  return copy.innerHTML;
}
"""
KEYS = {
    "range": ["ArrowRight", "ArrowLeft"],
    "select-one": ["ArrowDown", "ArrowUp"],
    "search": ["x"],
    "checkbox": ["Space"],
}


def moves(host) -> bool:
    """Whether some key in some control changes what the explorer in this element shows."""
    controls = host.locator("input, select, button, textarea")
    for place in range(controls.count()):
        control = controls.nth(place)
        if not control.is_visible() or not control.is_enabled():
            continue
        kind = control.evaluate("control => control.type")
        for key in KEYS.get(kind, ["Enter"]):
            before = host.evaluate(SHOWN)
            control.press(key)
            if host.evaluate(SHOWN) == before:
                host.page.wait_for_timeout(100)  # some draw in the next frame
            if host.evaluate(SHOWN) != before:
                return True
    return False
