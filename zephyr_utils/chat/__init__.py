"""Talking to a model: the chat template and its tokens (`template`), text that looks like a special
token (`special_tokens`), loading (`loading`) and generation (`generation`).
"""

from zephyr_utils.chat.generation import Answer, chat_turns, generate
from zephyr_utils.chat.loading import context_length, load_model, load_pretrained, load_tokenizer
from zephyr_utils.chat.special_tokens import Conversation, special_tokens_in
from zephyr_utils.chat.template import (
    ZEPHYR_TEMPLATE,
    TemplateChoice,
    TokenView,
    encode,
    encode_prompt,
    prepare_tokenizer,
    render,
    token_view,
    token_view_html,
)
from zephyr_utils.data.types import Message

__all__ = [
    "ZEPHYR_TEMPLATE",
    "Answer",
    "Conversation",
    "Message",
    "TemplateChoice",
    "TokenView",
    "chat_turns",
    "context_length",
    "encode",
    "encode_prompt",
    "generate",
    "load_model",
    "load_pretrained",
    "load_tokenizer",
    "prepare_tokenizer",
    "render",
    "special_tokens_in",
    "token_view",
    "token_view_html",
]
