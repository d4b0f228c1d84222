"""What watches a training while it runs: its progress, and a guard that stops a run gone wrong."""

import math
import time
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from zephyr_utils.errors import HandbookError
from zephyr_utils.training.progress import ProgressReport
from zephyr_utils.training.save import save_adapter

# The mean reward margin from which a loss of preference pairs can be 0: the hinge's, the first.
ZERO_LOSS_MARGIN = 1.0


class ProgressLine(TrainerCallback):
    """Steps, loss, tokens per second and time left, as `ProgressReport` shows them.

    Args:
        what: the words before the figures, such as "dSFT".
    """

    def __init__(self, what: str) -> None:
        self.what, self.note = what, ""
        self.report: ProgressReport | None = None
        self.last_log: tuple[float, float | None] = (0.0, None)  # seconds, tokens until then

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        self.last_log = (time.monotonic(), None)
        self.report = ProgressReport(
            self.what,
            state.max_steps,
            "steps",
            done=state.global_step,
            silent=not state.is_world_process_zero,
        )
        self.report.start()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        if self.report:
            self.report.update(state.global_step, self.note)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.note = f"loss {logs['loss']:.3f}{self._pace(logs)}"
            if self.report:
                self.report.update(state.global_step, self.note)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        if self.report:
            self.report.finish()

    def _pace(self, logs: dict[str, float]) -> str:
        """Tokens per second since the last log, by TRL's count over all processes."""
        (then, before), now, tokens = self.last_log, time.monotonic(), logs.get("num_tokens")
        self.last_log = (now, tokens)
        if tokens is None or before is None or now <= then:
            return ""
        return f", {(tokens - before) / (now - then):,.0f} tokens/s"


class StopOnDivergence(TrainerCallback):
    """Stop on a loss that is not a number, or is zero without the margins that make it so: more
    hours would not repair it.
    """

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        loss, margin = ((logs or {}).get(name) for name in ("loss", "rewards/margins"))
        may_be_zero = margin is not None and margin >= ZERO_LOSS_MARGIN
        if loss is None or (math.isfinite(loss) and (loss != 0.0 or may_be_zero)):
            return
        raise HandbookError(
            f"the loss is {loss} at step {state.global_step}",
            where=str(args.output_dir),
            remedy="lower learning_rate; on a card without bfloat16 use float32 weights for the "
            "adapter, not float16; and look whether any token of the rows counts in the loss",
        )


class SaveEachEpoch(TrainerCallback):
    """Leave the adapter as it is after each epoch in ``epoch_1/``, ... of `output`; without an
    adapter the whole model.
    """

    def __init__(self, output: Path) -> None:
        self.output = output

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        folder = self.output / f"epoch_{round(state.epoch or 0)}"
        if isinstance(model, PeftModel):
            save_adapter(model, folder, state.is_world_process_zero)
        elif state.is_world_process_zero:
            model.save_pretrained(folder)
            processing_class.save_pretrained(folder)
