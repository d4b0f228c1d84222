"""Commands that prepare data: truecasing, AI feedback, preference pairs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from zephyr_utils.cli.console import out
from zephyr_utils.cli.options import SetAsideOption


def truecase(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="JSONL, Parquet or Arrow files, or a folder that `datasets` saved: dialogues "
            "(`messages`), raw UltraChat (`data`), ShareGPT (`conversations`), or `text`."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the truecased files.")],
    fit_on: Annotated[
        list[Path] | None, typer.Option(help="Fit on these files; default: the inputs themselves.")
    ] = None,
    shard_index: Annotated[int, typer.Option(help="This machine's share, from 0.")] = 0,
    num_shards: Annotated[int, typer.Option(help="How many machines share the work.")] = 1,
) -> None:
    """Repair wrongly cased answers in files of any size; a killed run goes on where it was, in the
    fit as in the files.
    """
    from zephyr_utils.progress import track_bytes
    from zephyr_utils.truecasing import truecase_files

    with track_bytes("truecasing") as progress:
        report = truecase_files(
            inputs,
            output,
            fit_on=fit_on,
            shard_index=shard_index,
            num_shards=num_shards,
            progress=progress,
        )
    out.print(report.report(), soft_wrap=True)
    out.print(f"Files and reports in {output}", soft_wrap=True)


def feedback(
    prompts: Annotated[
        Path,
        typer.Argument(
            help="Prompts: JSONL or Parquet with `prompt`, `instruction` or `messages`. Without "
            "`--models`: answers to rate."
        ),
    ],
    output: Annotated[Path, typer.Option(help="File for the feedback: .jsonl or .parquet.")],
    models: Annotated[
        str,
        typer.Option(
            help="Models that answer: a,b,c,d; or label=name,... to have labels in the records."
        ),
    ] = "",
    judge: Annotated[
        str, typer.Option(help="Model that rates the answers; without it they stay unrated.")
    ] = "",
    base_url: Annotated[
        str,
        typer.Option(help="Any OpenAI-compatible endpoint; default $OPENAI_BASE_URL, else OpenAI."),
    ] = "",
    api_key_env: Annotated[
        str,
        typer.Option(help="Environment variable that holds the key; a local server needs none."),
    ] = "OPENAI_API_KEY",
    judge_base_url: Annotated[
        str, typer.Option(help="The judge's endpoint, if it is another.")
    ] = "",
    judge_api_key_env: Annotated[
        str, typer.Option(help="Environment variable with the judge's key, if it is another.")
    ] = "",
    prices: Annotated[Path | None, typer.Option(help="Price table (YAML), for costs.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, and stop.")
    ] = False,
    concurrency: Annotated[int, typer.Option(help="Calls under way at once.")] = 16,
    journal: Annotated[
        Path | None, typer.Option(help="Where every reply is kept; default OUTPUT.journal.jsonl.")
    ] = None,
    temperature: Annotated[
        str, typer.Option(help="Of the answers; none leaves it to the server.")
    ] = "0.7",
    max_tokens: Annotated[
        str, typer.Option(help="Longest answer, in tokens; none sets no limit.")
    ] = "512",
    judge_temperature: Annotated[
        str, typer.Option(help="Of the judge; none leaves it to the server.")
    ] = "0",
    judge_max_tokens: Annotated[
        str, typer.Option(help="Longest reply of the judge, in tokens; none sets no limit.")
    ] = "1024",
    seed: Annotated[
        int | None, typer.Option(help="Sampling seed, sent to servers that take one.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only this many rows, from the first.")] = None,
    critiques: Annotated[
        bool, typer.Option(help="Ask for critiques with an overall grade as well.")
    ] = True,
    retry_unreadable: Annotated[
        bool,
        typer.Option(
            "--retry-unreadable",
            help="Ask again where a reply in the journal holds no answer or no rating that can be "
            "read.",
        ),
    ] = False,
    set_aside: SetAsideOption = False,
) -> None:
    """Collect several models' answers and a judge's ratings. The same command, after a kill, pays
    for nothing twice.
    """
    options = dict(locals())
    from zephyr_utils.feedback.command import FeedbackCommand

    complete = FeedbackCommand.from_options(options).run(
        lambda text: out.print(text, highlight=False, markup=False, soft_wrap=True)
    )
    raise typer.Exit(0 if complete else 1)


def pairs(
    feedback: Annotated[
        Path,
        typer.Argument(help="Rated answers in UltraFeedback's schema: JSONL, JSON, CSV, Parquet."),
    ],
    output: Annotated[Path, typer.Option(help="File for the pairs: .jsonl or .parquet.")],
    score: Annotated[
        Literal["mean", "overall"],
        typer.Option(help="Mean of the four aspects (the paper), or overall grade (published)."),
    ] = "mean",
    rejected: Annotated[
        Literal["random", "lowest", "all"],
        typer.Option(help="What the best answer is paired with; the paper: random."),
    ] = "random",
    ties: Annotated[
        Literal["drop", "keep"], typer.Option(help="What to do with pairs of equal scores.")
    ] = "drop",
    rating_scale: Annotated[
        str,
        typer.Option(
            help="Lowest and highest rating of the score: 1-10; default 1-5 for mean, 1-10 for "
            "overall."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of the random rejected answer.")] = 0,
    questions: Annotated[
        Path | None,
        typer.Option(help="Questions (MT-Bench's schema) whose prompts are to be left out."),
    ] = None,
    set_aside: SetAsideOption = False,
) -> None:
    """Turn rated answers into preference pairs, and audit them."""
    from zephyr_utils.data.filtering import decontaminate, first_turns
    from zephyr_utils.data.records import load_records, save_records
    from zephyr_utils.data.write import check_record_file
    from zephyr_utils.preferences import RATING_SCALES, audit, binarize, parse_rating_scale

    def show(text: str) -> None:
        out.print(text, highlight=False, markup=False, soft_wrap=True)

    scales = (
        {**RATING_SCALES, score: parse_rating_scale(rating_scale)}
        if rating_scale
        else RATING_SCALES
    )
    check_record_file(output, [path for path in (feedback, questions) if path])
    loaded = load_records(feedback, "feedback", set_aside=set_aside)
    show(loaded.report())
    rows, n_leaked = loaded.records, 0
    if questions:
        clean = decontaminate([row["instruction"] for row in rows], first_turns(questions))
        show(f"prompts that hold a question of {questions}: {clean.report()}")
        rows, n_leaked = clean.select(rows), len(clean.removed)
    made = binarize(
        rows, score=score, rejected=rejected, ties=ties, seed=seed, rating_scales=scales
    )
    show(made.report())
    save_records(made.require_pairs(str(feedback), n_leaked).pairs, output)
    show(str(audit(made.pairs, feedback=rows, rating_scales=scales)))
    show(f"{len(made.pairs):,} pairs in {output}")
