"""The ``zephyr`` command: one verb a step of the road, the same functions as the chapters.

Exit status 0: done. 1: done, but a number fell outside its expected range. 2: something to mend, said in a message.
"""

import os
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
# In a pipe or a log rich would take 80 columns and cut the names of what it shows.
out = Console(width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True)

ScaleOption = Annotated[str, typer.Option(help="miniature, smol, zephyr-7b-lora or zephyr-7b-full.")]
SeedOption = Annotated[int, typer.Option(help="Seed of training and sampling; the data stay the same.")]
DialoguesOption = Annotated[
    str, typer.Option(help="Dialogues of your own: a JSONL or Parquet file or folder.")
]
FeedbackOption = Annotated[str, typer.Option(help="Rated answers of your own (UltraFeedback's schema).")]
PreferencesOption = Annotated[
    str, typer.Option(help="Preference pairs of your own; no pairs are made from feedback then.")
]
BaseModelOption = Annotated[str, typer.Option(help="A model directory in place of the scale's base model.")]
RunsOption = Annotated[str, typer.Option(help="Folder for all runs; default $ZEPHYR_RUNS or ./runs.")]
SetAsideOption = Annotated[
    bool, typer.Option("--set-aside", help="Count bad rows and go on, instead of stopping.")
]


def _road(
    scale: str,
    seed: int,
    dialogues: str,
    feedback: str,
    preferences: str,
    base_model: str,
    runs: str,
    set_aside: bool,
):
    from zephyr_utils.road import Road
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
    road = Road(scale=scale, seed=seed, runs=runs, set_aside_bad_rows=set_aside, **absolute)
    err.print(
        f"Scale {road.setting.name} on {check_machine(road.setting)}; artefacts in {road.folder}",
        highlight=False,
    )
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
    outside = run_chapters(
        wanted, road.parameters, road.folder, expected=expected if as_published else None, console=out
    )
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
            raise HandbookError(
                f"there is no chapter {number}", where="--chapters", remedy=f"choose from {there}"
            )
    return [path for paths in found.values() for path in paths]


def _notebooks_folder() -> Path:
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        if (folder / "notebooks").is_dir() and list((folder / "notebooks").glob("*.ipynb")):
            return folder / "notebooks"
    raise HandbookError(
        "no notebooks found",
        where=str(Path.cwd()),
        remedy="run `zephyr run` inside a checkout of the handbook",
    )


