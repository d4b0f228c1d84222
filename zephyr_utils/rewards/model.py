"""A language model with a reward head, from a directory and for a batch of token ids."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from zephyr_utils.chat import (
    TemplateChoice,
    context_length,
    encode,
    load_tokenizer,
    prepare_tokenizer,
)
from zephyr_utils.chat.model_files import check_weights
from zephyr_utils.errors import HandbookError

HEAD = "score.weight"  # (1, hidden): as transformers' decoders call it


class RewardModelError(HandbookError, ValueError):
    """A reward model that cannot be made, read or trusted."""


def load_reward_model(
    directory: str | Path,
    *,
    new_head: bool = False,
    chat_template: TemplateChoice | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A reward model and its tokenizer, in float32, on the GPU where there is one.

    It is transformers' ``AutoModelForSequenceClassification`` with one label, as in TRL's
    RewardTrainer: a linear layer without bias on the last layer's state at the last token that is
    not padding.

    Args:
        directory: of a reward model, or of any model of the same architecture with `new_head`.
        new_head: give a model that has no head one of zeros, so that all rewards are 0 before
            training and the first loss is ln 2 whatever the seed; a head that is there is kept.
        chat_template: as for `chat.prepare_tokenizer`.

    Raises:
        HandbookError: as `chat.load_tokenizer` and `check_weights`; the architecture has no such
            head; weights are missing, or the head is and `new_head` is false.
    """
    tokenizer = load_tokenizer(directory)
    if Path(directory).is_dir():
        check_weights(Path(directory))
    prepare_tokenizer(tokenizer, chat_template)
    try:
        # a head that is missing is drawn from the global random state
        with torch.random.fork_rng(devices=[]), _no_load_report():
            outcome: Any = AutoModelForSequenceClassification.from_pretrained(
                directory,
                num_labels=1,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=Path(directory).is_dir(),
                output_loading_info=True,
            )
    except Exception as error:  # transformers and safetensors each raise errors of their own
        raise RewardModelError(
            f"no reward model can be made of it: {type(error).__name__}: "
            f"{str(error).strip().partition(chr(10))[0]}",
            where=str(directory),
            remedy="name the directory of a causal model or of a reward model, with safetensors",
        ) from error
    model, report = outcome
    missing = set(report["missing_keys"])
    if missing == {HEAD} and new_head:
        torch.nn.init.zeros_(model.score.weight)
    elif missing == {HEAD}:
        raise RewardModelError(
            "this model has no reward head, and one made at random would score at random",
            where=str(directory),
            remedy="train one (rewards.train_reward_model), or name the directory that it left",
        )
    elif missing:
        raise RewardModelError(
            f"the weights lack {len(missing)} tensors, {min(missing)} among them",
            where=str(directory),
            remedy="make the directory again, or take a decoder whose head is called `score`",
        )
    model.config.pad_token_id = tokenizer.pad_token_id  # by which the last token is found
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), tokenizer


@contextmanager
def _no_load_report() -> Iterator[None]:
    """transformers prints a table of what is missing, which is said here in an error."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def batch_rewards(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """The reward of each row of token ids, (rows,), in float32: a forward pass, with gradients
    where they are on.
    """
    pad = int(model.config.pad_token_id or 0)
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    mask = torch.arange(width) < torch.tensor([[len(row)] for row in rows])
    outputs = model(
        input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False
    )
    return outputs.logits[:, 0].float()


def reward_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Any],
) -> list[list[int]]:
    """Token ids of conversations that end with an answer.

    Raises:
        RewardModelError: a conversation without an answer, or one that is longer than the model's
            context.
    """
    context = context_length(model.config)
    rows = []
    for n, conversation in enumerate(conversations):
        if not conversation or conversation[-1]["role"] != "assistant":
            raise RewardModelError(
                "it must end with an answer of the assistant",
                where=f"conversation {n}",
                remedy="a reward is given to an answer: add it as the last message",
            )
        ids = encode(tokenizer, conversation)[0]
        if context is not None and len(ids) > context:
            raise RewardModelError(
                f"its {len(ids)} tokens exceed the model's context of {context}",
                where=f"conversation {n}",
                remedy="set such rows aside first (training.fit_pairs counts them); a cut answer "
                "would be scored for what it does not say",
            )
        rows.append(ids)
    return rows
