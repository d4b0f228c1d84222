"""Learning rates for dDPO of a real model on two CPU cores, compared on pairs held out of training.

    python benchmarks/smol_rates.py --base-model DIR --rates 5e-4

The pairs that the pipeline trains on are split again: one third is for development, the rest is
trained on. The pairs that the pipeline holds out are not looked at, so that what
``benchmarks/smol.py`` measures on them is not chosen by them. It needs the dSFT model of
``benchmarks/smol.py``, and makes it where it is not there yet. Results, a row after each epoch:
``benchmarks/results/smol_rates.json``.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
from rich.console import Console
from smol import pipeline_of
from transformers import TrainerCallback

from zephyr_utils import diagnostics, training
from zephyr_utils.chat import load_model, load_tokenizer
from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp
from zephyr_utils.pipeline.artefacts import runs_folder
from zephyr_utils.pipeline.pipeline import Pipeline

RESULTS = Path(__file__).resolve().parent / "results" / "smol_rates.json"
DEVELOPMENT = 1 / 3  # of the pairs to train on
SPLIT_SEED = 7
LAST_STEPS = 8  # of the training's log, averaged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-model", required=True, help="SmolLM2-135M-Instruct: a directory")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=runs_folder() / "benchmarks")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    pipeline = pipeline_of(arguments.base_model, arguments.runs, seed=0)
    known = read_json(arguments.output) if arguments.output.exists() else {"rows": []}
    for rate in arguments.rates:
        settings = {"learning_rate": rate, "epochs": arguments.epochs}
        kept = [row for row in known["rows"] if not settings.items() <= row.items()]
        known["rows"] = kept + rows_of(pipeline, settings)
        write_json(arguments.output, known)
        Console(stderr=True).print(f"wrote {arguments.output}", highlight=False)


class Measure(TrainerCallback):
    """At the end of each epoch: margins of the development pairs under the model as it is."""

    def __init__(self, start: str, pairs: list[dict], beta: float, settings: dict[str, Any]):
        self.pairs, self.beta, self.settings = pairs, beta, settings
        self.tokenizer = load_tokenizer(start)
        reference, _ = load_model(start, dtype="float32")
        self.reference = self.log_probs(reference)
        self.rows: list[dict[str, Any]] = []

    def log_probs(self, model: Any) -> list[np.ndarray]:
        """Sums of the chosen and of the rejected answers, each (pairs,), in nats."""
        sides = ([pair[side] for pair in self.pairs] for side in ("chosen", "rejected"))
        return [training.answer_log_probs(model, self.tokenizer, side).numpy() for side in sides]

    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        model = others["model"]
        policy_chosen, policy_rejected = self.log_probs(model.eval())
        model.train()
        margins = diagnostics.reward_margins(
            policy_chosen=policy_chosen,
            policy_rejected=policy_rejected,
            reference_chosen=self.reference[0],
            reference_rejected=self.reference[1],
            beta=self.beta,
        )
        differences = margins.chosen - margins.rejected
        trained = [row for row in state.log_history if "rewards/accuracies" in row]
        trained = trained[-LAST_STEPS:]
        self.rows.append(
            {
                **self.settings,
                "after_epoch": round(state.epoch),
                "pairs": len(self.pairs),
                "accuracy": margins.accuracy.estimate,
                "loss": float(np.logaddexp(0, -differences).mean()),
                "margin": float(differences.mean()),
                "last_steps": {
                    name: float(np.mean([row[name] for row in trained]))
                    for name in ("loss", "rewards/accuracies", "rewards/margins")
                },
            }
        )


def rows_of(pipeline: Pipeline, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """One training; a row after each epoch."""
    pairs, _, _ = pipeline.split_pairs()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(pairs))
    cut = round(DEVELOPMENT * len(pairs))
    development, trained_on = ([pairs[i] for i in part] for part in (order[:cut], order[cut:]))
    start = pipeline.model_directory("dsft")
    recipe = pipeline.recipe("ddpo") | {
        "learning_rate": settings["learning_rate"],
        "num_train_epochs": settings["epochs"],
        "save_strategy": "no",
    }
    made_of = {
        "trained_on": len(trained_on),
        "bf16": recipe["bf16"],
        "environment": environment_stamp(),
    }
    measure = Measure(start, development, recipe["beta"], settings | made_of)
    with tempfile.TemporaryDirectory() as folder:
        trainer = training.ddpo_trainer(
            start, trained_on, Path(folder), recipe, chat_template=pipeline.chat_template
        )
        trainer.add_callback(measure)
        trainer.train()
    return measure.rows


if __name__ == "__main__":
    main()
