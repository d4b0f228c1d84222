"""``--set``, ``--recipe`` and ``--report-to``: values typed by TRL's own fields; what does not fit
is refused by its name before anything is read.
"""

import re

import pytest

from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.recipes import STAGES, field_types, load_recipe
from zephyr_utils.recipes.settings import DECIDED_ELSEWHERE, parse_recipes, parse_settings
from zephyr_utils.recipes.values import BOUNDS, converted
from zephyr_utils.training import trackers, trl_arguments


@pytest.mark.parametrize(
    ("setting", "stage", "name", "value"),
    [
        ("dsft.learning_rate=2e-5", "dsft", "learning_rate", 2e-5),
        ("sft.num_train_epochs=2", "dsft", "num_train_epochs", 2),
        ("ddpo.beta = 0.05", "ddpo", "beta", 0.05),
        ("dpo.beta=0.05", "ddpo", "beta", 0.05),
        ("dsft.max_length=384", "dsft", "max_length", 384),
        ("dsft.packing=true", "dsft", "packing", True),
        ("dsft.packing=No", "dsft", "packing", False),
        ("dsft.bf16=none", "dsft", "bf16", None),
        ("ddpo.eval_strategy=no", "ddpo", "eval_strategy", "no"),
        ("ddpo.loss_type=ipo", "ddpo", "loss_type", ["ipo"]),
        ("ddpo.loss_type=[sigmoid, sft]", "ddpo", "loss_type", ["sigmoid", "sft"]),
        ("ddpo.loss_weights=1,0.5", "ddpo", "loss_weights", [1, 0.5]),
        ("dsft.lora_target_modules=all-linear", "dsft", "lora_target_modules", ["all-linear"]),
        ("dsft.lora_r=8", "dsft", "lora_r", 8),
        ("dsft.dtype=bfloat16", "dsft", "dtype", "bfloat16"),
        ("dsft.activation_checkpointing=true", "dsft", "activation_checkpointing", True),
        ("ddpo.share_prompts=false", "ddpo", "share_prompts", False),
        ("dsft.lr_scheduler_kwargs={num_cycles: 1}", "dsft", "lr_scheduler_kwargs",
         {"num_cycles": 1}),
    ],
)  # fmt: skip
def test_a_setting_has_the_type_of_trls_field(setting, stage, name, value):
    assert parse_settings([setting]) == {stage: {name: value}}
    assert type(parse_settings([setting])[stage][name]) is type(value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("dsft.learning_rate=fast", "`learning_rate` is the text `fast`, and a number is expected"),
        ("dsft.learning_rate=nan", "a number is expected"),
        ("dsft.learning_rate=-1", "a number above 0 is expected"),
        ("dsft.max_length=none", "a number above 0 is expected"),
        ("dsft.max_length=1.5", "`max_length` is the text `1.5`, and a whole number"),
        ("dsft.packing=maybe", "true or false is expected"),
        ("dsft.lr_scheduler_type=cosin", "such as cosine"),
        ("ddpo.eval_strategy=never", "one of no, steps, epoch is expected"),
        ("ddpo.loss_weights=[a]", "a list or none is expected"),
        ("dsft.learning_rat=1", "did you mean `learning_rate`?"),
        ("ddpo.packing=true", "`packing` is not a valid TRL argument for ddpo"),
        ("dfst.learning_rate=1", "did you mean `dsft`?"),
        ("learning_rate=1", "write --set dsft.learning_rate=2e-5"),
        ("dsft.learning_rate", "write --set dsft.learning_rate=2e-5"),
        ("dsft.seed=3", "use --seed"),
        ("dsft.report_to=wandb", "use --report-to"),
        ("dsft.output_dir=x", "use --runs"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_what_is_expected(setting, words):
    with pytest.raises(HandbookError) as refused:
        parse_settings([setting])
    assert words in str(refused.value) and f"--set {setting}" in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "words", "remedy"),
    [
        ("dsft.max_steps=0", "is 0, and a number above 0, or -1 is", "num_train_epochs"),
        ("ddpo.max_steps=-2", "`max_steps` is -2, and", "leave it out (-1)"),
        ("ddpo.max_steps=0.5", "a whole number is expected", "write max_steps as"),
        ("dsft.num_train_epochs=0", "above 0", "write one"),
        ("dsft.num_train_epochs=-1", "above 0", "write one"),
        ("dsft.per_device_train_batch_size=0", "above 0", "write one"),
        ("ddpo.gradient_accumulation_steps=-1", "above 0", "write one"),
        ("ddpo.per_device_eval_batch_size=0", "above 0", "write one"),
        ("ddpo.precompute_ref_batch_size=0", "above 0", "write one"),
        ("dsft.learning_rate=0", "above 0", "write one"),
        ("dsft.learning_rate=inf", "a number is expected", "write learning_rate as"),
        ("dsft.learning_rate=none", "a number is expected", "write learning_rate as"),
        ("dsft.save_steps=0", "above 0", 'save_strategy: "no"'),
        ("dsft.save_steps=-100", "above 0", 'save_strategy: "no"'),
        ("dsft.save_total_limit=0", "above 0", "or none for no limit"),
        ("ddpo.logging_steps=0", "above 0", 'logging_strategy: "no"'),
        ("ddpo.eval_steps=0", "above 0", "write one"),
        ("dsft.max_length=0", "above 0", "write one"),
        ("dsft.lora_alpha=0", "above 0", "write one"),
        ("dsft.lora_dropout=1", "from 0 to below 1", "write one"),
        ("dsft.warmup_steps=-0.1", "from 0 is", "write one"),
        ("dsft.weight_decay=-0.1", "from 0 is", "write one"),
        ("ddpo.max_grad_norm=-1", "from 0 is", "write one"),
        ("ddpo.beta=0", "above 0", "write one"),
        ("ddpo.label_smoothing=0.5", "from 0 to below 0.5", "write one"),
        ("ddpo.loss_weights=1,0", "`loss_weights` is [1, 0], and a number above 0", "write one"),
        ("dsft.adam_beta2=1", "from 0 to below 1", "write one"),
    ],
)  # fmt: skip
def test_a_number_that_trl_would_take_for_something_else_is_refused_alike_in_both_places(
    setting, words, remedy, tmp_path
):
    stage, _, rest = setting.partition(".")
    path = written(tmp_path, rest.replace("=", ": ").replace("1,0", "[1, 0]") + "\n")
    for refuse in (lambda: parse_settings([setting]), lambda: load_recipe(path, stage)):
        with pytest.raises(HandbookError) as refused:
            refuse()
        assert words in refused.value.what and remedy in refused.value.remedy


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("dsft.max_steps=-1", -1),  # TRL's "off"
        ("dsft.max_steps=1", 1),
        ("dsft.num_train_epochs=0.01", 0.01),
        ("dsft.save_steps=0.5", 0.5),  # a share of the steps
        ("dsft.save_total_limit=none", None),
        ("ddpo.eval_steps=none", None),
        ("ddpo.max_grad_norm=0", 0),  # transformers' "off"
        ("dsft.warmup_steps=0", 0),
        ("dsft.weight_decay=0", 0),
    ],
)
def test_a_number_at_a_bound_that_means_something_stays(setting, value):
    [values] = parse_settings([setting]).values()
    assert list(values.values()) == [value]


