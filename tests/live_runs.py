"""A run whose models a page shows: a tiny base model, adapters, checkpoints and held-out pairs."""

from pathlib import Path

import checkpoints
import live_models
import pytest
from browser_models import measured_at, right_answers_at, save_adapter
from tiny import save_base, tiny_model

from zephyr_utils import scales
from zephyr_utils.data.records import save_records
from zephyr_utils.files import write_json
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.pipeline.steps.kept import KEPT_ADAPTERS


def save_run_of_models(folder: Path) -> Path:
    """A run of a scale whose base model is a tiny one."""
    run = folder / "tiny"
    save_base(folder / "base")
    save_adapter(tiny_model(), run / "02_dsft" / "adapter", 1)
    save_adapter(tiny_model(), run / "05_ddpo" / "adapter", 2)
    write_json(
        run / "02_dsft" / "manifest.json",
        {"key": "dsft", "inputs": {"base_model": fingerprint(folder / "base")}},
    )
    write_json(run / "06_reward_margins" / "manifest.json", {"recipe": {"beta": 0.1}})
    write_json(run / "05_ddpo" / "manifest.json", {"key": "ddpo", "inputs": {"start": "1"}})
    points = [{**point, "loss": 1.0} for point in right_answers_at([0, 1, 2])]
    measured = {
        "02_dsft": {"points": points, "rows_held_out": 264, "answers": 200},
        "05_ddpo": measured_at([0, 1, 2], [2.0]),
    }
    for stage, results in measured.items():
        kept = run / stage / KEPT_ADAPTERS
        save_adapter(tiny_model(), kept / "step_1", 3)
        save_adapter(tiny_model(), kept / "step_2", 4)
        manifest = {"inputs": checkpoints.inputs_of(run, stage), "results": results}
        write_json(run / checkpoints.MEASURED[stage] / "manifest.json", manifest)
    asked = {"role": "user", "content": "<b>Which</b> city?"}
    pairs = [
        {
            "prompt": asked["content"],
            "prompt_id": str(n),
            "chosen": [asked, {"role": "assistant", "content": f"Paris {n}."}],
            "rejected": [asked, {"role": "assistant", "content": f"</script> {n}"}],
            "score_chosen": 9.0,
            "score_rejected": 2.0,
        }
        for n in range(30)
    ]
    save_records(pairs, run / "06_reward_margins" / "held_out.parquet")
    return run


def know_scale(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run's folder be that of a scale, with the base model beside it."""
    scale = scales.get_scale("miniature")
    tiny = type(scale)(**{**vars(scale), "name": "tiny", "base_model": run.parent / "base"})
    monkeypatch.setitem(scales.SCALES, "tiny", tiny)
    monkeypatch.setattr(live_models, "ROUNDING_TEXTS", 2)
