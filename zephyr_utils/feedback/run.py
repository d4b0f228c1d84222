"""Many calls at once: a fixed number under way, faults told apart, every reply journalled the
moment it comes.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.calls import Call, CallReport, Endpoint, RetryPolicy
from zephyr_utils.feedback.cost import Usage
from zephyr_utils.feedback.faults import Fault, fault_of, redact_key
from zephyr_utils.feedback.interrupts import RunInterrupted, RunStopped, handle_signals, run_to_end
from zephyr_utils.feedback.journal import Journal, Reply
from zephyr_utils.feedback.progress import shown

RETRIES_BEFORE_ANY_REPLY = 2  # of a refused connection: a server that was never there will not come


def run_calls(
    calls: Iterable[Call],
    endpoint: Endpoint,
    journal: Journal,
    *,
    total: int,
    what: str,
    concurrency: int = 16,
    retry_policy: RetryPolicy | None = None,
) -> CallReport:
    """Make those of the calls that the journal does not have yet; their replies are in the journal
    afterwards.

    Args:
        calls: may be a generator: calls are taken from it only as they are begun.
        total: how many it holds, for the progress.
        what: the words before the progress bar.
        concurrency: calls under way at once.

    Returns:
        The books. A call that fails for good is counted there and raises nothing.

    Raises:
        RunStopped: a key is refused, a model unknown, the credit used up, nobody answers at the
            address, or ``retry_policy.give_up_after`` calls in a row failed. Calls under way are
            waited for first: they are paid.
        RunInterrupted: Ctrl-C or SIGTERM. Here too, unless a second one cuts them off.
        HandbookError: no key is set, the journal cannot be written.
    """
    if concurrency < 1:
        raise HandbookError(
            f"concurrency is {concurrency}", where="--concurrency", remedy="give 1 or more"
        )
    run = _Run(calls, endpoint, journal, total, what, concurrency, retry_policy or RetryPolicy())
    with handle_signals(run.heed):
        run_to_end(run.run())
    if run.fault is not None:
        fault, remedy = run.fault
        raise RunStopped(fault, where=endpoint.url, remedy=remedy, report=run.report)
    if run.signals:
        raise RunInterrupted(run.report, run.cut_off)
    return run.report


class _Run:
    def __init__(
        self,
        calls: Iterable[Call],
        endpoint: Endpoint,
        journal: Journal,
        total: int,
        what: str,
        concurrency: int,
        retry_policy: RetryPolicy,
    ) -> None:
        self.calls, self.endpoint, self.journal, self.retry_policy = (
            iter(calls),
            endpoint,
            journal,
            retry_policy,
        )
        self.concurrency, self.total, self.what = concurrency, total, what
        self.report = CallReport(
            half_written=journal.n_half_written,
            unreadable_lines=journal.n_unreadable,
            made_again=journal.n_made_again,
        )
        journal.n_made_again, journal.told = 0, False
        self.seen: set[str] = set()
        self.failed_in_a_row = 0
        self.hold_until = 0.0  # nobody sends before: a server that says 429 to one says it to all
        self.fault: tuple[str, str] | None = None  # one that every call would meet: what, remedy
        self.signals = 0  # Ctrl-C or SIGTERM, so often
        self.wake = asyncio.Event()  # no wait outlasts the run
        self.loop: asyncio.AbstractEventLoop | None = None
        self.workers: list[asyncio.Task] = []
        self.under_way = self.cut_off = 0
        self.renamed: set[str] = set()  # models that want max_completion_tokens
        self.rng = random.Random()
        self.key = ""

    @property
    def ending(self) -> bool:
        """Whether no further call is to be begun."""
        return self.fault is not None or self.signals > 0

    def heed(self) -> None:
        """A signal came. This runs between any two steps of the main thread, so it leaves the work
        to the loop.
        """
        self.signals += 1
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self.loop.call_soon_threadsafe(self._heeded)

    def _heeded(self) -> None:
        self.wake.set()
        if self.signals > 1:
            self.cut_off = self.cut_off or self.under_way
            for worker in self.workers:
                worker.cancel()
        elif self.under_way:
            said = f"Stopping: {self.under_way:,} calls are under way and waited for, since they are paid."
            print(said, "A second Ctrl-C cuts them off.", file=sys.stderr, flush=True)

    async def run(self) -> None:
        self.key = self.endpoint.key()
        self.loop = asyncio.get_running_loop()
        started = time.monotonic()
        async with self.endpoint.client(self.retry_policy.timeout) as client:
            self.client = client
            with shown(self, started) as watching:
                self.workers = [asyncio.create_task(self.work()) for _ in range(self.concurrency)]
                tasks = [asyncio.create_task(watching()), *self.workers]
                try:
                    await asyncio.gather(*self.workers)
                except asyncio.CancelledError:
                    if self.signals < 2:
                        raise
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
        self.report.seconds = time.monotonic() - started
        for call in self.calls:  # what was not begun, for the books
            self.report.not_made += self._is_new(call)
        self.journal.told = not self.ending

    def _is_new(self, call: Call) -> bool:
        """Whether the call has to be made; the books of the others are kept here."""
        if call.key in self.seen:
            self.report.repeated += 1
            return False
        self.seen.add(call.key)
        self.report.planned += 1
        reply = self.journal.get(call.key)
        if reply is None:
            return True
        self.report.from_journal += 1
        self.report.cut_off += reply.finish_reason == "length"
        _count(self.report.usage_before, reply)
        return False

    async def work(self) -> None:
        """One of the workers: they share the calls' iterator, so that each takes the next one left."""
        while not self.ending and (call := next(self.calls, None)) is not None:
            if self._is_new(call):
                try:
                    await self._make(call)
                except asyncio.CancelledError:
                    self.report.not_made += 1
                    raise

    async def _make(self, call: Call) -> None:
        for attempt in range(self.retry_policy.retries + 1):
            await self._held()
            if self.ending:
                self.report.not_made += 1
                return
            unsettled = call.key in self.journal.unsettled
            again = unsettled and attempt == 0
            self.report.made_again += again
            try:
                reply = await self._ask(call, self.journal.begin(call.key, again=again))
            except Fault as fault:
                if fault.outcome == "answered" or (
                    fault.outcome == "turned away" and not unsettled
                ):
                    self.journal.end(call.key)
                refused_at_first = fault.reason == "no_connection" and not self.report.made
                if refused_at_first and attempt >= RETRIES_BEFORE_ANY_REPLY:
                    fault.fatal = "start the server, or check --base-url"
                last = (
                    attempt == self.retry_policy.retries
                    or not fault.again
                    or fault.fatal
                    or self.ending
                )
                if last:
                    self._give_up(call, fault)
                    return
                self.report.retries[fault.reason] += 1
                await self._pause(attempt, fault)
            else:
                self.journal.write(reply)
                self.report.made += 1
                self.report.cut_off += reply.finish_reason == "length"
                _count(self.report.usage, reply)
                self.failed_in_a_row = 0
                return

    def _give_up(self, call: Call, fault: Fault) -> None:
        self.report.failed[fault.reason] += 1
        self.failed_in_a_row += 1
        if self.ending:
            return
        if fault.fatal:
            self.fault = (
                f"{fault} (model {call.model!r})",
                f"{fault.fatal}; the same command goes on from here",
            )
        elif self.failed_in_a_row >= self.retry_policy.give_up_after:
            self.fault = (
                f"{self.failed_in_a_row} calls in a row failed, the last with: {fault} (model "
                f"{call.model!r})",
                "look at the server and at the model's name, then start the same command again: it "
                "goes on from here",
            )
        if self.ending:
            self.wake.set()

    async def _held(self) -> None:
        while not self.ending and (left := self.hold_until - time.monotonic()) > 0:
            await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        """Wait, but no longer than the run lasts."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wake.wait(), seconds)

    async def _pause(self, attempt: int, fault: Fault) -> None:
        longest = min(self.retry_policy.first_wait * 2**attempt, self.retry_policy.longest_wait)
        # Half of it at random, or all would come back at once.
        wait = max(fault.wait, longest * self.rng.uniform(0.5, 1.0))
        if fault.reason == "rate_limited":
            self.hold_until = max(self.hold_until, time.monotonic() + wait)
        else:
            await self._wait(wait)

    async def _ask(self, call: Call, idempotency_key: str) -> Reply:
        """One try.

        Args:
            idempotency_key: the same key asks for the same answer, so that a server that honours it
                charges once.

        Raises:
            Fault: no reply came.
        """
        body = {
            "model": call.model,
            "messages": [{"role": role, "content": content} for role, content in call.messages],
            **call.sampling.arguments(),
        }
        renamed = call.model in self.renamed
        if renamed:
            body["max_completion_tokens"] = body.pop("max_tokens")
        self.under_way += 1
        try:
            # The client's own time-out starts anew with every byte; a server that drips must not
            # hold us for ever.
            async with asyncio.timeout(self.retry_policy.timeout):
                # Not `chat.completions.create`: its typed requests and replies take a third of the
                # client's time.
                came = await self.client.post(
                    "/chat/completions",
                    body=body,
                    cast_to=object,
                    options={"headers": {"Idempotency-Key": idempotency_key}},
                )
        except Exception as error:
            fault = fault_of(
                error,
                key=self.key,
                api_key_env=self.endpoint.api_key_env,
                timeout=self.retry_policy.timeout,
            )
            if fault.reason == "renamed_parameter" and not renamed:
                self.renamed.add(call.model)
                fault.again = True
            raise fault from None  # the client's errors hold the request, and with it the key
        finally:
            self.under_way -= 1
        return self._reply(call, came)

    def _reply(self, call: Call, came: Any) -> Reply:
        """The reply in a body that came with status 200, which does not make it one."""
        try:
            choice = came["choices"][0]
            text, finish_reason = (
                choice["message"].get("content") or "",
                choice.get("finish_reason") or "",
            )
            usage = came.get("usage") or {}
            prompt_tokens, completion_tokens = (
                usage.get("prompt_tokens"),
                usage.get("completion_tokens"),
            )
            if not isinstance(text, str):
                raise TypeError
        except (KeyError, IndexError, TypeError, AttributeError):
            error = isinstance(came, dict) and (came.get("error") or "choices" in came)
            reason = "error_in_reply" if error else "unreadable_reply"
            said = came["error"] if isinstance(came, dict) and came.get("error") else came
            what = f"status 200, but no answer in it: {redact_key(said, self.key)}"
            raise Fault(reason, what, again=True) from None
        return Reply(
            key=call.key,
            purpose=call.purpose,
            model=call.model,
            text=text,
            finish_reason=str(finish_reason),
            prompt_tokens=prompt_tokens if isinstance(prompt_tokens, int) else None,
            completion_tokens=completion_tokens if isinstance(completion_tokens, int) else None,
            served_by=str(came.get("model") or ""),
            at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )


def _count(usages: dict[str, Usage], reply: Reply) -> None:
    usage = Usage.of(reply.prompt_tokens, reply.completion_tokens)
    usages[reply.model] = usages.get(reply.model, Usage()) + usage
