"""The rows of the paper's ablations and of our own: what each starts from, on which records, with
which recipe.

Rows marked `few` train on a quarter of the pairs, for one epoch, in batches of sixteen. Each row
but the controls of `AT_THE_RATE_OF` had a search of its own on development questions, over three
seeds that measure no claim, by ``benchmarks/search.py``; the winners are in
``recipes/<scale>/ablations.yaml``.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.recipes import RECIPES_FOLDER, Recipe, Stage

FEW = 0.25  # share of the training pairs in rows marked `few`


@dataclass(frozen=True)
class Ablation:
    """One training that differs from the pipeline's own in one respect; a row of a table.

    Attributes:
        name: its key, and its folder's name.
        label: what tables call it.
        trains: ``ddpo`` on pairs, ``chosen`` (dSFT on the pairs' chosen answers), ``dsft`` on the
            dialogues, or "" for one of the pipeline's own models (`Pipeline.model_directory`).
        start: ``base``, or the name of the row whose model it starts from; "" for the pipeline's
            models that start from no row.
        pairs: options of `Pipeline.pair_up` that make it another set than step 4's.
        answers: whose answers are paired: those of the ``feedback``, or ``own``, samples of the
            pipeline's dSFT model, rated by the same noisy judge.
        recipe: recipe values that make the row what it is.
        few: trained on a quarter of the pairs; a row on its own answers keeps all of its pairs, and
            `as_many_as` limits its steps.
        as_many_as: a row on other records that it makes as many updates as; "" makes those of its
            own epochs.
        epochs: how many epochs' models are kept and examined; 0 examines the last only.
    """

    name: str
    label: str
    trains: str = "ddpo"
    start: str = "dsft"
    pairs: dict[str, Any] = field(default_factory=dict)
    answers: Literal["feedback", "own"] = "feedback"
    recipe: dict[str, Any] = field(default_factory=dict)
    few: bool = True
    as_many_as: str = ""
    epochs: int = 0

    @property
    def stage(self) -> Stage:
        """Whose recipe it takes."""
        return "ddpo" if self.trains == "ddpo" else "dsft"


ABLATIONS = {
    row.name: row
    for row in (
        Ablation("base", "base model", trains="", start=""),
        Ablation("dsft", "dSFT-1", trains="", start=""),
        Ablation("ddpo", "dDPO + dSFT", trains=""),
        Ablation("ddpo_without_dsft", "dDPO without dSFT", start="base", few=False),
        Ablation("dsft_2", "dSFT-2", trains="chosen", recipe={"num_train_epochs": 1}, few=False),
        Ablation(
            "dsft_more",
            "dSFT-1 and as many more updates on dialogues",
            trains="dsft",
            recipe={"num_train_epochs": 1},
            few=False,
            as_many_as="dsft_2",
        ),
        Ablation("few", "dDPO + dSFT on a quarter of the pairs"),
        Ablation(
            "lowest", "rejected: the worst answer", pairs={"rejected": "lowest"}, as_many_as="few"
        ),
        Ablation("ties_kept", "ties kept", pairs={"ties": "keep"}, as_many_as="few"),
        Ablation(
            "overall", "score: the overall grade", pairs={"score": "overall"}, as_many_as="few"
        ),
        Ablation("beta_0.01", "β 0.01", recipe={"beta": 0.01}),
        Ablation("beta_0.5", "β 0.5", recipe={"beta": 0.5}),
        Ablation("ipo", "IPO", recipe={"loss_type": ["ipo"]}),
        Ablation("hinge", "hinge", recipe={"loss_type": ["hinge"]}),
        Ablation(
            "robust", "robust DPO, ε 0.1", recipe={"loss_type": ["robust"], "label_smoothing": 0.1}
        ),
        Ablation("sppo_hard", "SPPO's loss, offline", recipe={"loss_type": ["sppo_hard"]}),
        Ablation("apo_zero", "APO-zero", recipe={"loss_type": ["apo_zero"]}),
        Ablation(
            "dsft_one_epoch",
            "dSFT, 1 epoch",
            trains="dsft",
            start="base",
            recipe={"num_train_epochs": 1},
            few=False,
        ),
        Ablation(
            "few_after_one",
            "dDPO on a quarter of the pairs, after 1 epoch of dSFT",
            start="dsft_one_epoch",
        ),
        Ablation(
            "epochs_after_one",
            "dDPO epoch by epoch, after 1 of dSFT",
            start="dsft_one_epoch",
            recipe={"num_train_epochs": 3},
            epochs=3,
        ),
        Ablation(
            "epochs",
            "dDPO epoch by epoch, after 2 of dSFT",
            recipe={"num_train_epochs": 3},
            epochs=3,
        ),
        Ablation(
            "by_heart",
            "dDPO epoch by epoch, with an adapter of rank 128",
            recipe={"num_train_epochs": 3, "lora_r": 128, "lora_alpha": 256},
            epochs=3,
        ),
        Ablation(
            "all_weights",
            "dDPO epoch by epoch, all weights",
            recipe={"num_train_epochs": 3, "use_peft": False},
            epochs=3,
        ),
        Ablation(
            "own_random",
            "the model's own answers, rejected: a random one",
            answers="own",
            as_many_as="few",
        ),
        Ablation(
            "own_random_at_few",
            "the model's own answers, rejected: a random one, at the rate of other models'",
            answers="own",
            as_many_as="few",
        ),
        Ablation(
            "own_worst",
            "the model's own answers, rejected: the worst",
            pairs={"rejected": "lowest"},
            answers="own",
            as_many_as="few",
        ),
        Ablation(
            "best_of_4",
            "dSFT on the best of the model's own four answers",
            trains="chosen",
            answers="own",
            as_many_as="few",
        ),
    )
}
TABLE_3 = ("base", "ddpo_without_dsft", "dsft", "dsft_2", "ddpo")
CONTROLS = ("dsft_more", "own_random_at_few")
# control -> the row whose learning rate it takes, so that nothing but the records differs
AT_THE_RATE_OF = {"dsft_more": "dsft_2", "own_random_at_few": "few"}
PAIRINGS = ("few", "lowest", "ties_kept", "overall")
BETAS = ("beta_0.01", "few", "beta_0.5")
LOSSES = ("few", "ipo", "hinge", "robust", "sppo_hard", "apo_zero")
EPOCHS = (
    "epochs",
    "dsft_one_epoch",
    "few_after_one",
    "epochs_after_one",
    "by_heart",
    "all_weights",
)
OWN_ANSWERS = ("own_random", "own_worst", "best_of_4")


def get_ablation(name: str) -> Ablation:
    """The row of that name.

    Raises:
        HandbookError: there is none; the message lists those there are.
    """
    if name not in ABLATIONS:
        raise HandbookError(
            f"there is no ablation `{name}`",
            where="ablations",
            remedy=f"choose from {', '.join(ABLATIONS)}",
        )
    return ABLATIONS[name]


def recipe_of(pipeline: Pipeline, ablation: Ablation, **changes: Any) -> Recipe:
    """The ablation's recipe: the scale's, what all small ones share, what was searched for it, and
    what makes it the ablation.
    """
    searched = _searched(pipeline.scale)
    recipe = pipeline.recipe(ablation.stage)
    if recipe.is_preference:
        # No measurements on the way: each costs more than it tells here. Ablations with epochs are
        # measured after each.
        every_epoch = "epoch" if ablation.epochs else "no"
        recipe |= {"eval_strategy": every_epoch, "eval_on_start": False}
    common = searched.get("few", {}) if ablation.few else {}
    return (
        recipe
        | common
        | searched.get("rows", {}).get(ablation.name, {})
        | ablation.recipe
        | changes
    )


def searched_ablations(scale: str) -> set[str]:
    """The ablations whose learning rate was searched at this scale; the others take what the small
    ones share.
    """
    return set(_searched(scale).get("rows", {}))


def _searched(scale: str) -> dict[str, Any]:
    path = RECIPES_FOLDER / scale / "ablations.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
