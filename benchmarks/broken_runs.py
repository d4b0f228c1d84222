"""Nine short dDPO runs of the miniature, eight of them broken on purpose: the logs of chapter 13.

    python benchmarks/broken_runs.py            # trains dSFT first where it is missing

Each fault is planted by plain means, as it happens to people: a wrong argument, a column read the
other way round, a template of another model. Everything else is the miniature's own recipe, cut
to `UPDATES` steps. Each run leaves ``zephyr_utils/diagnostics/broken_logs/FAULT.jsonl``, one logged
row per line, and ``stamp.json`` says what made them.
"""

import argparse
import hashlib
import json
import math
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from rich.console import Console

from zephyr_utils import training
from zephyr_utils.chat import load_model
from zephyr_utils.data.records import load_records
from zephyr_utils.diagnostics.broken_runs import FAULTS, FOLDER, log_path
from zephyr_utils.files import write_json, write_text
from zephyr_utils.machine import environment_stamp
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.recipes import load_recipe, recipe_path

UPDATES, BATCH, HELD_OUT = 40, 8, 64
SEED = 0
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
KEPT = re.compile(r"(eval_)?(loss|rewards/\w+|logps/\w+)|grad_norm|learning_rate|epoch|step")
Rows = Sequence[Mapping[str, Any]]

# What is changed in the recipe; the healthy run has none of it.
SETTINGS: dict[str, dict[str, Any]] = {
    "beta": {"beta": 0.001},  # 1e-3 typed for 1e-1
    "half precision": {"dtype": "float16"},
    "learning rate": {"learning_rate": 0.04},  # a hundred times the recipe's
    "bos": {"precompute_ref_log_probs": True},  # before the rows are changed
}


def trainer_of(
    fault: str, start: Path, base: str, pairs: Rows, held_out: Rows, folder: Path
) -> "training.PairTrainer":
    """The trainer of one run, with its fault in it.

    Args:
        fault: one of `FAULTS`.
        start: directory of the dSFT model.
        base: directory of the base model, the wrong reference.
        pairs, held_out: preference records.
        folder: for what the trainer writes.
    """
    recipe = load_recipe(recipe_path("miniature", "ddpo"), "ddpo") | {
        "seed": SEED,
        "max_steps": UPDATES,
        "logging_steps": 5,
        "logging_first_step": True,
        "per_device_train_batch_size": BATCH,
        "eval_strategy": "steps",
        "eval_steps": 10,
        "eval_on_start": True,
        "per_device_eval_batch_size": 32,
        "save_strategy": "no",
        "precompute_ref_log_probs": False,
        **SETTINGS.get(fault, {}),
    }
    model, tokenizer = training.load_for_training(start, "ddpo", recipe)
    if fault == "template":
        tokenizer.chat_template = CHATML
    if fault == "swapped":  # the training file alone; the held-out pairs are as they should be
        pairs = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in pairs]
    trainer = training.PairTrainer(
        reference_folder=folder / "reference",
        model=model,
        ref_model=load_model(base, dtype="float32")[0] if fault == "reference" else None,
        args=training.trl_arguments("ddpo", folder, recipe),
        train_dataset=Dataset.from_list([training.split_prompt(row) for row in pairs]),
        eval_dataset=Dataset.from_list([training.split_prompt(row) for row in held_out]),
        processing_class=tokenizer,
        peft_config=training.lora_config(recipe),
    )
    if fault == "half precision":
        trainer.model.half()  # the adapter too, which PEFT keeps in float32
    if fault in CHANGED_ROWS:
        change = CHANGED_ROWS[fault](tokenizer)
        train: Any = trainer.train_dataset
        evaluated: Any = trainer.eval_dataset
        trainer.train_dataset, trainer.eval_dataset = train.map(change), evaluated.map(change)
    return trainer


def _prompt_counted(tokenizer: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The mask off: all but the first token of the prompt counts as part of both answers."""

    def change(row: dict[str, Any]) -> dict[str, Any]:
        prompt = row["prompt_ids"]
        return {"prompt_ids": prompt[:1]} | {
            f"{side}_ids": prompt[1:] + row[f"{side}_ids"] for side in ("chosen", "rejected")
        }

    return change


def _bos_twice(tokenizer: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The policy reads two more tokens than the reference has read: template and tokenizer have
    each put the beginning of a sequence there.
    """
    return lambda row: {"prompt_ids": [tokenizer.bos_token_id] * 2 + row["prompt_ids"]}


CHANGED_ROWS = {"mask": _prompt_counted, "bos": _bos_twice}


def kept_rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float | None]]:
    """The logged rows with the columns that a diagnosis needs, to six digits; NaN becomes null, as
    ``trainer_state.json`` of several writers has it.
    """
    rows = []
    for row in history:
        kept = {
            name: float(f"{value:.6g}") if math.isfinite(value) else None
            for name, value in row.items()
            if KEPT.fullmatch(name)
        }
        if "loss" in kept or "eval_loss" in kept:  # not the summary of the run
            rows.append(kept)
    return rows


def make(start: Path, base: str, pairs: Path, faults: Sequence[str]) -> None:
    """Train the runs and write their logs and the stamp.

    Args:
        start, base: directories of the dSFT model and of the base model.
        pairs: the file of preference pairs.
        faults: which runs.
    """
    console = Console()
    records = load_records(pairs, "preference").records
    # a pair of equal scores has no chosen answer
    records = [row for row in records if row["score_chosen"] != row["score_rejected"]]
    held_out, train = records[:HELD_OUT], records[HELD_OUT : HELD_OUT + UPDATES * BATCH]
    for fault in faults:
        with tempfile.TemporaryDirectory() as folder:
            trainer = trainer_of(fault, start, base, train, held_out, Path(folder))
            rows = kept_rows(training.train_and_log(trainer, Path(folder)))
        write_text(log_path(fault), "".join(json.dumps(row) + "\n" for row in rows))
        console.print(f"{fault}: {len(rows)} rows", highlight=False)
    recipe = load_recipe(recipe_path("miniature", "ddpo"), "ddpo")
    stamp = {
        "made_by": "benchmarks/broken_runs.py",
        "updates": UPDATES,
        "pairs_per_update": BATCH,
        "held_out_pairs": HELD_OUT,
        "beta": recipe["beta"],
        "learning_rate": recipe["learning_rate"],
        "settings": SETTINGS,
        "dsft_model_sha256": _sha256(start / "model.safetensors"),
        "environment": environment_stamp(),
    }
    write_json(FOLDER / "stamp.json", stamp)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    arguments = parser.parse_args()
    pipeline = Pipeline()
    start, _ = pipeline.start()
    pairs = pipeline.pairs().folder / "pairs.parquet"
    make(start, pipeline.base_model_address, pairs, arguments.faults)


if __name__ == "__main__":
    main()
