"""The search behind the miniature's recipes: the learning rates of dSFT, of dDPO, and of the rows
of chapter 08 and of part two.

    python benchmarks/search.py --stages dsft ddpo rows  # one after the other, rows side by side
    python benchmarks/search.py --stages methods         # those of part two

A stage's winner is written into the recipes as it is found, because the next starts from its model.

Each setting is trained with the seeds 100, 101 and 102 (methods of part two: the first two), which
draw records of their own and measure no claim, and graded at T = 0.7 on *development* questions,
whose combinations no exam asks about. The mean grade over the seeds decides. A grid whose winner
lies at its end goes on in that direction until the winner lies inside, `EXTENSIONS` times at most
(``benchmarks/protocol.md``, ``benchmarks/protocol-methods.md``).

Each result is added to ``benchmarks/results/search.json`` as it comes, so a search that was killed
goes on where it stopped; ``--afresh`` forgets the stages' earlier results.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import search_grid as grids
import yaml
from rich.console import Console
from rich.table import Table

from zephyr_utils.ablations.parallel import QUIET
from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp, usable_cores
from zephyr_utils.recipes import STAGES

RESULTS = Path(__file__).resolve().parent / "results" / "search.json"
RECIPES = Path(__file__).resolve().parents[1] / "zephyr_utils" / "recipes" / "miniature"
KEPT = ("score", "right", "ended", "tokens")


def try_setting(stage: str, changes: dict, seed: int) -> dict[str, Any]:
    """Train one setting with one seed into a temporary folder and grade it on the development
    questions.

    The setting that is the pipeline's own recipe is not trained again: its artefact is graded.
    """
    from zephyr_utils import training
    from zephyr_utils.ablations.catalogue import ABLATIONS, recipe_of
    from zephyr_utils.ablations.measurements import accuracies_by_epoch, model_of, train_into
    from zephyr_utils.chat import load_model
    from zephyr_utils.evaluation.exam import run_exam
    from zephyr_utils.miniature.data import development_questions
    from zephyr_utils.pipeline.pipeline import Pipeline

    pipeline, started = Pipeline(seed=seed), time.perf_counter()
    accuracy: dict[str, float] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        of_pipeline = next((one for one in STAGES if one == stage), None)
        if of_pipeline and changes.items() <= pipeline.recipe(of_pipeline).items():
            made = getattr(pipeline, stage)()
            metrics, model_folder = made.results, made.folder / training.MODEL
        elif stage == "dsft":
            train, held_out, _ = pipeline.split_dialogues()
            recipe = pipeline.recipe("dsft") | changes
            base = pipeline.base_model_address
            metrics = training.dsft(base, train, held_out, folder, recipe).metrics
            model_folder = folder / training.MODEL
        elif stage == "ddpo":
            train, _, _ = pipeline.split_pairs()
            recipe = pipeline.recipe("ddpo") | changes
            start = pipeline.model_directory("dsft")
            metrics = training.ddpo(
                start, train, folder, recipe, reference_folder=pipeline.reference_cache
            ).metrics
            model_folder = folder / training.MODEL
        elif stage in grids.SEARCHED:
            from zephyr_utils.ablations.methods import measurements as methods

            replication = methods.Replication(pipeline)
            settings = {**grids.SEARCHED[stage].settings, **changes}
            metrics = methods.make_method(replication, stage, folder, settings)
            model_folder = folder / training.MODEL
            if grids.SEARCHED[stage].kind == "reward":
                score = round(methods.reward_accuracy(replication, model_folder), 4)
                seconds = round(time.perf_counter() - started)
                return {**changes, "seed": seed, "score": score, "seconds": seconds}
        else:
            row = ABLATIONS[stage]
            start, recipe = model_of(pipeline, row.start), recipe_of(pipeline, row, **changes)
            metrics = train_into(pipeline, row, start, folder, recipe)
            model_folder = folder / training.MODEL
            if row.epochs:
                log = json.loads((folder / training.LOG).read_text(encoding="utf-8"))
                found = accuracies_by_epoch(log, row.epochs)
                accuracy = {f"accuracy_{part}": round(found[part][-1], 4) for part in found}
        model, tokenizer = load_model(model_folder, dtype="float32")
        exam = pipeline.setting.exam
        questions: Any = development_questions(seed)
        results = run_exam(
            model,
            tokenizer,
            stage,
            questions,
            folder,
            exam.judge(),
            temperature=exam.temperature,
            max_new_tokens=exam.max_new_tokens,
            seed=seed,
        )
    seconds = round(time.perf_counter() - started)
    loss = {key: round(metrics[key], 4) for key in ("held_out_loss",) if key in metrics}
    numbers = {key: round(results[key], 4) for key in KEPT}
    return {**changes, "seed": seed, **numbers, **accuracy, **loss, "seconds": seconds}


def write_recipes(winners: dict[str, dict[str, Any]]) -> None:
    """Put what was found into the miniature's recipes; their other lines and comments stay."""
    for stage in set(winners) & set(grids.PIPELINE):
        path = RECIPES / f"{stage}.yaml"
        text = path.read_text(encoding="utf-8")
        for name, value in winners[stage].items():
            text, count = re.subn(rf"(?m)^{name}: \S+", f"{name}: {_number(value)}", text)
            if count != 1:
                raise RuntimeError(f"{path} has {count} lines for {name}")
        path.write_text(text, encoding="utf-8")
    methods = winners.keys() & grids.SEARCHED.keys()
    rows = winners.keys() - set(grids.PIPELINE) - methods
    _write_rows(RECIPES / "ablations.yaml", "  ", {row: winners[row] for row in rows})
    _write_rows(RECIPES / "methods.yaml", "", {row: winners[row] for row in methods})


