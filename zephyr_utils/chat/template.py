"""Conversations as tokens: Zephyr's chat template, what to train on, and the view of both.

Every conversation becomes tokens in one place, ``apply_chat_template``. Rendering to text first and
tokenising the text afterwards would let a tokenizer such as Mistral's put a ``<s>`` in front that
training never saw (or a second one, where the template has its own). Special tokens are those that
the template writes; text in a content that looks like one stays text (``special_tokens``). Readers
import all of this from ``zephyr_utils.chat``.
"""

import html
from typing import Any, Literal, NamedTuple

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from zephyr_utils.chat.special_tokens import (
    Conversation,
    encode_contents_as_text,
    special_tokens_in,
)
from zephyr_utils.data.fields import check_text
from zephyr_utils.errors import HandbookError

# Renders byte for byte as the template of Zephyr-7B does. What is ours are the generation marks:
# they tell transformers which tokens the assistant writes. The end-of-sequence token is inside
# them, so that a model trained on answers alone learns to stop; the line break after it stands
# outside. The role markers are plain text, not special tokens, so no embedding has to be added.
ZEPHYR_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{{- '<|assistant|>\\n' -}}
{%- generation -%}
{{- message['content'] + eos_token -}}
{%- endgeneration -%}
{{- '\\n' -}}
{%- elif message['role'] in ['system', 'user'] -%}
{{- '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' -}}
{%- else -%}
{{- raise_exception('unknown role: ' + message['role']) -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>\\n' -}}
{%- endif -%}
"""


TemplateChoice = Literal["keep", "zephyr"]


def prepare_tokenizer(
    tokenizer: PreTrainedTokenizerBase, template: TemplateChoice | None = None
) -> str:
    """Give a model's tokenizer a chat template and a token to pad with; nothing is added to its
    vocabulary.

    A chat model answers in the template that it was trained with, so its own is kept unless another
    is asked for; a base model, which has none, gets Zephyr's.

    Padding, in this order: the pad token it has; ``<pad>`` if the vocabulary holds one; ``<unk>``
    (Mistral, where bytes stand in for unknown characters, so no text ever contains it); the
    end-of-sequence token. The last does no harm here, because labels are masked by position and not
    by token id; a collator that masks by id would delete every real end of an answer and leave a
    model that never stops.

    Args:
        template: ``zephyr`` puts Zephyr's in place of its own; ``keep`` insists on its own; None
            keeps its own where it has one.

    Returns:
        One sentence that says what was done. The tokenizer is changed in place.

    Raises:
        HandbookError: the tokenizer has no end-of-sequence token, without which no answer can end;
            it has no template to keep.
    """
    eos = tokenizer.eos_token
    if eos is None:
        raise HandbookError(
            "this tokenizer has no end-of-sequence token, so an answer could never end",
            where=str(tokenizer.name_or_path),
            remedy="set tokenizer.eos_token to the token that ended the texts in pretraining",
        )
    kept = bool(tokenizer.chat_template) and template != "zephyr"
    if template == "keep" and not kept:
        raise HandbookError(
            "this model has no chat template that could be kept",
            where=str(tokenizer.name_or_path),
            remedy="--chat-template zephyr, or save the template that the model was trained with "
            "as chat_template.jinja in its directory",
        )
    if not kept:
        tokenizer.chat_template = ZEPHYR_TEMPLATE
    own = [
        tokenizer.pad_token,
        "<pad>" if "<pad>" in tokenizer.get_vocab() else None,
        tokenizer.unk_token,
    ]
    pad = next((token for token in own if token not in (None, eos)), eos)
    tokenizer.pad_token = pad
    shared = " (its end-of-sequence token, for want of one of its own)" if pad == eos else ""
    which = "Its own chat template is kept" if kept else "Chat template set to Zephyr's"
    return f"{which}; turns end with {eos}; padding uses {pad}{shared}."


def render(
    tokenizer: PreTrainedTokenizerBase, messages: Conversation, generation_prompt: bool = False
) -> str:
    """The conversation as the model reads it; with ``generation_prompt``, ready for an answer to
    follow.

    Raises:
        HandbookError: the tokenizer has no chat template, its template refuses the conversation, or
            a content holds half of a surrogate pair, which has no tokens.
    """
    return _apply_template(
        tokenizer, messages, tokenize=False, add_generation_prompt=generation_prompt
    )


def encode(
    tokenizer: PreTrainedTokenizerBase, messages: Conversation, assistant_only: bool = False
) -> tuple[list[int], list[int]]:
    """Tokens of a conversation and the labels to train on.

    Args:
        assistant_only: let only the assistant's words and the tokens that end its turns count. The
            default lets every token count, as in the training of Zephyr.

    Returns:
        (input_ids, labels), of equal length; labels are token ids, -100 where a token does not
        count. They are not shifted: the loss does that.

    Raises:
        HandbookError: as `render`.
    """
    if special_tokens_in(tokenizer, messages):
        render(tokenizer, messages)  # for its errors
        ids, _, assistant = encode_contents_as_text(tokenizer, messages)
    else:
        encoding = _apply_template(
            tokenizer, messages, return_dict=True, return_assistant_tokens_mask=assistant_only
        )
        ids, assistant = list(encoding["input_ids"]), encoding.get("assistant_masks", [])
    if not assistant_only:
        return ids, list(ids)
    return ids, [token if counts else -100 for token, counts in zip(ids, assistant, strict=True)]


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: Conversation) -> list[int]:
    """Tokens of a conversation up to where the assistant's next answer begins.

    Raises:
        HandbookError: as `render`.
    """
    if special_tokens_in(tokenizer, messages):
        render(tokenizer, messages)  # for its errors
        return encode_contents_as_text(tokenizer, messages, add_generation_prompt=True).ids
    encoding = _apply_template(tokenizer, messages, return_dict=True, add_generation_prompt=True)
    return list(encoding["input_ids"])


def _apply_template(
    tokenizer: PreTrainedTokenizerBase, messages: Conversation, **options: Any
) -> Any:
    """``tokenizer.apply_chat_template`` with errors that a reader can act on."""
    if not getattr(tokenizer, "chat_template", None):
        raise HandbookError(
            "this tokenizer has no chat template",
            where=str(tokenizer.name_or_path),
            remedy="call chat.prepare_tokenizer(tokenizer) first",
        )
    for number, message in enumerate(messages, start=1):
        if isinstance(content := message.get("content"), str):
            check_text(content, f"message {number}, field content")
    try:
        return tokenizer.apply_chat_template(list(messages), **options)  # type: ignore[arg-type]
    except (TemplateError, ValueError) as error:
        raise HandbookError(
            f"the chat template refuses this conversation: {error}",
            remedy="a conversation has at least one message, each with a role of system, user or "
            "assistant",
        ) from error


# --- the token view -------------------------------------------------------------------------------


class TokenView(NamedTuple):
    """One token: the text it stands for, its id, whose turn it is in, whether it counts in the
    loss.
    """

    text: str
    id: int
    role: str
    in_loss: bool


def token_view(
    tokenizer: PreTrainedTokenizerBase, messages: Conversation, assistant_only: bool = True
) -> list[TokenView]:
    """The conversation token by token. The texts put together are the rendered conversation.

    A character that takes several tokens (an accent, an emoji) is shown with the first of them, the
    others are empty.
    """
    rendered = render(tokenizer, messages)
    ids, labels = encode(tokenizer, messages, assistant_only)
    if special_tokens_in(tokenizer, messages):
        offsets = encode_contents_as_text(tokenizer, messages).offsets
    else:
        asked = {"return_offsets_mapping": True}
        encoding = _apply_template(tokenizer, messages, return_dict=True, tokenizer_kwargs=asked)
        offsets = encoding["offset_mapping"]
    turn_ends = [len(render(tokenizer, messages[: n + 1])) for n in range(len(messages))]
    views, turn, shown = [], 0, 0
    for token, label, (start, end) in zip(ids, labels, offsets, strict=True):
        while start >= turn_ends[turn] and turn + 1 < len(messages):
            turn += 1
        text = rendered[max(start, shown) : end]
        shown = max(end, shown)
        views.append(TokenView(text, token, messages[turn]["role"], label != -100))
    return views


_ROLE_COLOURS = {"system": "#e3e3e3", "user": "#d7e9f7", "assistant": "#fde7c2"}


def token_view_html(views: list[TokenView]) -> str:
    """The token view as HTML: a labelled block a turn, a box a token, a thick underline where the
    loss counts.

    Colours only repeat what the labels and the underline say. Model text is escaped.
    """
    blocks: list[tuple[str, list[str]]] = []
    last_role = None
    for view in views:
        # A turn starts with its marker, so the same role twice running still reads as one block:
        # rare, and harmless.
        if view.role != last_role:
            blocks.append((view.role, []))
            last_role = view.role
        blocks[-1][1].append(_token_html(view))
    n_counted = sum(view.in_loss for view in views)
    parts = [
        f'<div style="background:{_ROLE_COLOURS.get(role, "#ffffff")};padding:.3em '
        f'.6em;margin:.2em 0">'
        f'<span style="font:bold .75em '
        f'sans-serif">{html.escape(role)}</span><br>{"".join(tokens)}</div>'
        for role, tokens in blocks
    ]
    return (
        '<div class="token-view" style="font-family:monospace;line-height:1.9;color:#1a1a1a">'
        + "".join(parts)
        + '<div style="font:.8em sans-serif;color:#1a1a1a;background:#ffffff;padding:.3em .6em">'
        f"{n_counted} of {len(views)} tokens count in the loss: those underlined.</div></div>"
    )


def _token_html(view: TokenView) -> str:
    # A visible mark for what cannot be seen: a line break, or a further piece of the character
    # before.
    text = html.escape(view.text).replace("\n", "↵") if view.text else "·"
    underline = "border-bottom:3px solid #1a1a1a;" if view.in_loss else ""
    spoken = "counts in the loss" if view.in_loss else "does not count in the loss"
    return (
        f'<span title="token {view.id}, {spoken}" style="border:1px solid #9a9a9a;{underline}'
        f'white-space:pre">{text}</span>{"<br>" if view.text.endswith(chr(10)) else "<wbr>"}'
    )
