"""What one dDPO step costs in the miniature: ours, TRL as it comes, and the same maths in a bare
PyTorch loop.

    python benchmarks/steps.py            # about five minutes on one core

All arms train the same LoRA of the same model on the same pairs, 16 a step, each pair once, so the
same tokens:

- ``ours``: `training.ddpo_trainer` with the miniature's recipe as it stands: each prompt once,
  pairs grouped by length;
- ``in order``: the same on the pairs in their order; ``two rows``: that, each prompt twice
  (``share_prompts: false``);
- ``trl``: `trl.DPOTrainer` with its defaults as they stand: bfloat16, activations recomputed, a
  live reference;
- ``bare``: no trainer. Model, precomputed reference, equation 1, AdamW, clipping, written out
  below.

``ours`` apart, all take the pairs in one order. ``long in order`` and ``long two rows`` are these
two on pairs whose prompts were made some two hundred tokens longer. Whole passes are interleaved,
each arm once a round, and the order turns by one each round; two steps of each arm come before, to
warm up. A step's time is processor time of one thread (a machine that does other things beside must
not count); the wall clock is beside it. A precomputed reference is paid before the clock
starts. Reported are ratios of medians over rounds, and the range of the ratio over single rounds.
That the arms do the same maths is checked: their losses agree. Results:
``benchmarks/results/steps.json``.
"""

import argparse
import functools
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import trl
from peft import get_peft_model
from rich.console import Console
from rich.table import Table
from transformers import TrainerCallback, get_linear_schedule_with_warmup

from zephyr_utils import training
from zephyr_utils.chat import encode, encode_prompt, load_model, prepare_tokenizer
from zephyr_utils.files import write_json
from zephyr_utils.machine import environment_stamp
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.objectives import PairLogProbs, dpo_loss, sequence_log_probs
from zephyr_utils.preferences import binarize
from zephyr_utils.scales import get_scale
from zephyr_utils.training.rows import fit_pairs

RESULTS = Path(__file__).resolve().parent / "results" / "steps.json"
PAIRS = 16  # a step, as the recipe says
ARMS = ("ours", "trl", "bare", "in order", "two rows", "long in order", "long two rows")
GOALS = {"ours / trl": 0.35, "ours / bare": 1.3}
RATIOS = (
    "ours / trl",
    "ours / bare",
    "two rows / trl",
    "two rows / bare",
    "ours / in order",
    "in order / two rows",
    "long in order / long two rows",
)
LONGER = 200  # tokens, about, that a long prompt has more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="of a pass")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.steps < 10:
        parser.error("--steps 10 at least: the trainers log their loss every tenth step")
    torch.set_num_threads(1)
    console = Console()
    measured: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    pairs = few_pairs(PAIRS * arguments.steps)
    longer = with_long_prompts(pairs[: 10 * PAIRS])  # so many steps are logged once
    for number in range(arguments.rounds + 1):
        turn = number % len(ARMS)
        for arm in ARMS[turn:] + ARMS[:turn]:
            with tempfile.TemporaryDirectory() as folder:
                rows = longer if arm.startswith("long") else pairs
                result = PASSES[arm](rows if number else rows[: 2 * PAIRS], Path(folder))
            if number:
                measured[arm].append(result)
        if number:
            times = ", ".join(f"{arm} {measured[arm][-1]['cpu_ms']:.0f}" for arm in ARMS)
            console.print(
                f"round {number} of {arguments.rounds}, ms per step: {times}", highlight=False
            )
    results = {
        "environment": environment_stamp(),
        "rounds": arguments.rounds,
        "steps": arguments.steps,
        "load_of_the_machine": os.getloadavg()[0],
        "goals": GOALS,
        "findings": findings(measured),
        "measured": measured,
    }
    write_json(arguments.output, results)
    show(results, console)


