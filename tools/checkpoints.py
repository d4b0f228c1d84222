"""The checkpoints of the last run's dSFT and dDPO, for the website's sliders over a training.

Usage: python tools/checkpoints.py [--scale miniature]

Measures the adapters that dSFT kept, in ``runs/<scale>/02_dsft_checkpoints``; trains dDPO once more
from that run's dSFT model and pairs, with its adapters kept, in
``runs/<scale>/05_ddpo_checkpoints``; or finds either made. `live_models.py` packs them for the
readers' browsers.
"""

import argparse
import sys
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
from zephyr_utils.pipeline.steps.dsft import KEPT_ADAPTERS
from zephyr_utils.pipeline.steps.pairs import PAIRS_FILE
from zephyr_utils.pipeline.steps.truecase import DIALOGUES
from zephyr_utils.recipes import Recipe
from zephyr_utils.scales import get_scale

FOLDER, DSFT_FOLDER = "05_ddpo_checkpoints", "02_dsft_checkpoints"
EVERY = 4  # a quarter of the development questions: a share of them is known to a few per cent


def _questions() -> list[MTBenchQuestion]:
    return cast("list[MTBenchQuestion]", development_questions()[::EVERY])


def inputs_of(run: Path) -> dict[str, str]:
    """What the checkpoints of a run's dDPO are made from, as their manifest has it.

    Raises:
        HandbookError: the run has no dDPO model.
    """
    return {**_made(run, DDPO)["inputs"], "questions": fingerprint(_questions())}


def dsft_inputs_of(run: Path) -> dict[str, str]:
    """The same for the checkpoints of dSFT.

    Raises:
        HandbookError: the run has no dSFT model.
    """
    return {"dsft": _made(run, DSFT)["key"], "questions": fingerprint(_questions())}


def _made(run: Path, step: str) -> dict[str, Any]:
    made: dict[str, Any] = read_json(run / step / MANIFEST)
    if not made:
        raise HandbookError("there is no such model yet", where=str(run / step), remedy="make run")
    return made


def kept_adapters(run: Path) -> dict[int, Path]:
    """Step -> adapter, of those that a run's dSFT kept, in the order of the training."""
    folders = (run / DSFT / KEPT_ADAPTERS).glob("step_*")
    return dict(sorted((int(folder.name.removeprefix("step_")), folder) for folder in folders))


def make_dsft_checkpoints(run: Path) -> Manifest:
    """What was measured of dSFT's adapters, measured if it was not.

    Args:
        run: ``runs/<scale>``, of a scale whose judge grades the miniature's questions.

    Raises:
        HandbookError: the run has no dSFT model, or one that kept no adapters.
    """
    from zephyr_utils.pipeline.steps.dsft_checkpoints import measure_dsft_checkpoints

    inputs, adapters, scale = dsft_inputs_of(run), kept_adapters(run), get_scale(run.name)
    if not adapters:
        where = str(run / DSFT / KEPT_ADAPTERS)
        raise HandbookError("dSFT kept no adapters", where=where, remedy="train again: make run")
    return build_artefact(
        run / DSFT_FOLDER,
        inputs=inputs,
        recipe={},
        make=partial(
            measure_dsft_checkpoints,
            base_model=str(scale.base_model),
            adapters=adapters,
            dialogues=run / TRUECASING / DIALOGUES,
            max_length=_made(run, DSFT)["recipe"]["max_length"],
            questions=_questions(),
            judge=scale.exam.judge(),
            max_new_tokens=scale.exam.max_new_tokens,
        ),
    )


def make_checkpoints(run: Path) -> Manifest:
    """The checkpoints of dDPO, made if they are not there.

    Args:
        run: ``runs/<scale>``, of a scale whose judge grades the miniature's questions.
    """
    from zephyr_utils.pipeline.steps.checkpoints import train_checkpoints

    inputs = inputs_of(run)
    scale = get_scale(run.name)
    recipe = read_json(run / DDPO / MANIFEST)["recipe"]
    ties = read_json(run / PAIRS / MANIFEST)["recipe"]["ties"]
    return build_artefact(
        run / FOLDER,
        inputs=inputs,
        recipe=recipe,
        make=partial(
            train_checkpoints,
            base_model=str(scale.base_model),
            start=run / DSFT / "model",
            pairs=run / PAIRS / PAIRS_FILE,
            ties=ties,
            recipe=Recipe("ddpo", recipe),
            reference_folder=run / "reference",
            questions=_questions(),
            judge=scale.exam.judge(),
            max_new_tokens=scale.exam.max_new_tokens,
        ),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="miniature", help="whose last run (default: miniature)")
    run = runs_folder() / parser.parse_args().scale
    try:
        measured, made = make_dsft_checkpoints(run), make_checkpoints(run)
    except HandbookError as error:
        print(f"There are no checkpoints.\n{error}", file=sys.stderr)
        return 1
    print(f"{len(kept_adapters(run))} adapters of dSFT are measured in {measured.folder}")
    print(f"{len(made.results['adapters'])} adapters of dDPO lie in {made.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