@app.command()
def truecase(
    inputs: Annotated[
        list[Path], typer.Argument(help="JSONL or Parquet files: dialogues, raw UltraChat, or texts.")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the truecased files.")],
    fit_on: Annotated[
        list[Path] | None, typer.Option(help="Fit on these files; default: the inputs themselves.")
    ] = None,
    shard_index: Annotated[int, typer.Option(help="This machine's share, from 0.")] = 0,
    num_shards: Annotated[int, typer.Option(help="How many machines share the work.")] = 1,
) -> None:
    """Repair wrongly cased answers in files of any size; a killed run goes on at the file it was at."""
    from zephyr_utils.progress import bytes_watched
    from zephyr_utils.truecasing import truecase_files

    with bytes_watched("truecasing") as progress:
        report = truecase_files(
            inputs, output, fit_on=fit_on, shard_index=shard_index, num_shards=num_shards, progress=progress
        )
    out.print(report.report(), highlight=False, markup=False)
    out.print(f"Files and reports in {output}", highlight=False, markup=False)


@app.command()
def feedback(
    prompts: Annotated[
        Path,
        typer.Argument(
            help="Prompts: JSONL or Parquet with `prompt`, `instruction` or `messages`. Without --models: answers to rate."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="File for the feedback: .jsonl or .parquet.")],
    models: Annotated[
        str,
        typer.Option(help="Models that answer: a,b,c,d; or label=name,... to have labels in the records."),
    ] = "",
    judge: Annotated[
        str, typer.Option(help="Model that rates the answers; without it they stay unrated.")
    ] = "",
    base_url: Annotated[
        str, typer.Option(help="Any OpenAI-compatible endpoint; default $OPENAI_BASE_URL, else OpenAI.")
    ] = "",
    key_from: Annotated[
        str, typer.Option(help="Environment variable that holds the key; a local server needs none.")
    ] = "OPENAI_API_KEY",
    judge_base_url: Annotated[str, typer.Option(help="The judge's endpoint, if it is another.")] = "",
    judge_key_from: Annotated[
        str, typer.Option(help="Environment variable with the judge's key, if it is another.")
    ] = "",
    prices: Annotated[Path | None, typer.Option(help="Price table (YAML), for costs.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and stop.")] = False,
    concurrency: Annotated[int, typer.Option(help="Calls under way at once.")] = 16,
    journal: Annotated[
        Path | None, typer.Option(help="Where every reply is kept; default OUTPUT.journal.jsonl.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of the answers; the judge is asked at 0.")] = 0.7,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 512,
    seed: Annotated[int | None, typer.Option(help="Sampling seed, sent to servers that take one.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many rows.")] = None,
    critiques: Annotated[bool, typer.Option(help="Ask for critiques with an overall grade as well.")] = True,
    set_aside: SetAsideOption = False,
) -> None:
    """Collect several models' answers and a judge's ratings. The same command, after a kill, pays for nothing twice."""
    given = dict(locals())
    from zephyr_utils.feedback_command import FeedbackCommand

    whole = FeedbackCommand(**given).run(
        lambda text: out.print(text, highlight=False, markup=False, soft_wrap=True)
    )
    raise typer.Exit(0 if whole else 1)


@app.command()
def pairs(
    feedback: Annotated[
        Path, typer.Argument(help="Rated answers in UltraFeedback's schema: JSONL or Parquet.")
    ],
    output: Annotated[Path, typer.Option(help="File for the pairs: .jsonl or .parquet.")],
    score: Annotated[
        str, typer.Option(help="mean (of the four aspects; the paper) or overall (the published set).")
    ] = "mean",
    rejected: Annotated[str, typer.Option(help="random (the paper), lowest or all.")] = "random",
    ties: Annotated[str, typer.Option(help="drop or keep pairs with equal scores.")] = "drop",
    seed: Annotated[int, typer.Option(help="Seed of the random rejected answer.")] = 0,
    against: Annotated[
        Path | None, typer.Option(help="Questions (MT-Bench's schema) whose prompts are to be left out.")
    ] = None,
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
    out.print(
        loaded.report(),
        made.report(),
        str(audit(made.pairs, feedback=rows)),
        sep="\n",
        highlight=False,
        markup=False,
    )
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
def check_log(
    log: Annotated[
        Path,
        typer.Argument(help="trainer_state.json, a model card's table (CSV), or log rows (JSON, JSONL)."),
    ],
    beta: Annotated[float | None, typer.Option(help="The beta the run was meant to use.")] = None,
) -> None:
    """Is my DPO broken? Green, amber or red for a preference run, with reasons; red ends with status 1."""
    from zephyr_utils.rewards import read_training_log, traffic_light

    light = traffic_light(read_training_log(log), beta=beta)
    out.print(str(light), highlight=False, markup=False)
    raise typer.Exit(1 if light.colour == "red" else 0)


@app.command()
def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="base, dsft, ddpo, model directories, or files of answers. Default: ddpo."),
    ] = None,
    against: Annotated[str, typer.Option(help="Also compare each model with this one, in both orders.")] = "",
    questions: Annotated[
        Path | None, typer.Option(help="Questions in MT-Bench's schema; default: the miniature's.")
    ] = None,
    judge: Annotated[
        str, typer.Option(help="teacher (rule-based), or a model's name at an endpoint.")
    ] = "teacher",
    judge_url: Annotated[
        str, typer.Option(help="OpenAI-compatible endpoint; default $OPENAI_BASE_URL.")
    ] = "",
    judgments: Annotated[
        list[Path] | None, typer.Option(help="Recorded MT-Bench judgments: a file or folder.")
    ] = None,
    annotations: Annotated[
        list[Path] | None, typer.Option(help="Recorded AlpacaEval annotations: a file or folder.")
    ] = None,
    academic: Annotated[
        str, typer.Option(help="lm-eval tasks (arc_challenge:25,...), or a results file of lm-eval.")
    ] = "",
    temperature: Annotated[
        float | None, typer.Option(help="0 is greedy. Default 0.7; with --questions FastChat's, by category.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Longest answer; default 96, with --questions 1024.")
    ] = None,
    allow_failures: Annotated[
        bool,
        typer.Option("--allow-failures", help="Average even when more than a tenth of the grades failed."),
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Folder for report.html and report.json.")] = None,
    scale: ScaleOption = "miniature",
    seed: SeedOption = 0,
    runs: RunsOption = "",
) -> None:
    """Grade models on two-turn questions, compare them, or score recorded judgments; leaves a report to keep."""
    from datetime import date

    from zephyr_utils import __version__
    from zephyr_utils.evaluation import Report, academic_scores

    if models and judgments:
        raise HandbookError(
            "models are graded here, judgments were made elsewhere: one table would mix two judges",
            where="--judgments",
            remedy="leave out the models, or the judgments; each gives a report of its own",
        )
    recorded = bool(judgments or annotations or (academic and Path(academic).exists()))
    found = Report(
        "Evaluation of recorded judgments", {"Questions": questions.name if questions else "as recorded"}
    )
    addresses: dict[str, str] = {}
    if models or not recorded:
        from zephyr_utils.exam_runs import Exam, evaluate_models, model_name
        from zephyr_utils.road import EVALUATION

        models, road = models or ["ddpo"], _road(scale, seed, "", "", "", "", runs, False)
        exam = Exam(questions, judge, judge_url, temperature, max_new_tokens, allow_failures)
        found = Report("Evaluation", exam.about(road))
        for manifest in evaluate_models(road, models, exam, found, against).values():
            _tell(manifest, *(name for name in ("right", "ended", "tokens") if name in manifest.results))
        if academic:
            addresses = {model_name(m): m if Path(m).is_dir() else road.model_directory(m) for m in models}
        folder = road.folder / EVALUATION
    else:
        from zephyr_utils.workflow import runs_folder

        folder = (Path(runs) if runs else runs_folder()) / "evaluation"
    found.about["Made with"] = f"zephyr-handbook {__version__} on {date.today().isoformat()}"
    found.add_recorded(judgments or [], annotations or [], questions, allow_failures)
    if academic:
        found.add_academic(academic_scores(academic, addresses, folder / "academic"))
    _tell_report(found, found.write(report or folder / "report"))


