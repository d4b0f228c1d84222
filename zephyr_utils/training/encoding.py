"""Rows as the token ids that TRL trains on, with special tokens in contents encoded as text.

TRL would tokenise the rows itself and take ``</s>`` in an answer for the end of a turn. For rows
without such text the ids are TRL's own.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow.compute as pc
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from zephyr_utils.chat import encode, encode_prompt


def encode_dialogue(
    row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, assistant_only: bool = False
) -> dict[str, list[int]]:
    """``input_ids`` and ``labels`` of a row with ``messages``, as `chat.encode` gives them."""
    ids, labels = encode(tokenizer, row["messages"], assistant_only)
    return {"input_ids": ids, "labels": labels}


def encode_pair(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, list[int]]:
    """``prompt_ids``, ``chosen_ids`` and ``rejected_ids`` of a row with the messages of each.

    The answers begin where prompt and whole conversation part for the first time: a line break at
    the end of a prompt may merge with one at the beginning of an answer.
    """
    prompt = encode_prompt(tokenizer, row["prompt"])
    chosen, rejected = (
        encode(tokenizer, [*row["prompt"], *row[side]])[0] for side in ("chosen", "rejected")
    )
    begins = min(common_prefix(prompt, chosen), common_prefix(prompt, rejected))
    return {
        "prompt_ids": prompt[:begins],
        "chosen_ids": chosen[begins:],
        "rejected_ids": rejected[begins:],
    }


def common_prefix(ids: list[int], others: list[int]) -> int:
    """How many tokens two texts begin with that are the same."""
    pairs = zip(ids, others, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(ids), len(others)))


def map_rows(
    dataset: Dataset,
    encode_row: Callable[..., dict[str, list[int]]],
    workers: int | None,
    **settings: Any,
) -> Dataset:
    """`dataset` with the columns of `encode_row`, which is given `settings`.

    Of several processes that train together the first encodes, by as many `workers`, and the others
    read what it has cached.
    """
    with PartialState().main_process_first():
        return dataset.map(encode_row, fn_kwargs=settings, num_proc=workers)


def row_lengths(dataset: Dataset, *columns: str) -> list[int]:
    """Tokens of each row: the sum over columns of token ids. `dataset` comes from `map_rows`."""
    lengths = [pc.list_value_length(dataset.data.column(column)) for column in columns]
    total = lengths[0]
    for further in lengths[1:]:
        total = pc.add(total, further)
    return total.to_pylist()
