"""Before anything is paid: the prompts of a file, and what asking and rating them will take."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from zephyr_utils.data.counts import SetAside
from zephyr_utils.data.fields import VISIBLE, check_text, present
from zephyr_utils.data.layouts import recognise
from zephyr_utils.data.read import read_rows
from zephyr_utils.data.records import RecordError, RecordSet, check_feedback
from zephyr_utils.data.refused import OTHER_MEDIA
from zephyr_utils.data.structure import unpacked
from zephyr_utils.data.templates import refuse_rendered
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
from zephyr_utils.feedback.journal import Journal, Reply
from zephyr_utils.feedback.prompts import Order
from zephyr_utils.feedback.rate import JUDGING, judge_calls
from zephyr_utils.feedback.results import Parse, answer_in, read_reply

_CONVERSATIONS = ("prompt", "messages", "conversations", "data")
# A place in a template of prompts, as Jinja, Mustache and most dashboards write it.
_PLACEHOLDER = re.compile(r"\{\{ ?[A-Za-z_][\w.]{0,40} ?\}\}")
_FILLER = "x"  # stands for an answer that is not there yet; `_Planner` adds its length in tokens


class Prompt(TypedDict):
    """A row of a file of prompts."""

    prompt: str


def load_prompts(path: str | Path, *, set_aside: bool = False) -> RecordSet[Prompt]:
    """The prompts of a JSONL or Parquet file: the field ``prompt`` or ``instruction``, or the first
    user turn.

    Args:
        set_aside: count rows without a prompt and go on, instead of stopping at the first.

    Returns:
        `RecordSet` of ``{"prompt": text}``; its ``conversions`` count the rows of which something
        is not asked (a system message, a history, later turns), and those with a placeholder.

    Raises:
        RecordError: a row has no prompt. HandbookError: the file cannot be read.
    """
    result: RecordSet[Prompt] = RecordSet([], source=str(path))
    for row in read_rows(path):
        try:
            if row.error is not None:
                raise row.error
            prompt, content = _prompt_of(row.value, row.where)
            result.records.append({"prompt": prompt})
            result.conversions.update(_left_out(content))
            if placeholder := _PLACEHOLDER.search(prompt):
                result.conversions[f"{placeholder[0]} in it is asked as it stands"] += 1
        except RecordError as error:
            if not set_aside:
                raise
            result.set_aside.append(
                SetAside(row.where, error.reason, f"{error.where}: {error.what}", row.value)
            )
    return result


def _prompt_of(row: Any, where: str) -> tuple[str, dict[str, Any]]:
    """A row's prompt, and the row as a mapping without text that held structure."""
    if isinstance(row, str):
        row = {"prompt": row}
    if isinstance(row, dict):
        row = unpacked(row, where, set())  # messages that a CSV export wrote as text
        recognise(row, (), (OTHER_MEDIA,), where)
        for name in ("prompt", "instruction", "messages", "conversations", "data"):
            text = _first_user_turn(row.get(name), where)
            if VISIBLE.search(text):
                if name == "instruction" and isinstance(row.get("input"), str) and row["input"]:
                    text = f"{text}\n{row['input']}"  # as Alpaca's question is put elsewhere
                refuse_rendered(text, where)
                return check_text(text, where), row
    has = f" (the row has: {present(row)})" if isinstance(row, dict) else ""
    raise RecordError(
        "no_prompt",
        f"there is no prompt in it{has}",
        where=where,
        remedy="give each row a `prompt`, an `instruction` or `messages`; or have bad rows set "
        "aside and counted",
    )


def _left_out(row: dict[str, Any]) -> list[str]:
    """What a row says beside its prompt, and no model is asked."""
    notes = []
    conversation = next(
        (turns for name in _CONVERSATIONS if isinstance(turns := row.get(name), list)), []
    )
    roles = [
        turn.get("role", turn.get("from", "user")) if isinstance(turn, dict) else None
        for turn in conversation
        if not (isinstance(turn, dict) and "type" in turn and "role" not in turn)  # a part
    ]
    columns = [row.get(name) for name in ("system", "system_prompt")]
    if any(role in ("system", "developer") for role in roles) or any(
        value.strip() if isinstance(value, str) else value for value in columns
    ):
        notes.append("its system message is not sent")
    first = next((i for i, role in enumerate(roles) if role in ("user", "human", None)), 0)
    said = [role for role in roles[:first] if role not in ("system", "developer")]
    if row.get("history") or said:
        notes.append("what was said before it is not sent")
    raw = roles[first : first + 3] == [None, None, None]  # raw UltraChat's texts take turns
    if raw or any(role in ("user", "human") for role in roles[first + 1 :]):
        notes.append("later turns of the conversation are not asked")
    return notes


def _first_user_turn(value: Any, where: str) -> str:
    """A prompt given as text, as parts, or as a conversation; "" if there is none."""
    if isinstance(value, str):
        return value
    turns = value if isinstance(value, list) else [value]
    if any(isinstance(turn, dict) and "type" in turn and "role" not in turn for turn in turns):
        return _joined(turns, where)
    for turn in turns:
        if isinstance(turn, str):
            return turn
        if not isinstance(turn, dict):
            continue
        if turn.get("role", turn.get("from", "user")) in ("user", "human"):
            content = turn.get("content", turn.get("value", turn.get("text")))
            if isinstance(content, list):
                return _joined(content, where)
            return content if isinstance(content, str) else ""
    return ""


def _joined(parts: list[Any], where: str) -> str:
    """The text of a content in parts.

    Raises:
        RecordError: ``not_text``: a part is none, and the question would be asked without it.
    """
    found = [part.get("text") if isinstance(part, dict) else part for part in parts]
    texts = [text for text in found if isinstance(text, str)]
    if len(texts) < len(found):
        raise RecordError(
            "not_text",
            "a part of the prompt is not text, and the question would be asked without it",
            where=where,
            remedy="only text is sent: remove the row, or have it set aside and counted",
        )
    return "".join(texts)


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
