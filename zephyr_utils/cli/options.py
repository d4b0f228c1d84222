"""The options that several verbs share, and the road that they describe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zephyr_utils.cli.console import err
from zephyr_utils.errors import HandbookError

if TYPE_CHECKING:  # importing it takes seconds, which `zephyr --help` should not wait for
    from zephyr_utils.pipeline.pipeline import Pipeline

ScaleOption = Annotated[
    str, typer.Option(help="miniature, smol, zephyr-7b-lora or zephyr-7b-full.")
]
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
    str, typer.Option(help="A model directory in place of the scale's base model.")
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
    """The road that the options describe; its scale, the machine and its folder are said on
    standard error.

    Raises:
        HandbookError: a path that does not exist, named by its option.
    """
    from zephyr_utils.pipeline.pipeline import Pipeline
    from zephyr_utils.scales import check_machine

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
    absolute = {name: str(Path(path).resolve()) if path else "" for name, path in given.items()}
    runs = str(Path(runs).resolve()) if runs else ""
    pipeline = Pipeline(scale=scale, seed=seed, runs=runs, set_aside_bad_rows=set_aside, **absolute)
    err.print(
        f"Scale {pipeline.setting.name} on {check_machine(pipeline.setting)}; artefacts in "
        f"{pipeline.folder}",
        highlight=False,
    )
    return pipeline
