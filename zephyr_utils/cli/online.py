"""The verb that trains on a model's own answers, round after round."""

from typing import Annotated, Any, Literal

import typer

from zephyr_utils.cli.console import out, print_manifest
from zephyr_utils.cli.options import (
    BaseModelOption,
    ChatTemplateOption,
    DialoguesOption,
    FeedbackOption,
    LimitOption,
    RecipeOption,
    RunsOption,
    ScaleOption,
    SeedOption,
    SetAsideOption,
    SetOption,
    SftModelOption,
    open_pipeline,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.scales import DEFAULT_SCALE

MethodName = Literal["dpo", "sppo", "selm", "self-rewarding", "irft"]


def online(
    method: Annotated[
        MethodName,
        typer.Option(
            help="Iterative DPO, SPPO or SELM, with a judge; self-rewarding: the model rates its "
            "own answers; irft: demonstrations against own answers (one round: SPIN)."
        ),
    ] = "dpo",
    rounds: Annotated[int, typer.Option(help="How many; each has prompts of its own.")] = 3,
    prompts: Annotated[
        int | None, typer.Option(help="Prompts of each round; default: all, divided.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Answers to each prompt; default 5, for irft 1.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of the answers.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Of the answers.")] = 1.0,
    eta: Annotated[
        float | None, typer.Option(help="Of SPPO: scale of its targets in nats; default 10.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Of SELM: weight of its term; default 0.001.")
    ] = None,
    ask: Annotated[
        str | None,
        typer.Option(help="Of self-rewarding: the system's turn that asks for what is wanted."),
    ] = None,
    scale: ScaleOption = DEFAULT_SCALE,
    seed: SeedOption = 0,
    dialogues: DialoguesOption = "",
    feedback: FeedbackOption = "",
    base_model: BaseModelOption = "",
    sft_model: SftModelOption = "",
    limit: LimitOption = None,
    settings: SetOption = None,
    recipe: RecipeOption = None,
    chat_template: ChatTemplateOption = None,
    runs: RunsOption = "",
    set_aside: SetAsideOption = False,
) -> None:
    """Sample, rate and train again: each round answers with the last round's model, which is also
    its reference.
    """
    from zephyr_utils.online.pairs import SamplingSettings
    from zephyr_utils.online.round_training import OnlineObjective
    from zephyr_utils.online.rounds import OnlineSettings, run_rounds

    given = {"eta": eta, "alpha": alpha, "ask": ask}
    for name, owner in (("eta", "sppo"), ("alpha", "selm"), ("ask", "self-rewarding")):
        if given[name] is not None and method != owner:
            raise HandbookError(
                f"{method} has no {name}",
                where=f"--{name}",
                remedy=f"leave it out, or use --method {owner}",
            )
    pipeline = open_pipeline(
        scale,
        seed,
        runs,
        dialogues,
        feedback,
        base_model=base_model,
        set_aside=set_aside,
        own_stage="ddpo",
        settings=settings,
        recipes=recipe,
        limit=limit,
        sft_model=sft_model,
        chat_template=chat_template,
    )
    own: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    wanted = OnlineSettings(
        OnlineObjective(method, **own),
        rounds,
        SamplingSettings(
            (1 if method == "irft" else 5) if samples is None else samples,
            temperature,
            top_p,
            pipeline.setting.exam.max_new_tokens,
            pipeline.seed,
        ),
        prompts,
    )
    for made in run_rounds(pipeline, wanted):
        out.print(f"Round {made.number} of {rounds}, {method}")
        print_manifest(made.answers)
        left_out = made.answers.results["answers_left_out"]
        out.print(f"  answers: {made.answers.results['answers']:,}; left out: {left_out or 'none'}")
        print_manifest(made.training, "first_loss", "last_loss", "kl", "distinct")
        print_manifest(made.exam, "score", *(["right"] if "right" in made.exam.results else []))
