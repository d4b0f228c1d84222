"""Draw the answers of the last run's dSFT model that the website's best of n is chosen from.

Usage: python tools/best_of_n.py [--scale miniature]

Makes ``runs/<scale>/10_best_of_n`` from that run's dSFT model and the reward model of chapter 10,
or finds it made. A run whose chapter 10 was not executed has no reward model, and gets none.
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
from zephyr_utils.pipeline.pipeline import DSFT
from zephyr_utils.scales import get_scale
from zephyr_utils.training import MODEL

FOLDER = "10_best_of_n"
REWARD_MODEL = "10_reward_models/regular"  # chapter 10's, on all pairs
QUESTIONS = 48
SEED = 0


def _questions() -> list[MTBenchQuestion]:
    every = development_questions()
    return cast("list[MTBenchQuestion]", every[:: len(every) // QUESTIONS][:QUESTIONS])


def inputs_of(run: Path) -> dict[str, str]:
    """What the answers of a run are made from, as their manifest has it.

    Raises:
        HandbookError: the run has no dSFT model, or no reward model that rests on it.
    """
    start: dict[str, Any] = read_json(run / DSFT / MANIFEST)
    rewards: dict[str, Any] = read_json(run / REWARD_MODEL / MANIFEST)
    if not start or not rewards or rewards["inputs"]["start"] != start["key"]:
        raise HandbookError(
            "there is no reward model of this run's dSFT model",
            where=str(run / REWARD_MODEL),
            remedy="run chapter 10: zephyr run --chapters 10",
        )
    return {
        "start": start["key"],
        "reward_model": rewards["key"],
        "questions": fingerprint(_questions()),
    }


def make_answers(run: Path) -> Manifest:
    """The artefact, made if it is not there.

    Args:
        run: ``runs/<scale>``, of a scale whose judge grades the miniature's questions.
    """
    from zephyr_utils.pipeline.steps.best_of_n import SAMPLES, draw_and_score

    exam = get_scale(run.name).exam
    recipe = {"seed": SEED, "samples": SAMPLES, "max_new_tokens": exam.max_new_tokens}
    return build_artefact(
        run / FOLDER,
        inputs=inputs_of(run),
        recipe=recipe,
        make=partial(
            draw_and_score,
            start=run / DSFT / MODEL,
            reward_model=run / REWARD_MODEL / MODEL,
            questions=_questions(),
            judge=exam.judge(),
            max_new_tokens=exam.max_new_tokens,
            seed=SEED,
        ),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="miniature", help="whose last run (default: miniature)")
    try:
        made = make_answers(runs_folder() / parser.parse_args().scale)
    except HandbookError as error:
        print(f"There are no answers to choose from.\n{error}", file=sys.stderr)
        return 1
    print(f"Answers to {len(made.results['questions'])} questions are in {made.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
