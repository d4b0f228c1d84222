"""The paper's ablations: what each starts from, on which pairs, with which recipe; and its exam.

The functions take a `Pipeline` and leave their artefacts in ``08_ablations/`` beside its own, made
once and reused like them. ``python -m
zephyr_utils.ablations.catalogue`` is one process of `parallel.run_in_parallel`.

Rows marked `few` train on a quarter of the pairs, for one epoch, in batches of sixteen: minutes for
five seeds. Each had a search of its own on `development_questions`, by ``benchmarks/search.py``;
the winners stand in ``recipes/<scale>/ablations.yaml``.
"""

import hashlib
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zephyr_utils import training
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint
from zephyr_utils.pipeline.pipeline import ABLATIONS_FOLDER, Pipeline
from zephyr_utils.pipeline.steps.ddpo import train_ddpo
from zephyr_utils.pipeline.steps.dsft import train_dsft
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
        start: ``base``, or the name of the row whose model it starts from.
        pairs: options of `Pipeline.pair_up` that make it another set than step 4's.
        recipe: recipe values that make the row what it is.
        few: trained on a quarter of the pairs.
        epochs: how many epochs' models are kept and examined; 0 examines the last only.
    """

    name: str
    label: str
    trains: str = "ddpo"
    start: str = "dsft"
    pairs: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    few: bool = True
    epochs: int = 0

    @property
    def stage(self) -> Stage:
        """Whose recipe it takes."""
        return "ddpo" if self.trains == "ddpo" else "dsft"


ABLATIONS = {
    row.name: row
    for row in (
        Ablation("base", "base model", trains=""),
        Ablation("dsft", "dSFT-1", trains=""),
        Ablation("ddpo", "dDPO + dSFT", trains=""),
        Ablation("ddpo_without_dsft", "dDPO − dSFT", start="base"),
        Ablation("dsft_2", "dSFT-2", trains="chosen", few=False),
        Ablation("few", "dDPO + dSFT on a quarter of the pairs"),
        Ablation("lowest", "rejected: the worst answer", pairs={"rejected": "lowest"}),
        Ablation("ties_kept", "ties kept", pairs={"ties": "keep"}),
        Ablation("overall", "score: the overall grade", pairs={"score": "overall"}),
        Ablation("beta_0.01", "β 0.01", recipe={"beta": 0.01}),
        Ablation("beta_0.5", "β 0.5", recipe={"beta": 0.5}),
        Ablation("ipo", "IPO", recipe={"loss_type": ["ipo"]}),
        Ablation("hinge", "hinge", recipe={"loss_type": ["hinge"]}),
        Ablation(
            "robust", "robust DPO, ε 0.1", recipe={"loss_type": ["robust"], "label_smoothing": 0.1}
        ),
        Ablation("sppo_hard", "SPPO, hard labels", recipe={"loss_type": ["sppo_hard"]}),
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
    )
}
TABLE_3 = ("base", "ddpo_without_dsft", "dsft", "dsft_2", "ddpo")
PAIRINGS = ("few", "lowest", "ties_kept", "overall")
BETAS = ("beta_0.01", "few", "beta_0.5")
LOSSES = ("few", "ipo", "hinge", "robust", "sppo_hard", "apo_zero")
EPOCHS = ("epochs", "dsft_one_epoch", "epochs_after_one")


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


def model_of(pipeline: Pipeline, name: str) -> str:
    """The model directory of an ablation or of the base; makes it if it must."""
    ablation = get_ablation(name)
    if not ablation.trains:
        return pipeline.model_directory(name)
    return str(train(pipeline, ablation).folder / training.MODEL)


def train(pipeline: Pipeline, ablation: Ablation) -> Manifest:
    """The ablation's model, in ``08_ablations/<name>/model/``."""
    start, data = model_of(pipeline, ablation.start), data_of(pipeline, ablation)
    recipe = recipe_of(pipeline, ablation)
    settings = {
        **recipe,
        "trains": ablation.trains,
        "few": FEW if ablation.few else 1.0,
        "keep_epochs": ablation.epochs,
    }
    return build_artefact(
        pipeline.folder / ABLATIONS_FOLDER / ablation.name,
        inputs={"start": fingerprint(Path(start)), "data": data.key},
        recipe=settings,
        make=lambda folder: train_into(pipeline, ablation, start, folder, recipe),
        code=[train_dsft.__module__, train_ddpo.__module__],
    )


