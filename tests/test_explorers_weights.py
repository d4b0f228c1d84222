"""The weights file: what is written is what is read, and what does not fit is refused in words."""

import hashlib
import json
import zlib

import explorer_scripts
import numpy as np
import pytest
from browser_models import in_node, save_adapter, save_run, sent
from safetensors.torch import load_file, save_file
from tiny import save_base, tiny_model

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers import weights
from zephyr_utils.explorers.common import script
from zephyr_utils.explorers.weights import BASE_BITS, FORMAT, pack_models
from zephyr_utils.files import read_json, write_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def packed(folder):
    return pack_models(folder / "base", {"dSFT": folder / "dSFT"})


def test_script_and_package_read_the_same_format(packed):
    assert in_node(None, "result = script.FORMAT;") == FORMAT == packed.header["format"]


def test_the_script_is_small_and_imports_nothing():
    text = script("model")  # as an explorer gets it
    assert len(text.encode()) < 40_000
    assert not [word for word in ("innerHTML", "import ", "eval(", "https:") if word in text]


@pytest.mark.parametrize("length", [0, 1, 55, 56, 63, 64, 119, 120, 1000])
def test_the_scripts_sha256_is_that_of_the_standard(length):
    content = bytes(n % 251 for n in range(length))
    body = "result = script.sha256(Uint8Array.from(values));"
    ours = explorer_scripts.in_node("sha256", list(content), body)
    assert ours == hashlib.sha256(content).hexdigest()


def test_each_weight_is_off_by_half_a_step_of_its_row_at_most(packed, folder):
    body = """
        const weights = await weightsOf(read(values));
        result = Array.from(weights.model("base").layers[1].gate);
    """
    exact = load_file(folder / "base" / "model.safetensors")
    exact = exact["model.layers.1.mlp.gate_proj.weight"].numpy()
    ours = np.array(in_node(sent(packed), body)).reshape(exact.shape)
    step = np.abs(exact).max(axis=1, keepdims=True) / (2 ** (BASE_BITS - 1) - 1)
    off = np.abs(ours - exact) / step
    assert off.max() <= 0.501 and off.mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("bits", [3, 8, 10, 11, 12, 16])
def test_integers_of_any_width_are_read_as_they_were_written(folder, monkeypatch, bits):
    monkeypatch.setattr(weights, "BASE_BITS", bits)
    body = """
        const weights = await weightsOf(read(values));
        result = Array.from(weights.model("base").layers[0].down);
    """
    exact = load_file(folder / "base" / "model.safetensors")
    exact = exact["model.layers.0.mlp.down_proj.weight"].numpy()
    ours = np.array(in_node(sent(pack_models(folder / "base", {})), body)).reshape(exact.shape)
    step = np.abs(exact).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    assert (np.abs(ours - exact) / step).max() <= 0.51


def test_the_parts_of_a_file_are_deflated_by_themselves():
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, most, 9000, np.uint8).tobytes() for most in (2, 255, 9, 200, 3)]
    packed = weights._deflated(parts, zlib.Z_HUFFMAN_ONLY)
    assert zlib.decompress(packed) == b"".join(parts)
    whole = zlib.compressobj(9, memLevel=9, strategy=zlib.Z_HUFFMAN_ONLY)
    assert len(packed) < 0.95 * len(whole.compress(b"".join(parts)) + whole.flush())


