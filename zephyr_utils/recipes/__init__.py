"""Recipes: one YAML a scale and stage, in TRL's own argument names, so `trl sft --config` takes the
same file.

``dsft.yaml`` holds fields of `trl.SFTConfig` and `trl.ModelConfig`, ``ddpo.yaml`` of
`trl.DPOConfig` and `trl.ModelConfig`. Each value that surprises carries its reason on its line.
"""

import dataclasses
import difflib
from pathlib import Path
from typing import Any

import yaml

from zephyr_utils.errors import HandbookError

RECIPES_FOLDER = Path(__file__).parent
STAGES = ("dsft", "ddpo")
OURS = {
    "dsft": set(),
    "ddpo": {"share_prompts"},
}  # no arguments of TRL's: a file that has one is not for `trl dpo --config`


def recipe_path(scale: str, stage: str) -> Path:
    """The YAML file of a scale's stage (``dsft`` or ``ddpo``)."""
    return RECIPES_FOLDER / scale / f"{stage}.yaml"


def load_recipe(path: str | Path, stage: str, **changes: Any) -> dict[str, Any]:
    """Read a recipe and check every key against TRL's arguments.

    Args:
        path: the YAML file.
        stage: ``dsft`` or ``ddpo``: decides which arguments exist.
        changes: values that replace those of the file; None leaves the file's.

    Raises:
        HandbookError: the file is missing, is no mapping, or has a key that TRL does not know.
    """
    path = Path(path)
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HandbookError(
            "there is no such recipe", where=str(path), remedy="name a YAML file"
        ) from error
    except yaml.YAMLError as error:
        where = (
            f"{path}, line {error.problem_mark.line + 1}"
            if hasattr(error, "problem_mark")
            else str(path)
        )
        raise HandbookError(
            f"the recipe is not YAML: {error}", where=where, remedy="mend the line"
        ) from error
    if not isinstance(recipe, dict):
        raise HandbookError(
            "a recipe is a mapping of names to values",
            where=str(path),
            remedy="write `name: value`",
        )
    recipe |= {name: value for name, value in changes.items() if value is not None}
    check_recipe(recipe, stage, where=str(path))
    return recipe


def check_recipe(recipe: dict[str, Any], stage: str, where: str = "recipe") -> None:
    """Refuse a key that is no argument of TRL's, and name its nearest neighbour."""
    known = trainer_fields(stage) | model_fields() | OURS[stage]
    for key in recipe:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            meant = (
                f"did you mean `{near[0]}`?"
                if near
                else "see TRL's documentation of the trainer's arguments"
            )
            raise HandbookError(
                f"`{key}` is no argument of TRL's {stage} trainer", where=where, remedy=meant
            )


def trainer_fields(stage: str) -> set[str]:
    """The argument names of the stage's TRL config."""
    import trl  # here, because importing TRL takes seconds and a bad path should be told at once

    config = {"dsft": trl.SFTConfig, "ddpo": trl.DPOConfig}[stage]
    return {field.name for field in dataclasses.fields(config)}


def model_fields() -> set[str]:
    """The argument names of `trl.ModelConfig`: which model, which adapter, which quantisation."""
    import trl

    return {field.name for field in dataclasses.fields(trl.ModelConfig)}
