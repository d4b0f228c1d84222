"""The reference's log-probabilities kept on disk, shared prompts and grouping in the trainer: what
they change and what not.
"""

import hashlib
import os
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import warm
from trl.trainer import utils as trl_utils

from zephyr_utils.ablations.catalogue import ABLATIONS
from zephyr_utils.ablations.measurements import train_into
from zephyr_utils.chat import load_model
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.pipeline.steps import ddpo as ddpo_step
from zephyr_utils.preferences import binarize
from zephyr_utils.recipes import check_recipe
from zephyr_utils.scales import get_scale
from zephyr_utils.training import dpo_trainer, stages
from zephyr_utils.training.reference_cache import read_reference, write_reference
from zephyr_utils.training.rows import FittedRows

pytestmark = pytest.mark.slow
SHORT = {
    "per_device_train_batch_size": 4,
    "max_steps": 3,
    "logging_steps": 1,
    "save_strategy": "no",
}


def recipe(**changes):
    return get_scale("miniature").recipe("ddpo", **{**SHORT, **changes})


def few_pairs():
    return binarize(data.feedback(24)).pairs[:18]


def make_trainer(folder, reference_folder=None, pairs=None, start=BASE_FOLDER, **changes):
    return stages.ddpo_trainer(
        start, pairs or few_pairs(), folder, recipe(**changes), reference_folder=reference_folder
    )


def reference_of(trainer):
    return [trainer.train_dataset[f"ref_{side}_logps"][:] for side in ("chosen", "rejected")]


@pytest.fixture
def passes(monkeypatch):
    """Counts the batches for which the reference is asked."""
    seen = []
    ask = dpo_trainer.PairTrainer.compute_ref_log_probs

    def counted(self, model, inputs):
        seen.append(len(inputs["input_ids"]))
        return ask(self, model, inputs)

    monkeypatch.setattr(dpo_trainer.PairTrainer, "compute_ref_log_probs", counted)
    return seen


def test_the_numbers_are_those_that_trl_computes_to_the_last_bit(tmp_path, monkeypatch):
    kept = reference_of(make_trainer(tmp_path / "a"))
    monkeypatch.delattr(dpo_trainer.PairTrainer, "_precompute_ref_logps")
    assert reference_of(make_trainer(tmp_path / "b")) == kept and len(kept[0]) == 18


def test_a_second_run_with_another_beta_asks_the_reference_nothing_and_draws_the_same_numbers(
    tmp_path, passes
):
    states = []
    for beta in (0.1, 0.5):
        torch.manual_seed(0)
        trainer = make_trainer(
            tmp_path / str(beta), tmp_path / "reference", beta=beta, learning_rate=beta / 100
        )
        states.append((reference_of(trainer), torch.get_rng_state().tolist()))
    assert passes == [8, 8, 8, 8, 4]
    assert states[0] == states[1]


@pytest.mark.parametrize("what", ["model", "pairs", "order", "max_length", "batch"])
def test_another_model_other_rows_or_other_batches_are_computed_again(what, tmp_path, passes):
    pairs = few_pairs()
    make_trainer(tmp_path / "a", tmp_path / "reference")
    change = {
        "pairs": {"pairs": pairs[:-1]},
        "order": {"pairs": pairs[::-1]},
        "max_length": {"max_length": 700},
        "batch": {"per_device_train_batch_size": 6},
    }.get(what, {})
    if what == "model":
        model, tokenizer = load_model(BASE_FOLDER, dtype="float32")
        next(model.parameters()).data[0, 0] += 1e-3
        model.save_pretrained(tmp_path / "other")
        tokenizer.save_pretrained(tmp_path / "other")
        change = {"start": tmp_path / "other"}
    already = len(passes)
    make_trainer(tmp_path / "b", tmp_path / "reference", **change)
    assert sum(passes[already:]) == 2 * (17 if what == "pairs" else 18)
    assert len(list((tmp_path / "reference").glob("*.npz"))) == 2