def train_into(
    pipeline: Pipeline, ablation: Ablation, start: str, folder: Path, recipe: Recipe
) -> dict[str, Any]:
    """Train from the model directory `start` into `folder`; returns counts and metrics."""
    if ablation.trains == "dsft":
        rows, held_out, _ = pipeline.split_dialogues()
        trained = training.dsft(start, rows, held_out, folder, recipe)
        return {"rows_trained": len(rows), **trained.metrics}
    pairs = data_of(pipeline, ablation) if ablation.pairs else None
    rows, held_out, _ = pipeline.split_pairs(pairs)
    rows = take_share(rows, FEW) if ablation.few else rows
    if ablation.trains == "chosen":
        chosen, kept_back = (
            [{"messages": pair["chosen"]} for pair in pairs] for pairs in (rows, held_out)
        )
        trained = training.dsft(start, chosen, kept_back, folder, recipe)
    else:
        trained = training.ddpo(
            start,
            rows,
            folder,
            recipe,
            held_out if ablation.epochs else None,
            keep_epochs=bool(ablation.epochs),
            reference_folder=pipeline.reference_cache,
        )
    return {"rows_trained": len(rows), **trained.metrics}


def take_share(rows: list[dict], share: float) -> list[dict]:
    """A share of the rows, chosen by a hash of the prompt: nearly the same prompts whatever pairs
    they are made into.
    """
    digests = [hashlib.sha256(f"few {row['prompt']}".encode()).digest() for row in rows]
    return [
        row
        for row, digest in zip(rows, digests, strict=True)
        if int.from_bytes(digest[:8], "big") < share * 2**64
    ]


def data_of(pipeline: Pipeline, ablation: Ablation) -> Manifest:
    """The dialogues or pairs that an ablation trains on.

    Raises:
        HandbookError: it makes other pairs from feedback, and in this run the pairs are given.
    """
    if ablation.trains == "dsft":
        return pipeline.truecased()
    if ablation.pairs and pipeline.preferences:
        raise HandbookError(
            f"`{ablation.name}` makes other pairs from the same feedback, and here the pairs are "
            "given",
            where="preferences",
            remedy="give rated answers (feedback) instead of pairs, or leave this row out",
        )
    if not ablation.pairs:
        return pipeline.pairs()
    folder = pipeline.folder / ABLATIONS_FOLDER / f"{ablation.name}_pairs"
    return pipeline.pair_up(folder, **ablation.pairs)


# --- exams ----------------------------------------------------------------------------------------


def evaluate_ablation(pipeline: Pipeline, name: str, epoch: int = 0) -> Manifest:
    """Answers and grades of an ablation's model (as it was after `epoch`, if given)."""
    ablation, directory = get_ablation(name), model_of(pipeline, name)
    exams = pipeline.folder / ABLATIONS_FOLDER / "exams"
    if not epoch:
        return pipeline.evaluate(name, directory, folder=exams / name)
    return pipeline.evaluate(
        name,
        model_of(pipeline, ablation.start),
        folder=exams / f"{name}_epoch_{epoch}",
        adapter=Path(directory).parent / f"epoch_{epoch}",
    )


def measure(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """All that an ablation's tables and figures need, of one seed."""
    ablation = get_ablation(name)
    results: dict[str, Any] = {"exam": _numbers(evaluate_ablation(pipeline, name).results)}
    if ablation.trains:
        results["trained"] = train(pipeline, ablation).results
    if ablation.epochs:
        log = json.loads((train(pipeline, ablation).folder / training.LOG).read_text())
        results["accuracies"] = accuracies_by_epoch(log, ablation.epochs)
        results["epochs"] = [
            _numbers(evaluate_ablation(pipeline, name, epoch).results)
            for epoch in range(1, ablation.epochs + 1)
        ]
    if name == "ddpo":
        results["dsft"], results["trained"] = pipeline.dsft().results, pipeline.ddpo().results
        results["margins"] = pipeline.margins().results
    return results


def _numbers(results: dict[str, Any]) -> dict[str, Any]:
    turns = ("turn_1", "turn_2", "right", "right_turn_1", "right_turn_2")
    return {name: results[name] for name in ("score", *turns, "ended", "tokens")}


def accuracies_by_epoch(log: list[dict], epochs: int) -> dict[str, list[float]]:
    """From a dDPO log: the share of pairs ranked as the teacher did, in training and held out, one
    number per epoch.

    The training share is the mean over the epoch's logged steps, each taken before the step's
    update, as in the paper's figure 3; the held-out share is measured at the epoch's end.
    """
    accuracies: dict[str, list[float]] = {"train": [], "held_out": []}
    for epoch in range(1, epochs + 1):
        rows = [row for row in log if epoch - 1 < row.get("epoch", 0) <= epoch + 1e-6]
        train = [row["rewards/accuracies"] for row in rows if "rewards/accuracies" in row]
        held_out = [
            row["eval_rewards/accuracies"] for row in rows if "eval_rewards/accuracies" in row
        ]
        accuracies["train"].append(sum(train) / len(train))
        accuracies["held_out"].append(held_out[-1])
    return accuracies


# --- one process of several -----------------------------------------------------------------------


def main() -> None:
    """Measure the ablations of one pipeline; a line of JSON each as they are done."""
    task = json.loads(sys.argv[1])
    pipeline = Pipeline(**task["pipeline"])
    for name in task["ablations"]:
        started = time.perf_counter()
        results = measure(pipeline, name)
        seconds = time.perf_counter() - started
        print(json.dumps({"row": name, "results": results, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
