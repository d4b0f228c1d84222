"""The search behind the miniature's recipes: learning rate and epochs of dSFT, then of dDPO.

    python benchmarks/search.py --stage dsft
    python benchmarks/search.py --stage ddpo      # from the dSFT model of the recipe as it now stands

Every setting is trained once (seed 0) and graded at T = 0.7 on *development* questions: held-out combinations that the
evaluation does not ask about. Each result is added to ``benchmarks/results/search.json`` as it comes, so a search that was
killed goes on where it stopped; ``--afresh`` forgets the stage's earlier results.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.workflow import read_json, write_json

RESULTS = Path(__file__).resolve().parent / "results" / "search.json"
# stage -> (learning rate, epochs) of each setting: a line first, then the neighbours of its best
SETTINGS = {
    "dsft": ((4e-3, 2), (4e-3, 1), (8e-3, 1), (8e-3, 2), (2e-3, 2)),
    "ddpo": ((2e-4, 1), (4e-4, 1), (8e-4, 1), (1e-4, 1), (4e-4, 2), (2e-4, 2)),
}
KEPT = ("score", "turn_1", "turn_2", "right_turn_1", "right_turn_2", "ended", "tokens")


def try_setting(stage: str, changes: dict) -> dict:
    """Train one setting into a temporary folder and grade it on the development questions."""
    from zephyr_utils import training
    from zephyr_utils.chat import load_model
    from zephyr_utils.exam import examine
    from zephyr_utils.records import load_records
    from zephyr_utils.road import HELD_OUT_DIALOGUES, TEMPERATURE, Road
    from zephyr_utils.road_ablations import development_questions
    from zephyr_utils.training_rows import hold_out

    road = Road()
    recipe = road.setting.recipe(stage, **changes)
    with TemporaryDirectory() as name:
        folder = Path(name)
        if stage == "dsft":
            rows = load_records(road.truecased().folder / "dialogues.parquet", "dialogue").records
            start, data = road.base_model_address, hold_out(rows, HELD_OUT_DIALOGUES)
        else:
            start, data = road.model_directory("dsft"), road.split_pairs()[:1]
        started = time.perf_counter()
        trained = getattr(training, stage)(start, *data, folder, recipe)
        seconds = time.perf_counter() - started
        model, tokenizer = load_model(trained.model, dtype="float32")
        exam = examine(
            model, tokenizer, stage, development_questions(), folder, temperature=TEMPERATURE, seed=0, max_new_tokens=96
        )
    result = {**changes, **{key: round(exam[key], 4) for key in KEPT}, "seconds": round(seconds)}
    return result | ({"held_out_loss": round(trained.metrics["held_out_loss"], 4)} if stage == "dsft" else {})


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
    """Try the settings, print it as a table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=tuple(SETTINGS), required=True)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--afresh", action="store_true", help="forget the stage's earlier results")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(try_setting(options.stage, json.loads(options.one))))
        return
    settings = [{"learning_rate": rate, "num_train_epochs": epochs} for rate, epochs in SETTINGS[options.stage]]
    tried = [] if options.afresh else read_json(RESULTS).get(options.stage, {}).get("tried", [])
    missing = [changes for changes in settings if not any(changes.items() <= row.items() for row in tried)]
    lock = threading.Lock()

    def try_and_keep(changes: dict) -> None:
        result = in_a_process(options.stage, changes)
        with lock:
            tried.append(result)
            write_json(RESULTS, {**read_json(RESULTS), options.stage: {"tried": tried, "stamp": environment_stamp()}})

    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(try_and_keep, missing))
    table = Table(*tried[0], title=f"{options.stage}: development questions, T = 0.7, seed 0")
    for row in sorted(tried, key=lambda row: -row["score"]):
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
