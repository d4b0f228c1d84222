"""What became of the calls of a run, counted."""

from collections import Counter
from dataclasses import dataclass, field

from zephyr_utils.feedback.cost import Prices, Usage, cost_of
from zephyr_utils.feedback.reply import Reply

_SUMS = ("planned", "repeated", "from_journal", "made", "not_made", "made_again", "cut_off")


@dataclass
class CallReport:
    """The counts of a run: ``planned == from_journal + made + failed.total() + not_made``.

    Attributes:
        planned: different calls asked for; ``repeated`` counts those asked for again within the
            run, which share a reply.
        from_journal: their replies were in the journal, paid for by an earlier run.
        made: made now, with a reply.
        failed: given up, by the last reason. They are not in the journal, so the next run makes
            them. ``examples`` has the server's own words for each reason.
        not_made: left when the run stopped early.
        without_answer: replies (from the journal or made now) that hold no answer, by
            `Reply.problem`.
        retries: further tries, by the reason for each. After a time-out or a cut connection the
            server may have answered all the same; the call is sent under the same Idempotency-Key.
        made_again: calls that were under way when an earlier run was killed, or of which that run
            got no word. They were sent again, so they may be paid for twice, unless the server
            honours Idempotency-Key. What runs that did not come to their end made again since the
            last one that did is counted in.
        usage, usage_before: tokens by model of calls made now, and of those from the journal.
        half_written, unreadable_lines: what was wrong with the journal when it was opened.
        cut_off: answers that stopped at the token limit.
        seconds: how long the calls took.
    """

    planned: int = 0
    repeated: int = 0
    from_journal: int = 0
    made: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    not_made: int = 0
    without_answer: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    made_again: int = 0
    usage: dict[str, Usage] = field(default_factory=dict)
    usage_before: dict[str, Usage] = field(default_factory=dict)
    half_written: int = 0
    unreadable_lines: int = 0
    cut_off: int = 0
    seconds: float = 0.0

    def count(self, reply: Reply, *, now: bool) -> None:
        """Count a reply that was made ``now`` or was in the journal."""
        self.made += now
        self.from_journal += not now
        if reply.problem:
            self.without_answer[reply.problem] += 1
        else:
            self.cut_off += reply.finish_reason == "length"
        usages = self.usage if now else self.usage_before
        usage = Usage.of(reply.prompt_tokens, reply.completion_tokens)
        usages[reply.model] = usages.get(reply.model, Usage()) + usage

    def add(self, other: "CallReport") -> None:
        """Add the counts of a later round."""
        for name in (*_SUMS, "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.half_written = max(self.half_written, other.half_written)
        self.unreadable_lines = max(self.unreadable_lines, other.unreadable_lines)
        self.failed += other.failed
        self.retries += other.retries
        self.without_answer += other.without_answer
        self.examples = other.examples | self.examples
        for mine, others in ((self.usage, other.usage), (self.usage_before, other.usage_before)):
            for model, usage in others.items():
                mine[model] = mine.get(model, Usage()) + usage

    def __str__(self) -> str:
        return self.text()

    def text(self, prices: Prices | None = None, hints: bool = True) -> str:
        """The counts in words, with what this run and earlier ones cost where prices are given.

        Args:
            hints: as for `Collected.report`.
        """
        lines = [
            f"{self.planned:,} calls = {self.from_journal:,} from the journal + {self.made:,} made"
            f" + {self.failed.total():,} failed + {self.not_made:,} not made"
        ]
        if self.made and self.seconds > 0:
            lines[0] += f"; {self.seconds:,.1f} s, {self.made / self.seconds:,.1f} calls/s"
        for reason, n in self.failed.most_common():
            example = self.examples.get(reason)
            lines.append(f"  {n:,} failed: {reason}" + (f", such as: {example}" if example else ""))
        lines += [f"  {n:,} tries repeated: {reason}" for reason, n in self.retries.most_common()]
        lines += self._remarks(hints)
        for when, usages in (("now", self.usage), ("before, from the journal", self.usage_before)):
            for model, usage in usages.items():
                cost = f", {cost_of(model, usage, prices)}" if prices else ""
                lines.append(f"  {model}, {when}: {usage}{cost}")
        return "\n".join(lines)

    def _remarks(self, hints: bool) -> list[str]:
        lines = []
        for problem, n in self.without_answer.most_common():
            how = "by the next run" if problem == "empty" else "with --retry-unreadable"
            hint = f" (asked again {how})" if hints else ""
            lines.append(f"  {n:,} replies hold no answer: {problem}{hint}")
        if self.made_again:
            lines.append(
                f"  {self.made_again:,} calls were under way when an earlier run was cut off, and "
                f"were made again: "
                "they may be paid for twice, unless the server honours Idempotency-Key"
            )
        if self.repeated:
            lines.append(f"  {self.repeated:,} calls were asked for twice and share a reply")
        if self.cut_off:
            lines.append(f"  {self.cut_off:,} answers were cut off at the token limit")
        if self.half_written:
            lines.append(
                "  1 half-written line at the journal's end was cut off; its call was made again"
            )
        if self.unreadable_lines:
            lines.append(
                f"  {self.unreadable_lines:,} lines of the journal are not replies (left as they "
                f"are)"
            )
        return lines
