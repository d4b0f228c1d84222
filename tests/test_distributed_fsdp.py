"""FSDP2: two processes that hold half of every weight each train, save and resume what one process trains.

Accelerate shards on accelerators only; on a CPU it quietly makes DDP of FSDP. Here it is told that this kind of run is FSDP,
and from there on everything is its own and TRL's, under the settings of the file that is shipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
SHARDED = """
import os, sys
from pathlib import Path

import accelerate.state
import torch
import yaml
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from zephyr_utils import training
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.preferences import binarize
from zephyr_utils.recipes import RECIPES_FOLDER
from zephyr_utils.records_check import check_dialogue
from zephyr_utils.scales import get_scale

output, sharded = Path(sys.argv[1]), os.environ.get("WORLD_SIZE") == "2"
if sharded:
    asked = yaml.safe_load((RECIPES_FOLDER / "accelerate" / "fsdp2.yaml").read_text())["fsdp_config"]
    os.environ |= {"ACCELERATE_USE_FSDP": "true"} | {key.upper(): str(value).lower() for key, value in asked.items()}
    os.environ["FSDP_AUTO_WRAP_POLICY"], os.environ["FSDP_STATE_DICT_TYPE"] = "TRANSFORMER_BASED_WRAP", "FULL_STATE_DICT"
    begin = accelerate.state.AcceleratorState.__init__

    def begin_as_on_gpus(self, *arguments, fsdp_plugin=None, **others):
        begin(self, *arguments, fsdp_plugin=fsdp_plugin, **others)
        if fsdp_plugin is not None:
            as_on_gpus = {"distributed_type": accelerate.state.DistributedType.FSDP, "fsdp_plugin": fsdp_plugin}
            accelerate.state.PartialState._shared_state |= as_on_gpus
            accelerate.state.AcceleratorState._shared_state |= as_on_gpus

    accelerate.state.AcceleratorState.__init__ = begin_as_on_gpus


def train(trainer, folder, train=training._train):
    log = train(trainer, folder)
    model = trainer.model_wrapped
    units = sum(isinstance(module, FSDPModule) for module in model.modules())
    assert units >= (model.config.num_hidden_layers + 1 if sharded else 0), units
    for name, weight in model.named_parameters():
        assert not sharded or isinstance(weight, DTensor) and 2 * weight.to_local().numel() <= weight.numel() + weight[0].numel(), name
    return log


training._train = train
short = {"per_device_train_batch_size": 8, "max_steps": 4, "logging_steps": 1}
pairs = binarize(data.feedback(60)).pairs
"""
TRAIN = """
# Dialogues in their order are of about one length, so that each process holds as many tokens: gradients are averaged over
# processes, not tokens.
rows = [check_dialogue(row) for row in data.dialogues(48)]
for name, changes in (("dsft_lora", {}), ("dsft_full", {"use_peft": False, "learning_rate": 1e-3})):
    recipe = get_scale("miniature").recipe("dsft", train_sampling_strategy="sequential", **short, **changes)
    metrics = training.dsft(BASE_FOLDER, rows[:32], rows[32:], output / name, recipe).metrics
    (output / name / "held_out_loss").write_text(str(metrics["held_out_loss"]))
recipe = get_scale("miniature").recipe("ddpo", **short)
start = output / "dsft_lora" / "model"
training.ddpo(start, pairs[:32], output / "ddpo_lora", recipe, held_out=pairs[32:48], keep_epochs=True)
recipe = get_scale("miniature").recipe("ddpo", **short, use_peft=False, learning_rate=1e-4)
training.ddpo(start, pairs[:32], output / "ddpo_full", recipe)
"""
RESUMED = """
if not (output / "checkpoints").exists():  # the first start dies at step 3
    def die(self, args, state, control, **_):
        if state.global_step == 3:
            os._exit(9)

    training.StopWhenBroken.on_log = die
recipe = get_scale("miniature").recipe("ddpo", **short, save_steps=2)
start = output.parent / "dsft_lora" / "model"
training.ddpo(start, pairs[:32], output, recipe, held_out=pairs[32:48])
"""
NAMES = ("dsft_lora", "dsft_full", "ddpo_lora", "ddpo_full")


def run(code: str, folder: Path, processes: int, output: Path) -> subprocess.CompletedProcess:
    script = folder / "train.py"
    script.write_text(SHARDED + code)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), str(script), str(output)],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[int, Path]:
    """Number of processes -> what they left; more than one hold the weights spread."""
    folders = {}
    for processes in (1, 2):
        folders[processes] = tmp_path_factory.mktemp(f"held_by_{processes}")
        done = run(TRAIN, folders[processes], processes, folders[processes])
        assert done.returncode == 0, done.stderr[-3000:]
    return folders


def losses(folder: Path, key: str = "loss") -> list[float]:
    return [row[key] for row in json.loads((folder / "log.json").read_text()) if key in row]


@pytest.mark.parametrize("name", NAMES)
def test_weights_spread_over_two_processes_take_the_steps_of_whole_ones(name, trained):
    whole, spread = (trained[processes] / name for processes in (1, 2))
    assert len(losses(whole)) == 4 and losses(whole)[0] != losses(whole)[-1], "nothing was trained"
    assert losses(spread) == pytest.approx(losses(whole), abs=1e-5)
    assert losses(spread, "eval_loss") == pytest.approx(losses(whole, "eval_loss"), abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_they_leave_is_whole_and_the_same(name, trained):
    whole, spread = (trained[processes] / name for processes in (1, 2))
    files = {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()}
    assert files == {path.relative_to(spread) for path in spread.rglob("*") if path.is_file()}
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pkl")]
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert len(weights) == {"dsft_lora": 2, "ddpo_lora": 3}.get(name, 1)  # one epoch's adapter is kept
    for path in weights:
        one, two = load_file(whole / path), load_file(spread / path)
        if "lm_head.weight" in set(two) - set(one):  # written out where it is the embedding's own table
            assert two.pop("lm_head.weight").equal(two["model.embed_tokens.weight"])
        assert set(one) == set(two)
        for tensor in one:
            assert two[tensor].numpy() == pytest.approx(one[tensor].numpy(), abs=2e-4), (path, tensor)
    if name.startswith("dsft"):
        one, two = (float((folder / "held_out_loss").read_text()) for folder in (whole, spread))
        assert two == pytest.approx(one, abs=1e-5)


def test_a_training_on_spread_weights_that_died_goes_on_to_the_same_weights(trained, tmp_path):
    output = trained[2] / "resumed"
    assert run(RESUMED, tmp_path, 2, output).returncode != 0, "it was to die"
    assert (output / "checkpoints" / "checkpoint-2").exists() and not (output / "model").exists()
    done = run(RESUMED, tmp_path, 2, output)
    assert done.returncode == 0, done.stderr[-3000:]
    straight = load_file(trained[2] / "ddpo_lora" / "model" / "model.safetensors")
    for name, tensor in load_file(output / "model" / "model.safetensors").items():
        assert tensor.equal(straight[name]), name
