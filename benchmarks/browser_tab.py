"""Memory and speed of a tab in which the shipped models answer, for `browser.py`."""

import functools
import http.server
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zephyr_utils.chat import generate, prepare_tokenizer
from zephyr_utils.explorers.common import script
from zephyr_utils.explorers.weights import BrowserModels
from zephyr_utils.miniature.shipped import load_shipped
from zephyr_utils.miniature.small_talk import EXAMPLE_QUESTIONS
from zephyr_utils.scales import get_scale

# In the page: the models are loaded once, then one after the other answers all questions.
OPEN = """
async (files) => {
  const source = await (await fetch("model.js")).text();
  const engine = await import(new URL("model.js", document.baseURI).href);
  const model = { get: () => files };
  globalThis.opened = await engine.openModels({ model, kernel: false, source, onProgress() {} });
  return opened.server.inWorker;
}
"""
ANSWER = """
async ({ name, questions, longest }) => {
  const how = { kind: "answer", temperature: 0, topP: 1, seed: 0, longest, models: [name] };
  const ask = async (content) => {
    const begun = performance.now();
    let first = null;
    const conversations = [[{ role: "user", content }]];
    const { answers: [one] } = await opened.server.request({ ...how, conversations }, () => {
      first ??= performance.now() - begun;
    });
    const seconds = (performance.now() - begun) / 1000;
    return { tokens: one.tokens, seconds, first: (first ?? 1000 * seconds) / 1000 };
  };
  await ask(questions[0]); // merges the adapters, and lets the engine compile
  const asked = [];
  for (const text of questions) asked.push(await ask(text));
  return asked;
}
"""


def in_chromium(packed: BrowserModels, names: Mapping[str, str]) -> dict[str, Any]:
    """Memory of a tab in which all three models have answered, its tokens per second, and those of
    PyTorch on the same questions right after each model: the machine's load is then the same.

    Tokens per second of processor time do not depend on what else the machine does.

    Args:
        packed: the models.
        names: of each model on the page -> in the package.
    """
    from playwright.sync_api import sync_playwright

    exam = get_scale("miniature").exam
    questions, speeds = list(EXAMPLE_QUESTIONS), {}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        packed.write(folder, "models")
        (folder / "model.js").write_text(script("model"))
        (folder / "index.html").write_text("<!doctype html><title>models</title>")
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=name)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
            timeout=0,
        )
        tab = browser.new_page()
        tab.set_default_timeout(0)  # a loaded machine takes its time
        tab.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        before = _tab().memory_full_info().uss
        in_worker = tab.evaluate(OPEN, [{"name": "models", "address": "models.json"}])
        for model, package in names.items():
            how = {"name": model, "questions": questions, "longest": exam.max_new_tokens}
            tab.evaluate(ANSWER, how | {"questions": questions[:1]})
            began = _seconds(_tab())
            asked = tab.evaluate(ANSWER, how)
            taken = _seconds(_tab()) - began
            tokens = sum(one["tokens"] for one in asked)
            # the first question is answered twice, once to warm up
            worked = tokens + asked[0]["tokens"]
            speeds[model] = {
                "browser": tokens / sum(one["seconds"] for one in asked),
                "browser, processor time": worked / taken,
                "seconds to the first token": statistics.median(one["first"] for one in asked),
                **_in_pytorch(package, questions, exam.max_new_tokens),
            }
        after = _tab().memory_full_info().uss
        browser.close()
        server.shutdown()
    return {
        "load_of_the_machine": os.getloadavg()[0],
        "in a worker": in_worker,
        "tokens_per_second": speeds,
        "memory_mb": {"empty page": before / 2**20, "three models": after / 2**20},
    }


def _in_pytorch(package: str, questions: Sequence[str], longest: int) -> dict[str, float]:
    """Tokens per second of this package's own decoding, one question at a time on one thread."""
    model, tokenizer = load_shipped(package)
    prepare_tokenizer(tokenizer)
    how: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": longest}
    generate(model.float(), tokenizer, [[{"role": "user", "content": questions[0]}]], **how)
    began, worked = time.perf_counter(), time.process_time()
    tokens = 0
    for text in questions:
        (answer,) = generate(model, tokenizer, [[{"role": "user", "content": text}]], **how)
        tokens += answer.n_tokens
    taken, of_it = time.perf_counter() - began, time.process_time() - worked
    return {"pytorch": tokens / taken, "pytorch, processor time": tokens / of_it}


def _tab() -> Any:
    """This script's tab process: of several, the one with the most memory that nobody shares."""
    import psutil

    tabs = [
        child
        for child in psutil.Process().children(recursive=True)
        if "--type=renderer" in child.cmdline()
    ]
    return max(tabs, key=lambda tab: tab.memory_full_info().uss)


def _seconds(process: Any) -> float:
    """Processor time that a process has taken."""
    times = process.cpu_times()
    return float(times.user + times.system)
