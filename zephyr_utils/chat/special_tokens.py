"""Special tokens in contents: what a user or a model writes is text, even where it looks like one.

A tokenizer takes ``</s>`` for the end of a turn wherever it occurs, and ``<s>`` is also HTML for
text that is struck out. An answer that explains it would teach the model to stop in mid-answer, and
a user who types ``</s>`` and the marker of a turn would forge that turn. Here a conversation is
encoded so that the tokens which the template writes are the only special ones.

Contents without such text, which are nearly all, never come here: `template.encode` gives them to
``apply_chat_template`` as they are.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from zephyr_utils.errors import HandbookError

Conversation = Sequence[Mapping[str, Any]]  # messages, each with `role` and `content`

# Stand-ins are runs of characters for private use (planes 15 and 16), none of which the contents
# hold.
PRIVATE_USE = range(0xF0000, 0x110000)


class EncodedChat(NamedTuple):
    """A conversation as tokens.

    Attributes:
        ids: token ids.
        offsets: where each token begins and ends in the rendered conversation, in characters.
        assistant: whether the assistant wrote the token, by the template's generation marks.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]
    assistant: list[bool]


def special_tokens_in(tokenizer: PreTrainedTokenizerBase, messages: Conversation) -> dict[str, int]:
    """The special tokens that are in the contents of `messages` as text: token -> how often."""
    pattern = _pattern(control_tokens(tokenizer))
    counts: dict[str, int] = {}
    for message in messages:
        for match in pattern.findall(message.get("content") or ""):
            counts[match] = counts.get(match, 0) + 1
    return counts


State = tuple[Any, int]  # chat template and size: what decides which tokens are special
_CONTROL_TOKENS: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[State, tuple[str, ...]]] = (
    WeakKeyDictionary()
)


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """What only the template may write: the tokenizer's special tokens, and added tokens that the
    chat template writes around contents (``<|user|>`` in some vocabularies). Longest first.
    """
    state = (tokenizer.chat_template, len(tokenizer))
    known = _CONTROL_TOKENS.get(tokenizer)
    if known is None or known[0] != state:
        written = _skeleton(tokenizer)
        added = tokenizer.added_tokens_decoder.values()
        tokens = {
            token.content
            for token in added
            if token.special or (token.content.strip() and token.content in written)
        }
        known = (state, tuple(sorted(tokens, key=lambda token: (-len(token), token))))
        _CONTROL_TOKENS[tokenizer] = known
    return known[1]


