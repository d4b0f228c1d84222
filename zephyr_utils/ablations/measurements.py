"""The rows of the catalogue trained and examined: artefacts in ``08_ablations/``, made once and
reused.

``python -m zephyr_utils.ablations.measurements`` is one process of `parallel.run_in_parallel`.
"""

import dataclasses
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zephyr_utils import diagnostics, training
from zephyr_utils.ablations.catalogue import ABLATIONS, FEW, Ablation, get_ablation, recipe_of
from zephyr_utils.ablations.outcomes import encode_turns
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.exam import JUDGMENTS
from zephyr_utils.evaluation.recorded import read_judgments
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint
from zephyr_utils.pipeline.pipeline import ABLATIONS_FOLDER, Pipeline
from zephyr_utils.pipeline.steps.ddpo import train_ddpo
from zephyr_utils.pipeline.steps.dsft import train_dsft
from zephyr_utils.pipeline.steps.margins import pair_log_probs
from zephyr_utils.recipes import Recipe

Rows = list[dict[str, Any]]
_SPLITS: dict[str, tuple[Rows, Rows]] = {}


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
        "as_many_as": ablation.as_many_as,
    }
    inputs = {"start": fingerprint(Path(start)), "data": data.key}
    if ablation.as_many_as:
        inputs["as_many_as"] = data_of(pipeline, get_ablation(ablation.as_many_as)).key
    return build_artefact(
        pipeline.folder / ABLATIONS_FOLDER / ablation.name,
        inputs=inputs,
        recipe=settings,
        make=lambda folder: train_into(pipeline, ablation, start, folder, recipe),
        code=[train_dsft.__module__, train_ddpo.__module__],
    )


def train_into(
    pipeline: Pipeline, ablation: Ablation, start: str, folder: Path, recipe: Recipe
) -> dict[str, Any]:
    """Train from the model directory `start` into `folder`; returns counts and metrics."""
    rows, held_out = training_rows(pipeline, ablation)
    if ablation.as_many_as:
        recipe = recipe | {"max_steps": updates_of(pipeline, get_ablation(ablation.as_many_as))}
    if ablation.trains == "ddpo":
        trained = training.ddpo(
            start,
            rows,
            folder,
            recipe,
            held_out if ablation.epochs else None,
            keep_epochs=bool(ablation.epochs),
            reference_folder=pipeline.reference_cache,
        )
    else:
        trained = training.dsft(start, rows, held_out, folder, recipe)
    return {"rows_trained": len(rows), **trained.metrics}


def training_rows(pipeline: Pipeline, ablation: Ablation) -> tuple[Rows, Rows]:
    """What an ablation trains on, dialogues or pairs, and what is held out."""
    if ablation.trains == "dsft":
        rows, held_out, _ = pipeline.split_dialogues()
    else:
        rows, held_out = _split_once(pipeline, data_of(pipeline, ablation))
    if ablation.few and ablation.answers == "feedback":
        rows = take_share(rows, FEW)
    if ablation.trains == "chosen":
        rows, held_out = (
            [{"messages": pair["chosen"]} for pair in pairs] for pairs in (rows, held_out)
        )
    return rows, held_out


def _split_once(pipeline: Pipeline, pairs: Manifest) -> tuple[Rows, Rows]:
    """`Pipeline.split_pairs`, kept: most rows of a replication train on the same pairs, and to
    measure their lengths takes a tenth of a small training.
    """
    key = fingerprint([pairs.key, pipeline.recipe("ddpo")["max_length"], pipeline.chat_template])
    if key not in _SPLITS:
        rows, held_out, _ = pipeline.split_pairs(pairs)
        _SPLITS[key] = rows, held_out
    return _SPLITS[key]


def updates_of(pipeline: Pipeline, ablation: Ablation) -> int:
    """How many updates an ablation's training makes."""
    recipe = recipe_of(pipeline, ablation)
    if (steps := int(recipe.get("max_steps", -1))) > 0:
        return steps
    rows, _ = training_rows(pipeline, ablation)
    at_once = recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
    return math.ceil(len(rows) / at_once) * int(recipe["num_train_epochs"])


def take_share(rows: Sequence[dict], share: float) -> list[dict]:
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
    own = ablation.answers == "own"
    if not (ablation.pairs or own):
        return pipeline.pairs()
    if pipeline.preferences:
        raise HandbookError(
            f"`{ablation.name}` makes other pairs from the same feedback, and here the pairs are "
            "given",
            where="preferences",
            remedy="give rated answers (feedback) instead of pairs, or leave this row out",
        )
    folder = pipeline.folder / ABLATIONS_FOLDER / f"{ablation.name}_pairs"
    rated = dataclasses.replace(pipeline, on_policy=True) if own else pipeline
    return rated.pair_up(folder, **ablation.pairs)


