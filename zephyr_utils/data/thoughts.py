"""What a reasoning model thought before it answered: never part of its answer.

Servers that know a model's format send the thoughts apart (``reasoning_content``); others send them
in the text, between marks of the model's own.
"""

import re
from dataclasses import dataclass

# DeepSeek-R1, Qwen and many others; Seed (a prefix); Magistral; Kimi; Sky-T1.
_MARK = re.compile(
    r"(?P<fence>^[ \t]{0,8}(?:```|~~~))"
    r"|<(?P<end_tag>/?)(?:seed:)?(?P<tag>(?i:think|thinking|thoughts?|reasoning|reflection)) ?>"
    r"|\[(?P<end_bracket>/?)THINK\]"
    r"|◁(?P<end_triangle>/?)think▷"
    r"|<\|(?P<side>begin|end)_of_thought\|>",
    re.MULTILINE,
)
# gpt-oss, where a server sends its channels as they are, or with the special tokens left out.
_CHANNEL = re.compile(
    r"(?:<\|start\|>assistant)?<\|channel\|>(?P<name>\w{1,20})[^<\n]{0,80}<\|message\|>"
)
_CHANNEL_END = re.compile(r"<\|(?:end|return|call|start)\|>")
_CHANNELS_BARE = ("analysis", "assistantfinal")
_SIGNS = ("<", "[", "◁")  # a mark begins with one of them
_QUOTES = "\"'“”‘’«»"


@dataclass(frozen=True)
class Split:
    """A reply's text taken apart.

    Attributes:
        answer: the text without any thought.
        thoughts: what was thought.
        is_open: whether the text breaks off in mid-thought.
    """

    answer: str
    thoughts: str = ""
    is_open: bool = False


def split_thoughts(text: str) -> Split:
    """Take the thoughts out of a reply, in time linear in its length.

    Thoughts that open the text need no opening mark: many chat templates put it into the prompt.
    Marks in code (fenced or between backticks) or in quotation marks are talked about, not thought
    in, and stay.
    """
    if text.lstrip().startswith(("<|channel|>", "<|start|>assistant<|channel|>")):
        return _split_channels(text)
    if text.startswith(_CHANNELS_BARE[0]) and _CHANNELS_BARE[1] in text:
        thoughts, _, answer = text.removeprefix(_CHANNELS_BARE[0]).rpartition(_CHANNELS_BARE[1])
        return Split(answer, thoughts)
    if not any(sign in text for sign in _SIGNS):  # most replies, and these at once
        return Split(text)
    kept: list[str] = []
    thoughts_kept: list[str] = []
    start, opened, in_code, code_span = 0, "", False, False
    end = len(text.rstrip())
    for mark in _MARK.finditer(text):
        if mark["fence"] is not None:
            in_code = in_code != (not opened)  # a fence within a thought is the thought's
            continue
        kind, closes = _kind(mark)
        before, after = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]
        if opened:
            if closes and kind == opened and not before == after == "`":
                thoughts_kept.append(text[start : mark.start()])
                start, opened = mark.end(), ""
            continue
        if in_code or _is_quoted(before, after) or (closes and code_span and after == "`"):
            code_span = not closes and before == "`"
            continue
        if not closes:
            kept.append(text[start : mark.start()])
            start, opened = mark.end(), kind
        elif thoughts_kept and mark.end() >= end:
            kept.append(text[start : mark.start()])  # one mark too many, after the answer
            start = len(text)
        else:  # all that came before was thought
            thoughts_kept += [*kept, text[start : mark.start()]]
            kept, start = [], mark.end()
    (thoughts_kept if opened else kept).append(text[start:])
    return Split("".join(kept), "".join(thoughts_kept), bool(opened))


def after_thoughts(text: str) -> str | None:
    """A reply without its thoughts, or None where the text breaks off in mid-thought."""
    split = split_thoughts(text)
    return None if split.is_open else split.answer.strip()


def _kind(mark: re.Match[str]) -> tuple[str, bool]:
    """Which pair of marks this is of, and whether it closes."""
    if mark["tag"] is not None:
        name = mark["tag"].lower().removesuffix("s").removesuffix("ing")  # thoughts, thinking
        return name, bool(mark["end_tag"])
    if mark["side"] is not None:
        return "of_thought", mark["side"] == "end"
    if mark["end_bracket"] is not None:
        return "bracket", bool(mark["end_bracket"])
    return "triangle", bool(mark["end_triangle"])


def _is_quoted(before: str, after: str) -> bool:
    return before == "`" or (
        before != "" and before in _QUOTES and after != "" and after in _QUOTES
    )


def _split_channels(text: str) -> Split:
    kept: list[str] = []
    thoughts: list[str] = []
    marks = list(_CHANNEL.finditer(text))
    if not marks:  # cut off within the first one
        return Split("", text, is_open=True)
    for mark, end in zip(marks, [*(m.start() for m in marks[1:]), len(text)], strict=True):
        content = _CHANNEL_END.split(text[mark.end() : end], maxsplit=1)[0]
        (kept if mark["name"] == "final" else thoughts).append(content)
    return Split("".join(kept), "".join(thoughts), is_open=not kept)
