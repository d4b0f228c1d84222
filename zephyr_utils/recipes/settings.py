"""Settings of a run in place of a scale's recipes: ``--set STAGE.KEY=VALUE`` for one
value, ``--recipe FILE`` for a whole file.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.recipes import STAGES, Stage, check_recipe, field_types, load_recipe
from zephyr_utils.recipes.values import converted, parsed

# The field's commands (`sft`, `dpo`) are taken as the stages' names.
STAGE_NAMED: dict[str, Stage] = {"dsft": "dsft", "sft": "dsft", "ddpo": "ddpo", "dpo": "ddpo"}
# What the pipeline decides by itself: a value in a recipe would be ignored.
DECIDED_ELSEWHERE = {
    "chat_template_path": "use --chat-template",
    "disable_tqdm": "leave it out: TQDM_DISABLE=1 in the environment silences progress",
    "model_name_or_path": "use --base-model",
    "model_revision": "name a local directory: --base-model",
    "output_dir": "use --runs",
    "push_to_hub": "leave it out: `zephyr push` uploads a model that is ready",
    "report_to": "use --report-to",
    "resume_from_checkpoint": "leave it out: the same command goes on from where it was stopped",
    "use_cpu": "leave it out: it follows from the machine",
}


def parse_settings(
    settings: Sequence[str], stages: Sequence[Stage] = STAGES
) -> dict[Stage, dict[str, Any]]:
    """``["dsft.learning_rate=2e-5"]`` as values of the stages' recipes.

    Args:
        settings: as given on the command line.
        stages: that the command trains; a value for another would be ignored.

    Raises:
        HandbookError: no such stage or key (the nearest is named), a value of another type than
            TRL's, a key given twice, or one that the pipeline decides.
    """
    values: dict[Stage, dict[str, Any]] = {}
    for setting in settings:
        where = f"--set {setting}"
        address, equals, text = setting.partition("=")
        word, dot, name = address.replace(" ", "").partition(".")
        if not (equals and dot and name):
            raise HandbookError(
                "this is not a setting", where=where, remedy="write --set dsft.learning_rate=2e-5"
            )
        stage = _stage(word, where, stages)
        if name in values.get(stage, {}):
            raise HandbookError(
                f"`{stage}.{name}` is set twice", where=where, remedy="leave one of them out"
            )
        if name == "seed":
            raise HandbookError("the seed is the run's", where=where, remedy="use --seed")
        _check_decided({name: text}, where)
        check_recipe({name: text}, stage, where)
        kind = field_types(stage)[name]
        values.setdefault(stage, {})[name] = converted(name, parsed(text.strip()), kind, where)
    return values


def parse_recipes(
    files: Sequence[str], own: Stage | None = None, stages: Sequence[Stage] = STAGES
) -> dict[Stage, str]:
    """``["dsft=FILE"]`` as the absolute path of each stage's recipe.

    Args:
        files: as given on the command line.
        own: the stage of a file that names none.
        stages: that the command trains.

    Raises:
        HandbookError: as `load_recipe`; no such stage, two files for one, a key that the pipeline
            decides.
    """
    paths: dict[Stage, str] = {}
    for given in files:
        where = f"--recipe {given}"
        word, equals, file = given.partition("=")
        if not equals:
            word, file = own or "", given
        if not word:
            raise HandbookError(
                "the stage of this recipe is not clear",
                where=where,
                remedy=f"write --recipe dsft={file} or --recipe ddpo={file}",
            )
        if not file.strip():  # it would be the current folder
            raise HandbookError(
                "no file is named", where=where, remedy="write the recipe's path, or leave it out"
            )
        stage = _stage(word, where, stages)
        if stage in paths:
            raise HandbookError(
                f"{stage} has two recipes", where=where, remedy="leave one of them out"
            )
        path = Path(file).expanduser().resolve()
        _check_decided(load_recipe(path, stage), str(path))
        paths[stage] = str(path)
    return paths


def _stage(word: str, where: str, stages: Sequence[Stage]) -> Stage:
    stage = STAGE_NAMED.get(word)
    if stage is None:
        near = difflib.get_close_matches(word, STAGE_NAMED, n=1)
        meant = f"did you mean `{near[0]}`?" if near else f"write {' or '.join(STAGES)}"
        raise HandbookError(f"there is no stage `{word}`", where=where, remedy=meant)
    if stage not in stages:
        raise HandbookError(
            f"this command trains no {stage}", where=where, remedy="leave the setting out"
        )
    return stage


def _check_decided(recipe: Mapping[str, Any], where: str) -> None:
    for name in recipe:
        if name in DECIDED_ELSEWHERE:
            raise HandbookError(
                f"`{name}` is not a recipe's to say", where=where, remedy=DECIDED_ELSEWHERE[name]
            )
