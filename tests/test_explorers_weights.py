"""The weights file: what is written is what is read, and what does not fit is refused in words."""

import hashlib
import json
import shutil

import explorer_scripts
import numpy as np
import pytest
from browser_models import in_node, save_adapter, save_base, sent
from safetensors.torch import load_file, save_file
from tiny import tiny_model

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers import weights
from zephyr_utils.explorers.changes import components, product_of
from zephyr_utils.explorers.common import script
from zephyr_utils.explorers.weights import (
    FORMAT,
    OTHER_BITS,
    pack_checkpoints,
    pack_models,
)
from zephyr_utils.files import read_json, write_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_base(folder / "base")
    for seed, name in enumerate(("dSFT", "dDPO", "checkpoint"), start=1):
        save_adapter(tiny_model(), folder / name, seed)
    return folder


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
    step = np.abs(exact).max(axis=1, keepdims=True) / (
        2 ** (OTHER_BITS["gate_proj.weight"] - 1) - 1
    )
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


@pytest.fixture(scope="module")
def three(folder):
    return pack_models(folder / "base", {name: folder / name for name in ("dSFT", "dDPO")})


def numbered(folder, target, share):
    """The adapter dDPO of these models as it was after this share of its training."""
    target.mkdir(parents=True)
    shutil.copy(folder / "dDPO" / "adapter_config.json", target)
    tensors = load_file(folder / "dDPO" / "adapter_model.safetensors")
    changed = {name: values * share for name, values in tensors.items()}
    save_file(changed, target / "adapter_model.safetensors", metadata={"format": "pt"})
    return target


def read_in_node(models, further, names):
    """name -> a matrix of this model as the script reads it, merged."""
    body = """
        const [models, further] = values.packed.map(read);
        const open = ({ header, bytes }) => script.unpack(header, bytes);
        const weights = new script.Weights(models.header, await open(models));
        weights.extend(further.header, await open(further));
        result = values.names.map((name) => Array.from(weights.model(name).layers[0].q));
    """
    packed = [sent(models), sent(further)]
    return dict(zip(names, in_node({"packed": packed, "names": names}, body), strict=True))


PLACE = "layers.0.self_attn.q_proj"


def changes_of(further):
    """name -> what each checkpoint changes at `PLACE` since the start, as a browser reads it."""
    total, changes = np.zeros((1, 1)), {}
    for name in (model["name"] for model in further.header["models"]):
        total = total + product_of(further.adapters[name], 1.0).get(PLACE, np.zeros((1, 1)))
        changes[name] = total
    return changes


def test_checkpoints_are_stored_as_differences_whose_rounding_does_not_add_up(
    three, folder, tmp_path
):
    shares = {f"step {n}": n / 8 for n in range(1, 8)}
    folders = {name: numbered(folder, tmp_path / name, share) for name, share in shares.items()}
    further = pack_checkpoints(three, "dDPO", folders)
    assert [(model["name"], model["on"]) for model in further.header["models"]][:3] == [
        ("step 1", "dSFT"),
        ("step 2", "step 1"),
        ("step 3", "step 2"),
    ]
    whole = exact_change(folder / "dDPO")
    read, stored = read_in_node(three, further, ["dSFT", *shares]), changes_of(further)
    off = []
    for name, share in shares.items():
        exact = share**2 * whole  # both matrices times this share
        assert np.array(read[name]) - read["dSFT"] == pytest.approx(stored[name].ravel(), abs=1e-5)
        off.append(np.linalg.norm(stored[name] - exact) / np.linalg.norm(exact))
    assert off == sorted(off, reverse=True) and off[-1] < 0.1, off


def test_a_checkpoint_nearer_to_the_end_than_to_the_one_before_rests_on_the_end(
    three, folder, tmp_path
):
    shares = {"step 1": 0.3, "step 2": 0.97}
    folders = {name: numbered(folder, tmp_path / name, share) for name, share in shares.items()}
    further = pack_checkpoints(three, "dDPO", folders)
    listed = [(model["name"], model["on"]) for model in further.header["models"]]
    assert listed == [("step 1", "dSFT"), ("step 2", "dDPO")]
    read = read_in_node(three, further, ["dSFT", "step 2"])
    exact = 0.97**2 * exact_change(folder / "dDPO").ravel()
    ours = np.array(read["step 2"]) - read["dSFT"]
    assert np.linalg.norm(ours - exact) < 0.1 * np.linalg.norm(exact)


def exact_change(folder):
    """What an adapter changes at `PLACE`, exactly."""
    tensors = load_file(folder / "adapter_model.safetensors")
    a, b = (tensors[f"base_model.model.model.{PLACE}.lora_{part}.weight"].numpy() for part in "AB")
    return 2 * b @ a


def test_what_changed_little_takes_next_to_nothing(three, folder, tmp_path):
    one = {"step 1": numbered(folder, tmp_path / "1", 0.5)}
    same = {**one, "step 2": numbered(folder, tmp_path / "2", 0.501)}
    other = {**one, "step 2": numbered(folder, tmp_path / "3", 0.7)}
    sizes = [len(pack_checkpoints(three, "dDPO", steps).payload) for steps in (one, same, other)]
    assert sizes[1] - sizes[0] < 64 < sizes[2] - sizes[0]


def test_in_float32_a_checkpoint_is_stored_exactly(three, folder, tmp_path):
    steps = {f"step {n}": numbered(folder, tmp_path / str(n), n / 3) for n in (1, 2)}
    further = pack_checkpoints(three, "dDPO", steps, "float32")
    exact = (2 / 3) ** 2 * exact_change(folder / "dDPO")
    assert changes_of(further)["step 2"] == pytest.approx(exact, abs=1e-5)


def test_components_are_as_many_as_the_error_leaves_above_it():
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(60, 3)))[0].T for _ in range(2))
    change = (left.T * [9.0, 3.0, 0.01]) @ right
    a, b, steps = components(change.astype(np.float32), 0.05)
    assert len(a) == len(b) == len(steps) == 2
    assert np.linalg.norm(b.T @ a - change) == pytest.approx(0.01, abs=1e-4)
    assert steps**2 * [9.0, 3.0] == pytest.approx([0.05**2] * 2, rel=1e-4)
    assert len(components(change.astype(np.float32), 0.0)[0]) == 3
    assert components(np.zeros((4, 5), np.float32), 0.05)[0].shape == (0, 5)


def test_checkpoints_belong_to_the_models_that_they_were_written_with(three, packed, folder):
    further = pack_checkpoints(three, "dDPO", {"step 10": folder / "checkpoint"})
    with pytest.raises(AssertionError, match="belong to other models"):
        read_in_node(packed, further, ["step 10"])


def test_a_checkpoint_with_other_matrices_than_the_training_ended_with_is_refused(three, tmp_path):
    save_adapter(tiny_model(hidden_size=48), tmp_path, 1)
    with pytest.raises(HandbookError, match="other matrices than that of dDPO"):
        pack_checkpoints(three, "dDPO", {"step 10": tmp_path})


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
