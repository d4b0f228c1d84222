"""What a reasoning model thought before it answered: never part of its answer.

Servers that know a model's format send the thoughts apart (``reasoning_content``); others send them
in the text, between marks of the model's own.
"""

import re

# Opening and closing marks: DeepSeek-R1 and Qwen; Magistral; Kimi; Seed; Hunyuan, Sky-T1 and others.
_NAMES = r"(?:think(?:ing)?|thoughts?|reasoning|reflection|seed:think)"
_OPEN = re.compile(
    rf"<{_NAMES}>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|channel\|>analysis<\|message\|>",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</{_NAMES}>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>",
    re.IGNORECASE,
)


def after_thoughts(text: str) -> str | None:
    """What stands after the last thought, or None where the text breaks off in mid-thought.

    Thoughts that open the text need no opening mark: many chat templates put it into the prompt.
    """
    closings = list(_CLOSE.finditer(text))
    rest = text[closings[-1].end() :] if closings else text
    opening = _OPEN.search(rest)
    return rest.strip() if opening is None else None
