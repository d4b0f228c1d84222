"""How many texts have what exports and templates leave in them (`traces`), in sentences."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from zephyr_utils.data.traces import (
    ALL_PARTS,
    ANSWERS,
    CHOSEN,
    ECHO,
    PROMPTS,
    REJECTED,
    SIDES,
    TRACES,
    Trace,
)

FEWEST = 2  # a file of one text says nothing about a habit
SHORTEST_ECHO = 12  # characters; an answer may well begin with "Hi" or "Yes."

_OF_PART = {part: tuple(trace for trace in TRACES if part in trace.parts) for part in ALL_PARTS}
# Most texts are ASCII, and some traces cannot be.
_OF_ASCII = {
    part: tuple(t for t in traces if not t.signs or any(sign.isascii() for sign in t.signs))
    for part, traces in _OF_PART.items()
}


class TraceCounts:
    """Counts the traces in the texts of records of any kind."""

    def __init__(self) -> None:
        self._texts: Counter[str] = Counter()  # by part
        self._found: dict[Trace, Counter[str]] = {trace: Counter() for trace in TRACES}
        self._first: dict[Trace, str] = {}

    def add(self, record: Mapping[str, Any], where: str) -> None:
        """Look at the texts of a checked record, which was at ``where``."""
        for part, text, before in _texts(record):
            if not text:
                continue
            self._texts[part] += 1
            if len(before) >= SHORTEST_ECHO and text.lstrip().startswith(before):
                self._note(ECHO, part, where)
            for trace in _OF_ASCII[part] if text.isascii() else _OF_PART[part]:
                if trace.signs and not any(sign in text for sign in trace.signs):
                    continue
                if trace.found(text):
                    self._note(trace, part, where)

    def _note(self, trace: Trace, part: str, where: str) -> None:
        self._found[trace][part] += 1
        self._first.setdefault(trace, where)

    def sentences(self, *, one_sided: bool = False) -> list[str]:
        """One for each trace that more than a tenth of the texts of some part have; of those that
        matter on one side, where chosen and rejected answers differ by as many.

        Args:
            one_sided: only the latter.
        """
        return [
            f"{self._counted(trace)} {trace.what}, the first in {self._first[trace]}: "
            f"{trace.advice}"
            for trace in TRACES
            if self._is_many(trace) and (trace.one_sided or not one_sided)
        ]

    def _is_many(self, trace: Trace) -> bool:
        found = self._found[trace]
        if trace.one_sided:
            more = abs(found[CHOSEN] - found[REJECTED])
            return more >= FEWEST and more > trace.many * self._texts[CHOSEN]
        return any(n >= FEWEST and n > trace.many * self._texts[part] for part, n in found.items())

    def _counted(self, trace: Trace) -> str:
        parts = [part for part in trace.parts if self._found[trace][part]]
        if set(parts) & set(SIDES):
            parts = [part for part in trace.parts if part in parts or part in SIDES]
        return " and ".join(
            f"{self._found[trace][part]:,} of {self._texts[part]:,} {part}" for part in parts
        )


def differences(pairs: Iterable[Mapping[str, Any]]) -> list[str]:
    """What chosen and rejected answers of pairs that were made differ in, in sentences."""
    counts = TraceCounts()
    for number, pair in enumerate(pairs, start=1):
        counts.add(pair, f"pair {number}")
    return counts.sentences(one_sided=True)


def _texts(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The texts of a dialogue, a pair or a row of feedback, each with the part that it is of and
    the text of the turn before.
    """
    if "chosen" in record:
        context = record["chosen"][:-1]
        yield from _turns(context)
        question = context[-1]["content"].strip() if context else ""
        yield CHOSEN, record["chosen"][-1]["content"], question
        yield REJECTED, record["rejected"][-1]["content"], question
    elif "completions" in record:
        yield PROMPTS, record["instruction"], ""
        for completion in record["completions"]:
            yield ANSWERS, completion["response"], record["instruction"].strip()
    else:
        yield from _turns(record["messages"])


def _turns(messages: list[dict[str, str]]) -> Iterator[tuple[str, str, str]]:
    before = ""
    for message in messages:
        if message["role"] != "system":
            part = PROMPTS if message["role"] == "user" else ANSWERS
            yield part, message["content"], before if part == ANSWERS else ""
        before = message["content"].strip()
