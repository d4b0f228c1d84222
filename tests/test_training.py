"""dSFT and dDPO on TRL: what they leave, where they start, and that a kill costs only time."""

import hashlib
import json
import math
import os
import time

import pytest
import torch
import warm

from zephyr_utils import training
from zephyr_utils.chat import load_model
from zephyr_utils.data.schema import check_dialogue
from zephyr_utils.diagnostics import implied_beta, read_training_log
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.miniature import data as world
from zephyr_utils.preferences import binarize
from zephyr_utils.scales import get_scale, scale_names
from zephyr_utils.training import stages
from zephyr_utils.training.rows import hold_out

pytestmark = pytest.mark.slow
SHORT = {
    "per_device_train_batch_size": 8,
    "num_train_epochs": 1,
    "logging_steps": 1,
    "save_steps": 2,
}


def recipe(stage, **changes):
    return get_scale("miniature").recipe(stage, **{**SHORT, **changes})


def few_dialogues():
    return hold_out([check_dialogue(row) for row in world.dialogues(72)], 0.1)


def few_pairs():
    return binarize(world.feedback(48)).pairs


@pytest.fixture(scope="module")
def sft(tmp_path_factory):
    return stages.dsft(
        BASE_FOLDER, *few_dialogues(), tmp_path_factory.mktemp("sft"), recipe("dsft")
    )


@pytest.fixture(scope="module")
def dpo(sft, tmp_path_factory):
    return stages.ddpo(sft.model, few_pairs(), tmp_path_factory.mktemp("dpo"), recipe("ddpo"))


def weights_of(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_few_steps_of_dsft_lower_the_loss_on_dialogues_held_out(sft):
    assert sft.metrics["held_out_loss"] < sft.metrics["held_out_loss_before"] - 0.3


def test_what_dsft_leaves_is_a_whole_model_an_adapter_and_a_log_and_no_pickle(sft):
    folder = sft.model.parent
    assert {path.name for path in folder.iterdir()} == {"model", "adapter", "log.json"}
    assert not [
        path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".pth")
    ]
    model, tokenizer = load_model(sft.model)
    assert tokenizer.chat_template and sum(p.numel() for p in model.parameters()) < 2e6
    assert sum("loss" in line for line in json.loads((folder / "log.json").read_text())) > 5


