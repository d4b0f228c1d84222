"""How busy a collection keeps a server: 1,000 prompts x 4 answers + 4,000 ratings against one that
answers in 50 ms.

    python benchmarks/feedback.py [--prompts 1000] [--concurrency 8 16 32]

The ideal is every place busy all the time: calls x 50 ms / concurrency. The server is a process of
its own on the same machine, so its work is part of the time; so are the client's start and every
line of the journal. What of the loss is ours is told by two loops without anything of ours, just
after the answers and as many: the ``openai`` client alone, and raw connections over which
ready-made bytes are sent and the reply's length is read, nothing else.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from zephyr_utils.feedback import Endpoint, collect_answers, rate_answers
from zephyr_utils.feedback.collect import ANSWERING
from zephyr_utils.files import write_json
from zephyr_utils.machine import environment_stamp, peak_memory_mb

RESULT = Path(__file__).parent / "results" / "feedback.json"
SECONDS_PER_REPLY = 0.05
MODELS = ("model-a", "model-b", "model-c", "model-d")
ANSWER = "The capital of France is Paris, which lies on the Seine. " * 8
RATINGS = "\n\n".join(
    f"Answer {n}\nRating: {n}\nRationale: It does a part of what was asked." for n in range(1, 5)
)


async def serve() -> None:
    """Answer every request after 50 ms; prints the port. As little code as HTTP needs: it is not
    what is measured.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next(
                    int(line[15:]) for line in lines if line.startswith(b"content-length:")
                )
                body = await reader.readexactly(length)
                due = time.monotonic() + SECONDS_PER_REPLY
                first = json.loads(body)["messages"][0]
                text = ANSWER if first["role"] == "user" else RATINGS
                message = {"role": "assistant", "content": text}
                reply = {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "m",
                    "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                    "usage": {
                        "prompt_tokens": length // 4,
                        "completion_tokens": len(text) // 4,
                        "total_tokens": 0,
                    },
                }
                data = json.dumps(reply).encode()
                await asyncio.sleep(due - time.monotonic())
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                    b"%d\r\n\r\n" % len(data)
                )
                writer.write(data)
                await writer.drain()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


async def raw_loop(port: int, question: str, calls: int, concurrency: int) -> None:
    """As many requests by the least code that can make them."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": question}]}).encode()
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

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def client_loop(endpoint: Endpoint, question: str, calls: int, concurrency: int) -> None:
    """As many calls of the ``openai`` client, called as we call it: no journal, no counts, no
    retries.
    """
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": question}],
        **ANSWERING.arguments(),
    }
    numbers = iter(range(calls))

    async def work() -> None:
        for _ in numbers:
            await client.post("/chat/completions", body=body, cast_to=object)

    async with endpoint.client(timeout=60) as client:
        await asyncio.gather(*(work() for _ in range(concurrency)))


def measure(prompts: int, concurrency: int) -> dict:
    """Both stages beside the ideal, then the two loops, with as many calls as the answers take."""
    command = [sys.executable, __file__, "--serve"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        try:
            assert server.stdout is not None  # it is a pipe
            port = int(server.stdout.readline())
            endpoint = Endpoint(f"http://127.0.0.1:{port}/v1")
            shared: dict[str, Any] = {
                "endpoint": endpoint,
                "journal": Path(folder) / "j.jsonl",
                "concurrency": concurrency,
            }
            texts = [
                f"Question {n}: what is the capital of France, and where does it lie?"
                for n in range(prompts)
            ]
            calls = len(MODELS) * prompts
            timed = partial(_timed, calls=calls, concurrency=concurrency)
            answers, answering = timed(lambda: collect_answers(texts, MODELS, **shared))
            rated, rating = timed(lambda: rate_answers(answers, "judge", critiques=False, **shared))
            _, client = timed(
                lambda: asyncio.run(client_loop(endpoint, texts[0], calls, concurrency))
            )
            _, raw = timed(lambda: asyncio.run(raw_loop(port, texts[0], calls, concurrency)))
            again, resumed = timed(lambda: collect_answers(texts, MODELS, **shared))
            for got in (answers, rated, again):
                assert got.calls.planned == calls and not (
                    got.calls.failed or got.unreadable or got.left_out
                )
            assert again.calls.made == 0
            seconds, cpu_seconds = (
                answering[key] + rating[key] for key in ("seconds", "cpu_seconds")
            )
            both = _row(2 * calls, seconds, cpu_seconds, concurrency)
            return {
                "stages": {"answers": answering, "ratings": rating, "both": both},
                "loops": {"openai client alone": client, "raw connections": raw},
                "resumed_without_a_call_seconds": resumed["seconds"],
            }
        finally:
            server.terminate()


def _timed(work: Callable[[], Any], calls: int, concurrency: int) -> tuple[Any, dict]:
    started, used = time.perf_counter(), time.process_time()
    got = work()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - used
    return got, _row(calls, seconds, cpu_seconds, concurrency)


def _row(calls: int, seconds: float, cpu_seconds: float, concurrency: int) -> dict:
    ideal = calls * SECONDS_PER_REPLY / concurrency
    return {
        "calls": calls,
        "seconds": round(seconds, 2),
        "ideal_seconds": ideal,
        "share_of_ideal": round(ideal / seconds, 4),
        "cpu_seconds": round(cpu_seconds, 2),
        "cpu_ms_per_call": round(1000 * cpu_seconds / calls, 2),
    }


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
        run = measure(arguments.prompts, concurrency)
        runs.append({"concurrency": concurrency, **run})
        for name, row in {**run["stages"], **run["loops"]}.items():
            print(
                f"{name:<19} {row['calls']:>6,} calls, {concurrency:>2} at once: "
                f"{row['seconds']:>6.2f} s, "
                f"ideal {row['ideal_seconds']:.2f} s: {row['share_of_ideal']:.1%}; "
                f"{row['cpu_ms_per_call']} ms of CPU per call"
            )
        print(
            f"the answers again, from the journal: {run['resumed_without_a_call_seconds']:.2f} s",
            flush=True,
        )
    result = {
        "prompts": arguments.prompts,
        "seconds_per_reply": SECONDS_PER_REPLY,
        "runs": runs,
        "load_average": os.getloadavg()[0],  # of the whole machine: what else ran on it
        "peak_memory_mb": peak_memory_mb(),
        "environment": environment_stamp(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
