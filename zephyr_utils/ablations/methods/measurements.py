"""The rows of part two trained and examined: artefacts in ``14_methods/``, made once and reused.

``python -m zephyr_utils.ablations.methods.measurements`` is one process of
`parallel.run_in_parallel`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from zephyr_utils import training
from zephyr_utils.ablations.measurements import evaluate_ablation, exam_results, print_measurements
from zephyr_utils.ablations.methods import comparisons, rewards, sampling_again
from zephyr_utils.ablations.methods.catalogue import get_method, settings_of
from zephyr_utils.ablations.methods.replication import Replication
from zephyr_utils.chat import load_model
from zephyr_utils.evaluation.exam import grade_exam
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.rewards import load_reward_model, score_pairs

METHODS_FOLDER = "14_methods"
CODE = [one.__name__ for one in (comparisons, rewards, sampling_again)]


def method_directory(replication: Replication, name: str) -> Path:
    """The model directory of a row; makes it if it must."""
    method = get_method(name)
    if method.kind == "pipeline":
        return Path(replication.pipeline.model_directory(name))
    return train_method(replication, name).folder / training.MODEL


def train_method(replication: Replication, name: str) -> Manifest:
    """The row's model, in ``14_methods/<name>/model/``."""
    pipeline, method = replication.pipeline, get_method(name)
    settings = settings_of(pipeline.scale, name)
    inputs = {"start": replication.start[1], "pairs": pipeline.pairs().key}
    if method.needs:
        inputs["needs"] = fingerprint(method_directory(replication, method.needs))
    if method.trains in ("train_on_texts", "train_on_logits"):
        inputs["teacher"] = pipeline.ddpo().key
    return build_artefact(
        pipeline.folder / METHODS_FOLDER / name,
        inputs=inputs,
        recipe={**settings, "kind": method.kind, "seed": pipeline.seed},
        make=lambda folder: make_method(replication, name, folder, settings),
        code=CODE,
    )


def make_method(
    replication: Replication, name: str, folder: Path, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a row's model in ``model/`` of a folder; returns what is worth keeping."""
    method = get_method(name)
    results: dict[str, Any] = {}
    model: PreTrainedModel
    if method.kind == "reward":
        return rewards.train_rewards(replication, folder, settings)
    if method.kind == "offline":
        return sampling_again.train_offline(replication, folder, settings)
    if method.kind == "rounds":
        model, _ = load_model(sampling_again.run_method(replication, settings), "float32")
    elif method.kind == "rloo":
        model = rewards.train_rloo(
            replication, method_directory(replication, method.needs), settings
        )
    elif method.kind == "stopped":
        distance = replication.kl(
            load_model(method_directory(replication, method.needs), "float32")[0]
        )
        model, steps = rewards.train_to_distance(replication, distance, settings)
        results = {"distance": distance, "steps": steps}
    elif method.kind == "expo":
        end, _ = load_model(method_directory(replication, method.needs), "float32")
        model = comparisons.extrapolate(replication, end, settings)
    else:
        model = getattr(comparisons, method.trains)(replication, settings)
    model.save_pretrained(folder / training.MODEL)
    replication.tokenizer.save_pretrained(folder / training.MODEL)
    return results


def measure_method(replication: Replication, name: str) -> dict[str, Any]:
    """All that the tables need of a row: two outcomes by question and the KL divergence from dSFT;
    of a reward model its accuracy on held-out pairs.
    """
    method, pipeline = get_method(name), replication.pipeline
    if method.kind == "reward":
        return {"accuracy": reward_accuracy(replication, method_directory(replication, name))}
    if method.kind == "best":
        return {"exam": exam_results(pipeline, best_of(replication, name))}
    directory = method_directory(replication, name)
    if method.kind == "pipeline":
        exam = evaluate_ablation(pipeline, name)
    else:
        folder = pipeline.folder / METHODS_FOLDER / "exams" / name
        exam = pipeline.evaluate(name, str(directory), folder=folder)
    return {
        "exam": exam_results(pipeline, exam),
        "kl": replication.kl(load_model(directory, "float32")[0]),
        **(
            {}
            if method.kind == "pipeline"
            else {"trained": train_method(replication, name).results}
        ),
    }


def reward_accuracy(replication: Replication, directory: Path) -> float:
    """The share of held-out pairs that a reward model ranks as the label does."""
    model, tokenizer = load_reward_model(directory)
    return score_pairs(model, tokenizer, replication.pairs[1]).accuracy.estimate


def best_of(replication: Replication, name: str) -> Manifest:
    """The exam of best-of-n, for which nothing is trained but the reward model."""
    pipeline, method = replication.pipeline, get_method(name)
    reward_model = method_directory(replication, method.needs)

    def make(folder: Path) -> dict[str, Any]:
        questions, judge = pipeline.questions(), pipeline.setting.exam.judge()
        answers = rewards.best_of_n_answers(replication, reward_model, name, method.settings["n"])
        return grade_exam(name, questions, answers, folder, judge)

    return build_artefact(
        pipeline.folder / METHODS_FOLDER / "exams" / name,
        inputs={
            "start": replication.start[1],
            "reward_model": fingerprint(reward_model),
            "questions": fingerprint(pipeline.questions()),
        },
        recipe={**method.settings, "seed": pipeline.seed},
        make=make,
        code=[rewards.__name__],
    )


def main() -> None:
    """Measure the rows of one pipeline; a line of JSON each as they are done."""
    replications: dict[int, Replication] = {}

    def one(pipeline: Pipeline, name: str) -> dict[str, Any]:
        shared = replications.setdefault(pipeline.seed, Replication(pipeline))
        return measure_method(shared, name)

    print_measurements(
        one, lambda name: get_method(name).label, lambda name: get_method(name).needs
    )


if __name__ == "__main__":
    main()
