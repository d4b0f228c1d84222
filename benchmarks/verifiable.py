"""Does the exam with verifiable answers measure anything? Four models that must come out in order.

    python benchmarks/verifiable.py MODEL_DIR      # about 12 minutes of one core

`MODEL_DIR` is SmolLM2-135M-Instruct (`zephyr fetch` brings it). The arms:

- ``greedy``: the model at temperature 0;
- ``noise``: at temperature 0, with Gaussian noise added to every matrix of its layers, of a
  standard deviation that is a fixed share of the matrix's own;
- ``hot``: the model at temperature 1.5;
- ``untrained``: the same shape with random weights, at temperature 0.

All answer the same questions at the same greatest length. Answers are kept in `--answers`, so that
a run that was stopped goes on, and a changed check is graded without asking again. Results:
``benchmarks/results/verifiable.json``, written after every arm.
"""

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoModelForCausalLM

from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.data.records import save_records
from zephyr_utils.evaluation.exam import ask_questions
from zephyr_utils.evaluation.recorded import load_answers
from zephyr_utils.files import write_json
from zephyr_utils.machine import environment_stamp
from zephyr_utils.verifiable import (
    VerifiedAccuracy,
    accuracy,
    accuracy_difference,
    exam_questions,
)

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "verifiable.json"
ARMS = {"greedy": 0.0, "noise": 0.0, "hot": 1.5, "untrained": 0.0}  # temperatures
DTYPE = "bfloat16"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="directory of SmolLM2-135M-Instruct")
    parser.add_argument("--noise", type=float, default=0.1, help="of a matrix's own deviation")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=80)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--answers", type=Path, default=ROOT / "runs" / "verifiable")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console, questions = Console(), exam_questions()
    answers: dict[str, list[Any]] = {}
    asked: dict[str, dict[str, Any]] = {}
    for arm in arguments.arms:
        answers[arm], asked[arm] = answered(arm, questions, arguments)
        results = {
            "environment": environment_stamp(),
            "load_of_the_machine": os.getloadavg()[0],  # seconds are of the wall clock
            "model": "SmolLM2-135M-Instruct",
            "questions": len(questions),
            "dtype": DTYPE,
            "max_new_tokens": arguments.max_new_tokens,
            "relative_noise": arguments.noise,
            "arms": {
                name: {"temperature": ARMS[name]} | asked[name] | figures(accuracy(rows, questions))
                for name, rows in answers.items()
            },
            "differences": {
                f"{one} - {other}": {
                    measure: vars(difference)
                    for measure, difference in accuracy_difference(
                        answers[one], answers[other], questions
                    ).items()
                }
                for n, one in enumerate(answers)
                for other in list(answers)[n + 1 :]
            },
        }
        write_json(arguments.output, results)
        console.print(f"{arm}: {accuracy(answers[arm], questions)}", highlight=False)
    show(results, console)


def answered(
    arm: str, questions: list[Any], arguments: argparse.Namespace
) -> tuple[list[Any], dict[str, Any]]:
    """The arm's answers, from its file if it was asked before, and what asking took."""
    settings = [
        arm,
        [question["turns"] for question in questions],
        arguments.max_new_tokens,
        arguments.batch_size,
        arguments.noise if arm == "noise" else None,
    ]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    path = arguments.answers / f"{arm}-{key}.jsonl"
    facts = path.with_suffix(".json")
    if not facts.exists():
        began = time.perf_counter()
        model, tokenizer = MODELS[arm](arguments)
        prepare_tokenizer(tokenizer)
        rows = ask_questions(
            model,
            tokenizer,
            arm,
            questions,
            temperature=ARMS[arm],
            max_new_tokens=arguments.max_new_tokens,
            batch_size=arguments.batch_size,
        )
        save_records(rows, path)
        tokens = [n for row in rows for n in row["tokens"]]
        ended = [value for row in rows for value in row["ended"]]
        taken = {
            "seconds": time.perf_counter() - began,
            "tokens": sum(tokens),
            "ended": sum(ended) / len(ended),
        }
        write_json(facts, taken)
    return load_answers(path), json.loads(facts.read_text())


def as_it_is(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The model itself."""
    return load_model(arguments.model, dtype=DTYPE)


def with_noise(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The model with noise on the matrices of its layers; embedding and norms stay."""
    model, tokenizer = load_model(arguments.model, dtype="float32")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for matrix in model.model.layers.parameters():
            if matrix.dim() == 2:
                draw = torch.randn(matrix.shape, generator=generator)
                matrix += arguments.noise * matrix.std() * draw
    return model.to(getattr(torch, DTYPE)), tokenizer


def untrained(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The same shape with the weights it would begin training with."""
    _, tokenizer = load_model(arguments.model, dtype=DTYPE)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(arguments.model))
    return model.to(getattr(torch, DTYPE)), tokenizer


MODELS = {
    "greedy": as_it_is,
    "noise": with_noise,
    "hot": as_it_is,
    "untrained": untrained,
}


def figures(found: VerifiedAccuracy) -> dict[str, Any]:
    """An accuracy as JSON holds it."""
    return {
        "measures": {name: vars(interval) for name, interval in found.measures.items()},
        "prompts": found.n_prompts,
        "instructions": found.n_instructions,
        "missing": found.n_missing,
        "by_category": {
            category: {name: vars(interval) for name, interval in one.measures.items()}
            for category, one in found.by_category.items()
        },
    }


def show(results: dict[str, Any], console: Console) -> None:
    """A table of the arms, and their paired differences."""
    table = Table("arm", "T", "strict", "loose", "instructions", "ended", "seconds")
    for name, arm in results["arms"].items():
        shares = [
            f"{100 * one['estimate']:.1f} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]"
            for one in (
                arm["measures"][key]
                for key in ("prompt_strict", "prompt_loose", "instruction_strict")
            )
        ]
        table.add_row(
            name,
            f"{arm['temperature']:g}",
            *shares,
            f"{100 * arm['ended']:.0f} %",
            f"{arm['seconds']:.0f}",
        )
    console.print(table)
    for pair, measures in results["differences"].items():
        one = measures["prompt_strict"]
        console.print(
            f"{pair}: {100 * one['mean']:+.1f} "
            f"[{100 * one['low']:+.1f}, {100 * one['high']:+.1f}], p = {one['p_value']:.2g}",
            highlight=False,
        )


if __name__ == "__main__":
    main()
