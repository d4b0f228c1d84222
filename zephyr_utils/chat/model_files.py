"""What a model's directory has to hold, checked by its files' names before transformers reads them,
whose own messages say neither what is wrong nor what to do.
"""

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from zephyr_utils.errors import HandbookError

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
_SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json")
# What a checkpoint of a training holds beside its weights.
_NO_WEIGHTS = {"training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt"}
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_OTHER_WEIGHTS = (".h5", ".msgpack", ".onnx", ".gguf", ".npz")
# Any of these is a vocabulary.
_VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
# What is read beside a vocabulary.
_OF_TOKENIZER = (
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "special_tokens_map.json",
)
_POINTER = b"version https://git-lfs"  # what `git clone` leaves without Git LFS
_POINTER_BYTES = 1024  # at most
_METHODS = {
    "awq": "AWQ",
    "bitsandbytes": "bitsandbytes, 4 or 8 bits",
    "fbgemm_fp8": "float8",
    "fp8": "float8",
    "gptq": "GPTQ",
}


def check_model_directory(directory: Path) -> None:
    """Refuse a directory whose model could not be loaded, by its files.

    Raises:
        HandbookError: as `check_settings`, `check_tokenizer_files` and `check_weights`; the weights
            are quantised.
    """
    check_settings(directory)
    check_quantised(_settings(directory / "config.json").get("quantization_config"), directory)
    check_weights(directory)
    check_tokenizer_files(directory)


def check_settings(directory: Path) -> None:
    """Refuse a directory without a model, with an adapter, with code of its own, or with settings
    that Git LFS has not fetched.

    Raises:
        HandbookError: one of these.
    """
    adapter = (directory / "adapter_config.json").is_file()
    if not (directory / "config.json").is_file():
        if adapter:
            raise HandbookError(
                "this directory holds a LoRA adapter alone, without the model it belongs to",
                where=str(directory),
                remedy="name the directory of the merged model, or merge the adapter into its base "
                "first: peft.AutoPeftModelForCausalLM.from_pretrained(ADAPTER).merge_and_unload()"
                ".save_pretrained(DIR), and the tokenizer saved beside it",
            )
        raise HandbookError(
            "this directory holds no model: it has no config.json",
            where=str(directory),
            remedy="name a directory that save_pretrained wrote, or run the stage that makes it",
        )
    if adapter:
        raise HandbookError(
            "this directory holds a model and a LoRA adapter, which transformers would apply "
            "silently",
            where=str(directory),
            remedy="merge the adapter into the model, or move adapter_config.json and the "
            "adapter's weights to a folder of their own",
        )
    _refuse_pointers(directory, _SETTINGS)
    for name in ("config.json", "tokenizer_config.json"):
        if _settings(directory / name).get("auto_map"):
            raise HandbookError(
                f"this model wants to run Python code of its own (`auto_map` in {name}), and no "
                "code from a model's directory is run here",
                where=str(directory),
                remedy="use a model whose architecture is part of transformers; where it is, "
                "remove `auto_map` from the file",
            )


def check_quantised(settings: Any, source: str | Path) -> None:
    """Refuse a model that was saved quantised.

    Args:
        settings: ``quantization_config`` of its configuration; None for none.

    Raises:
        HandbookError: it is quantised; the method is named.
    """
    if not settings:
        return
    # a text or a list, which a damaged file may hold, has no attributes
    values = settings if isinstance(settings, Mapping) else getattr(settings, "__dict__", {})
    method = values.get("quant_method")
    if method is None:  # as bitsandbytes wrote it at first
        method = "bitsandbytes" if {"load_in_4bit", "load_in_8bit"} & set(values) else "unknown"
    name = str(getattr(method, "value", method))
    raise _quantised(_METHODS.get(name, name), source)


def check_weights(directory: Path) -> None:
    """Refuse a directory whose weights are missing, pickled, another library's, in float8, not
    fetched by Git LFS, or in files that transformers does not look for.

    Raises:
        HandbookError: one of these; the files are named.
    """
    names = sorted(file.name for file in directory.iterdir() if file.is_file())
    # transformers lets a configuration name a file of its own, and prefers one file to shards
    whole = _settings(directory / "config.json").get("transformers_weights") or WEIGHTS
    if whole in names:
        read = {whole}
    else:
        _refuse_pointers(directory, [INDEX])
        shards = _settings(directory / INDEX).get("weight_map")
        read = set(map(str, shards.values())) if isinstance(shards, dict) else set()
    if missing := sorted(read - set(names)):
        raise HandbookError(
            f"{len(missing)} of {len(read)} files of weights that {INDEX} names are missing: "
            f"{_some(missing)}",
            where=str(directory),
            remedy="fetch or copy them as well",
        )
    if not read:
        raise _no_tensors(directory, names, whole)
    _refuse_pointers(directory, read)
    for name in sorted(read):
        if kind := _float8(directory / name):
            raise _quantised(f"float8, {kind} in {name}", directory)