def _write_rows(path: Path, indent: str, rows: dict[str, dict[str, Any]]) -> None:
    text = path.read_text(encoding="utf-8")
    for row, found in sorted(rows.items()):
        values = ", ".join(f"{name}: {_number(value)}" for name, value in found.items())
        line = f"{indent}{row}: {{{values}}}"
        text, count = re.subn(rf"(?m)^{indent}{re.escape(row)}: {{[^}}]*}}", line, text)
        text = text if count else f"{text.rstrip()}\n{line}\n"
    path.write_text(text, encoding="utf-8")


def _number(value: float) -> str:
    """A number that YAML reads as one: 4e-4 without a point is text to it."""
    return yaml.safe_dump(value).split()[0]


class Search:
    """What was tried, and the processes that try more."""

    def __init__(self, console: Console, afresh: list[str], workers: int) -> None:
        self.console, self.lock, self.workers = console, threading.Lock(), workers
        known = read_json(RESULTS)
        self.stamps = {stage: found["stamp"] for stage, found in known.items()}
        # results of one seed on another world are not part of this search
        self.tried: dict[str, list[dict[str, Any]]] = {
            stage: found["tried"]
            for stage, found in known.items()
            if stage not in afresh and all("seed" in row for row in found["tried"])
        }

    def run(self, stages: list[str]) -> None:
        """Try the stages' grids, and extend each until it brackets its winner.

        Each seed of a stage is a process: a single stage keeps all workers busy, too.
        """
        with ThreadPoolExecutor(self.workers) as pool:
            while tasks := [
                (stage, settings)
                for stage in stages
                for settings in grids.wanted(stage, self.tried.get(stage, []))
            ]:
                list(pool.map(lambda task: self._in_a_process(*task), tasks))

    def winner(self, stage: str) -> dict[str, Any]:
        """The setting that a stage's search chose."""
        winner: dict[str, Any] = grids.outcome(stage, self.tried[stage])["winner"]
        return winner

    def _in_a_process(self, stage: str, settings: list[tuple[dict, int]]) -> None:
        """`try_setting` for one setting after the other, in a process with one thread."""
        command = [sys.executable, __file__, "--stages", stage, "--settings", json.dumps(settings)]
        with subprocess.Popen(
            command, env={**os.environ, **QUIET}, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                for line in process.stdout or ():
                    if line.startswith('{"'):
                        self._keep(stage, json.loads(line))
            except BaseException:
                process.kill()  # it would train on, and nobody would read what it says
                raise
        if process.returncode:
            raise RuntimeError(f"{stage}: a setting failed, see above")

    def _keep(self, stage: str, result: dict[str, Any]) -> None:
        with self.lock:
            rows = self.tried.setdefault(stage, [])
            rows.append(result)
            self.stamps[stage] = environment_stamp() | {"threads": 1}  # of each process
            write_json(
                RESULTS,
                {
                    name: {**grids.outcome(name, tried), "stamp": self.stamps[name]}
                    for name, tried in sorted(self.tried.items())
                },
            )
            self.console.print(f"{stage}: {result}", highlight=False)

    def table(self, stage: str) -> Table:
        """What was tried, the best mean first."""
        found = grids.outcome(stage, self.tried[stage])
        bracketed = "its grid brackets it" if found["bracketed"] else "at the end of its grid"
        table = Table(
            *("setting", "mean", "seeds"),
            title=f"{stage}: development questions, T = 0.7; the winner: {bracketed}",
        )
        for setting, mean, seeds in grids.ranked(stage, self.tried[stage]):
            table.add_row(json.dumps(setting), f"{mean:.3f}", str(seeds))
        return table


def main() -> None:
    """Search, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = (*grids.GRIDS, *grids.SEARCHED, "rows", "methods")
    parser.add_argument("--stages", nargs="+", choices=choices, required=True)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--afresh", action="store_true", help="forget the stages' earlier results")
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.settings:
        for changes, seed in json.loads(options.settings):
            print(json.dumps(try_setting(options.stages[0], changes, seed)), flush=True)
        return
    rows = [name for name in grids.GRIDS if name not in grids.PIPELINE]
    groups = {"rows": rows, "methods": list(grids.SEARCHED)}
    named = [name for stage in options.stages for name in groups.get(stage, [stage])]
    # dDPO needs the winner of dSFT, rows those of both, and some methods another's; the others need
    # nothing of each other
    stages = [[name] for name in named if name in grids.PIPELINE]
    others = [name for name in named if name not in grids.PIPELINE]
    for last in (False, True):
        if together := [name for name in others if grids.needs_another(name) == last]:
            stages.append(together)
    console = Console(width=150)
    search = Search(console, [*itertools.chain(*stages)] if options.afresh else [], options.workers)
    for together in stages:
        search.run(together)
        for stage in together:
            console.print(search.table(stage))
        write_recipes({stage: search.winner(stage) for stage in together})


if __name__ == "__main__":
    main()