KILLED = """
import sys
from contextlib import nullcontext
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_training_dpo_trainer as t
t.torch.set_num_threads({threads})
from zephyr_utils.training import dpo_trainer
dpo_trainer.SAVE_EVERY = 1
ask = dpo_trainer.PairTrainer.compute_ref_log_probs
def slowly(self, model, inputs):
    if list(Path(sys.argv[2]).glob("*.npz")) and sys.argv[3] == "slowly":
        Path(sys.argv[1] + ".waits").touch()
        t.time.sleep(60)
    return ask(self, model, inputs)
dpo_trainer.PairTrainer.compute_ref_log_probs = slowly
t.make_trainer(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_computation_killed_in_the_middle_goes_on_and_ends_with_the_same_numbers(
    tmp_path, passes
):
    reference_folder = tmp_path / "reference"
    tests = os.path.dirname(os.path.abspath(__file__))
    code = KILLED.format(tests=tests, threads=torch.get_num_threads())
    process = warm.Process(code, tmp_path / "run", reference_folder, "slowly")
    deadline = time.monotonic() + 120
    while not (tmp_path / "run.waits").exists() and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.kill()
    [file] = reference_folder.glob("*.npz")
    assert read_reference(file, 18).shape == (2, 4), "one batch of four was written before the kill"
    resumed = reference_of(make_trainer(tmp_path / "run", reference_folder))
    assert passes == [8, 8, 8, 4], "the first batch was asked for once more"
    assert resumed == reference_of(make_trainer(tmp_path / "straight"))


@pytest.mark.parametrize("content", [b"", b"half of a file", None])
def test_a_file_that_is_not_whole_counts_as_nothing(content, tmp_path):
    path = tmp_path / "a.npz"
    if content is None:
        write_reference(path, np.full((2, 3), np.nan, np.float32))
    else:
        path.write_bytes(content)
    assert read_reference(path, 18).shape == (2, 0)
    write_reference(path, np.ones((2, 19), np.float32))
    assert read_reference(path, 18).shape == (2, 0), "more rows than there are: of another set"


def losses(folder: Path, **changes):
    log = stages.ddpo(BASE_FOLDER, few_pairs(), folder, recipe(**changes)).log
    return [row["loss"] for row in log if "loss" in row]


def test_shared_prompts_train_with_the_same_losses(tmp_path):
    plain = losses(tmp_path / "plain", share_prompts=False)
    shared = losses(tmp_path / "shared")
    live = losses(tmp_path / "live", precompute_ref_log_probs=False)
    assert shared == pytest.approx(plain, abs=1e-4) and live == pytest.approx(plain, abs=1e-4)
    assert plain[0] != plain[-1], "nothing was trained"


def test_scores_of_prompts_and_padding_are_not_computed_and_nothing_else_changes(
    tmp_path, monkeypatch
):
    scored, results = [], {}
    head = trl_utils._ChunkedLogProbFunction

    def counted(hidden, *others):
        scored.append(len(hidden))
        return head.apply(hidden, *others)

    monkeypatch.setattr(trl_utils, "_ChunkedLogProbFunction", SimpleNamespace(apply=counted))
    for how in ("answers alone", "all"):
        if how == "all":
            monkeypatch.setattr(dpo_trainer, "completion_logits_only", nullcontext)
        scored.clear()
        made = stages.ddpo(BASE_FOLDER, few_pairs(), tmp_path / how, recipe())
        weights = (made.model / "model.safetensors").read_bytes()
        losses = [row["loss"] for row in made.log if "loss" in row]
        results[how] = (sum(scored), hashlib.sha256(weights).hexdigest(), losses)
    assert results["answers alone"][0] < 0.6 * results["all"][0]
    assert results["answers alone"][1:] == results["all"][1:]


def test_pairs_grouped_by_length_have_less_padding(tmp_path):
    shares = {}
    for strategy in ("random", "group_by_length"):
        trainer = make_trainer(
            tmp_path / strategy,
            pairs=binarize(data.feedback(120)).pairs,
            train_sampling_strategy=strategy,
        )
        masks = [batch["attention_mask"] for batch in trainer.get_train_dataloader()]
        shares[strategy] = 1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)
    assert shares["group_by_length"] < 0.75 * shares["random"]


def test_step_5_and_the_ablations_rows_keep_their_reference_in_one_folder(tmp_path, monkeypatch):
    given = []

    def caught(*_, reference_folder, **__):
        given.append(reference_folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "ddpo", caught)
    pipeline = Pipeline(runs=str(tmp_path))
    nothing = ([], [], FittedRows([]))
    monkeypatch.setattr(Pipeline, "split_pairs", lambda self, made=None: nothing)
    monkeypatch.setattr(Pipeline, "dsft", lambda self: SimpleNamespace(folder=tmp_path, key="sft"))
    made = SimpleNamespace(key="pairs", folder=tmp_path, recipe={})
    monkeypatch.setattr(Pipeline, "pairs", lambda self: made)
    monkeypatch.setattr(ddpo_step, "split_pairs", lambda *_: nothing)
    for start in (
        pipeline.ddpo,
        lambda: train_into(pipeline, ABLATIONS["beta_0.5"], "model", tmp_path, {}),
    ):
        with pytest.raises(KeyboardInterrupt):
            start()
    assert given == [tmp_path / "miniature" / "reference"] * 2


def test_the_lever_that_is_not_trls_is_known_to_ddpo_alone():
    check_recipe({"share_prompts": True}, "ddpo")
    with pytest.raises(HandbookError, match="share_prompts"):
        check_recipe({"share_prompts": True}, "dsft")