def check_tokenizer_files(directory: Path) -> None:
    """Refuse a directory without a tokenizer, or with half of one.

    Raises:
        HandbookError: a file is missing, or Git LFS has not fetched it; it is named.
    """
    _refuse_pointers(directory, (*_VOCABULARIES, *_OF_TOKENIZER))
    there = {name for name in _VOCABULARIES if (directory / name).is_file()}
    missing = []
    if not there:
        missing = ["tokenizer.json (or the tokenizer.model of older models)"]
    elif there == {"vocab.json"} and not (directory / "merges.txt").is_file():
        missing = ["merges.txt"]
    settings = ("tokenizer_config.json", "special_tokens_map.json")
    if not there - {"tokenizer.json"} and not any((directory / s).is_file() for s in settings):
        # transformers would guess by the architecture which token ends a text
        missing.append("tokenizer_config.json")
    if missing:
        raise HandbookError(
            f"this directory holds a model without {'its whole' if there else 'a'} tokenizer: "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            where=str(directory),
            remedy="copy all files of the tokenizer (tokenizer.json, tokenizer_config.json, "
            "special_tokens_map.json, chat_template.jinja, those that are there) from the base "
            "model that this one was trained from",
        )


def _quantised(method: str, source: str | Path) -> HandbookError:
    return HandbookError(
        f"this model is quantised ({method}), and quantised weights are neither loaded nor trained "
        "here",
        where=str(source),
        remedy="take the unquantised model that it was made from, in bfloat16, float16 or float32; "
        "a recipe with load_in_4bit: true quantises it while it is loaded",
    )


def _no_tensors(directory: Path, names: list[str], whole: str) -> HandbookError:
    if INDEX in names:
        return HandbookError(
            f"{INDEX} names no file of weights",
            where=str(directory),
            remedy="fetch or copy it again",
        )
    if shards := [name for name in names if fnmatch(name, "model-*-of-*.safetensors")]:
        return HandbookError(
            f"{INDEX} is missing, which says what the files of weights hold ({_some(shards)})",
            where=str(directory),
            remedy="fetch or copy it as well",
        )
    pickled = [name for name in names if name.endswith(_PICKLED)]
    pickled = [n for n in pickled if n not in _NO_WEIGHTS and not n.startswith("rng_state")]
    if pickled:
        return HandbookError(
            f"its weights are pickled ({_some(pickled)}), and unpickling a file may run code that "
            "somebody put into it",
            where=str(directory),
            remedy="take a model with .safetensors files; or, if you trust where the file comes "
            "from, convert it once: from transformers import AutoModelForCausalLM as Model; "
            "Model.from_pretrained(DIRECTORY).save_pretrained(NEW_DIRECTORY), and copy the "
            "tokenizer's files beside it",
        )
    if unread := [name for name in names if name.endswith(".safetensors")]:
        return HandbookError(
            f"{whole} is missing, and transformers looks for no other name: {_some(unread)}",
            where=str(directory),
            remedy="fetch or copy the model again, in transformers' layout; a file that holds the "
            f"whole model in that layout (like model.fp16.safetensors) may be renamed to {whole}",
        )
    if other := [name for name in names if name.endswith(_OTHER_WEIGHTS)]:
        return HandbookError(
            f"it has no .safetensors file; its weights ({_some(other)}) belong to another library",
            where=str(directory),
            remedy="take the same model with .safetensors files, or name a GGUF file itself where "
            "one is accepted (--base-model, --sft-model)",
        )
    return HandbookError(
        f"this directory holds a configuration without weights: {whole} is missing",
        where=str(directory),
        remedy="fetch or copy the model again, with its .safetensors files",
    )


def _refuse_pointers(directory: Path, names: Iterable[str]) -> None:
    pointers = [name for name in sorted(names) if _is_pointer(directory / name)]
    if pointers:
        kind = "is a Git LFS pointer; its" if len(pointers) == 1 else "are Git LFS pointers; their"
        raise HandbookError(
            f"{_some(pointers)} {kind} contents were not fetched",
            where=str(directory),
            remedy="run `git lfs install` and `git lfs pull` in it",
        )


def _is_pointer(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size > _POINTER_BYTES:
        return False
    with file.open("rb") as stream:
        return stream.read(len(_POINTER)) == _POINTER


def _float8(file: Path) -> str:
    """The first float8 type in a safetensors file's header; "" if there is none."""
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(size, file.stat().st_size)))
        kinds = {str(tensor["dtype"]) for name, tensor in header.items() if name != "__metadata__"}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ""  # cut short or damaged: loading says so
    return min((kind for kind in kinds if kind.startswith("F8_")), default="")


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # missing or damaged: loading says so
    return settings if isinstance(settings, dict) else {}


def _some(names: list[str]) -> str:
    """The first few names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
