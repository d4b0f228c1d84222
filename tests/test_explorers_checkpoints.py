"""Checkpoints in a weights file of their own: differences whose rounding does not add up, and which
rest on the models that they were written with.
"""

import shutil

import numpy as np
import pytest
from browser_models import in_node, save_adapter, save_run, sent
from safetensors.torch import load_file, save_file
from tiny import tiny_model

from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.changes import components, product_of
from zephyr_utils.explorers.weights import pack_checkpoints, pack_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def packed(folder):
    return pack_models(folder / "base", {"dSFT": folder / "dSFT"})


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
