"""The options that several verbs share, and the pipeline that they describe."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zephyr_utils.cli.console import err
from zephyr_utils.errors import HandbookError
from zephyr_utils.scales import check_machine, scale_names

if TYPE_CHECKING:  # importing it takes seconds, which `zephyr --help` should not wait for
    from zephyr_utils.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    ScaleName = str
else:  # so that `--help` lists the choices
    ScaleName = StrEnum("ScaleName", {name: name for name in scale_names()})

ScaleOption = Annotated[ScaleName, typer.Option(help="The dial: model, data and recipes.")]
TrainedModel = Literal["dsft", "ddpo"]
FetchableModel = Literal["smollm2-instruct"]
SeedOption = Annotated[
    int, typer.Option(help="Seed of training and sampling; the data stay the same.")
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
) -> "Pipeline":
    """The pipeline that the options describe; its scale, the machine and its folder are printed on
    standard error.

    Raises:
        HandbookError: a path that does not exist, named by its option.
    """
    from zephyr_utils.pipeline.pipeline import Pipeline

    given = {
        "dialogues": dialogues,
        "feedback": feedback,
        "preferences": preferences,
        "base_model": base_model,
    }
    for name, path in given.items():
        if path and not Path(path).exists():
            option = f"--{name.replace('_', '-')}"
            raise HandbookError(
                f"there is no such file or folder: {path}", where=option, remedy="check the path"
            )
    pipeline = Pipeline(
        scale=str(scale),
        seed=seed,
        dialogues=_absolute(dialogues),
        feedback=_absolute(feedback),
        preferences=_absolute(preferences),
        base_model=_absolute(base_model),
        runs=_absolute(runs),
        set_aside_bad_rows=set_aside,
    )
    err.print(
        f"Scale {pipeline.setting.name} on {check_machine(pipeline.setting)}; artefacts in "
        f"{pipeline.folder}",
        soft_wrap=True,
    )
    return pipeline


def _absolute(path: str) -> str:
    return str(Path(path).resolve()) if path else ""
