"""A fitted truecaser kept in a file: it comes back alike, and a file that is none is refused."""

import numpy as np
import pytest
from truecasing_corpus import FAULTY, REPAIRED, fitted

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import Truecaser


def test_a_saved_model_repairs_alike_and_holds_no_pickle(tmp_path):
    fitted().save(tmp_path / "model.npz")
    loaded = Truecaser.load(tmp_path / "model.npz")
    assert loaded.fingerprint() == fitted().fingerprint()
    assert (loaded.kept, loaded.truecase(FAULTY)) == (fitted().kept, REPAIRED)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


def test_a_model_that_is_missing_foreign_cut_off_or_spoilt_is_refused(tmp_path):
    whole = tmp_path / "whole.npz"
    fitted().save(whole)
    raw = whole.read_bytes()
    bad = {
        "missing.npz": None,
        "empty.npz": b"",
        "text.npz": b"not a model",
        "cut.npz": raw[: len(raw) // 2],
        "flipped.npz": raw[:2000] + bytes([raw[2000] ^ 255]) + raw[2001:],
    }
    for name, content in bad.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(HandbookError, match=name):
            Truecaser.load(tmp_path / name)
    np.savez(tmp_path / "foreign.npz", weights=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", format=np.array([{"a": 1}], dtype=object))
    for name in ("foreign.npz", "pickled.npz"):
        with pytest.raises(HandbookError, match="not a model of a truecaser"):
            Truecaser.load(tmp_path / name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight_index", np.array([2**31], np.uint32)),
        ("weight_step", np.array(float("nan"))),
        ("keys", np.zeros(3, np.int64)),
        ("form", np.zeros(1, np.uint32)),
        ("inside", None),
        ("documents", np.array(["x"])),
    ],
)
def test_a_model_with_a_field_that_cannot_be_is_refused(tmp_path, field, value):
    fitted().save(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as stored:
        fields = dict(stored)
    if value is None:
        del fields[field]
    else:
        fields[field] = value
    np.savez(tmp_path / "bad.npz", **fields)
    with pytest.raises(HandbookError, match="not a model of a truecaser"):
        Truecaser.load(tmp_path / "bad.npz")
