"""The command that trains on a model's own answers, round after round."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from zephyr_utils.cli.console import out, print_manifest
from zephyr_utils.cli.options import (
    BaseModelOption,
    ChatTemplateOption,
    DialoguesOption,
    LimitOption,
    RecipeOption,
    RunsOption,
    ScaleOption,
    SeedOption,
    SetAsideOption,
    SetOption,
    SftModelOption,
    existing_folder,
    open_pipeline,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.recipes import STAGES
from zephyr_utils.scales import DEFAULT_SCALE

if TYPE_CHECKING:
    from zephyr_utils.online.pairs import RateAnswers
    from zephyr_utils.pipeline.pipeline import Pipeline

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
    reward_model: Annotated[
        str, typer.Option(help="Directory of a reward model that judges, in the scale's place.")
    ] = "",
    judge: Annotated[
        str, typer.Option(help="Model behind an endpoint that judges, in the scale's place.")
    ] = "",
    base_url: Annotated[
        str, typer.Option(help="The judge's endpoint; default $OPENAI_BASE_URL, else OpenAI.")
    ] = "",
    api_key_env: Annotated[
        str,
        typer.Option(
            help="Environment variable that holds the judge's key; default OPENAI_API_KEY."
        ),
    ] = "",
    scale: ScaleOption = DEFAULT_SCALE,
    seed: SeedOption = 0,
    dialogues: DialoguesOption = "",
    feedback: Annotated[
        str,
        typer.Option(help="Prompts of your own: `prompt`, `instruction`, `messages`, or feedback."),
    ] = "",
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
    from zephyr_utils.online.checks import check_round_recipe
    from zephyr_utils.online.pairs import SamplingSettings
    from zephyr_utils.online.round_training import OnlineObjective
    from zephyr_utils.online.rounds import (
        WITHOUT_JUDGE,
        OnlineSettings,
        round_recipe,
        run_rounds,
    )

    no_judge = method in WITHOUT_JUDGE and f"{method} uses no judge"
    no_endpoint = not judge and "no model at an endpoint is named (--judge NAME)"
    ignored = {
        "--reward-model": reward_model and no_judge,
        "--judge": judge and no_judge,
        "--base-url": base_url and no_endpoint,
        "--api-key-env": api_key_env and no_endpoint,
        "--base-model": base_model and sft_model and "--sft-model is given, and no dSFT is run",
        "--dialogues": dialogues
        and sft_model
        and method != "irft"
        and "--sft-model is given, and no dSFT is run",
        "--feedback": feedback and method == "irft" and "irft's prompts are those of the dialogues",
    }
    for option, why in ignored.items():
        if why:
            raise HandbookError(f"it would not be used: {why}", where=option, remedy="leave it out")
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
        stages=("ddpo",) if sft_model else STAGES,
        own_stage="ddpo",
        settings=settings,
        recipes=recipe,
        limit=limit,
        sft_model=sft_model,
        chat_template=chat_template,
    )
    check_round_recipe(pipeline, round_recipe(pipeline))
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
    rate = _judge_of(pipeline, reward_model, judge, base_url, api_key_env)
    for made in run_rounds(pipeline, wanted, rate):
        out.print(f"Round {made.number} of {rounds}, {method}")
        print_manifest(made.answers)
        left_out = made.answers.results["answers_left_out"]
        out.print(
            f"  answers: {made.answers.results['answers']:,}; left out: {left_out or 'none'}; "
            f"not rated: {made.answers.results['answers_unrated']:,}"
        )
        print_manifest(made.training, "first_loss", "last_loss", "kl", "distinct")
        print_manifest(made.exam, "score", *(["right"] if "right" in made.exam.results else []))


def _judge_of(
    pipeline: "Pipeline", reward_model: str, judge: str, base_url: str, api_key_env: str
) -> "RateAnswers | None":
    """The judge that was named; None for the scale's own. One that cannot rate is refused here,
    before anything is sampled.
    """
    if reward_model and judge:
        raise HandbookError(
            "two judges are named",
            where="--reward-model, --judge",
            remedy="name one of them",
        )
    if not reward_model and not judge:
        return None
    from zephyr_utils.chat.model_files import check_model_directory
    from zephyr_utils.feedback import Endpoint
    from zephyr_utils.feedback.endpoint import check_client
    from zephyr_utils.online.judges import EndpointJudge, RewardModelJudge
    from zephyr_utils.online.rounds import ONLINE
    from zephyr_utils.pipeline.artefacts import fingerprint

    if reward_model:
        directory = existing_folder(reward_model)
        if directory is None:
            raise HandbookError(
                "there is no such directory",
                where=f"--reward-model {reward_model}",
                remedy="name the directory of a reward model, with its config.json",
            )
        check_model_directory(directory)
        return RewardModelJudge(directory, fingerprint(directory))
    check_client()
    endpoint = Endpoint(base_url, api_key_env or "OPENAI_API_KEY")
    _ = endpoint.url, endpoint.key()
    return EndpointJudge(judge, endpoint, pipeline.folder / ONLINE / "judge.journal.jsonl")
