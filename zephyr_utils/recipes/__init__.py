"""Recipes: one YAML file per scale and stage, in TRL's own argument names, so `trl sft --config`
takes the same file.

``dsft.yaml`` holds fields of `trl.SFTConfig` and `trl.ModelConfig`, ``ddpo.yaml`` of
`trl.DPOConfig` and `trl.ModelConfig`. Each value that surprises carries its reason on its line.
"""

import dataclasses
import difflib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from zephyr_utils.data.strict_yaml import load_yaml
from zephyr_utils.errors import HandbookError
from zephyr_utils.recipes.values import converted

Stage = Literal["dsft", "ddpo"]
STAGES: tuple[Stage, ...] = get_args(Stage)

RECIPES_FOLDER = Path(__file__).parent
# Arguments of our own; a file that has one is not for `trl dpo --config`.
HANDBOOK_FIELDS: dict[Stage, dict[str, Any]] = {
    "dsft": {},
    "ddpo": {"share_prompts": bool | None},
}
# Arguments that a recipe file may leave to TRL, and that the pipeline reads.
READ_FROM_RECIPES = (
    "beta",
    "gradient_accumulation_steps",
    "max_length",
    "num_train_epochs",
    "per_device_train_batch_size",
)
# Names that Transformers 5.23 introduced -> what earlier releases call the same argument.
RENAMED_FIELDS = {"activation_checkpointing": "gradient_checkpointing"}


class Recipe(dict[str, Any]):
    """The settings of one stage's training: TRL's argument names and their values.

    A dictionary that knows its stage. ``recipe | changes`` is a recipe of the same stage.

    Attributes:
        stage: ``dsft`` or ``ddpo``.
    """

    def __init__(self, stage: Stage, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.stage: Stage = stage

    def __or__(self, changes: Mapping[str, Any]) -> "Recipe":  # type: ignore[override]
        return Recipe(self.stage, {**self, **changes})

    @property
    def is_preference(self) -> bool:
        """Whether the stage trains on pairs, so that each row is two sequences."""
        return self.stage == "ddpo"

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence that is trained on."""
        return int(self["max_length"])

    @property
    def rows_per_step(self) -> int:
        """The effective batch: rows behind one optimiser step of one process."""
        return int(self["per_device_train_batch_size"] * self["gradient_accumulation_steps"])


def recipe_path(scale: str, stage: Stage) -> Path:
    """The YAML file of a scale's stage (``dsft`` or ``ddpo``)."""
    return RECIPES_FOLDER / scale / f"{stage}.yaml"


def load_recipe(path: str | Path, stage: Stage, **changes: Any) -> Recipe:
    """Read a recipe and check every key against TRL's arguments.

    Args:
        path: the YAML file.
        stage: ``dsft`` or ``ddpo``: decides which arguments exist.
        changes: values that replace those of the file; None leaves the file's.

    Raises:
        HandbookError: the file is missing, is not a mapping, or has a key that TRL does not know or
            that it has twice.
    """
    path = Path(path)
    values = _read_mapping(path)
    values |= {name: value for name, value in changes.items() if value is not None}
    check_recipe(values, stage, where=str(path))
    kinds = field_types(stage)
    for name, value in values.items():
        values[name] = converted(name, value, kinds[name], str(path))
    left_out = {name: value for name, value in _defaults(stage).items() if name not in values}
    return Recipe(stage, values | left_out)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise HandbookError(
            "there is no such recipe", where=str(path), remedy="name a YAML file"
        ) from error
    except UnicodeDecodeError as error:
        raise HandbookError(
            "the recipe is not text in UTF-8", where=str(path), remedy="name a YAML file"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise HandbookError(
            f"the recipe is not YAML: {error}", where=where, remedy="fix the line"
        ) from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise HandbookError(
            "a recipe is a mapping of names to values",
            where=str(path),
            remedy="write `name: value`",
        )
    return values


def check_recipe(recipe: Mapping[str, Any], stage: Stage, where: str = "recipe") -> None:
    """Refuse a key that TRL does not know, and name the nearest one it does.

    Raises:
        HandbookError: an unknown key, with the file and a suggestion.
    """
    known = trainer_fields(stage) | model_fields() | HANDBOOK_FIELDS[stage].keys()
    for key in recipe:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            meant = (
                f"did you mean `{near[0]}`?"
                if near
                else "see TRL's documentation of the trainer's arguments"
            )
            raise HandbookError(
                f"`{key}` is not a valid TRL argument for {stage}", where=where, remedy=meant
            )


def field_types(stage: Stage) -> dict[str, Any]:
    """The arguments of a recipe and the types that TRL declares for them."""
    import trl

    kinds: dict[str, Any] = {}
    for config in (trl.ModelConfig, _config(stage)):
        # Not the fields' own `type`: Transformers' argument parser takes `None` out of it.
        hints = typing.get_type_hints(config)
        kinds |= {field.name: hints[field.name] for field in dataclasses.fields(config)}
    kinds |= {new: kinds[old] for new, old in RENAMED_FIELDS.items() if old in kinds}
    return kinds | HANDBOOK_FIELDS[stage]


def _defaults(stage: Stage) -> dict[str, Any]:
    """TRL's own values of what the pipeline reads from recipes."""
    fields = {field.name: field for field in dataclasses.fields(_config(stage))}
    return {name: fields[name].default for name in READ_FROM_RECIPES if name in fields}


def trainer_fields(stage: Stage) -> set[str]:
    """The argument names of the stage's TRL config; a renamed one under its new name too."""
    installed = _installed_fields(stage)
    return installed | {new for new, old in RENAMED_FIELDS.items() if old in installed}


def trainer_arguments(recipe: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """The recipe's values for the stage's TRL config, under the names of the installed release."""
    installed = _installed_fields(stage)
    return {
        key if key in installed else RENAMED_FIELDS[key]: recipe[key]
        for key in trainer_fields(stage) & set(recipe)
    }


def _installed_fields(stage: Stage) -> set[str]:
    return {field.name for field in dataclasses.fields(_config(stage))}


def _config(stage: Stage) -> Any:
    # here, because importing TRL takes seconds and a bad path should be reported at once
    import trl

    return {"dsft": trl.SFTConfig, "ddpo": trl.DPOConfig}[stage]


def model_fields() -> set[str]:
    """The argument names of `trl.ModelConfig`: which model, which adapter, which quantisation."""
    import trl

    return {field.name for field in dataclasses.fields(trl.ModelConfig)}
