"""Calls over the OpenAI-compatible protocol: many at a time, tried again where that can help, each
paid for once.

The protocol is spoken by OpenAI, by most other providers, and by vLLM, Ollama, llama.cpp and
``transformers serve``.
"""

import hashlib
import ipaddress
import json
import os
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.cost import Prices, Usage, cost_of

OPENAI = "https://api.openai.com/v1"
Messages = tuple[tuple[str, str], ...]  # (role, content), in turn


@dataclass(frozen=True)
class Endpoint:
    """Where calls go, and the *name* of the environment variable that holds the key. The key itself
    is kept nowhere.

    Attributes:
        base_url: such as ``http://127.0.0.1:8000/v1``; "" is ``$OPENAI_BASE_URL``, else OpenAI's
            own.
        api_key_env: the environment variable; a server on this machine needs none.
    """

    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"

    @property
    def url(self) -> str:
        """The address in use."""
        return (self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI).rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        host = urllib.parse.urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def key(self) -> str:
        """The key, from the environment.

        Raises:
            HandbookError: it is not set and the server is not on this machine.
        """
        key = os.environ.get(self.api_key_env, "").strip()
        if not key and not self.is_local:
            raise HandbookError(
                f"the key of {self.url} is not set",
                where="endpoint",
                remedy=f"put it into the environment variable {self.api_key_env}, or give the "
                f"--base-url of a local server",
            )
        return key or "none-needed"

    def client(self, timeout: float):
        """An ``openai.AsyncOpenAI`` that tries nothing again by itself: the retries here are
        counted.
        """
        import openai  # here, so that reading and estimating need no client

        # A proxy that the environment names for the world outside is no way to this machine.
        local: dict[str, Any] = (
            {"http_client": openai.DefaultAsyncHttpxClient(trust_env=False)}
            if self.is_local
            else {}
        )
        return openai.AsyncOpenAI(
            base_url=self.url, api_key=self.key(), max_retries=0, timeout=timeout, **local
        )


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn; ``seed`` and ``top_p`` are only sent if given, as not every server
    takes them.
    """

    temperature: float = 0.7
    max_tokens: int = 512
    top_p: float | None = None
    seed: int | None = None

    def arguments(self) -> dict[str, Any]:
        """What is sent."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Call:
    """One call: all that determines its reply.

    Attributes:
        purpose: what it is for, in the journal and the reports; it is no part of the key.
        model: the model's name at the endpoint.
        url: the endpoint's address: the same name elsewhere may be another model.
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
        retries: further tries after 429, 5xx, time-outs and lost connections.
        first_wait, longest_wait: seconds before the first retry, doubled each time up to the
            longest. A longer wait that the server asks for (``Retry-After``) is kept.
        give_up_after: calls that fail for good in a row, none succeeding, before the run stops.
    """

    timeout: float = 120.0
    retries: int = 6
    first_wait: float = 0.5
    longest_wait: float = 60.0
    give_up_after: int = 20


@dataclass
class CallReport:
    """The books of a run: ``planned == from_journal + made + sum(failed) + not_made``.

    Attributes:
        planned: different calls asked for; ``repeated`` counts those asked for again within the
            run, which share a reply.
        from_journal: found in the journal, paid for by an earlier run.
        made: made now, with a reply.
        failed: given up, by the last reason. They are not in the journal, so the next run makes
            them.
        not_made: left when the run stopped early.
        retries: further tries, by the reason for each. After a time-out or a cut connection the
            server may have answered all the same; the call is sent under the same Idempotency-Key.
        made_again: calls that were under way when an earlier run was killed, or of which that run
            got no word. They were sent again, so they may be paid for twice, unless the server
            honours Idempotency-Key. What runs that did not come to their end made again since the
            last one that did is counted in.
        usage, usage_before: tokens by model of calls made now, and of those from the journal.
        half_written, unreadable_lines: what was wrong with the journal when it was opened.
        cut_off: replies that stopped at ``max_tokens``.
        seconds: how long the calls took.
    """

    planned: int = 0
    repeated: int = 0
    from_journal: int = 0
    made: int = 0
    failed: Counter = field(default_factory=Counter)
    not_made: int = 0
    retries: Counter = field(default_factory=Counter)
    made_again: int = 0
    usage: dict[str, Usage] = field(default_factory=dict)
    usage_before: dict[str, Usage] = field(default_factory=dict)
    half_written: int = 0
    unreadable_lines: int = 0
    cut_off: int = 0
    seconds: float = 0.0

    def add(self, other: "CallReport") -> None:
        """Take the books of a later round in."""
        sums = (
            "planned",
            "repeated",
            "from_journal",
            "made",
            "not_made",
            "made_again",
            "cut_off",
            "seconds",
        )
        for name in sums:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.half_written = max(self.half_written, other.half_written)
        self.unreadable_lines = max(self.unreadable_lines, other.unreadable_lines)
        self.failed += other.failed
        self.retries += other.retries
        for mine, others in ((self.usage, other.usage), (self.usage_before, other.usage_before)):
            for model, usage in others.items():
                mine[model] = mine.get(model, Usage()) + usage

    def __str__(self) -> str:
        return self.text()

    def text(self, prices: Prices | None = None) -> str:
        """The books in words, with what this run and earlier ones cost where the prices are given."""
        failed = sum(self.failed.values())
        lines = [
            f"{self.planned:,} calls = {self.from_journal:,} from the journal + {self.made:,} made"
            f" + {failed:,} failed + {self.not_made:,} not made"
        ]
        if self.made and self.seconds > 0:
            lines[0] += f"; {self.seconds:,.1f} s, {self.made / self.seconds:,.1f} calls/s"
        lines += [f"  {n:,} failed: {reason}" for reason, n in self.failed.most_common()]
        lines += [f"  {n:,} tries repeated: {reason}" for reason, n in self.retries.most_common()]
        if self.made_again:
            lines.append(
                f"  {self.made_again:,} calls were under way when an earlier run was cut off, and "
                f"were made again: "
                "they may be paid for twice, unless the server honours Idempotency-Key"
            )
        if self.repeated:
            lines.append(f"  {self.repeated:,} calls were asked for twice and share a reply")
        if self.cut_off:
            lines.append(f"  {self.cut_off:,} replies were cut off at max_tokens")
        if self.half_written:
            lines.append(
                "  1 half-written line at the journal's end was cut off; its call was made again"
            )
        if self.unreadable_lines:
            lines.append(
                f"  {self.unreadable_lines:,} lines of the journal are no replies (left as they "
                f"are)"
            )
        for when, usages in (("now", self.usage), ("before, from the journal", self.usage_before)):
            for model, usage in usages.items():
                cost = f", {cost_of(model, usage, prices)}" if prices else ""
                lines.append(f"  {model}, {when}: {usage}{cost}")
        return "\n".join(lines)
