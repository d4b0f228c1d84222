"""The first twenty steps of dSFT and of dDPO, step by step: what a new version of a library must
not change unseen.

python tests/trajectory.py    # rewrites tests/expected/trajectory.json; say in the commit why it
moved
"""

import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")

import torch

from zephyr_utils.data.schema import check_dialogue
from zephyr_utils.machine import environment_stamp
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.preferences import binarize
from zephyr_utils.scales import get_scale
from zephyr_utils.training import stages

EXPECTED = Path(__file__).parent / "expected" / "trajectory.json"
LOGGED = {
    "dsft": ("loss", "grad_norm"),
    "ddpo": ("loss", "grad_norm", "rewards/margins", "logps/chosen", "logps/rejected"),
}


def first_steps(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Stage -> what is logged at each of twenty steps; the second stage starts from the model of
    the first.
    """
    short = {"max_steps": 20, "logging_steps": 1, "save_strategy": "no"}
    recipes = {stage: get_scale("miniature").recipe(stage, **short) for stage in LOGGED}
    rows = [check_dialogue(row) for row in data.dialogues(330)]
    sft = stages.dsft(BASE_FOLDER, rows[:320], rows[320:], folder / "dsft", recipes["dsft"])
    pairs = binarize(data.feedback(420)).pairs[:320]
    assert len(pairs) == 320
    logs = {
        "dsft": sft.log,
        "ddpo": stages.ddpo(sft.model, pairs, folder / "ddpo", recipes["ddpo"]).log,
    }
    return {
        stage: [{key: row[key] for key in LOGGED[stage]} for row in log if "loss" in row]
        for stage, log in logs.items()
    }


def mean_residual(
    expected: list[dict[str, float]], taken: list[dict[str, float]], what: str
) -> float:
    """The mean over all steps of what one series has more than the other.

    After the zero-mean check of TRL's tests/invariant: rounding errs to both sides, a fault to one.
    """
    return statistics.fmean(b[what] - a[what] for a, b in zip(expected, taken, strict=True))


def main() -> None:
    """Write what this environment gives."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        steps: dict[str, Any] = {"environment": environment_stamp(), **first_steps(Path(folder))}
    EXPECTED.write_text(json.dumps(steps, indent=1) + "\n")


if __name__ == "__main__":
    main()
