"""From prompts to feedback records: answers of several models, and a judge's ratings of them."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from zephyr_utils.data.records import ASPECTS, SetAside, check_feedback
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.calls import Call, CallReport, Endpoint, Messages, RetryPolicy, Sampling
from zephyr_utils.feedback.cost import Prices
from zephyr_utils.feedback.journal import Journal
from zephyr_utils.feedback.prompts import (
    Order,
    Unreadable,
    answer_order,
    critique_messages,
    rating_messages,
    read_critique,
    read_ratings,
)
from zephyr_utils.feedback.run import run_calls

ANSWERING = Sampling(temperature=0.7, max_tokens=512)
JUDGING = Sampling(temperature=0.0, max_tokens=1024)
ANSWER, CRITIQUE = "answer", "critique"
Models = Mapping[str, str] | Sequence[str]


@dataclass(frozen=True)
class UnparsedReply:
    """A reply of the judge that does not keep the form: what it was for, the reason in a word, the
    text as it came.
    """

    purpose: str
    reason: str
    text: str
    key: str


@dataclass
class Collected:
    """Records, and the books.

    Attributes:
        records: feedback or dialogue records, in the order asked for.
        set_aside: prompts without a record, each with its reason; records + set aside = prompts in.
        calls: the books of the calls.
        left_out: single answers, ratings or turns that are missing in the records, by reason.
        unreadable: the judge's replies that could not be read; they are paid for, and stay in the
            journal.
        n_replies: replies of the judge that were read or could not be.
    """

    records: list[dict] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    calls: CallReport = field(default_factory=CallReport)
    left_out: Counter = field(default_factory=Counter)
    unreadable: list[UnparsedReply] = field(default_factory=list)
    n_replies: int = 0

    def __iter__(self) -> Iterator[dict]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def report(self, prices: Prices | None = None) -> str:
        """The books in words, with costs where the prices are given."""
        n = len(self.records) + len(self.set_aside)
        lines = [f"{n:,} in = {len(self.records):,} records + {len(self.set_aside):,} set aside"]
        lines += [
            f"  {k:,} set aside: {why}"
            for why, k in Counter(s.reason for s in self.set_aside).most_common()
        ]
        lines += [f"  {k:,} left out: {why}" for why, k in self.left_out.most_common()]
        if self.unreadable:
            lines.append(
                f"  {len(self.unreadable):,} of {self.n_replies:,} replies of the judge could not "
                f"be read:"
            )
            lines += [
                f"    {k:,} {why}"
                for why, k in Counter(u.reason for u in self.unreadable).most_common()
            ]
        return "\n".join([*lines, self.calls.text(prices)])


def collect_answers(
    prompts: Sequence[str],
    models: Models,
    *,
    endpoint: Endpoint | None = None,
    sampling: Sampling = ANSWERING,
    journal: str | Path | Journal | None = None,
    concurrency: int = 16,
    retry_policy: RetryPolicy | None = None,
    source: str = "collected",
) -> Collected:
    """Put each prompt to each model (the paper, section 3: to four).

    Args:
        prompts: the texts. A prompt that occurs twice gets the same answers, and they are paid for
            once.
        models: names at the endpoint; or label -> name, where the records are to show another name
            (a directory's path is no good one).
        journal: where replies are kept and looked for; None keeps them for this call alone.
        concurrency: calls under way at once.
        source: the records' ``source``.

    Returns:
        `Collected` feedback records without ratings. Answers that are empty or whose call failed
            are left out, and
        prompts without any answer set aside, counted both.

    Raises:
        HandbookError: a prompt is empty, no model is named; and what `run_calls` raises.
    """
    endpoint, named = endpoint or Endpoint(), named_models(models)
    check_prompts(prompts)
    result = Collected()

    def call(prompt: str, model: str) -> Call:
        return Call(ANSWER, model, (("user", prompt),), sampling, endpoint.url)

    with opened_journal(journal) as opened:
        result.calls = run_calls(
            (call(prompt, model) for prompt in prompts for model in named.values()),
            endpoint,
            opened,
            total=len(prompts) * len(named),
            what="answers",
            concurrency=concurrency,
            retry_policy=retry_policy,
        )
        for number, prompt in enumerate(prompts, start=1):
            completions = []
            for label, model in named.items():
                reply = opened.get(call(prompt, model).key)
                if reply is None or not reply.text.strip():
                    result.left_out[
                        "answers whose call failed" if reply is None else "empty answers"
                    ] += 1
                    continue
                rest: dict[str, Any] = {"annotations": {}, "critique": "", "overall_score": None}
                completions.append({"model": label, "response": reply.text.strip(), **rest})
            record = {
                "source": source,
                "instruction": prompt,
                "models": [completion["model"] for completion in completions],
                "completions": completions,
            }
            if completions:
                result.records.append(record)
            else:
                where = f"prompt {number}"
                result.set_aside.append(
                    SetAside(where, "no_answers", f"{where}: no model answered", record)
                )
    return result


def rate_answers(
    feedback: Iterable[dict],
    judge: str,
    *,
    endpoint: Endpoint | None = None,
    sampling: Sampling = JUDGING,
    journal: str | Path | Journal | None = None,
    concurrency: int = 16,
    retry_policy: RetryPolicy | None = None,
    critiques: bool = True,
    order: Order = "rotated",
) -> Collected:
    """Have a judge rate all answers: four aspects with reasons and, unless left out, a critique
    with an overall grade.

    A prompt with n answers takes four calls for the aspects (each shows all n answers) and n for
    the critiques.

    Args:
        feedback: feedback records, rated or not; ratings that are there are replaced.
        judge: the judge's name at the endpoint.
        critiques: whether to ask for critiques; the paper's score, the mean of the aspects, does
            without them.
        order: of the answers within a prompt, see `answer_order`; it is undone in the records.
        endpoint, sampling, journal, concurrency, patience: as in `collect_answers`.

    Returns:
        `Collected` feedback records in the published schema. What a failed call or an unreadable
            reply should have
        brought is missing in them, as in the published sets, and counted; empty answers are not
            shown to the judge.

    Raises:
        RecordError: a row is no feedback record. And what `run_calls` raises.
    """
    endpoint = endpoint or Endpoint()
    rows = [
        check_feedback(record, f"row {number}") for number, record in enumerate(feedback, start=1)
    ]
    result = Collected(records=rows)

    def aspect_calls(row: dict) -> Iterator[tuple[str, list[int], Call]]:
        shown = [
            i for i, completion in enumerate(row["completions"]) if completion["response"].strip()
        ]
        for aspect in ASPECTS if shown else ():
            places = [shown[i] for i in answer_order(row["instruction"], len(shown), aspect, order)]
            answers = [row["completions"][i]["response"] for i in places]
            yield (
                aspect,
                places,
                make(f"rate {aspect}", rating_messages(aspect, row["instruction"], answers)),
            )

    def critique_calls(row: dict) -> Iterator[tuple[dict, Call]]:
        for completion in row["completions"] if critiques else ():
            if completion["response"].strip():
                messages = critique_messages(row["instruction"], completion["response"])
                yield completion, make(CRITIQUE, messages)

    def make(purpose: str, messages: Messages) -> Call:
        return Call(purpose, judge, messages, sampling, endpoint.url)

    def all_calls() -> Iterator[Call]:
        for row in rows:
            yield from (call for *_, call in aspect_calls(row))
            yield from (call for _, call in critique_calls(row))

    answers = [sum(bool(c["response"].strip()) for c in row["completions"]) for row in rows]
    total = sum(len(ASPECTS) * bool(n) + n * critiques for n in answers)
    result.left_out["empty answers, not shown to the judge"] = sum(
        len(r["completions"]) for r in rows
    ) - sum(answers)
    with opened_journal(journal) as opened:
        result.calls = run_calls(
            all_calls(),
            endpoint,
            opened,
            total=total,
            what="ratings",
            concurrency=concurrency,
            retry_policy=retry_policy,
        )
        reader = _Reader(opened, result)
        for row in rows:
            for completion in row["completions"]:
                completion.update(annotations={}, critique="", overall_score=None)
            for aspect, places, call in aspect_calls(row):
                ratings = reader.read(call, partial(read_ratings, count=len(places)), len(places))
                for place, rating in zip(places, ratings or (), strict=bool(ratings)):
                    row["completions"][place]["annotations"][aspect] = rating
            for completion, call in critique_calls(row):
                if critique := reader.read(call, read_critique, 1):
                    completion["critique"], completion["overall_score"] = critique
    result.left_out = +result.left_out
    return result


class _Reader:
    """Reads replies out of the journal and keeps count of those that cannot be read."""

    def __init__(self, journal: Journal, result: Collected) -> None:
        self.journal, self.result = journal, result
        self.seen: set[str] = set()

    def read(self, call: Call, parse, weight: int):
        reply = self.journal.get(call.key)
        if reply is None:
            self.result.left_out[f"{_kind(call)} whose call failed"] += weight
            return None
        new = call.key not in self.seen
        self.seen.add(call.key)
        self.result.n_replies += new
        try:
            return parse(reply.text)
        except Unreadable as problem:
            reason = "cut_off" if reply.finish_reason == "length" else problem.reason
            if new:
                self.result.unreadable.append(
                    UnparsedReply(call.purpose, reason, reply.text, call.key)
                )
            self.result.left_out[f"{_kind(call)} that could not be read"] += weight
            return None


def _kind(call: Call) -> str:
    return "critiques" if call.purpose == CRITIQUE else "ratings"


def named_models(models: Models) -> dict[str, str]:
    """Label -> the model's name at the endpoint."""
    if isinstance(models, str):
        models = [models]
    named = dict(models) if isinstance(models, Mapping) else {name: name for name in models}
    if (
        not named
        or len(named) < len(models)
        or not all(label and name for label, name in named.items())
    ):
        raise HandbookError(
            "the models must be one or more different names",
            where="models",
            remedy="name each model once",
        )
    return named


def check_prompts(prompts: Sequence[str]) -> None:
    if isinstance(prompts, str) or not prompts:
        raise HandbookError(
            "there are no prompts", where="prompts", remedy="give a list with at least one text"
        )
    for number, prompt in enumerate(prompts, start=1):
        if not isinstance(prompt, str) or not prompt.strip():
            raise HandbookError(
                "the prompt is empty or no text",
                where=f"prompt {number}",
                remedy="fill it, or leave it out",
            )


@contextlib.contextmanager
def opened_journal(journal: str | Path | Journal | None) -> Iterator[Journal]:
    if isinstance(journal, Journal):
        yield journal
    elif journal is not None:
        with Journal(journal) as opened:
            yield opened
    else:
        with (
            tempfile.TemporaryDirectory() as folder,
            Journal(Path(folder) / "journal.jsonl") as opened,
        ):
            yield opened