def _tell_report(found, page: Path) -> None:
    """A line for every figure of a report, what looks odd about them, and where the page lies."""
    lines = []
    for grades in sorted(found.grades.values(), key=lambda grades: -grades.overall):
        lines.append(f"{grades}  95 %: {grades.interval.low:.2f} to {grades.interval.high:.2f}")
    for pair in found.pairs:
        rate = "no" if pair.win_rate_2 is None else f"{pair.win_rate_2:.1f} %"
        by_place = pair.n_first_place + pair.n_second_place
        lines.append(
            f"{pair.model_2} against {pair.model_1}: {rate} ({pair.n_wins_2} won, {pair.n_wins_1} lost, {pair.n_ties} tied, "
            f"{pair.n_inconsistent} contradictory, {by_place} of them by place, {pair.n_errors} errors)"
        )
    lines += [f"{m}: {rate}" for m, rate in sorted(found.rates.items(), key=lambda item: -item[1].win_rate)]
    for score in found.academic:
        error = "" if score.standard_error is None else f" ± {score.standard_error:.2f}"
        lines.append(f"{score.task} ({score.metric}): {score.score:.2f} %{error}")
    out.print(*lines, f"Report: {page}", sep="\n", highlight=False, markup=False, soft_wrap=True)
    for warning in found.warnings[:8]:
        err.print(f"Look at this: {warning}", highlight=False, markup=False, soft_wrap=True)
    if len(found.warnings) > 8:
        err.print(f"... and {len(found.warnings) - 8} more, at the top of the report.", highlight=False)


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

    directory = (
        model
        if Path(model).is_dir()
        else _road(scale, seed, "", "", "", "", runs, False).model_directory(model)
    )
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


