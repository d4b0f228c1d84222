"""The options that several commands share, and the pipeline that they describe."""

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zephyr_utils.cli.console import err
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import existing_path
from zephyr_utils.recipes import STAGES, Stage
from zephyr_utils.recipes.settings import parse_recipes, parse_settings
from zephyr_utils.scales import check_machine, scale_names
from zephyr_utils.training.trackers import TRACKERS, check_trackers
from zephyr_utils.weights import find_gguf

if TYPE_CHECKING:  # importing it takes seconds, which `zephyr --help` should not wait for
    from zephyr_utils.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    ScaleName = str
    TrackerName = str
else:  # so that `--help` lists the choices
    ScaleName = StrEnum("ScaleName", {name: name for name in scale_names()})
    TrackerName = StrEnum("TrackerName", {name: name for name in (*TRACKERS, "none")})

ScaleOption = Annotated[ScaleName, typer.Option(help="The dial: model, data and recipes.")]
TrainedModel = Literal["dsft", "ddpo"]
FetchableModel = Literal["smollm2-instruct"]
ChatTemplateName = Literal["keep", "zephyr"]
SeedOption = Annotated[
    int,
    typer.Option(
        help="Seed of training and sampling, and of the miniature's records.",
        min=0,
        max=2**32 - 1,
    ),
]
DialoguesOption = Annotated[
    str, typer.Option(help="Dialogues of your own: a JSONL or Parquet file or folder.")
]
FeedbackOption = Annotated[
    str, typer.Option(help="Rated answers of your own (UltraFeedback's schema).")
]
PreferencesOption = Annotated[
    str, typer.Option(help="Preference pairs of your own; no pairs are made from feedback then.")
]
BaseModelOption = Annotated[
    str, typer.Option(help="A model directory or a GGUF file in place of the scale's base model.")
]
SftModelOption = Annotated[
    str,
    typer.Option(
        help="A chat model to start from, a directory or a GGUF file; no dSFT is run then."
    ),
]
OnPolicyOption = Annotated[
    bool,
    typer.Option(
        "--on-policy",
        help="Pair the dSFT model's own answers to the feedback's prompts, rated by the scale's "
        "judge.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="STAGE.KEY=VALUE",
        help="A value of a recipe, by TRL's name: dsft.learning_rate=2e-5, ddpo.beta=0.05.",
    ),
]
RecipeOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[STAGE=]FILE",
        help="A recipe of your own (YAML, TRL's argument names) in place of the scale's; its seed "
        "gives way to `--seed`.",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Use at most this many dialogues, and feedback prompts or preference pairs."
    ),
]
ChatTemplateOption = Annotated[
    ChatTemplateName | None,
    typer.Option(
        help="Keep the model's own chat template, or put Zephyr's in its place. Default: keep "
        "where it has one."
    ),
]
ReportToOption = Annotated[
    list[TrackerName] | None,
    typer.Option(help="Trackers that follow the training, as TRL names them."),
]
RunsOption = Annotated[
    str, typer.Option(help="Folder for all runs; default $ZEPHYR_RUNS or ./runs.")
]
SetAsideOption = Annotated[
    bool, typer.Option("--set-aside", help="Count bad rows and go on, instead of stopping.")
]


