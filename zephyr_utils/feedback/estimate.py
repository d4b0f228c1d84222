"""Before anything is paid: the prompts read from a file, and what asking and rating them will take."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zephyr_utils.data.read import read_rows
from zephyr_utils.data.records import ASPECTS, RecordError, RecordSet, SetAside, check_feedback
from zephyr_utils.feedback.calls import Call, Endpoint, Messages, Sampling
from zephyr_utils.feedback.collect import (
    ANSWER,
    ANSWERING,
    CRITIQUE,
    JUDGING,
    Models,
    check_prompts,
    named_models,
)
from zephyr_utils.feedback.cost import CHARACTERS_PER_TOKEN, Estimate, Usage
from zephyr_utils.feedback.journal import Journal, Reply
from zephyr_utils.feedback.prompts import Order, answer_order, critique_messages, rating_messages


def load_prompts(path: str | Path, *, set_aside: bool = False) -> RecordSet:
    """The prompts of a JSONL or Parquet file: the field ``prompt`` or ``instruction``, or the first
    user turn.

    Args:
        set_aside: count rows without a prompt and go on, instead of stopping at the first.

    Returns:
        `RecordSet` of ``{"prompt": text}``.

    Raises:
        RecordError: a row has no prompt. HandbookError: the file cannot be read.
    """
    result = RecordSet([], source=str(path))
    for row in read_rows(path):
        try:
            if row.error is not None:
                raise row.error
            result.records.append({"prompt": _prompt_of(row.value, row.where)})
        except RecordError as error:
            if not set_aside:
                raise
            result.set_aside.append(
                SetAside(row.where, error.reason, f"{error.where}: {error.what}", row.value)
            )
    return result


def _prompt_of(row: object, where: str) -> str:
    if isinstance(row, str):
        row = {"prompt": row}
    if isinstance(row, dict):
        first_turn = row.get("messages") or row.get("data") or [None]
        first_turn = first_turn[0] if isinstance(first_turn, list) else None
        first_turn = first_turn.get("content") if isinstance(first_turn, dict) else first_turn
        for text in (row.get("prompt"), row.get("instruction"), first_turn):
            if isinstance(text, str) and text.strip():
                return text
    raise RecordError(
        "no_prompt",
        "there is no prompt in it",
        where=where,
        remedy="give each row a `prompt`, an `instruction` or `messages`; or have bad rows set "
        "aside and counted",
    )


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
    estimate: Estimate = field(default_factory=Estimate)
    measured: dict[str, _Measured] = field(default_factory=dict)
    # (purpose, model, limit) -> calls to make, characters to send, and answers to send that are not
    # there yet
    pending: dict[tuple[str, str, int], Counter] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def ask(self, call: Call, missing_answers: int = 0) -> Reply | None:
        """Plan a call, unless its reply is in the journal: that is returned."""
        reply = None
        if not missing_answers:
            if call.key in self.seen:
                return self.journal.get(call.key) if self.journal else None
            self.seen.add(call.key)
            reply = self.journal.get(call.key) if self.journal else None
        if reply is not None:
            self.estimate.from_journal += 1
            self.measured.setdefault(call.purpose, _Measured()).add(call, reply)
            return reply
        row = self.pending.setdefault(
            (call.purpose, call.model, call.sampling.max_tokens), Counter()
        )
        row.update(calls=1, characters=_characters(call.messages), missing=missing_answers)
        return None

    def result(self, answer_limit: int) -> Estimate:
        answers = self.measured.get(ANSWER, _Measured())
        typical = answers.completion_tokens / answers.n if answers.n else answer_limit
        for (purpose, model, limit), row in self.pending.items():
            known = self.measured.get(purpose, _Measured())
            per_token = (
                known.characters / known.prompt_tokens
                if known.prompt_tokens
                else CHARACTERS_PER_TOKEN
            )
            sent, calls, missing = row["characters"] / per_token, row["calls"], row["missing"]
            out = known.completion_tokens / known.n if known.n else limit
            if known.n:
                self.estimate.measured.add(purpose)
            expected = Usage(calls, round(sent + missing * typical), round(calls * out))
            most = Usage(calls, round(sent + missing * answer_limit), calls * limit)
            self.estimate.rows[purpose, model] = (expected, most)
        return self.estimate


def _characters(messages: Messages) -> int:
    return sum(len(content) for _, content in messages)


def estimate(
    prompts: Sequence[str] = (),
    models: Models = (),
    judge: str = "",
    *,
    feedback: Iterable[dict] | None = None,
    endpoint: Endpoint | None = None,
    judge_endpoint: Endpoint | None = None,
    sampling: Sampling = ANSWERING,
    judge_sampling: Sampling = JUDGING,
    journal: str | Path | None = None,
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
        journal: what is in it is not planned again.
    """
    endpoint, judge_endpoint = endpoint or Endpoint(), judge_endpoint or endpoint or Endpoint()
    there = Journal(journal) if journal is not None and Path(journal).exists() else None
    planner = _Planner(there)

    def rated(prompt: str, answers: list[str], missing: int) -> None:
        count = len(answers) + missing
        texts = answers + [""] * missing  # what is missing is added in tokens, by `_Planner`
        for aspect in ASPECTS if count else ():
            shown = [texts[i] for i in answer_order(prompt, count, aspect, order)]
            messages = rating_messages(aspect, prompt, shown)
            planner.ask(
                Call(f"rate {aspect}", judge, messages, judge_sampling, judge_endpoint.url), missing
            )
        for number, text in enumerate(texts if critiques else ()):
            call = Call(
                CRITIQUE, judge, critique_messages(prompt, text), judge_sampling, judge_endpoint.url
            )
            planner.ask(call, int(number >= len(answers)))

    try:
        if feedback is not None:
            for number, record in enumerate(feedback, start=1):
                row = check_feedback(record, f"row {number}")
                answers = [c["response"] for c in row["completions"] if c["response"].strip()]
                rated(row["instruction"], answers, 0)
        else:
            named = named_models(models)
            check_prompts(prompts)
            for prompt in dict.fromkeys(prompts):
                calls = [
                    Call(ANSWER, m, (("user", prompt),), sampling, endpoint.url)
                    for m in named.values()
                ]
                replies = [planner.ask(call) for call in calls]
                answers = [r.text.strip() for r in replies if r is not None and r.text.strip()]
                if judge:
                    rated(prompt, answers, replies.count(None))
        return planner.result(sampling.max_tokens)
    finally:
        if there is not None:
            there.close()
