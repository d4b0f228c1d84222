"""The repository's own results in ``benchmarks/results/claims.json``: read, written, and held
against this code's models, records and recipes.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zephyr_utils.ablations import catalogue
from zephyr_utils.ablations.catalogue import ABLATIONS, Ablation, recipe_of
from zephyr_utils.ablations.verdicts import Measured
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.pipeline.pipeline import PAIRING, Pipeline
from zephyr_utils.recipes import STAGES

# of claims.json: 2 holds two outcomes by question, and seeds that draw records and exam as well
FORMAT = 2
ROW = "recipe_of_"  # the fingerprint of what makes a row, its recipe included
Failures = dict[int, dict[str, str]]  # seed -> row -> why it failed


def provenance() -> dict[str, str]:
    """Fingerprints of what the claims rest on: base model, records, pairing, recipes and exam of
    the default scale, and what makes each row by itself.
    """
    pipeline = Pipeline()
    return {
        "base_model": fingerprint(pipeline.setting.base_model),
        "world": fingerprint(pipeline.world_sample()),
        "pairing": fingerprint(PAIRING),
        "exam": fingerprint(_exam(pipeline)),
        "recipes": fingerprint({stage: pipeline.recipe(stage) for stage in STAGES}),
    } | {
        f"{ROW}{name}": fingerprint(_row(pipeline, ablation))
        for name, ablation in ABLATIONS.items()
        if ablation.trains
    }


def _exam(pipeline: Pipeline) -> dict[str, Any]:
    """All that makes the exam and its second outcome (`measurements.exam_results`)."""
    exam = pipeline.setting.exam
    return {
        "temperature": exam.temperature,
        "max_new_tokens": exam.max_new_tokens,
        "questions": pipeline.questions(),
        "right_from": getattr(exam.judge(), "right_from", None),
    }


def _row(pipeline: Pipeline, ablation: Ablation) -> dict[str, Any]:
    """All that makes a row. Its label makes nothing: another wording changes no result."""
    return {
        **dataclasses.asdict(dataclasses.replace(ablation, label="")),
        "share": catalogue.FEW if ablation.few else 1.0,
        "recipe": recipe_of(pipeline, ablation),
    }


@dataclass(frozen=True)
class Committed:
    """The repository's own results.

    Attributes:
        measured: by seed; empty outside a checkout.
        machine: what they were made on.
        changed: what has changed since they were made (`provenance`); empty if they are of this
            very code.
        failed: rows that failed, by seed.
        format: of the file; 1 has means alone, of one world (`FORMAT`).
    """

    measured: Measured
    machine: str
    changed: tuple[str, ...] = ()
    failed: Failures = dataclasses.field(default_factory=dict)
    format: int = FORMAT


def parse_results(
    results: Mapping[str, Any], now: Callable[[], dict[str, str]] = provenance
) -> Committed:
    """What a file of results holds, held against what such results rest on now."""
    if not results:
        return Committed({}, "no results found: they come with a clone of the repository")
    stamp = results["stamp"]
    return Committed(
        {int(seed): rows for seed, rows in results["measured"].items()},
        f"{stamp['cpu']}, torch {stamp['torch']}, TRL {stamp['trl']}",
        changes_since(results["provenance"], now),
        {int(seed): rows for seed, rows in results.get("failed", {}).items()},
        results.get("format", 1),
    )


def changes_since(
    then: Mapping[str, str], now: Callable[[], dict[str, str]] = provenance
) -> tuple[str, ...]:
    """What results rest on that is not what it was, in words. A row that was added since has not
    changed.
    """
    return tuple(
        name.replace("_", " ")
        for name, one in now().items()
        if then.get(name, one if name.startswith(ROW) else None) != one
    )


def check_unchanged(
    results: Mapping[str, Any], path: Path, now: Callable[[], dict[str, str]] = provenance
) -> None:
    """Refuse to go on with results that rest on something else than this code.

    Raises:
        HandbookError: something that they rest on (`provenance`) has changed since; it is named.
    """
    changed = changes_since(results["provenance"], now)
    if changed:
        raise HandbookError(
            f"its results were measured before the last change of: {', '.join(changed)}",
            where=str(path),
            remedy="measure everything again with --afresh, which replaces them, or go back to the "
            "code that measured them",
        )


def committed(
    name: str = "claims.json", now: Callable[[], dict[str, str]] = provenance
) -> Committed:
    """What ``make claims`` (or a study of another name) left in ``benchmarks/results/`` of this
    checkout.
    """
    return parse_results(committed_file(name), now)


def committed_file(name: str) -> dict[str, Any]:
    """A file of ``benchmarks/results/`` of this checkout; empty outside one."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[2]):
        if results := read_json(folder / "benchmarks" / "results" / name):
            return results
    return {}
