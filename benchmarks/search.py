"""The search behind the miniature's recipes: learning rate and epochs of dSFT, of dDPO, and of
every row of chapter 08.

    python benchmarks/search.py --stages dsft python benchmarks/search.py --stages ddpo     # from
    the dSFT model of the recipe as it now stands python benchmarks/search.py --stages rows     #
    every ablation, each on its own

Every setting is trained once (seed 0) and graded at T = 0.7 on *development* questions: held-out
combinations that the evaluation does not ask about. Each result is added to
``benchmarks/results/search.json`` as it comes, so a search that was killed goes on where it
stopped; ``--afresh`` forgets the stages' earlier results.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from zephyr_utils.ablations.catalogue import ABLATIONS, BETAS, LOSSES, PAIRINGS
from zephyr_utils.ablations.parallel import QUIET
from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp, usable_cores

RESULTS = Path(__file__).resolve().parent / "results" / "search.json"
KEPT = ("score", "turn_1", "turn_2", "right_turn_1", "right_turn_2", "ended", "tokens")
FEW: tuple[dict, ...] = tuple({"learning_rate": rate} for rate in (4e-4, 8e-4, 1.6e-3, 3.2e-3))
# stage or row -> the settings tried; the recipe's other values stay
SETTINGS: dict[str, tuple[dict, ...]] = {
    "dsft": tuple(
        {"learning_rate": rate, "num_train_epochs": epochs, "per_device_train_batch_size": batch}
        for rate, epochs, batch in ((4e-3, 1, 16), (8e-3, 1, 16), (2e-3, 1, 8), (4e-3, 2, 16))
    ),
    "ddpo": tuple(
        {"learning_rate": rate, "num_train_epochs": 1, "per_device_train_batch_size": 16}
        for rate in (2e-4, 4e-4, 1e-3)
    ),
    "ddpo_without_dsft": FEW,
    "dsft_2": tuple(
        {"learning_rate": rate, "num_train_epochs": 1} for rate in (5e-4, 1e-3, 2e-3, 4e-3)
    ),
    **{row: FEW for row in dict.fromkeys((*PAIRINGS, *BETAS, *LOSSES))},
    "few": (*FEW, {"learning_rate": 6.4e-3}),  # the best of the four lay at their end
    # IPO's beta is a distance per token, not DPO's: its own scale has to be searched too.
    "ipo": tuple(
        {"learning_rate": rate, "beta": beta}
        for beta, rates in ((0.1, (4e-4, 1.6e-3)), (1.0, (4e-4, 1.6e-3, 3.2e-3)))
        for rate in rates
    ),
    # Three epochs; the one that counts here is the last.
    **{
        row: tuple({"learning_rate": rate} for rate in (4e-4, 8e-4, 1.6e-3))
        for row in ("epochs_after_one", "epochs")
    },
}


def try_setting(stage: str, changes: dict) -> dict:
    """Train one setting into a temporary folder and grade it on the development questions.

    The setting that is the road's own recipe is not trained again: its artefact is graded.
    """
    from zephyr_utils import training
    from zephyr_utils.ablations.catalogue import model_of, recipe_of, train_into
    from zephyr_utils.chat import load_model
    from zephyr_utils.evaluation.exam import run_exam
    from zephyr_utils.miniature.data import development_questions
    from zephyr_utils.pipeline.pipeline import Pipeline

    pipeline, started = Pipeline(), time.perf_counter()
    with TemporaryDirectory() as name:
        folder, model_folder = Path(name), Path(name) / training.MODEL
        if stage in ("dsft", "ddpo") and changes.items() <= pipeline.recipe(stage).items():
            made = getattr(pipeline, stage)()
            metrics, model_folder = made.results, made.folder / training.MODEL
        elif stage == "dsft":
            train, held_out, _ = pipeline.split_dialogues()
            metrics = training.dsft(
                pipeline.base_model_address,
                train,
                held_out,
                folder,
                pipeline.recipe("dsft") | changes,
            ).metrics
        elif stage == "ddpo":
            train, _, _ = pipeline.split_pairs()
            metrics = training.ddpo(
                pipeline.model_directory("dsft"), train, folder, pipeline.recipe("ddpo") | changes
            ).metrics
        else:
            row = ABLATIONS[stage]
            metrics = train_into(
                pipeline,
                row,
                model_of(pipeline, row.start),
                folder,
                recipe_of(pipeline, row, **changes),
            )
        seconds = round(time.perf_counter() - started)
        model, tokenizer = load_model(model_folder, dtype="float32")
        exam = pipeline.setting.exam
        sampling = {"temperature": exam.temperature, "seed": 0}
        results = run_exam(
            model,
            tokenizer,
            stage,
            development_questions(),
            folder,
            exam.judge(),
            max_new_tokens=exam.max_new_tokens,
            **sampling,
        )
    loss = (
        {"held_out_loss": round(metrics["held_out_loss"], 4)} if "held_out_loss" in metrics else {}
    )
    return {**changes, **{key: round(results[key], 4) for key in KEPT}, "seconds": seconds, **loss}


def in_a_process(stage: str, settings: list[dict], keep: Callable[[dict], None]) -> None:
    """`try_setting` for one setting after the other, in a process of its own with one thread."""
    command = [sys.executable, __file__, "--stages", stage, "--settings", json.dumps(settings)]
    process = subprocess.Popen(
        command, env={**os.environ, **QUIET}, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith('{"'):
            keep(json.loads(line))
    if process.wait():
        raise RuntimeError(f"{stage}: a setting failed, see above")


def search(stages: list[str], workers: int, afresh: bool, console: Console) -> None:
    """Try what is missing, and keep each result as it comes."""
    earlier, lock = read_json(RESULTS), threading.Lock()
    tried = {stage: [] if afresh else earlier.get(stage, {}).get("tried", []) for stage in stages}

    def keep(stage: str, result: dict) -> None:
        with lock:
            tried[stage].append(result)
            console.print(stage, json.dumps(result), highlight=False)
            write_json(
                RESULTS,
                {
                    **read_json(RESULTS),
                    stage: {"tried": tried[stage], "stamp": environment_stamp()},
                },
            )

    def one(stage: str) -> None:
        missing = [
            changes
            for changes in SETTINGS[stage]
            if not any(changes.items() <= row.items() for row in tried[stage])
        ]
        if missing:
            in_a_process(stage, missing, lambda result: keep(stage, result))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, stages))
    for stage in stages:
        table = Table(*tried[stage][0], title=f"{stage}: development questions, T = 0.7, seed 0")
        for row in sorted(tried[stage], key=lambda row: -row["score"]):
            table.add_row(
                *(
                    f"{value:.4g}" if isinstance(value, float) else str(value)
                    for value in row.values()
                )
            )
        console.print(table)


def main() -> None:
    """Search, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", nargs="+", choices=(*SETTINGS, "rows"), required=True)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--afresh", action="store_true", help="forget the stages' earlier results")
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.settings:
        for changes in json.loads(options.settings):
            print(json.dumps(try_setting(options.stages[0], changes)), flush=True)
        return
    rows = [name for name in SETTINGS if name in ABLATIONS and name not in ("dsft", "ddpo")]
    stages = [name for stage in options.stages for name in (rows if stage == "rows" else [stage])]
    search(stages, options.workers, options.afresh, Console(width=150))


if __name__ == "__main__":
    main()
