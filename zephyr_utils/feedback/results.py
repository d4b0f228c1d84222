"""What a collection leaves: records, rows set aside, and the counts of everything."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from zephyr_utils.data.counts import SetAside
from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.templates import refuse_rendered
from zephyr_utils.data.types import Dialogue, Feedback
from zephyr_utils.feedback.calls import Call
from zephyr_utils.feedback.cost import Prices
from zephyr_utils.feedback.journal import Journal
from zephyr_utils.feedback.reading import Unreadable
from zephyr_utils.feedback.reply import Reply
from zephyr_utils.feedback.report import CallReport

Parse = Callable[[str], Any]
R = TypeVar("R", Feedback, Dialogue)


@dataclass(frozen=True)
class UnparsedReply:
    """A reply of the judge that does not keep the form.

    Attributes:
        purpose: what it was for.
        reason: why it cannot be read, in a word: of `Unreadable`, of `Reply.problem`, or
            "cut_off" at the token limit.
        text: the reply as it came.
        key: of its call, in the journal.
    """

    purpose: str
    reason: str
    text: str
    key: str


@dataclass
class Collected(Generic[R]):
    """Records, and the counts.

    Attributes:
        records: feedback or dialogue records, in the order asked for.
        set_aside: prompts without a record, each with its reason; records + set aside = prompts in.
        calls: the counts of the calls.
        left_out: single answers, ratings or turns that are missing in the records, by reason.
        unreadable: the judge's replies that could not be read; they are paid for, and stay in the
            journal.
        n_replies: replies of the judge that were read or could not be.
        n_partly_rated: records with ratings, but not in all aspects: a mean of their ratings is a
            mean of fewer.
    """

    records: list[R] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    calls: CallReport = field(default_factory=CallReport)
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable: list[UnparsedReply] = field(default_factory=list)
    n_replies: int = 0
    n_partly_rated: int = 0

    def __iter__(self) -> Iterator[R]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def is_complete(self) -> bool:
        """Whether every call brought a reply that could be read."""
        missing = self.calls.failed or self.calls.without_answer
        return not (missing or self.unreadable or self.set_aside)

    def report(self, prices: Prices | None = None, hints: bool = True) -> str:
        """The counts in words, with costs where the prices are given.

        Args:
            hints: whether to say which option of ``zephyr feedback`` asks for what is missing.
        """
        n = len(self.records) + len(self.set_aside)
        lines: list[str] = [
            f"{n:,} in = {len(self.records):,} records + {len(self.set_aside):,} set aside"
        ]
        lines += [
            f"  {k:,} set aside: {why}"
            for why, k in Counter(s.reason for s in self.set_aside).most_common()
        ]
        lines += [f"  {k:,} left out: {why}" for why, k in self.left_out.most_common()]
        if self.n_partly_rated:
            lines.append(
                f"  {self.n_partly_rated:,} records are not rated in all aspects; their mean is "
                f"one of fewer"
            )
        if self.unreadable:
            hint = " (--retry-unreadable asks for these again)" if hints else ""
            lines.append(
                f"  {len(self.unreadable):,} of {self.n_replies:,} replies of the judge could not "
                f"be read{hint}:"
            )
            lines += [
                f"    {k:,} {why}"
                for why, k in Counter(u.reason for u in self.unreadable).most_common()
            ]
        return "\n".join([*lines, self.calls.text(prices, hints)])


def answer_in(reply: Reply | None) -> tuple[str, str]:
    """A reply's text, or "" and in words why it is not an answer that a record can hold.

    A server with the wrong chat template lets a model write its markers out: an answer that begins
    or ends with them would be rendered twice, and no checked record can hold it.
    """
    if reply is None:
        return "", "the call failed"
    if reply.problem:
        return "", f"the reply holds no text: {reply.problem}"
    try:
        refuse_rendered(reply.text, reply.purpose)
    except RecordError:
        return "", "the text begins or ends with markers of a chat template"
    return reply.text.strip(), ""


def read_reply(reply: Reply, parse: Parse | None = None) -> tuple[Any, str]:
    """What a reply says, or None and in a word why it cannot be used.

    Args:
        parse: how its text is read, where it must keep a form.
    """
    if reply.problem:
        return None, reply.problem
    try:
        return (reply.text if parse is None else parse(reply.text)), ""
    except Unreadable as problem:
        return None, "cut_off" if reply.finish_reason == "length" else problem.reason


class Reader:
    """Reads replies out of the journal and counts those that cannot be read, in a `Collected`.

    Attributes:
        n_replies: different replies so far, by kind.
    """

    def __init__(self, journal: Journal, result: Collected[Feedback]) -> None:
        self.journal, self.result = journal, result
        self.seen: set[str] = set()
        self.n_replies: Counter[str] = Counter()

    def read(self, call: Call, kind: str, parse: Parse, weight: int) -> tuple[Any, str]:
        """What a reply says, or None, and why not.

        Args:
            kind: what it is, for the counts: "ratings" or "critiques".
            weight: how many of them a reply holds.
        """
        reply = self.journal.get(call.key)
        if reply is None:
            self.result.left_out[f"{kind} whose call failed"] += weight
            return None, "failed"
        new = call.key not in self.seen
        self.seen.add(call.key)
        self.result.n_replies += new
        self.n_replies[kind] += new
        value, reason = read_reply(reply, parse)
        if not reason:
            return value, ""
        if new:
            text = reply.text or reply.aside
            self.result.unreadable.append(UnparsedReply(call.purpose, reason, text, call.key))
        self.result.left_out[f"{kind} that could not be read"] += weight
        return None, reason


@contextlib.contextmanager
def opened_journal(journal: str | Path | Journal | None) -> Iterator[Journal]:
    """The journal, open; a temporary one if there is none."""
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
