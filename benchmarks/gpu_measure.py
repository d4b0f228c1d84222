"""The measurements of `gpu.py`: steps timed one by one, the card's matrix peak, equal losses."""

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gpu_setup import SHAPES, recipe, trainer

from zephyr_utils.planning.memory import Shape
from zephyr_utils.planning.operations import forward_flops, passes
from zephyr_utils.recipes import STAGES, Recipe, Stage

# stage and what: the two sides, ours with one thing changed, ours growing, and whether the losses
# are equal
MEASUREMENTS = (
    "matrix peak",
    "dsft peer",
    "dsft ours",
    "dsft flex",
    "dsft flash",
    "dsft compiled",
    "dsft equality",
    "ddpo peer",
    "ddpo ours",
    "ddpo two rows",
    "ddpo flex",
    "ddpo equality",
    *(f"dsft length x {times}" for times in (0.25, 0.5, 2)),
    *(f"dsft batch x {times}" for times in (0.5, 2, 4)),
    *(f"dsft rank x {times}" for times in (0.5, 4, 8)),
)
WARM_UP = 2  # steps that are not timed: kernels are chosen, memory is taken


@dataclass
class Clock:
    """Times steps and counts what went through the model in them."""

    seconds: float
    began: float = 0.0
    steps: int = 0
    # of the rows as both sides are given them, padding apart: a pair's prompt counts twice
    tokens: int = 0
    positions: int = 0
    filled: int = 0  # positions that are not padding
    rows: int = 0


def measure(shape_name: str, name: str, seconds: float) -> dict[str, Any]:
    """One measurement, in this process."""
    begins, _, what = name.partition(" ")
    shape, small = SHAPES[shape_name], shape_name == "small"
    with contextlib.redirect_stdout(io.StringIO()):  # standard output is for the result alone
        if name == "matrix peak":
            return _matrix_peak(shape, recipe("dsft", "ours", small)["dtype"])
        stage = next(one for one in STAGES if one == begins)
        if what == "equality":
            return _equality(shape, stage, small)
        if reason := _cannot(what):
            return {"left_out": reason}
        return _throughput(shape, stage, recipe(stage, what, small), seconds)


def _cannot(what: str) -> str | None:
    """Why a measurement cannot be made on this machine."""
    import torch
    from transformers.utils import is_flash_attn_2_available

    if what in ("flex", "flash", "compiled") and not torch.cuda.is_available():
        return "needs a GPU"
    if what == "flash" and not is_flash_attn_2_available():
        return "flash-attn is not installed"
    return None


def _throughput(shape: Shape, stage: Stage, asked: Recipe, seconds: float) -> dict[str, Any]:
    import torch
    from transformers import TrainerCallback

    from zephyr_utils.machine import peak_memory_mb

    clock = Clock(seconds)
    on_gpu = torch.cuda.is_available()

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == WARM_UP:
                _wait()
                clock.began = time.perf_counter()
                clock.tokens = clock.positions = clock.filled = clock.rows = 0
            elif state.global_step > WARM_UP:
                clock.steps = state.global_step - WARM_UP
                if time.perf_counter() - clock.began > clock.seconds:
                    control.should_training_stop = True

    with tempfile.TemporaryDirectory() as folder, _counted_shared_rows(clock):
        began = time.perf_counter()
        made = trainer(shape, stage, asked, folder, Watch())
        prepared = time.perf_counter() - began
        collate, shared = made.data_collator, getattr(made, "share_prompts", False)

        def counted(rows):
            batch = collate(rows)
            ids, mask = batch["input_ids"], batch.get("attention_mask")
            tokens = int(mask.sum()) if mask is not None else ids.numel()
            clock.tokens += tokens
            if not shared:
                clock.positions, clock.filled = clock.positions + ids.numel(), clock.filled + tokens
                clock.rows += len(ids)
            return batch

        made.data_collator = counted
        made.train()
        _wait()
        taken = time.perf_counter() - clock.began
    row = asked["max_length"] if asked.get("packing") else clock.positions / max(clock.rows, 1)
    flops = forward_flops(shape, round(row)) * passes(asked) * clock.positions
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_memory_mb() * 2**20
    return {
        "tokens_per_second": clock.tokens / taken,
        "positions_per_second": clock.positions / taken,
        "padding": 1 - clock.filled / clock.positions,
        "tflops": flops / taken / 1e12,
        "steps": clock.steps,
        "seconds": taken,
        "seconds_to_prepare": prepared,
        "load_of_the_machine": os.getloadavg()[0],
        "peak_memory_gb": peak / 1e9,
        "last_loss": [entry["loss"] for entry in made.state.log_history if "loss" in entry][-1],
        "recipe": {key: value for key, value in asked.items() if not isinstance(value, list)},
    }


