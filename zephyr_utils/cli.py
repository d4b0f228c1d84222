"""The ``zephyr`` command: one verb a step of the road, the same functions as the chapters.

Exit status 0: done. 1: done, but a number fell outside its expected range. 2: something to mend, said in a message.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from zephyr_utils.errors import HandbookError

app = typer.Typer(
    name="zephyr",
    help="The Zephyr handbook: truecase, dSFT, preference pairs, dDPO, evaluation, at the scale you choose.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
out, err = Console(), Console(stderr=True)

ScaleOption = Annotated[str, typer.Option(help="miniature, smol, zephyr-7b-lora or zephyr-7b-full.")]
SeedOption = Annotated[int, typer.Option(help="Seed of training and sampling; the data stay the same.")]
DialoguesOption = Annotated[str, typer.Option(help="Dialogues of your own: a JSONL or Parquet file or folder.")]
FeedbackOption = Annotated[str, typer.Option(help="Rated answers of your own (UltraFeedback's schema).")]
PreferencesOption = Annotated[str, typer.Option(help="Preference pairs of your own; no pairs are made from feedback then.")]
BaseModelOption = Annotated[str, typer.Option(help="A model directory in place of the scale's base model.")]
RunsOption = Annotated[str, typer.Option(help="Folder for all runs; default $ZEPHYR_RUNS or ./runs.")]
SetAsideOption = Annotated[bool, typer.Option("--set-aside", help="Count bad rows and go on, instead of stopping.")]


def _road(
    scale: str, seed: int, dialogues: str, feedback: str, preferences: str, base_model: str, runs: str, set_aside: bool
):
    from zephyr_utils.road import Road
    from zephyr_utils.scales import check_machine

    given = {"dialogues": dialogues, "feedback": feedback, "preferences": preferences, "base_model": base_model}
    for name, path in given.items():
        if path and not Path(path).exists():
            option = f"--{name.replace('_', '-')}"
            raise HandbookError(f"there is no such file or folder: {path}", where=option, remedy="check the path")
    absolute = {name: str(Path(path).resolve()) if path else "" for name, path in given.items()}
    runs = str(Path(runs).resolve()) if runs else ""
    road = Road(scale=scale, seed=seed, runs=runs, set_aside_bad_rows=set_aside, **absolute)
    err.print(f"Scale {road.setting.name} on {check_machine(road.setting)}; artefacts in {road.folder}", highlight=False)
    return road


@app.command()
def run(
    scale: ScaleOption = "miniature",
    chapters: Annotated[str, typer.Option(help="Only these, by number: 02,05. Default: all.")] = "",
    seed: SeedOption = 0,
    dialogues: DialoguesOption = "",
    feedback: FeedbackOption = "",
    preferences: PreferencesOption = "",
    base_model: BaseModelOption = "",
    runs: RunsOption = "",
    set_aside: SetAsideOption = False,
) -> None:
    """Run the chapters through papermill and print what came out of each."""
    from zephyr_utils.chapters import run_chapters

    road = _road(scale, seed, dialogues, feedback, preferences, base_model, runs, set_aside)
    wanted = _chosen_chapters(chapters)
    if preferences:
        # The pairs are given: there is no feedback of one's own to tell of.
        wanted = [path for path in wanted if not path.stem.startswith("03_")] or wanted
    expected = _notebooks_folder().parent / "tests" / "expected" / f"{scale}.yaml"
    as_published = not road.own_data and expected.exists()  # the ranges speak of the scale's own data
    outside = run_chapters(wanted, road.parameters, road.folder, expected=expected if as_published else None, console=out)
    raise typer.Exit(1 if outside else 0)


def _chosen_chapters(numbers: str) -> list[Path]:
    folder = _notebooks_folder()
    chapters = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not numbers:
        return chapters
    chosen = [number.strip() for number in numbers.split(",")]
    found = {number: [path for path in chapters if path.stem.startswith(f"{number}_")] for number in chosen}
    for number, paths in found.items():
        if not paths:
            there = ", ".join(path.stem[:2] for path in chapters)
            raise HandbookError(f"there is no chapter {number}", where="--chapters", remedy=f"choose from {there}")
    return [path for paths in found.values() for path in paths]


def _notebooks_folder() -> Path:
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        if (folder / "notebooks").is_dir() and list((folder / "notebooks").glob("*.ipynb")):
            return folder / "notebooks"
    raise HandbookError(
        "no notebooks found", where=str(Path.cwd()), remedy="run `zephyr run` inside a checkout of the handbook"
    )


@app.command()
def truecase(
    inputs: Annotated[list[Path], typer.Argument(help="JSONL or Parquet files: dialogues, raw UltraChat, or texts.")],
    output: Annotated[Path, typer.Option(help="Folder for the truecased files.")],
    fit_on: Annotated[list[Path] | None, typer.Option(help="Fit on these files; default: the inputs themselves.")] = None,
    shard_index: Annotated[int, typer.Option(help="This machine's share, from 0.")] = 0,
    num_shards: Annotated[int, typer.Option(help="How many machines share the work.")] = 1,
) -> None:
    """Repair wrongly cased answers in files of any size; a killed run goes on at the file it was at."""
    from zephyr_utils.truecasing import truecase_files

    report = truecase_files(inputs, output, fit_on=fit_on, shard_index=shard_index, num_shards=num_shards)
    out.print(str(report), highlight=False)


@app.command()
def pairs(
    feedback: Annotated[Path, typer.Argument(help="Rated answers in UltraFeedback's schema: JSONL or Parquet.")],
    output: Annotated[Path, typer.Option(help="File for the pairs: .jsonl or .parquet.")],
    score: Annotated[str, typer.Option(help="mean (of the four aspects; the paper) or overall (the published set).")] = "mean",
    rejected: Annotated[str, typer.Option(help="random (the paper), lowest or all.")] = "random",
    ties: Annotated[str, typer.Option(help="drop or keep pairs with equal scores.")] = "drop",
    seed: Annotated[int, typer.Option(help="Seed of the random rejected answer.")] = 0,
    against: Annotated[Path | None, typer.Option(help="Questions (MT-Bench's schema) whose prompts are to be left out.")] = None,
    set_aside: SetAsideOption = False,
) -> None:
    """Turn rated answers into preference pairs, and audit them."""
    from zephyr_utils.evaluation import read_rows
    from zephyr_utils.filtering import decontaminate
    from zephyr_utils.preferences import audit, binarize
    from zephyr_utils.records import load_records, save_records

    loaded = load_records(feedback, "feedback", set_aside=set_aside)
    rows = loaded.records
    if against:
        clean = decontaminate([r["instruction"] for r in rows], [q["turns"][0] for q in read_rows(against)])
        out.print(f"{len(clean.removed)} prompts left out: {clean.counts}", highlight=False)
        rows = [rows[i] for i in clean.kept]
    made = binarize(rows, score=score, rejected=rejected, ties=ties, seed=seed)
    save_records(made.pairs, output)
    out.print(loaded.report(), made.report(), str(audit(made.pairs, rows)), sep="\n", highlight=False, markup=False)
    out.print(f"{len(made.pairs)} pairs in {output}", highlight=False)


@app.command()
def sft(
    scale: ScaleOption = "miniature",
    seed: SeedOption = 0,
    dialogues: DialoguesOption = "",
    base_model: BaseModelOption = "",
    runs: RunsOption = "",
    set_aside: SetAsideOption = False,
) -> None:
    """Distilled supervised fine-tuning: truecase and filter the dialogues, train, merge."""
    road = _road(scale, seed, dialogues, "", "", base_model, runs, set_aside)
    _tell(road.dsft(), "held_out_loss_before", "held_out_loss")


@app.command()
def dpo(
    scale: ScaleOption = "miniature",
    seed: SeedOption = 0,
    dialogues: DialoguesOption = "",
    feedback: FeedbackOption = "",
    preferences: PreferencesOption = "",
    base_model: BaseModelOption = "",
    runs: RunsOption = "",
    set_aside: SetAsideOption = False,
) -> None:
    """Distilled direct preference optimisation of the dSFT model (which is made first if it is not there)."""
    road = _road(scale, seed, dialogues, feedback, preferences, base_model, runs, set_aside)
    _tell(road.ddpo(), "first_step_loss")
    _tell(road.margins(), "accuracy", "accuracy_low", "accuracy_high", "margin")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="base, dsft, ddpo, or a model directory.")] = "ddpo",
    scale: ScaleOption = "miniature",
    seed: SeedOption = 0,
    temperature: Annotated[float, typer.Option(help="0 is greedy; the paper samples at 0.7.")] = 0.7,
    runs: RunsOption = "",
) -> None:
    """Put the held-out questions to a model and grade its answers."""
    road = _road(scale, seed, "", "", "", "", runs, False)
    directory = model if Path(model).is_dir() else road.model_directory(model)
    name = Path(model).name if Path(model).is_dir() else model
    _tell(road.evaluate(name, directory, temperature), "score", "turn_1", "turn_2", "right", "ended")


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="base, dsft, ddpo, or a model directory.")] = "ddpo",
    scale: ScaleOption = "miniature",
    seed: SeedOption = 0,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.7,
    runs: RunsOption = "",
) -> None:
    """Talk to what you trained. An empty line, `exit` or Ctrl-D ends it; `new` begins a new conversation."""
    from zephyr_utils.chat import generate, load_model, prepare_tokenizer

    directory = model if Path(model).is_dir() else _road(scale, seed, "", "", "", "", runs, False).model_directory(model)
    network, tokenizer = load_model(directory)
    prepare_tokenizer(tokenizer)
    messages: list[dict] = []
    err.print("Ask away. `new` starts afresh, an empty line ends.", highlight=False)
    for turn in range(1_000_000):
        try:
            said = input("you> ").strip()
        except EOFError:
            return
        if said in ("", "exit"):
            return
        if said == "new":
            messages = []
            continue
        messages.append({"role": "user", "content": said})
        (answer,) = generate(network, tokenizer, [messages], temperature=temperature, seed=seed + turn)
        messages.append({"role": "assistant", "content": answer.text})
        out.print(f"model> {answer.text}", highlight=False, markup=False)


def _tell(manifest, *names: str) -> None:
    """Where an artefact lies, its rows and the numbers asked for."""
    how = "reused" if manifest.reused else f"made in {manifest.seconds:.0f} s"
    rows = ", ".join(f"{count} {name.removeprefix('rows_').replace('_', ' ')}" for name, count in manifest.rows.items())
    out.print(f"{manifest.folder} ({how})" + (f"; rows: {rows}" if rows else ""), highlight=False)
    if why := {k: v for k, v in manifest.results.get("set_aside", {}).items() if v}:
        out.print(f"  set aside: {why}", highlight=False)
    for name in names:
        out.print(f"  {name.replace('_', ' ')}: {manifest.results[name]:.4g}", highlight=False)


def main() -> None:
    """Entry point: errors that a reader can mend become a message and status 2, Ctrl-C becomes 130."""
    try:
        app()
    except HandbookError as error:
        err.print(f"[bold red]Error[/bold red] {_escaped(str(error))}", highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("Stopped. The same command goes on from here.", highlight=False)
        sys.exit(130)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
