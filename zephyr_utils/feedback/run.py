"""Many calls at once: a fixed number under way, faults told apart, every reply journalled the
moment it comes.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Collection, Iterable

from tenacity import AsyncRetrying, RetryCallState, stop_never, wait_random_exponential

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.calls import Call, RetryPolicy
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.faults import Fault
from zephyr_utils.feedback.interrupts import (
    RunInterrupted,
    RunStopped,
    handle_signals,
    run_to_end,
)
from zephyr_utils.feedback.journal import Journal
from zephyr_utils.feedback.progress import progress_display
from zephyr_utils.feedback.reply import Reply
from zephyr_utils.feedback.report import CallReport
from zephyr_utils.feedback.send import Sender

RETRIES_BEFORE_ANY_REPLY = 2  # of a refused connection: a server that was never there will not come
RETRIES_IF_PAID = 2  # of what came with status 200: each try may be charged


def run_calls(
    calls: Iterable[Call],
    endpoint: Endpoint,
    journal: Journal,
    *,
    total: int,
    what: str,
    concurrency: int = 16,
    retry_policy: RetryPolicy | None = None,
    ask_again: Collection[str] = (),
) -> CallReport:
    """Make those of the calls that the journal does not have yet; their replies are in the journal
    afterwards.

    A reply may hold no answer (see `Reply.problem`). An empty one is asked for again by the next
    run; the others are paid for and kept, unless their keys are in ``ask_again``.

    Args:
        calls: may be a generator: calls are taken from it only as they are begun.
        total: how many it holds, for the progress.
        what: the words before the progress bar.
        concurrency: calls under way at once.
        ask_again: keys of calls whose replies in the journal are to count no more.

    Returns:
        The counts. A call that fails for good is counted there and raises nothing.

    Raises:
        RunStopped: a key is refused, a model or a parameter unknown, the credit used up, nobody
            answers at the address, or ``retry_policy.give_up_after`` calls in a row brought no
            answer. Calls under way are waited for first: they are paid.
        RunInterrupted: Ctrl-C or SIGTERM. Here too, unless a second one cuts them off.
        HandbookError: no key is set, the client is not installed, the journal cannot be written.
    """
    if concurrency < 1:
        raise HandbookError(
            f"concurrency is {concurrency}", where="--concurrency", remedy="give 1 or more"
        )
    retry_policy = retry_policy or RetryPolicy()
    run = _Run(calls, endpoint, journal, total, what, concurrency, retry_policy, ask_again)
    with handle_signals(run.on_signal):
        run_to_end(run.run())
    if run.stop_reason is not None:
        problem, remedy = run.stop_reason
        raise RunStopped(problem, where=endpoint.url, remedy=remedy, report=run.report)
    if run.signals:
        raise RunInterrupted(run.report, run.cut_off)
    return run.report


class _NotBegun(Exception):
    """The run ended before a call was sent."""


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
        ask_again: Collection[str],
    ) -> None:
        self.calls, self.journal = iter(calls), journal
        self.retry_policy, self.ask_again = retry_policy, frozenset(ask_again)
        self.concurrency, self.total, self.what = concurrency, total, what
        self.report = CallReport(
            half_written=journal.n_half_written,
            unreadable_lines=journal.n_unreadable,
            made_again=journal.n_made_again,
        )
        journal.n_made_again, journal.reported = 0, False
        self.seen: set[str] = set()
        self.without_answer_in_a_row = 0
        self.hold_until = 0.0  # nobody sends before: a server that says 429 to one says it to all
        self.stop_reason: tuple[str, str] | None = None  # a fault that every call would meet
        self.signals = 0  # Ctrl-C or SIGTERM, so often
        self.wake = asyncio.Event()  # no wait outlasts the run
        self.loop: asyncio.AbstractEventLoop | None = None
        self.workers: list[asyncio.Task[None]] = []
        self.sender = Sender(endpoint, retry_policy.timeout)
        self.cut_off = 0
        self.random_wait = wait_random_exponential(
            multiplier=retry_policy.first_wait,
            min=retry_policy.first_wait / 2,
            max=retry_policy.longest_wait,
        )

    @property
    def ending(self) -> bool:
        """Whether no further call is to be begun."""
        return self.stop_reason is not None or self.signals > 0

    def on_signal(self) -> None:
        """A signal came. This runs between any two steps of the main thread, so it leaves the work
        to the loop.
        """
        self.signals += 1
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self.loop.call_soon_threadsafe(self._end_early)

    def _end_early(self) -> None:
        self.wake.set()
        if self.signals > 1:
            self.cut_off = self.cut_off or self.sender.under_way
            for worker in self.workers:
                worker.cancel()
        elif self.sender.under_way:
            _print(
                f"Stopping: {self.sender.under_way:,} calls are under way and waited for, since "
                f"they are paid. A second Ctrl-C cuts them off."
            )

    def n_done(self) -> int:
        """Calls that need no more work."""
        report = self.report
        return report.from_journal + report.repeated + report.made + report.failed.total()

    async def run(self) -> None:
        self.loop = asyncio.get_running_loop()
        started = time.monotonic()
        async with self.sender:
            made = lambda: self.report.made  # noqa: E731
            with progress_display(self.what, self.total, self.n_done, made) as watch:
                self.workers = [asyncio.create_task(self.work()) for _ in range(self.concurrency)]
                tasks = [asyncio.create_task(watch()), *self.workers]
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
        for call in self.calls:  # what was not begun is counted, too
            self.report.not_made += self._is_new(call)
        self.journal.reported = not self.ending

    def _is_new(self, call: Call) -> bool:
        """Whether the call has to be made; the others are counted here."""
        if call.key in self.seen:
            self.report.repeated += 1
            return False
        self.seen.add(call.key)
        self.report.planned += 1
        reply = self.journal.get(call.key)
        if reply is None or reply.problem == "empty" or call.key in self.ask_again:
            return True
        self.report.count(reply, now=False)
        return False

    async def work(self) -> None:
        """One of the workers: they share the iterator of calls, so each takes the next one left."""
        while not self.ending and (call := next(self.calls, None)) is not None:
            if self._is_new(call):
                try:
                    await self._make(call)
                except asyncio.CancelledError:
                    self.report.not_made += 1
                    raise

    async def _make(self, call: Call) -> None:
        retrying = AsyncRetrying(
            retry=self._is_worth_another_try,
            stop=stop_never,
            wait=self._wait_before_retry,
            before_sleep=self._count_retry,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    first = attempt.retry_state.attempt_number == 1
                    reply = await self._try(call, first)
        except _NotBegun:
            self.report.not_made += 1
        except Fault as fault:
            self._give_up(call, fault)
        else:
            self.journal.write(reply)
            self.report.count(reply, now=True)
            self._follow(call, reply)

    async def _try(self, call: Call, first: bool) -> Reply:
        """One try, noted in the journal before it is sent.

        Raises:
            Fault: it brought no reply. _NotBegun: the run ends.
        """
        while not self.ending and (left := self.hold_until - time.monotonic()) > 0:
            await self._sleep(left)
        if self.ending:
            raise _NotBegun
        if call.key in self.journal:
            self.journal.withdraw(call.key)
        unsettled = call.key in self.journal.unsettled
        again = unsettled and first
        self.report.made_again += again
        try:
            return await self.sender.send(call, self.journal.begin(call.key, again=again))
        except Fault as fault:
            turned_away = fault.outcome == "turned away" and not unsettled
            if fault.outcome == "answered" or turned_away:
                self.journal.end(call.key)
            raise

    def _is_worth_another_try(self, state: RetryCallState) -> bool:
        fault = _fault_in(state)
        if fault is None:
            return False
        number = state.attempt_number
        if fault.reason == "renamed_parameter":
            return fault.again and not self.ending
        refused_at_first = fault.reason == "no_connection" and not self.report.made
        if refused_at_first and number > RETRIES_BEFORE_ANY_REPLY:
            fault.fatal = "start the server, or check --base-url"
        most = self.retry_policy.retries
        most = min(most, RETRIES_IF_PAID) if fault.paid else most
        return fault.again and not fault.fatal and not self.ending and number <= most

    def _wait_before_retry(self, state: RetryCallState) -> float:
        fault = _fault_in(state)
        return max(fault.wait if fault else 0.0, self.random_wait(state))

    def _count_retry(self, state: RetryCallState) -> None:
        fault = _fault_in(state)
        if fault is not None:
            self.report.retries[fault.reason] += 1
            if fault.reason == "rate_limited":
                until = time.monotonic() + state.upcoming_sleep
                self.hold_until = max(self.hold_until, until)

    async def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than the run lasts."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wake.wait(), seconds)

    def _give_up(self, call: Call, fault: Fault) -> None:
        said = f"{fault} (model {call.model!r})"
        is_first = fault.reason not in self.report.examples
        self.report.failed[fault.reason] += 1
        self.report.examples.setdefault(fault.reason, said)
        if self.ending:
            return
        if fault.fatal:
            self._stop(said, fault.fatal)
        else:
            if is_first:  # not only at the end: it may be worth a Ctrl-C
                _print(f"{self.what}: a call failed: {said}; going on.")
            self._count_without_answer(said, "look at the server and at the model's name")

    def _follow(self, call: Call, reply: Reply) -> None:
        """Stop where reply after reply holds no answer."""
        if not reply.problem:
            self.without_answer_in_a_row = 0
        elif reply.problem != "empty":  # small models often end at once
            limit = call.sampling.max_tokens
            self._count_without_answer(
                f"{reply.problem} (model {call.model!r}, token limit {limit or 'not set'})",
                "give a higher token limit (--max-tokens, --judge-max-tokens)"
                if reply.problem == "cut_off_in_thought"
                else "look at these replies in the journal and choose another model",
            )

    def _count_without_answer(self, last: str, remedy: str) -> None:
        self.without_answer_in_a_row += 1
        n = self.without_answer_in_a_row
        if n >= self.retry_policy.give_up_after and not self.ending:
            self._stop(f"{n} calls in a row brought no answer, the last: {last}", remedy)

    def _stop(self, problem: str, remedy: str) -> None:
        self.stop_reason = (problem, f"{remedy}, then start the same command again: it goes on "
                            "from here")  # fmt: skip
        self.wake.set()


def _fault_in(state: RetryCallState) -> Fault | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error if isinstance(error, Fault) else None


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
