"""Real logs of short dDPO runs, each with one fault that was planted, and of a healthy one.

``benchmarks/broken_runs.py`` made them: the miniature, 40 steps of 8 pairs, held-out pairs
measured before the first and after every tenth. They come with the package, so that nothing has to
be trained to read them.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from zephyr_utils.errors import HandbookError

FOLDER = Path(str(resources.files("zephyr_utils.diagnostics"))) / "broken_logs"
RUN_BETA, RUN_RATE = 0.1, 4e-4  # beta and learning rate that all of them were meant to use
# What is wrong, by the name of the fault.
FAULTS = {
    "healthy": "nothing is wrong",
    "reference": "the reference is another model than the start",
    "beta": "beta is off by a factor of 100",
    "mask": "the prompt counts as part of both answers",
    "bos": "the policy reads the beginning-of-sequence token twice, the reference not at all",
    "half precision": "weights and optimiser are in float16",
    "swapped": "chosen and rejected are swapped in the training pairs",
    "learning rate": "the learning rate is far too high",
    "template": "the chat template is another model's, for policy and reference alike",
}
# The names under which a reader meets the runs, which give nothing away.
LETTERS = {
    "A": "swapped",
    "B": "half precision",
    "C": "learning rate",
    "D": "bos",
    "E": "beta",
    "F": "reference",
    "G": "template",
    "H": "healthy",
    "I": "mask",
}


def log_path(fault: str) -> Path:
    """Where the log of a run is: JSON Lines, one logged row each."""
    return FOLDER / f"{fault.replace(' ', '_')}.jsonl"


def broken_run(letter: str) -> list[dict[str, Any]]:
    """The rows that a run logged, in their order: TRL's column names, None where it logged NaN.

    Args:
        letter: one of `LETTERS`, A to I.

    Raises:
        HandbookError: there is no such run.
    """
    if letter not in LETTERS:
        raise HandbookError(
            "there is no run of that name",
            where=repr(letter),
            remedy=f"choose one of {', '.join(LETTERS)}",
        )
    text = log_path(LETTERS[letter]).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