# --- exams ----------------------------------------------------------------------------------------


def evaluate_ablation(pipeline: Pipeline, name: str, epoch: int = 0) -> Manifest:
    """Answers and grades of an ablation's model (as it was after `epoch`, if given)."""
    ablation, directory = get_ablation(name), model_of(pipeline, name)
    exams = pipeline.folder / ABLATIONS_FOLDER / "exams"
    if not epoch:
        return pipeline.evaluate(name, directory, folder=exams / name)
    kept = Path(directory).parent / f"epoch_{epoch}"
    folder = exams / f"{name}_epoch_{epoch}"
    if not recipe_of(pipeline, ablation).get("use_peft"):
        return pipeline.evaluate(name, str(kept), folder=folder)
    start = model_of(pipeline, ablation.start)
    return pipeline.evaluate(name, start, folder=folder, adapter=kept)


def measure(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """All that an ablation's tables and figures need, of one replication."""
    ablation = get_ablation(name)
    exam = exam_results(pipeline, evaluate_ablation(pipeline, name))
    results: dict[str, Any] = {"exam": exam}
    if ablation.trains:
        results["trained"] = train(pipeline, ablation).results
    if ablation.epochs:
        log = json.loads((train(pipeline, ablation).folder / training.LOG).read_text())
        results["accuracies"] = accuracies_by_epoch(log, ablation.epochs)
        results["accuracy_once_trained"] = accuracy_once_trained(pipeline, ablation)
        # the last epoch's adapter, merged, is the row's model, which was examined
        results["epochs"] = [
            exam_results(pipeline, evaluate_ablation(pipeline, name, epoch))
            for epoch in range(1, ablation.epochs)
        ] + [exam]
    if name == "ddpo":
        results["dsft"], results["trained"] = pipeline.dsft().results, pipeline.ddpo().results
        results["margins"] = pipeline.margins().results
    return results


def exam_results(pipeline: Pipeline, exam: Manifest) -> dict[str, Any]:
    """An exam's means, and its two outcomes by question (`outcomes.encode_turns`)."""
    kept = ("score", "turn_1", "turn_2", "right", "right_turn_1", "right_turn_2", "ended", "tokens")
    judgments, _ = read_judgments([exam.folder / JUDGMENTS])
    asked = [question["question_id"] for question in pipeline.questions()]
    right_from = getattr(pipeline.setting.exam.judge(), "right_from", None)
    return {
        **{name: round(exam.results[name], 6) for name in kept if name in exam.results},
        "questions": encode_turns(judgments, asked, right_from),
    }


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


def accuracy_once_trained(pipeline: Pipeline, ablation: Ablation) -> float:
    """Share of its training pairs that an ablation's finished model ranks as the teacher did.

    The log's share of the last epoch is older: each of its steps is taken before the update.
    """
    start, policy = (Path(model_of(pipeline, name)) for name in (ablation.start, ablation.name))
    rows, _ = training_rows(pipeline, ablation)
    sums = pair_log_probs(start, policy, rows)
    beta = float(recipe_of(pipeline, ablation)["beta"])
    return float(diagnostics.reward_margins(**sums, beta=beta).accuracy.estimate)


# --- one process of several -----------------------------------------------------------------------


def print_measurements(
    measure_row: Callable[[Pipeline, str], dict[str, Any]],
    label_of: Callable[[str], str],
    start_of: Callable[[str], str],
) -> None:
    """Measure the rows that the command line names, of one pipeline; a line of JSON each as they
    are done.

    A row that fails says so on its line, and those that do not start from it are measured all the
    same.
    """
    task = json.loads(sys.argv[1])
    pipeline = Pipeline(**task["pipeline"])
    failed: set[str] = set()
    for name in task["rows"]:
        started = time.perf_counter()
        try:
            if (start := start_of(name)) in failed:
                raise HandbookError(f"`{start}`, which it starts from, failed")
            said: dict[str, Any] = {"results": measure_row(pipeline, name)}
        except Exception as error:  # a row's own; an interrupt ends them all
            failed.add(name)
            said = {"failed": f"{type(error).__name__}: {error}"[:500]}
        seconds = time.perf_counter() - started
        print(
            json.dumps({"row": name, "label": label_of(name), **said, "seconds": seconds}),
            flush=True,
        )


def main() -> None:
    """Measure the ablations of one pipeline."""
    print_measurements(
        measure,
        lambda name: ABLATIONS[name].label if name in ABLATIONS else name,
        lambda name: ABLATIONS[name].start if name in ABLATIONS else "",
    )


if __name__ == "__main__":
    main()