def _skeleton(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the template writes around contents that are empty."""
    written = ""
    for roles in (("system",), ("user", "assistant")):
        messages = [{"role": role, "content": ""} for role in roles]
        try:
            written += str(tokenizer.apply_chat_template(messages, tokenize=False))
        except Exception:  # a template may refuse a role, each with an error of its own
            continue
    return written


@cache
def _pattern(tokens: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tokens)) or "(?!)")


def encode_contents_as_text(
    tokenizer: PreTrainedTokenizerBase,
    messages: Conversation,
    add_generation_prompt: bool = False,
) -> EncodedChat:
    """The tokens of a conversation of which no content makes a special token.

    The whole conversation is encoded at once, as ``apply_chat_template`` does, by a copy of the
    tokenizer in which the special tokens have other names, as long as their own. The template's
    tokens are given these names; what is in contents keeps its own and is ordinary text.

    Raises:
        HandbookError: the tokenizer cannot be copied: one that is not of the `tokenizers` library.
    """
    contents = "".join(message.get("content") or "" for message in messages)
    tokens = control_tokens(tokenizer)
    pattern, first = _pattern(tokens), _unused_characters(contents, 2 * len(tokens))
    names = {token: chr(first + n) * len(token) for n, token in enumerate(tokens)}
    guards = {token: chr(first + len(tokens) + n) * len(token) for n, token in enumerate(tokens)}
    guarded = [
        {**message, "content": pattern.sub(lambda match: guards[match[0]], message["content"])}
        for message in messages
    ]
    variables: dict[str, Any] = dict(tokenizer.special_tokens_map)
    outcome: Any = render_jinja_template(
        conversations=[guarded],
        chat_template=tokenizer.chat_template,
        return_assistant_tokens_mask=True,
        add_generation_prompt=add_generation_prompt,
        **variables,
    )
    rendered, generated = outcome
    text = pattern.sub(lambda match: names[match[0]], rendered[0])
    for token, guard in guards.items():
        text = text.replace(guard, token)
    renamed, ids = _renamed(tokenizer, tokens, first)
    encoding = renamed.encode(text, add_special_tokens=False)
    assistant = [False] * len(encoding.ids)
    for begin, end in generated[0] if generated else ():
        here, last = encoding.char_to_token(begin), encoding.char_to_token(end - 1)
        if here is not None:
            last = len(assistant) - 1 if last is None else last
            assistant[here : last + 1] = [True] * (last + 1 - here)
    return EncodedChat(
        [ids.get(number, number) for number in encoding.ids], encoding.offsets, assistant
    )


def _unused_characters(text: str, count: int) -> int:
    """The first of `count` characters for private use that follow each other and that `text` does
    not hold.
    """
    used = sorted(ord(character) for character in set(text) if ord(character) in PRIVATE_USE)
    first = PRIVATE_USE.start
    for code in [*used, PRIVATE_USE.stop]:
        if code - first >= count:
            return first
        first = code + 1
    raise HandbookError(
        "its contents hold so many private-use characters that none is left to mark special tokens",
        where="a conversation with special tokens in its contents",
        remedy="leave the row out",
    )


Copy = tuple[Tokenizer, dict[int, int]]
_COPIES: WeakKeyDictionary[PreTrainedTokenizerBase, dict[tuple[tuple[str, ...], int], Copy]] = (
    WeakKeyDictionary()
)


def _renamed(tokenizer: PreTrainedTokenizerBase, tokens: tuple[str, ...], first: int) -> Copy:
    """A copy whose special tokens are named by private-use characters, and its ids -> the
    tokenizer's where they differ.
    """
    copies = _COPIES.setdefault(tokenizer, {})
    if (tokens, first) not in copies:
        copies[tokens, first] = _rename(tokenizer, tokens, first)
    return copies[tokens, first]


def _rename(tokenizer: PreTrainedTokenizerBase, tokens: tuple[str, ...], first: int) -> Copy:
    name = {token: chr(first + n) * len(token) for n, token in enumerate(tokens)}
    try:
        whole = json.loads(tokenizer.backend_tokenizer.to_str())
        model = whole["model"]
        if isinstance(model["vocab"], dict):
            model["vocab"] = {name.get(token, token): n for token, n in model["vocab"].items()}
        else:  # Unigram: pieces with their scores
            model["vocab"] = [[name.get(piece, piece), score] for piece, score in model["vocab"]]
        if model.get("unk_token") in name:
            model["unk_token"] = name[model["unk_token"]]
        if "merges" in model:
            model["merges"] = [merge for merge in model["merges"] if not _makes(merge, name)]
        for added in whole["added_tokens"]:
            added["content"] = name.get(added["content"], added["content"])
        whole |= {"truncation": None, "padding": None}
        copy = Tokenizer.from_str(json.dumps(whole))
    except Exception as error:  # tokenizers raises plain exceptions
        raise HandbookError(
            "contents hold special tokens, and this tokenizer cannot read them as text: "
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            where=str(tokenizer.name_or_path),
            remedy="leave out the rows that hold "
            + (", ".join(tokens[:5]) or "them")
            + ", or use a tokenizer that is saved as tokenizer.json",
        ) from error
    own = {name.get(t.content, t.content): n for n, t in tokenizer.added_tokens_decoder.items()}
    ids = {copy.token_to_id(token): token_id for token, token_id in own.items()}
    return copy, {number: own_id for number, own_id in ids.items() if number is not None}


def _makes(merge: list[str] | str, names: dict[str, str]) -> bool:
    """Whether a merge of BPE reads or gives a special token."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return bool({left, right, left + right} & names.keys())
