"""From answers to ratings: a judge rates them in four aspects and criticises each."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from zephyr_utils.data.records import ASPECTS, check_feedback
from zephyr_utils.data.types import Feedback
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.calls import Call, Messages, RetryPolicy, Sampling
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.journal import Journal
from zephyr_utils.feedback.prompts import (
    Order,
    answer_order,
    critique_messages,
    rating_messages,
)
from zephyr_utils.feedback.reading import OFF_SCALE, read_critique, read_ratings
from zephyr_utils.feedback.results import Collected, Parse, Reader, opened_journal, read_reply
from zephyr_utils.feedback.run import run_calls

JUDGING = Sampling(temperature=0.0, max_tokens=1024)
CRITIQUE = "critique"
# From this share (and number) of replies off the scale on, the judge is taken to use another one.
MOST_OFF_SCALE, FEWEST_OFF_SCALE = 0.25, 4


@dataclass(frozen=True)
class JudgeCall:
    """One question to the judge.

    Attributes:
        aspect: what it rates; "" for a critique.
        places: the answers it is about (their numbers within the row, from 0), in the order shown.
    """

    call: Call
    aspect: str
    places: list[int]

    @property
    def kind(self) -> str:
        """What its reply holds."""
        return "ratings" if self.aspect else "critiques"

    @property
    def parse(self) -> Parse:
        """How its reply is read."""
        return partial(read_ratings, count=len(self.places)) if self.aspect else read_critique


def judge_calls(
    prompt: str,
    answers: list[str],
    judge: str,
    sampling: Sampling,
    url: str,
    *,
    critiques: bool = True,
    order: Order = "rotated",
) -> Iterator[JudgeCall]:
    """All that the judge is asked about the answers to one prompt. Empty answers are not shown."""

    def call(purpose: str, messages: Messages) -> Call:
        return Call(purpose, judge, messages, sampling, url)

    filled = [place for place, answer in enumerate(answers) if answer.strip()]
    for aspect in ASPECTS if filled else ():
        places = [filled[i] for i in answer_order(prompt, len(filled), aspect, order)]
        messages = rating_messages(aspect, prompt, [answers[place] for place in places])
        yield JudgeCall(call(f"rate {aspect}", messages), aspect, places)
    for place in filled if critiques else ():
        messages = critique_messages(prompt, answers[place])
        yield JudgeCall(call(CRITIQUE, messages), "", [place])


def rate_answers(
    feedback: Iterable[Feedback],
    judge: str,
    *,
    endpoint: Endpoint | None = None,
    sampling: Sampling = JUDGING,
    journal: str | Path | Journal | None = None,
    concurrency: int = 16,
    retry_policy: RetryPolicy | None = None,
    retry_unreadable: bool = False,
    critiques: bool = True,
    order: Order = "rotated",
) -> Collected[Feedback]:
    """Have a judge rate all answers: four aspects with reasons and, unless left out, a critique
    with an overall grade.

    A prompt with n answers takes four calls for the aspects (each shows all n answers) and n for
    the critiques.

    Args:
        feedback: feedback records, rated or not; ratings that are there are replaced.
        judge: the judge's name at the endpoint.
        retry_unreadable: make those calls again whose replies in the journal cannot be read.
        critiques: whether to ask for critiques; the paper's score, the mean of the aspects, does
            without them.
        order: of the answers within a prompt, see `answer_order`; it is undone in the records.
        endpoint, sampling, journal, concurrency, retry_policy: as in `collect_answers`.

    Returns:
        `Collected` feedback records in the published schema. What a failed call or an unreadable
        reply should have brought is missing in them, as in the published sets, and counted. Where
        a reply has a rating (or a grade) off the scale, the row gets no ratings (or grades) at all:
        without the best answer's the order of the others would be another. Empty answers are not
        shown to the judge.

    Raises:
        RecordError: a row is not a feedback record. HandbookError: a quarter of the judge's replies
            are off the scale, so that the others cannot be trusted either. And what `run_calls`
            raises.
    """
    endpoint = endpoint or Endpoint()
    rows = [check_feedback(row, f"row {number}") for number, row in enumerate(feedback, start=1)]
    result, url = Collected(records=rows), endpoint.url

    def calls_of(row: Feedback) -> Iterator[JudgeCall]:
        answers = [completion["response"] for completion in row["completions"]]
        return judge_calls(
            row["instruction"], answers, judge, sampling, url, critiques=critiques, order=order
        )

    n_answers = [sum(bool(c["response"].strip()) for c in row["completions"]) for row in rows]
    n_empty = sum(len(row["completions"]) for row in rows) - sum(n_answers)
    if n_empty:
        result.left_out["empty answers, not shown to the judge"] = n_empty
    with opened_journal(journal) as opened:
        again: set[str] = set()
        if retry_unreadable:
            for item in (item for row in rows for item in calls_of(row)):
                reply = opened.get(item.call.key)
                if reply is not None and read_reply(reply, item.parse)[1]:
                    again.add(reply.key)
        result.calls = run_calls(
            (item.call for row in rows for item in calls_of(row)),
            endpoint,
            opened,
            total=sum(len(ASPECTS) * bool(n) + n * critiques for n in n_answers),
            what="ratings",
            concurrency=concurrency,
            retry_policy=retry_policy,
            ask_again=again,
        )
        reader = Reader(opened, result)
        for row in rows:
            _fill(row, calls_of(row), reader)
    _check_scale(reader, judge)
    return result


def _fill(row: Feedback, items: Iterable[JudgeCall], reader: Reader) -> None:
    """Write into the row what the judge's replies say, and count what is missing."""
    completions = row["completions"]
    for completion in completions:
        completion["annotations"], completion["critique"] = {}, ""
        completion["overall_score"] = None
    off_scale: set[str] = set()
    for item in items:
        value, reason = reader.read(item.call, item.kind, item.parse, len(item.places))
        if reason in OFF_SCALE:
            off_scale.add(item.kind)
        if value is None:
            continue
        if item.aspect:
            for place, rating in zip(item.places, value, strict=True):
                completions[place]["annotations"][item.aspect] = rating
        else:
            completion = completions[item.places[0]]
            completion["critique"], completion["overall_score"] = value
    left_out = reader.result.left_out
    if "ratings" in off_scale:
        n = sum(len(completion["annotations"]) for completion in completions)
        left_out["ratings beside others that are off the scale"] += n
        for completion in completions:
            completion["annotations"] = {}
    if "critiques" in off_scale:
        n = sum(completion["overall_score"] is not None for completion in completions)
        left_out["grades beside others that are off the scale"] += n
        for completion in completions:
            completion["overall_score"] = None
    reader.result.left_out = +left_out  # without what is 0
    n_aspects = max((len(completion["annotations"]) for completion in completions), default=0)
    reader.result.n_partly_rated += 0 < n_aspects < len(ASPECTS)


def _check_scale(reader: Reader, judge: str) -> None:
    """Refuse a judge that rates on another scale: its low ratings would pass for good ones.

    Raises:
        HandbookError: many of its replies are off the scale.
    """
    off_scale = Counter(
        "critiques" if reply.purpose == CRITIQUE else "ratings"
        for reply in reader.result.unreadable
        if reply.reason in OFF_SCALE
    )
    for kind, n in off_scale.items():
        n_replies, scale = reader.n_replies[kind], "1 to 5" if kind == "ratings" else "1 to 10"
        if n >= FEWEST_OFF_SCALE and n >= MOST_OFF_SCALE * n_replies:
            raise HandbookError(
                f"{n:,} of {n_replies:,} replies with {kind} hold a number that is not from "
                f"{scale}: the judge seems to use another scale, so the others cannot be trusted",
                where=f"judge {judge!r}",
                remedy="look at the replies in the journal, where they stay; then ask again "
                "(--retry-unreadable) or name another judge",
            )
