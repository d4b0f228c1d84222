"""The dial and its recipes: every scale has both, every key is TRL's, and a slip is named."""

from pathlib import Path

import pytest
import trl
from trl_names import needs_newest_names

from zephyr_utils import recipes
from zephyr_utils.data.records import HubAddress
from zephyr_utils.errors import HandbookError
from zephyr_utils.recipes import STAGES, check_recipe, load_recipe, recipe_path
from zephyr_utils.scales import SCALES, check_machine, get_scale

EVERY = [(scale, stage) for scale in SCALES for stage in STAGES]


@needs_newest_names
@pytest.mark.parametrize(("scale", "stage"), EVERY)
def test_trls_own_parser_takes_a_recipe_as_it_is(scale, stage):
    config = {"dsft": trl.SFTConfig, "ddpo": trl.DPOConfig}[stage]
    path = recipe_path(scale, stage)
    parser = trl.TrlParser((config, trl.ModelConfig))
    # --use_cpu: the recipes of the large scales ask for bfloat16, which the parser refuses where
    # there is no GPU.
    arguments, model = parser.parse_args_and_config(
        ["--config", str(path), "--output_dir", "out", "--use_cpu", "true"]
    )
    recipe = get_scale(scale).recipe(stage)
    assert arguments.learning_rate == recipe["learning_rate"]
    assert model.use_peft == recipe.get("use_peft", False)


@pytest.mark.parametrize(
    ("installed", "given"),
    [
        ({"activation_checkpointing", "gradient_checkpointing"}, "activation_checkpointing"),
        ({"gradient_checkpointing"}, "gradient_checkpointing"),
    ],
)
def test_a_renamed_argument_goes_to_the_name_that_is_installed(monkeypatch, installed, given):
    monkeypatch.setattr(recipes, "_installed_fields", lambda stage: installed | {"learning_rate"})
    recipe = {"activation_checkpointing": False, "learning_rate": 1e-4, "lora_r": 8}
    check_recipe({"activation_checkpointing": False}, "dsft")
    assert recipes.trainer_arguments(recipe, "dsft") == {given: False, "learning_rate": 1e-4}


@pytest.mark.parametrize(("scale", "stage"), EVERY)
def test_a_recipe_sets_what_trl_would_choose_otherwise(scale, stage):
    recipe = get_scale(scale).recipe(stage)
    for name in (
        "learning_rate",
        "lr_scheduler_type",
        "warmup_steps",
        "num_train_epochs",
        "max_length",
        "bf16",
        "optim",
    ):
        assert name in recipe, f"{scale}/{stage}.yaml leaves {name} to TRL's default"


@pytest.mark.parametrize("scale", SCALES)
def test_addresses_on_the_hub_are_pinned_but_for_the_one_whose_revision_nobody_knows(scale):
    setting = SCALES[scale]
    for address in (setting.base_model, setting.dialogues, setting.feedback):
        if isinstance(address, HubAddress) and address.path != "stingning/ultrachat":
            assert len(address.revision) == 40


def test_an_unknown_scale_is_refused_with_the_known_ones():
    with pytest.raises(HandbookError, match=r"(?s)no scale `huge`.*miniature, smol"):
        get_scale("huge")


def test_a_local_path_replaces_an_address_and_an_empty_one_does_not():
    setting = get_scale("smol").with_local(dialogues="mine.jsonl", feedback="")
    assert setting.dialogues == Path("mine.jsonl") and setting.feedback == SCALES["smol"].feedback


def test_an_unknown_key_is_refused_and_the_nearest_named():
    with pytest.raises(
        HandbookError,
        match=r"(?s)`learning_rat` is not a valid TRL argument.*did you mean "
        r"`learning_rate`",
    ):
        check_recipe({"learning_rat": 1}, "dsft")
    with pytest.raises(HandbookError, match="`max_prompt_length` is not a valid TRL argument"):
        check_recipe({"max_prompt_length": 512}, "ddpo")


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [1", "is not YAML"), ("- a\n- b", "a recipe is a mapping"), (None, "no such recipe")],
)
def test_a_file_that_is_not_a_recipe_is_refused(tmp_path, text, words):
    path = tmp_path / "recipe.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(HandbookError, match=words):
        load_recipe(path, "dsft")


def test_a_change_replaces_a_value_and_none_leaves_it():
    changed = get_scale("miniature").recipe("dsft", seed=7, learning_rate=None)
    assert (
        changed["seed"] == 7
        and changed["learning_rate"] == get_scale("miniature").recipe("dsft")["learning_rate"]
    )


def test_a_scale_that_needs_a_gpu_says_so_where_there_is_none(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(HandbookError, match="needs a GPU"):
        check_machine(get_scale("zephyr-7b-lora"))
    assert "no GPU" in check_machine(get_scale("miniature"))
