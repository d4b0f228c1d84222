"""The search behind the miniature's recipes: learning rate and epochs of dSFT, then of dDPO.

    python benchmarks/search.py --stage dsft
    python benchmarks/search.py --stage ddpo      # from the dSFT model of the recipe as it now stands

Every setting is trained once (seed 0) and graded at T = 0.7 on *development* questions: held-out combinations like those
of the evaluation, but not the same questions. The results are added to ``benchmarks/results/search.json``.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.workflow import read_json, write_json

RESULTS = Path(__file__).resolve().parent / "results" / "search.json"
GRID = {
    "dsft": {"learning_rate": (1e-3, 2e-3, 4e-3), "num_train_epochs": (1, 2, 3)},
    "ddpo": {"learning_rate": (5e-5, 1e-4, 2e-4, 4e-4), "num_train_epochs": (1, 2)},
}


def development_questions() -> list[dict]:
    """Held-out questions that the evaluation does not ask."""
    from zephyr_utils.miniature.data import questions

    asked = {question["turns"][0] for question in questions(seed=0)}
    return [question for question in questions(seed=1) if question["turns"][0] not in asked]


def try_setting(stage: str, changes: dict) -> dict:
    """Train one setting into a temporary folder and grade it."""
    from zephyr_utils import training
    from zephyr_utils.chat import load_model
    from zephyr_utils.exam import examine
    from zephyr_utils.records import load_records
    from zephyr_utils.road import HELD_OUT_DIALOGUES, Road
    from zephyr_utils.training_rows import hold_out

    road = Road()
    recipe = road.setting.recipe(stage, **changes)
    with TemporaryDirectory() as name:
        folder = Path(name)
        if stage == "dsft":
            rows = load_records(road.truecased().folder / "dialogues.parquet", "dialogue").records
            trained = training.dsft(road.base_model_address, *hold_out(rows, HELD_OUT_DIALOGUES), folder, recipe)
        else:
            train, _, _ = road.split_pairs()
            trained = training.ddpo(road.model_directory("dsft"), train, folder, recipe)
        model, tokenizer = load_model(trained.model, dtype="float32")
        exam = examine(model, tokenizer, stage, development_questions(), folder, temperature=0.7, seed=0, max_new_tokens=96)
    kept = ("score", "turn_1", "turn_2", "right_turn_1", "right_turn_2", "ended")
    return {**changes, **{key: exam[key] for key in kept}, "held_out_loss": trained.metrics.get("held_out_loss")}


def in_a_process(stage: str, changes: dict) -> dict:
    """`try_setting` in a process of its own with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, __file__, "--stage", stage, "--one", json.dumps(changes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{stage} with {changes} failed:\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(result), flush=True)
    return result


def main() -> None:
    """Try the grid, print it as a table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=tuple(GRID), required=True)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(try_setting(options.stage, json.loads(options.one))))
        return
    grid = GRID[options.stage]
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    with ThreadPoolExecutor(options.workers) as pool:
        tried = list(pool.map(lambda changes: in_a_process(options.stage, changes), settings))
    table = Table(*tried[0], title=f"{options.stage}: development questions, T = 0.7, seed 0")
    for row in sorted(tried, key=lambda row: -row["score"]):
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=140).print(table)
    known = read_json(RESULTS)
    write_json(RESULTS, {**known, options.stage: {"tried": tried, "stamp": environment_stamp()}})


if __name__ == "__main__":
    main()