def test_every_bound_is_of_an_argument_that_trl_has_and_allows_trls_own_value(tmp_path):
    known = field_types("dsft") | field_types("ddpo")
    assert set(BOUNDS) <= set(known)
    for stage in STAGES:
        defaults = vars(trl_arguments(stage, tmp_path, {}))
        for name in BOUNDS.keys() & defaults.keys():
            converted(name, defaults[name], field_types(stage)[name], "TRL")


def test_a_key_set_twice_and_a_stage_that_is_not_trained_are_refused():
    with pytest.raises(HandbookError, match="set twice"):
        parse_settings(["ddpo.beta=0.1", "dpo.beta=0.2"])
    with pytest.raises(HandbookError, match="trains no ddpo"):
        parse_settings(["ddpo.beta=0.1"], stages=("dsft",))


def test_what_the_pipeline_decides_is_an_argument_of_trl_that_a_reader_might_set():
    for name in DECIDED_ELSEWHERE:
        with pytest.raises(HandbookError, match="not a recipe's to say"):
            parse_settings([f"dsft.{name}=x"])


def written(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_a_recipe_of_ones_own_replaces_the_scales_and_trl_fills_what_it_leaves_out(tmp_path):
    path = written(tmp_path, "learning_rate: 2e-5\nbeta: 0.05\n")
    recipes = parse_recipes([str(path)], own="ddpo")
    assert recipes == {"ddpo": str(path)}
    recipe = Pipeline(recipes=recipes, feedback="own.jsonl", seed=3).recipe("ddpo")
    assert recipe["learning_rate"] == 2e-5 and recipe["beta"] == 0.05 and recipe["seed"] == 3
    assert "use_peft" not in recipe, "nothing of the scale's own recipe is left"
    assert recipe.max_length == trl_arguments("ddpo", tmp_path, {}).max_length
    assert recipe.rows_per_step >= 1


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["logging_steps", "save_steps", "save_total_limit"])
def test_the_line_that_is_advised_for_none_of_them_can_be_written_into_a_recipe(
    name, stage, tmp_path
):
    line = re.search(r'\w+_strategy: "?no"?', BOUNDS[name].off)[0]
    recipe = load_recipe(written(tmp_path, f"{line}\n"), stage)
    assert recipe[line.partition(":")[0]] == "no"


