"""AI feedback from real models over HTTP, and what a small judge is worth.

    zephyr fetch smollm2-instruct                          # prints DIR
    python benchmarks/verifiable.py DIR --arms greedy hot  # the exam, answered; keeps the answers
    python benchmarks/smol_feedback.py --start DIR --dsft DIR --ddpo DIR --exam-answers FILE FILE

``transformers serve`` serves four answerers (the start, dSFT and dDPO at temperature 0.7, the start
again at 1.5) and a judge, the start at temperature 0. They answer prompts of UltraFeedback from
``$ZEPHYR_REAL_DATA``, the judge rates the answers, the ratings become pairs, and the pairs are
audited. Then the judge compares answers to the exam, which a program has checked, in both orders.

The judge is asked twice: with its own chat template, and with one that shows it a worked example
first and begins its reply. ``transformers serve`` takes a temperature from a request, but samples
only if the model's ``generation_config.json`` says so; hence each served model is a folder of links
with a file of its own. Replies are kept in a journal, so the same command goes on after a kill.
Results: ``benchmarks/results/smol_feedback.json``.
"""

import argparse
import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from smol_judge import (
    PATIENT,
    TEMPLATE,
    UNDER_WAY,
    as_in_the_example,
    judge_worth,
    share,
)

from zephyr_utils.data.records import save_records
from zephyr_utils.data.types import Feedback
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import (
    Collected,
    Endpoint,
    Sampling,
    collect_answers,
    load_prompts,
    rate_answers,
)
from zephyr_utils.files import plain_value, read_json, write_json
from zephyr_utils.machine import environment_stamp
from zephyr_utils.pipeline.artefacts import runs_folder
from zephyr_utils.preferences import audit, binarize, mean_rating

RESULTS = Path(__file__).resolve().parent / "results" / "smol_feedback.json"
REAL_DATA = Path(os.environ.get("ZEPHYR_REAL_DATA", "../shared/data"))
ULTRAFEEDBACK = "ultrafeedback_binarized_sample/train_clean.shared.jsonl"
FEWEST_CHARACTERS = 30  # shorter prompts are greetings and fragments
ANSWERERS = {"start": 0.7, "dsft": 0.7, "ddpo": 0.7, "hot": 1.5}  # temperatures
SERVED = ANSWERERS | {"judge": 0.0}
JUDGES = {"plain": "start", "judge": "judge"}  # the served model; a request says temperature 0
SECONDS_TO_START, SECONDS_TO_STOP = 300, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("start", "dsft", "ddpo"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="a model's directory")
    parser.add_argument("--exam-answers", type=Path, nargs=2, required=True, metavar="FILE")
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--plain-prompts", type=int, default=10, help="for the judge as it is")
    parser.add_argument("--questions", type=int, default=5, help="of each category of the exam")
    parser.add_argument("--answer-tokens", type=int, default=120)
    parser.add_argument("--reply-tokens", type=int, default=110)
    parser.add_argument("--work", type=Path, default=runs_folder() / "benchmarks" / "feedback")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped, too
    arguments.work.mkdir(parents=True, exist_ok=True)
    sources = dict.fromkeys(SERVED, arguments.start)
    sources |= {"dsft": arguments.dsft, "ddpo": arguments.ddpo}
    served = {name: served_folder(name, sources[name], arguments.work) for name in SERVED}
    result: dict[str, Any] = {
        "environment": environment_stamp(),
        "load_of_the_machine": os.getloadavg()[0],
        "model": "SmolLM2-135M-Instruct",
        "temperatures": SERVED,
        "fewest_characters": FEWEST_CHARACTERS,
        "limits": {"answer": arguments.answer_tokens, "ratings": arguments.reply_tokens},
    }
    with server(arguments.work) as url:
        exam, journal = tuple(arguments.exam_answers), arguments.work / "journal.jsonl"
        result |= feedback_of(url, served, arguments)
        result["worth"] = judge_worth(url, served["judge"], exam, arguments.questions, journal)
    write_json(arguments.output, plain_value(result))
    print(f"wrote {arguments.output}")


