"""What exports, templates and other programs leave in texts: speakers' names, escaped characters,
markers of chat templates, thoughts on one side of the pairs.

One text with such a trace may be about it; where many have it, a model would learn it. So nothing
is refused or changed: `trace_counts` says how many texts have the trace, where, and what to do.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zephyr_utils.data.thoughts import split_thoughts

MANY = 0.1  # share of the texts; of real sets at most 2 % have any of these traces
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


_NOTHING = re.compile(r"\s*+(?:\$ERROR\$|\[(?:deleted|removed)\]|<NA>|nan|NaN)\s*")
_NOTHING_IN_WORDS = re.compile(r"\s*+(?:None|null|NULL|undefined|N/?A|#N/A|#VALUE!|#REF!)\s*")
_FAILED_CALL = re.compile(
    r"\s*+(?:\{\s*\"error\"\s*:|(?:API |HTTP )?Error(?: code)?:? ?\d{3}\b"
    r"|Traceback \(most recent call last\)"
    r"|(?:openai\.)?(?:RateLimit|API|APITimeout|APIConnection|BadRequest)Error\b)"
)
_OBJECT = re.compile(
    r"""\s*+(?:b'[^']*+'|b"[^"]*+"|\w{0,20}(?:Message|Completion|Choice|Response)\(\w{1,20}=.*+"""
    r"""|\{\s*['"](?:content|text|response|answer|output|completion|message|generated_text)['"]"""
    r"""\s*:[^{}]*+\}|\[\s*(?:"[^"]*+"|'[^']*+')\s*\]|"[^"]*+")\s*""",
    re.DOTALL,
)
_BASE64 = re.compile(r"\s*+[A-Za-z0-9+/]{16,}={0,2}\s*")
_PLACE = re.compile(r"\{\{ ?[A-Za-z_][\w.]{0,40} ?\}\}")
_SPEAKERS = ("user", "human", "assistant", "bot")  # as tags around a turn
_MEDIA = re.compile(r"<(?:image|video|audio)>|<\|(?:image|video|audio)(?:_pad)?\|>|\[IMG\]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def _thoughts(text: str) -> bool:
    return split_thoughts(text).answer.strip() != text.strip()


def _entities(text: str) -> bool:
    """Whether a text was escaped for HTML; one about HTML has some character that was not."""
    if _ENTITY.search(text) is None:
        return False
    plain = _CODE.sub("", text)
    return _ENTITY.search(plain) is not None and _RAW.search(plain) is None


def _escapes(text: str) -> bool:
    """Whether line breaks and characters stand as they do within JSON; code has real breaks."""
    return "\n" not in text and "`" not in text and _ESCAPED.search(text) is not None


def _base64(text: str) -> bool:
    """Whether a text is another one in base64; a long word rarely decodes to anything printable."""
    if _BASE64.fullmatch(text) is None:
        return False
    try:
        plain = base64.b64decode(text.strip(), validate=True).decode()
    except ValueError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in plain)


def _place(text: str) -> bool:
    """Whether a place that a template fills is left; code and Jinja's own words have such too."""
    return "{%" not in text and _PLACE.search(_CODE.sub("", text)) is not None


def _turn_tags(text: str) -> bool:
    """Whether a turn is in tags, outside code; in two searches, since a pattern would look for
    the end again from each tag.
    """
    plain = _CODE.sub("", text)
    return any(0 <= plain.find(f"<{one}>") < plain.rfind(f"</{one}>") for one in _SPEAKERS)


@dataclass(frozen=True)
class Trace:
    """Something that does not belong in a text.

    Attributes:
        what: the end of the sentence, as in "40 of 40 answers ...".
        found: whether a text has it.
        signs: a text without any of these has it not; empty if it must be looked at.
        parts: the parts of a record that are looked at.
        many: it is said if a larger share of a part's texts has it.
        advice: what to do.
        one_sided: whether it matters only where chosen and rejected answers differ in it.
    """

    what: str
    found: Callable[[str], Any]
    signs: tuple[str, ...]
    parts: tuple[str, ...]
    advice: str
    one_sided: bool = False
    many: float = MANY


