"""Models as a browser fetches them: one binary file, the base model once and the adapters apart,
and a JSON header with its sizes, its tokenizer and its SHA-256.

``model.js`` reads both. Matrices are integers with a scale for each row, of as many bits as
`BASE_ERROR` and the constants beside it ask for; vectors stay float32; the file as a whole is
deflated (RFC 1950), which is worth most where integers are few. Every size comes from the model's
own ``config.json``.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zephyr_utils.chat.template import ZEPHYR_TEMPLATE, Conversation
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.changes import ERROR, components, product_of, shapes_of, size_of
from zephyr_utils.explorers.rounding import (
    Moments,
    bits_of,
    content_of,
    rounded,
    second_moments,
    sensitivities,
    steps_of,
    steps_within,
)
from zephyr_utils.files import read_json, write_json

BASE = "base"  # the name of the model below all adapters
FORMAT = 2  # of header and weights; model.js has the same
NEEDED = (
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "vocab_size",
)
# Settings under which the forward pass of model.js is the model's: name -> the values it may have.
KNOWN: dict[str, tuple[Any, ...]] = {
    "model_type": ("llama", "mistral"),
    "hidden_act": ("silu",),
    "sliding_window": (None,),
    "attention_bias": (None, False),
    "mlp_bias": (None, False),
    "rope_scaling": (None,),
}
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
# Chosen on development questions. In each matrix of the base model, a step of a weight moves the
# distance between the two likeliest logits by BASE_ERROR (`rounding.sensitivities`); without texts
# to measure that by, each has BASE_BITS. The second adapter changes less than the first, so it may
# err by more of its size.
BASE_ERROR, BASE_BITS, ADAPTER_BITS = 2.05e-5, 11, (10, 6)
CHANGE_BITS = 8  # of what changed from one checkpoint to the next, at most (`changes`)
Precision = Literal["shipped", "float32"]
Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class BrowserModels:
    """What a browser fetches.

    Attributes:
        header: ``format``, ``config``, ``tokenizer`` (that of ``tokenizer.json``),
            ``eos_token_id``, ``models`` (``[{name, on, scale, tensors}]``), ``bytes``,
            ``sha256``; in a file of checkpoints, ``rests_on`` in place of the second to the
            fourth: the SHA-256 of the file with the models below them.
        payload: the weights, deflated; the header's offsets count in what they were before.
        adapters: name -> its matrices, as a browser reads them.
    """

    header: dict[str, Any]
    payload: bytes
    adapters: Mapping[str, Tensors] = field(repr=False, compare=False)

    def write(self, folder: Path, name: str) -> Path:
        """Write header and weights; returns the header's path, ``NAME.json``.

        The weights' file bears the beginning of its hash, so that no cache mixes up two versions.
        """
        folder.mkdir(parents=True, exist_ok=True)
        file = f"{name}-{self.header['sha256'][:16]}.bin"
        (folder / file).write_bytes(self.payload)
        header = folder / f"{name}.json"
        write_json(header, {**self.header, "file": file}, indent=None)
        return header


def pack_models(
    base: Path,
    adapters: Mapping[str, Path],
    precision: Precision = "shipped",
    texts: Sequence[Conversation] = (),
) -> BrowserModels:
    """The base model and LoRA adapters, each of which rests on the one before it.

    Args:
        base: directory of the base model; it is called ``base``.
        adapters: name as shown -> directory that PEFT saved: the first is merged into the base, the
            next into the outcome, as dSFT and dDPO are trained.
        precision: of the matrices; ``float32`` is what tests compare with PyTorch.
        texts: conversations by which the base model's errors of rounding are kept small
            (`rounding`); without them each weight is rounded to the nearest integer.

    Raises:
        HandbookError: the model or its tokenizer is of a kind that ``model.js`` does not run, or
            an adapter is not plain LoRA.
    """
    config = _config(base)
    weights: dict[str, NDArray[np.float32]] = {}
    for file in sorted(base.glob("*.safetensors")):
        weights |= {name.removeprefix("model."): values for name, values in _read(file).items()}
    if config["tie_word_embeddings"]:
        weights.pop("lm_head.weight", None)
    writer, read = _Writer(precision), texts if precision == "shipped" else ()
    writer.add_base(weights, second_moments(base, read), sensitivities(base, read))
    below = BASE
    for n, (name, folder) in enumerate(adapters.items()):
        writer.add_adapter(name, below, folder, ADAPTER_BITS[min(n, 1)])
        below = name
    tokenizer, eos_token_id = _tokenizer(base)
    header = {"config": config, "tokenizer": tokenizer, "eos_token_id": eos_token_id}
    return writer.finish(header)


def pack_checkpoints(
    models: BrowserModels,
    end: str,
    checkpoints: Mapping[str, Path],
    precision: Precision = "shipped",
) -> BrowserModels:
    """The checkpoints of a training in a file of their own, which is fetched after that of
    `models`.

    Each is stored as its difference from the one before, as that is read with its own rounding, so
    that no rounding adds up; the first as its difference from the model that the training began
    with. What is nearer to the end of the training than to the one before is stored as its
    difference from the end.

    Args:
        end: the adapter of `models` that the training led to.
        checkpoints: name -> directory of the adapter, in the order of the training.

    Raises:
        HandbookError: an adapter is not plain LoRA, or its matrices are not those of `end`.
    """
    last = next(model for model in models.header["models"] if model["name"] == end)
    whole = product_of(models.adapters[end], last["scale"])
    shapes, on = shapes_of(whole), last["on"]
    writer = _Writer(precision)
    before: Tensors = {place: np.zeros(shape, np.float32) for place, shape in shapes.items()}
    for name, folder in checkpoints.items():
        scale, tensors = _adapter(folder)
        change = product_of(tensors, scale)
        if shapes_of(change) != shapes:
            raise _refuse(f"its adapter has other matrices than that of {end}", folder)
        if _distance(change, whole) < _distance(change, before):
            on, before = end, whole
        before = writer.add_change(name, on, before, change)
        on = name
    return writer.finish({"rests_on": models.header["sha256"]})


def _distance(one: Tensors, other: Tensors) -> float:
    return size_of({place: values - other[place] for place, values in one.items()})


class _Writer:
    """Puts tensors one after the other, each at a multiple of four bytes."""

    def __init__(self, precision: Precision) -> None:
        self._precision = precision
        self._adapters: dict[str, Tensors] = {}
        self._models: list[dict[str, Any]] = []
        self._parts: list[bytes] = []
        self._size = 0

    def add_base(self, tensors: Tensors, moments: Moments, effects: Mapping[str, float]) -> None:
        """`effects`: `sensitivities`."""
        listed = []
        for name, values in sorted(tensors.items()):
            place, steps = name.rpartition(".")[0], None
            if place in effects:
                steps = steps_within(values, BASE_ERROR, effects[place])
            elif values.ndim == 2:
                steps = steps_of(values, BASE_BITS)
            listed.append(self._put(name, values, steps, moments.get(place))[0])
        self._models.append({"name": BASE, "on": None, "tensors": listed})

    def add_adapter(self, name: str, on: str, folder: Path, bits: int) -> None:
        scale, tensors = _adapter(folder)
        parts = {place: (values, steps_of(values, bits)) for place, values in tensors.items()}
        self._add(name, on, scale, parts)

    def add_change(self, name: str, on: str, before: Tensors, now: Tensors) -> Tensors:
        """The change from `before` to `now` as an adapter of the model `on`; returns what is read
        of `now`.
        """
        error = ERROR * size_of(now) ** 0.5 if self._precision == "shipped" else 0.0
        parts = {}
        for place, values in now.items():
            a, b, steps = components(values - before[place], error)
            if len(steps):
                for kind, rows in (("A", a), ("B", b)):
                    finest = np.maximum(steps, steps_of(rows, CHANGE_BITS))
                    parts[f"{place}.lora_{kind}"] = (rows, finest)
        added = product_of(self._add(name, on, 1.0, parts), 1.0)
        return {place: values + added.get(place, 0) for place, values in before.items()}

    def _add(
        self, name: str, on: str, scale: float, parts: Mapping[str, tuple[Any, ...]]
    ) -> Tensors:
        """`parts`: name -> what `_put` takes after it; returns the matrices as they are read."""
        put = {place: self._put(place, *part) for place, part in sorted(parts.items())}
        listed = [entry for entry, _ in put.values()]
        self._models.append({"name": name, "on": on, "scale": scale, "tensors": listed})
        self._adapters[name] = {place: read for place, (_, read) in put.items()}
        return self._adapters[name]

    def _put(
        self,
        name: str,
        values: NDArray[np.float32],
        steps: NDArray[np.float32] | None,
        moments: NDArray[np.float64] | None = None,
    ) -> tuple[dict[str, Any], NDArray[np.float32]]:
        """The entry in the header, and the values as they are read; `steps`: of the rows of a
        matrix; `moments`: of its inputs.
        """
        entry = {"name": name, "shape": list(values.shape), "offset": self._size}
        if steps is not None and self._precision == "shipped":
            bits = bits_of(values, steps)
            integers = rounded(values, steps, bits, moments)
            content = content_of(integers, steps, bits)
            values = integers.astype(np.float32) * steps[:, None]
            entry["dtype"] = f"int{max(bits, 8)}"
        else:
            content = [values.astype("<f4").tobytes()]
            entry["dtype"] = "float32"
        size = sum(map(len, content))
        self._parts += [*content, bytes(-size % 4)]
        self._size += size + -size % 4
        return entry, values

    def finish(self, header: Mapping[str, Any]) -> BrowserModels:
        # Repeats among few integers are chance, which deflating does better not to look for.
        strategies = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
        payload = min((_deflated(self._parts, how) for how in strategies), key=len)
        described = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
        whole = {"format": FORMAT, **header, "models": self._models, **described}
        return BrowserModels(whole, payload, self._adapters)


def _deflated(parts: Sequence[bytes], strategy: int) -> bytes:
    """Each part begins a block, since what is frequent in one is not in the next."""
    packer = zlib.compressobj(9, memLevel=9, strategy=strategy)
    blocks = [packer.compress(part) + packer.flush(zlib.Z_BLOCK) for part in parts]
    return b"".join(blocks) + packer.flush()


def _read(file: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors.torch import load_file  # numpy's knows no bfloat16

    return {name: tensor.float().numpy() for name, tensor in load_file(file).items()}


def _refuse(what: str, where: Path) -> HandbookError:
    return HandbookError(
        f"a browser cannot run this model: {what}",
        where=str(where),
        remedy="show the answers that were computed beforehand (explorers.answers)",
    )


def _config(base: Path) -> dict[str, Any]:
    """What the forward pass needs of ``config.json``."""
    path = base / "config.json"
    given = read_json(path)
    for name, known in KNOWN.items():
        if given.get(name) not in known:
            raise _refuse(f"its {name} is {given.get(name)!r}", path)
    rope = given.get("rope_parameters") or {"rope_theta": given.get("rope_theta", 10000.0)}
    if rope.get("rope_type", "default") != "default":
        raise _refuse(f"its rotary positions are of the type {rope['rope_type']!r}", path)
    if missing := [name for name in NEEDED if name not in given]:
        raise _refuse(f"its configuration has no {missing[0]}", path)
    heads = given["hidden_size"] // given["num_attention_heads"]
    return {
        **{name: given[name] for name in NEEDED},
        "head_dim": given.get("head_dim") or heads,
        "rope_theta": rope["rope_theta"],
        "tie_word_embeddings": bool(given.get("tie_word_embeddings")),
    }


def _tokenizer(base: Path) -> tuple[dict[str, Any], int]:
    """What model.js reads of ``tokenizer.json``, and the token that ends a turn."""
    path = base / "tokenizer.json"
    whole, settings = read_json(path), read_json(base / "tokenizer_config.json")
    model, before = whole.get("model") or {}, whole.get("pre_tokenizer") or {}
    byte_level = before.get("type") == "ByteLevel" and before.get("use_regex", True)
    if not byte_level or before.get("add_prefix_space") or whole.get("normalizer"):
        raise _refuse("its tokenizer is not plain byte-level BPE", path)
    if model.get("type") != "BPE" or model.get("ignore_merges") or model.get("byte_fallback"):
        raise _refuse("its tokenizer is not plain byte-level BPE", path)
    added = whole["added_tokens"]
    if own := [token["content"] for token in added if not token["special"]]:
        raise _refuse(f"its tokenizer has tokens of its own beside the vocabulary: {own[0]}", path)
    template = base / "chat_template.jinja"
    if template.is_file() and template.read_text("utf-8").strip() != ZEPHYR_TEMPLATE.strip():
        raise _refuse("its chat template is not Zephyr's", template)
    ids = {token["content"]: token["id"] for token in added}
    eos = settings.get("eos_token")
    if eos not in ids:
        raise _refuse("its tokenizer names no special token that ends a turn", path)
    kept = {name: model[name] for name in ("vocab", "merges", "unk_token") if name in model}
    listed = [{"id": token["id"], "content": token["content"]} for token in added]
    return {"model": kept, "added_tokens": listed}, ids[eos]


def _adapter(folder: Path) -> tuple[float, dict[str, NDArray[np.float32]]]:
    """The scale of a LoRA adapter and its matrices: ``lora_A`` of (rank, inputs), ``lora_B``
    transposed, (rank, outputs), so that its rows are long enough to have a scale each.
    """
    config = read_json(folder / ADAPTER_CONFIG)
    if config.get("use_dora") or config.get("bias", "none") != "none" or "lora_alpha" not in config:
        raise _refuse("its adapter is not plain LoRA", folder / ADAPTER_CONFIG)
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, values in _read(folder / ADAPTER_WEIGHTS).items():
        place = name.removeprefix("base_model.model.").removeprefix("model.")
        module, dot, kind = place.removesuffix(".weight").rpartition(".")
        if kind not in ("lora_A", "lora_B") or not dot:
            raise _refuse(f"its adapter has {name} beside LoRA's matrices", folder)
        tensors[f"{module}.{kind}"] = values.T if kind == "lora_B" else values
    ranks = {name: values.shape[0] for name, values in tensors.items()}
    if set(ranks.values()) != {config["r"]}:
        raise _refuse(f"the ranks of its adapter are not all {config['r']}", folder)
    root = config["r"] ** 0.5 if config.get("use_rslora") else config["r"]
    return config["lora_alpha"] / root, tensors
