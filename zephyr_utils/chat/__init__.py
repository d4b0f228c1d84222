"""Talking to a model: the chat template and its tokens (`template`), loading and generation
(`generation`).
"""

from zephyr_utils.chat.generation import Answer, chat_turns, generate, load_model
from zephyr_utils.chat.template import (
    ZEPHYR_TEMPLATE,
    Message,
    TokenView,
    encode,
    prepare_tokenizer,
    render,
    token_view,
    token_view_html,
)

__all__ = [
    "ZEPHYR_TEMPLATE",
    "Answer",
    "Message",
    "TokenView",
    "chat_turns",
    "encode",
    "generate",
    "load_model",
    "prepare_tokenizer",
    "render",
    "token_view",
    "token_view_html",
]
