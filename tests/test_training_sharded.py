"""FSDP2 and DeepSpeed's ZeRO-3: two processes that hold half of every weight each train, save and
resume as one does.

Accelerate spreads weights on accelerators only; on a CPU it quietly makes DDP of both. Here it is
told which kind of run this is, and from there on everything is its own, TRL's and DeepSpeed's,
under the settings of the files that are shipped.
"""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
import warm
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
BEGIN = """
import os, sys
from pathlib import Path

import accelerate.state
import torch
import yaml
from torch.distributed.fsdp import FSDPModule

from zephyr_utils.training import stages
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.preferences import binarize
from zephyr_utils.recipes import RECIPES_FOLDER
from zephyr_utils.data.schema import check_dialogue
from zephyr_utils.scales import get_scale

output, how, spread = Path(sys.argv[1]), sys.argv[2], os.environ.get("WORLD_SIZE") == "2"
begin = accelerate.state.AcceleratorState.__init__


def begin_as_on_gpus(self, *arguments, fsdp_plugin=None, deepspeed_plugin=None, **others):
    begin(self, *arguments, fsdp_plugin=fsdp_plugin, deepspeed_plugin=deepspeed_plugin, **others)
    kind = accelerate.state.DistributedType
    if fsdp_plugin is not None:
        sets_kind = {"distributed_type": kind.FSDP}
        accelerate.state.PartialState._shared_state |= sets_kind
        accelerate.state.AcceleratorState._shared_state |= sets_kind | {"fsdp_plugin": fsdp_plugin}
    if deepspeed_plugin is not None:
        import deepspeed

        if not deepspeed.comm.is_initialized():
            deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)
        plugins = deepspeed_plugin
        if not isinstance(plugins, dict):
            plugins = {"default": plugins}
        for plugin in plugins.values():
            plugin.set_mixed_precision("no")
        next(iter(plugins.values())).select(_from_accelerator_state=True)
        sets_kind = {"distributed_type": kind.DEEPSPEED}
        accelerate.state.PartialState._shared_state |= sets_kind
        sets_kind = sets_kind | {"deepspeed_plugins": plugins}
        accelerate.state.AcceleratorState._shared_state |= sets_kind


if spread:
    # What `accelerate launch` puts into the environment of the file that is shipped.
    asked = yaml.safe_load((RECIPES_FOLDER / "accelerate" / f"{how}.yaml").read_text())
    if how == "fsdp2":
        prefix, settings = "", asked["fsdp_config"]
        variables = {"ACCELERATE_USE_FSDP": True}
    else:
        prefix, settings = "ACCELERATE_DEEPSPEED_", asked["deepspeed_config"]
        variables = {"ACCELERATE_USE_DEEPSPEED": True, "DS_ACCELERATOR": "cpu"}
    variables |= {prefix + key.upper(): value for key, value in settings.items()}
    for key, value in variables.items():
        os.environ[key] = str(value).lower() if isinstance(value, bool) else str(value)
    accelerate.state.AcceleratorState.__init__ = begin_as_on_gpus


def train(trainer, folder, train=stages.train_and_log):
    log = train(trainer, folder)
    model = trainer.model_wrapped
    units = sum(isinstance(module, FSDPModule) for module in model.modules())
    assert not spread or how != "fsdp2" or units >= model.config.num_hidden_layers + 1, units
    for name, weight in model.named_parameters() if spread else ():
        if how == "fsdp2":
            held, whole, row = weight.to_local().numel(), weight.numel(), weight[0].numel()
        else:
            held, whole, row = weight.ds_tensor.numel(), weight.ds_numel, 1
        assert 2 * held <= whole + row, name  # an odd number of rows is not cut within one
    return log


stages.train_and_log = train
short = {"per_device_train_batch_size": 8, "max_steps": 4, "logging_steps": 1}
pairs = binarize(data.feedback(60)).pairs
"""
TRAIN = """
# Dialogues in their order are of about one length, so that each process holds as many tokens:
# gradients are averaged over processes, not tokens.
rows = [check_dialogue(row) for row in data.dialogues(48)]
for name, changes in (("dsft_lora", {}), ("dsft_full", {"use_peft": False, "learning_rate": 1e-3})):
    order = {"train_sampling_strategy": "sequential"}
    recipe = get_scale("miniature").recipe("dsft", **order, **short, **changes)
    metrics = stages.dsft(BASE_FOLDER, rows[:32], rows[32:], output / name, recipe).metrics
    (output / name / "held_out_loss").write_text(str(metrics["held_out_loss"]))
recipe = get_scale("miniature").recipe("ddpo", **short)
start = output / "dsft_lora" / "model"
stages.ddpo(
    start, pairs[:32], output / "ddpo_lora", recipe, held_out=pairs[32:48], keep_epochs=True
)
recipe = get_scale("miniature").recipe("ddpo", **short, use_peft=False, learning_rate=1e-4)
stages.ddpo(start, pairs[:32], output / "ddpo_full", recipe)
"""
RESUMED = """
if not (output / "checkpoints").exists():  # the first start dies at step 3
    def die(self, args, state, control, **_):
        if state.global_step == 3:
            os._exit(9)

    stages.StopOnDivergence.on_log = die
recipe = get_scale("miniature").recipe("ddpo", **short, save_steps=2)
start = output.parent / "dsft_lora" / "model"
stages.ddpo(start, pairs[:32], output, recipe, held_out=pairs[32:48])
"""
NAMES = ("dsft_lora", "dsft_full", "ddpo_lora", "ddpo_full")


