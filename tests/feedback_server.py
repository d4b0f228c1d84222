"""A chat server that misbehaves to order, on loopback, for the tests of the feedback collection."""

import asyncio
import contextlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from zephyr_utils.feedback import Endpoint, RetryPolicy, collect_answers

SHORT_WAITS = {"timeout": 5.0, "retries": 4, "first_wait": 0.01, "longest_wait": 0.05}
PROMPTS = [f"Question {n}?" for n in range(6)]


def collect(chat, prompts=PROMPTS, models=("m",), **options):
    """Answers of ``m`` to six questions, with short waits."""
    retry_policy = {"retry_policy": RetryPolicy(**SHORT_WAITS)}
    return collect_answers(prompts, models, endpoint=Endpoint(chat.url), **retry_policy | options)


def balance(report):
    """The counts must always add up."""
    assert (
        report.planned
        == report.from_journal + report.made + sum(report.failed.values()) + report.not_made
    )
    return report


def made_again(text):
    """Calls that a report says were under way when an earlier run was cut off."""
    return sum(
        int(number.replace(",", ""))
        for number in re.findall(r"([\d,]+) calls were under way when", text)
    )


def by_turns(*acts):
    """Does the acts in turn for each request, the last one ever after."""
    return lambda body, before: acts[min(before, len(acts) - 1)]


def completion(
    content: object, model: str = "m", finish_reason: str | None = "stop", **message: object
) -> dict:
    """A reply in the protocol's form.

    Args:
        content: a text, parts, or whatever a server may send in their place.
        message: further fields of the message, such as ``reasoning_content``.
    """
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    }


@dataclass
class Chat:
    """A running server.

    Attributes:
        url: its base URL.
        asked: requests, by a text that tells them apart; ``paid``: those worked on to a completion,
            whether or not anybody was there to take it.
        idempotency_keys: what was asked under each.
        keys: the authorization headers that came.
        most_at_once: requests under way at the same time, at most.
    """

    url: str = ""
    asked: Counter = field(default_factory=Counter)
    paid: Counter = field(default_factory=Counter)
    keys: Counter = field(default_factory=Counter)
    bodies: list = field(default_factory=list)
    idempotency_keys: dict[str, list[str]] = field(default_factory=dict)
    most_at_once: int = 0
    now: int = 0


def identity(body: dict) -> str:
    """What tells two requests apart."""
    return json.dumps([body["model"], body["messages"]])


@contextlib.contextmanager
def chat_server(
    behave: Callable[[dict, int], object] = lambda body, n: "Hello.",
    delay: float = 0.0,
    honours: bool = False,
) -> Iterator[Chat]:
    """Serve while the context lasts.

    Args:
        behave: (request, how often this very request came before) -> a text; a dict (a body sent
            with 200); (status, body) or (status, body, headers), the body as it is; "<hang>";
            "<cut>" (half a reply, then the end); "<drop>" (the connection is closed without a
            word); "<lost>" (it answers and charges "Hello.", and drops that).
        delay: seconds before every reply.
        honours: Idempotency-Key: what was answered under a key, be it a fault, is sent again and
            not charged; 409 while the first is at work.
    """
    chat = Chat()
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stored: dict[str, bytes | None] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await one(reader, writer):
                pass
        writer.close()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(
            line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
        )
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        name, key = identity(body), headers.get("idempotency-key", "")
        before, chat.asked[name] = chat.asked[name], chat.asked[name] + 1
        chat.keys[headers.get("authorization", "")] += 1
        chat.bodies.append(body)
        chat.idempotency_keys.setdefault(key, []).append(name)
        if honours and key in stored:
            writer.write(stored[key] or b"HTTP/1.1 409 X\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            return True
        stored[key] = None
        chat.now += 1
        chat.most_at_once = max(chat.most_at_once, chat.now)
        try:
            await asyncio.sleep(delay)
            does = behave(body, before)
            if does == "<hang>":
                await asyncio.sleep(60)
            if does == "<drop>":
                del stored[key]
                return False
            lost = does == "<lost>"
            status, value, *more = (
                does if isinstance(does, tuple) else (200, "Hello." if lost else does)
            )
            if isinstance(value, str) and not isinstance(does, tuple):
                value = completion(value, body["model"])
            data = value if isinstance(value, bytes) else None
            data = data or (value if isinstance(value, str) else json.dumps(value)).encode()
            sent = {"content-type": "application/json", "content-length": len(data)}
            sent |= more[0] if more else {}
            head = "".join(f"{name}: {text}\r\n" for name, text in sent.items())
            lines = f"HTTP/1.1 {status} X\r\n{head}\r\n"
            if does == "<cut>":
                del stored[key]
                writer.write(lines.encode() + data[: len(data) // 2])
                await writer.drain()
                return False
            if status == 200 and isinstance(value, dict) and value.get("choices"):
                chat.paid[name] += 1
            stored[key] = lines.encode() + data
            if lost:
                return False
            writer.write(stored[key])
            await writer.drain()
        finally:
            chat.now -= 1
        return True

    async def serve() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=256)
        chat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ready.set()
        async with server:
            await server.serve_forever()

    def in_thread() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for left in asyncio.all_tasks(loop):
            left.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    task = loop.create_task(serve())
    thread = threading.Thread(target=in_thread, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield chat
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