def served_folder(name: str, source: Path, work: Path) -> Path:
    """A folder that the server loads: links to the model's files, and how it samples.

    Raises:
        HandbookError: there is no model in ``source``.
    """
    if not (source / "config.json").is_file():
        raise HandbookError(
            "there is no model",
            where=str(source),
            remedy="`zephyr fetch smollm2-instruct` brings the start, benchmarks/smol.py trains "
            "the others",
        )
    folder = work / "served" / name
    folder.mkdir(parents=True, exist_ok=True)
    written = {"generation_config.json"} | ({"chat_template.jinja"} if name == "judge" else set())
    for file in source.iterdir():
        if file.is_file() and file.name not in written:
            (folder / file.name).unlink(missing_ok=True)
            (folder / file.name).symlink_to(file.resolve())
    sampling: dict[str, Any] = {"do_sample": False}
    if SERVED[name]:
        sampling = {"do_sample": True, "temperature": SERVED[name], "top_k": 0, "top_p": 1.0}
    settings = source / "generation_config.json"
    write_json(
        folder / settings.name, (read_json(settings) if settings.exists() else {}) | sampling
    )
    if name == "judge":
        (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder.resolve()


@contextlib.contextmanager
def server(work: Path) -> Iterator[str]:
    """``transformers serve`` on a port of this machine; its address. It is stopped at the end,
    whatever happens.

    Raises:
        HandbookError: it lacks a package, or does not start.
    """
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise HandbookError(
            f"`transformers serve` needs {' and '.join(missing)}",
            where="environment",
            remedy="pip install 'transformers[serving]'",
        )
    port, log = port_of(work), work / "server.log"
    command = [str(Path(sys.executable).with_name("transformers")), "serve"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    command += ["--dtype", "bfloat16", "--model-timeout", "-1"]  # models stay in memory
    command += ["--continuous-batching", "--cb-block-size", "32", "--cb-num-blocks", "256"]
    command += ["--cb-max-batch-tokens", "256"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        wait_for(port, process, log)
        print(f"transformers serve answers on port {port}", flush=True)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:  # it waits for the generation that is under way
            process.kill()
            process.wait()


def port_of(work: Path) -> int:
    """A free port; the same at every start, since the journal knows a call by its address.

    Raises:
        HandbookError: the port of an earlier start is in use.
    """
    remembered = work / "port.json"
    earlier = read_json(remembered)["port"] if remembered.exists() else 0
    with socket.socket() as free:
        if os.name != "nt":  # on Windows it would share a port that somebody listens on
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind(("127.0.0.1", earlier))
        except OSError as error:
            raise HandbookError(
                f"port {earlier}, under which the journal knows the server, is in use",
                where=str(remembered),
                remedy="end what uses it; or delete this file, and every call is made again",
            ) from error
        port = free.getsockname()[1]
    write_json(remembered, {"port": port})
    return port


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers.

    Raises:
        HandbookError: it ended, or did not answer in five minutes.
    """
    for _ in range(SECONDS_TO_START):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        if process.poll() is not None:
            break
        time.sleep(1)
    raise HandbookError("the server does not answer", where=str(log), remedy="read its log")


def chosen_prompts(path: Path, count: int) -> list[str]:
    """The shortest different prompts of at least 30 characters."""
    prompts = {row["prompt"] for row in load_prompts(path).records}
    long_enough = [prompt for prompt in prompts if len(prompt) >= FEWEST_CHARACTERS]
    return sorted(long_enough, key=lambda prompt: (len(prompt), prompt))[:count]


def answered(
    prompts: Sequence[str], tokens: int, url: str, served: dict[str, Path], journal: Path
) -> tuple[list[Feedback], list[Collected[Feedback]]]:
    """Each prompt put to each model, model after model: the server batches calls of one model.

    Returns:
        Records with the answers of all, in the order of the prompts; and the counts by model.
    """
    each = [
        collect_answers(
            prompts,
            {label: str(served[label])},
            endpoint=Endpoint(url),
            sampling=Sampling(temperature=None, max_tokens=tokens, seed=0),
            journal=journal,
            concurrency=UNDER_WAY,
            retry_policy=PATIENT,
        )
        for label in ANSWERERS
    ]
    records: dict[str, Feedback] = {}
    for row in (row for one in each for row in one.records):
        record = records.setdefault(row["instruction"], {**row, "models": [], "completions": []})
        record["models"] += row["models"]
        record["completions"] += row["completions"]
    return [records[prompt] for prompt in prompts if prompt in records], each


def rated(
    records: Sequence[Feedback], judge: Path, tokens: int, url: str, journal: Path
) -> Collected[Feedback]:
    """The answers with the judge's ratings in four aspects, greedily decoded."""
    return rate_answers(
        records,
        str(judge),
        endpoint=Endpoint(url),
        sampling=Sampling(temperature=0.0, max_tokens=tokens),
        journal=journal,
        concurrency=UNDER_WAY,
        retry_policy=PATIENT,
        critiques=False,
    )


def feedback_of(url: str, served: dict[str, Path], arguments: argparse.Namespace) -> dict[str, Any]:
    """Prompts, four answers each, ratings by both judges, pairs and their audit."""
    work, journal = arguments.work, arguments.work / "journal.jsonl"
    prompts = chosen_prompts(REAL_DATA / ULTRAFEEDBACK, arguments.prompts)
    answers, counts = answered(prompts, arguments.answer_tokens, url, served, journal)
    for one in counts:
        print(one.report(), flush=True)
    judged = {}
    for judge, model in JUDGES.items():
        few = answers[: arguments.plain_prompts] if judge == "plain" else answers
        judged[judge] = rated(few, served[model], arguments.reply_tokens, url, journal)
        print(f"{judge}: {judged[judge].report()}", flush=True)
    records = judged["judge"].records
    save_records(records, work / "feedback.jsonl")
    made = binarize(records)
    audited = audit(made.pairs, feedback=records)
    print(f"{made.report()}\n{audited}", flush=True)
    return {
        "answers": {
            "asked": len(prompts) * len(ANSWERERS),
            "collected": sum(len(row["completions"]) for row in answers),
            "cut_off": sum(one.calls.cut_off for one in counts),
            "longest_prompt": max(map(len, prompts)),
        },
        "judges": {name: readability(found) for name, found in judged.items()},
        "as_in_the_example": as_in_the_example(journal, served["judge"]),
        "mean_rating": {label: mean_of(records, label) for label in ANSWERERS},
        "pairs": {
            "made": len(made.pairs),
            "rows": made.n_rows,
            "set_aside": made.reasons(),
            "audit": audited.rows(),
        },
        "shown": {"record": records[0], "pairs": made.pairs[:2]},
    }


def readability(found: Collected[Feedback]) -> dict[str, Any]:
    """How many of a judge's replies keep the form, and two that do not."""
    readable = found.n_replies - len(found.unreadable)
    return {
        "readable": share(readable, found.n_replies),
        "reasons": Counter(reply.reason for reply in found.unreadable),
        "examples": [reply.text for reply in found.unreadable[:2]],
    }


def mean_of(records: Sequence[Feedback], label: str) -> dict[str, Any]:
    """Mean of an answerer's mean ratings, over its rated answers."""
    scores = [
        score
        for row in records
        for completion in row["completions"]
        if completion["model"] == label and (score := mean_rating(completion)) is not None
    ]
    return {"answers": len(scores), "mean": float(np.mean(scores)) if scores else None}


if __name__ == "__main__":
    main()