def test_settings_stand_above_a_recipe_of_ones_own(tmp_path):
    path = written(tmp_path, "learning_rate: 2e-5\nbf16: true\n")
    changes = {"dsft": {"learning_rate": 1e-4, "bf16": None}}
    recipe = Pipeline(recipes={"dsft": str(path)}, changes=changes).recipe("dsft")
    assert recipe["learning_rate"] == 1e-4 and recipe["bf16"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("beta: 0.1\nbeta: 0.2\n", "line 2: the recipe is not YAML: `beta` appears twice"),
        ("beta: high\n", "`beta` is the text `high`, and a number is expected"),
        ("bata: 0.1\n", "did you mean `beta`?"),
        ("report_to: wandb\n", "use --report-to"),
        ("eval_strategy: no\n", "one of no, steps, epoch is expected"),
        ("1: 2\n", "a recipe is a mapping of names to values"),
    ],
)
def test_a_recipe_that_does_not_fit_is_named_with_what_is_wrong(text, words, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(HandbookError) as refused:
        parse_recipes([f"ddpo={path}"])
    assert words in str(refused.value) and str(path) in str(refused.value)


def test_a_recipe_names_its_stage_where_the_command_does_not(tmp_path):
    path = written(tmp_path, "learning_rate: 1.0e-4\n")
    with pytest.raises(HandbookError, match="the stage of this recipe is not clear"):
        parse_recipes([str(path)])
    with pytest.raises(HandbookError, match="two recipes"):
        parse_recipes([str(path), f"dpo={path}"], own="ddpo")
    with pytest.raises(HandbookError, match="--recipe dsft=: no file is named"):
        parse_recipes(["dsft="])
    with pytest.raises(HandbookError, match="no such recipe"):
        parse_recipes([str(tmp_path / "none.yaml")], own="dsft")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HandbookError, match="not text in UTF-8"):
        load_recipe(tmp_path / "bytes.yaml", "dsft")


def test_what_trl_refuses_as_a_whole_is_a_message(tmp_path):
    recipe = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "no"}
    with pytest.raises(HandbookError, match="TRL refuses the recipe"):
        trl_arguments("dsft", tmp_path, recipe)


def test_a_tracker_that_is_not_installed_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda module: None)
    with pytest.raises(HandbookError, match=r"(?s)trackio is not.*pip install trackio"):
        trackers.check_trackers(["trackio"])
    with pytest.raises(HandbookError, match=r"(?s)wandb is not.*pip install wandb"):
        trackers.check_trackers(["wandb"])
    with pytest.raises(HandbookError, match="exclude each other"):
        trackers.check_trackers(["none", "wandb"])
    assert trackers.check_trackers(["none"]) == () == trackers.check_trackers([])


def test_of_trackers_each_is_handed_on_once_and_none_is_the_default(monkeypatch, tmp_path):
    monkeypatch.setattr(trackers, "find_spec", lambda module: module)
    names = trackers.check_trackers(["wandb", "tensorboard", "wandb"])
    assert names == ("wandb", "tensorboard")
    assert trl_arguments("dsft", tmp_path, {}, names).report_to == ["wandb", "tensorboard"]
    assert trl_arguments("dsft", tmp_path, {}).report_to == []


def test_a_pipeline_is_made_again_from_its_arguments_and_a_chapter_gets_what_is_not_a_dial():
    plain = Pipeline(seed=3)
    assert "settings" not in plain.parameters and Pipeline(**plain.arguments) == plain
    changed = Pipeline(changes={"ddpo": {"beta": 0.2}}, limit=40, report_to=("wandb",))
    again = Pipeline(**changed.arguments)
    assert (again.changes, again.limit, list(again.report_to)) == (changed.changes, 40, ["wandb"])
    assert changed.parameters["settings"] == {
        "changes": {"ddpo": {"beta": 0.2}}, "limit": 40, "report_to": ["wandb"],
    }  # fmt: skip
    assert plain.as_published and not changed.as_published
