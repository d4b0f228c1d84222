"""The miniature's models and its teacher behind the OpenAI-compatible protocol, on this machine
alone.

    python -m zephyr_utils.miniature.serve --port 8901

Everything here is a **rule-based stand-in**, and its names say so: four answering models of graded
skill, a teacher that answers and writes a user's next message, and judges. With them every call of
`zephyr_utils.feedback` can be made for real, over HTTP, without an account. Trained models are
served by ``transformers serve``, vLLM or Ollama instead.

The judges know the truth of the miniature world and differ in what they add to it:

* ``stand-in-teacher``: chance, as in the miniature's feedback records;
* ``stand-in-exact``: nothing;
* ``stand-in-place``: a point more for the answer shown first, a point less for the one shown last;
* ``stand-in-length``: up to a point and a half for being longer than the other answers, or off for
  being shorter.

The same request always gets the same reply.
"""

import argparse
import contextlib
import hashlib
import json
import random
import re
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.feedback.prompts import ASKER, CRITIC, judge_role
from zephyr_utils.miniature.data import (
    ASPECT_NOISE,
    MODELS,
    RATING_NOISE,
    aspect_values,
)
from zephyr_utils.miniature.data import TEACHER as TEACHER_HABITS
from zephyr_utils.miniature.question import Truth
from zephyr_utils.miniature.teacher import grade_turn
from zephyr_utils.miniature.world import draw_question, understand

TEACHER = "stand-in-teacher"
JUDGES = (TEACHER, "stand-in-exact", "stand-in-place", "stand-in-length")
PLACE_BONUS = 1.0  # the first place gets it, the last loses it, those between in proportion
# points for twice the others' median length, and the most either way
LENGTH_BONUS, LENGTH_LIMIT = 1.5, 1.5
FIRST_LINE = re.compile(r"--- [^\n]{1,80} \[(?P<mark>\w{1,80})\] ---\n")
UNKNOWN = "the rule-based stand-in knows the miniature world only; this is not one of its questions"


class _Refused(Exception):
    """What becomes an error reply."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def reply_to(model: str, messages: list[dict[str, str]], seed: int | None = None) -> str:
    """What a stand-in says; ``seed`` changes the draw of an answer, as a sampling seed does.

    Raises:
        _Refused: there is no such model, or the text is not of the miniature world.
    """
    if model not in (*MODELS, *JUDGES):
        raise _Refused(
            404, f"there is no model {model!r}; there are {', '.join((*MODELS, *JUDGES))}"
        )
    text = json.dumps([model, messages, seed])
    # Not hash(), which Python salts differently in each process.
    rng = random.Random(hashlib.sha256(text.encode()).digest())
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    blocks = _blocks(messages[-1]["content"])
    for aspect in ASPECTS:
        if system == judge_role(aspect) and blocks:
            return _ratings(model, aspect, blocks[0], blocks[1:], rng)
    if system == CRITIC and len(blocks) > 1:
        return _critique(model, blocks[0], blocks[1], rng)
    if system == ASKER and blocks:
        return _next_message(blocks[::2], rng)
    asked = [message["content"] for message in messages if message["role"] == "user"]
    truth = _truth(asked)
    return MODELS.get(model, TEACHER_HABITS).answer(truth, rng)


def _blocks(text: str) -> list[str]:
    """The texts between marked lines. All lines have the mark of the first, which no text has."""
    first = FIRST_LINE.match(text)
    if first is None:
        return []
    line = re.compile(rf"^--- [^\n]{{1,80}} \[{first['mark']}\] ---$", re.MULTILINE)
    parts = line.split(text)  # before, text, between, text, ...
    return [part[1:-1] for part in parts[1::2]]


def _truth(asked: list[str]) -> Truth:
    """The truth of the last turn: of a question's second turn, or else of a first one."""
    for turns in (asked[-2:], asked[-1:]):
        question = understand(turns) if turns else None
        if question is not None:
            return question.truths[len(turns) - 1]
    raise _Refused(400, UNKNOWN)


def _ratings(model: str, aspect: str, prompt: str, answers: list[str], rng: random.Random) -> str:
    parts = []
    for place, answer in enumerate(answers):
        grade = grade_turn([prompt], [answer], 1)
        if grade is None:
            raise _Refused(400, UNKNOWN)
        value = aspect_values(grade)[aspect] + _added(model, place, answers, rng)
        rating = min(max(round(value), 1), 5)
        parts.append(f"Answer {place + 1}\nRating: {rating}\nRationale: {grade.reason}")
    return "\n\n".join(parts)


