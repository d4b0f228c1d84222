"""The repository's own results in ``benchmarks/results/claims.json``, and whether they are still of
this code's models, records and recipes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zephyr_utils.ablations.catalogue import ABLATIONS, recipe_of
from zephyr_utils.ablations.claims import Measured
from zephyr_utils.files import read_json
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.recipes import STAGES


def provenance() -> dict[str, str]:
    """Fingerprints of what the claims rest on: base model, records and recipes of the default
    scale.
    """
    pipeline = Pipeline()
    recipes: dict[str, Any] = {stage: pipeline.recipe(stage) for stage in STAGES}
    rows = {
        name: recipe_of(pipeline, ablation)
        for name, ablation in ABLATIONS.items()
        if ablation.trains
    }
    return {
        "base_model": fingerprint(pipeline.setting.base_model),
        "world": fingerprint(pipeline.world_sample()),
        "recipes": fingerprint(recipes | rows),
    }


@dataclass(frozen=True)
class Committed:
    """The repository's own results.

    Attributes:
        measured: by seed; empty outside a checkout.
        machine: what they were made on.
        changed: what has changed since they were made (`provenance`); empty if they are of this
            very code.
    """

    measured: Measured
    machine: str
    changed: tuple[str, ...] = ()


def committed() -> Committed:
    """What ``make claims`` left in ``benchmarks/results/claims.json`` of this checkout."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        results = read_json(folder / "benchmarks" / "results" / "claims.json")
        if results:
            stamp, then = results["stamp"], results["provenance"]
            machine = f"{stamp['cpu']}, torch {stamp['torch']}, TRL {stamp['trl']}"
            changed = tuple(
                name.replace("_", " ")
                for name, now in provenance().items()
                if then.get(name) != now
            )
            return Committed(
                {int(seed): rows for seed, rows in results["measured"].items()}, machine, changed
            )
    return Committed({}, "no results found: they come with a clone of the repository")