ALL_PARTS = (PROMPTS, ANSWERS, CHOSEN, REJECTED)
_ANY_ANSWERS = (ANSWERS, CHOSEN, REJECTED)
SIDES = (CHOSEN, REJECTED)
# Looked for by the counts themselves, who know the turn before.
ECHO = Trace(
    "begin with the whole turn before them",
    lambda text: False,
    (),
    _ANY_ANSWERS,
    "write the answer alone: the question would be trained on as part of it",
)
TRACES = (
    Trace(
        "begin with a name of the assistant (as in 'Assistant:')",
        _ASSISTANT.match,
        (":", "："),
        _ANY_ANSWERS,
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
        _ANY_ANSWERS,
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
        SIDES,
        "the pairs would teach the marks instead of the answers: remove the thoughts from both",
        one_sided=True,
    ),
    Trace(
        "hold HTML entities in place of characters (as in &amp; or &#39;)",
        _entities,
        ("&",),
        ALL_PARTS,
        "unescape the texts (html.unescape in Python)",
    ),
    Trace(
        "are written in HTML (as in <p>)",
        _TAG.match,
        ("<",),
        ALL_PARTS,
        "turn them into plain text or Markdown unless tags are meant",
    ),
    Trace(
        r"hold escape sequences in place of characters (as in \n)",
        _escapes,
        ("\\",),
        ALL_PARTS,
        "the texts were encoded as JSON once more than they were decoded: decode them again",
    ),
    Trace(
        "hold characters that were read in a wrong encoding (as in 'â€™' for an apostrophe)",
        _MISREAD.search,
        ("Ã", "â€", "Â"),
        ALL_PARTS,
        "read the source again as UTF-8 (the Python package ftfy repairs what is left)",
    ),
    Trace(
        "hold the sign for characters that were lost (U+FFFD)",
        lambda text: True,
        ("\ufffd",),
        ALL_PARTS,
        "read the source again in the encoding that it is in",
    ),
    Trace(
        "hold a tokenizer's pieces (as in 'Ġthe')",
        _PIECES.search,
        ("Ġ", "▁"),
        ALL_PARTS,
        "decode the tokens with the tokenizer instead of joining them",
    ),
    Trace(
        "hold markers of a chat template (as in <|im_end|>)",
        _MARKER.search,
        ("<", "["),
        ALL_PARTS,
        "they would be trained on as text: remove them, or write the turns as messages",
    ),
    Trace(
        "are placeholders (as '$ERROR$', '[deleted]' or 'nan')",
        _NOTHING.fullmatch,
        (),
        ALL_PARTS,
        "leave these rows out: what failed or is missing is not text to train on",
        many=0.0,
    ),
    Trace(
        "are a word for what is missing (as 'None' or 'null')",
        _NOTHING_IN_WORDS.fullmatch,
        (),
        ALL_PARTS,
        "leave these rows out, or write empty cells as such",
    ),
    Trace(
        "are the error of a call that failed",
        _FAILED_CALL.match,
        (),
        _ANY_ANSWERS,
        "ask again for these answers, or leave the rows out",
        many=0.0,
    ),
    Trace(
        "are a program's object written as text (as {'content': ...}, [\"...\"] or b'...')",
        _OBJECT.fullmatch,
        (),
        ALL_PARTS,
        "write what it holds alone, unless it is meant",
    ),
    Trace(
        "are written in base64",
        _base64,
        (),
        ALL_PARTS,
        "decode them (base64.b64decode in Python)",
        many=0.0,
    ),
    Trace(
        "hold a placeholder that was not filled in (as {{text}})",
        _place,
        ("{{",),
        ALL_PARTS,
        "fill the template in, or leave these rows out unless they are about templates",
    ),
    Trace(
        "hold turns in tags (as <user>...</user>)",
        _turn_tags,
        tuple(f"</{speaker}>" for speaker in _SPEAKERS),
        ALL_PARTS,
        "they would be trained on as text: write the turns as messages",
    ),
    Trace(
        "hold a placeholder for an image or a sound (as <image>)",
        _MEDIA.search,
        ("<", "["),
        ALL_PARTS,
        "only text is trained on here: leave these rows out",
    ),
    Trace(
        "hold control characters or marks of the direction of writing",
        _CONTROL.search,
        (),
        ALL_PARTS,
        "remove them",
    ),
    ECHO,
    Trace(
        "begin with white space",
        lambda text: text[0].isspace() and text.strip(),
        (),
        SIDES,
        "the pairs would teach the space: strip the texts",
        one_sided=True,
    ),
    Trace(
        "end with white space",
        lambda text: text[-1].isspace() and text.strip(),
        (),
        SIDES,
        "the pairs would teach the space: strip the texts",
        one_sided=True,
    ),
)  # fmt: skip
