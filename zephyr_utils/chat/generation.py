"""Generating answers, and asking questions of several turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat.special_tokens import Conversation
from zephyr_utils.chat.template import encode_prompt
from zephyr_utils.errors import HandbookError


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
    batch_size: int = 64,
) -> list[Answer]:
    """The next assistant turn of each conversation, in the order given.

    The same arguments give the same answers: the draw neither reads nor moves PyTorch's global
    random state. Sampled answers do depend on the batch size and on the other conversations, as the
    draws are shared.

    Args:
        temperature: 0 for greedy decoding (always the likeliest token).

    Raises:
        HandbookError: a conversation ends with an assistant turn, or does not fit into the
            model's context.
    """
    prompts = [
        _prompt_ids(model, tokenizer, c, n, max_new_tokens) for n, c in enumerate(conversations)
    ]
    sampling: dict[str, Any] = (
        # top_k is set, since transformers would take one from the model's own generation config
        # otherwise.
        {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
        if temperature > 0
        else {"do_sample": False}
    )
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        repetition_penalty=1.0,  # set for the same reason
        use_cache=True,
        **sampling,
    )
    # Conversations of like length share a batch, so that little of it is padding.
    order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))
    answers: list[Answer | None] = [None] * len(prompts)
    was_training = model.training
    model.eval()
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                replies = _generate_batch(model, tokenizer, [prompts[n] for n in batch], config)
                for n, answer in zip(batch, replies, strict=True):
                    answers[n] = answer
    finally:
        model.train(was_training)
    return cast("list[Answer]", answers)  # each was filled in


def _prompt_ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversation: Conversation,
    number: int,
    max_new_tokens: int,
) -> list[int]:
    where = f"conversation {number}"
    if not conversation or conversation[-1]["role"] == "assistant":
        raise HandbookError(
            "it must end with a user's turn",
            where=where,
            remedy="leave out the answer to be generated",
        )
    ids = encode_prompt(tokenizer, conversation)
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and len(ids) + max_new_tokens > context:
        raise HandbookError(
            f"its {len(ids)} tokens and {max_new_tokens} new ones exceed the model's context of "
            f"{context}",
            where=where,
            remedy="shorten the conversation or lower max_new_tokens",
        )
    return ids


def _generate_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    config: GenerationConfig,
) -> list[Answer]:
    width = max(map(len, prompts))
    # Padded on the left: the answer has to follow the prompt at once.
    ids = torch.tensor(
        [[tokenizer.pad_token_id] * (width - len(p)) + p for p in prompts], device=model.device
    )
    mask = torch.tensor(
        [[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device
    )
    # (batch, width + new)
    generate_ids: Any = model.generate
    output = generate_ids(input_ids=ids, attention_mask=mask, generation_config=config)
    answers = []
    for new in output[:, width:].tolist():
        # After its end a row is filled with padding, which may be the same token: cut at the first
        # end.
        ended = tokenizer.eos_token_id in new
        kept = new[: new.index(tokenizer.eos_token_id) + 1] if ended else new
        text = str(
            tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )
        answers.append(Answer(text.strip(), ended, len(kept)))
    return answers


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
