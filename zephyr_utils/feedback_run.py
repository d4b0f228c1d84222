"""Many calls at once: a fixed number under way, faults told apart, every reply journalled the moment it comes."""

import asyncio
import concurrent.futures
import contextlib
import random
import sys
import time
from collections.abc import Coroutine, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback_calls import Call, CallReport, Endpoint, Patience
from zephyr_utils.feedback_cost import Usage
from zephyr_utils.feedback_faults import Fault, fault_of, without_key
from zephyr_utils.feedback_journal import Journal, Reply
from zephyr_utils.progress import PATIENCE

LOG_EVERY = 30.0  # seconds between two lines of progress where there is no terminal to draw a bar on
RETRIES_BEFORE_ANY_REPLY = 2  # of a refused connection: a server that was never there will not come


class RunStopped(HandbookError):
    """The run ended early because going on would only meet the same fault; ``report`` holds the books so far."""

    def __init__(self, what: str, *, where: str, remedy: str, report: CallReport) -> None:
        self.report = report
        done = report.made + report.from_journal
        super().__init__(
            f"{what}. {done:,} of {report.planned:,} calls are in the journal", where=where, remedy=remedy
        )


def run_calls(
    calls: Iterable[Call],
    endpoint: Endpoint,
    journal: Journal,
    *,
    total: int,
    what: str,
    concurrency: int = 16,
    patience: Patience | None = None,
) -> CallReport:
    """Make those of the calls that the journal does not have yet; their replies are in the journal afterwards.

    Args:
        calls: may be a generator: calls are taken from it only as they are begun.
        total: how many it holds, for the progress.
        what: the words before the progress bar.
        concurrency: calls under way at once.

    Returns:
        The books. A call that fails for good is counted there and raises nothing.

    Raises:
        RunStopped: a key is refused, a model unknown, the credit used up, nobody answers at the address, or
            ``patience.give_up_after`` calls in a row failed. Calls under way are waited for first: they are paid.
        HandbookError: no key is set, the journal cannot be written.
    """
    if concurrency < 1:
        raise HandbookError(f"concurrency is {concurrency}", where="--concurrency", remedy="give 1 or more")
    return _in_a_loop(_Run(calls, endpoint, journal, total, what, concurrency, patience or Patience()).run())


