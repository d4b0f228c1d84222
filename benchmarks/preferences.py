"""Seconds and memory of loading, binarizing, auditing and decontaminating a set of UltraFeedback's
size.

    python benchmarks/preferences.py [--prompts 64000]

The records are generated (four answers each, lengths as in the real set, ratings in four aspects);
they are written to Parquet and measured in a fresh process, so that the making of them is not
counted.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zephyr_utils.data.filtering import decontaminate
from zephyr_utils.data.records import ASPECTS, load_records, save_records
from zephyr_utils.files import write_json
from zephyr_utils.machine import environment_stamp, peak_memory_mb
from zephyr_utils.preferences import audit, binarize, compare_strategies

RESULT = Path(__file__).parent / "results" / "preferences.json"
MODELS = [f"model-{letter}" for letter in "abcdefghijklmnopq"]  # UltraFeedback has seventeen
REFERENCES = 10_000


def made_up_text(rng: random.Random) -> Callable[[int], str]:
    """A function that cuts a text of so many characters out of a long random one."""
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(5000)]
    whole = " ".join(rng.choices(words, k=2_000_000))
    return lambda length: whole[
        (start := rng.randrange(len(whole) - length)) : start + length
    ].strip()


def made_up_feedback(count: int, seed: int = 0) -> Iterator[dict]:
    """Feedback records; prompts and answers are log-normal in length (medians 370 and 850
    characters).
    """
    rng = random.Random(seed)
    text = made_up_text(rng)
    for number in range(count):
        completions = []
        for model in rng.sample(MODELS, 4):
            ratings = {
                a: {"Rating": str(rng.randint(1, 5)), "Rationale": text(120)} for a in ASPECTS
            }
            completions.append(
                {
                    "model": model,
                    "response": text(min(int(rng.lognormvariate(6.75, 0.8)), 5000)),
                    "annotations": ratings,
                    "critique": text(400),
                    "overall_score": float(rng.randint(1, 10)),
                }
            )
        yield {
            "source": "made up",
            "instruction": f"{number} {text(min(int(rng.lognormvariate(5.9, 0.9)), 6000))}",
            "models": [c["model"] for c in completions],
            "completions": completions,
        }


def measure(path: str) -> dict[str, Any]:
    """Seconds of each step on the set in ``path``, and this process's peak memory after each."""
    steps: dict[str, dict[str, float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        steps[name] = {
            "seconds": round(time.perf_counter() - started, 2),
            "peak_memory_mb": peak_memory_mb(),
        }
        return result

    feedback = timed("load from Parquet", lambda: load_records(path, "feedback").records)
    pairs = timed("binarize", lambda: binarize(feedback))
    report = timed("audit", lambda: audit(pairs, feedback=feedback))
    timed("compare five policies", lambda: compare_strategies(feedback))
    prompts = [row["instruction"] for row in feedback]
    text = made_up_text(random.Random(1))
    rng = random.Random(2)
    references = [text(rng.randint(30, 300)) for _ in range(REFERENCES)]
    timed(
        f"decontaminate against {REFERENCES:,} references",
        lambda: decontaminate(prompts, references),
    )
    return {
        "prompts": len(feedback),
        "answers": sum(len(row["completions"]) for row in feedback),
        "pairs": len(pairs),
        "ties_in_pairs": report.n_ties,
        "steps": steps,
        "environment": environment_stamp(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=64_000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = save_records(made_up_feedback(arguments.prompts), Path(folder) / "feedback.parquet")
        size = path.stat().st_size
        command = [sys.executable, __file__, "--measure", str(path)]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    result["parquet_mb"] = round(size / 2**20, 1)
    print(
        f"{result['prompts']:,} prompts, {result['answers']:,} answers, {result['parquet_mb']:,} "
        f"MB of Parquet"
    )
    for name, step in result["steps"].items():
        print(
            f"{name:<45}{step['seconds']:>8.2f} s {step['peak_memory_mb']:>10,.0f} MB at most so "
            f"far"
        )
    RESULT.parent.mkdir(exist_ok=True)
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
