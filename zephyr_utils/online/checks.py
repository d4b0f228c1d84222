"""What rounds of own answers are asked for, checked before anything is sampled or paid for."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.online.pairs import RateAnswers
from zephyr_utils.online.round_training import OnlineObjective
from zephyr_utils.recipes import Recipe, model_fields
from zephyr_utils.training.progress import say

if TYPE_CHECKING:
    from zephyr_utils.pipeline.settings import RunSettings

# What a round's plain loop reads of a recipe, beside the model, its adapter and its quantisation.
READ_BY_ROUNDS = {
    "beta",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "max_steps",
    "num_train_epochs",
    "per_device_train_batch_size",
    "seed",
    "warmup_steps",
    "weight_decay",
}
# Arguments of dDPO's loss -> the values that a round trains with.
OF_THE_LOSS: dict[str, tuple[Any, ...]] = {
    "label_smoothing": (0,),
    "loss_type": (["sigmoid"], "sigmoid"),
    "loss_weights": (None, [1]),
}

OTHER_JUDGES = (
    "name a judge that rates any answer (--reward-model DIR, or --judge NAME --base-url URL), or "
    "use --method self-rewarding"
)


def check_objective(objective: OnlineObjective) -> None:
    """Refuse a scale or weight with which nothing could be trained.

    Raises:
        HandbookError: one is not finite or out of its range, or nothing is asked for.
    """
    bounds = {
        "eta": (0 < objective.eta < math.inf, "a number above 0"),
        "win_temperature": (0 < objective.win_temperature < math.inf, "a number above 0"),
        "alpha": (0 <= objective.alpha < math.inf, "a number from 0"),
        "ask": (bool(objective.ask.strip()), "a sentence that asks for what is wanted"),
    }
    for name, (holds, words) in bounds.items():
        if not holds:
            raise HandbookError(
                f"{name} is {getattr(objective, name)!r}", where=name, remedy=f"give {words}"
            )


def check_round_recipe(pipeline: "RunSettings", recipe: Recipe) -> None:
    """Refuse values of ``ddpo`` that were given and that no round reads.

    Args:
        recipe: of the rounds.

    Raises:
        HandbookError: one of them; it is named.
    """
    read = READ_BY_ROUNDS | model_fields()
    unread = sorted(set(pipeline.changes.get("ddpo", {})) - read)
    if unread:
        raise HandbookError(
            f"a round has a loop of its own, which does not read {', '.join(unread)}",
            where="--set",
            remedy=f"leave it out; a round reads {', '.join(sorted(READ_BY_ROUNDS - {'seed'}))}, "
            "and what is about the model or its adapter",
        )
    for name, allowed in OF_THE_LOSS.items():
        if name in recipe and recipe[name] not in allowed:
            raise HandbookError(
                f"the recipe's {name} is {recipe[name]}, and a round has the loss of its method",
                where="--recipe",
                remedy="leave it out, and choose the loss by --method",
            )


def check_prompts_rated(prompts: Sequence[str], rate: RateAnswers) -> None:
    """Ask a judge whether it rates answers to these prompts, with a placeholder for an answer, and
    say for how many it does not.

    Raises:
        HandbookError: for none; their answers would be sampled for nothing.
    """
    answer: Any = {"model": "", "response": "Yes.", "annotations": {}, "critique": "",
                   "overall_score": None}  # fmt: skip
    asked: Any = [
        {"source": "", "instruction": prompt, "models": [""], "completions": [answer]}
        for prompt in prompts
    ]
    unrated = sum(
        not one["annotations"] and one["overall_score"] is None
        for record in rate(asked)
        for one in record["completions"]
    )
    if unrated == len(prompts):
        raise HandbookError(
            f"the scale's judge rates answers to none of the {len(prompts):,} prompts: it knows "
            "the questions of the scale's own feedback",
            where="--feedback",
            remedy=OTHER_JUDGES,
        )
    if unrated:
        say(f"the scale's judge cannot rate {unrated:,} of {len(prompts):,} prompts")
