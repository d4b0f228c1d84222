"""Generating answers, and asking questions of several turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat.decoding import Decoding, decode
from zephyr_utils.chat.loading import context_length
from zephyr_utils.chat.special_tokens import Conversation
from zephyr_utils.chat.template import encode_prompt
from zephyr_utils.errors import HandbookError


class PromptTooLongError(HandbookError):
    """A prompt that leaves no place for an answer in the model's context."""


@dataclass(frozen=True)
class Answer:
    """What a model said: its text without special tokens, whether it ended by itself, how many
    tokens it took.
    """

    text: str
    ended: bool
    n_tokens: int


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    *,
    max_new_tokens: int = 96,
    temperature: float = 0.7,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int | None = None,
) -> list[Answer]:
    """The next assistant turn of each conversation, in the order given.

    The same arguments give the same answers: the draw neither reads nor moves PyTorch's global
    random state. A sampled answer depends on the seed and on the number of its conversation, not on
    the others nor on the batch size, up to rounding.

    Args:
        temperature: 0 for greedy decoding (always the likeliest token).
        batch_size: answers computed at once; None takes as many as memory is set aside for.

    Raises:
        HandbookError: a conversation ends with an assistant turn, or does not fit into the
            model's context; as `Decoding` and `decode`.
    """
    how = Decoding(max_new_tokens, temperature, top_p, seed)
    prompts = [
        prompt_ids(model, tokenizer, conversation, f"conversation {n}", max_new_tokens)
        for n, conversation in enumerate(conversations)
    ]
    made = decode(
        model,
        prompts,
        how,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        batch_size=batch_size,
    )
    return [
        Answer(answer_text(tokenizer, one.token_ids), one.ended, len(one.token_ids))
        for (one,) in made
    ]


def prompt_ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversation: Conversation,
    where: str,
    max_new_tokens: int,
) -> list[int]:
    """Tokens of a conversation up to where the answer begins.

    Args:
        where: what the conversation is called in a message.

    Raises:
        HandbookError: it ends with an assistant turn.
        PromptTooLongError: with `max_new_tokens` it does not fit into the model's context.
    """
    if not conversation or conversation[-1]["role"] == "assistant":
        raise HandbookError(
            "it must end with a user's turn",
            where=where,
            remedy="leave out the answer to be generated",
        )
    ids = encode_prompt(tokenizer, conversation)
    context = context_length(model.config)
    if context is not None and len(ids) + max_new_tokens > context:
        raise PromptTooLongError(
            f"its {len(ids)} tokens and {max_new_tokens} new ones exceed the model's context of "
            f"{context}",
            where=where,
            remedy="shorten the conversation or lower max_new_tokens",
        )
    return ids


def answer_text(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> str:
    """The text of an answer: without special tokens, and without space around it."""
    text = tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text).strip()


def chat_turns(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Sequence[str]],
    *,
    seed: int = 0,
    **options: Any,
) -> list[list[Answer]]:
    """Put questions of one or more user turns to a model: all first turns, then all second turns,
    and so on.

    Args:
        questions: for each question its user turns; each later turn is asked after the model's own
            earlier answers.
        options: passed to :func:`generate`; turn t is drawn with ``seed + t``.

    Returns:
        For each question, one answer a turn.
    """
    answers: list[list[Answer]] = [[] for _ in questions]
    dialogues: list[list[dict[str, str]]] = [[] for _ in questions]
    for turn in range(max(map(len, questions), default=0)):
        asked = [n for n, turns in enumerate(questions) if turn < len(turns)]
        for n in asked:
            dialogues[n].append({"role": "user", "content": questions[n][turn]})
        replies = generate(
            model, tokenizer, [dialogues[n] for n in asked], seed=seed + turn, **options
        )
        for n, reply in zip(asked, replies, strict=True):
            answers[n].append(reply)
            dialogues[n].append({"role": "assistant", "content": reply.text})
    return answers
