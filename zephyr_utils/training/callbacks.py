"""What watches a training while it runs: one line of progress, and a guard that stops a run gone
wrong.
"""

import math
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from zephyr_utils.errors import HandbookError
from zephyr_utils.training.save import save_adapter

MEASURED_STEPS = 3  # after one to warm up
LONG = 60.0  # seconds that are left: a shorter run needs no estimate


class ProgressLine(TrainerCallback):
    """A bar in a terminal, one line that rewrites itself in a notebook, nothing in a pipe but a
    long run's estimate.

    The estimate comes after `MEASURED_STEPS` steps, on stderr: measured where `zephyr plan` has to
    assume.

    Args:
        what: the words before the bar, such as "dSFT".
    """

    def __init__(self, what: str) -> None:
        self.what, self.bar, self.task, self.handle = what, None, None, None

    def on_train_begin(self, args, state, control, **_):
        self.started, self.first_step = time.monotonic(), state.global_step
        self.warm, self.last_log = self.started, (self.started, None)
        if not state.is_world_process_zero:  # of several processes one tells
            return
        if sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[loss]}"),
            )
            self.bar = Progress(
                *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
            )
            self.task = self.bar.add_task(self.what, total=state.max_steps, loss="")
            self.bar.start()
        elif "ipykernel" in sys.modules:
            from IPython.display import display

            self.handle = display(f"{self.what}: starting", display_id=True)

    def on_step_end(self, args, state, control, **_):
        done = state.global_step - self.first_step
        if done == 1:
            self.warm = time.monotonic()
        if done != 1 + MEASURED_STEPS or not state.is_world_process_zero:
            return
        pace = (time.monotonic() - self.warm) / MEASURED_STEPS
        left = pace * (state.max_steps - state.global_step)
        if left > LONG:
            told = f"{left / 3600:.1f} hours" if left > 5400 else f"{left / 60:.0f} minutes"
            steps = f"{MEASURED_STEPS} steps took {pace:.2g} s each"
            self._say(
                f"{self.what}: {steps}; the {state.max_steps - state.global_step:,} left, about "
                f"{told}"
            )

    def _say(self, line: str) -> None:
        if self.bar:
            self.bar.console.print(line)
        elif self.handle:
            self.handle.update(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def _pace(self, logs: dict) -> str:
        """Tokens a second since the last log, by TRL's count over all processes."""
        (then, before), now, tokens = self.last_log, time.monotonic(), logs.get("num_tokens")
        self.last_log = (now, tokens)
        return (
            ""
            if tokens is None or before is None
            else f", {(tokens - before) / (now - then):,.0f} tokens/s"
        )

    def on_log(self, args, state, control, logs=None, **_):
        if "loss" not in (logs or {}):
            return
        shown = f"loss {logs['loss']:.3f}{self._pace(logs)}"
        if self.bar:
            self.bar.update(self.task, completed=state.global_step, loss=shown)
        elif self.handle:
            pace = (time.monotonic() - self.started) / max(state.global_step - self.first_step, 1)
            left = pace * (state.max_steps - state.global_step)
            self.handle.update(
                f"{self.what}: step {state.global_step} of {state.max_steps}, {shown}, {left:.0f} "
                f"s left"
            )

    def on_train_end(self, args, state, control, **_):
        seconds = time.monotonic() - self.started
        if self.bar:
            self.bar.stop()
        elif self.handle:
            self.handle.update(f"{self.what}: {state.max_steps} steps in {seconds:.0f} s")


class StopOnDivergence(TrainerCallback):
    """Stop on a loss that is not a number, or exactly zero: hours of training would not mend it."""

    def on_log(self, args, state, control, logs=None, **_):
        loss = (logs or {}).get("loss")
        if loss is None or (math.isfinite(loss) and loss != 0.0):
            return
        raise HandbookError(
            f"the loss is {loss} at step {state.global_step}",
            where=str(args.output_dir),
            remedy="lower learning_rate; on a card without bfloat16 use float32 weights for the "
            "adapter, not float16; "
            "and look whether any token of the rows counts in the loss",
        )


class SaveEachEpoch(TrainerCallback):
    """Leave the adapter as it is after each epoch in ``epoch_1/``, ``epoch_2/``, ... of `output`."""

    def __init__(self, output: Path) -> None:
        self.output = output

    def on_epoch_end(self, args, state, control, model=None, **_):
        save_adapter(
            model, self.output / f"epoch_{round(state.epoch)}", state.is_world_process_zero
        )
