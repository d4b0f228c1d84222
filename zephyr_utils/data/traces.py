"""What exports, templates and other programs leave in texts, counted: speakers' names, escaped
characters, markers of chat templates, thoughts on one side of the pairs.

One text with such a trace may be about it; where many have it, a model would learn it. So nothing
is refused or changed here: a sentence says how many texts have the trace, where, and what to do.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zephyr_utils.data.thoughts import split_thoughts

MANY = 0.1  # share of the texts; of real sets at most 2 % have any of these traces
FEWEST = 2  # a file of one text says nothing about a habit
PROMPTS, ANSWERS = "turns of users", "answers"
CHOSEN, REJECTED = "chosen answers", "rejected answers"

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{1,500}`", re.DOTALL)
_LABEL_ENDS = r"[ \]>*_]{0,4}[:：]"
_OPENS = r"\s*+[\[<*_#]{0,4}+ ?(?:the )?"
_ASSISTANT = re.compile(
    rf"{_OPENS}(?:(?:ai[ -]?|virtual )?assistant|ai|(?:chat-?)?gpt(?:-[\w.]{{1,9}})?|(?:chat-?)?bot"
    rf"|model|助手|助理|机器人|ассистент|asistente|assistente){_LABEL_ENDS}"
    rf"|\s*+#{{2,4}}+ ?(?:response|answer|output){_LABEL_ENDS}",
    re.IGNORECASE,
)
_USER = re.compile(
    rf"{_OPENS}(?:user|human|prompter|用户|人类|пользователь|usuario|utilisateur){_LABEL_ENDS}"
    rf"|\s*+#{{2,4}}+ ?(?:instruction|input|question){_LABEL_ENDS}",
    re.IGNORECASE,
)
_NEXT_TURN = re.compile(
    r"\n[ \t#*\[<]{0,8}+(?:Human|HUMAN|User|USER|Prompter)[ \]>*]{0,4}:|\n#{2,4} ?Instruction:"
)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{2,6}|#[xX][0-9a-fA-F]{2,5});")
_RAW = re.compile(r"<|&(?!#?\w{2,8};)")
_ESCAPED = re.compile(r'\\n(?![a-z])|\\u[0-9a-fA-F]{4}|\\"')
_TAG = re.compile(r"\s*+<(?:p|div|span|h[1-6]|ul|ol|html|body|strong|em|b|i|br)\b[^<>]{0,200}>")
_MISREAD = re.compile("Ã[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[^\\s\\w]|Â[\xa0-\xbf]")
_PIECES = re.compile(r"([Ġ▁])\S{1,30} ?\1\w")  # twice, as Maltese has the letter
_MARKER = re.compile(
    r"<\|(?:im_start|im_end|im_sep|eot_id|eom_id|start_header_id|end_header_id|endoftext|end"
    r"|end_of_text|begin_of_text|user|assistant|system|eot)\|>|\[/?INST\]|<(?:start|end)_of_turn>"
    r"|<</?SYS>>|<｜[^｜>]{1,40}｜>"
)


def _thoughts(text: str) -> bool:
    split = split_thoughts(text)
    return bool(split.thoughts.strip()) or split.is_open


def _entities(text: str) -> bool:
    """Whether a text was escaped for HTML; one about HTML has some character that was not."""
    if _ENTITY.search(text) is None:
        return False
    plain = _CODE.sub("", text)
    return _ENTITY.search(plain) is not None and _RAW.search(plain) is None


def _escapes(text: str) -> bool:
    """Whether line breaks and characters stand as they do within JSON; code has real breaks."""
    return "\n" not in text and "`" not in text and _ESCAPED.search(text) is not None


@dataclass(frozen=True)
class Trace:
    """Something that does not belong in a text.

    Attributes:
        what: the verb's phrase, as in "40 of 40 answers ...".
        found: whether a text has it.
        signs: a text without any of these has it not; empty if it must be looked at.
        parts: the parts of a record that are looked at.
        advice: what to do.
        one_sided: whether it matters only where chosen and rejected answers differ in it.
    """

    what: str
    found: Callable[[str], Any]
    signs: tuple[str, ...]
    parts: tuple[str, ...]
    advice: str
    one_sided: bool = False


_ALL = (PROMPTS, ANSWERS, CHOSEN, REJECTED)
_ANSWERS = (ANSWERS, CHOSEN, REJECTED)
_SIDES = (CHOSEN, REJECTED)
TRACES = (
    Trace(
        "begin with a name of the assistant (as in 'Assistant:')",
        _ASSISTANT.match,
        (":", "："),
        _ANSWERS,
        "the chat template says who speaks: remove the names from the texts",
    ),
    Trace(
        "begin with a name of the user (as in 'User:')",
        _USER.match,
        (":", "："),
        (PROMPTS,),
        "the chat template says who speaks: remove the names from the texts",
    ),
    Trace(
        "go on with a turn of the user (as in 'Human:')",
        _NEXT_TURN.search,
        (":",),
        _ANSWERS,
        "end them before it, or write the turns as messages",
    ),
    Trace(
        "hold a model's thoughts (as in <think>)",
        _thoughts,
        ("<", "[", "◁", "analysis"),
        (ANSWERS,),
        "they would be trained on as part of the answer: remove them unless they are meant",
    ),
    Trace(
        "hold a model's thoughts (as in <think>)",
        _thoughts,
        ("<", "[", "◁", "analysis"),
        _SIDES,
        "the pairs would teach the marks instead of the answers: remove the thoughts from both",
        one_sided=True,
    ),
    Trace(
        "hold HTML entities in place of characters (as in &amp; or &#39;)",
        _entities,
        ("&",),
        _ALL,
        "unescape the texts (html.unescape in Python)",
    ),
    Trace(
        "are written in HTML (as in <p>)",
        _TAG.match,
        ("<",),
        _ALL,
        "turn them into plain text or Markdown unless tags are meant",
    ),
    Trace(
        r"hold escape sequences in place of characters (as in \n)",
        _escapes,
        ("\\",),
        _ALL,
        "the texts were encoded as JSON once more than they were decoded: decode them again",
    ),
    Trace(
        "hold characters that were read in a wrong encoding (as in 'â€™' for an apostrophe)",
        _MISREAD.search,
        ("Ã", "â€", "Â"),
        _ALL,
        "read the source again as UTF-8 (the Python package ftfy repairs what is left)",
    ),
    Trace(
        "hold the sign for characters that were lost (U+FFFD)",
        lambda text: True,
        ("\ufffd",),
        _ALL,
        "read the source again in the encoding that it is in",
    ),
    Trace(
        "hold a tokenizer's pieces (as in 'Ġthe')",
        _PIECES.search,
        ("Ġ", "▁"),
        _ALL,
        "decode the tokens with the tokenizer instead of joining them",
    ),
    Trace(
        "hold markers of a chat template (as in <|im_end|>)",
        _MARKER.search,
        ("<", "["),
        _ALL,
        "they would be trained on as text: remove them, or write the turns as messages",
    ),
    Trace(
        "begin with white space",
        lambda text: text[0].isspace() and text.strip(),
        (),
        _SIDES,
        "the pairs would teach the space: strip the texts",
        one_sided=True,
    ),
    Trace(
        "end with white space",
        lambda text: text[-1].isspace() and text.strip(),
        (),
        _SIDES,
        "the pairs would teach the space: strip the texts",
        one_sided=True,
    ),
)  # fmt: skip

_OF_PART = {part: tuple(trace for trace in TRACES if part in trace.parts) for part in _ALL}
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
        """Look at the texts of a checked record, which stood at ``where``."""
        for part, text in _texts(record):
            if not text:
                continue
            self._texts[part] += 1
            for trace in _OF_ASCII[part] if text.isascii() else _OF_PART[part]:
                if trace.signs and not any(sign in text for sign in trace.signs):
                    continue
                if trace.found(text):
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
            return more >= FEWEST and more > MANY * self._texts[CHOSEN]
        return any(n >= FEWEST and n > MANY * self._texts[part] for part, n in found.items())

    def _counted(self, trace: Trace) -> str:
        parts = [part for part in trace.parts if self._found[trace][part]]
        if set(parts) & set(_SIDES):
            parts = [part for part in trace.parts if part in parts or part in _SIDES]
        return " and ".join(
            f"{self._found[trace][part]:,} of {self._texts[part]:,} {part}" for part in parts
        )


def differences(pairs: Iterable[Mapping[str, Any]]) -> list[str]:
    """What chosen and rejected answers of pairs that were made differ in, in sentences."""
    counts = TraceCounts()
    for number, pair in enumerate(pairs, start=1):
        counts.add(pair, f"pair {number}")
    return counts.sentences(one_sided=True)


def _texts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts of a dialogue, a pair or a row of feedback, each with the part that it is of."""
    if "chosen" in record:
        yield from _turns(record["chosen"][:-1])
        yield CHOSEN, record["chosen"][-1]["content"]
        yield REJECTED, record["rejected"][-1]["content"]
    elif "completions" in record:
        yield PROMPTS, record["instruction"]
        for completion in record["completions"]:
            yield ANSWERS, completion["response"]
    else:
        yield from _turns(record["messages"])


def _turns(messages: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    for message in messages:
        if message["role"] != "system":
            yield PROMPTS if message["role"] == "user" else ANSWERS, message["content"]
