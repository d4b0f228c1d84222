"""Two processes train what one trains: the same losses, the same weights, written once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import warm
from safetensors.torch import load_file
from transformers.integrations import deepspeed as hf_deepspeed

from zephyr_utils.pipeline.artefacts import Manifest, build_artefact
from zephyr_utils.training.distributed import even_batches, load_unsharded

pytestmark = pytest.mark.slow
TRAIN = """
import sys
from pathlib import Path
from zephyr_utils.training import stages
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.preferences import binarize
from zephyr_utils.data.schema import check_dialogue
from zephyr_utils.scales import get_scale

short = {"per_device_train_batch_size": 8, "max_steps": 4, "logging_steps": 1, "save_steps": 100}
rows = [check_dialogue(row) for row in data.dialogues(48)]
# Dialogues of one length, so that each process holds as many tokens: DDP averages gradients over
# processes, not tokens.
recipe = get_scale("miniature").recipe("dsft", train_sampling_strategy="sequential", **short)
output = Path(sys.argv[1])
stages.dsft(BASE_FOLDER, rows[:32], rows[32:], output / "dsft", recipe)
# Of equal answers the rewards are equal, and rounding decides who wins.
pairs = [p for p in binarize(data.feedback(70)).pairs if p["chosen"] != p["rejected"]]
recipe = get_scale("miniature").recipe("ddpo", **short, eval_steps=1)
# 22: no batches of 32 that two processes could share without taking rows twice.
stages.ddpo(BASE_FOLDER, pairs[:32], output / "ddpo", recipe, held_out=pairs[32:54])
"""
RESUMED = """
import os, sys
from pathlib import Path
from zephyr_utils.training import stages
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.preferences import binarize
from zephyr_utils.scales import get_scale

if not (Path(sys.argv[1]) / "checkpoints").exists():  # the first start dies at step 3
    def die(self, args, state, control, **_):
        if state.global_step == 3:
            os._exit(9)

    stages.StopOnDivergence.on_log = die
short = {"per_device_train_batch_size": 8, "max_steps": 4, "logging_steps": 1, "save_steps": 2}
pairs = [p for p in binarize(data.feedback(70)).pairs if p["chosen"] != p["rejected"]][:32]
stages.ddpo(BASE_FOLDER, pairs, Path(sys.argv[1]), get_scale("miniature").recipe("ddpo", **short))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[int, tuple[Path, str]]:
    """Number of processes -> what they left, and what they said; both stages in one start, two
    processes by ``torchrun``.
    """
    one, two = (tmp_path_factory.mktemp(f"by_{processes}") for processes in (1, 2))
    alone = warm.run(TRAIN, one)
    (two / "train.py").write_text(TRAIN)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    together = subprocess.run(
        [sys.executable, *launcher, str(two / "train.py"), str(two)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **warm.ENVIRONMENT},
    )
    assert together.returncode == 0, together.stderr[-3000:]
    return {1: (one, alone.stderr), 2: (two, together.stderr)}


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in json.loads((folder / "log.json").read_text()) if "loss" in row]


@pytest.mark.parametrize("stage", ["dsft", "ddpo"])
def test_two_processes_give_the_losses_and_the_weights_of_one(stage, trained):
    (one, said_by_one), (two, said) = trained[1], trained[2]
    alone, together = losses(one / stage), losses(two / stage)
    assert len(alone) == 4 and alone[0] != alone[-1], "nothing was trained"
    assert together == pytest.approx(alone, abs=1e-5)
    weights, same = (
        load_file(folder / stage / "model" / "model.safetensors") for folder in (one, two)
    )
    for name, tensor in weights.items():
        assert torch.allclose(same[name], tensor, rtol=0, atol=2e-4), name
    assert "2 processes x 4 rows x 1 micro-batches = 8 rows per step" in said
    assert "Effective batch" not in said_by_one
    assert not (two / stage / "checkpoints").exists()