def test_the_adapter_does_not_tell_where_the_base_lay(sft):
    config = json.loads((sft.model.parent / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == BASE_FOLDER.name
    texts = [path.read_bytes() for path in (sft.model.parent / "adapter").iterdir()]
    assert len(texts) > 2 and not any(str(BASE_FOLDER).encode() in text for text in texts)


def test_the_modules_of_an_adapter_are_named_in_one_order_in_every_run(sft):
    config = json.loads((sft.model.parent / "adapter" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    assert len(config["target_modules"]) == 7


def test_the_adapter_on_its_base_is_the_merged_model(sft):
    from peft import PeftModel

    merged, tokenizer = load_model(sft.model, dtype="float32")
    base, _ = load_model(BASE_FOLDER, dtype="float32")
    with_adapter = PeftModel.from_pretrained(base, sft.model.parent / "adapter").eval()
    ids = torch.tensor([tokenizer.encode("What is 1 plus 1?")])
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, with_adapter(ids).logits, atol=1e-4)


def test_ddpo_starts_at_the_dsft_model_and_moves_apart_what_was_chosen_and_rejected(sft, dpo):
    metrics = dpo.metrics
    assert metrics["first_step_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert metrics["first_step_logps_chosen"] == pytest.approx(
        metrics["sft_logps_chosen"], abs=1e-3
    )
    margins = [line["rewards/margins"] for line in dpo.log if "rewards/margins" in line]
    assert margins[0] == pytest.approx(0, abs=1e-5)
    assert sum(margins[len(margins) // 2 :]) > 0
    assert weights_of(dpo.model) != weights_of(sft.model)


def test_a_run_that_starts_from_another_model_is_stopped_though_its_loss_is_ln_2(
    sft, tmp_path, monkeypatch
):
    load = stages.load_for_training

    sources = []

    def once(source, *others):
        sources.append(source)
        return load(BASE_FOLDER if len(sources) == 1 else source, *others)

    monkeypatch.setattr(stages, "load_for_training", once)
    with pytest.raises(HandbookError, match="start from the merged dSFT model"):
        stages.ddpo(sft.model, few_pairs(), tmp_path, recipe("ddpo"))


def test_mixed_precision_starts_at_its_reference_and_a_wrong_start_is_still_found(sft, tmp_path):
    mixed = recipe("ddpo", bf16=True, max_steps=1, save_strategy="no")
    mixed |= {"per_device_train_batch_size": 3}  # less than the rows of the check
    rows = few_pairs()
    made = stages.ddpo(sft.model, rows, tmp_path / "right", mixed)
    # exactly: the reference was computed in batches of the same shape
    assert made.metrics["first_step_loss"] == pytest.approx(math.log(2), abs=1e-6)
    trainer = stages.ddpo_trainer(BASE_FOLDER, rows, tmp_path / "wrong", mixed)
    with pytest.raises(HandbookError, match="the policy starts at log-probability"):
        training.check_first_step(trainer, sft.model, rows, mixed)


def test_our_log_probabilities_are_those_that_trl_logs(sft, dpo):
    model, tokenizer = load_model(sft.model, dtype="float32")
    pairs = few_pairs()[:8]
    own = training.answer_log_probs(
        model, tokenizer, [pair["chosen"] for pair in pairs], batch_size=3
    )
    assert float(own.mean()) == pytest.approx(dpo.metrics["first_step_logps_chosen"], abs=1e-3)


def test_the_held_out_loss_does_not_depend_on_the_batch(sft):
    model, tokenizer = load_model(sft.model, dtype="float32")
    _, held_out = few_dialogues()
    losses = [
        training.held_out_loss(model, tokenizer, held_out, batch_size=size) for size in (1, 3, 16)
    ]
    assert max(losses) - min(losses) < 1e-5


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_training as t
from zephyr_utils.training import stages
stage, output = sys.argv[1], Path(sys.argv[2])
if stage == "dsft":
    stages.dsft(t.BASE_FOLDER, *t.few_dialogues(), output, t.recipe("dsft"))
else:
    stages.ddpo(sys.argv[3], t.few_pairs(), output, t.recipe("ddpo"))
"""


def start(stage, output, *more):
    tests = os.path.dirname(os.path.abspath(__file__))
    return warm.Process(KILLED.format(tests=tests), stage, output, *more)


@pytest.mark.parametrize("stage", ["dsft", "ddpo"])
def test_a_run_killed_in_the_middle_ends_with_the_same_weights(stage, sft, dpo, tmp_path):
    more = () if stage == "dsft" else (sft.model,)
    straight = tmp_path / "straight"
    process = start(stage, straight, *more)
    assert process.wait() == 0, process.stderr[-2000:]
    killed = tmp_path / "killed"
    process = start(stage, killed, *more)
    deadline = time.monotonic() + 180
    # The marker file of the second checkpoint is written last of that checkpoint's files.
    while (
        not list((killed / "checkpoints").glob("checkpoint-4/trainer_state.json"))
        and time.monotonic() < deadline
    ):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    assert not (killed / "model").exists()
    process = start(stage, killed, *more)
    assert process.wait() == 0, process.stderr[-2000:]
    assert weights_of(killed / "model") == weights_of(straight / "model")


def test_an_unknown_key_is_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(HandbookError, match="did you mean `beta`"):
        stages.ddpo(tmp_path / "nowhere", [], tmp_path, {"betta": 0.1})


def test_a_directory_that_holds_no_model_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(HandbookError, match="holds no model"):
        stages.dsft(tmp_path / "empty", *few_dialogues(), tmp_path, recipe("dsft"))


def test_a_loss_that_is_not_a_number_stops_the_run_with_a_hint(tmp_path):
    with pytest.raises(HandbookError, match=r"(?s)the loss is .* at step.*lower learning_rate"):
        stages.dsft(
            BASE_FOLDER,
            *few_dialogues(),
            tmp_path,
            recipe("dsft", learning_rate=1e30, max_grad_norm=0.0),
        )


def test_the_adapters_first_weights_follow_from_the_seed_and_from_nothing_drawn_before(
    sft, tmp_path
):
    first = []
    for number, seed in enumerate((0, 0, 1)):
        torch.rand(number)  # whatever the process has drawn before
        trainer = stages.ddpo_trainer(
            sft.model, few_pairs(), tmp_path / str(number), recipe("ddpo", seed=seed)
        )
        named = trainer.model.named_parameters()
        first.append(next(weight.clone() for name, weight in named if "lora_A" in name))
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


def test_pairs_held_out_are_measured_on_the_way_and_change_nothing_of_the_training(
    sft, dpo, tmp_path
):
    pairs = few_pairs()
    measured = stages.ddpo(sft.model, pairs, tmp_path, recipe("ddpo"), held_out=pairs[:10])
    assert 0 < measured.metrics["evaluated_pairs"] < 10, "a tenth of so short a run"
    log = read_training_log(measured.log)
    assert log.evaluation["step"][0] == 0 and log.evaluation["step"][-1] == log.training["step"][-1]
    assert log.evaluation["loss"][0] == pytest.approx(math.log(2), abs=1e-5)
    assert log.evaluation["rewards/accuracies"][0] == 0
    assert implied_beta(log).beta == pytest.approx(recipe("ddpo")["beta"], rel=1e-3)
    assert weights_of(measured.model) == weights_of(dpo.model)


@pytest.mark.parametrize("name", [name for name in scale_names() if name != "miniature"])
def test_a_real_model_measures_few_pairs_at_once(name):
    ddpo = get_scale(name).recipe("ddpo")
    at_once = ddpo["per_device_eval_batch_size"]
    assert at_once == 2 * ddpo["per_device_train_batch_size"], "their logits would make the peak"


def test_pairs_are_measured_in_whole_batches_of_at_most_as_many_as_the_recipe_says(sft, tmp_path):
    pairs = few_pairs()
    settings = recipe("ddpo", per_device_eval_batch_size=5, eval_steps=3)
    trainer = stages.ddpo_trainer(sft.model, pairs, tmp_path, settings, pairs[:12])
    assert len(trainer.eval_dataset) == 12 and trainer.args.per_device_eval_batch_size == 4
    assert trainer.args.eval_steps == 3
