"""Kill each stage with SIGKILL at random moments, start it again, and compare with a run left
alone.

Usage: python tests/kill_stages.py [--kills 20] [--stages truecase feedback ...] [--seed 0]

Every stage is a command of `zephyr` on small records of the miniature, so the whole table takes
about an hour on two cores; with --kills 3 it takes minutes. Processes start warm (`warm.py`): a
moment falls into the stage's own work, not into the import of TRL. What a stage rests on and is
killed in a stage of its own (dSFT before dDPO) is made once and copied. Trainings save every few
steps, so that most kills leave a checkpoint to go on from, and an exam asks few questions. A stage
passes when, after a kill and one further start, its files hold the same bytes as those of the run
left alone. Exceptions, each with its reason, are in `IGNORED` and `VOLATILE`.

No file of the package may change while this runs: an artefact's key holds the code that makes it.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import warm
import yaml
from rich.console import Console
from rich.table import Table

from zephyr_utils import recipes
from zephyr_utils.data.records import save_records
from zephyr_utils.miniature import data as world
from zephyr_utils.miniature.data import MODELS
from zephyr_utils.miniature.serve import TEACHER, served

# What may differ between two whole runs of the same work.
IGNORED = {
    "in_progress.json": "a marker of work under way",
    ".lock": "held by whoever works",
    "journal.jsonl": "replies in the order in which they came, with the time of each",
    "begun": "calls under way, kept beside the journal",
    "report.html": "carries its date",
    "log.json": "holds speeds",
    "trainer_state.json": "holds speeds",
}
# In JSON: what measures the run and not the work.
VOLATILE = {
    "seconds", "seconds_reused", "peak_memory_mb", "resumed", "created_at", "finished", "tstamp",
    "at", "versions", "date",
    "report_sha256",  # over a report that holds its seconds
    "warnings",  # of a report: calls under way at the kill, which may be paid for twice
    "files", "reused",  # of truecasing: which files a start wrote, and which it found done
    "train_runtime", "train_samples_per_second", "train_steps_per_second", "tokens_per_second",
}  # fmt: skip
# In texts: durations and sizes that chapters print, identifiers of widgets, addresses of objects,
# and the layout of records, which only the start says that reads them.
_VOLATILE_TEXT = re.compile(
    r"\d+(\.\d+)? (s|ms|MB|MB/s|seconds)\b|'(seconds|peak_memory_mb)': [\d.]+"
    r"|\b[0-9a-f]{32}\b|\b0x[0-9a-f]+|[\w.]+: layout: [^\\]*\\n"
)
SAVE_STEPS = (
    4  # optimiser steps between two checkpoints; the recipes' 100 are more than a stage has
)
LONGEST = 3600  # seconds of a run
QUESTIONS_PER_CATEGORY = 4  # of an exam; with all of them most kills of a round would fall into it
# Read by every Python that starts, the kernels of chapters too.
_SMALLER = """from pathlib import Path
from zephyr_utils import recipes
from zephyr_utils.miniature import data
recipes.RECIPES_FOLDER = Path({folder!r})
data.QUESTIONS_PER_CATEGORY = {questions}
"""


@dataclass(frozen=True)
class Stage:
    """One command that is killed.

    Attributes:
        name: of the stage.
        command: folder of the outputs -> arguments of `zephyr`.
        before: the same of a command that is run once, undisturbed; its outputs are copied into
            every folder.
    """

    name: str
    command: Callable[[Path], list[str]]
    before: Callable[[Path], list[str]] | None = None


class _Judge(BaseHTTPRequestHandler):
    """An endpoint that grades whatever it is shown, by a digest of it, and takes its time."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.05)
        asked = json.dumps(json.loads(body)["messages"])
        grade = hashlib.sha256(asked.encode()).digest()[0] % 10 + 1
        message = {"role": "assistant", "content": f"Graded by digest. Rating: [[{grade}]]"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        reply = {"id": "1", "object": "chat.completion", "created": 0, "model": "digest"}
        content = json.dumps({**reply, "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: one line per call would hide the table."""


@contextlib.contextmanager
def judging() -> Iterator[str]:
    """The address of a running `_Judge`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


def make_smaller(folder: Path) -> None:
    """Let every Python started from here train with checkpoints each `SAVE_STEPS` steps, and ask
    `QUESTIONS_PER_CATEGORY` questions of each category.

    Args:
        folder: for the changed copy of the recipes.
    """
    changed = shutil.copytree(recipes.RECIPES_FOLDER, folder / "recipes")
    for path in changed.glob("miniature/d*.yaml"):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(values | {"save_steps": SAVE_STEPS}), encoding="utf-8")
    code = _SMALLER.format(folder=str(changed), questions=QUESTIONS_PER_CATEGORY)
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}


def stages(records: Path, url: str, judge_url: str) -> list[Stage]:
    """The stages, on records written into `records`.

    Args:
        records: a folder.
        url: of the miniature's stand-ins; judge_url: of a judge of anything.
    """
    dialogues = save_records(world.dialogues(120), records / "dialogues.jsonl")
    many = save_records(world.dialogues(4000), records / "many.jsonl")
    feedback = save_records(world.feedback(90), records / "feedback.jsonl")
    prompts = save_records(
        [{"prompt": question["turns"][0]} for question in world.questions()[:60]],
        records / "prompts.jsonl",
    )
    questions = save_records(world.questions()[:40], records / "questions.jsonl")
    answers = save_records(
        [
            {
                "question_id": question["question_id"],
                "model_id": "recorded",
                "choices": [{"index": 0, "turns": question["reference"]}],
            }
            for question in world.questions()[:40]
        ],
        records / "answers.jsonl",
    )

    def training(command: str, *options: str) -> Callable[[Path], list[str]]:
        own = ["--dialogues", str(dialogues), "--feedback", str(feedback)]
        own = own[:2] if command == "sft" else own
        return lambda folder: [command, *options, *own, "--runs", str(folder)]

    longer = ("--set", "dsft.num_train_epochs=12")  # or no two answers would differ in rating
    asked = ["--models", ",".join(MODELS), "--judge", TEACHER, "--base-url", url]
    return [
        Stage("truecase", lambda folder: ["truecase", str(many), "--output", str(folder / "out")]),
        Stage(
            "feedback",
            lambda folder: [
                "feedback", str(prompts), "--output", str(folder / "feedback.jsonl"), *asked,
                "--journal", str(folder / "journal.jsonl"), "--concurrency", "4",
            ],
        ),
        Stage(
            "evaluate",
            lambda folder: [
                "evaluate", str(answers), "--questions", str(questions), "--judge", "digest",
                "--judge-url", judge_url, "--runs", str(folder), "--report", str(folder / "report"),
            ],
        ),
        Stage("sft", training("sft")),
        Stage("dpo", training("dpo"), before=training("sft")),
        Stage(
            "online",
            training("online", *longer, "--rounds", "2", "--prompts", "24", "--samples", "4"),
            before=training("sft", *longer),
        ),
        Stage(
            "run",
            lambda folder: [
                "run", "--chapters", "01", "--dialogues", str(dialogues), "--runs", str(folder),
            ],
        ),
    ]  # fmt: skip


def start(arguments: list[str]) -> warm.Process:
    """Start a command in a process group of its own."""
    return warm.Process(f"import os\nos.setsid()\n{warm.ZEPHYR}", *arguments)


def run_whole(arguments: list[str]) -> float:
    """Run a command to its end; returns the seconds it took.

    Raises:
        RuntimeError: it ended with another status than 0 or 1, or with a traceback.
    """
    started = time.perf_counter()
    process = start(arguments)
    status = process.wait(LONGEST)
    text = process.stdout + process.stderr
    if status not in (0, 1) or "Traceback" in text:
        raise RuntimeError(f"status {status}: {text[-1500:]}")
    return time.perf_counter() - started


def kill_at(arguments: list[str], moment: float) -> bool:
    """Kill a command with all it started after `moment` seconds; whether it was still at work."""
    process = start(arguments)
    time.sleep(moment)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait(LONGEST) == -signal.SIGKILL


def contents(folder: Path) -> dict[str, str]:
    """Relative name -> digest of what a file holds, `IGNORED` and `VOLATILE` left out."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(word in name for word in IGNORED):
            text = _without_volatile(path, str(folder))
            digests[name] = hashlib.sha256(text).hexdigest()
    return digests


def _without_volatile(path: Path, folder: str) -> bytes:
    content = path.read_bytes()
    if path.suffix not in (".json", ".jsonl", ".ipynb"):
        return content
    text = content.decode().replace(folder, "")
    lines = [line for line in text.split("\n") if line] if path.suffix == ".jsonl" else [text]
    values = [json.loads(line) for line in lines]
    if path.suffix == ".ipynb":
        values = [(cell["source"], _shown(cell)) for cell in values[0]["cells"]]
    return _VOLATILE_TEXT.sub("", json.dumps(_cleaned(values), sort_keys=True)).encode()


def _shown(cell: dict) -> list[object]:
    """What a cell printed, in one piece (how many there are is chance), and its other outputs."""
    outputs = cell.get("outputs", [])
    printed = ["".join(output["text"]) for output in outputs if "text" in output]
    return ["".join(printed), [output for output in outputs if "text" not in output]]


def _cleaned(value: object) -> object:
    if isinstance(value, dict):
        kept = {key: _cleaned(inner) for key, inner in value.items() if key not in VOLATILE}
        return {key: inner for key, inner in kept.items() if key not in ("files", "metadata")}
    return [_cleaned(inner) for inner in value] if isinstance(value, list | tuple) else value


def try_stage(stage: Stage, kills: int, rng: random.Random, folder: Path) -> dict[str, object]:
    """Kill a stage `kills` times; returns the row of the table."""
    folder.mkdir()
    before = folder / "before"
    before.mkdir()
    if stage.before is not None:
        run_whole(stage.before(before))
    alone = shutil.copytree(before, folder / "alone")
    seconds = run_whole(stage.command(alone))
    expected, equal, killed, faults = contents(alone), 0, 0, []
    for number in range(kills):
        here = shutil.copytree(before, folder / f"kill-{number}")
        moment = rng.uniform(0.05, 1.0) * seconds
        killed += kill_at(stage.command(here), moment)
        try:
            run_whole(stage.command(here))
        except RuntimeError as error:
            faults.append(f"kill at {moment:.1f} s: {error}")
            continue
        after = contents(here)
        different = sorted(n for n in {*expected, *after} if expected.get(n) != after.get(n))
        equal += not different
        if different:
            faults.append(f"kill at {moment:.1f} s: other {', '.join(different[:4])}")
    return {
        "stage": stage.name, "seconds": seconds, "kills": kills, "killed": killed,
        "files": len(expected), "equal": equal, "faults": faults,
    }  # fmt: skip


def main() -> int:
    """Try the stages and print the table; 1 if any run ended otherwise than the one left alone."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="random moments per stage")
    parser.add_argument("--stages", nargs="*", help="only these")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    console, rows = Console(), []
    with tempfile.TemporaryDirectory() as name, served(port=0) as url, judging() as judge:
        folder = Path(name)
        (folder / "records").mkdir()
        make_smaller(folder)
        warm.run("")  # imports the libraries, which is not to count as a stage's time
        for stage in stages(folder / "records", url, judge):
            if not options.stages or stage.name in options.stages:
                rng = random.Random(f"{options.seed} {stage.name}")
                rows.append(try_stage(stage, options.kills, rng, folder / stage.name))
                console.print(f"{stage.name}: {rows[-1]['equal']} of {options.kills} equal")
                for fault in rows[-1]["faults"]:  # type: ignore[attr-defined]
                    console.print(f"  {fault}", markup=False)
    table = Table(title="Killed at random moments, started again")
    for title in ("stage", "seconds alone", "kills", "hit at work", "files compared", "equal"):
        table.add_column(title, justify="right" if title != "stage" else "left")
    for row in rows:
        table.add_row(
            str(row["stage"]), f"{row['seconds']:.1f}",
            *(str(row[key]) for key in ("kills", "killed", "files", "equal")),
        )  # fmt: skip
    console.print(table)
    return int(any(row["equal"] != row["kills"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
