"""Models and tokenizers from a directory or the Hub: safetensors only, and no code but the
library's.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from zephyr_utils.chat.model_files import (
    check_quantised,
    check_settings,
    check_tokenizer_files,
    check_weights,
)
from zephyr_utils.errors import HandbookError

# a bar for the loading of a small model is noise, in a notebook as in a terminal
disable_progress_bar()


def load_model(
    directory: str | Path, dtype: torch.dtype | str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model and its tokenizer from a directory, ready to generate, on the GPU where there is one.

    Args:
        dtype: of the weights; None keeps the one they were saved in.

    Raises:
        HandbookError: there is no such directory, or it holds no whole model: an adapter without
            its base or beside it, weights that are missing, cut short, quantised or not
            safetensors, code of its own, no tokenizer.
    """
    if not Path(directory).is_dir():
        raise HandbookError(
            "there is no such directory", where=str(directory), remedy="check the path"
        )
    model, tokenizer = load_pretrained(directory, dtype or "auto")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), tokenizer  # type: ignore[arg-type]


def load_pretrained(
    source: str | Path, dtype: torch.dtype | str, revision: str | None = None, **options: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model and its tokenizer from a directory or a Hub address, where `from_pretrained` puts
    them.

    Args:
        dtype: of the weights, or ``"auto"`` for the one they were saved in.
        revision: of a Hub address.
        options: handed to the model's `from_pretrained`, such as ``quantization_config``.

    Raises:
        HandbookError: as `load_model`.
    """
    load_config(source, revision)  # for its errors
    if Path(source).is_dir():
        check_weights(Path(source))
    tokenizer = load_tokenizer(source, revision)
    try:
        outcome: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **_where(source, revision),
            **options,
        )
    # transformers and safetensors each raise errors of their own
    except Exception as error:
        raise _cannot_be_loaded("model", source, error) from error
    model, report = outcome
    if missing := report["missing_keys"]:
        # transformers fills these with random numbers and goes on.
        raise HandbookError(
            f"the weights file lacks {len(missing)} tensors, {min(missing)} among them",
            where=str(source),
            remedy="make the directory again: it was not written to the end, or its config.json is "
            "another model's",
        )
    return model, tokenizer


def load_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model directory or a Hub address.

    Raises:
        HandbookError: as `load_model`.
    """
    if Path(source).is_dir():
        check_settings(Path(source))
        check_tokenizer_files(Path(source))
    try:
        return AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, **_where(source, revision)
        )
    except Exception as error:
        raise _cannot_be_loaded("tokenizer", source, error) from error


def load_config(source: str | Path, revision: str | None = None) -> PreTrainedConfig:
    """The configuration of a model directory or a Hub address, without its weights.

    Raises:
        HandbookError: as `load_model`.
    """
    if Path(source).is_dir():
        check_settings(Path(source))
    try:
        config = AutoConfig.from_pretrained(
            source, trust_remote_code=False, **_where(source, revision)
        )
    except Exception as error:
        raise _cannot_be_loaded("configuration", source, error) from error
    check_quantised(getattr(config, "quantization_config", None), source)
    return config


def context_length(config: PreTrainedConfig) -> int | None:
    """Tokens that a model of this configuration takes at most; None if it names no limit."""
    # of a model for texts and images the limit is that of its text part
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def _where(source: str | Path, revision: str | None) -> dict[str, Any]:
    if Path(source).is_dir():
        return {"local_files_only": True}
    return {"revision": revision} if revision else {}


def _cannot_be_loaded(part: str, source: str | Path, error: Exception) -> HandbookError:
    if "trust_remote_code" in str(error):
        return HandbookError(
            f"its {part} wants to run Python code of its own, and no code from a model is run here",
            where=str(source),
            remedy="use a model whose architecture is part of transformers",
        )
    reason = str(error).strip().partition("\n")[0]
    return HandbookError(
        f"its {part} cannot be loaded: {type(error).__name__}: {reason}",
        where=str(source),
        remedy="make the directory again; it needs config.json, safetensors weights and a tokenizer"
        if Path(source).is_dir()
        else "check the network and your access to the model, or name a directory",
    )
