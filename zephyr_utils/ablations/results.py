"""The repository's own five seeds in ``benchmarks/results/claims.json``, and whether what they were
made of still stands.
"""

from dataclasses import dataclass
from pathlib import Path

from zephyr_utils.ablations.catalogue import ABLATIONS, recipe_of
from zephyr_utils.ablations.claims import Measured
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.pipeline.artefacts import fingerprint, read_json
from zephyr_utils.pipeline.pipeline import Pipeline


def made_with() -> dict[str, str]:
    """Fingerprints of what the miniature's results rest on: its base model, its records and its
    recipes.
    """
    recipes = {stage: Pipeline().recipe(stage) for stage in ("dsft", "ddpo")}
    rows = {name: recipe_of(Pipeline(), row) for name, row in ABLATIONS.items() if row.trains}
    return {
        "base_model": fingerprint(BASE_FOLDER),
        "world": fingerprint([data.questions(), data.dialogues(50), data.feedback(50)]),
        "recipes": fingerprint(recipes | rows),
    }


@dataclass(frozen=True)
class Committed:
    """The repository's own results.

    Attributes:
        measured: by seed; empty outside a checkout.
        machine: what they were made on.
        changed: what has changed since they were made (`made_with`); empty if they are of this very
            code.
    """

    measured: Measured
    machine: str
    changed: tuple[str, ...] = ()


def committed() -> Committed:
    """What ``make claims`` left in ``benchmarks/results/claims.json`` of this checkout."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        results = read_json(folder / "benchmarks" / "results" / "claims.json")
        if results:
            stamp, then = results["stamp"], results["made_with"]
            machine = f"{stamp['cpu']}, torch {stamp['torch']}, TRL {stamp['trl']}"
            changed = tuple(
                name.replace("_", " ") for name, now in made_with().items() if then.get(name) != now
            )
            return Committed(
                {int(seed): rows for seed, rows in results["measured"].items()}, machine, changed
            )
    return Committed({}, "no results found: they come with a clone of the repository")