def open_pipeline(
    scale: str,
    seed: int,
    runs: str,
    dialogues: str = "",
    feedback: str = "",
    preferences: str = "",
    base_model: str = "",
    set_aside: bool = False,
    *,
    stages: Sequence[Stage] = STAGES,
    own_stage: Stage | None = None,
    settings: Sequence[str] | None = None,
    recipes: Sequence[str] | None = None,
    limit: int | None = None,
    sft_model: str = "",
    chat_template: ChatTemplateName | None = None,
    report_to: Sequence[str] | None = None,
    on_policy: bool = False,
) -> "Pipeline":
    """The pipeline that the options describe; its scale, the machine and its folder are printed on
    standard error.

    Args:
        stages: that the command trains.
        own_stage: that of a recipe which names none.

    Raises:
        HandbookError: a path that does not exist, named by its option; as `parse_settings`,
            `parse_recipes` and `check_trackers`; a recipe that TRL refuses.
    """
    from zephyr_utils.pipeline.pipeline import Pipeline

    given = {
        "dialogues": dialogues,
        "feedback": feedback,
        "preferences": preferences,
        "base_model": base_model,
        "sft_model": sft_model,
    }
    for name, path in given.items():
        if path and not existing_path(path):
            option = f"--{name.replace('_', '-')}"
            raise HandbookError(
                f"there is no such file or folder: {path}",
                where=option,
                remedy=_where_it_may_be(path, option),
            )
    for name in ("base_model", "sft_model"):
        _check_model(given[name], f"--{name.replace('_', '-')}")
    pipeline = Pipeline(
        scale=str(scale),
        seed=seed,
        dialogues=absolute(dialogues, "--dialogues"),
        feedback=absolute(feedback, "--feedback"),
        preferences=absolute(preferences, "--preferences"),
        base_model=absolute(base_model, "--base-model"),
        runs=absolute(runs, "--runs"),
        set_aside_bad_rows=set_aside,
        changes=parse_settings(settings or (), stages),
        recipes=parse_recipes(recipes or (), own_stage, stages),
        limit=limit,
        sft_model=absolute(sft_model, "--sft-model"),
        chat_template=chat_template,
        report_to=check_trackers([str(name) for name in report_to or ()]),
        on_policy=on_policy,
    )
    if pipeline.changes or pipeline.recipes:
        _ask_trl(pipeline)
    err.print(
        f"Scale {pipeline.setting.name} on {check_machine(pipeline.setting)}; artefacts in "
        f"{pipeline.folder}",
        soft_wrap=True,
    )
    return pipeline


def _where_it_may_be(path: str, option: str) -> str:
    """What to do about a path at which nothing is; a model's may be its name on the Hub."""
    if option.endswith("-model") and re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        return f"fetch a model of the Hub first: hf download {path} --local-dir FOLDER"
    from zephyr_utils.data.read import where_it_may_be

    return where_it_may_be(Path(path))


def _check_model(path: str, option: str) -> None:
    """Refuse a directory that holds no whole model, before rows are prepared for it; and a file
    that is not a GGUF file by its name, which transformers would take for settings.
    """
    file = existing_path(path) if path else None
    if file is None or find_gguf(file):
        return
    if file.is_dir():
        from zephyr_utils.chat.model_files import check_model_directory

        check_model_directory(file)
        return
    with open(file, "rb") as stream:
        is_gguf = stream.read(4) == b"GGUF"
    raise HandbookError(
        f"a model is a directory or a GGUF file, and {path} is neither by its name",
        where=option,
        remedy="let the file's name end in .gguf"
        if is_gguf
        else f"name the directory that the model is in: {file.parent}",
    )


def _ask_trl(pipeline: "Pipeline") -> None:
    """Let TRL check changed recipes as a whole, before any data are read."""
    from zephyr_utils.training import trl_arguments

    for stage in STAGES:
        if stage in pipeline.changes or stage in pipeline.recipes:
            trl_arguments(stage, pipeline.folder, pipeline.recipe(stage))


def absolute(path: str, option: str) -> str:
    """The path as an absolute one; "" stays.

    Raises:
        HandbookError: no file system takes such a name, or its links lead in a circle.
    """
    try:
        return str(Path(path).resolve()) if path else ""
    except (OSError, ValueError, RuntimeError) as error:
        raise HandbookError(
            f"this is not a path: {error}", where=f"{option} {path}", remedy="name another"
        ) from error


def existing_folder(name: str) -> Path | None:
    """A name as a path, if a folder is there."""
    path = existing_path(name) if name else None
    return path if path is not None and path.is_dir() else None