def test_a_row_of_zeros_stays_zero(tmp_path):
    save_base(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.0.self_attn.o_proj.weight"][0] = 0
    save_file(tensors, file, metadata={"format": "pt"})
    body = """
        const weights = await weightsOf(read(values));
        const { o } = weights.model("base").layers[0];
        result = Array.from(o.slice(0, 3));
    """
    assert in_node(sent(pack_models(tmp_path, {})), body) == [0, 0, 0]


def test_the_file_is_written_under_its_hash_and_the_base_is_in_it_once(packed, tmp_path, folder):
    path = packed.write(tmp_path / "new" / "folder", "models")
    header = json.loads(path.read_text(encoding="utf-8"))
    content = (path.parent / header["file"]).read_bytes()
    assert header["file"] == f"models-{hashlib.sha256(content).hexdigest()[:16]}.bin"
    assert (header["sha256"], header["bytes"]) == (
        hashlib.sha256(content).hexdigest(),
        len(content),
    )
    both = pack_models(folder / "base", {name: folder / name for name in ("dSFT", "dDPO")})
    base = len(pack_models(folder / "base", {}).payload)
    first, second = len(packed.payload) - base, len(both.payload) - len(packed.payload)
    assert 0 < second < first < base / 2


def test_two_packings_are_the_same_bytes(packed, folder):
    assert pack_models(folder / "base", {"dSFT": folder / "dSFT"}) == packed


# --- what a page refuses --------------------------------------------------------------------------

REFUSED = """
    const say = (change) => {
        const { header, bytes } = read(values);
        return script.unpack(...change(header, bytes)).then(() => "accepted", (error) =>
            error instanceof script.ModelError ? error.message : String(error));
    };
"""


def test_a_file_that_is_cut_short_of_another_version_or_changed_is_refused_in_a_sentence(packed):
    body = f"""
        {REFUSED}
        result = {{
            whole: await say((header, bytes) => [header, bytes]),
            short: await say((header, bytes) => [header, bytes.slice(0, 1000)]),
            empty: await say((header, bytes) => [header, bytes.slice(0, 0)]),
            long: await say((header, bytes) => [header, new Uint8Array(bytes.length + 4)]),
            changed: await say((header, bytes) => {{ bytes[5] ^= 1; return [header, bytes]; }}),
            other: await say((header, bytes) => [{{ ...header, format: 99 }}, bytes]),
        }};
    """
    said = in_node(sent(packed), body)
    assert said["whole"] == "accepted"
    assert said["short"].startswith("The weights file is cut short: 1,000 of ")
    assert said["empty"].startswith("The weights file is cut short: 0 of ")
    assert "its SHA-256 differs" in said["long"] and "its SHA-256 differs" in said["changed"]
    assert said["other"] == (
        f"The weights file has format 99 and this page reads format {FORMAT}: reload the page."
    )


def test_a_model_that_the_file_does_not_hold_is_refused_in_a_sentence(packed):
    body = """
        const { header, bytes } = read(values);
        const unpacked = await script.unpack(header, bytes);
        const say = (name, change) => {
            const changed = structuredClone(header);
            change(changed.models);
            try { new script.Weights(changed, unpacked).model(name); }
            catch (error) { return error.message; }
        };
        result = [
            say("other", () => {}),
            say("base", ([base]) => base.tensors.pop()),
            say("dSFT", ([base, dsft]) => (dsft.tensors[0].name = "layers.9.x.lora_A")),
        ];
    """
    other, lacking, adapter = in_node(sent(packed), body)
    assert other == "The weights file has no model “other”."
    assert lacking.startswith("The weights file does not hold ")
    assert adapter.startswith("The weights file has an adapter for layers.9.x.weight")


# --- what the package refuses ---------------------------------------------------------------------


def changed_json(path, **changes):
    write_json(path, {**read_json(path), **changes})


@pytest.mark.parametrize(
    "file, changes, said",
    [
        ("config.json", {"model_type": "gpt2"}, "its model_type is 'gpt2'"),
        ("config.json", {"hidden_act": "gelu"}, "its hidden_act is 'gelu'"),
        ("config.json", {"sliding_window": 128}, "its sliding_window is 128"),
        ("config.json", {"rope_parameters": {"rope_type": "yarn"}}, "rotary positions"),
        ("tokenizer.json", {"normalizer": {"type": "NFC"}}, "byte-level BPE"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Whitespace"}}, "byte-level BPE"),
        ("tokenizer.json", {"model": {"type": "Unigram"}}, "byte-level BPE"),
        ("tokenizer_config.json", {"eos_token": "<none>"}, "no special token that ends a turn"),
    ],
)
def test_a_model_of_another_kind_is_refused(tmp_path, file, changes, said):
    save_base(tmp_path)
    changed_json(tmp_path / file, **changes)
    with pytest.raises(HandbookError, match="a browser cannot run this model") as refused:
        pack_models(tmp_path, {})
    assert said in str(refused.value)


def test_a_configuration_without_a_size_is_refused(tmp_path):
    save_base(tmp_path)
    config = read_json(tmp_path / "config.json")
    del config["hidden_size"]
    write_json(tmp_path / "config.json", config)
    with pytest.raises(HandbookError, match="its configuration has no hidden_size"):
        pack_models(tmp_path, {})


def test_another_chat_template_is_refused(tmp_path):
    save_base(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(HandbookError, match="its chat template is not Zephyr's"):
        pack_models(tmp_path, {})


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"use_dora": True}, "not plain LoRA"),
        ({"bias": "all"}, "not plain LoRA"),
        ({"r": 5}, "ranks of its adapter are not all 5"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(folder, tmp_path, changes, said):
    save_adapter(tiny_model(), tmp_path, 1)
    changed_json(tmp_path / "adapter_config.json", **changes)
    with pytest.raises(HandbookError, match=said):
        pack_models(folder / "base", {"dSFT": tmp_path})


def test_weights_beside_loras_matrices_are_refused(folder, tmp_path):
    save_adapter(tiny_model(), tmp_path, 1, modules_to_save=["lm_head"])
    with pytest.raises(HandbookError, match="beside LoRA's matrices"):
        pack_models(folder / "base", {"dSFT": tmp_path})
