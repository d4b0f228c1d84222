"""The checkpoints of the last run's dSFT and dDPO, for the website's sliders over a training.

Usage: python tools/checkpoints.py [--scale miniature]

Measures the adapters that the two trainings kept, in ``runs/<scale>/02_dsft_checkpoints`` and
``runs/<scale>/05_ddpo_checkpoints``, or finds them measured. `live_models.py` packs the adapters
for the readers' browsers.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.files import read_json
from zephyr_utils.miniature.data import development_questions
from zephyr_utils.pipeline.artefacts import (
    MANIFEST,
    Manifest,
    build_artefact,
    fingerprint,
    runs_folder,
)
from zephyr_utils.pipeline.pipeline import DDPO, DSFT, PAIRS, TRUECASING
from zephyr_utils.pipeline.steps.kept import KEPT_ADAPTERS
from zephyr_utils.pipeline.steps.pairs import PAIRS_FILE
from zephyr_utils.pipeline.steps.truecase import DIALOGUES
from zephyr_utils.scales import get_scale

# folder of a trained model -> folder of what was measured of its checkpoints
MEASURED = {DSFT: f"{DSFT}_checkpoints", DDPO: f"{DDPO}_checkpoints"}
EVERY = 4  # a quarter of the development questions: a share of them is known to a few per cent


def _questions() -> list[MTBenchQuestion]:
    return cast("list[MTBenchQuestion]", development_questions()[::EVERY])


def inputs_of(run: Path, stage: str) -> dict[str, str]:
    """What the checkpoints of a run's dSFT or dDPO are measured from, as their manifest has it.

    Args:
        run: ``runs/<scale>``.
        stage: folder of the trained model, `DSFT` or `DDPO`.

    Raises:
        HandbookError: the run has no such model.
    """
    return {"model": _made(run, stage)["key"], "questions": fingerprint(_questions())}


def _made(run: Path, step: str) -> dict[str, Any]:
    made: dict[str, Any] = read_json(run / step / MANIFEST)
    if not made:
        raise HandbookError("there is no such model yet", where=str(run / step), remedy="make run")
    return made


def kept_adapters(run: Path, stage: str) -> dict[int, Path]:
    """Step -> adapter, of those that a run's dSFT or dDPO kept, in the order of the training."""
    folders = (run / stage / KEPT_ADAPTERS).glob("step_*")
    return dict(sorted((int(folder.name.removeprefix("step_")), folder) for folder in folders))


def measure_checkpoints(run: Path, stage: str) -> Manifest:
    """What was measured of a training's adapters, measured if it was not.

    Args:
        run: ``runs/<scale>``, of a scale whose judge grades the miniature's questions.
        stage: folder of the trained model, `DSFT` or `DDPO`.

    Raises:
        HandbookError: the run has no such model, or one that kept no adapters.
    """
    inputs, adapters, scale = inputs_of(run, stage), kept_adapters(run, stage), get_scale(run.name)
    if not adapters:
        where = str(run / stage / KEPT_ADAPTERS)
        raise HandbookError("no adapters were kept", where=where, remedy="train again: make run")
    return build_artefact(
        run / MEASURED[stage],
        inputs=inputs,
        recipe={},
        make=partial(
            _measure_of(run, stage),
            base_model=str(scale.base_model),
            adapters=adapters,
            questions=_questions(),
            judge=scale.exam.judge(),
            max_new_tokens=scale.exam.max_new_tokens,
        ),
    )


def _measure_of(run: Path, stage: str) -> Callable[..., dict[str, Any]]:
    """What measures the checkpoints of a stage, with the records that it needs for that."""
    from zephyr_utils.pipeline.steps.ddpo_checkpoints import measure_ddpo_checkpoints
    from zephyr_utils.pipeline.steps.dsft_checkpoints import measure_dsft_checkpoints

    recipe = _made(run, stage)["recipe"]
    if stage == DSFT:
        dialogues, longest = run / TRUECASING / DIALOGUES, recipe["max_length"]
        return partial(measure_dsft_checkpoints, dialogues=dialogues, max_length=longest)
    return partial(
        measure_ddpo_checkpoints,
        start=run / DSFT / "model",
        pairs=run / PAIRS / PAIRS_FILE,
        ties=_made(run, PAIRS)["recipe"]["ties"],
        recipe=recipe,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="miniature", help="whose last run (default: miniature)")
    run = runs_folder() / parser.parse_args().scale
    try:
        measured = {stage: measure_checkpoints(run, stage) for stage in MEASURED}
    except HandbookError as error:
        print(f"There are no checkpoints.\n{error}", file=sys.stderr)
        return 1
    for stage, made in measured.items():
        print(f"{len(kept_adapters(run, stage))} adapters of {stage} are measured in {made.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
