"""How much memory dDPO of a real model takes with one pair at once, and with two.

    python benchmarks/smol_memory.py --base-model DIR   # `zephyr fetch smollm2-instruct` prints DIR

The two longest training pairs go through one step of the recipe of ``smol/cpu``, from the model
itself, in a process of its own for each arm: in a whole run the peak also holds what the allocator
kept of the stages before. Results: ``benchmarks/results/smol_memory.json``.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TQDM_DISABLE"] = "1"

from smol import pipeline_of

from zephyr_utils import training
from zephyr_utils.chat import load_tokenizer
from zephyr_utils.files import write_json
from zephyr_utils.machine import environment_stamp, peak_memory_mb
from zephyr_utils.pipeline.artefacts import runs_folder
from zephyr_utils.training.encoding import encode_pair
from zephyr_utils.training.rows import split_prompt

RESULTS = Path(__file__).resolve().parent / "results" / "smol_memory.json"
PAIRS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-model", required=True, help="SmolLM2-135M-Instruct: a directory")
    parser.add_argument("--runs", type=Path, default=runs_folder() / "benchmarks")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arms = []
    for at_once in (1, PAIRS):
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            arms.append(fresh.apply(measured, (arguments.base_model, arguments.runs, at_once)))
        print(arms[-1], flush=True)
    write_json(arguments.output, {"environment": environment_stamp(), "arms": arms})


def measured(base_model: str, runs: Path, at_once: int) -> dict[str, Any]:
    """One optimiser step on the longest pairs, `at_once` of them in a micro-batch: the process's
    peak in MB, and the step's processor seconds.
    """
    pipeline = pipeline_of(base_model, runs, 0)
    recipe, tokenizer = pipeline.recipe("ddpo"), load_tokenizer(base_model)
    pairs, _, _ = pipeline.split_pairs()
    longest = sorted(pairs, key=lambda pair: -tokens_of(pair, tokenizer))[:PAIRS]
    levers = {
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": PAIRS // at_once,
        "max_steps": 1,
        "save_strategy": "no",
    }
    with tempfile.TemporaryDirectory() as folder:
        trainer = training.ddpo_trainer(
            base_model, longest, Path(folder), recipe | levers, chat_template=pipeline.chat_template
        )
        began = time.process_time()
        training.train_and_log(trainer, Path(folder))
    return {
        "pairs_at_once": at_once,
        "tokens": [tokens_of(pair, tokenizer) for pair in longest],
        "bf16": recipe["bf16"],
        "peak_mb": peak_memory_mb(),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def tokens_of(pair: dict[str, Any], tokenizer: Any) -> int:
    """Positions of a pair whose prompt is computed once."""
    return sum(map(len, encode_pair(split_prompt(pair), tokenizer).values()))


if __name__ == "__main__":
    main()
