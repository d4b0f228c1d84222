"""FSDP2 with LoRA: two processes that hold half of every weight each take the step that one process takes.

On a CPU accelerate quietly makes DDP of FSDP, so the model is wrapped here as accelerate wraps it on GPUs, by its own
function and with the settings of the file that is shipped, and the step is written out.
"""

import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
STEPS = """
import sys
from types import SimpleNamespace

import torch
import torch.distributed as dist
import yaml
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

from zephyr_utils.chat import load_model
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.objectives import dpo_loss
from zephyr_utils.recipes import RECIPES_FOLDER

sharded, output = sys.argv[1] == "sharded", sys.argv[2]
rank, processes = 0, 1
if sharded:
    dist.init_process_group("gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()
model, _ = load_model(BASE_FOLDER, dtype="float32")
add_fused_lm_head(model)
torch.manual_seed(0)
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets))
if sharded:
    asked = yaml.safe_load((RECIPES_FOLDER / "accelerate" / "fsdp2.yaml").read_text())["fsdp_config"]
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=asked["fsdp_version"], auto_wrap_policy=asked["fsdp_auto_wrap_policy"].lower(),
        cpu_ram_efficient_loading=asked["fsdp_cpu_ram_efficient_loading"],
        reshard_after_forward=asked["fsdp_reshard_after_forward"], state_dict_type=asked["fsdp_state_dict_type"],
        cpu_offload=asked["fsdp_offload_params"], activation_checkpointing=asked["fsdp_activation_checkpointing"],
    )
    accelerator = SimpleNamespace(
        state=SimpleNamespace(fsdp_plugin=plugin), mixed_precision="no", is_main_process=rank == 0,
        device=torch.device("cpu"), parallelism_config=None,
    )
    model = fsdp2_prepare_model(accelerator, model)
    units = sum(isinstance(module, FSDPModule) for module in model.modules())
    weight = model.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight
    held = weight.to_local().numel()
    assert units >= model.config.num_hidden_layers + 1, units
    assert isinstance(weight, DTensor) and 2 * held == weight.numel(), "not sharded"
draw = torch.Generator().manual_seed(0)
def words(count):
    return torch.randint(4, 1000, (count,), generator=draw).tolist()
rows = [{"prompt_ids": words(6 + n), "chosen_ids": words(5 + n % 3), "rejected_ids": words(4 + n % 4)} for n in range(8)]
batch = DataCollatorForPreference(pad_token_id=0)(rows[rank * 8 // processes : (rank + 1) * 8 // processes])
labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
def log_probs():
    return model(**batch, labels=labels, use_cache=False, fused_lm_head=True).log_probs.sum(1).chunk(2)
weights = [weight for weight in model.parameters() if weight.requires_grad]
optimiser, losses = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.0), []
with torch.no_grad(), model.disable_adapter():
    reference = log_probs()
for _ in range(3):
    loss = dpo_loss(*log_probs(), *reference, beta=0.1)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimiser.step()
    optimiser.zero_grad()
    mean = loss.detach().clone()
    if sharded:
        dist.all_reduce(mean)
    losses.append(float(mean) / processes)
whole = {
    name: (weight.full_tensor() if isinstance(weight, DTensor) else weight).detach().contiguous()
    for name, weight in model.named_parameters() if weight.requires_grad
}
if rank == 0:
    save_file(whole | {"losses": torch.tensor(losses)}, output)
if sharded:
    dist.destroy_process_group()
"""


def test_three_steps_on_weights_spread_over_two_processes_are_those_on_whole_weights(tmp_path):
    script, environment = tmp_path / "steps.py", {**os.environ, "OMP_NUM_THREADS": "1"}
    script.write_text(STEPS)
    found = {}
    for how in ("whole", "sharded"):
        launcher = (
            ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
            if how == "sharded"
            else []
        )
        output = tmp_path / f"{how}.safetensors"
        done = subprocess.run(
            [sys.executable, *launcher, str(script), how, str(output)],
            capture_output=True, text=True, timeout=300, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        found[how] = load_file(output)
    losses = found["whole"].pop("losses")
    assert losses[0] == pytest.approx(0.6931, abs=1e-4) and losses[2] < losses[0] - 0.05, (
        "nothing was trained"
    )
    assert found["sharded"].pop("losses").numpy() == pytest.approx(losses.numpy(), abs=1e-5)
    assert set(found["sharded"]) == set(found["whole"])
    moved = 0.0
    for name, weight in found["whole"].items():
        assert found["sharded"][name].numpy() == pytest.approx(weight.numpy(), abs=2e-4), name
        moved += float(weight.abs().sum()) if "lora_B" in name else 0.0
    assert moved > 1, "the adapter did not move"
