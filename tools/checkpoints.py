"""Train dDPO of the last run once more with its adapters kept, for the website's slider over a
training.

Usage: python tools/checkpoints.py [--scale miniature]

Makes ``runs/<scale>/05_ddpo_checkpoints`` from that run's dSFT model and pairs, or finds it made;
`live_models.py` packs it for the readers' browsers.
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
from zephyr_utils.pipeline.pipeline import DDPO, DSFT, PAIRS
from zephyr_utils.pipeline.steps.pairs import PAIRS_FILE
from zephyr_utils.recipes import Recipe
from zephyr_utils.scales import get_scale

FOLDER = "05_ddpo_checkpoints"
EVERY = 4  # a quarter of the development questions: a share of them is known to a few per cent


def _questions() -> list[MTBenchQuestion]:
    return cast("list[MTBenchQuestion]", development_questions()[::EVERY])


def inputs_of(run: Path) -> dict[str, str]:
    """What a run's checkpoints are made from, as their manifest has it.

    Raises:
        HandbookError: the run has no dDPO model.
    """
    made: dict[str, Any] = read_json(run / DDPO / MANIFEST)
    if not made:
        raise HandbookError("there is no dDPO model", where=str(run / DDPO), remedy="make run")
    return {**made["inputs"], "questions": fingerprint(_questions())}


def make_checkpoints(run: Path) -> Manifest:
    """The artefact, made if it is not there.

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
    try:
        made = make_checkpoints(runs_folder() / parser.parse_args().scale)
    except HandbookError as error:
        print(f"There are no checkpoints.\n{error}", file=sys.stderr)
        return 1
    print(f"{len(made.results['adapters'])} adapters of dDPO lie in {made.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
