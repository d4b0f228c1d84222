"""One call over the OpenAI-compatible protocol: what is sent, how it is sampled, how long to wait.

The protocol is spoken by OpenAI, by most other providers, and by vLLM, Ollama, llama.cpp and
``transformers serve``.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from zephyr_utils.errors import HandbookError

Messages = tuple[tuple[str, str], ...]  # (role, content), in turn


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn. What is None is not sent: the server decides.

    Attributes:
        temperature: some reasoning models take none but their own.
        max_tokens: the longest reply, thoughts included where the server counts them.
        top_p, seed: not every server takes them.

    Raises:
        HandbookError: a value that no server takes.
    """

    temperature: float | None = 0.7
    max_tokens: int | None = 512
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        temperature, max_tokens, top_p = self.temperature, self.max_tokens, self.top_p
        if temperature is not None and not (math.isfinite(temperature) and temperature >= 0):
            raise _not_sampling("temperature", temperature, "0 or more, or none to leave it out")
        if max_tokens is not None and max_tokens < 1:
            raise _not_sampling("max_tokens", max_tokens, "1 or more, or none to leave it out")
        if top_p is not None and not 0 < top_p <= 1:
            raise _not_sampling("top_p", top_p, "more than 0 and at most 1")

    def arguments(self) -> dict[str, Any]:
        """What is sent."""
        return {name: value for name, value in vars(self).items() if value is not None}


def _not_sampling(name: str, value: float, allowed: str) -> HandbookError:
    return HandbookError(f"{name} is {value}", where="sampling", remedy=f"give {allowed}")


@dataclass(frozen=True)
class Call:
    """One call: all that determines its reply.

    Attributes:
        purpose: what it is for, in the journal and the reports; it is not part of the key.
        model: the model's name at the endpoint.
        url: the endpoint's address (`Endpoint.url`): the same name elsewhere may be another model.
    """

    purpose: str
    model: str
    messages: Messages
    sampling: Sampling
    url: str

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that is sent and where to."""
        sent = [self.url, self.model, self.messages, self.sampling.arguments()]
        return hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for a server, and how often to try again.

    Attributes:
        timeout: seconds until a call is given up as hanging.
        retries: further tries after 429, 5xx, time-outs and lost connections. After a reply with
            status 200 that cannot be used, which may be paid for, two at most.
        first_wait, longest_wait: the wait before a retry is random, up to ``first_wait`` seconds
            doubled with each try, never above ``longest_wait``. A longer wait that the server asks
            for (``Retry-After``) is kept, up to ten minutes; beyond that the run stops.
        give_up_after: calls in a row without an answer before the run stops.
    """

    timeout: float = 120.0
    retries: int = 6
    first_wait: float = 0.5
    longest_wait: float = 60.0
    give_up_after: int = 20
