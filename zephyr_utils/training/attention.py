"""Which attention a training takes: what the recipe asks for, else FlashAttention where rows are
packed and it is installed.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import is_flash_attn_2_available

from zephyr_utils.errors import HandbookError
from zephyr_utils.recipes import Stage

FLASH = "flash_attention_2"
FLEX = "flex_attention"


def choose_attention(stage: Stage, recipe: Mapping[str, Any]) -> str | None:
    """The name for `set_attn_implementation`; None leaves the library's own choice, which is
    PyTorch's sdpa.

    On padded rows sdpa has FlashAttention's kernels itself. On packed ones it is handed a mask of
    every token with every other, which those kernels do not take; FlashAttention's own package is
    handed the rows' lengths instead. Pairs that share their prompt need the mask: sdpa, or
    ``attn_implementation: flex_attention`` in the recipe, which passes over its empty blocks.
    """
    if asked := recipe.get("attn_implementation"):
        return str(asked)
    half = recipe.get("dtype") in ("bfloat16", "float16")
    return FLASH if stage == "dsft" and recipe.get("packing") and half and _flash_runs() else None


def _flash_runs() -> bool:
    return (
        torch.cuda.is_available()
        and torch.cuda.get_device_capability() >= (8, 0)  # a T4, 7.5, has no kernels in it
        and is_flash_attn_2_available()
    )


def set_attention(model: PreTrainedModel, stage: Stage, recipe: Mapping[str, Any]) -> None:
    """Give `model` the attention of `choose_attention`.

    Flex attention is refused on a CPU. It has no backward pass there, and its forward pass is
    wrong in PyTorch 2.13 on processors without AVX-512 where a head has 8 or 16 dimensions: the
    kernel for the last keys of a row (8 where a block has 16) reads and writes a whole block, and
    what it writes beyond the scores overwrites the maxima of the softmax. Kernels that were
    compiled for another instruction set are also taken from Inductor's cache, and give noise.

    Raises:
        HandbookError: the recipe asks for one that is not installed or does not work here.
    """
    attention = choose_attention(stage, recipe)
    if attention is None:
        return
    if attention == FLEX and not torch.cuda.is_available():
        raise HandbookError(
            f"attention `{FLEX}` cannot train on a CPU: PyTorch has no backward pass for it there",
            where="attn_implementation of the recipe",
            remedy="leave it out: sdpa is part of PyTorch and shares prompts as well",
        )
    try:
        model.set_attn_implementation(attention)
    except (ImportError, ValueError) as error:
        raise HandbookError(
            f"attention `{attention}` is not available: {str(error).strip().partition(chr(10))[0]}",
            where="attn_implementation of the recipe",
            remedy="install what it needs, or leave it out: sdpa is part of PyTorch",
        ) from error