def _added(model: str, place: int, answers: list[str], rng: random.Random) -> float:
    if model == TEACHER:
        return rng.gauss(0, ASPECT_NOISE)
    if model == "stand-in-place" and len(answers) > 1:
        return PLACE_BONUS * (1 - 2 * place / (len(answers) - 1))
    if model == "stand-in-length":
        usual = statistics.median(map(len, answers))
        return min(
            max(LENGTH_BONUS * (len(answers[place]) / usual - 1), -LENGTH_LIMIT), LENGTH_LIMIT
        )
    return 0.0


def _critique(model: str, prompt: str, answer: str, rng: random.Random) -> str:
    grade = grade_turn([prompt], [answer], 1)
    if grade is None:
        raise _Refused(400, UNKNOWN)
    noise = rng.gauss(0, RATING_NOISE) if model == TEACHER else 0.0
    return f"{grade.reason}\nOverall grade: {min(max(round(grade.score + noise), 1), 10)}"


def _next_message(asked: list[str], rng: random.Random) -> str:
    """The second turn of a question whose first turn was asked last, or else a new question."""
    if len(asked) > 1 and understand(asked[-2:]):
        return draw_question(rng).turns[0]
    question = understand(asked[-1:])
    if question is None:
        raise _Refused(400, UNKNOWN)
    return question.turns[1] if len(question.turns) > 1 else draw_question(rng).turns[0]


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path.rstrip("/") == "/v1/models":
            models = [
                {"id": name, "object": "model", "owned_by": "stand-in"}
                for name in (*MODELS, *JUDGES)
            ]
            self._send(200, {"object": "list", "data": models})
        else:
            self._send(404, _error(f"there is no {self.path} here"))

    def do_POST(self) -> None:
        time.sleep(self.server.delay)
        try:
            body = self._chat_request()
            text = reply_to(body["model"], body["messages"], body.get("seed"))
        except _Refused as refused:
            self._send(refused.status, _error(str(refused)))
            return
        prompt_tokens = sum(len(message["content"]) for message in body["messages"]) // 4
        # Four letters a token.
        tokens = {"prompt_tokens": prompt_tokens, "completion_tokens": -(-len(text) // 4)}
        message = {"role": "assistant", "content": text}
        self._send(
            200,
            {
                "id": "stand-in",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {**tokens, "total_tokens": sum(tokens.values())},
            },
        )

    def _chat_request(self) -> dict[str, Any]:
        """The body, checked.

        Raises:
            _Refused: it is not a chat request.
        """
        try:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(max(length, 0)))
        except (ValueError, RecursionError) as error:
            self.close_connection = True  # what is left of the body is not the next request
            raise _Refused(400, f"this is not a chat request: {type(error).__name__}") from None
        if self.path != "/v1/chat/completions":
            raise _Refused(404, f"there is no {self.path} here; ask /v1/chat/completions")
        messages = body.get("messages") if isinstance(body, dict) else None
        good = isinstance(messages, list) and all(
            isinstance(m, dict)
            and isinstance(m.get("role"), str)
            and isinstance(m.get("content"), str)
            for m in messages
        )
        if not good or not messages or not isinstance(body.get("model"), str):
            raise _Refused(400, "this is not a chat request: give a model, and messages as text")
        return body

    def _send(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass  # one line a request would drown the progress


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    delay: float = 0.0  # seconds before each reply
    # the library's five refuse a collector that opens many connections at once
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle, as a killed one does, is not news; anything else
        is.
        """
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _error(message: str) -> dict[str, Any]:
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    }


@contextlib.contextmanager
def served(port: int = 0, delay: float = 0.0) -> Iterator[str]:
    """Serve in a thread while the context lasts; yields the base URL.

    Args:
        port: 0 takes any that is free.
        delay: seconds before each reply, because rules answer faster than any model would.
    """
    server = _Server(("127.0.0.1", port), _Handler)
    server.delay = delay
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Serve the miniature's rule-based stand-ins on this machine."
    )
    parser.add_argument("--port", type=int, default=8901)
    with served(parser.parse_args().port) as url:
        print(
            f"Rule-based stand-ins at {url}: {', '.join((*MODELS, *JUDGES))}. Ctrl-C ends it.",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