def _in_a_loop(work: Coroutine[Any, Any, CallReport]) -> CallReport:
    """Run to the end; in a thread of its own where a loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    begun: list[tuple[asyncio.AbstractEventLoop, asyncio.Task]] = []

    async def noted() -> CallReport:
        task = asyncio.current_task()
        assert task is not None
        begun.append((asyncio.get_running_loop(), task))
        return await work

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(asyncio.run, noted())
        try:
            return future.result()
        except KeyboardInterrupt:  # a notebook's stop button reaches this thread alone
            for loop, task in begun:
                loop.call_soon_threadsafe(task.cancel)
            raise


class _Run:
    def __init__(
        self,
        calls: Iterable[Call],
        endpoint: Endpoint,
        journal: Journal,
        total: int,
        what: str,
        concurrency: int,
        patience: Patience,
    ) -> None:
        self.calls, self.endpoint, self.journal, self.patience = iter(calls), endpoint, journal, patience
        self.concurrency, self.total, self.what = concurrency, total, what
        self.report = CallReport(half_written=journal.n_half_written, unreadable_lines=journal.n_unreadable)
        self.seen: set[str] = set()
        self.failed_in_a_row = 0
        self.hold_until = 0.0  # nobody sends before: a server that says 429 to one says it to all
        self.stopped: tuple[str, str] | None = None  # what, remedy
        self.renamed: set[str] = set()  # models that want max_completion_tokens
        self.rng = random.Random()
        self.key = ""

    async def run(self) -> CallReport:
        self.key = self.endpoint.key()
        started = time.monotonic()
        async with self.endpoint.client(self.patience.timeout) as client:
            self.client = client
            with _shown(self, started) as watching:
                workers = [asyncio.create_task(self.work()) for _ in range(self.concurrency)]
                tasks = [asyncio.create_task(watching()), *workers]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
        self.report.seconds = time.monotonic() - started
        if self.stopped is not None:
            for call in self.calls:  # what was not begun, for the books
                if self._is_new(call):
                    self.report.not_made += 1
            what, remedy = self.stopped
            raise RunStopped(what, where=self.endpoint.url, remedy=remedy, report=self.report)
        return self.report

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
        for call in self.calls:
            if self._is_new(call):
                await self._make(call)
            if self.stopped is not None:
                return

    async def _make(self, call: Call) -> None:
        for attempt in range(self.patience.retries + 1):
            await self._held()
            try:
                reply = await self._ask(call)
            except Fault as fault:
                refused_at_first = fault.reason == "no_connection" and not self.report.made
                if refused_at_first and attempt >= RETRIES_BEFORE_ANY_REPLY:
                    fault.fatal = "start the server, or check --base-url"
                last = attempt == self.patience.retries or not fault.again or fault.fatal or self.stopped
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
        if self.stopped is not None:
            return
        if fault.fatal:
            self.stopped = (
                f"{fault} (model {call.model!r})",
                f"{fault.fatal}; the same command goes on from here",
            )
        elif self.failed_in_a_row >= self.patience.give_up_after:
            self.stopped = (
                f"{self.failed_in_a_row} calls in a row failed, the last with: {fault} (model {call.model!r})",
                "look at the server and at the model's name, then start the same command again: it goes on from here",
            )

    async def _held(self) -> None:
        while (left := self.hold_until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _pause(self, attempt: int, fault: Fault) -> None:
        longest = min(self.patience.first_wait * 2**attempt, self.patience.longest_wait)
        # Half of it at random, or all would come back at once.
        wait = max(fault.wait, longest * self.rng.uniform(0.5, 1.0))
        if fault.reason == "rate_limited":
            self.hold_until = max(self.hold_until, time.monotonic() + wait)
        else:
            await asyncio.sleep(wait)

    async def _ask(self, call: Call) -> Reply:
        """One try.

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
        try:
            # The client's own time-out starts anew with every byte; a server that drips must not hold us for ever.
            async with asyncio.timeout(self.patience.timeout):
                # Not `chat.completions.create`: its typed requests and replies take a third of the client's time.
                came = await self.client.post("/chat/completions", body=body, cast_to=object)
        except Exception as error:
            fault = fault_of(
                error, key=self.key, key_from=self.endpoint.key_from, timeout=self.patience.timeout
            )
            if fault.reason == "renamed_parameter" and not renamed:
                self.renamed.add(call.model)
                fault.again = True
            raise fault from None  # the client's errors hold the request, and with it the key
        return self._reply(call, came)

    def _reply(self, call: Call, came: Any) -> Reply:
        """The reply in a body that came with status 200, which does not make it one."""
        try:
            choice = came["choices"][0]
            text, finish_reason = choice["message"].get("content") or "", choice.get("finish_reason") or ""
            usage = came.get("usage") or {}
            prompt_tokens, completion_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
            if not isinstance(text, str):
                raise TypeError
        except (KeyError, IndexError, TypeError, AttributeError):
            error = isinstance(came, dict) and (came.get("error") or "choices" in came)
            reason = "error_in_reply" if error else "unreadable_reply"
            said = came["error"] if isinstance(came, dict) and came.get("error") else came
            what = f"status 200, but no answer in it: {without_key(said, self.key)}"
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


@contextlib.contextmanager
def _shown(run: _Run, started: float) -> Iterator[Any]:
    """Progress after two seconds: a bar with rate and time left on a terminal, else a line now and then; on stderr."""
    bar = task = None

    def done() -> int:
        return (
            run.report.from_journal + run.report.repeated + run.report.made + sum(run.report.failed.values())
        )

    async def watching() -> None:
        nonlocal bar, task
        await asyncio.sleep(PATIENCE)
        if sys.stderr.isatty():
            bar = _bar()
            task = bar.add_task(run.what, total=run.total, completed=done(), rate="")
            bar.start()
            while True:
                rate = run.report.made / (time.monotonic() - started)
                bar.update(task, completed=done(), rate=f"{rate:,.1f} calls/s")
                await asyncio.sleep(0.2)
        while True:
            await asyncio.sleep(LOG_EVERY)
            rate = run.report.made / (time.monotonic() - started)
            left = f"{(run.total - done()) / rate:,.0f} s left" if rate else "nothing came yet"
            print(
                f"{run.what}: {done():,} of {run.total:,}, {rate:,.1f} calls/s, {left}",
                file=sys.stderr,
                flush=True,
            )

    try:
        yield watching
    finally:
        if bar is not None:
            bar.stop()


def _bar():
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    return Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    )