@contextlib.contextmanager
def _counted_shared_rows(clock: Clock) -> Iterator[None]:
    """Count the rows in which prompts appear once as they are made."""
    from zephyr_utils.training import prefix_sharing

    make = prefix_sharing.share_prompts

    def counted(*arguments):
        made = make(*arguments)
        clock.positions += made.segments.numel()
        clock.filled += int((made.segments != prefix_sharing.PADDING).sum())
        clock.rows += len(made.segments)
        return made

    prefix_sharing.share_prompts = counted
    try:
        yield
    finally:
        prefix_sharing.share_prompts = make


def _matrix_peak(shape: Shape, dtype: str) -> dict[str, Any]:
    """The fastest of some products of the model's own matrices with many tokens: what the card can
    do at best.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    best = 0.0
    for tokens in (2048, 4096, 8192):
        for wide in (shape.hidden, shape.intermediate):
            left, right = (
                torch.randn(size, dtype=getattr(torch, dtype), device=device)
                for size in ((tokens, shape.hidden), (shape.hidden, wide))
            )
            operations, taken = 2 * tokens * shape.hidden * wide, []
            for _ in range(12):  # the first ones choose a kernel
                _wait()
                began = time.perf_counter()
                left @ right
                _wait()
                taken.append(time.perf_counter() - began)
            best = max(best, operations / sorted(taken)[len(taken) // 2])
    return {"tflops": best / 1e12, "dtype": dtype}


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _equality(shape: Shape, stage: Stage, small: bool) -> dict[str, Any]:
    """The first loss of the fast path against the plain one, on the same rows and the same weights,
    before any step.

    dSFT: packed rows against one row at a time, both weighted by tokens. dDPO: shared prompts and a
    precomputed reference against two rows and a live one, with an adapter that has been moved away
    from nothing, so that policy and reference differ.
    """
    import torch

    losses, batches = {}, {}
    for path in ("plain", "fast"):
        asked = recipe(stage, "ours", small) | {
            "per_device_train_batch_size": 1 if stage == "dsft" else 4,
            "lora_r": 8,
        }
        fast = path == "fast"
        # A large beta: margins that move the loss, or a difference would drown in its rounding.
        asked |= (
            {"packing": fast}
            if stage == "dsft"
            else {"precompute_ref_log_probs": fast, "beta": 1.0}
        )
        with tempfile.TemporaryDirectory() as folder:
            made = trainer(shape, stage, asked, folder, rows=16, shorter=4)
            torch.manual_seed(1)
            for name, weight in made.model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight, std=0.02)
            losses[path], batches[path] = _mean_loss(made, stage)
    if stage == "dsft" and not batches["fast"] < batches["plain"]:
        raise RuntimeError("nothing was packed: the comparison would prove nothing")
    difference = abs(losses["fast"] / losses["plain"] - 1)
    return {
        **losses,
        "relative_difference": difference,
        "batches": batches,
        "dtype": asked["dtype"],
    }


def _mean_loss(trainer, stage: str) -> tuple[float, int]:
    """Over all rows, and in how many batches: weighted by the tokens that count in dSFT, a mean
    over pairs in dDPO.
    """
    import torch

    total, weight, batches = 0.0, 0, 0
    trainer.model.eval()
    with torch.no_grad():
        for batch in trainer.get_train_dataloader():
            batch = trainer._prepare_inputs(batch)
            # A row's first token is predicted by nothing; a packed row has as many firsts as
            # dialogues.
            firsts = (
                int((batch["position_ids"] == 0).sum())
                if "position_ids" in batch
                else len(batch["input_ids"])
            )
            rows = (
                int((batch["labels"] != -100).sum())
                if stage == "dsft" and "labels" in batch
                else len(batch["input_ids"])
            )
            rows -= firsts if stage == "dsft" and "position_ids" not in batch else 0
            total += float(trainer.compute_loss(trainer.model, batch)) * rows
            weight, batches = weight + rows, batches + 1
    return total / weight, batches


if __name__ == "__main__":
    sys.exit("start gpu.py")
