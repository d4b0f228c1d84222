"""A killed run goes on: in the fit, in the files, and with what changed in the meantime."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, load_from_disk
from truecasing_corpus import corpus, fitted

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import Truecaser, corrupt_case, learn, truecase_files
from zephyr_utils.truecasing.fitting import CHECKPOINT, MODEL

FAULTY = "I don't know paris well. however, maria visited it in may."
RIGHT = "I don't know Paris well. However, Maria visited it in May."


def rows(count: int, seed: int = 5) -> list[dict]:
    texts = corpus(count, seed)
    answers = [corrupt_case(t, "capitalize") if n % 10 == 0 else t for n, t in enumerate(texts)]
    return [{"messages": [{"role": "assistant", "content": answer}]} for answer in answers]


def write(path: Path, records: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the reports, which hold times."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if not path.name.startswith("report-") and not path.name.endswith(".report.json")
    }


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.mark.parametrize("epoch", range(learn.EPOCHS))
def test_a_fit_that_is_killed_goes_on_after_the_last_whole_pass(tmp_path, monkeypatch, epoch):
    texts = corpus(400)
    steps = learn._step
    counted = [0]

    def counting(*arguments):
        counted[0] += 1
        steps(*arguments)

    monkeypatch.setattr(learn, "_step", counting)
    whole = Truecaser.fit(texts)
    total, counted[0] = counted[0], 0
    a_pass = total // learn.EPOCHS

    def killing(*arguments):
        if counted[0] == epoch * a_pass + a_pass // 2:
            raise Killed
        counting(*arguments)

    monkeypatch.setattr(learn, "_step", killing)
    with pytest.raises(Killed):
        Truecaser.fit(texts, checkpoint=tmp_path / "state.npz")
    counted[0] = 0
    monkeypatch.setattr(learn, "_step", counting)
    resumed = Truecaser.fit(texts, checkpoint=tmp_path / "state.npz")
    assert counted[0] == total - epoch * a_pass
    assert resumed.fingerprint() == whole.fingerprint() and resumed.kept == whole.kept


@pytest.mark.parametrize(
    "spoil", [lambda raw: raw[:1000], lambda raw: b"", lambda raw: b"no state"]
)
def test_a_state_that_is_damaged_or_of_other_texts_is_not_taken_up(tmp_path, spoil):
    state = tmp_path / "state.npz"
    Truecaser.fit(corpus(300, seed=1), checkpoint=state)
    expected = Truecaser.fit(corpus(300)).fingerprint()
    assert Truecaser.fit(corpus(300), checkpoint=state).fingerprint() == expected
    state.write_bytes(spoil(state.read_bytes()))
    assert Truecaser.fit(corpus(300), checkpoint=state).fingerprint() == expected


def test_the_truecaser_is_kept_before_a_file_is_written_and_its_state_is_removed(
    tmp_path, monkeypatch
):
    write(tmp_path / "in" / "a.jsonl", rows(600))

    def killed(*arguments, **options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("zephyr_utils.truecasing.files._truecase_file", killed)
        with pytest.raises(Killed):
            truecase_files(tmp_path / "in", tmp_path / "out")
    kept = Truecaser.load(tmp_path / "out" / MODEL)
    assert not (tmp_path / "out" / CHECKPOINT).exists()
    monkeypatch.setattr(Truecaser, "fit", killed)  # it is not fitted again
    truecase_files(tmp_path / "in", tmp_path / "out")
    assert Truecaser.load(tmp_path / "out" / MODEL).fingerprint() == kept.fingerprint()


def test_kills_at_any_moment_leave_what_an_undisturbed_run_makes(tmp_path):
    for name in "ab":
        write(tmp_path / "in" / f"{name}.jsonl", rows(500, seed=ord(name)))

    def command(output: str) -> list[str]:
        arguments = ["truecase", str(tmp_path / "in"), "--output", str(tmp_path / output)]
        return [sys.executable, "-m", "zephyr_utils", *arguments]

    begin = time.monotonic()
    subprocess.run(command("whole"), check=True, capture_output=True)
    took = time.monotonic() - begin
    rng = np.random.default_rng(0)
    for delay in rng.uniform(0.3, 1.0, 3) * took:
        running = subprocess.Popen(
            command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(delay)
        running.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        running.wait()
    subprocess.run(command("killed"), check=True, capture_output=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.parametrize("changed", ["a.jsonl", "out/a.jsonl", "out/a.jsonl.report.json"])
def test_a_change_of_content_without_one_of_size_is_seen(tmp_path, changed):
    records = rows(40)
    path = write(tmp_path / "a.jsonl", records)
    truecase_files(path, tmp_path / "out", truecaser=fitted())
    assert truecase_files(path, tmp_path / "out", truecaser=fitted()).reused == ["a.jsonl"]
    target = tmp_path / changed
    raw = bytearray(target.read_bytes())
    raw[len(raw) // 2] ^= 1
    target.write_bytes(raw)
    again = truecase_files(path, tmp_path / "out", truecaser=fitted())
    assert again.files == ["a.jsonl"] and not again.reused


@pytest.mark.parametrize(
    "spoil", [lambda raw: raw[:-100], lambda raw: raw[:500] + bytes(500) + raw[1000:]]
)
def test_a_damaged_truecaser_is_fitted_again(tmp_path, spoil):
    path = write(tmp_path / "a.jsonl", rows(600))
    truecase_files(path, tmp_path / "out")
    model = tmp_path / "out" / MODEL
    before = Truecaser.load(model).fingerprint()
    model.write_bytes(spoil(model.read_bytes()))
    truecase_files(path, tmp_path / "out")
    assert Truecaser.load(model).fingerprint() == before


def test_compressed_results_are_the_same_bytes_every_time(tmp_path):
    import gzip

    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"text": FAULTY}).encode()))
    written = []
    for folder in ("one", "two"):
        truecase_files(path, tmp_path / folder, truecaser=fitted())
        written.append((tmp_path / folder / "a.jsonl.gz").read_bytes())
        time.sleep(1.1)  # the time in a header counts seconds
    assert written[0] == written[1]


# --- folders that datasets wrote -----------------------------------------------------------------

TURNS = [[{"role": "user", "content": FAULTY}, {"role": "assistant", "content": FAULTY}]]


@pytest.mark.parametrize("shards", [1, 3])
def test_a_saved_dataset_is_read_and_written_as_one(tmp_path, shards):
    dataset = Dataset.from_dict({"n": list(range(9)), "messages": TURNS * 9})
    dataset.save_to_disk(tmp_path / "saved", num_shards=shards)
    report = truecase_files(tmp_path / "saved", tmp_path / "out", truecaser=fitted())
    assert (report.rows, report.altered, len(report.files)) == (9, 9, shards)
    written = load_from_disk(tmp_path / "out")
    assert written.features == dataset.features and written["n"] == dataset["n"]
    assert written["messages"][:] == [
        [turns[0], turns[1] | {"content": RIGHT}] for turns in TURNS * 9
    ]
    assert written._fingerprint != load_from_disk(tmp_path / "saved")._fingerprint
    again = truecase_files(tmp_path / "saved", tmp_path / "out", truecaser=fitted())
    assert len(again.reused) == shards


def test_of_a_saved_set_of_splits_one_is_named(tmp_path):
    dataset = Dataset.from_dict({"messages": TURNS})
    DatasetDict({"train": dataset}).save_to_disk(tmp_path / "one")
    truecase_files(tmp_path / "one", tmp_path / "out", truecaser=fitted())
    assert load_from_disk(tmp_path / "out")[0]["messages"][1]["content"] == RIGHT
    DatasetDict({"train": dataset, "test": dataset}).save_to_disk(tmp_path / "two")
    with pytest.raises(HandbookError, match="splits train, test"):
        truecase_files(tmp_path / "two", tmp_path / "out2", truecaser=fitted())
    truecase_files(tmp_path / "two" / "test", tmp_path / "out2", truecaser=fitted())
    assert load_from_disk(tmp_path / "out2")[0]["messages"][1]["content"] == RIGHT


def test_a_dataset_in_an_order_of_its_own_is_refused_or_saved_flat(tmp_path):
    dataset = Dataset.from_dict({"text": [FAULTY, "It is quiet."]}).select([1, 0])
    dataset.save_to_disk(tmp_path / "saved")
    truecase_files(tmp_path / "saved", tmp_path / "out", truecaser=fitted())
    assert load_from_disk(tmp_path / "out")["text"][:] == ["It is quiet.", RIGHT]
    state = json.loads((tmp_path / "saved" / "state.json").read_text())
    state["_indices_data_files"] = [{"filename": "indices.arrow"}]
    (tmp_path / "saved" / "state.json").write_text(json.dumps(state))
    with pytest.raises(HandbookError, match="indices"):
        truecase_files(tmp_path / "saved", tmp_path / "other", truecaser=fitted())


@pytest.mark.parametrize("state", ["{", '{"_data_files": 1}', "[]"])
def test_a_damaged_description_of_a_dataset_is_named(tmp_path, state):
    Dataset.from_dict({"text": [FAULTY]}).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text(state)
    with pytest.raises(HandbookError, match=r"state\.json"):
        truecase_files(tmp_path / "saved", tmp_path / "out", truecaser=fitted())


def test_shards_on_several_machines_fit_once_and_agree(tmp_path):
    for name in "abc":
        write(tmp_path / "in" / f"{name}.jsonl", rows(300, seed=ord(name)))
    truecase_files(tmp_path / "in", tmp_path / "whole")
    for index in range(2):
        truecase_files(tmp_path / "in", tmp_path / "parts", shard_index=index, num_shards=2)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
