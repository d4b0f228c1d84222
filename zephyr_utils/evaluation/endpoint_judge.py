"""A model behind an endpoint as judge, through the same calls, journal, retries and limits as the
collection of feedback.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from zephyr_utils.evaluation.common import display_name, warn_all
from zephyr_utils.evaluation.judge_prompts import comparison_messages, grading_messages
from zephyr_utils.evaluation.judges import (
    ComparisonRequest,
    GradeRequest,
    Judgment,
    PairwiseJudgment,
)
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.evaluation.verdicts import FAILED, parse_rating, parse_verdict
from zephyr_utils.feedback import Call, Endpoint, Reply, RetryPolicy, Sampling, run_calls
from zephyr_utils.feedback.calls import Messages
from zephyr_utils.feedback.rate import JUDGING
from zephyr_utils.feedback.results import opened_journal


class OpenAIJudge:
    """A model behind any OpenAI-compatible endpoint as judge.

    Every reply is journalled as it comes, so that a run that was killed goes on where it was. A
    call that fails for good, a reply without an answer, and a judgment that was cut off or does not
    end with a verdict give a failed judgment (-1, "error"), which the scores count.

    Args:
        model: the judge model's name at the endpoint.
        endpoint: its address and the name of the variable with its key; the default is
            ``$OPENAI_BASE_URL`` with ``OPENAI_API_KEY``.
        sampling: temperature 0 and at most 1,024 tokens unless given; a reasoning model needs more,
            and may take no temperature.
        journal: where replies are kept and looked for; None keeps them for one list of requests.
        retry_policy, concurrency: as for :func:`~zephyr_utils.feedback.run_calls`.
        retry_unreadable: ask again where a reply of an earlier run holds no verdict that can be
            read; the rest is not paid for twice.

    All methods raise what :func:`~zephyr_utils.feedback.run_calls` raises: a refused key or an
    unknown model stops the run, because every further request would meet the same.
    """

    def __init__(
        self,
        model: str,
        endpoint: Endpoint | None = None,
        *,
        sampling: Sampling = JUDGING,
        journal: str | Path | None = None,
        retry_policy: RetryPolicy | None = None,
        concurrency: int = 16,
        retry_unreadable: bool = False,
    ) -> None:
        self.name = model
        self._endpoint = endpoint or Endpoint()
        self._sampling, self._journal = sampling, journal
        self._retry_policy, self._concurrency = retry_policy, concurrency
        self._retry_unreadable = retry_unreadable

    def grade(self, question: MTBenchQuestion, answers: list[str], turn: int) -> Judgment:
        """See :class:`~zephyr_utils.evaluation.judges.Judge`."""
        (judgment,) = self.grade_all([GradeRequest(question, answers, turn)], "judging")
        return judgment

    def compare(self, question: MTBenchQuestion, answer_a: str, answer_b: str) -> PairwiseJudgment:
        """See :class:`~zephyr_utils.evaluation.judges.Judge`."""
        (judgment,) = self.compare_all([ComparisonRequest(question, answer_a, answer_b)], "judging")
        return judgment

    def grade_all(self, requests: Sequence[GradeRequest], what: str) -> list[Judgment]:
        """See :class:`~zephyr_utils.evaluation.judges.BatchJudge`.

        Warns:
            EvaluationWarning: calls that failed or may be paid for twice, replies without an
                answer or cut off, damage to the journal.
        """
        asked = [grading_messages(request) for request in requests]

        def rating(reply: Reply) -> float:
            return parse_rating(reply.text, reply.finish_reason)

        replies = self._ask("grade", asked, what, lambda reply: rating(reply) != FAILED)
        return [
            Judgment(_words(reply), FAILED if reply is None else rating(reply), prompt_name)
            for reply, (_, prompt_name) in zip(replies, asked, strict=True)
        ]

    def compare_all(
        self, requests: Sequence[ComparisonRequest], what: str
    ) -> list[PairwiseJudgment]:
        """See :class:`~zephyr_utils.evaluation.judges.BatchJudge`.

        Warns:
            EvaluationWarning: calls that failed or may be paid for twice, replies without an
                answer or cut off, damage to the journal.
        """
        asked = [comparison_messages(request) for request in requests]

        def choice(reply: Reply) -> str:
            return parse_verdict(reply.text, reply.finish_reason)

        replies = self._ask("compare", asked, what, lambda reply: choice(reply) != "error")
        return [
            PairwiseJudgment(
                _words(reply), "error" if reply is None else choice(reply), prompt_name
            )
            for reply, (_, prompt_name) in zip(replies, asked, strict=True)
        ]

    def _ask(
        self,
        purpose: str,
        asked: Sequence[tuple[Messages, str]],
        what: str,
        readable: Callable[[Reply], bool],
    ) -> list[Reply | None]:
        """The replies, in order; None where a call failed for good."""
        url = self._endpoint.url
        calls = [Call(purpose, self.name, messages, self._sampling, url) for messages, _ in asked]
        with opened_journal(self._journal) as journal:
            earlier = [journal.get(call.key) for call in calls] if self._retry_unreadable else []
            report = run_calls(
                calls,
                self._endpoint,
                journal,
                total=len(calls),
                what=what,
                concurrency=self._concurrency,
                retry_policy=self._retry_policy,
                ask_again={reply.key for reply in earlier if reply and not readable(reply)},
            )
            replies = [journal.get(call.key) for call in calls]
        lost = report.failed or report.without_answer or report.cut_off or report.made_again
        damaged = report.half_written or report.unreadable_lines
        said = f"{display_name(self.name)}: {' '.join(str(report).split())}"
        warn_all([said] if lost or damaged else [])
        return replies


def _words(reply: Reply | None) -> str:
    """The judge's words, or why there are none; no brackets, which could be read as a rating."""
    if reply is None:
        return "No judgment: the call failed."
    return reply.text.strip() or f"No judgment: {reply.problem.replace('_', ' ') or 'empty'}."
