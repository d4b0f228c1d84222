"""A conversation token by token, and which of its tokens count in the loss: all of them, or the
assistant's alone.
"""

from collections.abc import Mapping
from typing import Any

import traitlets

from zephyr_utils.chat import Message, token_view
from zephyr_utils.explorers.common import Explorer, script


class ChatTokens(Explorer):
    """The token view of a chat template, with a switch for the loss mask.

    Args:
        tokenizer: with a chat template (`chat.prepare_tokenizer`).
        conversations: name -> messages; the reader picks one by its name.

    Attributes:
        conversations: ``[{name, tokens: [{text, id, role, assistant}]}]``; ``assistant`` says
            whether the token counts when only the assistant's words do. The texts put together are
            the rendered conversation.
        mask: ``all`` (as Zephyr was trained) or ``assistant``: the switch as it stands at the
            start.

    Raises:
        HandbookError: the tokenizer has no chat template, or it refuses a conversation.
    """

    _esm = script("token_view")

    conversations: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    mask = traitlets.Enum(("all", "assistant"), default_value="all").tag(sync=True)

    def __init__(
        self, tokenizer, conversations: Mapping[str, list[Message]], **options: Any
    ) -> None:
        shown = [
            {"name": name, "tokens": _tokens(tokenizer, messages)}
            for name, messages in conversations.items()
        ]
        super().__init__(conversations=shown, **options)


def _tokens(tokenizer, messages: list[Message]) -> list[dict[str, Any]]:
    return [
        {"text": view.text, "id": view.id, "role": view.role, "assistant": view.in_loss}
        for view in token_view(tokenizer, messages, assistant_only=True)
    ]
