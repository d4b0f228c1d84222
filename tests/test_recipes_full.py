"""The recipes for GPUs: every variant parses, every value says where it is from, and the batch does
not follow the GPUs.
"""

import re

import pytest
import torch
import trl
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM
from trl_names import needs_newest_names

from zephyr_utils.chat import load_model
from zephyr_utils.data.schema import check_dialogue
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.miniature import data as world
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.preferences import binarize
from zephyr_utils.recipes import RECIPES_FOLDER, STAGES, recipe_path
from zephyr_utils.scales import SCALES, get_scale, variants
from zephyr_utils.training import loading, save, stages
from zephyr_utils.training.batch import share_batch

VARIANTS = [f"{scale}/{variant}" for scale in SCALES for variant in variants(scale)]
LARGE = ["zephyr-7b-lora", "zephyr-7b-full", *VARIANTS]
EVERY = [(name, stage) for name in LARGE for stage in STAGES]
ACCELERATE = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED"}
# Only values whose reason is the same in every recipe, and said in CONTRIBUTING or chapter 09, may
# stand without one.
NEEDS_NO_SOURCE = {
    "use_peft",
    "max_grad_norm",
    "logging_steps",
    "save_total_limit",
    "dtype",
    "optim",
    "weight_decay",
}


def test_the_variants_are_those_the_chapter_speaks_of():
    assert VARIANTS == ["smol/cpu", "zephyr-7b-lora/qlora", "zephyr-7b-full/handbook-v2"]


@needs_newest_names
@pytest.mark.parametrize(("name", "stage"), EVERY)
def test_trls_own_parser_takes_a_variant_as_it_is(name, stage):
    config = {"dsft": trl.SFTConfig, "ddpo": trl.DPOConfig}[stage]
    words = ["--config", str(recipe_path(name, stage)), "--output_dir", "out", "--use_cpu", "true"]
    arguments, model = trl.TrlParser((config, trl.ModelConfig)).parse_args_and_config(words)
    recipe = get_scale(name).recipe(stage)
    assert arguments.gradient_accumulation_steps == recipe["gradient_accumulation_steps"]
    assert model.load_in_4bit == recipe.get("load_in_4bit", False)


@pytest.mark.parametrize(("name", "stage"), EVERY)
def test_a_value_of_a_large_recipe_says_on_its_line_where_it_is_from(name, stage):
    for line in recipe_path(name, stage).read_text().splitlines():
        key = re.match(r"(\w+):", line)
        if key and key[1] not in NEEDS_NO_SOURCE | {"packing_strategy"}:
            assert "  # " in line, f"{name}/{stage}.yaml: {line}"


@pytest.mark.parametrize(
    ("name", "stage", "wanted"),
    [
        # paper, section 4: batch, learning rate, schedule, epochs, and for dDPO beta
        ("zephyr-7b-full", "dsft", (512, 2e-5, "cosine", 1, None)),
        ("zephyr-7b-full", "ddpo", (32, 5e-7, "linear", 3, 0.1)),
        # alignment-handbook after its pull request 88
        ("zephyr-7b-full/handbook-v2", "dsft", (128, 2e-5, "cosine", 1, None)),
        ("zephyr-7b-full/handbook-v2", "ddpo", (128, 5e-7, "cosine", 1, 0.01)),
        ("zephyr-7b-lora/qlora", "dsft", (64, 2e-4, "cosine", 1, None)),
        ("zephyr-7b-lora/qlora", "ddpo", (128, 5e-6, "cosine", 1, 0.01)),
        ("zephyr-7b-lora", "ddpo", (32, 5e-6, "linear", 1, 0.1)),
    ],
)
def test_a_recipe_holds_the_published_values(name, stage, wanted):
    recipe = get_scale(name).recipe(stage)
    batch = recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
    keys = ("learning_rate", "lr_scheduler_type", "num_train_epochs")
    assert (batch, *(recipe[key] for key in keys), recipe.get("beta")) == wanted


def test_an_unknown_variant_is_refused_with_those_there_are():
    with pytest.raises(HandbookError, match=r"(?s)no variant `lora4`.*qlora"):
        get_scale("zephyr-7b-lora/lora4")
    with pytest.raises(HandbookError, match="it has none"):
        get_scale("miniature/large")


def test_a_variant_has_a_folder_of_its_own_for_what_it_makes(tmp_path):
    directions = [
        Pipeline(scale=name, runs=str(tmp_path)).folder
        for name in ("zephyr-7b-lora", "zephyr-7b-lora/qlora")
    ]
    assert directions[0] != directions[1]


# --- the effective batch --------------------------------------------------------------------------


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64))
def test_the_effective_batch_does_not_follow_the_number_of_processes(
    per_device, accumulation, processes
):
    if (per_device * accumulation) % processes:
        with pytest.raises(HandbookError, match="cannot be shared"):
            share_batch(per_device, accumulation, processes)
        return
    rows, times = share_batch(per_device, accumulation, processes)
    assert rows * times * processes == per_device * accumulation
    assert 1 <= rows <= per_device  # what fitted into memory still does