def train(folder: Path, how: str) -> Path:
    if how == "whole":
        warm.run(BEGIN + TRAIN, folder, how)
    else:
        for process in warm.run_together(BEGIN + TRAIN, folder, how):
            assert process.poll() == 0, process.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """What one process leaves."""
    return train(tmp_path_factory.mktemp("whole"), "whole")


@pytest.fixture(scope="module", params=["fsdp2", "zero3"])
def spread(request, tmp_path_factory) -> Path:
    """What two processes leave that hold half of the weights each."""
    if request.param == "zero3" and not importlib.util.find_spec("deepspeed"):
        pytest.skip("DeepSpeed is not installed")
    return train(tmp_path_factory.mktemp(request.param), request.param)


def losses(folder: Path, key: str = "loss") -> list[float]:
    return [row[key] for row in json.loads((folder / "log.json").read_text()) if key in row]


@pytest.mark.parametrize("name", NAMES)
def test_weights_spread_over_two_processes_take_the_steps_of_whole_ones(name, whole, spread):
    one, two = whole / name, spread / name
    assert len(losses(one)) == 4 and losses(one)[0] != losses(one)[-1], "nothing was trained"
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert losses(two, "eval_loss") == pytest.approx(losses(one, "eval_loss"), abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_they_leave_is_whole_and_the_same(name, whole, spread):
    one, two = whole / name, spread / name
    files = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert files == {path.relative_to(two) for path in two.rglob("*") if path.is_file()}
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pkl")]
    weights = [path for path in files if path.suffix == ".safetensors"]
    # one epoch's adapter is kept
    assert len(weights) == {"dsft_lora": 2, "ddpo_lora": 3}.get(name, 1)
    for path in weights:
        mine, theirs = load_file(one / path), load_file(two / path)
        # written out where it is the embedding's own table
        if "lm_head.weight" in set(theirs) - set(mine):
            assert theirs.pop("lm_head.weight").equal(theirs["model.embed_tokens.weight"])
        assert set(mine) == set(theirs)
        for tensor in mine:
            assert torch.allclose(theirs[tensor], mine[tensor], rtol=0, atol=2e-4), (path, tensor)
    if name.startswith("dsft"):
        mine, theirs = (float((folder / "held_out_loss").read_text()) for folder in (one, two))
        assert theirs == pytest.approx(mine, abs=1e-5)


def test_a_training_on_spread_weights_that_died_goes_on_to_the_same_weights(spread):
    how, output = "fsdp2" if spread.name.startswith("fsdp2") else "zero3", spread / "resumed"
    died = warm.run_together(BEGIN + RESUMED, output, how)
    assert 9 in [process.poll() for process in died], "it was to die"
    assert (output / "checkpoints" / "checkpoint-2").exists() and not (output / "model").exists()
    for process in warm.run_together(BEGIN + RESUMED, output, how):
        assert process.poll() == 0, process.stderr[-3000:]
    straight = load_file(spread / "ddpo_lora" / "model" / "model.safetensors")
    for name, tensor in load_file(output / "model" / "model.safetensors").items():
        assert tensor.equal(straight[name]), name
