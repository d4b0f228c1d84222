"""The paper's ablations, a row a training: what it starts from, on which pairs, with which recipe;
and its exam.

A row of the tables is a `Ablation`; the functions take a `Pipeline` and leave their artefacts in
``08_ablations/`` beside the road's own, made once and reused like them. ``python -m
zephyr_utils.ablations.catalogue`` is one process of `parallel.run_in_parallel`.

Rows marked `few` train on a quarter of the pairs, for one epoch, in batches of sixteen: minutes for
five seeds. Each had a search of its own on `development_questions`, by ``benchmarks/search.py``;
what was found lies in ``recipes/<scale>/ablations.yaml``.
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
from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.exam import run_exam
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint
from zephyr_utils.pipeline.pipeline import ABLATIONS_FOLDER, TEMPERATURE, Pipeline
from zephyr_utils.recipes import RECIPES_FOLDER

FEW = 0.25  # share of the training pairs in rows marked `few`


@dataclass(frozen=True)
class Ablation:
    """One row of a table.

    Attributes:
        name: its key, and its folder's name.
        label: what tables call it.
        trains: ``ddpo`` on pairs, ``chosen`` (dSFT on the pairs' chosen answers), ``dsft`` on the
            dialogues, or "" for one of the road's own models (`Pipeline.model_directory`).
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
    def stage(self) -> str:
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


def recipe_of(pipeline: Pipeline, row: Ablation, **changes: Any) -> dict[str, Any]:
    """The row's recipe: the scale's, what all small rows share, what was found for the row, what
    makes it the row.
    """
    found = _found(pipeline.scale)
    common = found.get("few", {}) if row.few else {}
    # No measurements on the way: each costs more than it tells here. Rows with epochs are measured
    # after each.
    eval_schedule = (
        {"eval_strategy": "epoch" if row.epochs else "no", "eval_on_start": False}
        if row.trains == "ddpo"
        else {}
    )
    return (
        pipeline.recipe(row.stage)
        | eval_schedule
        | common
        | found.get("rows", {}).get(row.name, {})
        | row.recipe
        | changes
    )


def searched_rows(scale: str) -> set[str]:
    """The rows whose learning rate was searched at this scale; the others take what the small rows
    share.
    """
    return set(_found(scale).get("rows", {}))


def _found(scale: str) -> dict[str, Any]:
    path = RECIPES_FOLDER / scale / "ablations.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def model_of(pipeline: Pipeline, name: str) -> str:
    """The model directory of a row or of the base; makes it if it must."""
    row = get_ablation(name)
    return (
        str(train(pipeline, row).folder / training.MODEL)
        if row.trains
        else pipeline.model_directory(name)
    )


def train(pipeline: Pipeline, row: Ablation) -> Manifest:
    """The row's model, in ``08_ablations/<name>/model/``."""
    folder, start, recipe = (
        pipeline.folder / ABLATIONS_FOLDER / row.name,
        model_of(pipeline, row.start),
        recipe_of(pipeline, row),
    )
    settings = {
        **recipe,
        "trains": row.trains,
        "few": FEW if row.few else 1.0,
        "keep_epochs": row.epochs,
    }
    inputs = {"start": fingerprint(Path(start)), "data": _data(pipeline, row).key}
    return build_artefact(
        folder,
        inputs=inputs,
        recipe=settings,
        make=lambda f: train_into(pipeline, row, start, f, recipe),
    )


def train_into(
    pipeline: Pipeline, row: Ablation, start: str, folder: Path, recipe: dict[str, Any]
) -> dict[str, Any]:
    """Train the row from the model directory `start` into `folder`; returns counts and the stage's
    numbers.
    """
    if row.trains == "dsft":
        rows, held_out, _ = pipeline.split_dialogues()
        return {
            "rows_trained": len(rows),
            **training.dsft(start, rows, held_out, folder, recipe).metrics,
        }
    rows, held_out, _ = pipeline.split_pairs(_data(pipeline, row) if row.pairs else None)
    rows = fewer(rows, FEW) if row.few else rows
    if row.trains == "chosen":
        chosen, kept_back = (
            [{"messages": pair["chosen"]} for pair in pairs] for pairs in (rows, held_out)
        )
        return {
            "rows_trained": len(rows),
            **training.dsft(start, chosen, kept_back, folder, recipe).metrics,
        }
    eval_pairs = held_out if row.epochs else None
    trained = training.ddpo(
        start,
        rows,
        folder,
        recipe,
        eval_pairs,
        keep_epochs=bool(row.epochs),
        reference_folder=pipeline.reference_cache,
    )
    return {"rows_trained": len(rows), **trained.metrics}


def fewer(rows: list[dict], share: float) -> list[dict]:
    """A share of the rows, chosen by a hash of the prompt: nearly the same prompts whatever pairs
    they are made into.
    """
    chance = [hashlib.sha256(f"few {row['prompt']}".encode()).digest() for row in rows]
    return [
        row
        for row, number in zip(rows, chance, strict=True)
        if int.from_bytes(number[:8], "big") < share * 2**64
    ]


def _data(pipeline: Pipeline, row: Ablation) -> Manifest:
    if row.trains == "dsft":
        return pipeline.truecased()
    if row.pairs and pipeline.preferences:
        raise HandbookError(
            f"`{row.name}` makes other pairs from the same feedback, and here the pairs are given",
            where="preferences",
            remedy="give rated answers (feedback) instead of pairs, or leave this row out",
        )
    return (
        pipeline.pair_up(pipeline.folder / ABLATIONS_FOLDER / f"{row.name}_pairs", **row.pairs)
        if row.pairs
        else pipeline.pairs()
    )


# --- exams -------------------------------------------------------------------------------------------------------


def exam(pipeline: Pipeline, name: str, epoch: int = 0) -> Manifest:
    """Answers and grades of a row's model (as it was after `epoch`, if given) to the held-out
    questions.
    """
    recipe = {
        "temperature": TEMPERATURE,
        "seed": pipeline.seed,
        "max_new_tokens": 96,
        "epoch": epoch,
    }
    row, directory = get_ablation(name), model_of(pipeline, name)
    adapter = Path(directory).parent / f"epoch_{epoch}" if epoch else None
    start = model_of(pipeline, row.start) if adapter else directory

    def make(folder: Path) -> dict[str, Any]:
        model, tokenizer = load_model(start, dtype="float32")
        if adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        prepare_tokenizer(tokenizer)
        sampling = {key: recipe[key] for key in ("temperature", "seed", "max_new_tokens")}
        return run_exam(model, tokenizer, name, pipeline.questions(), folder, **sampling)

    inputs = {
        "model": fingerprint(Path(adapter or directory)),
        "questions": fingerprint(pipeline.questions()),
    }
    folder = (
        pipeline.folder / ABLATIONS_FOLDER / "exams" / (f"{name}_epoch_{epoch}" if epoch else name)
    )
    return build_artefact(folder, inputs=inputs, recipe=recipe, make=make)


def measure(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """All that a row's tables and figures need, of one seed."""
    row = get_ablation(name)
    results = {"exam": _kept(exam(pipeline, name).results)}
    if row.trains:
        results["trained"] = train(pipeline, row).results
    if row.epochs:
        log = json.loads((train(pipeline, row).folder / training.LOG).read_text())
        results["accuracies"] = accuracies_by_epoch(log, row.epochs)
        results["epochs"] = [
            _kept(exam(pipeline, name, epoch).results) for epoch in range(1, row.epochs + 1)
        ]
    if name == "ddpo":
        results["dsft"], results["trained"] = pipeline.dsft().results, pipeline.ddpo().results
        results["margins"] = pipeline.margins().results
    return results


def _kept(results: dict[str, Any]) -> dict[str, Any]:
    names = (
        "score",
        "turn_1",
        "turn_2",
        "right",
        "right_turn_1",
        "right_turn_2",
        "ended",
        "tokens",
    )
    return {name: results[name] for name in names}


def accuracies_by_epoch(log: list[dict], epochs: int) -> dict[str, list[float]]:
    """From a dDPO log: the share of pairs ranked as the teacher did, in training and held out, a
    number an epoch.

    The training share is the mean over the epoch's logged steps, each taken before the step's
    update, as in the paper's figure 3; the held-out share is measured at the epoch's end.
    """
    found: dict[str, list[float]] = {"train": [], "held_out": []}
    for epoch in range(1, epochs + 1):
        rows = [row for row in log if epoch - 1 < row.get("epoch", 0) <= epoch + 1e-6]
        train = [row["rewards/accuracies"] for row in rows if "rewards/accuracies" in row]
        held_out = [
            row["eval_rewards/accuracies"] for row in rows if "eval_rewards/accuracies" in row
        ]
        found["train"].append(sum(train) / len(train))
        found["held_out"].append(held_out[-1])
    return found


# --- one process of several --------------------------------------------------------------------------------------


def main() -> None:
    """One road's rows, a line of JSON each as they are done."""
    task = json.loads(sys.argv[1])
    pipeline = Pipeline(**task["road"])
    for name in task["rows"]:
        started = time.perf_counter()
        results = measure(pipeline, name)
        print(
            json.dumps({"row": name, "results": results, "seconds": time.perf_counter() - started}),
            flush=True,
        )


if __name__ == "__main__":
    main()