def test_one_process_keeps_the_recipes_own_values():
    for per_device, accumulation in ((32, 1), (4, 16), (7, 3)):
        assert share_batch(per_device, accumulation, 1) == (per_device, accumulation)


def test_the_papers_batch_comes_out_on_the_papers_sixteen_gpus():
    recipe = get_scale("zephyr-7b-full").recipe("ddpo")
    assert share_batch(
        recipe["per_device_train_batch_size"], recipe["gradient_accumulation_steps"], 16
    ) == (
        2,
        1,
    )


def test_the_trainer_is_given_the_derived_accumulation_only_where_several_processes_run(
    monkeypatch, tmp_path, capsys
):
    recipe = get_scale("miniature").recipe(
        "dsft", per_device_train_batch_size=32, gradient_accumulation_steps=4
    )
    assert loading.trl_arguments("dsft", tmp_path, recipe).gradient_accumulation_steps == 4
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(loading, "processes", lambda: 4)
    monkeypatch.setenv("RANK", "0")
    arguments = loading.trl_arguments("dsft", tmp_path, recipe)
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (32, 1)
    assert "4 processes x 32 rows x 1 micro-batches = 128 rows per step" in capsys.readouterr().err


# --- accelerate -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACCELERATE)
def test_accelerates_own_parser_takes_a_file_and_finds_the_kind_it_is_named_for(name):
    path = RECIPES_FOLDER / "accelerate" / f"{name}.yaml"
    config = load_config_from_file(str(path))  # raises for a key that accelerate does not know
    assert config.distributed_type == ACCELERATE[name]
    assert (config.num_processes, config.mixed_precision) == (8, "bf16")


def test_accelerate_refuses_a_key_it_does_not_know(tmp_path):
    """So that the test above can fail."""
    content = yaml.safe_load((RECIPES_FOLDER / "accelerate" / "ddp.yaml").read_text())
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(content | {"num_gpus": 8}))
    with pytest.raises(ValueError, match="num_gpus"):
        load_config_from_file(str(tmp_path / "wrong.yaml"))


@pytest.mark.parametrize(
    ("name", "flag"), [("ddp", "multi_gpu"), ("fsdp2", "use_fsdp"), ("zero3", "use_deepspeed")]
)
def test_accelerate_launch_reads_a_file_as_several_processes_of_its_kind(name, flag):
    path = RECIPES_FOLDER / "accelerate" / f"{name}.yaml"
    words = ["--config_file", str(path), "--num_processes", "4", "-m", "zephyr_utils", "sft"]
    arguments, _config, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert getattr(arguments, flag) and arguments.num_processes == 4
    assert (arguments.training_script, arguments.training_script_args) == ("zephyr_utils", ["sft"])
    if name == "fsdp2":
        assert str(arguments.fsdp_version) == "2"
    if name == "zero3":
        assert int(arguments.zero_stage) == 3


def test_after_qlora_the_adapter_is_merged_into_the_weights_as_they_were(tmp_path):
    """With a base in full precision both ways of merging have to agree; in 4 bits only this one
    keeps the adapter whole.
    """
    model, _ = load_model(BASE_FOLDER, dtype="float32")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    adapted.save_pretrained(tmp_path / save.ADAPTER)
    merged = save.merged_into_base(adapted, tmp_path, {"dtype": "float32"}).state_dict()
    before = load_model(BASE_FOLDER, dtype="float32")[0].state_dict()
    for name, weight in adapted.merge_and_unload().state_dict().items():
        assert torch.allclose(merged[name], weight, atol=1e-6), name
    moved = "model.layers.0.mlp.down_proj.weight"
    assert not torch.allclose(merged[moved], before[moved], atol=1e-3)


@pytest.mark.slow
def test_qlora_runs_the_whole_pipeline_and_leaves_a_model_in_full_precision(tmp_path):
    """On a CPU too, where bitsandbytes is installed; its CPU kernels want widths that are multiples
    of 64.
    """
    pytest.importorskip("bitsandbytes", reason="pip install 'zephyr-handbook[qlora]'")
    torch.manual_seed(0)
    config = MistralConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=1000,
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    base = MistralForCausalLM(config)
    base.save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(BASE_FOLDER).save_pretrained(tmp_path / "base")
    short = {
        "load_in_4bit": True,
        "use_bnb_nested_quant": True,
        "per_device_train_batch_size": 8,
        "max_steps": 3,
    }
    recipes = {stage: get_scale("miniature").recipe(stage, **short) for stage in STAGES}
    rows = [check_dialogue(row) for row in world.dialogues(40)]
    sft = stages.dsft(tmp_path / "base", rows[:32], rows[32:], tmp_path / "dsft", recipes["dsft"])
    assert sft.metrics["held_out_loss"] < sft.metrics["held_out_loss_before"]
    dpo = stages.ddpo(
        sft.model, binarize(world.feedback(40)).pairs[:32], tmp_path / "ddpo", recipes["ddpo"]
    )
    assert dpo.metrics["first_step_logps_chosen"] == pytest.approx(
        dpo.metrics["sft_logps_chosen"], rel=1e-3
    )
    left = load_model(dpo.model)[0]
    assert left.dtype == torch.float32 and left.num_parameters() == base.num_parameters()