@app.command()
def doctor(runs: RunsOption = "") -> None:
    """Say what this machine can run, what is missing and how to get it. Nothing private is in the output."""
    from zephyr_utils.doctor import examine, healthy, report
    from zephyr_utils.workflow import runs_folder

    findings = examine(Path(runs) if runs else runs_folder())
    out.print(report(findings), highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(0 if healthy(findings) else 1)


@app.command()
def plan(
    scale: Annotated[
        str, typer.Option(help="A scale, or scale/variant such as zephyr-7b-lora/qlora.")
    ] = "zephyr-7b-lora",
    gpu_memory: Annotated[
        str, typer.Option(help="Memory of one GPU: 24GB, 80GB. Default: what the scale asks for.")
    ] = "",
    gpus: Annotated[int, typer.Option(help="How many train together.", min=1)] = 1,
    tflops: Annotated[
        float | None, typer.Option(help="Sustained TFLOP/s of one GPU; default: a published rate.")
    ] = None,
) -> None:
    """Estimate memory, updates and hours of a scale before it is started; nothing is downloaded."""
    from zephyr_utils.plan import bytes_of
    from zephyr_utils.plan_command import print_plan

    plans = print_plan(
        out, scale, bytes_of(gpu_memory) if gpu_memory else None, gpus, tflops * 1e12 if tflops else None
    )
    raise typer.Exit(0 if all(found.fits for found in plans.values()) else 1)


@app.command()
def push(
    repository: Annotated[str, typer.Argument(help="Where to on the Hub: owner/name.")],
    model: Annotated[str, typer.Option(help="dsft or ddpo.")] = "ddpo",
    upload: Annotated[
        bool, typer.Option("--upload", help="Really upload; needs HF_TOKEN. Without it: show what would go.")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="To a public repository; default: private.")
    ] = False,
    scale: Annotated[str, typer.Option(help="The scale the model was trained at.")] = "miniature",
    seed: SeedOption = 0,
    runs: RunsOption = "",
) -> None:
    """Show a trained model's card and files, and upload them to the Hub only when told to."""
    from zephyr_utils.model_card import push as push_to_hub
    from zephyr_utils.model_card import shipment
    from zephyr_utils.road import Road

    ready = shipment(
        Road(scale=scale, seed=seed, runs=str(Path(runs).resolve()) if runs else ""), repository, model
    )
    out.print(ready.card, highlight=False, markup=False, soft_wrap=True)
    for name, path in ready.files.items():
        out.print(f"{path.stat().st_size:>14,} bytes  {name}", highlight=False, markup=False)
    if upload:
        kind = "public" if public else "private"
        out.print(
            f"Uploaded to {push_to_hub(ready, private=not public)} ({kind}).", highlight=False, markup=False
        )
    else:
        out.print(
            f"Nothing was uploaded ({ready.size:,} bytes would be). To do it: --upload", highlight=False
        )


def _tell(manifest, *names: str) -> None:
    """Where an artefact lies, its rows and the numbers asked for."""
    how = "reused" if manifest.reused else f"made in {manifest.seconds:.0f} s"
    rows = ", ".join(
        f"{count} {name.removeprefix('rows_').replace('_', ' ')}" for name, count in manifest.rows.items()
    )
    out.print(f"{manifest.folder} ({how})" + (f"; rows: {rows}" if rows else ""), highlight=False)
    if why := {k: v for k, v in manifest.results.get("set_aside", {}).items() if v}:
        out.print(f"  set aside: {why}", highlight=False)
    for name in names:
        out.print(f"  {name.replace('_', ' ')}: {manifest.results[name]:.4g}", highlight=False)


def main() -> None:
    """Entry point: errors that a reader can mend become a message and status 2, Ctrl-C becomes 130."""
    out.quiet = os.environ.get("RANK", "0") != "0"  # of several processes that train together one tells
    try:
        app()
    except HandbookError as error:
        err.print(f"[bold red]Error[/bold red] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        err.print("Stopped. The same command goes on from here.", highlight=False)
        sys.exit(130)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