def few_pairs(count: int) -> list[dict[str, Any]]:
    """The first pairs of the miniature that fit the recipe's length."""
    _, tokenizer = load_model(BASE_FOLDER)
    prepare_tokenizer(tokenizer)
    rated: Any = data.feedback(count + count // 2)
    pairs = binarize(rated).pairs
    fitted = fit_pairs(tokenizer, pairs, get_scale("miniature").recipe("ddpo")["max_length"]).rows
    assert len(fitted) >= count, "ask for more feedback: some of it makes no pair"
    return fitted[:count]


def with_long_prompts(pairs: list[dict]) -> list[dict]:
    """The pairs with other pairs' texts before their questions: the answers stay, the prompts grow
    by about `LONGER` tokens.
    """
    longer = []
    for number, pair in enumerate(pairs):
        before: list[str] = []
        sides: dict[str, list[dict[str, str]]] = {}
        while len(" ".join(before).split()) < LONGER / 2:  # a word is about two tokens here
            before.append(pairs[(number + 1 + len(before)) % len(pairs)]["chosen"][-1]["content"])
        for side in ("chosen", "rejected"):
            first, *others = pair[side]
            sides[side] = [{**first, "content": " ".join([*before, first["content"]])}, *others]
        longer.append({**pair, **sides})
    return longer


class Clock(TrainerCallback):
    """Processor and wall time of all steps, what went through the model, and the trainer's loss at
    each logged step.
    """

    positions = 0

    def on_train_begin(self, args, state, control, model=None, **_):
        self.began = time.process_time(), time.perf_counter()
        self.hook = model.get_base_model().model.layers[0].register_forward_pre_hook(self.note)

    def note(self, layer, arguments):
        if torch.is_grad_enabled():  # the policy's own passes, not those of a live reference
            self.positions += arguments[0].shape[0] * arguments[0].shape[1]

    def on_step_end(self, args, state, control, **_):
        self.ended, self.steps = (time.process_time(), time.perf_counter()), state.global_step

    def on_train_end(self, args, state, control, **_):
        self.hook.remove()

    def result(self, log: list[dict]) -> dict[str, Any]:
        losses = [row["loss"] for row in log if "loss" in row]
        return timed(self.began, self.ended, self.steps, losses) | {"positions": self.positions}


def timed(began: tuple, ended: tuple, steps: int, losses: list[float]) -> dict[str, Any]:
    """Milliseconds a step, and what was logged."""
    cpu, wall = (1000 * (b - a) / steps for a, b in zip(began, ended, strict=True))
    return {"cpu_ms": cpu, "wall_ms": wall, "losses": losses}


def pass_of_ours(pairs: list[dict], folder: Path, **levers: Any) -> dict[str, Any]:
    """The trainer that `training.ddpo` makes; the reference is computed before the clock starts."""
    clock = Clock()
    trainer = training.ddpo_trainer(BASE_FOLDER, pairs, folder, recipe() | levers)
    trainer.add_callback(clock)
    return clock.result(training.train_and_log(trainer, folder))


def recipe() -> dict[str, Any]:
    """The miniature's, with nothing saved on the way."""
    return get_scale("miniature").recipe("ddpo", save_strategy="no")


def pass_of_trl(pairs: list[dict], folder: Path) -> dict[str, Any]:
    """TRL's defaults, the batch and the order apart, which are those of the other arms."""
    arguments = {"per_device_train_batch_size": PAIRS, "train_sampling_strategy": "sequential"}
    return trl_defaults(BASE_FOLDER, recipe(), pairs, folder, **arguments)


def trl_defaults(
    start: str | Path, lora: dict[str, Any], pairs: list[dict], folder: Path, **arguments: Any
) -> dict[str, Any]:
    """A pass of TRL's trainer with its defaults, but for `arguments`.

    Args:
        start: directory of the model.
        lora: a recipe, for the adapter's shape.
    """
    clock = Clock()
    model, tokenizer = load_model(start, dtype="float32")
    prepare_tokenizer(tokenizer)
    config = trl.DPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        num_train_epochs=1,
        **arguments,
    )
    assert config.bf16 and config.gradient_checkpointing and not config.precompute_ref_log_probs
    trainer = trl.DPOTrainer(
        model=model,
        args=config,
        peft_config=training.lora_config(lora),
        processing_class=tokenizer,
        train_dataset=training.shared_dataset(
            [training.split_prompt(pair) for pair in pairs], folder
        ),
        callbacks=[clock],
    )
    return clock.result(training.train_and_log(trainer, folder))


