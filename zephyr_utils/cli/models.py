"""Commands that train models, check how that went, and examine them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zephyr_utils.cli.console import err, out, print_manifest
from zephyr_utils.cli.options import (
    BaseModelOption,
    ChatTemplateOption,
    DialoguesOption,
    FeedbackOption,
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
    open_pipeline,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.recipes import STAGES
from zephyr_utils.scales import DEFAULT_SCALE

if TYPE_CHECKING:
    from zephyr_utils.evaluation import Report


def sft(
    scale: ScaleOption = DEFAULT_SCALE,
    seed: SeedOption = 0,
    dialogues: DialoguesOption = "",
    base_model: BaseModelOption = "",
    limit: LimitOption = None,
    settings: SetOption = None,
    recipe: RecipeOption = None,
    chat_template: ChatTemplateOption = None,
    report_to: ReportToOption = None,
    runs: RunsOption = "",
    set_aside: SetAsideOption = False,
) -> None:
    """Distilled supervised fine-tuning: truecase and filter the dialogues, train, merge."""
    pipeline = open_pipeline(
        scale,
        seed,
        runs,
        dialogues=dialogues,
        base_model=base_model,
        set_aside=set_aside,
        stages=("dsft",),
        own_stage="dsft",
        settings=settings,
        recipes=recipe,
        limit=limit,
        chat_template=chat_template,
        report_to=report_to,
    )
    print_manifest(pipeline.dsft(), "held_out_loss_before", "held_out_loss")


def dpo(
    scale: ScaleOption = DEFAULT_SCALE,
    seed: SeedOption = 0,
    dialogues: DialoguesOption = "",
    feedback: FeedbackOption = "",
    preferences: PreferencesOption = "",
    on_policy: OnPolicyOption = False,
    base_model: BaseModelOption = "",
    sft_model: SftModelOption = "",
    limit: LimitOption = None,
    settings: SetOption = None,
    recipe: RecipeOption = None,
    chat_template: ChatTemplateOption = None,
    report_to: ReportToOption = None,
    runs: RunsOption = "",
    set_aside: SetAsideOption = False,
) -> None:
    """Distilled direct preference optimisation of the dSFT model (which is made first if it is not
    there), or of a chat model that is given.
    """
    for option, given in (("--base-model", base_model), ("--dialogues", dialogues)):
        if sft_model and given:
            raise HandbookError(
                f"no dSFT model is made from {option} where one is given",
                where="--sft-model",
                remedy="leave one of the two out",
            )
    pipeline = open_pipeline(
        scale,
        seed,
        runs,
        dialogues,
        feedback,
        preferences,
        base_model,
        set_aside,
        stages=("ddpo",) if sft_model else STAGES,
        own_stage="ddpo",
        settings=settings,
        recipes=recipe,
        limit=limit,
        sft_model=sft_model,
        chat_template=chat_template,
        report_to=report_to,
        on_policy=on_policy,
    )
    print_manifest(pipeline.ddpo(), "first_step_loss")
    print_manifest(pipeline.margins(), "accuracy", "accuracy_low", "accuracy_high", "margin")


def check_log(
    log: Annotated[
        Path,
        typer.Argument(
            help="trainer_state.json, log rows (JSON, JSONL, CSV, Parquet; exports of Weights & "
            "Biases, LLaMA-Factory and ms-swift too), a model card (README.md, or its table as "
            "CSV), or a TensorBoard event file."
        ),
    ],
    beta: Annotated[float | None, typer.Option(help="The beta the run was meant to use.")] = None,
    healthy: Annotated[
        Path | None,
        typer.Option(
            help="The log of a healthy run with the same start and held-out pairs: what policy and "
            "reference share (template, mask, swapped pairs) shows beside it."
        ),
    ] = None,
) -> None:
    """Is my DPO broken? Green, amber or red for a preference run (DPO, IPO, KTO, ORPO, SimPO, ...),
    with reasons; red ends with status 1. Logs of other methods are refused.
    """
    from zephyr_utils.diagnostics import read_training_log, traffic_light

    known = None if healthy is None else read_training_log(healthy)
    light = traffic_light(read_training_log(log), beta=beta, healthy=known)
    out.print(str(light))
    raise typer.Exit(1 if light.colour == "red" else 0)


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="base, dsft, ddpo, model directories, or files of answers. Default: ddpo."
        ),
    ] = None,
    baseline: Annotated[
        str, typer.Option(help="A model that each of the others is compared with, in both orders.")
    ] = "",
    questions: Annotated[
        Path | None,
        typer.Option(help="Questions in MT-Bench's schema; default: those of the scale's exam."),
    ] = None,
    judge: Annotated[
        str,
        typer.Option(help="teacher (the exam's own, by rule), or a model's name at an endpoint."),
    ] = "teacher",
    judge_url: Annotated[
        str, typer.Option(help="OpenAI-compatible endpoint; default $OPENAI_BASE_URL.")
    ] = "",
    judge_temperature: Annotated[
        str, typer.Option(help="Of a judge at an endpoint; none leaves it to the server.")
    ] = "0",
    judge_max_tokens: Annotated[
        str, typer.Option(help="Longest reply of such a judge, in tokens; none sets no limit.")
    ] = "1024",
    retry_unreadable: Annotated[
        bool,
        typer.Option(
            "--retry-unreadable",
            help="Ask again where a kept reply of the judge holds no verdict that can be read.",
        ),
    ] = False,
    judgments: Annotated[
        list[Path] | None, typer.Option(help="Recorded MT-Bench judgments: a file or folder.")
    ] = None,
    annotations: Annotated[
        list[Path] | None, typer.Option(help="Recorded AlpacaEval annotations: a file or folder.")
    ] = None,
    academic: Annotated[
        str,
        typer.Option(help="lm-eval tasks (arc_challenge:25,...), or a results file of lm-eval."),
    ] = "",
    temperature: Annotated[
        float | None,
        typer.Option(
            help="0 is greedy. Default: the exam's (miniature 0.7, others 0); with `--questions` "
            "FastChat's, by category."
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Longest answer. Default: the exam's (miniature 96, others 128); with "
            "`--questions` 1024.",
        ),
    ] = None,
    allow_failures: Annotated[
        bool,
        typer.Option(
            "--allow-failures",
            help="Average even when more than a tenth of the judgments failed.",
        ),
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.html and report.json.")
    ] = None,
    scale: ScaleOption = DEFAULT_SCALE,
    seed: SeedOption = 0,
    runs: RunsOption = "",
) -> None:
    """Grade models on two-turn questions, compare them, or score recorded judgments; leaves a
    report to keep.
    """
    from datetime import date

    from zephyr_utils import __version__
    from zephyr_utils.evaluation import Report, academic_scores
    from zephyr_utils.evaluation.academic import check_academic
    from zephyr_utils.files import existing_path, make_folder
    from zephyr_utils.pipeline.artefacts import runs_folder

    if models and judgments:
        raise HandbookError(
            "models are graded here, judgments were made elsewhere: one table would mix two judges",
            where="--judgments",
            remedy="leave out the models, or the judgments; each gives a report of its own",
        )
    if academic:
        check_academic(academic)
    remedy = "name a folder that you may write to (--report)"
    recorded = bool(judgments or annotations or (academic and existing_path(academic)))
    addresses: dict[str, str] = {}
    if models or not recorded:
        from zephyr_utils.feedback import Sampling
        from zephyr_utils.feedback.command import number_or_none
        from zephyr_utils.pipeline.evaluate import ExamSettings, evaluate_models, model_name
        from zephyr_utils.pipeline.pipeline import EVALUATION

        models, pipeline = models or ["ddpo"], open_pipeline(scale, seed, runs)
        exam = ExamSettings(
            pipeline.setting.exam,
            questions,
            judge,
            judge_url,
            Sampling(
                number_or_none(judge_temperature, float, "--judge-temperature"),
                number_or_none(judge_max_tokens, int, "--judge-max-tokens"),
            ),
            retry_unreadable,
            temperature,
            max_new_tokens,
            allow_failures,
        )
        folder = pipeline.folder / EVALUATION
        make_folder(report or folder / "report", remedy=remedy)
        results = Report("Evaluation", exam.about(pipeline))
        try:
            examined = evaluate_models(pipeline, models, exam, results, baseline)
        except HandbookError:
            _print_warnings(results)  # they may say why
            raise
        for name, one in examined.items():
            if one.manifest:
                print_manifest(one.manifest)
            if shares := ", ".join(f"{key} {share:.4g}" for key, share in one.shares.items()):
                out.print(f"{name}: {shares}", soft_wrap=True)
        if academic:
            addresses = {
                model_name(m): m if existing_path(m) else pipeline.model_directory(m)
                for m in models
            }
    else:
        folder = (Path(runs) if runs else runs_folder()) / "evaluation"
        make_folder(report or folder / "report", remedy=remedy)
        asked = questions.name if questions else "as recorded"
        results = Report("Evaluation of recorded judgments", {"Questions": asked})
    results.about["Made with"] = f"zephyr-handbook {__version__} on {date.today().isoformat()}"
    results.add_recorded(judgments or [], annotations or [], questions, allow_failures)
    if academic:
        results.add_academic(academic_scores(academic, addresses, folder / "academic"))
    _print_report(results, results.write(report or folder / "report"))


def _print_report(results: "Report", page: Path) -> None:
    """A line for every figure of a report, what looks odd about them, and where the page is."""
    lines = []
    for grades in sorted(results.grades.values(), key=lambda grades: -grades.overall):
        lines.append(f"{grades}  95 %: {grades.interval.low:.2f} to {grades.interval.high:.2f}")
    for pair in results.pairs:
        rate = "no" if pair.win_rate_2 is None else f"{pair.win_rate_2:.1f} %"
        by_place = pair.n_first_place + pair.n_second_place
        lines.append(
            f"{pair.model_2} against {pair.model_1}: {rate} ({pair.n_wins_2} won, {pair.n_wins_1} "
            f"lost, {pair.n_ties} tied, "
            f"{pair.n_inconsistent} contradictory, {by_place} of them by place, {pair.n_errors} "
            f"errors)"
        )
    lines += [
        f"{m}: {rate}"
        for m, rate in sorted(results.rates.items(), key=lambda item: -item[1].win_rate)
    ]
    for score in results.academic:
        error = "" if score.standard_error is None else f" ± {score.standard_error:.2f}"
        lines.append(f"{score.task} ({score.metric}): {score.score:.2f} %{error}")
    out.print(*lines, f"Report: {page}", sep="\n", soft_wrap=True)
    _print_warnings(results)


def _print_warnings(results: "Report") -> None:
    for warning in results.warnings[:8]:
        err.print(f"Note: {warning}", soft_wrap=True)
    if len(results.warnings) > 8:
        err.print(f"... and {len(results.warnings) - 8} more, at the top of the report.")
