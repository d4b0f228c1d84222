"""Before anything is paid: the prompts of a file, and what asking and rating them will take."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zephyr_utils.data.records import check_feedback
from zephyr_utils.data.types import Feedback
from zephyr_utils.feedback.calls import Call, Messages, Sampling
from zephyr_utils.feedback.collect import ANSWER, ANSWERING, Models, check_prompts, named_models
from zephyr_utils.feedback.cost import (
    CHARACTERS_PER_TOKEN,
    TOKENS_WITHOUT_LIMIT,
    Estimate,
    Usage,
)
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.journal import Journal
from zephyr_utils.feedback.prompts import Order
from zephyr_utils.feedback.rate import JUDGING, judge_calls
from zephyr_utils.feedback.reply import Reply
from zephyr_utils.feedback.results import Parse, answer_in, read_reply

_FILLER = "x"  # stands for an answer that is not there yet; `_Planner` adds its length in tokens


@dataclass
class _Measured:
    """What the journal knows about one purpose."""

    n: int = 0
    characters: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, call: Call, reply: Reply) -> None:
        if reply.prompt_tokens is not None and reply.completion_tokens is not None:
            self.n += 1
            self.characters += _characters(call.messages)
            self.prompt_tokens += reply.prompt_tokens
            self.completion_tokens += reply.completion_tokens


@dataclass
class _Planner:
    journal: Journal | None
    retry_unreadable: bool
    estimate: Estimate = field(default_factory=Estimate)
    measured: dict[str, _Measured] = field(default_factory=dict)
    # (purpose, model, limit) -> calls to make, characters to send, and answers to send that are not
    # there yet
    pending: dict[tuple[str, str, int | None], Counter[str]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def ask(self, call: Call, missing_answers: int = 0, parse: Parse | None = None) -> Reply | None:
        """Plan a call, unless its reply is in the journal: that is returned.

        Args:
            missing_answers: how many of the answers that it shows are not there yet.
            parse: how its reply is read.
        """
        reply = None
        if not missing_answers:
            reply = self._reply(call, parse)
            if call.key in self.seen:
                return reply
            self.seen.add(call.key)
        if reply is not None:
            self.estimate.from_journal += 1
            self.measured.setdefault(call.purpose, _Measured()).add(call, reply)
            return reply
        limit = call.sampling.max_tokens
        row = self.pending.setdefault((call.purpose, call.model, limit), Counter())
        row.update(calls=1, characters=_characters(call.messages), missing=missing_answers)
        return None

    def _reply(self, call: Call, parse: Parse | None) -> Reply | None:
        """The reply in the journal, if the call will not be made again."""
        reply = self.journal.get(call.key) if self.journal else None
        if reply is None or reply.problem == "empty":
            return None
        return None if self.retry_unreadable and read_reply(reply, parse)[1] else reply

    def result(self, answer_limit: int | None) -> Estimate:
        most_of_answer = answer_limit or TOKENS_WITHOUT_LIMIT
        answers = self.measured.get(ANSWER, _Measured())
        typical = answers.completion_tokens / answers.n if answers.n else most_of_answer
        for (purpose, model, limit), row in self.pending.items():
            known = self.measured.get(purpose, _Measured())
            per_token = (
                known.characters / known.prompt_tokens
                if known.prompt_tokens
                else CHARACTERS_PER_TOKEN
            )
            sent, calls, missing = row["characters"] / per_token, row["calls"], row["missing"]
            per_reply = (
                known.completion_tokens / known.n if known.n else limit or TOKENS_WITHOUT_LIMIT
            )
            if known.n:
                self.estimate.measured.add(purpose)
            expected = Usage(calls, round(sent + missing * typical), round(calls * per_reply))
            most_out = calls * limit if limit else expected.completion_tokens
            most = Usage(calls, round(sent + missing * most_of_answer), most_out)
            self.estimate.rows[purpose, model] = (expected, most)
            if limit is None or (missing and answer_limit is None):
                self.estimate.unlimited.add((purpose, model))
        return self.estimate


def _characters(messages: Messages) -> int:
    return sum(len(content) for _, content in messages)


def estimate(
    prompts: Sequence[str] = (),
    models: Models = (),
    judge: str = "",
    *,
    feedback: Iterable[Feedback] | None = None,
    endpoint: Endpoint | None = None,
    judge_endpoint: Endpoint | None = None,
    sampling: Sampling = ANSWERING,
    judge_sampling: Sampling = JUDGING,
    journal: str | Path | None = None,
    retry_unreadable: bool = False,
    critiques: bool = True,
    order: Order = "rotated",
) -> Estimate:
    """Calls, tokens and (with ``Estimate.cost``) money that a collection will take; no call is
    made.

    Tokens sent are guessed from characters, four to a token, until the journal has measured better;
    tokens received are at most the limit of each call, and expected as the journal's replies have
    been so far. So a first small run makes the estimate of the whole a good one.

    Args:
        prompts, models, sampling, endpoint: as for `collect_answers`.
        judge, judge_endpoint, judge_sampling, critiques, order: as for `rate_answers`; no judge, no
            ratings.
        feedback: answers that are there already and are only to be rated, in place of prompts and
            models.
        journal: what is in it is not planned again,
        retry_unreadable: except for replies that cannot be read.
    """
    endpoint, judge_endpoint = endpoint or Endpoint(), judge_endpoint or endpoint or Endpoint()
    there = None
    if journal is not None and Path(journal).exists():
        there = Journal(journal, read_only=True)
    planner = _Planner(there, retry_unreadable)

    def plan_ratings(prompt: str, answers: list[str], missing: int) -> None:
        texts = answers + [_FILLER] * missing
        items = judge_calls(
            prompt,
            texts,
            judge,
            judge_sampling,
            judge_endpoint.url,
            critiques=critiques,
            order=order,
        )
        for item in items:
            not_there = sum(place >= len(answers) for place in item.places)
            planner.ask(item.call, not_there, item.parse)

    try:
        if feedback is not None:
            for number, record in enumerate(feedback, start=1):
                row = check_feedback(record, f"row {number}")
                plan_ratings(row["instruction"], [c["response"] for c in row["completions"]], 0)
        else:
            named = named_models(models)
            check_prompts(prompts)
            for prompt in dict.fromkeys(prompts):
                replies = [
                    planner.ask(Call(ANSWER, model, (("user", prompt),), sampling, endpoint.url))
                    for model in named.values()
                ]
                answers = [text for text, why in map(answer_in, replies) if not why]
                if judge:
                    plan_ratings(prompt, answers, replies.count(None))
        return planner.result(sampling.max_tokens)
    finally:
        if there is not None:
            there.close()