def pass_of_bare(pairs: list[dict], folder: Path) -> dict[str, Any]:
    """Equation 1 of the paper in a loop: nothing is logged but the loss, nothing saved, nothing
    guarded.
    """
    asked = recipe()
    torch.manual_seed(asked["seed"])
    base, tokenizer = load_model(BASE_FOLDER, dtype="float32")
    prepare_tokenizer(tokenizer)
    sides = [[encoded(tokenizer, pair[side]) for pair in pairs] for side in ("chosen", "rejected")]
    batches = [
        sides[0][i : i + PAIRS] + sides[1][i : i + PAIRS] for i in range(0, len(pairs), PAIRS)
    ]
    adapter = training.lora_config(asked)
    assert adapter is not None  # the recipe trains one
    model = get_peft_model(base, adapter)
    with torch.no_grad(), model.disable_adapter():
        reference = [log_probs(model, batch, tokenizer.pad_token_id) for batch in batches]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(
        weights, lr=asked["learning_rate"], weight_decay=asked["weight_decay"], fused=True
    )
    warm_up = math.ceil(asked["warmup_steps"] * len(batches))  # as the trainer reads a share
    schedule = get_linear_schedule_with_warmup(optimiser, warm_up, len(batches))
    losses = []
    model.train()
    began = time.process_time(), time.perf_counter()
    for batch, reference_sums in zip(batches, reference, strict=True):
        policy_sums = log_probs(model, batch, tokenizer.pad_token_id)
        pair = PairLogProbs(*policy_sums, *reference_sums)
        loss = dpo_loss(*pair, beta=asked["beta"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, asked["max_grad_norm"])
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    ended = time.process_time(), time.perf_counter()
    every = asked["logging_steps"]
    means = [
        statistics.fmean(losses[i : i + every]) for i in range(0, len(losses) - every + 1, every)
    ]
    return timed(began, ended, len(batches), means)


def encoded(tokenizer, messages: list[dict]) -> tuple[list[int], list[int]]:
    """Tokens of a conversation, and its labels: the last answer's tokens, -100 before."""
    prompt = encode_prompt(tokenizer, messages[:-1])
    tokens = encode(tokenizer, messages)[0]
    return tokens, [-100] * len(prompt) + tokens[len(prompt) :]


def log_probs(
    model, rows: list[tuple[list[int], list[int]]], pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the chosen answers and of the rejected ones, (pairs,) each; `rows` holds first the ones,
    then the others.
    """
    width = max(len(tokens) for tokens, _ in rows)
    ids = torch.tensor([tokens + [pad] * (width - len(tokens)) for tokens, _ in rows])
    labels = torch.tensor([marks + [-100] * (width - len(marks)) for _, marks in rows])
    mask = torch.arange(width) < torch.tensor([[len(tokens)] for tokens, _ in rows])
    logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits
    chosen, rejected = sequence_log_probs(logits, labels).chunk(2)
    return chosen, rejected


in_order = functools.partial(pass_of_ours, train_sampling_strategy="sequential")
two_rows = functools.partial(in_order, share_prompts=False)
PASSES: dict[str, Callable[[list[dict], Path], dict[str, Any]]] = {
    "ours": pass_of_ours,
    "trl": pass_of_trl,
    "bare": pass_of_bare,
    "in order": in_order,
    "two rows": two_rows,
    "long in order": in_order,
    "long two rows": two_rows,
}


def findings(measured: dict[str, list[dict]]) -> dict[str, Any]:
    """Ratios of medians, their range over single rounds, and how far apart the losses of the arms
    in one order lie.
    """
    figures: dict[str, Any] = {}
    for name in RATIOS:
        arms = name.split(" / ")
        for clock in ("cpu_ms", "wall_ms"):
            ours, theirs = ([one[clock] for one in measured[arm]] for arm in arms)
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            figures[f"{name}, {clock}"] = {
                "ratio": round(statistics.median(ours) / statistics.median(theirs), 3),
                "lowest_round": round(min(ratios), 3),
                "highest_round": round(max(ratios), 3),
            }
    for arm, other in (
        ("in order", "two rows"),
        ("ours", "two rows"),
        ("long in order", "long two rows"),
    ):
        ratio = measured[arm][0]["positions"] / measured[other][0]["positions"]
        figures[f"{arm} / {other}, positions"] = round(ratio, 3)
    for arm, other in (
        ("bare", "two rows"),
        ("in order", "two rows"),
        ("long in order", "long two rows"),
    ):
        alike = zip(measured[arm][0]["losses"], measured[other][0]["losses"], strict=True)
        figures[f"{arm}, {other}: largest difference of the losses"] = max(
            abs(a - b) for a, b in alike
        )
    return figures


def show(results: dict[str, Any], console: Console) -> None:
    """A table of milliseconds a step and the ratios beside their goals."""
    table = Table(
        "",
        "processor ms a step",
        "wall ms a step",
        title="one dDPO step, 16 pairs of the miniature",
    )
    for arm, passes in results["measured"].items():
        medians = (
            statistics.median(one[clock] for one in passes) for clock in ("cpu_ms", "wall_ms")
        )
        table.add_row(arm, *(f"{median:.1f}" for median in medians))
    console.print(table)
    for name in RATIOS:
        ratio, goal = results["findings"][f"{name}, cpu_ms"], GOALS.get(name)
        verdict = (
            f"; goal {goal}: {'reached' if ratio['ratio'] <= goal else 'missed'}" if goal else ""
        )
        spread = f"{ratio['lowest_round']:.2f} to {ratio['highest_round']:.2f} in single rounds"
        console.print(f"{name}: {ratio['ratio']:.2f} ({spread}){verdict}", highlight=False)
    for name, value in results["findings"].items():
        if not isinstance(value, dict):
            console.print(f"{name}: {value:.3g}", highlight=False)


if __name__ == "__main__":
    main()