def test_metrics_of_an_evaluation_are_of_all_rows_and_not_of_the_first_processs_share(trained):
    logs = [
        json.loads((folder / "ddpo" / "log.json").read_text()) for folder, _ in trained.values()
    ]
    alone, together = ([row for row in log if "eval_loss" in row] for log in logs)
    assert len(alone) == len(together) >= 3 and alone[0] != alone[-1]
    for one, two in zip(alone, together, strict=True):
        for name in (
            "loss",
            "rewards/margins",
            "rewards/accuracies",
            "logps/chosen",
            "logps/rejected",
            "entropy",
        ):
            assert two[f"eval_{name}"] == pytest.approx(one[f"eval_{name}"], abs=1e-4), name


def test_a_training_of_two_processes_that_died_goes_on_to_the_same_weights(trained, tmp_path):
    output = tmp_path / "resumed"
    died = warm.run_together(RESUMED, output)
    assert 9 in [process.poll() for process in died], "it was to die"
    assert (output / "checkpoints" / "checkpoint-2").exists() and not (output / "model").exists()
    for process in warm.run_together(RESUMED, output):
        assert process.poll() == 0, process.stderr[-3000:]
    straight = load_file(trained[2][0] / "ddpo" / "model" / "model.safetensors")
    for name, tensor in load_file(output / "model" / "model.safetensors").items():
        assert tensor.equal(straight[name]), name


@pytest.mark.parametrize(
    ("rows", "together", "expected"),
    [
        (256, 1, (256, 32)),
        (256, 8, (256, 32)),
        (78, 1, (78, 26)),
        (79, 2, (78, 13)),
        (37, 1, (37, 1)),
        (0, 2, (0, 32)),
        (1, 2, (0, 32)),
    ],
)
def test_an_evaluation_counts_every_row_once_and_alike(rows, together, expected):
    count, at_once = even_batches(rows, together, most=32)
    assert (count, at_once) == expected
    assert count % (at_once * together) == 0 and rows - count < together


def test_a_model_loaded_whole_is_loaded_as_if_nothing_were_spread_and_then_all_is_as_before():
    class Config:
        def is_zero3(self) -> bool:
            return True

    config = Config()
    hf_deepspeed.set_hf_deepspeed_config(config)
    try:
        with pytest.raises(ZeroDivisionError), load_unsharded():
            assert hf_deepspeed._hf_deepspeed_config_weak_ref is None
            raise ZeroDivisionError
        assert hf_deepspeed._hf_deepspeed_config_weak_ref() is config
    finally:
        hf_deepspeed.unset_hf_deepspeed_config()
    with load_unsharded():
        pass
    assert hf_deepspeed._hf_deepspeed_config_weak_ref is None


def build(folder: Path, calls: list[str], together: bool) -> Manifest:
    def make(folder: Path) -> dict:
        calls.append(os.environ.get("RANK", "0"))
        return {}

    return build_artefact(folder, inputs={}, recipe={}, make=make, together=together)


@pytest.mark.parametrize("together", [False, True])
def test_a_further_process_reuses_what_the_first_has_made(together, tmp_path, monkeypatch):
    calls: list[str] = []
    first = build(tmp_path / "a", calls, together)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    second = build(tmp_path / "a", calls, together)
    assert (second.key, second.reused, calls) == (first.key, True, ["0"])


ALONG = """
import sys, time
from pathlib import Path
from zephyr_utils.training.distributed import even_batches, load_unsharded
from zephyr_utils.pipeline.artefacts import build_artefact

def make(folder):
    # each process waits for the other: a training's gradients do the same
    (folder / sys.argv[2]).write_text("here")
    while not {"first", "second"} <= {path.name for path in folder.iterdir()}:
        time.sleep(0.05)
    return {"rows_in": 3, "rows_out": 3, "rows_set_aside": 0}

made = build_artefact(Path(sys.argv[1]), inputs={}, recipe={}, make=make, together=True)
print(made.key, made.reused)
"""


def test_a_training_is_made_by_all_processes_at_once_and_written_by_the_first(tmp_path):
    started = [
        warm.Process(
            ALONG, tmp_path / "a", name, environment={"WORLD_SIZE": "2", "RANK": str(rank)}
        )
        for rank, name in ((1, "second"), (0, "first"))
    ]
    assert [process.wait() for process in started] == [0, 0]
    said = [process.stdout.split() for process in started]
    assert said[0][0] == said[1][0] and said[1][1] == "False"
    assert (tmp_path / "a" / "manifest.json").exists()
