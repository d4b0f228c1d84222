"""Text that is rendered already: conversations in which a chat template's markers stand.

Rendered once more they would train a model on markers inside markers. Whole conversations are taken
apart again into their turns; a turn that begins with a marker, or ends with an end token, is
refused.
"""

import re
from dataclasses import dataclass

from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.types import SPEAKERS


@dataclass(frozen=True)
class Template:
    """How a template marks turns.

    Attributes:
        name: as the field calls it.
        mark: the beginning of a turn; its group names the speaker, or ``speakers`` does.
        end: the end of a turn, if the template has one.
        speakers: what the group's text means, where it is not the name of a role.
        special: whether the markers are special tokens, which nobody writes by accident.
    """

    name: str
    mark: re.Pattern[str]
    end: re.Pattern[str] | None = None
    speakers: tuple[tuple[str, str], ...] = ()
    special: bool = True


TEMPLATED_TEXT = "templated_text"  # the reason of a row that is set aside
_ENDS = re.compile(r"</s>|<\|end\|>|<\|endoftext\|>")
TEMPLATES = (
    Template(
        "ChatML",
        re.compile(r"<\|im_start\|>(\w+)(?:\r?\n|<\|im_sep\|>)"),
        re.compile(r"<\|im_end\|>")),
    Template(
        "Llama 3",
        re.compile(
            r"<\|(?:start_header_id|header_start)\|>(\w+)<\|(?:end_header_id|header_end)\|>\s*"
        ),
        re.compile(r"<\|eot_id\|>|<\|eot\|>|<\|end_of_text\|>"),
    ),
    Template("Zephyr, Tulu or Phi-3", re.compile(r"<\|(system|user|assistant)\|>\s*"), _ENDS),
    Template(
        "Llama 2 or Mistral",
        re.compile(r"(?:<s>\s*)?(\[/?INST\])"),
        re.compile(r"</s>"),
        speakers=(("[INST]", "user"), ("[/INST]", "assistant")),
    ),
    Template(
        "Gemma", re.compile(r"<start_of_turn>(user|model)\r?\n"), re.compile(r"<end_of_turn>")
    ),
    Template(
        "DeepSeek",
        re.compile(r"<｜(User|Assistant)｜>"),
        re.compile("<｜end▁of▁sentence｜>"),
    ),
    Template("HH", re.compile(r"(?:^|\r?\n\r?\n)(Human|Assistant):"), special=False),
    Template("Guanaco", re.compile(r"###\s*(Human|Assistant):"), special=False),
)  # fmt: skip

# Possessive, because what backtracks over white space takes quadratic time.
_BEGINNING = re.compile(r"\s*+(?:<s>|<bos>|<\|begin_of_text\|>|<｜begin▁of▁sentence｜>)?+\s*+")
_LLAMA_SYSTEM = re.compile(r"\s*+<<SYS>>(.*?)<</SYS>>", re.DOTALL)
_ALPACA = re.compile(r"\s*+(?:Below is an instruction[^\n]*+\s*+)?+### Instruction:")
# Any token in these brackets at the start of a turn is a template's, known here or not.
_ANY_MARKER = re.compile(
    r"\s*+(?:<bos>|<\|[A-Za-z_]{1,40}\|>|<｜[^｜>]{1,40}｜>|<start_of_turn>|(?:<s>\s*+)?\[/?INST\]|"
    r"<<SYS>>|\[SYSTEM_PROMPT\])"
)
_ANY_END = re.compile(
    r"(?:<\|[A-Za-z_]{1,40}\|>|\[\|endofturn\|\]|<end_of_(?:turn|utterance)>|<eos>|"
    r"<｜end▁of▁sentence｜>)\s*$"
)


def template_of(text: str) -> Template | None:
    """The template that a text begins in, a beginning-of-sequence token left aside."""
    start = _BEGINNING.match(text).end()  # type: ignore[union-attr]  # matches nothing, too
    for template in TEMPLATES:
        if template.mark.match(text, start if template.special else 0):
            return template
    return None


def turns_of(text: str) -> list[dict[str, str]] | None:
    """The turns of a rendered conversation, or None for other text.

    Contents come without the white space around them.
    """
    template = template_of(text)
    if template is None:
        return None
    marks = list(template.mark.finditer(text))
    names = dict(template.speakers)
    turns: list[dict[str, str]] = []
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    for mark, end in zip(marks, ends, strict=True):
        content, *rest = (
            template.end.split(text[mark.end() : end]) if template.end else [text[mark.end() : end]]
        )
        if any(_BEGINNING.fullmatch(part) is None for part in rest):
            return None  # words after the end of a turn belong to nobody
        role = names.get(mark[1], mark[1])
        system = _LLAMA_SYSTEM.match(content) if not turns and template.speakers else None
        if system:
            turns.append({"role": "system", "content": system[1].strip()})
            content = content[system.end() :]
        turns.append({"role": role, "content": content.strip()})
    return turns


def awaits_answer(prompt: str) -> bool:
    """Whether a prompt is rendered in a chat template, the answer still to come."""
    template = template_of(prompt)
    if template is None:
        return False
    turns = turns_of(prompt)
    if turns is None:
        return template.special
    role, content = SPEAKERS.get(turns[-1]["role"].lower()), turns[-1]["content"]
    # "Human:" may begin any text; in a template the assistant's turn stands open at its end.
    return (role == "assistant" and not content) or (role == "user" and template.special)


def _refuse_alpaca(content: str, place: str) -> None:
    if content.rstrip().endswith("### Response:") and _ALPACA.match(content):
        raise RecordError(
            TEMPLATED_TEXT,
            "the text is a prompt rendered in the template of Alpaca",
            where=place,
            remedy="give instruction, input and output, each in a field of its own",
        )


def refuse_rendered(content: str, place: str) -> None:
    """Refuse a turn's content that begins with a template's marker or ends with an end token.

    Words *about* tokens pass: ``<s>red</s>`` is HTML, and a marker in the middle is a matter for
    the tokenizer (contents are tokenised so that no marker in them is special).

    Raises:
        RecordError: ``templated_text``.
    """
    begins = _ANY_MARKER.match(content)
    ends = _ANY_END.search(content, max(len(content) - 60, 0))
    closed = content.rstrip().endswith("</s>") and content.count("<s>") < content.count("</s>")
    template = template_of(content)
    if template is None or template.special or not awaits_answer(content):
        _refuse_alpaca(content, place)
        if not (begins or ends or closed):
            return
    else:
        begins = template.mark.search(content)
    found = repr(begins[0].strip()) if begins else repr(ends[0].strip() if ends else "</s>")
    name = f", as in the template of {template.name}" if template else ""
    raise RecordError(
        TEMPLATED_TEXT,
        f"the text {'begins' if begins else 'ends'} with {found}{name}: it is rendered already and "
        f"would be rendered a second time",
        where=place,
        remedy="give the texts without the template's markers, or whole conversations rendered in "
        "one of " + ", ".join(t.name for t in TEMPLATES if t.special),
    )
