"""How busy a collection keeps a server: 1,000 prompts x 4 answers + 4,000 ratings against one that answers in 50 ms.

    python benchmarks/feedback.py [--prompts 1000] [--concurrency 8 16 32]

The ideal is every place busy all the time: calls x 50 ms / concurrency. The server is a process of its own on the same
machine, so its work is part of the time; so are the client's start and every line of the journal. What the machine
itself takes is measured beside it, in the same run: a bare loop over raw connections that sends ready-made bytes and
reads the reply's length, nothing else.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from zephyr_utils.feedback import Endpoint, collect_answers, rate_answers
from zephyr_utils.feedback_prompts import CRITIC
from zephyr_utils.machine import environment_stamp, peak_memory_mb
from zephyr_utils.workflow import write_json

RESULT = Path(__file__).parent / "results" / "feedback.json"
SECONDS_A_REPLY = 0.05
MODELS = ("model-a", "model-b", "model-c", "model-d")
ANSWER = "The capital of France is Paris, which lies on the Seine. " * 8
RATINGS = "\n\n".join(
    f"Answer {n}\nRating: {n}\nRationale: It does a part of what was asked." for n in range(1, 5)
)


async def serve() -> None:
    """Answer every request after 50 ms; prints the port. As little code as HTTP needs: it is not what is measured."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
                body = await reader.readexactly(length)
                due = time.monotonic() + SECONDS_A_REPLY
                system = json.loads(body)["messages"][0]
                text = ANSWER if system["role"] == "user" else RATINGS
                text = "Fair.\nOverall grade: 6" if system["content"] == CRITIC else text
                choice = {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
                reply = {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "m",
                    "choices": [choice],
                }
                reply["usage"] = {
                    "prompt_tokens": length // 4,
                    "completion_tokens": len(text) // 4,
                    "total_tokens": 0,
                }
                data = json.dumps(reply).encode()
                await asyncio.sleep(due - time.monotonic())
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                    % len(data)
                )
                writer.write(data)
                await writer.drain()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def bare_loop(port: int, calls: int, concurrency: int) -> float:
    """Seconds for as many requests by the least code that can make them."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    numbers = iter(range(calls))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in numbers:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.rpartition(b"content-length: ")[2]))
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    return time.perf_counter() - started


def measure(prompts: int, concurrency: int) -> dict:
    """Seconds of both stages beside the ideal."""
    command = [sys.executable, __file__, "--serve"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        try:
            port = int(server.stdout.readline())
            endpoint = Endpoint(f"http://127.0.0.1:{port}/v1")
            shared = {"endpoint": endpoint, "journal": Path(folder) / "j.jsonl", "concurrency": concurrency}
            texts = [
                f"Question {n}: what is the capital of France, and where does it lie?" for n in range(prompts)
            ]
            stages = {}
            answers = timed(stages, "answers", lambda: collect_answers(texts, MODELS, **shared), concurrency)
            timed(
                stages,
                "ratings",
                lambda: rate_answers(answers, "judge", critiques=False, **shared),
                concurrency,
            )
            calls, seconds = (sum(stage[key] for stage in stages.values()) for key in ("calls", "seconds"))
            ideal = calls * SECONDS_A_REPLY / concurrency
            stages["both"] = {
                "calls": calls, "seconds": round(seconds, 2), "ideal_seconds": ideal, "share_of_ideal": round(ideal / seconds, 4),
            }  # fmt: skip
            bare_calls = 2 * prompts
            bare = asyncio.run(bare_loop(port, bare_calls, concurrency))
            bare_share = round(bare_calls * SECONDS_A_REPLY / concurrency / bare, 4)
            resumed = {}
            again = timed(resumed, "again", lambda: collect_answers(texts, MODELS, **shared), concurrency)
            assert again.calls.made == 0
            return {
                "stages": stages,
                "bare_loop_share_of_ideal": bare_share,
                "resumed_without_a_call_seconds": resumed["again"]["seconds"],
            }
        finally:
            server.terminate()


def timed(stages: dict, name: str, work, concurrency: int):
    started = time.perf_counter()
    got = work()
    seconds = time.perf_counter() - started
    assert not got.calls.failed and not got.unreadable and not got.left_out, got.report()
    calls = got.calls.planned
    ideal = calls * SECONDS_A_REPLY / concurrency
    stages[name] = {
        "calls": calls, "seconds": round(seconds, 2), "ideal_seconds": ideal, "share_of_ideal": round(ideal / seconds, 4),
    }  # fmt: skip
    return got


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return
    runs = []
    for concurrency in arguments.concurrency:
        used = _cpu()
        run = measure(arguments.prompts, concurrency)
        calls = run["stages"]["both"]["calls"]
        runs.append(
            {
                "concurrency": concurrency,
                **run,
                "client_cpu_ms_a_call": round(1000 * (_cpu() - used) / calls, 2),
            }
        )
        for name, stage in run["stages"].items():
            print(
                f"{name:<8} {stage['calls']:>6,} calls, {concurrency:>2} at once: {stage['seconds']:>6.2f} s, "
                f"ideal {stage['ideal_seconds']:.2f} s: {stage['share_of_ideal']:.1%}"
            )
        print(
            f"         a bare loop just after: {run['bare_loop_share_of_ideal']:.1%}; the answers again, from the "
            f"journal: {run['resumed_without_a_call_seconds']:.2f} s",
            flush=True,
        )
    result = {
        "prompts": arguments.prompts,
        "seconds_a_reply": SECONDS_A_REPLY,
        "runs": runs,
        "load_average": os.getloadavg()[0],  # of the whole machine: what else ran on it
        "peak_memory_mb": peak_memory_mb(),
        "environment": environment_stamp(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
