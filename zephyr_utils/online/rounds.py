"""Sampling again: rounds of own answers, a judge's ratings and one training each.

Each round has prompts of its own. Its answers are those of the last round's model, which is also
the reference that it is trained against. Answers, training and exam of a round are artefacts: made
once, reused, and made again from where a killed run stopped.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from zephyr_utils.data.filtering import decontaminate
from zephyr_utils.data.strict_yaml import load_yaml
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.prompt_files import load_prompts
from zephyr_utils.online.checks import OTHER_JUDGES, check_objective, check_prompts_rated
from zephyr_utils.online.pairs import RateAnswers, SamplingSettings
from zephyr_utils.online.ratings import AgainstDemonstrations, SelfReward
from zephyr_utils.online.round_training import Method, OnlineObjective, train_round
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint
from zephyr_utils.pipeline.on_policy import build_own_answers, scale_judge
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.pipeline.steps.own_answers import FEEDBACK_FILE
from zephyr_utils.preferences.pairs import LEAKED
from zephyr_utils.recipes import RECIPES_FOLDER, Recipe
from zephyr_utils.training.progress import say
from zephyr_utils.training.save import MODEL

ONLINE = "11_online"
METHODS: tuple[Method, ...] = get_args(Method)
WITHOUT_JUDGE: tuple[Method, ...] = ("self-rewarding", "irft")
REPEATED, NOT_ASKED_FOR = "repeated_prompt", "not_asked_for"
NO_EXCHANGE = "no_first_exchange"


@dataclass(frozen=True)
class OnlineSettings:
    """A loop of rounds.

    Attributes:
        objective: what each round trains towards.
        rounds: how many.
        sampling: of each round's answers; a round's seed is drawn from its seed and its number.
        prompts: of each round; None divides all there are.
    """

    objective: OnlineObjective = field(default_factory=OnlineObjective)
    rounds: int = 3
    sampling: SamplingSettings = field(default_factory=lambda: SamplingSettings(samples=5))
    prompts: int | None = None

    def __post_init__(self) -> None:
        for name, number in (("rounds", self.rounds), ("prompts", self.prompts)):
            if number is not None and number < 1:
                raise HandbookError(
                    f"{number} {name} were asked for", where=name, remedy="ask for 1 or more"
                )
        self.sampling.require(self.least)
        check_objective(self.objective)

    @property
    def least(self) -> int:
        """Different answers that a prompt needs: of IRFT one, beside the demonstration."""
        return 1 if self.objective.method == "irft" else 2

    def round_sampling(self, number: int) -> SamplingSettings:
        """How the answers of a round, from 1, are drawn."""
        seeds = random.Random(f"round {number} of {self.sampling.seed}")
        return replace(self.sampling, seed=seeds.getrandbits(32))


@dataclass(frozen=True)
class Round:
    """What a round left.

    Attributes:
        number: from 1.
        answers: the artefact of its rated answers.
        training: the artefact of its model, in ``model/``.
        exam: the artefact of its model's exam.
    """

    number: int
    answers: Manifest
    training: Manifest
    exam: Manifest


@dataclass(frozen=True)
class PromptShares:
    """The prompts of each round, none of them in two.

    Attributes:
        rounds: the prompts of each round.
        set_aside: prompts in no round, by reason.
    """

    rounds: list[list[str]]
    set_aside: Counter[str]


def split_prompts(
    prompts: Sequence[str],
    rounds: int,
    seed: int,
    asked: Sequence[str] = (),
    each: int | None = None,
) -> PromptShares:
    """Shuffle prompts into shares that differ by one prompt at most.

    A prompt that appears twice is used once, or two rounds could have it.

    Args:
        asked: questions of the exam; prompts that hold one are set aside.
        each: prompts of a share; None divides all there are.

    Raises:
        HandbookError: there are fewer prompts than rounds, or than `each` for every round.
    """
    different = list(dict.fromkeys(prompts))
    clean = decontaminate(different, asked)
    kept = [different[place] for place in clean.kept]
    needed = rounds * (each or 1)
    if len(kept) < needed:
        of_each = f" of {each}" if each else ""
        raise HandbookError(
            f"{len(kept)} prompts are too few for {_counted(rounds)}{of_each}, which share none",
            where="rounds",
            remedy="give more prompts (--feedback, --limit), or ask for fewer rounds or prompts",
        )
    random.Random(f"rounds {seed}").shuffle(kept)
    aside = Counter({REPEATED: len(prompts) - len(different), LEAKED: len(clean.removed)})
    if each:
        aside[NOT_ASKED_FOR] = len(kept) - needed
        kept = kept[:needed]
    return PromptShares([kept[number::rounds] for number in range(rounds)], +aside)


def _counted(rounds: int) -> str:
    return f"{rounds} round{'s' * (rounds != 1)}"


def _by_reason(counts: Counter[str]) -> str:
    reasons = (f"{n:,} {reason.replace('_', ' ')}" for reason, n in counts.items())
    return ", ".join(reasons) or "none"


def run_rounds(
    pipeline: Pipeline, settings: OnlineSettings, judge: RateAnswers | None = None
) -> Iterator[Round]:
    """Run the rounds of a loop one after the other; each is yielded when it is done.

    Args:
        pipeline: whose dSFT model the first round starts from, whose feedback has the prompts (a
            file that is given may hold nothing else), and whose `round_recipe` every round takes.
            IRFT takes the first exchanges of the dialogues for prompts and demonstrations.
        judge: rates own answers, such as those of `online.judges`; its ``repr`` is part of each
            round's recipe. None takes the scale's.

    Raises:
        HandbookError: the method needs a judge for own answers and the scale has none, or has no
            use for the one given; there are fewer prompts than rounds; as `build_own_answers` and
            `train_round`.
    """
    method = settings.objective.method
    if judge and method in WITHOUT_JUDGE:
        raise HandbookError(
            f"{method} uses no judge", where="judge", remedy="leave it out, or use --method dpo"
        )
    default_judge: RateAnswers | None = None
    if not judge and method not in WITHOUT_JUDGE:  # refused before anything is read or made
        if pipeline.setting.feedback_judge is None:
            raise HandbookError(
                f"the scale `{pipeline.setting.name}` has no judge of its own, and none is named",
                where="--scale",
                remedy=OTHER_JUDGES,
            )
        default_judge = scale_judge(pipeline)
    demonstrations: AgainstDemonstrations | None = None
    if method == "irft":
        shown, without = first_exchanges(pipeline.split_dialogues()[0])
        demonstrations = AgainstDemonstrations(shown, fingerprint(shown))
        given = list(shown)
        say(f"{len(given):,} demonstrations; dialogues set aside: {_by_reason(without)}")
    else:
        given = _given_prompts(pipeline)
    asked = [question["turns"][0] for question in pipeline.questions()]
    shares = split_prompts(
        given,
        settings.rounds,
        pipeline.seed,
        asked,
        settings.prompts,
    )
    used = sum(map(len, shares.rounds))
    aside = _by_reason(shares.set_aside)
    say(f"{used:,} prompts in {_counted(settings.rounds)}; set aside: {aside}")
    if default_judge:  # it costs nothing to ask
        check_prompts_rated([prompt for share in shares.rounds for prompt in share], default_judge)
    model, name = pipeline.start(), "dsft"
    if method == "self-rewarding":
        SelfReward(model[0], settings.objective.ask, pipeline.chat_template).check()
    for number, prompts in enumerate(shares.rounds, start=1):
        folder = pipeline.folder / ONLINE / method / f"round_{number}"
        rate: RateAnswers | None = judge or demonstrations
        if method == "self-rewarding":
            rate = SelfReward(model[0], settings.objective.ask, pipeline.chat_template)
        made = _run_round(pipeline, settings, folder, number, model, name, prompts, rate)
        yield made
        model, name = (made.training.folder / MODEL, made.training.key), f"round {number}"


def _given_prompts(pipeline: Pipeline) -> list[str]:
    """The prompts of the feedback. A file that is given may hold prompts alone, in any layout."""
    if not pipeline.feedback:
        return [row["instruction"] for row in pipeline.load("feedback", "feedback").records]
    read = load_prompts(pipeline.feedback, set_aside=pipeline.set_aside_bad_rows)
    say(read.report())
    for note, n in read.conversions.most_common():
        say(f"{n:,} of {len(read):,} prompts: {note}")
    if not read.records:
        reasons = ", ".join(f"{n:,} x {reason}" for reason, n in read.reasons().items())
        raise HandbookError(
            f"there is no prompt in its {read.n_read:,} rows{f' ({reasons})' if reasons else ''}",
            where=str(pipeline.feedback),
            remedy="give a file with a `prompt`, an `instruction` or `messages` in each row",
        )
    prompts = [row["prompt"] for row in read.records]
    limits = {"--limit": pipeline.limit, f"scale {pipeline.scale}": pipeline.setting.limit}
    for name, limit in limits.items():
        if limit is not None and limit < len(prompts):
            say(f"{limit:,} of {len(prompts):,} prompts, by {name}")
            prompts = prompts[:limit]
    return prompts


def first_exchanges(dialogues: Sequence[dict[str, Any]]) -> tuple[dict[str, str], Counter[str]]:
    """The answer to each dialogue's first turn, by that turn, and the dialogues that give none.

    A prompt that appears twice keeps its first answer. A dialogue that begins with a system's turn
    is set aside, since own answers are sampled without one.
    """
    shown: dict[str, str] = {}
    without: Counter[str] = Counter()
    for row in dialogues:
        roles = [message["role"] for message in row["messages"][:2]]
        if roles != ["user", "assistant"]:
            without[NO_EXCHANGE] += 1
            continue
        first, second = row["messages"][:2]
        without[REPEATED] += first["content"] in shown
        shown.setdefault(first["content"], second["content"])
    return shown, +without


def round_recipe(pipeline: Pipeline) -> Recipe:
    """The recipe of one round: the run's of ``ddpo``, with what the scale's ``online.yaml`` has in
    place of it, since a round has far fewer pairs. A recipe or values that were given stay.
    """
    path = RECIPES_FOLDER / pipeline.scale / "online.yaml"
    if "ddpo" in pipeline.recipes or not path.is_file():
        return pipeline.recipe("ddpo")
    of_rounds = load_yaml(path.read_text(encoding="utf-8"))
    given = {**of_rounds, **pipeline.changes.get("ddpo", {})}
    return replace(pipeline, changes={**pipeline.changes, "ddpo": given}).recipe("ddpo")


def _run_round(
    pipeline: Pipeline,
    settings: OnlineSettings,
    folder: Path,
    number: int,
    model: tuple[Path, str],
    model_name: str,
    prompts: list[str],
    rate: RateAnswers | None,
) -> Round:
    sampling = settings.round_sampling(number)
    # The first answers and the scale's ratings are the same whatever a round then trains towards.
    first = pipeline.folder / ONLINE / "first_answers"
    answers = build_own_answers(
        pipeline,
        first if number == 1 and rate is None else folder / "answers",
        model,
        model_name,
        prompts,
        sampling,
        rate,
        settings.least,
    )
    recipe = round_recipe(pipeline)
    training = build_artefact(
        folder / "training",
        inputs={"start": model[1], "answers": answers.key},
        recipe={**recipe, **settings.objective.in_use, **pipeline.template},
        make=partial(
            train_round,
            start=model[0],
            feedback=answers.folder / FEEDBACK_FILE,
            objective=settings.objective,
            recipe=recipe,
            max_new_tokens=sampling.max_new_tokens,
            chat_template=pipeline.chat_template,
        ),
    )
    exam = pipeline.evaluate(
        f"{settings.objective.method}_round_{number}",
        str(training.folder / MODEL),
        folder=folder / "exam",
    )
    return Round(number, answers, training, exam)
