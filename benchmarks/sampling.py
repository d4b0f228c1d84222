"""What sampled answers cost: the handbook's own loop beside transformers' `generate`, in one run.

    python benchmarks/sampling.py         # a minute on one core, with a dSFT model at hand

Both arms draw the same number of answers from one model to the same prompts of the miniature:

- ``ours``: `online.sample_answers`: each prompt once, ended answers leave their batch;
- ``generate``: transformers' `generate` on batches of 64 rows of similar length, each prompt as
  often as answers are drawn to it.

The arms take turns, the order is turned by one each round, and a short run of each comes before.
Compared are tokens per second of processor time on one thread (a machine that does other things
beside must not count); the wall clock is beside it. Answers of the two arms are other draws of
one distribution, so tokens are counted; greedily they must be the same, which is checked. Results:
``benchmarks/results/sampling.json``.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from rich.console import Console
from transformers import GenerationConfig

from zephyr_utils.chat import encode_prompt, load_model, prepare_tokenizer
from zephyr_utils.files import write_json
from zephyr_utils.machine import environment_stamp
from zephyr_utils.miniature import data
from zephyr_utils.online import count_samples, sample_answers
from zephyr_utils.pipeline.pipeline import Pipeline

RESULTS = Path(__file__).resolve().parent / "results" / "sampling.json"
ROWS = 64  # of a batch of transformers' own
NEW_TOKENS, TEMPERATURE = 96, 0.7  # as the miniature's exam has them
GOALS = {"ours / generate": 3.0, "seconds for 1,000 prompts x 5": 60.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--model", default="", help="a directory; default: the pipeline's dSFT model"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    directory = arguments.model or Pipeline().model_directory("dsft")
    model, tokenizer = load_model(directory, dtype="float32")
    prepare_tokenizer(tokenizer)
    prompts = [row["instruction"] for row in data.feedback(arguments.prompts)]
    console = Console(highlight=False)
    arms: dict[str, Callable[[list[str], int, float], list[list[int]]]] = {
        "ours": lambda asked, count, temperature: ours(model, tokenizer, asked, count, temperature),
        "generate": lambda asked, count, temperature: generate(
            model, tokenizer, asked, count, temperature
        ),
    }
    greedy = [arm(prompts[:200], 1, 0.0) for arm in arms.values()]
    differing = sum(a != b for a, b in zip(*greedy, strict=True))
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for number in range(arguments.rounds):
        for name in list(arms)[:: 1 if number % 2 else -1]:
            measured[name].append(timed(arms[name], prompts, arguments.samples))
        rates = ", ".join(f"{name} {runs[-1]['tokens_per_second']:,.0f}" for name, runs in
                          measured.items())  # fmt: skip
        console.print(f"round {number + 1} of {arguments.rounds}, tokens per second: {rates}")
    ratios = [
        a["tokens_per_second"] / b["tokens_per_second"]
        for a, b in zip(measured["ours"], measured["generate"], strict=True)
    ]
    started, cpu = time.perf_counter(), time.process_time()
    goal = [row["instruction"] for row in data.feedback(1000)]
    answers = sample_answers(
        model, goal, 5, tokenizer=tokenizer, max_new_tokens=NEW_TOKENS, temperature=TEMPERATURE
    )
    results = {
        "environment": environment_stamp(),
        "load_of_the_machine": os.getloadavg()[0],
        "prompts": arguments.prompts,
        "samples": arguments.samples,
        "goals": GOALS,
        "ratio": {
            "median": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
        },
        "greedy": {"answers": len(greedy[0]), "differing": differing},
        "1,000 prompts x 5": {
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.perf_counter() - started,
            "counts": count_samples(answers).report(),
        },
        "measured": measured,
    }
    write_json(arguments.output, results)
    console.print(
        f"ours / generate {results['ratio']['median']:.2f} (goal {GOALS['ours / generate']:g}); "
        f"{differing} of {len(greedy[0])} greedy answers differ; 1,000 prompts x 5 on one thread: "
        f"{results['1,000 prompts x 5']['cpu_s']:.0f} s of processor time; "
        f"{results['1,000 prompts x 5']['counts']}"
    )


def timed(arm: Callable[..., list[list[int]]], prompts: list[str], samples: int) -> dict:
    """Seconds, tokens and tokens per second of processor time of one pass."""
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = sum(map(len, arm(prompts, samples, TEMPERATURE)))
    cpu = time.process_time() - cpu
    return {
        "cpu_s": cpu,
        "wall_s": time.perf_counter() - wall,
        "tokens": tokens,
        "tokens_per_second": tokens / cpu,
    }


def ours(
    model: Any, tokenizer: Any, prompts: list[str], samples: int, temperature: float
) -> list[list[int]]:
    """Token ids of all answers."""
    made = sample_answers(
        model, prompts, samples, tokenizer=tokenizer, max_new_tokens=NEW_TOKENS,
        temperature=temperature,
    )  # fmt: skip
    return [one.token_ids for group in made for one in group]


def generate(
    model: Any, tokenizer: Any, prompts: list[str], samples: int, temperature: float
) -> list[list[int]]:
    """The same from transformers' `generate`."""
    drawn: dict[str, Any] = (
        {"do_sample": True, "temperature": temperature, "top_k": 0}
        if temperature
        else {"do_sample": False}
    )
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    config = GenerationConfig(
        max_new_tokens=NEW_TOKENS, eos_token_id=end, pad_token_id=pad, use_cache=True, **drawn
    )
    rows = [
        encode_prompt(tokenizer, [{"role": "user", "content": prompt}])
        for prompt in prompts
        for _ in range(samples)
    ]
    order = sorted(range(len(rows)), key=lambda n: len(rows[n]))
    answers: list[list[int]] = [[] for _ in rows]
    for start in range(0, len(order), ROWS):
        batch = order[start : start + ROWS]
        width = max(len(rows[n]) for n in batch)
        ids = torch.tensor([[pad] * (width - len(rows[n])) + rows[n] for n in batch])
        mask = torch.tensor([[0] * (width - len(rows[n])) + [1] * len(rows[n]) for n in batch])
        said = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        for n, new in zip(batch, said[:, width:].tolist(), strict=True):
            answers[n] = new[: new.index(end) + 1] if end in new else new
    return answers


if __name__ == "__main__":
    main()
