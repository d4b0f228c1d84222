"""The whole pipeline with a real model on real records, on two CPU cores: times, memory, losses,
held-out accuracy, the exam, and what the page *The same pipeline with a real model* shows.

    zephyr fetch smollm2-instruct               # prints DIR
    python benchmarks/smol.py --base-model DIR   # 65 minutes alone, 45 of them the pipeline's
    python benchmarks/smol.py --base-model DIR --seeds 1 --beside-other-work  # one more, untimed

SmolLM2-135M-Instruct, as the package index has it (4 bits per weight, converted), is trained by the
recipes of ``smol/cpu`` on dialogues of UltraChat and pairs of UltraFeedback from
``$ZEPHYR_REAL_DATA``. It is an instruct model that has seen UltraFeedback already, so nothing here
shows that the method makes a better model; it shows that the pipeline works on real weights, real
text and a real tokenizer. Results: ``benchmarks/results/smol.json``.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "")  # training says how far it is, unlike in steps.py

from rich.console import Console
from smol_losses import held_out_losses
from smol_pairs import ranked
from smol_steps import compare_steps

from zephyr_utils.chat import Answer, encode, generate, load_model, prepare_tokenizer
from zephyr_utils.data.records import load_records
from zephyr_utils.files import plain_value, read_json, write_json
from zephyr_utils.machine import environment_stamp, multiplies_in_bfloat16
from zephyr_utils.pipeline.artefacts import Manifest, runs_folder
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.pipeline.steps.truecase import DIALOGUES
from zephyr_utils.recipes import STAGES
from zephyr_utils.training import LOG

RESULTS = Path(__file__).resolve().parent / "results" / "smol.json"
REAL_DATA = Path(os.environ.get("ZEPHYR_REAL_DATA", "../shared/data"))
ULTRACHAT = "ultrachat_200k_sample/ultrachat_small.shared.jsonl"
ULTRAFEEDBACK = "ultrafeedback_binarized_sample/train_clean.shared.jsonl"
RAW_DIALOGUES = 560  # of these some 450 fit into 384 tokens, and 40 of them are held out
MODELS = ("base", "dsft", "ddpo")
GOALS = {"minutes": 45, "peak_memory_gb": 8, "ours / trl": 0.45}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-model", required=True, help="SmolLM2-135M-Instruct: a directory")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--beside-other-work", action="store_true", help="add the seeds to the file, without times"
    )
    parser.add_argument("--runs", type=Path, default=runs_folder() / "benchmarks")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--rounds", type=int, default=2, help="of TRL's defaults beside ours")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    results: dict[str, Any] = {"environment": environment_stamp(), "goals": GOALS, "seeds": []}
    if arguments.beside_other_work and not (results := read_json(arguments.output)):
        parser.error(f"{arguments.output} has no run to add to: make the first one without this")
    for seed in arguments.seeds:
        pipeline = pipeline_of(arguments.base_model, arguments.runs, seed)
        if arguments.beside_other_work:
            # the start's greedy answers do not depend on the seed
            run = without_times(run_of(pipeline, console, MODELS[1:]))
        else:
            run = run_of(pipeline, console)
        results["seeds"] = [other for other in results["seeds"] if other["seed"] != seed] + [run]
        if seed == arguments.seeds[0] and not arguments.beside_other_work:
            results["shown"] = shown_on_the_page(pipeline)
            if arguments.rounds:
                results["steps"] = compare_steps(pipeline, arguments.rounds, console)
        write_json(arguments.output, plain_value(results))
        console.print(f"wrote {arguments.output}", highlight=False)


def pipeline_of(base_model: str, runs: Path, seed: int) -> Pipeline:
    """The pipeline on real records, under the chat template that the model was trained with; in
    bfloat16 where the CPU multiplies in it, as `zephyr doctor` advises.
    """
    dialogues = runs / f"ultrachat_{RAW_DIALOGUES}.jsonl"
    dialogues.parent.mkdir(parents=True, exist_ok=True)
    with open(REAL_DATA / ULTRACHAT, encoding="utf-8") as lines:
        dialogues.write_text("".join(next(lines) for _ in range(RAW_DIALOGUES)), encoding="utf-8")
    return Pipeline(
        scale="smol/cpu",
        seed=seed,
        dialogues=str(dialogues),
        preferences=str((REAL_DATA / ULTRAFEEDBACK).resolve()),
        base_model=str(Path(base_model).resolve()),
        runs=str(runs.resolve()),
        set_aside_bad_rows=True,
        chat_template="keep",
        changes={stage: {"bf16": multiplies_in_bfloat16()} for stage in STAGES},
    )


def run_of(
    pipeline: Pipeline, console: Console, examined: tuple[str, ...] = MODELS
) -> dict[str, Any]:
    """Every step of one seed: what it took and what came out."""
    steps: dict[str, Manifest] = {}
    for name, make in (
        ("truecasing", pipeline.truecased),
        ("dsft", pipeline.dsft),
        ("pairs", pipeline.pairs),
        ("ddpo", pipeline.ddpo),
        ("margins", pipeline.margins),
    ):
        steps[name] = make()
        console.print(f"seed {pipeline.seed}: {name}, {steps[name].seconds:.0f} s", highlight=False)
    exams = pipeline.evaluation(examined)
    made = {**steps, **{f"exam_{name}": manifest for name, manifest in exams.items()}}
    return {
        "seed": pipeline.seed,
        "bf16": pipeline.recipe("ddpo")["bf16"],
        "pairs_at_once": pipeline.recipe("ddpo")["per_device_train_batch_size"],
        "minutes": sum(manifest.seconds for manifest in made.values()) / 60,
        "peak_memory_gb": max(manifest.peak_memory_mb for manifest in made.values()) / 1024,
        "steps": {
            name: {
                "seconds": manifest.seconds,
                "peak_memory_mb": manifest.peak_memory_mb,
                **manifest.results,
            }
            for name, manifest in made.items()
        },
        "held_out_loss": held_out_losses(pipeline),
        "ranked": ranked(pipeline),
        "curves": {
            stage: json.loads((steps[stage].folder / LOG).read_text("utf-8"))
            for stage in ("dsft", "ddpo")
        },
    }


def without_times(run: dict[str, Any]) -> dict[str, Any]:
    """A run whose seconds say nothing, since the machine had other work; the rest is the same."""
    steps = {
        name: {key: value for key, value in step.items() if key != "seconds"}
        for name, step in run["steps"].items()
    }
    clocks = ("_runtime", "_per_second")  # TRL's, in rows of its log
    curves = {
        stage: [{k: v for k, v in row.items() if not k.endswith(clocks)} for row in rows]
        for stage, rows in run["curves"].items()
    }
    kept = {name: value for name, value in run.items() if name != "minutes"}
    return kept | {"steps": steps, "curves": curves}


def shown_on_the_page(pipeline: Pipeline) -> dict[str, Any]:
    """One dialogue before and after truecasing, its tokens, and three held-out prompts answered by
    each model.
    """
    raw = load_records(Path(pipeline.dialogues), "dialogue").records
    before = {row["messages"][0]["content"]: row["messages"] for row in raw}
    after = load_records(pipeline.truecased().folder / DIALOGUES, "dialogue").records
    changed = [
        row["messages"] for row in after if row["messages"] != before[row["messages"][0]["content"]]
    ]
    _, held_out, _ = pipeline.split_dialogues()
    # some prompts of the published set are fragments, cut off at their start
    whole = [row for row in held_out if row["prompt"][:1].isupper()]
    shortest = sorted(whole, key=lambda row: len(row["prompt"]))[:3]
    prompts = [row["messages"][:1] for row in shortest]
    answers = {}
    for name in MODELS:
        model, tokenizer = load_model(pipeline.model_directory(name), dtype="float32")
        prepare_tokenizer(tokenizer, pipeline.chat_template)
        replies = generate(model, tokenizer, prompts, max_new_tokens=160, temperature=0)
        answers[name] = [as_record(reply) for reply in replies]
    shown = min(changed, key=lambda messages: sum(len(m["content"]) for m in messages))
    return {
        "dialogue": {"before": before[shown[0]["content"]], "after": shown},
        "tokens": [tokenizer.decode([token]) for token in encode(tokenizer, shown[:2])[0]],
        "prompts": [turns[0]["content"] for turns in prompts],
        "answers": answers,
    }


def words_changed(before: list[dict], after: list[dict]) -> int:
    """How many words truecasing changed; it changes letters alone, so the words are as many."""
    pairs = zip(before, after, strict=True)
    words = [(a["content"].split(" "), b["content"].split(" ")) for a, b in pairs]
    return sum(x != y for left, right in words for x, y in zip(left, right, strict=True))


def as_record(answer: Answer) -> dict[str, Any]:
    return {"text": answer.text, "ended": answer.ended, "tokens": answer.n_tokens}


if __name__ == "__main__":
    main()
